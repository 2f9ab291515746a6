"""NTPv5 requests and answers made by hand, and a server and a client that speak in memory."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from timesync.base.ids import ClockId
from timesync.base.measure import Leap, Stamp
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.ntp.serve_state import ServeState

S = 1_000_000_000
TAI_UTC = 37
NOW_NS = 1_790_000_000 * S
"""UTC, in September 2026."""

NTP_NOW = (1_790_000_000 + 2_208_988_800) << 32
COOKIE = 0x0123456789ABCDEF
DRAFT = b"draft-ietf-ntp-ntpv5-08"

HEAD = (
    "first",
    "stratum",
    "poll",
    "precision",
    "delay",
    "dispersion",
    "timescale",
    "era",
    "flags",
    "server_cookie",
    "client_cookie",
    "receive",
    "transmit",
)

STATE = ServeState(
    synchronized=True,
    leap=Leap.NONE,
    stratum=2,
    reference_id=b"\xc0\0\2\1",
    root_delay=Duration.from_s(0.5),
    root_dispersion=Duration.from_s(0.25),
    dispersion_rate=0.0,
    at=Instant(0),
    valid_until=Instant.from_ns(1 << 60),
    reference_time=NTP_NOW - (8 << 32),
    precision=-20,
    serving_map=SYSTEM_MAP,
    epoch=0,
)


class Scales:
    """TAI - UTC is 37 s for ever."""

    def tai(self, utc: Instant[Utc], /) -> Instant[Tai]:
        return Instant(utc.scaled_ns + Duration.from_s(TAI_UTC).scaled_ns)

    def utc(self, tai: Instant[Tai], /) -> Instant[Utc]:
        return Instant(tai.scaled_ns - Duration.from_s(TAI_UTC).scaled_ns)

    def ambiguous(self, utc: Instant[Utc], /) -> bool:
        return False


def stamp(utc_ns: int = NOW_NS) -> Stamp:
    return Stamp(ClockId("system"), 0, Instant.from_ns(utc_ns + TAI_UTC * S))


def entropy(seed: int = 1) -> Any:
    """Octets that are different at each call, and the same in each run."""
    count = 0

    def read(size: int, /) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{seed}/{count}".encode()).digest()[:size]

    return read


def message(fields: Iterable[tuple[int, bytes]] = ((0xF5FF, DRAFT),), **changes: int) -> bytes:
    """A message from the figure of the draft: a bare request unless told otherwise."""
    words = dict.fromkeys(HEAD, 0) | {"first": 0x2B, "client_cookie": COOKIE}
    assert changes.keys() <= words.keys()
    words |= changes
    head = struct.pack(">BBbbIIBBHQQQQ", *words.values())
    return head + b"".join(
        struct.pack(">HH", kind, len(body) + 4) + body + bytes(-len(body) % 4) for kind, body in fields
    )


def answer(cookie: int, fields: Iterable[tuple[int, bytes]] = ((0xF5FF, DRAFT),), **changes: int) -> bytes:
    """What a right server of stratum 2 says now."""
    usual = {
        "first": 0x2C,
        "stratum": 2,
        "poll": 4,
        "precision": -20,
        "delay": 1 << 27,
        "dispersion": 1 << 26,
        "flags": 1,
        "client_cookie": cookie,
        "receive": NTP_NOW,
        "transmit": NTP_NOW + (1 << 20),
    }
    return message(fields, **(usual | changes))


def state(**changes: Any) -> ServeState:
    return replace(STATE, **changes)


def parts(data: bytes) -> dict[int, list[bytes]]:
    """The fields of a message by type; read apart from the codec."""
    found: dict[int, list[bytes]] = {}
    position = 48
    while position < len(data):
        kind, length = struct.unpack_from(">HH", data, position)
        found.setdefault(kind, []).append(data[position + 4 : position + length])
        position += -(-length // 4) * 4
    assert position == len(data)
    return found


def head(data: bytes) -> dict[str, int]:
    """The header of a message by name."""
    return dict(zip(HEAD, struct.unpack(">BBbbIIBBHQQQQ", data[:48]), strict=True))
