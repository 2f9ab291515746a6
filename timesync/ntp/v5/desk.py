"""NTPv5 in a server of all versions: what a request in version 5 gets, and what is counted of it.

Who may ask, and how often, has been decided when a request comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, assert_never

from timesync.ntp.auth import SymmetricKey
from timesync.ntp.counters import Count
from timesync.ntp.interleave import Pairs
from timesync.ntp.limit import RateLimit
from timesync.ntp.serve_state import ServeState
from timesync.ntp.v5.server import Refusal, Reply5, Server5, ServerDrop
from timesync.ntp.v5.serving import Serving
from timesync.nts.serve import NtsFault, NtsGate, Refused
from timesync.wire.ntp5_ext import DRAFTS

ANY_POLL: Final = -4
"""The shortest interval that is said where none is too short: 1/16 s, than which no client of ours asks faster."""

LONGEST_POLL: Final = 17
"""RFC 5905's MAXPOLL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSettings:
    """How NTPv5 is answered.

    Attributes:
        drafts: Names of the drafts that are spoken.
        keys: Symmetric keys that requests may be authenticated with.
        versions: All NTP versions that are answered, as clients are told.
        rate_limit: How often one client may ask; None: as often as it likes.
        interleaved: Whether the interleaved mode is offered.
    """

    drafts: tuple[str, ...] = DRAFTS
    keys: tuple[SymmetricKey, ...] = ()
    versions: frozenset[int]
    rate_limit: RateLimit | None = None
    interleaved: bool = True


class Desk:
    """Answers requests in version 5.

    Args:
        settings: How.
        counts: The counters of the whole server, by ``Count``; they are added to.
    """

    def __init__(self, settings: DeskSettings, counts: list[int]) -> None:
        self._server = Server5(settings.drafts, settings.keys, Pairs() if settings.interleaved else None)
        self._counts = counts
        self._versions = settings.versions
        self._poll = shortest_poll(settings.rate_limit)

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        told = state.ntpv5 or Serving()
        self._server.publish(state, replace(told, poll=self._poll, versions=self._versions))

    def respond(
        self,
        request: bytes,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        mono_ns: int,
        gate: NtsGate | None,
        *,
        refused: bool,
    ) -> Reply5 | None:
        """The answer to a request, or None.

        Args:
            request: The datagram.
            receive_ns: Kernel time of its arrival.
            transmit: Kernel time of the answer's departure, as for ``Server.respond``.
            mono_ns: Monotonic time, on the scale of ``ServeState.at``.
            gate: Opens requests of NTS; None where that is not offered.
            refused: The client asks too often, and is told so.
        """
        counts = self._counts
        found = None if gate is None else gate.examine(request)
        if isinstance(found, Refused):
            return self._not_authentic(request, found, refused=refused)
        seal = None if found is None or gate is None else partial(gate.seal, found)
        if refused:
            return self._counted(self._server.refuse(request, Refusal.RATE, seal), Count.KOD, refused=True)
        reply = self._counted(
            self._server.respond(request, receive_ns, transmit, mono_ns, seal), Count.ANSWERED, refused=False
        )
        if reply is not None:
            counts[Count.VERSION_5] += 1
            counts[Count.INTERLEAVED] += reply.interleaved
            counts[Count.NTS] += seal is not None
            counts[Count.AUTHENTICATED] += seal is not None or reply.signed
        return reply

    def refuse(self, request: bytes, refusal: Refusal) -> Reply5 | None:
        """A refusal, for servers that refuse everybody; None where even that is not due."""
        reply = self._server.refuse(request, refusal)
        return reply if isinstance(reply, Reply5) else None

    def sent(self, stamp_as: int, kernel_ns: int) -> bool:
        """An answer left at this kernel time; False when it was none of version 5."""
        return self._server.sent(stamp_as, kernel_ns)

    def _not_authentic(self, request: bytes, found: Refused, *, refused: bool) -> Reply5 | None:
        """A request of NTS that does not open: a NAK, which costs nobody more than its request, or nothing."""
        bad = found.fault in (NtsFault.FORMAT, NtsFault.PADDING)
        if not refused:
            self._counts[Count.BAD if bad else Count.AUTH_FAILED] += 1
        if refused or found.unique_id is None:
            return None
        reply = self._server.refuse(request, Refusal.NAK, partial(NtsGate.nak, found.unique_id))
        if isinstance(reply, ServerDrop):
            return None
        self._counts[Count.NTS_NAK] += 1
        return reply

    def _counted(self, reply: Reply5 | ServerDrop, count: Count, *, refused: bool) -> Reply5 | None:
        """Count an answer, or why there is none; a request that is refused was counted before."""
        if isinstance(reply, Reply5):
            self._counts[count] += 1
            return reply
        if not refused:
            self._counts[_count_of(reply)] += 1
        return None


def shortest_poll(limit: RateLimit | None) -> int:
    """The shortest poll interval that clients may keep up under a limit, log2 s."""
    if limit is None:
        return ANY_POLL
    exponent = ANY_POLL
    while exponent < LONGEST_POLL and 2.0**exponent < limit.interval.s():
        exponent += 1
    return exponent


def _count_of(drop: ServerDrop) -> Count:
    """Where a request without an answer is counted."""
    match drop:
        case ServerDrop.FORMAT | ServerDrop.DRAFT | ServerDrop.LONG:
            return Count.BAD
        case ServerDrop.MAC:
            return Count.AUTH_FAILED
        case ServerDrop.LATE:
            return Count.LATE
        case _:
            assert_never(drop)
