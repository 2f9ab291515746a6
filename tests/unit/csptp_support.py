"""Messages of CSPTP written out octet by octet, and stamps, for the tests of both of its machines.

The layout is that of ntpd-rs (statime-csptp), which is of the draft D0.6 of IEEE P1588.1.
"""

from __future__ import annotations

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Instant

SYSTEM = ClockId("system")
SERVER, CLIENT, STRANGER = "192.0.2.1", "192.0.2.2", "192.0.2.9"
DOMAIN = 128

UNICAST, TWO_STEP, UNCERTAIN = 0x0400, 0x0200, 0x0040
LEAP_61, LEAP_59, UTC_VALID, PTP_TIMESCALE, TIME_TRACEABLE, FREQUENCY_TRACEABLE = 1, 2, 4, 8, 16, 32


def header(
    kind: int, size: int, sequence_id: int, flags: int = UNICAST, *, domain: int = DOMAIN, correction_ns: int = 0
) -> str:
    """34 octets: sdoId 0x300, version 2.1, no source, no interval."""
    return (
        f"3{kind:x}12 {size:04x} {domain:02x} 00 {flags:04x} {correction_ns << 16 & 2**64 - 1:016x} 00000000"
        f" 0000000000000000 0000 {sequence_id:04x} 00 7f"
    )


def time(ns: int) -> str:
    """A Timestamp: 48 bits of seconds, 32 of nanoseconds."""
    seconds, nanoseconds = divmod(ns, 10**9)
    return f" {seconds:012x} {nanoseconds:08x}"


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def request(sequence_id: int = 7, *, padding: int = 148, domain: int = DOMAIN, correction_ns: int = 0) -> bytes:
    """What asks for the status, too; ``padding`` octets, of which four are the head of their TLV."""
    size = 52 + padding
    pad = f" 8008 {padding - 4:04x}" + "00" * (padding - 4) if padding else ""
    head = header(0, size, sequence_id, domain=domain, correction_ns=correction_ns)
    return octets(head + time(0) + " ff00 0004 01000000" + pad)


def response(
    sequence_id: int,
    t2_ns: int,
    *,
    t3_ns: int | None = None,
    flags: int = PTP_TIMESCALE,
    there_ns: int = 0,
    back_ns: int = 0,
    status: str = "",
    domain: int = DOMAIN,
) -> bytes:
    """Two-step where ``t3_ns`` is None. ``status`` is a whole TLV."""
    flags |= UNICAST | (TWO_STEP if t3_ns is None else 0)
    head = header(0, 66 + len(octets(status)), sequence_id, flags, domain=domain, correction_ns=back_ns)
    answer = f" ff01 0012{time(t2_ns)} {there_ns << 16 & 2**64 - 1:016x}"
    return octets(head + time(t3_ns or 0) + answer + status)


def follow_up(sequence_id: int, t3_ns: int, *, correction_ns: int = 0, domain: int = DOMAIN) -> bytes:
    head = header(8, 44, sequence_id, UNICAST | TWO_STEP, domain=domain, correction_ns=correction_ns)
    return octets(head + time(t3_ns))


def status(clock_class: int = 6, accuracy: int = 0x23, steps: int = 0, identity: str = "0102030405060708") -> str:
    """priority1 1, variance 0x4E5D, priority2 2, currentUtcOffset 37, no address of a parent."""
    return f" f002 0016 01 {clock_class:02x} {accuracy:02x} 4e5d 02 {steps:04x} 0025 {identity} 00000000"


def stamp(ns: int, *, epoch: int = 0, clock: ClockId = SYSTEM, source: StampSource = StampSource.KERNEL) -> Stamp:
    return Stamp(clock, epoch, Instant.from_ns(ns), source)
