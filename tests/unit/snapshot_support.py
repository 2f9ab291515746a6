"""The snapshot of an appliance that has everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from timesync.base.ids import ClockId, ClockIdentity, LinkId, PortIdentity, SourceId
from timesync.base.measure import Leap, SourceStatus, StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono
from timesync.host import RefusedCertificate, ServedCertificate, ServerCounters
from timesync.observe import roughtime
from timesync.observe.snapshot import CsptpFacts, MasterKeyFacts, NtsFacts, PortFacts, Snapshot, SourceFacts
from timesync.ptp.context import PortCounters
from timesync.ptp.datasets import CurrentDS, DataSets, DefaultDS, ParentDS, TimePropertiesDS
from timesync.ptp.settings import InstanceSettings, LocalQuality, PortSettings
from timesync.ptp.states import PortState
from timesync.ptp.view import InstanceView, PortView
from timesync.servo.view import ClockView, CoreView, ServoState, SourceState, SourceView
from timesync.wire.ptp_message import ClockQuality, MessageType

SYSTEM, CARD = ClockId("system"), ClockId("phc:eth0")
NTP, PULSE, SKY, PTP = (SourceId(name) for name in ("ntp.example", "pps0", "gps", "ptp:eth0"))
OURS = ClockIdentity(bytes.fromhex("aabbccfffeddee01"))
MASTER = ClockIdentity(bytes.fromhex("aabbccfffeddee02"))
UTC_NS = 1_800_000_000_000_000_000
TAI_UTC = 37


COUNTERS = ServerCounters(
    received=1000, answered=700, denied=110, limited=90, kod=13, bad=50, late=20, interleaved=210, authenticated=120,
    auth_failed=30, unsent=7, version_1=1, version_2=2, version_3=97, version_4=590, version_5=10, restarts=3,
    hardware=350, nts=80, nts_nak=11, over_ptp=17,
)  # fmt: skip


def _clocks() -> tuple[ClockView, ClockView]:
    system = ClockView(
        clock=SYSTEM,
        disciplined=True,
        state=ServoState.LOCKED,
        offset_s=1.5e-6,
        offset_uncertainty_s=2.5e-7,
        error_bound_s=3.5e-5,
        frequency=Rate.from_ppb(12_500),
        frequency_uncertainty=Rate.from_ppb(40),
        steering=Rate.from_ppb(-12_300),
        wander=1e-9,
        steps=2,
        fed_by=("phc:eth0",),
        stepped=Duration.from_s(0.75),
    )
    card = replace(
        system, clock=CARD, offset_s=-4e-8, error_bound_s=9e-7, steering=Rate.from_ppb(250), steps=0, fed_by=("pps0",),
        stepped=Duration(0),
    )  # fmt: skip
    return system, card


def _source(name: SourceId, clock: ClockId, **changes: Any) -> SourceView:
    plain: dict[str, Any] = {
        "source": name,
        "clock": clock,
        "state": SourceState.SELECTED,
        "reason": "it is right",
        "offset_s": 3e-6,
        "uncertainty_s": 4e-7,
        "error_bound_s": 5.5e-3,
        "delay_s": 6.25e-3,
        "jitter_s": 7e-5,
        "last_sample_at": Instant.from_ns(90_000_000_000),
        "samples": 44,
        "outliers": 5,
        "root_delay_s": 8e-3,
        "root_dispersion_s": 9e-4,
    }
    return SourceView(**{**plain, **changes})


STATUS = SourceStatus(
    source=NTP, reach=0b1110_1100, poll_s=32.0, sent=21, received=18, dropped=3, stratum=2, leap=Leap.NONE,
    reference_id=bytes((192, 0, 2, 9)), authenticated=True, interleaved=True, timestamping=StampSource.HARDWARE,
    excluded=None, stepped_back=False, version=4,
)  # fmt: skip

RECEIVER: Mapping[str, Any] = MappingProxyType(
    {
        "receiver": "u-blox M9", "device": "/dev/ttyS0", "fix": "3D", "satellites_used": 9, "satellites_seen": 14,
        "hdop": 1.25, "tdop": 0.75, "jamming": "ok", "spoofing": "none", "antenna": "open", "cn0_mean_db_hz": 41.5,
        "message": "RMC", "trouble": None, "pulse_trouble": None, "latency_s": 0.125, "latency_spread_s": 0.0025,
        "latency_bound_s": 0.045, "latency_calibrated": True,
    }
)  # fmt: skip
PULSES: Mapping[str, Any] = MappingProxyType(
    {
        "pulses": 8000, "missed": 31, "doubled": 4, "wild": 6, "unread": 0, "unnumbered": 1, "renumbered": 0,
        "last_pulse_age_s": 0.375, "pulse_jitter_s": 5.5e-8, "numbered_by": "gps",
    }
)  # fmt: skip
KEYS: Mapping[str, Any] = MappingProxyType(
    {
        "ke_server": "ntp.example:4460", "aead": "AES_128_GCM_SIV", "cookies": 7, "provisional": True,
        "starving": False, "trouble": None, "group": None, "post_quantum": None,
    }
)  # fmt: skip


def _instance() -> tuple[InstanceView, PortFacts, PortFacts]:
    settings = InstanceSettings(
        identity=OURS,
        domain=24,
        priority1=127,
        priority2=126,
        path_trace=True,
        ports=tuple(
            PortSettings(number=number, name=name, clock=CARD, source=PTP, link=LinkId("ptp"))
            for number, name in ((1, "eth0"), (2, "eth1"))
        ),
    )
    local = LocalQuality(
        quality=ClockQuality(187, 0x25, 0x4E5D), utc_offset=TAI_UTC, utc_offset_valid=True, leap61=True, leap59=False,
        ptp_timescale=True, time_traceable=True, frequency_traceable=False, time_source=0x20,
    )  # fmt: skip
    counters = PortCounters(
        received=Counter({MessageType.SYNC: 501}), sent=Counter({MessageType.DELAY_REQ: 402}),
        drops=Counter({"sequence": 12}), lost_stamps=9,
    )  # fmt: skip
    first = PortView(
        number=1, name="eth0", identity=PortIdentity(OURS, 1), state=PortState.TIME_RECEIVER,
        parent=PortIdentity(MASTER, 3), mean_delay=None, as_capable=None, reason="", rate_ratio=None, counters=counters,
    )  # fmt: skip
    second = PortView(
        number=2, name="eth1", identity=PortIdentity(OURS, 2), state=PortState.TIME_TRANSMITTER, parent=None,
        mean_delay=Duration.from_ns(650), as_capable=True, reason="", rate_ratio=1.000_002, counters=PortCounters(),
    )  # fmt: skip
    view = InstanceView(
        settings=settings,
        default=DefaultDS.of(settings, local),
        sets=DataSets(
            current=CurrentDS(steps_removed=2),
            parent=ParentDS(
                parent=PortIdentity(MASTER, 3), grandmaster=MASTER, quality=ClockQuality(6, 0x21, 0x4E20),
                priority1=100, priority2=101,
            ),
            time_properties=TimePropertiesDS.of(local),
            path=(MASTER,),
        ),
        ports=(first, second),
    )  # fmt: skip
    facts = PortFacts(
        name="eth0", domain=24, transport="l2", timestamping="hardware", clock=CARD, source=PTP, view=first,
        grandmaster=MASTER, delay_mechanism="e2e", trouble=None,
    )  # fmt: skip
    return view, facts, replace(facts, name="eth1", source=None, view=second, delay_mechanism="p2p")


def snapshot(*, name: str = NTP) -> Snapshot:
    """It, where the NTP server may have another name."""
    ntp = SourceId(name)
    instance, first, second = _instance()
    core = CoreView(
        at=Instant.from_ns(100_000_000_000),
        served=SYSTEM,
        state=ServoState.LOCKED,
        reason="follows phc:eth0",
        stratum=3,
        reference_id=bytes((192, 0, 2, 7)),
        leap=Leap.INSERT,
        root_delay=Duration.from_ns(11_000_000),
        root_dispersion=Duration.from_ns(29_500),
        dispersion_rate=1e-8,
        reference_time=Instant.from_ns(UTC_NS + TAI_UTC * 10**9 - 2 * 10**9),
        sources=(
            _source(ntp, SYSTEM),
            _source(PULSE, CARD, offset_s=2e-8, delay_s=None, root_delay_s=0.0),
            _source(SKY, SYSTEM, state=SourceState.EXCLUDED, delay_s=None),
            _source(PTP, CARD, state=SourceState.CANDIDATE, offset_s=-3.5e-7, delay_s=2.4e-6),
        ),
        links=(_source(SourceId("system<phc:eth0"), SYSTEM, offset_s=7.5e-8, jitter_s=1.5e-8, delay_s=1.1e-6),),
        clocks=_clocks(),
        reference=ntp,
        fed_at=Instant.from_ns(99_500_000_000),
    )
    nts = NtsFacts(
        listen=("0.0.0.0:4460",),
        master_key=MasterKeyFacts(
            age=Duration.from_s(3600.0), changes_in=Duration.from_s(82_800.0), old=7, seeded=False
        ),
        certificates=(
            (ServedCertificate("/etc/tls/a.pem", ("a.example",), Instant(0)), Duration.from_s(864_000.0)),
        ),
        refused=(RefusedCertificate("/etc/tls/b.pem", "is empty"),),
        counters={"connections": 60, "established": 41, "refused-full": 3, "refused-client": 2, "post-quantum": 25},
    )  # fmt: skip
    witness = roughtime.RoughtimeFacts(
        name="rough.example", address="192.0.2.50:2002", clock=SYSTEM, state=SourceState.CANDIDATE, reason="agrees",
        reach=8, offset_s=0.01, error_bound_s=1.0, delay_s=0.03, poll_s=3600.0, age_s=12.0, sent=4, received=4,
        radius_s=2.0, malfeasance_age_s=55.0,
    )  # fmt: skip
    return Snapshot(
        core=core,
        kinds={SYSTEM: "system", CARD: "phc"},
        facts={
            ntp: SourceFacts(
                kind="ntp", address="192.0.2.7:123", status=replace(STATUS, source=ntp), drops={"origin": 2, "kiss": 1},
                details={"nts": dict(KEYS)},
            ),
            PULSE: SourceFacts(kind="pps", address="/dev/pps0", status=None, details=PULSES),
            SKY: SourceFacts(kind="nmea", address="/dev/ttyS0", status=None, details=RECEIVER),
            PTP: SourceFacts(kind="ptp", address="eth0", status=None),
        },
        unresolved={"late.example": ("ntp", "its name has no address")},
        started=Instant.from_ns(25_000_000_000),
        tai_utc=TAI_UTC,
        served=("0.0.0.0:123",),
        counters=COUNTERS,
        warnings=("one", "two"),
        celsius={SYSTEM: 41.5},
        ports=(first, second),
        csptp=(CsptpFacts(
            interface="eth0", transport="udp4", domain=128, timestamping="software", answered=19, drops={"rate": 8}
        ),),
        nts=nts,
        witnesses=(witness,),
        instances=(instance,),
        leap_table_left=Duration.from_s(2_592_000.0),
    )  # fmt: skip


def holding(now: Snapshot) -> Snapshot:
    """The same without a source for two minutes."""
    fed_at, left = Instant[Mono].from_ns(-20_000_000_000), Duration.from_s(3480.0)
    return replace(now, core=replace(now.core, state=ServoState.HOLDOVER, fed_at=fed_at, holdover_left=left))
