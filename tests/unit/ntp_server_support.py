"""Requests packed by hand from the layout of RFC 5905, figure 8, and a server on times of our choice."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from timesync.base.measure import Leap
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration, Instant
from timesync.ntp.server import Reply, Server, ServerSettings, ServeState

S = 1_000_000_000
MS = 1_000_000
START_NS = 1_790_000_000 * S
"""Kernel time of the tests, in 2026."""

MONO_NS = 5_000 * S
NTP_UNIX = 2_208_988_800
EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
CLIENT = bytes([192, 0, 2, 1])

_HEADER = struct.Struct("!BBbbII4sQQQQ")


def request(
    *,
    first: int = 0x23,
    stratum: int = 0,
    poll: int = 6,
    reference: int = 0,
    origin: int = 0,
    receive: int = 0,
    transmit: int = 0x0123_4567_89AB_CDEF,
) -> bytes:
    """48 octets; 0x23 is leap 0, version 4, mode 3."""
    return _HEADER.pack(first, stratum, poll, 0, 0, 0, bytes(4), reference, origin, receive, transmit)


@dataclass(frozen=True)
class Header:
    """The fields of a reply, taken apart by hand."""

    leap: int
    version: int
    mode: int
    stratum: int
    poll: int
    precision: int
    root_delay: int
    root_dispersion: int
    reference_id: bytes
    reference: int
    origin: int
    receive: int
    transmit: int


def header(data: bytes) -> Header:
    first, *rest = _HEADER.unpack_from(data)
    return Header(first >> 6, first >> 3 & 7, first & 7, *rest)


def ns_of(timestamp: int) -> int:
    """A timestamp of NTP era 0 in ns of POSIX time, rounded to nearest."""
    return ((timestamp * S + (1 << 31)) >> 32) - NTP_UNIX * S


def state(**changes: Any) -> ServeState:
    """Stratum 2, synchronised; at MONO_NS, valid for an hour."""
    values: dict[str, Any] = {
        "synchronized": True,
        "leap": Leap.NONE,
        "stratum": 2,
        "reference_id": bytes([203, 0, 113, 5]),
        "root_delay": Duration.from_ns(10 * MS),
        "root_dispersion": Duration.from_ns(MS),
        "dispersion_rate": 0.0,
        "at": Instant.from_ns(MONO_NS),
        "valid_until": Instant.from_ns(MONO_NS + 3600 * S),
        "reference_time": 0xEBD1_0000_0000_0000,
        "precision": -23,
        "serving_map": SYSTEM_MAP,
        "epoch": 0,
    }
    return ServeState(**(values | changes))


def live_state(**changes: Any) -> ServeState:
    """The same, but of now, for servers that read the real clocks."""
    now = time.monotonic_ns()
    return state(at=Instant.from_ns(now), valid_until=Instant.from_ns(now + 3600 * S), **changes)


class Desk:
    """A server; each request takes ``took_ns`` to be answered."""

    def __init__(self, *, took_ns: int = 20_000, seed: int = 1, **settings: Any) -> None:
        settings.setdefault("allow", EVERYBODY)
        self.server = Server(ServerSettings(**settings), random.Random(seed))
        self.server.publish(state())
        self.took_ns = took_ns

    def ask(self, data: bytes, at_ns: int = START_NS, source: bytes | str = CLIENT, port: int = 40_000) -> Reply | None:
        return self.server.respond(data, source, port, at_ns, at_ns + self.took_ns, MONO_NS + at_ns - START_NS)

    def answer(self, data: bytes, at_ns: int = START_NS, source: bytes | str = CLIENT) -> Header:
        reply = self.ask(data, at_ns, source)
        assert reply is not None
        return header(reply.data)
