"""The sockets and the interface of a PTP wire, made of lists."""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from typing import Any

from timesync_drivers.link import LinkState
from timesync_drivers.ptp_stamp import NO_READING, Arrival, Departure, Reading

UP = LinkState(3, "eth0", bytes.fromhex("020000000001"), up=True)
DOWN = LinkState(3, "eth0", bytes.fromhex("020000000001"), up=False)
HEADERS = bytes.fromhex("011b19000000" + "020000000001" + "88f7")


def message(sequence: int, *, kind: int = 0, port: int = 1, flags: int = 0x0200) -> bytes:
    identity = bytes.fromhex("020000fffe000001") + port.to_bytes(2, "big")
    head = (
        bytes([kind, 0x12, 0, 44, 0, 0]) + flags.to_bytes(2, "big") + bytes(12) + identity + sequence.to_bytes(2, "big")
    )
    return head.ljust(44, b"\0")


class Readable:
    """Something that an event loop can wait for."""

    def __init__(self) -> None:
        self._end, self._other = socket.socketpair()
        self._end.setblocking(False)

    def fileno(self) -> int:
        return self._end.fileno()

    def poke(self) -> None:
        self._other.send(b"!")

    def calm(self) -> None:
        with suppress(BlockingIOError):
            self._end.recv(100)

    def close(self) -> None:
        self._end.close()
        self._other.close()


class FakeWatch(Readable):
    """The interface, as the test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = UP
        self.news: deque[LinkState | OSError] = deque()

    def refresh(self) -> bool:
        self.calm()
        before = self.state
        while self.news:
            new = self.news.popleft()
            if isinstance(new, OSError):
                raise new
            self.state = new
        return self.state != before

    def tell(self, news: LinkState | OSError) -> None:
        self.news.append(news)
        self.poke()


class FakeSockets:
    """Sockets that send nothing; arrivals, stamps and errors are put in by the test."""

    def __init__(self) -> None:
        self.event, self.general = Readable(), Readable()
        self.sent: list[tuple[bytes, str, bool]] = []
        self.asked: list[tuple[bool, bool]] = []
        self.joined: set[str] = set()
        self.mac = b""
        self.refuse: OSError | None = None
        self.departures: deque[Departure | OSError] = deque()
        self.arrivals: dict[bool, deque[Arrival | OSError]] = {True: deque(), False: deque()}
        self.closed = False

    @property
    def filenos(self) -> tuple[int, int]:
        return self.event.fileno(), self.general.fileno()

    def close(self) -> None:
        self.closed = True
        self.event.close()
        self.general.close()

    def use_mac(self, mac: bytes) -> None:
        self.mac = mac

    def join(self, group: str) -> None:
        self.joined.add(group)

    def ask_stamps(self, *, software: bool, hardware: bool) -> None:
        self.asked.append((software, hardware))

    def send(self, data: bytes, destination: str, *, event: bool, hops: int | None, dscp: int) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.sent.append((data, destination, event))

    def receive(self, *, event: bool) -> Arrival | None:
        return self._take(self.event if event else self.general, self.arrivals[event])

    def read_departure(self) -> Departure | None:
        return self._take(None, self.departures)

    def leave(self, number: int, data: bytes, kernel_ns: int | None = None, card_ns: int | None = None) -> None:
        """A stamp comes."""
        self.departures.append(Departure(number, data, Reading(kernel_ns, card_ns, 0)))
        self.event.poke()

    def come(self, data: bytes, *, event: bool, reading: Reading = NO_READING) -> None:
        self.arrivals[event].append(Arrival(data, "there", reading))
        (self.event if event else self.general).poke()

    def fail(self, error: int, *, event: bool) -> None:
        self.arrivals[event].append(OSError(error, os.strerror(error)))
        (self.event if event else self.general).poke()

    @staticmethod
    def _take(readable: Readable | None, waiting: deque[Any]) -> Any:
        if not waiting:
            if readable is not None:
                readable.calm()
            return None
        found = waiting.popleft()
        if isinstance(found, OSError):
            raise found
        return found
