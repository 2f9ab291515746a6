"""When the next request leaves: poll interval, burst, backing off (RFC 5905, 7.4 and 13)."""

from __future__ import annotations

from typing import Final

from timesync.base.machine import Rng
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono

BURST: Final = 4
"""Requests of a burst."""

BURST_INTERVAL: Final = Duration.from_s(2)
"""Between those; RFC 5905's BTIME."""

SPREAD: Final = 0.02
"""Intervals vary by so much either way, so that clients do not keep step with each other; chrony's figure."""

LAN_ROUND_TRIP: Final = Duration.from_s(0.01)
"""Only a server nearer than this is asked more than once a second."""

LOST_BEFORE_SLOWER: Final = 8
"""So many requests in a row without an answer double the interval."""

REFUSED_INTERVAL: Final = Duration.from_s(3600)
"""A server that refuses us is asked this seldom whether it still does."""


class Pacing:
    """The timer of one association.

    ``next_at`` is in the past at first: the first request leaves when the machine is first called.
    """

    def __init__(self, poll_min: int, poll_max: int, rng: Rng, *, burst: bool) -> None:
        self._poll_min = poll_min
        self._poll_max = poll_max
        self._rng = rng
        self._wanted = poll_min
        self._floor = poll_min
        self._wants_burst = burst
        self._burst_left = BURST if burst else 0
        self._lost = 0
        self._near = False
        self._refused = False
        self._least: int | None = None
        self._sent_at: Instant[Mono] | None = None
        self.next_at: Instant[Mono] = Instant(0)

    @property
    def poll(self) -> int:
        """The poll exponent now (log2 s), without burst."""
        poll = min(max(self._wanted, self._floor) + self._lost // LOST_BEFORE_SLOWER, self._poll_max)
        poll = poll if self._near else max(poll, 0)
        return poll if self._least is None else max(poll, self._least)

    @property
    def interval(self) -> Duration:
        """Between requests, without burst and spread."""
        poll = self.poll
        usual = Duration(UNITS_PER_S << poll if poll >= 0 else UNITS_PER_S >> -poll)
        return max(usual, REFUSED_INTERVAL) if self._refused else usual

    @property
    def stepped_back(self) -> bool:
        """The server's wish, not ours, sets the interval."""
        return self._floor > self._wanted or (self._least is not None and self._least > self._wanted)

    def sent(self, now: Instant[Mono]) -> None:
        """A request leaves; set the timer for the next."""
        self._burst_left = max(self._burst_left - 1, 0)
        self._sent_at = now
        self._set_timer(now)

    def answered(self, *, revived: bool) -> None:
        """A valid answer came; ``revived`` when none of the last eight requests before had one."""
        self._lost = 0
        if revived and self._sent_at is not None:
            self._start_burst(BURST - 1, self._sent_at)

    def lost(self) -> None:
        """A request stayed without an answer."""
        self._lost += 1

    def measured(self, round_trip: Duration) -> None:
        """How far away the server is."""
        self._near = round_trip < LAN_ROUND_TRIP

    def advise(self, poll: int, now: Instant[Mono]) -> None:
        """The core's wish, kept in the configured range; a shorter interval counts from the last request."""
        self._wanted = min(max(poll, self._poll_min), self._poll_max)
        if self._sent_at is not None and not self._burst_left:
            self.next_at = max(min(self.next_at, self._sent_at + self.interval), now)

    def rate_limited(self, asked: int) -> bool:
        """A RATE kiss: end the burst and ask less often. Returns whether the interval changed.

        It never becomes longer than the configured maximum (CVE-2015-7704).

        Args:
            asked: The poll exponent in the kiss, which some servers set to what they want.
        """
        before = self._floor
        self._floor = min(max(self.poll + 1, self._floor, asked), self._poll_max)
        self._burst_left = 0
        if self._sent_at is not None:
            self._set_timer(self._sent_at)
        return self._floor != before

    def allowed(self, least: int | None) -> None:
        """The shortest interval that the server of NTPv5 allows, log2 s; None: it has not said any.

        It is obeyed beyond the configured maximum, too, as the draft demands; the caller has limited it.
        """
        before, self._least = self._least, least
        if least is None or self._sent_at is None or least == before:
            return
        if self._least_forbids_burst and self._burst_left:
            self._burst_left = 0
        self._set_timer(self._sent_at)

    @property
    def _least_forbids_burst(self) -> bool:
        return self._least is not None and Duration.from_s(2.0**self._least) > BURST_INTERVAL

    def refused(self, *, by_server: bool) -> None:
        """Slow down to an occasional probe, or return from there."""
        self._refused = by_server
        self._burst_left = 0
        if self._sent_at is not None:
            self._set_timer(self._sent_at)

    def burst(self, now: Instant[Mono]) -> bool:
        """Start a burst now; False, and nothing, where the server has asked us to hold back."""
        if self._refused or self.stepped_back or self._least_forbids_burst:
            return False
        self._burst_left = BURST
        self.next_at = now
        return True

    def soon(self, now: Instant[Mono]) -> None:
        """Ask again without waiting for the interval, but not faster than a burst does."""
        if self._refused or self.stepped_back or self._least_forbids_burst:
            return
        earliest = now if self._sent_at is None else max(now, self._sent_at + BURST_INTERVAL)
        self.next_at = min(self.next_at, earliest)

    def _start_burst(self, requests: int, after: Instant[Mono]) -> None:
        if self._refused or self.stepped_back or self._least_forbids_burst or not self._wants_burst:
            return
        self._burst_left = max(self._burst_left, requests)
        self._set_timer(after)

    def _set_timer(self, start: Instant[Mono]) -> None:
        span = min(self.interval, BURST_INTERVAL) if self._burst_left else self.interval
        shift = round(span.scaled_ns * SPREAD * (2 * self._rng.random() - 1))
        self.next_at = start + span + Duration(shift)
