"""A small SNTP client (RFC 4330) with kernel timestamps, plain and interleaved, sharing no code with what it judges.

All network namespaces of a machine share its CLOCK_REALTIME, so a client in any of them holds the true time, and the
offset that it finds is the error of the server that it asked (and of the way to it).
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass, replace

_SO_TIMESTAMPING = 37
_TX_SOFTWARE, _RX_SOFTWARE, _SOFTWARE, _TSONLY = 1 << 1, 1 << 3, 1 << 4, 1 << 11
_UNIX_TO_NTP_S = 2_208_988_800
_NS = 1_000_000_000
_HEADER = struct.Struct("!BBbb 4s4s4s QQQQ")
_ERA_NS = _NS << 32


@dataclass(frozen=True)
class Answer:
    """One exchange.

    Attributes:
        offset_ns: The server's clock minus ours.
        delay_ns: The round trip without the server's own time.
        stratum: Its stratum.
        leap: Its leap indicator.
    """

    offset_ns: float
    delay_ns: float
    stratum: int
    leap: int


class SntpClient:
    """Asks one server from one socket, with software timestamps of the kernel."""

    def __init__(self, address: str, port: int = 123) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flags = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE | _TSONLY
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
        self._socket.connect((address, port))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, timeout_s: float = 1.0) -> Answer | None:
        """One request in basic mode; None when no valid answer came."""
        exchange = self._exchange(0, 0, timeout_s)
        return None if exchange is None or exchange.interleaved else exchange.answer(exchange.transmit)

    def best(self, count: int) -> Answer | None:
        """The exchange with the least delay of several in basic mode; None when none was answered."""
        answers = [answer for answer in (self.ask() for _ in range(count)) if answer is not None]
        return min(answers, key=lambda answer: answer.delay_ns, default=None)

    def best_interleaved(self, count: int) -> Answer | None:
        """The same in interleaved mode (RFC 9769, 2): each reply tells when the one before it really left."""
        answers = []
        before = self._exchange(0, 0, 1.0)
        for _ in range(count):
            if before is None:
                break
            after = self._exchange(before.receive, before.mark, 1.0)
            if after is not None and after.interleaved:
                answers.append(before.answer(after.transmit))
            before = after
        return min(answers, key=lambda answer: answer.delay_ns, default=None)

    def _exchange(self, origin: int, receive: int, timeout_s: float) -> _Exchange | None:
        """One request with these timestamps; None when no valid answer came."""
        nonce = int.from_bytes(os.urandom(8), "big")
        request = _HEADER.pack(4 << 3 | 3, 0, 0, 0, b"\0" * 4, b"\0" * 4, b"\0" * 4, 0, origin, receive, nonce)
        self._socket.send(request)
        deadline = time.monotonic() + timeout_s
        sent_ns: int | None = None
        reply: _Exchange | None = None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR)
        while sent_ns is None or reply is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for _, events in poll.poll(left * 1000):
                if events & select.POLLERR:
                    sent_ns = _stamp(self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)[1])
                elif events & select.POLLIN:
                    data, control, _, _ = self._socket.recvmsg(1024, 512)
                    first, stratum, *_, echo, at, transmit = _HEADER.unpack_from(data)
                    interleaved = origin != 0 and echo == receive
                    if first & 7 == 4 and (echo == nonce or interleaved):
                        reply = _Exchange(first >> 6, stratum, interleaved, at, transmit, 0, _stamp(control))
        return replace(reply, sent_ns=sent_ns)


@dataclass(frozen=True)
class _Exchange:
    """A reply; receive and transmit are raw timestamps of the server, the others are ours in ns."""

    leap: int
    stratum: int
    interleaved: bool
    receive: int
    transmit: int
    sent_ns: int
    received_ns: int

    @property
    def mark(self) -> int:
        """When the reply came, as the next request tells it; a raw timestamp, and unlike any other."""
        return (self.received_ns + _UNIX_TO_NTP_S * _NS << 32) // _NS & 0xFFFF_FFFF_FFFF_FFFF

    def answer(self, transmit: int) -> Answer:
        """What this exchange measures, when its reply left at ``transmit``."""
        t1, t4 = self.sent_ns, self.received_ns
        t2, t3 = _near(self.receive, t1), _near(transmit, t1)
        return Answer(((t2 - t1) + (t3 - t4)) / 2, (t4 - t1) - (t3 - t2), self.stratum, self.leap)


def _stamp(control: list[tuple[int, int, bytes]]) -> int:
    """The software stamp of a packet, ns since 1970."""
    for level, kind, body in control:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPING):
            seconds, nanoseconds = struct.unpack_from("qq", body)
            return int(seconds * _NS + nanoseconds)
    raise AssertionError("the kernel gave no timestamp")


def _near(timestamp: int, pivot_ns: int) -> int:
    """A 64-bit NTP timestamp as ns since 1970, in the era nearest to a time."""
    at_ns = (timestamp * _NS >> 32) - _UNIX_TO_NTP_S * _NS
    return at_ns + round((pivot_ns - at_ns) / _ERA_NS) * _ERA_NS
