"""Many clients of unicast negotiation in one process, for ``bench/ptp_daemon.py``: they ask, and count what they get.

``python bench/peers/ptp_clients.py SERVER FIRST COUNT LOG_INTERVAL DELAY_REQ``

The clients are at COUNT addresses from FIRST on, which this machine must have. Each asks the server for an Announce a
second and a Sync every 2**LOG_INTERVAL s, and with DELAY_REQ 1 for answers to as many Delay_Req, which it then sends.
The line "ready" is printed when all is granted. Each of two lines on standard input makes it print what has come so
far, as JSON; after the second it ends.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from ipaddress import IPv4Address

from timesync.base.ids import ALL_PORTS, ClockIdentity, PortIdentity
from timesync.wire.ptp import encode
from timesync.wire.ptp_message import DelayReq, Flags, Header, MessageType, Signaling
from timesync.wire.ptp_tlv import TlvType, UnicastRequest

EVENT, GENERAL = 319, 320
DURATION_S = 300
_ASK_AGAIN_S = 2.0
_GRANT_SIZE = 8
_SEQUENCE = slice(30, 32)


def opened(address: str, port: int) -> socket.socket:
    """A socket of one client."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    udp.bind((address, port))
    return udp


class Clients:
    """All of them."""

    def __init__(self, server: str, first: str, count: int, log_interval: int, *, delay: bool) -> None:
        self._server = server
        self._kinds = [MessageType.SYNC, *([MessageType.DELAY_RESP] if delay else [])]
        self._log_interval = log_interval
        addresses = [str(IPv4Address(first) + number) for number in range(count)]
        self._general = [opened(one, GENERAL) for one in addresses]
        self._event = [opened(one, EVENT) for one in addresses]
        self._numbers = {one.fileno(): number for number, one in enumerate(self._general)}
        self._sockets = {one.fileno(): one for one in (*self._general, *self._event)}
        self._poll = select.epoll()
        for fileno in self._sockets:
            self._poll.register(fileno, select.EPOLLIN)
        self._poll.register(0, select.EPOLLIN)
        self._sources = [PortIdentity(ClockIdentity(number.to_bytes(8, "big")), 1) for number in range(1, count + 1)]
        self._requests = [self._request(source) for source in self._sources]
        self.granted: list[set[int]] = [set() for _ in range(count)]
        self.counts: Counter[str] = Counter()

    def _request(self, source: PortIdentity) -> bytearray:
        header = Header(source=source, sequence_id=0, flags=Flags.UNICAST)
        return bytearray(encode(DelayReq(header)))

    def ask(self) -> None:
        """Those that miss a grant ask for it."""
        for number, source in enumerate(self._sources):
            missing = [kind for kind in (MessageType.ANNOUNCE, *self._kinds) if kind not in self.granted[number]]
            if missing:
                logs = [0 if kind is MessageType.ANNOUNCE else self._log_interval for kind in missing]
                tlvs = tuple(
                    UnicastRequest(kind, log, DURATION_S).to_tlv() for kind, log in zip(missing, logs, strict=True)
                )
                header = Header(source=source, sequence_id=0, flags=Flags.UNICAST)
                data = encode(Signaling(header, ALL_PORTS, tlvs))
                self._general[number].sendto(data, (self._server, GENERAL))

    def complete(self) -> bool:
        """All is granted."""
        return all(len(one) == 1 + len(self._kinds) for one in self.granted)

    def take(self, wait_s: float) -> bool:
        """Read what is there; true when somebody wrote to standard input."""
        told = False
        for fileno, _ in self._poll.poll(max(wait_s, 0.0)):
            if fileno == 0:
                told = True
                continue
            udp = self._sockets[fileno]
            try:
                while True:
                    data = udp.recv(2048)
                    kind = data[0] & 0x0F
                    self.counts[MessageType(kind).name] += 1
                    if kind == MessageType.SIGNALING:
                        self._granted(self._numbers[fileno], data)
            except BlockingIOError:
                continue
        return told

    def _granted(self, number: int, data: bytes) -> None:
        at = 44
        while at + 4 + _GRANT_SIZE <= len(data):
            kind, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
            if kind == TlvType.GRANT_UNICAST_TRANSMISSION and any(data[at + 6 : at + 10]):
                self.granted[number].add(data[at + 4] >> 4)
            at += 4 + length

    def send(self, turn: int) -> None:
        """The Delay_Req of one client."""
        number = turn % len(self._requests)
        data = self._requests[number]
        data[_SEQUENCE] = (turn // len(self._requests) & 0xFFFF).to_bytes(2, "big")
        self._event[number].sendto(data, (self._server, EVENT))
        self.counts["sent"] += 1

    def run(self, *, delay: bool) -> None:
        """Until standard input is told twice."""
        asked = 0.0
        while not self.complete():
            if time.monotonic() > asked + _ASK_AGAIN_S:
                asked = time.monotonic()
                self.ask()
            self.take(0.05)
        print("ready", flush=True)
        gap = 2.0**self._log_interval / len(self._requests)
        begun, turn, told = time.monotonic(), 0, 0
        while told < 2:
            while delay and begun + turn * gap <= time.monotonic():
                self.send(turn)
                turn += 1
            if self.take(0.005):
                sys.stdin.readline()
                told += 1
                print(json.dumps(self.counts), flush=True)


def main(server: str, first: str, count: str, log_interval: str, delay: str) -> None:
    """Run."""
    wanted = delay == "1"
    Clients(server, first, int(count), int(log_interval), delay=wanted).run(delay=wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
