"""PTP talkers for the tests of ``ptp nodes``: messages by our codec, told to a table at given times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S, Duration, Instant, Tai
from timesync.ptp.nodes.checks import Finding, World
from timesync.ptp.nodes.judge import judge
from timesync.ptp.nodes.table import NodeTable
from timesync.ptp.nodes.talker import Heard, Talker
from timesync.wire import ptp as wire
from timesync.wire.ptp_message import (
    Announce,
    ClockQuality,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Message,
    PdelayReq,
    PdelayResp,
    Sync,
    Tlv,
)

A = PortIdentity(ClockIdentity(bytes.fromhex("021122fffe334455")), 1)
B = PortIdentity(ClockIdentity(bytes.fromhex("02aabbfffeccddee")), 1)
C = PortIdentity(ClockIdentity(bytes.fromhex("0a0000fffe000001")), 1)
TAI_UTC = 37
NOW: Instant[Tai] = Instant.from_ns(1_800_000_000 * NS_PER_S)
WORLD = World(TAI_UTC, Leap.NONE)
GOOD = Flags.PTP_TIMESCALE | Flags.UTC_OFFSET_VALID
MACS = {A: "02:11:22:33:44:55", B: "02:aa:bb:cc:dd:ee", C: "0a:00:00:00:00:01"}
ADDRESSES = {A: "192.0.2.1", B: "192.0.2.2", C: "192.0.2.3"}


def header(source: PortIdentity, sequence_id: int, **more: Any) -> Header:
    return Header(source=source, sequence_id=sequence_id, **more)


def announce(source: PortIdentity, sequence_id: int, **more: Any) -> Announce:
    """By a grandmaster, each second."""
    keys = {key: more.pop(key) for key in ("domain", "sdo_id", "minor_version") if key in more}
    head = header(
        source, sequence_id, log_interval=more.pop("log_interval", 0), flags=more.pop("flags", GOOD), **keys
    )  # fmt: skip
    values: dict[str, Any] = {"grandmaster": source.clock, "quality": ClockQuality(6, 0x21, 0x4E5D)}
    return Announce(header=head, **{**values, **more})


def sync(source: PortIdentity, sequence_id: int, *, two_step: bool = True, **more: Any) -> Sync:
    """Each second."""
    origin: Instant[Tai] = more.pop("origin", Instant(0))
    tlvs: tuple[Tlv, ...] = more.pop("tlvs", ())
    flags = Flags.TWO_STEP if two_step else Flags(0)
    return Sync(header(source, sequence_id, **{"log_interval": 0, "flags": flags, **more}), origin, tlvs)


def follow_up(source: PortIdentity, sequence_id: int, at: Instant[Tai] = NOW, **more: Any) -> FollowUp:
    tlvs: tuple[Tlv, ...] = more.pop("tlvs", ())
    return FollowUp(header(source, sequence_id, **{"log_interval": 0, **more}), at, tlvs)


def delay_req(source: PortIdentity, sequence_id: int, **more: Any) -> DelayReq:
    return DelayReq(header(source, sequence_id, **more))


def delay_resp(source: PortIdentity, to: PortIdentity, sequence_id: int, **more: Any) -> DelayResp:
    return DelayResp(header(source, sequence_id, **{"log_interval": 0, **more}), NOW, to)


def pdelay_req(source: PortIdentity, sequence_id: int, **more: Any) -> PdelayReq:
    return PdelayReq(header(source, sequence_id, **more))


def pdelay_resp(source: PortIdentity, to: PortIdentity, sequence_id: int, **more: Any) -> PdelayResp:
    return PdelayResp(header(source, sequence_id, **more), NOW, to)


class Wire:
    """A table, and what is said on the wire it listens to.

    Attributes:
        table: The table.
        at_s: When the last packet came.
    """

    def __init__(self, table: NodeTable | None = None, transport: str = "udp4") -> None:
        self.table = table or NodeTable()
        self.transport = transport
        self.at_s = 0.0

    def say(self, at_s: float, *messages: Message, **more: Any) -> None:
        """Messages at once, each by its own sender, to the group unless ``multicast`` says otherwise."""
        for message in messages:
            self.octets(at_s, wire.encode(message), message, **more)

    def octets(self, at_s: float, data: bytes, message: Message | None = None, **more: Any) -> None:
        """The same of a packet that is already made."""
        self.at_s = at_s
        source = A if message is None else message.header.source
        ethernet = self.transport == "l2"
        address = MACS.get(source, "0a:0a:0a:0a:0a:0a") if ethernet else ADDRESSES.get(source, "192.0.2.99")
        event = message is not None and isinstance(message, Sync | DelayReq | PdelayReq | PdelayResp)
        heard = Heard(
            data=data,
            transport=self.transport,  # type: ignore[arg-type]  # one of three words
            source=address,
            destination="01:1b:19:00:00:00" if ethernet else "224.0.1.129",
            mac=MACS.get(source, "0a:0a:0a:0a:0a:0a"),
            multicast=True,
            at_ns=round(at_s * NS_PER_S),
            tai=NOW + Duration.from_s(at_s),
            port=None if ethernet else 319 if event else 320,
        )
        self.table.hear(replace(heard, **more))

    def talker(self, source: PortIdentity) -> Talker:
        """The one entry of a port."""
        (found,) = (talker for talker in self.table.talkers if talker.key.port == source)
        return found

    def findings(self, world: World = WORLD) -> list[Finding]:
        """What looks wrong a moment after the last packet."""
        return judge(self.table, world, round(self.at_s * NS_PER_S) + 1)

    def ids(self, world: World = WORLD) -> set[str]:
        """The judgements that found something."""
        return {finding.id for finding in self.findings(world)}

    def sentence(self, finding_id: str, world: World = WORLD) -> str:
        """The one sentence of a judgement."""
        (found,) = (finding.sentence for finding in self.findings(world) if finding.id == finding_id)
        return found


def healthy(wire_: Wire, seconds: int = 10, source: PortIdentity = A, start: int = 0, **announced: Any) -> None:
    """A two-step grandmaster that does everything right, once a second; sequence numbers are those of the second."""
    for number in range(start, start + seconds):
        at = NOW + Duration.from_s(number)
        keys = {key: announced[key] for key in ("domain", "sdo_id") if key in announced}
        wire_.say(
            number,
            announce(source, number, **announced),
            sync(source, number, **keys),
            follow_up(source, number, at, **keys),
        )
