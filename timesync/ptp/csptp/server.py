"""A server of CSPTP. It keeps nothing of its clients, but where a response went until it is known when it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from timesync.base.ids import ClockId, ClockIdentity
from timesync.base.machine import Dropped
from timesync.base.measure import Stamp
from timesync.ptp.csptp.message import Request, enough, follow_up, parse, response
from timesync.ptp.datasets import TimePropertiesDS
from timesync.ptp.effect import SendEvent, SendGeneral
from timesync.ptp.settings import LocalQuality
from timesync.wire.csptp_tlv import CsptpResponse, CsptpStatus
from timesync.wire.error import WireError

MOST_WAITING: Final = 256
"""Responses whose transmit stamp is waited for; more requests than that at once are not answered."""

_PORT = 1

ServerEffect = SendEvent | SendGeneral | Dropped

Gate = Callable[[str, int], str | None]
"""Why who sends from this numeric address gets no answer now (ns), in one short fixed word; None: he gets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the configuration says.

    Attributes:
        clock: The clock whose time is given, by its stamps.
        identity: ``clockIdentity``: what it calls itself.
        domain: ``domainNumber``.
        unpadded: Answer requests that are smaller than the answer, too. Whoever asks in somebody else's name then
            has us send that one more octets than he sent himself.
        priority1: ``grandmasterPriority1``.
        priority2: ``grandmasterPriority2``.
    """

    clock: ClockId
    identity: ClockIdentity
    domain: int
    unpadded: bool = False
    priority1: int = 128
    priority2: int = 128


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A response on its way.

    Attributes:
        destination: Numeric address of the client.
        sequence_id: Of its request.
        epoch: Of our clock when that came.
    """

    destination: str
    sequence_id: int
    epoch: int


class CsptpServer:
    """Answers on one interface, in one domain.

    Attributes:
        answered: Requests that got their answer whole.
        drops: The others, by reason.
    """

    def __init__(self, settings: ServerSettings, gate: Gate) -> None:
        """Nobody is answered before ``set_quality``."""
        self.answered = 0
        self.drops: Counter[str] = Counter()
        self._settings = settings
        self._gate = gate
        self._local: LocalQuality | None = None
        self._token = 0
        self._waiting: dict[int, _Waiting] = {}

    def set_quality(self, local: LocalQuality) -> None:
        """What may be said of the clock from now on."""
        self._local = local

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> Iterator[ServerEffect]:
        """A message came from an address; the stamp is of event messages only."""
        try:
            message = parse(data)
        except WireError:
            yield self._drop("malformed")
            return
        if not isinstance(message, Request):
            return  # for a client on this interface
        why = self._refusal(message, stamp, source)
        if why is not None:
            yield self._drop(why)
            return
        assert stamp is not None
        assert self._local is not None
        status = message.wants.status and self._fits(message, status=True)
        data = response(
            message.header,
            CsptpResponse(stamp.at, message.header.correction),
            self._status(self._local) if status else None,
            replace(TimePropertiesDS.of(self._local), uncertain=not self._local.synchronized).flags(),
        )
        self._token += 1
        self._waiting[self._token] = _Waiting(source, message.header.sequence_id, stamp.epoch)
        yield SendEvent(port=_PORT, data=data, token=self._token, destination=source)

    def on_sent(self, token: int, stamp: Stamp | None) -> Iterator[ServerEffect]:
        """The transmit stamp of a response, or None when it is lost: then its client hears no more of it."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return
        if stamp is None or stamp.clock != self._settings.clock:
            yield self._drop("stamp")
        elif stamp.epoch != waiting.epoch:
            yield self._drop("epoch")
        else:
            self.answered += 1
            data = follow_up(self._settings.domain, waiting.sequence_id, stamp.at)
            yield SendGeneral(port=_PORT, data=data, destination=waiting.destination)

    def _refusal(self, asked: Request, stamp: Stamp | None, source: str) -> str | None:
        """Why there is no answer, if so; the cheapest questions first."""
        if asked.header.domain != self._settings.domain:
            return "domain"
        if self._local is None:
            return "not-ready"
        if stamp is None or stamp.clock != self._settings.clock:
            return "stamp"
        if not self._fits(asked, status=False):
            return "unpadded"
        if len(self._waiting) >= MOST_WAITING:
            return "busy"
        return self._gate(source, stamp.at.ns())

    def _fits(self, asked: Request, *, status: bool) -> bool:
        return self._settings.unpadded or enough(asked.size, status=status)

    def _status(self, local: LocalQuality) -> CsptpStatus:
        """Our own clock stands for the grandmaster: whom it follows itself is told by its class."""
        return CsptpStatus(
            priority1=self._settings.priority1,
            quality=local.quality,
            priority2=self._settings.priority2,
            steps_removed=0,
            utc_offset=local.utc_offset,
            grandmaster=self._settings.identity,
        )

    def _drop(self, reason: str) -> Dropped:
        self.drops[reason] += 1
        return Dropped(reason)
