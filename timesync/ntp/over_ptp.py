"""NTP over PTP on both sides: a client whose requests travel in PTP messages, a server that answers in such."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol

from timesync.base.machine import Dropped, Effect, Machine, SendStamped
from timesync.base.measure import Stamp
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.ntp.server import Count, Reply, Server
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, decode
from timesync.wire.ntp_ext import encode_field
from timesync.wire.ntp_over_ptp import (
    NTP_DOMAIN,
    Carried,
    Form,
    decode_correction,
    encode_correction,
    unwrap,
    wrap,
)

DROPPED: Final = "ntp-over-ptp"
"""Why an answer that is no NTP over PTP of the domain was refused."""

CORRECTED_VERSION: Final = 4
"""Of NTP, in which a request may ask what transparent clocks have written into it."""

MAX_LOST: Final = 4
"""Requests lost in a row before a server that has answered in one form is asked in the other."""


class Asking(Machine, Protocol):
    """A machine whose requests may meet a refusing socket; ``timesync.ntp.client.Client``."""

    def on_packet(
        self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono], residence: Duration = ZERO
    ) -> Iterable[Effect]:
        """A packet has arrived, which transparent clocks have kept for ``residence``."""
        ...

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> Iterable[Effect]:
        """The socket of ``token`` reported an error."""
        ...


class OverPtp:
    """A ``Machine`` around another one: what that sends and receives as NTP leaves and comes as NTP over PTP.

    No server says which form it knows, and it answers nothing to the other: each request that is lost is followed by
    one in the other form until there is an answer, and then that form stays.
    """

    def __init__(self, inner: Asking, domain: int = NTP_DOMAIN) -> None:
        """``domain`` is the ``domainNumber`` of requests and answers."""
        self._inner = inner
        self._domain = domain
        self._form = Form.ORGANIZATION
        self._heard = False
        self._lost = 0
        self._waiting = False

    @property
    def form(self) -> Form | None:
        """In which form the server answers; None while it has not."""
        return self._form if self._heard else None

    def deadline(self) -> Instant[Mono] | None:
        """See ``Machine``."""
        return self._inner.deadline()

    def on_deadline(self, now: Instant[Mono]) -> Iterator[Effect]:
        """See ``Machine``."""
        return self._wrapped(self._inner.on_deadline(now))

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> Iterator[Effect]:
        """See ``Machine``."""
        try:
            carried = unwrap(data, self._domain)
        except WireError:
            return iter((Dropped(DROPPED),))
        effects = list(self._inner.on_packet(token, carried.ntp, stamp, now, carried.correction))
        # Both ports are known to everybody: what the client drops may be of anyone, and says nothing of the server.
        dropped = bool(effects) and all(isinstance(effect, Dropped) for effect in effects)
        if carried.form is self._form and not dropped:
            self._heard, self._waiting, self._lost = True, False, 0
        return self._wrapped(effects)

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterator[Effect]:
        """See ``Machine``."""
        return self._wrapped(self._inner.on_sent(token, stamp, now))

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> Iterator[Effect]:
        """See ``Asking``."""
        return self._wrapped(self._inner.on_error(token, text, now))

    def _wrapped(self, effects: Iterable[Effect]) -> Iterator[Effect]:
        for effect in effects:
            if isinstance(effect, SendStamped):
                self._choose_form()
                yield replace(effect, data=wrap(effect.data, self._form, self._domain))
            else:
                yield effect

    def _choose_form(self) -> None:
        """For the next request; the one before was lost when nothing has come meanwhile."""
        if self._waiting:
            self._lost += 1
            if not self._heard or self._lost >= MAX_LOST:
                self._heard, self._lost = False, 0
                self._form = Form.EXPERIMENTAL if self._form is Form.ORGANIZATION else Form.ORGANIZATION
        self._waiting = True


def respond(
    server: Server,
    request: bytes,
    source: bytes | str,
    port: int,
    receive_ns: int,
    transmit: Callable[[], int] | int,
    mono_ns: int,
) -> Reply | None:
    """``Server.respond`` for a datagram of NTP over PTP; the reply goes back in the form of the request.

    A client that asks for it is told what transparent clocks have written into its request.
    """
    try:
        carried = unwrap(request, server.ptp_domain)
    except WireError:
        server.counts[Count.RECEIVED] += 1
        server.counts[Count.BAD] += 1
        return None
    fields = _told(carried)
    reply = server.respond(carried.ntp, source, port, receive_ns, transmit, mono_ns, fields)
    if reply is None:
        return None
    server.counts[Count.OVER_PTP] += 1
    return reply._replace(data=wrap(reply.data, carried.form, server.ptp_domain))


def _told(carried: Carried) -> bytes:
    """The fields of the answer to a request: as long as those that it has."""
    if len(carried.ntp) <= HEADER_SIZE or carried.ntp[0] >> 3 & 7 != CORRECTED_VERSION:
        return b""
    try:
        asked = decode_correction(decode(carried.ntp).extensions)
    except WireError:
        return b""
    if asked is None:
        return b""
    field = encode_correction(carried.correction)
    return encode_field(field.kind, field.body)
