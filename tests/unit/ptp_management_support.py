"""A clock to be managed, and who manages it."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

from ptp_support import port_settings

from timesync.base.ids import ALL_CLOCKS, ClockIdentity
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.instance import Instance
from timesync.ptp.management.data import ManagedClock, PortFacts
from timesync.ptp.management.values import Outgoing
from timesync.ptp.settings import InstanceSettings, Intervals, LocalQuality
from timesync.ptp.states import PortState
from timesync.wire import ptp
from timesync.wire.ptp_management import ManagementError, ManagementId, ManagementTlv
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_management_np import PortTimestamping
from timesync.wire.ptp_message import Management
from timesync.wire.ptp_tlv import TlvType

CLOCK = ClockIdentity(bytes.fromhex("020000fffe00000a"))
START: Instant[Mono] = Instant.from_ns(10**9)


def at(seconds: float) -> Instant[Mono]:
    """So long after the start."""
    return START + Duration.from_s(seconds)


def ptp4l_like() -> ManagedClock:
    """The clock of ``ptp_management_captures``: a boundary clock with two ports and nobody to follow."""
    ports = tuple(
        replace(
            port_settings(number, name=name),
            intervals=Intervals(),
            neighbor_threshold=Duration.from_ns(20_000_000),
        )
        for number, name in ((1, "veth0"), (2, "veth2"))
    )
    instance = Instance(InstanceSettings(identity=CLOCK, ports=ports), random.Random(1))
    local = LocalQuality(ptp_timescale=False)
    instance.set_quality(local, START)
    instance.start(START)
    for number in (1, 2):
        instance.on_link(number, START, up=True)
    for _ in range(100):
        if all(port.state is PortState.TIME_TRANSMITTER for port in instance.ports.values()):
            break
        due = instance.deadline()
        assert due is not None
        instance.on_deadline(due)
    facts = {
        number: PortFacts(
            protocol=NetworkProtocol.UDP_IPV4,
            mac=bytes((2, 0, 0, 0, 0, last)),
            address=bytes((10, 9, third, 1)),
            timestamping=PortTimestamping.SOFTWARE,
        )
        for number, last, third in ((1, 0x0A, 0), (2, 0x1A, 2))
    }
    return ManagedClock(view=instance.view(), local=local, ports=facts)


def with_states(clock: ManagedClock, *states: PortState) -> ManagedClock:
    """The same with other states of its ports, in their order."""
    ports = tuple(replace(port, state=state) for port, state in zip(clock.view.ports, states, strict=True))
    return replace(clock, view=replace(clock.view, ports=ports))


def ask(
    id_: int,
    action: int = 0,
    data: bytes = b"",
    *,
    clock: bytes = ALL_CLOCKS,
    port: int = 0xFFFF,
    hops: tuple[int, int] = (0, 0),
    domain: int = 0,
    flags: int = 0,
    tail: bytes = b"",
    sequence: int = 7,
) -> bytes:
    """A management message of 112233.4455.667788-1, octet by octet."""
    tlv = struct.pack(">HHH", 1, 2 + len(data), id_) + data + tail
    head = struct.pack(
        ">BBHBBHqIQHHBb", 0x0D, 0x12, 48 + len(tlv), domain, 0, flags, 0, 0, 0x1122334455667788, 1, sequence, 0, 0x7F
    )
    return head + clock + struct.pack(">HBBBx", port, *hops, action) + tlv


def opened(outgoing: Outgoing) -> Management:
    """What was sent."""
    message = ptp.decode(outgoing.data)
    assert isinstance(message, Management)
    return message


def outcome(sent: list[Outgoing], ports: int = 2) -> str:
    """Who answered, and with which error: the words of ``ptp_management_captures.OUTCOMES``."""
    messages = [opened(one) for one in sent]
    errors = set()
    for message in messages:
        (tlv,) = message.tlvs
        failed = tlv.kind == TlvType.MANAGEMENT_ERROR_STATUS
        errors.add(ManagementError.from_tlv(tlv).error if failed else 0)
    (error,) = errors
    numbers = tuple(message.header.source.port for message in messages)
    who = {(0,): "c", tuple(range(1, ports + 1)): "p", (1,): "f"}[numbers]
    return who + (str(int(error)) if error else "")


def answered(outgoing: Outgoing, id_: ManagementId) -> bytes:
    """The data of an answer."""
    (tlv,) = opened(outgoing).tlvs
    said = ManagementTlv.from_tlv(tlv)
    assert said.id == id_
    return said.data
