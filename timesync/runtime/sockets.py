"""NTP exchanges over kernel-stamped UDP sockets, on any asyncio loop with ``add_reader``.

No thread and no second file descriptor: a transmit stamp on the error queue makes the socket readable for
``select()``, ``poll()`` and ``epoll()`` alike.
"""

from __future__ import annotations

import asyncio
import errno
import os

from timesync.base.ids import Endpoint
from timesync.base.measure import Stamp
from timesync.host import ExchangeHandler
from timesync.runtime.cards import Card, Cards
from timesync.runtime.stamping import StampClock
from timesync_drivers.netstamp import Received, StampedSocket, Transmitted

TRANSMIT_TIMEOUT_S = 0.05
"""How long to wait for a transmit stamp; the kernel needs microseconds, a shaped queue may need more."""
_LOST_LIMIT = 4
_REMOTES = 1024
_PER_WAKE = 16
"""Packets taken in one go, so that a flood on one socket does not hold up the others."""


class TransmitStamps:
    """Which remotes' transmit stamps never come, because the driver of their interface does not give any.

    After four losses in a row an exchange uses the time of the call, marked ``StampSource.USER``. The
    kernel's stamps are asked for all the same, and count again as soon as one comes in time.
    """

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}

    def missing(self, remote: Endpoint) -> bool:
        """Whether to use the time of the call for this remote."""
        return self._lost.get(remote.address, 0) >= _LOST_LIMIT

    def lost(self, remote: Endpoint) -> None:
        """No stamp came in time."""
        if len(self._lost) >= _REMOTES:  # pools change their members for months
            self._lost.clear()
        self._lost[remote.address] = self._lost.get(remote.address, 0) + 1

    def came(self, remote: Endpoint) -> None:
        """A stamp came in time."""
        self._lost.pop(remote.address, None)


class CardStamps:
    """The stamps of a network card, on its clock; there is no other for what the card did not stamp."""

    def __init__(self, cards: Cards, card: Card) -> None:
        self._cards = cards
        self._card = card

    def sent(self, stamp: Transmitted | None) -> Stamp | None:
        """That of the request; None when there is none."""
        return self._place(None if stamp is None else stamp.at_ns, 0, sent=True)

    def received(self, packet: Received) -> Stamp | None:
        """That of an answer; None when there is none."""
        return self._place(packet.at_ns, packet.interface, sent=False)

    def _place(self, at_ns: int | None, interface: int, *, sent: bool) -> Stamp | None:
        if at_ns is None:
            self._cards.lost(self._card, sent=sent)
            return None
        self._cards.came(self._card, sent=sent)
        return self._card.stamp(at_ns, interface)


class LinuxExchange:
    """One request to one remote and what comes back; ``timesync.host.Exchange``.

    ``on_sent`` of the handler is called exactly once after a ``send`` that did not raise, never from inside
    it, unless the exchange is closed before; the answer may be handed over earlier than that.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        udp: StampedSocket,
        remote: Endpoint,
        clock: StampClock,
        handler: ExchangeHandler,
        stamps: TransmitStamps,
        card: CardStamps | None = None,
    ) -> None:
        """Listen from now on; the exchange owns ``udp`` and closes it.

        With ``card`` all stamps are the card's, and ``udp`` is a socket that asks for those.
        """
        self._loop = loop
        self._socket = udp
        self._remote = remote
        self._clock = clock
        self._handler = handler
        self._stamps = stamps
        self._card = card
        self._sent: Transmitted | None = None
        self._waiting: asyncio.Handle | None = None
        self._closed = False
        loop.add_reader(udp.fileno(), self._on_readable)

    def send(self, data: bytes) -> None:
        """Send the one request. Raises OSError (EBADF after ``close``), and RuntimeError for a second one."""
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._sent is not None:
            raise RuntimeError("an exchange sends one request")
        self._sent = self._socket.send(data)
        if not self._socket.kernel_stamps:
            self._waiting = self._loop.call_soon(self._give_sent, self._sent)
        else:
            self._waiting = self._loop.call_later(TRANSMIT_TIMEOUT_S, self._on_timeout)

    def close(self) -> None:
        """Close the socket; the handler is not called again. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._socket.close()

    def _on_readable(self) -> None:
        # Stamps first: the usual order is then request, stamp, answer.
        for step in (self._take_stamp, self._take_packet):
            for _ in range(_PER_WAKE):
                if self._closed or not step():
                    break

    def _take_stamp(self) -> bool:
        """Read one; an error of the socket goes to the handler, the handler's own does not. False: all is read."""
        try:
            stamp = self._socket.read_transmit_stamp()
        except OSError as error:
            self._handler.on_error(error)
            return True
        if stamp is None:
            return False
        if self._waiting is not None:
            if self._card is None:
                self._stamps.came(self._remote)
            self._give_sent(stamp)
        return True

    def _take_packet(self) -> bool:
        """As ``_take_stamp``."""
        try:
            packet = self._socket.recv()
        except OSError as error:
            self._handler.on_error(error)
            return True
        if packet is None:
            return False
        if self._card is not None:
            stamp = self._card.received(packet)
        else:
            stamp = None if packet.at_ns is None else self._clock.stamp_at(packet.at_ns, packet.source)
        self._handler.on_packet(packet.data, stamp)
        return True

    def _on_timeout(self) -> None:
        """The stamp may lie there unread when the loop itself was late, so look once more."""
        for _ in range(_PER_WAKE):
            if self._closed or self._waiting is None or not self._take_stamp():
                break
        if self._closed or self._waiting is None:
            return
        if self._card is not None:
            self._give_sent(None)
            return
        self._stamps.lost(self._remote)
        self._give_sent(self._sent if self._stamps.missing(self._remote) else None)

    def _give_sent(self, stamp: Transmitted | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._card is not None:
            self._handler.on_sent(self._card.sent(stamp))
        else:
            self._handler.on_sent(None if stamp is None else self._clock.stamp_at(stamp.at_ns, stamp.source))
