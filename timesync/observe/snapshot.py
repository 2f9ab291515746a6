"""The one object that status, web page, metrics and MQTT are made from, so that they cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from timesync.base.ids import ClockId, ClockIdentity, SourceId, identity_text
from timesync.base.measure import Leap, SourceStatus
from timesync.base.time import Duration, Instant, Mono
from timesync.host import RefusedCertificate, ServedCertificate, ServerCounters
from timesync.observe import roughtime
from timesync.observe.ntp_answer import STAMPING
from timesync.observe.ptp_extras import heard_object, rate_object
from timesync.observe.ptp_instances import instance_object
from timesync.observe.track import track_object
from timesync.ptp.extras import Heard
from timesync.ptp.outlook import PTP_REFERENCE
from timesync.ptp.unicast.client import ServerView
from timesync.ptp.view import InstanceView, PortView
from timesync.servo.view import CoreView, ServoState, SourceView

SCHEMA = 1
"""Version of the JSON; it goes up when a field changes its meaning or goes."""

_LEAP_WORDS = {Leap.NONE: "none", Leap.INSERT: "insert", Leap.DELETE: "delete", Leap.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What is known of a source outside the core.

    Attributes:
        kind: The key of its entry in ``sources``.
        address: Whom it asks; None while its name has no address.
        status: The protocol's view; None before the first request.
        drops: Refused answers by reason.
        details: What only sources of its kind have, such as a receiver's satellites; JSON values by name.
    """

    kind: str
    address: str | None
    status: SourceStatus | None
    drops: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """A PTP port.

    Attributes:
        name: Its interface.
        domain: ``domainNumber``.
        transport: ``udp4``, ``udp6`` or ``l2``.
        timestamping: ``hardware`` or ``software``; None while it has no sockets.
        clock: The clock that its stamps are of.
        source: The source that it is for the core; None for one that only gives time.
        view: The port itself; None before it was ready.
        grandmaster: ``grandmasterIdentity`` of its instance.
        delay_mechanism: ``e2e``, ``p2p`` or ``none``.
        trouble: Why it does not work.
        heard: What its parent says in the TLVs of profiles; None where it follows nobody.
    """

    name: str
    domain: int
    transport: str
    timestamping: str | None
    clock: ClockId
    source: SourceId | None
    view: PortView | None
    grandmaster: ClockIdentity | None
    delay_mechanism: str | None
    trouble: str | None
    heard: Heard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsptpFacts:
    """Where CSPTP is served.

    Attributes:
        interface: Network interface.
        transport: ``udp4`` or ``udp6``.
        domain: ``domainNumber``.
        timestamping: ``hardware`` or ``software``.
        answered: Requests answered.
        drops: Others, by reason.
    """

    interface: str
    transport: str
    domain: int
    timestamping: str
    answered: int
    drops: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKeyFacts:
    """The key under which cookies of NTS are made.

    Attributes:
        age: Since it became the current one.
        changes_in: Until the next one takes its place.
        old: How many before it still open cookies.
        seeded: It is that of a fleet.
    """

    age: Duration
    changes_in: Duration
    old: int
    seeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NtsFacts:
    """The NTS server.

    Attributes:
        listen: Where keys are established.
        master_key: Of its cookies.
        certificates: What is served, and how long each is still valid; negative when it is over.
        refused: What cannot be served.
        counters: What became of connections and requests, by name.
    """

    listen: tuple[str, ...]
    master_key: MasterKeyFacts
    certificates: tuple[tuple[ServedCertificate, Duration], ...] = ()
    refused: tuple[RefusedCertificate, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The appliance at one moment.

    Attributes:
        core: The core's view.
        kinds: Kind of each clock by name.
        facts: What is known of sources outside the core.
        unresolved: Configured sources that cannot run: kind and reason by name.
        started: When the daemon began.
        tai_utc: TAI - UTC by the served clock, seconds.
        served: Where NTP is served.
        counters: What the server did; None when nothing is served.
        ports: PTP ports.
        warnings: Sentences that stay until they are mended.
        csptp: Where CSPTP is served.
        nts: The NTS server; None when there is none.
        witnesses: Roughtime servers.
        addresses: The machine's own, without loopback: under which others may know it.
        celsius: Temperature of each clock's oscillator that has a thermometer.
        instances: PTP instances.
        leap_table_left: For so long the table of leap seconds is vouched for, negative when it has expired; None when
            it does not say.
    """

    core: CoreView
    kinds: Mapping[str, str]
    facts: Mapping[SourceId, SourceFacts]
    unresolved: Mapping[str, tuple[str, str]]
    started: Instant[Mono]
    tai_utc: int
    served: tuple[str, ...]
    counters: ServerCounters | None
    warnings: tuple[str, ...] = ()
    ports: tuple[PortFacts, ...] = ()
    csptp: tuple[CsptpFacts, ...] = ()
    nts: NtsFacts | None = None
    witnesses: tuple[roughtime.RoughtimeFacts, ...] = ()
    addresses: tuple[str, ...] = ()
    celsius: Mapping[str, float] = field(default_factory=dict)
    instances: tuple[InstanceView, ...] = ()
    leap_table_left: Duration | None = None

    def status(self) -> dict[str, Any]:
        """The object of ``timesync status --json``."""
        core = self.core
        served = next(clock for clock in core.clocks if clock.clock == core.served)
        return {
            "schema": SCHEMA,
            "state": core.state.value,
            "reason": self._reason(),
            "holdover_s": _holdover_s(core),
            "holdover_left_s": None if core.holdover_left is None else core.holdover_left.s(),
            "served_clock": core.served,
            "stratum": core.stratum,
            "reference": core.reference,
            "reference_id": reference_text(core.reference_id, core.stratum),
            "reference_id_hex": core.reference_id.hex(),
            "updated_utc_ns": None if core.reference_time is None else core.reference_time.ns() - self.tai_utc * 10**9,
            "leap": _LEAP_WORDS[core.leap],
            "last_offset_s": None if core.update is None else core.update.offset_s,
            "rms_offset_s": None if core.update is None else core.update.rms_offset_s,
            "update_interval_s": None if core.update is None else core.update.interval_s,
            "root_delay_s": core.root_delay.s(),
            "root_dispersion_s": core.root_dispersion.s(),
            "error_bound_s": served.error_bound_s,
            "tai_utc_offset_s": self.tai_utc,
            "leap_table_left_s": None if self.leap_table_left is None else self.leap_table_left.s(),
            "uptime_s": (core.at - self.started).s(),
            "clocks": self.clocks()["clocks"],
            "serving": {
                "ntp": list(self.served),
                "addresses": list(self.addresses),
                "counters": None if self.counters is None else counters(self.counters),
                "csptp": [_csptp(facts) for facts in self.csptp],
                "nts": [] if self.nts is None else list(self.nts.listen),
            },
            "nts": None if self.nts is None else _nts(self.nts),
            "ptp": [instance_object(view) for view in self.instances],
            "warnings": list(self.warnings),
        }

    def _reason(self) -> str:
        """Why the served clock is as it is; the core does not know of sources that cannot even be asked."""
        if self.core.state is not ServoState.ACQUIRING or self.core.sources or not self.unresolved:
            return self.core.reason
        _, why = next(iter(self.unresolved.values()))
        return f"no source can be asked: {why}"

    def clocks(self) -> dict[str, Any]:
        """The object of ``timesync clocks --json``."""
        clocks = [
            {
                "name": clock.clock,
                "kind": self.kinds.get(clock.clock, "virtual"),
                "state": clock.state.value,
                "offset_s": clock.offset_s,
                "offset_uncertainty_s": clock.offset_uncertainty_s,
                "error_bound_s": clock.error_bound_s,
                "frequency_ppm": clock.frequency.ppm(),
                "frequency_uncertainty_ppm": _finite(clock.frequency_uncertainty.ppm()),
                "steering_ppm": clock.steering.ppm(),
                "wander": clock.wander,
                "celsius": self.celsius.get(clock.clock),
                "disciplined": clock.disciplined,
                "steps": clock.steps,
                "stepped_s": clock.stepped.s(),
                "fed_by": list(clock.fed_by),
                "links": [self._link(view) for view in self.core.links if view.clock == clock.clock],
            }
            for clock in self.core.clocks
        ]
        return {"schema": SCHEMA, "clocks": clocks}

    def _link(self, view: SourceView) -> dict[str, Any]:
        """How a clock compares with another one of this machine."""
        facts = self.facts.get(view.source)
        return {
            "name": view.source,
            "state": view.state.value,
            "reason": view.reason,
            "offset_s": view.offset_s,
            "jitter_s": view.jitter_s,
            "window_s": view.delay_s,
            "method": None if facts is None else facts.details.get("method"),
        }

    def sources(self) -> dict[str, Any]:
        """The object of ``timesync sources --json``."""
        followed = [self._source(view) for view in self.core.sources]
        waiting = [_unresolved(name, *said) for name, said in self.unresolved.items()]
        return {"schema": SCHEMA, "sources": followed + waiting + [roughtime.entry(one) for one in self.witnesses]}

    def port_list(self) -> dict[str, Any]:
        """The object of ``timesync ports --json``."""
        return {"schema": SCHEMA, "ports": [self._port(port) for port in self.ports]}

    def _port(self, port: PortFacts) -> dict[str, Any]:
        view = port.view
        measured = next((view for view in self.core.sources if view.source == port.source), None)
        delay = None if view is None or view.mean_delay is None else view.mean_delay.s()
        if delay is None and measured is not None and measured.delay_s is not None:
            delay = measured.delay_s / 2
        counted = None if view is None else view.counters
        return {
            "name": port.name,
            "domain": port.domain,
            "state": "INITIALIZING" if view is None else view.state.name,
            "delay_mechanism": port.delay_mechanism,
            "transport": port.transport,
            "timestamping": port.timestamping,
            "clock": port.clock,
            "identity": None if view is None else str(view.identity),
            "parent": None if view is None or view.parent is None else str(view.parent),
            "grandmaster": None if port.grandmaster is None else identity_text(port.grandmaster),
            "mean_delay_s": delay,
            "offset_s": None if measured is None else measured.offset_s,
            "as_capable": None if view is None else view.as_capable,
            "reason": port.trouble or ("" if view is None else view.reason),
            "neighbor_rate_ratio": None if view is None else view.rate_ratio,
            "received": {} if counted is None else {kind.name.lower(): n for kind, n in counted.received.items()},
            "sent": {} if counted is None else {kind.name.lower(): n for kind, n in counted.sent.items()},
            "drops": {} if counted is None else dict(counted.drops),
            "lost_stamps": 0 if counted is None else counted.lost_stamps,
            "servers": [] if view is None else [_unicast_server(one) for one in view.servers],
            "clients": 0 if view is None else len(view.clients),
            "parent_says": {} if port.heard is None else heard_object(port.heard),
        }

    def _source(self, view: SourceView) -> dict[str, Any]:
        facts = self.facts.get(view.source)
        status = None if facts is None else facts.status
        age = None if view.last_sample_at is None else (self.core.at - view.last_sample_at).s()
        return {
            "name": view.source,
            "kind": "ntp" if facts is None else facts.kind,
            "address": None if facts is None else facts.address,
            "clock": view.clock,
            "state": view.state.value,
            "reason": view.reason,
            "reach": 0 if status is None else status.reach.bit_count(),
            "reach_register": None if status is None else status.reach,
            "offset_s": view.offset_s,
            "uncertainty_s": view.uncertainty_s,
            "error_bound_s": view.error_bound_s,
            "delay_s": view.delay_s,
            "jitter_s": view.jitter_s,
            "root_delay_s": view.root_delay_s,
            "root_dispersion_s": view.root_dispersion_s,
            "poll_s": None if status is None else status.poll_s,
            "stratum": None if status is None else status.stratum,
            "reference_id": None if status is None else reference_text(status.reference_id, status.stratum),
            "leap": None if status is None else _LEAP_WORDS[status.leap],
            "authenticated": status is not None and status.authenticated,
            "interleaved": status is not None and status.interleaved,
            "version": None if status is None else status.version,
            "draft": None if status is None else status.draft,
            "timestamping": _timestamping(status),
            "last_sample_age_s": age,
            "trouble": None if status is None else status.trouble,
            **track_object(view.track),
            "samples": view.samples,
            "outliers": view.outliers,
            "trusted": view.trusted,
            "noselect": view.noselect,
            "sent": 0 if status is None else status.sent,
            "received": 0 if status is None else status.received,
            "drops": {} if facts is None else dict(facts.drops),
            "details": {} if facts is None else dict(facts.details),
        }


def _unresolved(name: str, kind: str, reason: str) -> dict[str, Any]:
    """A configured source that cannot run, in the shape of a source."""
    fields = dict.fromkeys(
        ("address", "clock", "offset_s", "uncertainty_s", "error_bound_s", "delay_s", "jitter_s", "poll_s", "stratum",
         "reference_id", "leap", "version", "draft", "timestamping", "last_sample_age_s", "reach_register",
         "root_delay_s", "root_dispersion_s", "trouble"),
    )  # fmt: skip
    zeros = dict.fromkeys(("reach", "samples", "outliers", "sent", "received"), 0)
    flags = dict.fromkeys(("authenticated", "interleaved", "trusted", "noselect"), False)
    return {
        "name": name,
        "kind": kind,
        "state": "unreachable",
        "reason": reason,
        "drops": {},
        "details": {},
        **fields,
        **track_object(None),
        **zeros,
        **flags,
    }


def _timestamping(status: SourceStatus | None) -> str | None:
    if status is None or status.timestamping is None:
        return None
    return STAMPING[status.timestamping]


def _csptp(facts: CsptpFacts) -> dict[str, Any]:
    return {
        "interface": facts.interface,
        "transport": facts.transport,
        "domain": facts.domain,
        "timestamping": facts.timestamping,
        "answered": facts.answered,
        "drops": dict(facts.drops),
    }


def _nts(facts: NtsFacts) -> dict[str, Any]:
    key = facts.master_key
    return {
        "listen": list(facts.listen),
        "master_key": {
            "age_s": key.age.s(),
            "changes_in_s": key.changes_in.s(),
            "old": key.old,
            "seeded": key.seeded,
        },
        "certificates": [
            {"file": one.file, "names": list(one.names), "expires_in_s": left.s()} for one, left in facts.certificates
        ],
        "refused": [{"file": one.file, "why": one.why} for one in facts.refused],
        "counters": dict(facts.counters),
    }


def _holdover_s(core: CoreView) -> float | None:
    """How long the served clock has been in holdover; None when it is not."""
    if core.state is not ServoState.HOLDOVER or core.fed_at is None:
        return None
    return (core.at - core.fed_at).s()


def _finite(value: float) -> float | None:
    """JSON knows no infinity; unknown is null."""
    return value if math.isfinite(value) else None


def reference_text(reference_id: bytes, stratum: int) -> str:
    """A reference id for people (RFC 5905, 7.3): letters at stratum 1 and for kisses, else as an IPv4 address."""
    if stratum <= 1 or reference_id == PTP_REFERENCE:
        text = reference_id.rstrip(b"\0")
        if text and all(0x20 < octet < 0x7F for octet in text):
            return text.decode("ascii")
    return ".".join(str(octet) for octet in reference_id)


def counters(counted: ServerCounters) -> dict[str, int]:
    """What the server did, by name."""
    return {name: getattr(counted, name) for name in counted.__slots__}


def _unicast_server(server: ServerView) -> dict[str, Any]:
    """Whom a port asks for unicast messages."""
    return {
        "address": server.address,
        "identity": None if server.identity is None else str(server.identity),
        "state": server.state.name,
        "selected": server.selected,
        "granted": {kind.name.lower(): 2.0**log2 for kind, log2 in server.granted.items()},
        "interface": None if server.rate is None else rate_object(server.rate),
    }
