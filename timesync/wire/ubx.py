"""The UBX protocol of u-blox receivers: framing, and the messages that tell time or how well it is known.

Layouts are those of the u-blox 8 / M8 Receiver Description (UBX-13003221, 31 and 32) and of the F9 and M10 Interface
Descriptions. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from timesync.wire import ubx_message as kinds
from timesync.wire.error import WireError
from timesync.wire.ubx_message import (
    Ack,
    Message,
    MonRf,
    MonVer,
    NavDop,
    NavPvt,
    NavSat,
    NavStatus,
    NavTimeGps,
    NavTimeLs,
    NavTimeUtc,
    Other,
    RawUtc,
    RfBlock,
    Satellite,
    SecSig,
    TimTp,
)

SYNC = b"\xb5\x62"
HEAD_SIZE = 6
"""Sync, class, id and length."""

OVERHEAD = 8
"""The head and the checksum."""

MAX_PAYLOAD = 4096
"""Longest payload taken: RXM-RAWX with 120 measurements has 3856 octets. A longer one is taken for noise."""

CFG_MSG = (0x06, 0x01)
CFG_VALSET = (0x06, 0x8A)

_PVT = struct.Struct("<IH5BBIi4B")
_UTC = struct.Struct("<IIiH5BB")
_LEAP = struct.Struct("<IB3xBbBbiHH3xB")
_GPS = struct.Struct("<IihbBI")
_PULSE = struct.Struct("<IIiHBB")
_STATUS = struct.Struct("<IBBBBII")
_DOP = struct.Struct("<I7H")
_SATELLITE = struct.Struct("<BBBbhhI")
_BLOCK = struct.Struct("<BBBB20x")
_UNKNOWN_ACCURACY = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it stands on the wire.

    Attributes:
        kind: Class and id.
        payload: What stands between length and checksum.
    """

    kind: tuple[int, int]
    payload: bytes


def checksum(data: bytes) -> bytes:
    """The 8-bit Fletcher checksum over class, id, length and payload (UBX-13003221, 31.4)."""
    return bytes((sum(data) & 0xFF, sum(accumulate(data)) & 0xFF))


def frame(kind: tuple[int, int], payload: bytes = b"") -> bytes:
    """A whole message. Raises WireError when the payload is too long."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError("length")
    body = bytes(kind) + len(payload).to_bytes(2, "little") + payload
    return SYNC + body + checksum(body)


def split(data: bytes) -> Frame:
    """One whole message. Raises WireError."""
    if len(data) < OVERHEAD or data[:2] != SYNC:
        raise WireError("not a message")
    if int.from_bytes(data[4:6], "little") != len(data) - OVERHEAD or len(data) > MAX_PAYLOAD + OVERHEAD:
        raise WireError("length")
    if checksum(data[2:-2]) != data[-2:]:
        raise WireError("checksum")
    return Frame((data[2], data[3]), data[HEAD_SIZE:-2])


def decode(data: bytes) -> Message:
    """One whole message. Raises WireError."""
    return read(split(data))


def read(message: Frame) -> Message:
    """What a message says. Raises WireError for a known one that is too short; a longer one is from newer firmware."""
    reader = _READERS.get(message.kind)
    if reader is None:
        return Other(message.kind)
    least, decoder = reader
    if len(message.payload) < least:
        raise WireError(f"length of {message.kind[0]:02x}-{message.kind[1]:02x}")
    return decoder(message.payload)


def poll(kind: tuple[int, int]) -> bytes:
    """Ask for one message, once."""
    return frame(kind)


def set_rate(kind: tuple[int, int], rate: int) -> bytes:
    """CFG-MSG: send a message on this port in each ``rate``-th navigation epoch; 0 never.

    The short form sets only the port that it comes in by, and only what is in force now: nothing is stored.
    """
    return frame(CFG_MSG, bytes((*kind, rate)))


def set_value(key: int, value: int) -> bytes:
    """CFG-VALSET of one item, in the RAM layer only: it is forgotten at the next reset.

    Raises WireError for a key whose size is not one to four octets.
    """
    # Bits 28 to 30 of a key say how long its value is: 1 a bit, 2 an octet, 3 two, 4 four.
    size = {1: 1, 2: 1, 3: 2, 4: 4}.get(key >> 28 & 7)
    if size is None:
        raise WireError("key")
    return frame(CFG_VALSET, b"\x00\x01\x00\x00" + key.to_bytes(4, "little") + value.to_bytes(size, "little"))


def _pvt(payload: bytes) -> NavPvt:
    tow, year, month, day, hour, minute, second, valid, accuracy, nano, fix, flags, _, used = _PVT.unpack_from(payload)
    return NavPvt(
        tow_ms=tow,
        utc=RawUtc(year, month, day, hour, minute, second, nano),
        date_valid=bool(valid & 1),
        time_valid=bool(valid & 2),
        resolved=bool(valid & 4),
        accuracy_ns=_accuracy(accuracy),
        fix=fix,
        fix_ok=bool(flags & 1),
        used=used,
    )


def _time_utc(payload: bytes) -> NavTimeUtc:
    tow, accuracy, nano, year, month, day, hour, minute, second, valid = _UTC.unpack_from(payload)
    return NavTimeUtc(
        tow_ms=tow,
        utc=RawUtc(year, month, day, hour, minute, second, nano),
        accuracy_ns=_accuracy(accuracy),
        valid=valid & 7 == 7,
        standard=valid >> 4,
    )


def _time_ls(payload: bytes) -> NavTimeLs:
    tow, _, source, current, change_source, change, until, week, day, valid = _LEAP.unpack_from(payload)
    return NavTimeLs(
        tow_ms=tow,
        source=source,
        current=current if valid & 1 else None,
        change_source=change_source,
        change=change,
        until_s=until if valid & 2 else None,
        week=week,
        day=day,
    )


def _time_gps(payload: bytes) -> NavTimeGps:
    tow, nano, week, leap, valid, accuracy = _GPS.unpack_from(payload)
    return NavTimeGps(
        tow_ms=tow,
        nano=nano,
        week=week,
        leap=leap if valid & 4 else None,
        valid=valid & 3 == 3,
        accuracy_ns=accuracy,
    )


def _tim_tp(payload: bytes) -> TimTp:
    tow, sub, error, week, flags, info = _PULSE.unpack_from(payload)
    return TimTp(
        tow_ms=tow,
        tow_sub=sub,
        quantization_ps=error,
        quantization_valid=not flags & 0x10,
        week=week,
        utc_base=bool(flags & 1),
        utc_known=bool(flags & 2),
        reference=info & 0xF,
        locked=not flags & 0x20,
    )


def _status(payload: bytes) -> NavStatus:
    tow, fix, flags, _, flags2, _, _ = _STATUS.unpack_from(payload)
    return NavStatus(tow_ms=tow, fix=fix, fix_ok=bool(flags & 1), spoofing=flags2 >> 3 & 3)


def _dop(payload: bytes) -> NavDop:
    tow, _, _, time, _, horizontal, _, _ = _DOP.unpack_from(payload)
    return NavDop(tow_ms=tow, time=time, horizontal=horizontal)


def _sat(payload: bytes) -> NavSat:
    count = payload[5]
    if len(payload) < 8 + count * _SATELLITE.size:
        raise WireError("length of NAV-SAT")
    satellites = []
    for at in range(count):
        fields = _SATELLITE.unpack_from(payload, 8 + at * _SATELLITE.size)
        system, number, signal, elevation, azimuth, _, flags = fields
        satellites.append(
            Satellite(
                system=system,
                number=number,
                signal_db=signal,
                elevation=elevation,
                azimuth=azimuth,
                used=bool(flags & 8),
            )
        )
    return NavSat(tow_ms=int.from_bytes(payload[:4], "little"), satellites=tuple(satellites))


def _rf(payload: bytes) -> MonRf:
    count = payload[1]
    if len(payload) < 4 + count * _BLOCK.size:
        raise WireError("length of MON-RF")
    blocks = [_BLOCK.unpack_from(payload, 4 + at * _BLOCK.size) for at in range(count)]
    return MonRf(tuple(RfBlock(jamming=flags & 3, antenna=antenna) for _, flags, antenna, _ in blocks))


def _hw(payload: bytes) -> MonRf:
    return MonRf((RfBlock(jamming=payload[22] >> 2 & 3, antenna=payload[20]),))


def _sec_sig(payload: bytes) -> SecSig:
    match payload[0]:
        case 1 if len(payload) >= 9:
            return SecSig(jamming=payload[4] >> 1 & 3, spoofing=payload[8] >> 1 & 7)
        case 2:
            return SecSig(jamming=payload[1] >> 1 & 3, spoofing=payload[1] >> 4 & 7)
        case version:
            raise WireError(f"version {version} of SEC-SIG")


def _version(payload: bytes) -> MonVer:
    rest = payload[40:]
    extensions = [_printable(rest[at : at + 30]) for at in range(0, len(rest) - 29, 30)]
    return MonVer(_printable(payload[:30]), _printable(payload[30:40]), tuple(extensions))


def _accuracy(value: int) -> int | None:
    return None if value == _UNKNOWN_ACCURACY else value


def _printable(field: bytes) -> str:
    text = field.split(b"\0", 1)[0]
    return "".join(chr(one) for one in text if 0x20 <= one < 0x7F).strip()


_READERS: dict[tuple[int, int], tuple[int, Callable[[bytes], Message]]] = {
    kinds.NAV_PVT: (84, _pvt),  # 92 since protocol version 15; what is read here stands in the first 24
    kinds.NAV_TIMEUTC: (20, _time_utc),
    kinds.NAV_TIMELS: (24, _time_ls),
    kinds.NAV_TIMEGPS: (16, _time_gps),
    kinds.TIM_TP: (16, _tim_tp),
    kinds.NAV_STATUS: (16, _status),
    kinds.NAV_DOP: (18, _dop),
    kinds.NAV_SAT: (8, _sat),
    kinds.MON_RF: (4, _rf),
    kinds.MON_HW: (60, _hw),
    kinds.SEC_SIG: (4, _sec_sig),
    kinds.MON_VER: (40, _version),
    kinds.ACK_ACK: (2, lambda payload: Ack(True, (payload[0], payload[1]))),
    kinds.ACK_NAK: (2, lambda payload: Ack(False, (payload[0], payload[1]))),
}
