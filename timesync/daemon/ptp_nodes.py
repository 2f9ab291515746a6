"""Listening to the PTP talkers of an interface for a while: passive, and apart from any running daemon."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from timesync.base.ids import identity_text
from timesync.base.time import NS_PER_S, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.config.model import Model
from timesync.config.ptp_profiles import domain_of, ptp_profile
from timesync.config.schema import Config
from timesync.ptp.nodes.checks import Finding, World
from timesync.ptp.nodes.judge import judge
from timesync.ptp.nodes.table import NodeTable
from timesync.ptp.nodes.talker import Heard, Talker
from timesync.ptp.nodes.words import (
    accuracy_text,
    class_text,
    deviation_s,
    flag_texts,
    guess,
    mechanisms,
    roles,
    time_source_text,
)
from timesync.wire.ptp_message import Announce, MessageType
from timesync_drivers.ptp_tap import PtpTap

_TURN_S = 0.25
_BATCH = 256
"""So many packets before the time is looked at: a storm must not keep us beyond it."""


@dataclass(frozen=True, slots=True)
class Heeding:
    """What came of listening.

    Attributes:
        table: Who was heard.
        findings: What looks wrong.
        listened_s: For how long.
        dropped: Packets that came faster than they could be read.
        ended: Why it ended early; None when it did not.
        now_ns: When it ended, on the clock of the table.
    """

    table: NodeTable
    findings: list[Finding]
    listened_s: float
    dropped: int
    ended: str | None
    now_ns: int


def listen(
    interface: str,
    seconds: float,
    leaps: LeapTable,
    *,
    promiscuous: bool = False,
    domains: frozenset[tuple[int, int]] | None = None,
    started: Callable[[], None] | None = None,
) -> Heeding:
    """Hear all PTP packets of an interface for so long, or until somebody interrupts. Sends nothing.

    Args:
        interface: Where.
        seconds: How long.
        leaps: To compare announced offsets with.
        promiscuous: Also what is for other machines.
        domains: What is used here, as ``World`` has it.
        started: Called when the socket listens.

    Raises OSError: EPERM without CAP_NET_RAW, ENODEV without such an interface.
    """
    tap = PtpTap(interface, promiscuous=promiscuous)
    table = NodeTable()
    begun_ns = time.monotonic_ns()
    ended = None
    try:
        if started is not None:
            started()
        _hear(tap, table, leaps, begun_ns + round(seconds * NS_PER_S))
    except KeyboardInterrupt:
        ended = "interrupted"
    except OSError as error:
        ended = f"{interface}: {error.strerror or error}"
    finally:
        now_ns = time.monotonic_ns()
        dropped = tap.dropped
        tap.close()
    findings = judge(table, world(leaps, domains), now_ns)
    return Heeding(table, findings, (now_ns - begun_ns) / NS_PER_S, dropped, ended, now_ns)


def _hear(tap: PtpTap, table: NodeTable, leaps: LeapTable, until_ns: int) -> None:
    while (left_ns := until_ns - time.monotonic_ns()) > 0:
        if not select.select([tap], [], [], min(left_ns / NS_PER_S, _TURN_S))[0]:
            continue
        for _ in range(_BATCH):
            packet = tap.receive()
            if packet is None:
                break
            utc: Instant[Utc] = Instant.from_ns(time.time_ns())
            heard = Heard(
                data=packet.data,
                transport=packet.transport,
                source=packet.source,
                destination=packet.destination,
                mac=packet.mac,
                multicast=packet.multicast,
                at_ns=time.monotonic_ns(),
                tai=leaps.tai(utc),
                port=packet.port,
                vlan=packet.vlan,
            )
            table.hear(heard)


def world(leaps: LeapTable, domains: frozenset[tuple[int, int]] | None) -> World:
    """What announced offsets and leap seconds are compared with; an expired table is not believed."""
    now: Instant[Utc] = Instant.from_ns(time.time_ns())
    if leaps.expires is not None and leaps.expires <= now:
        return World(domains=domains)
    return World(leaps.tai_utc(now), leaps.pending_today(now), domains)


def domains_of(config: Config) -> frozenset[tuple[int, int]]:
    """(``domainNumber``, ``sdoId``) of all PTP instances of a configuration."""
    instances = () if config.ptp is None else (config.ptp,) if isinstance(config.ptp, Model) else config.ptp
    return frozenset((domain_of(one), ptp_profile(one.profile).sdo_id.value) for one in instances)


# -- as an object


def as_object(interface: str, heeding: Heeding) -> dict[str, Any]:
    """The object of ``--json``; intervals and ages in seconds."""
    talkers = heeding.table.talkers
    return {
        "interface": interface,
        "listened_s": heeding.listened_s,
        "ended": heeding.ended,
        "packets": heeding.table.messages,
        "packets_lost": heeding.dropped,
        "packets_refused": heeding.table.refused,
        "nodes": [_node(talker, neighbours(talker, talkers), heeding.now_ns) for talker in talkers],
        "others": [
            {"address": one.address, "version": 1 if one.version_1 else None, "what": one.what, "packets": one.count}
            for one in heeding.table.strangers
        ],
        "findings": [{"id": one.id, "domain": one.domain, "sentence": one.sentence} for one in heeding.findings],
    }


def neighbours(talker: Talker, talkers: Iterable[Talker]) -> list[Talker]:
    """Those of its domain and transport, itself among them."""
    return [other for other in talkers if other.key.wire == talker.key.wire]


def _node(talker: Talker, around: list[Talker], now_ns: int) -> dict[str, Any]:
    key, found = talker.key, talker.found
    profile = guess(talker, around)
    return {
        "port": str(key.port),
        "clock": identity_text(key.port.clock),
        "domain": key.domain,
        "sdo_id": key.sdo_id,
        "transport": key.transport,
        "address": found.address,
        "macs": sorted(found.macs),
        "vlans": sorted(vlan for vlan in found.vlans if vlan is not None),
        "versions": [f"2.{minor}" for minor in sorted(found.versions)],
        "roles": roles(talker),
        "profile": profile.profile,
        "profile_reason": profile.why,
        "delay_mechanisms": sorted(mechanisms([talker])),
        "two_step": talker.said.two_step,
        "announce": None if talker.said.announce is None else _announce(talker.said.announce),
        "messages": {kind.name.lower(): _flow(talker, kind) for kind in MessageType if talker.count(kind)},
        "last_heard_age_s": (now_ns - talker.last_ns) / NS_PER_S,
    }


def _flow(talker: Talker, kind: MessageType) -> Mapping[str, Any]:
    flow = talker.flow(kind)
    assert flow is not None
    return {
        "count": talker.count(kind),
        "unicast": talker.unicast[kind].count if kind in talker.unicast else 0,
        "advertised_interval_s": flow.advertised_s,
        "interval_s": flow.heard_s,
    }


def _announce(announce: Announce) -> Mapping[str, Any]:
    quality = announce.quality
    return {
        "grandmaster": identity_text(announce.grandmaster),
        "priority1": announce.priority1,
        "priority2": announce.priority2,
        "clock_class": quality.clock_class,
        "clock_class_text": class_text(quality.clock_class),
        "accuracy": quality.accuracy,
        "accuracy_text": accuracy_text(quality.accuracy),
        "variance": quality.variance,
        "deviation_s": deviation_s(quality.variance),
        "steps_removed": announce.steps_removed,
        "time_source": announce.time_source,
        "time_source_text": time_source_text(announce.time_source),
        "utc_offset_s": announce.utc_offset,
        "flags": flag_texts(announce.header.flags),
    }
