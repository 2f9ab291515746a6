"""When a client may make key establishment again (RFC 8915, 4.2 and 5.7).

The time between two attempts grows until a valid NTP answer comes, and not only until keys are agreed upon: a server
whose NTP side answers every request with an NTS NAK, or not at all, would else be asked for keys without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from timesync.base.machine import Rng
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.nts.saved import LIFETIME

FIRST_UNREACHED: Final = Duration.from_s(10)
"""After the first attempt that did not get as far as TLS; RFC 8915 allows no less."""

FIRST_REACHED: Final = Duration.from_s(100)
"""After the first attempt that failed later: such a one costs the server something, and is rarely over soon."""

LONGEST: Final = Duration.from_s(5 * 86_400)
"""RFC 8915: five days."""

GROWTH: Final = 1.5
"""RFC 8915: at least this factor from one wait to the next."""

SPREAD: Final = 0.2
"""Each wait is up to so much longer, so that clients that failed together do not come back together."""


MAX_SERVERS: Final = 128
"""NTS-KE servers of one pool whose waits are kept."""

DEAD: Final = 2
"""So many attempts without a valid NTP answer, and another server should take the place of one."""


class KeFailure(Enum):
    """How far a key establishment came that failed."""

    UNREACHED = "unreached"
    """No name, no route, refused, or timed out before TCP was connected."""
    REACHED = "reached"
    """TLS failed, or the certificate, or what was said inside."""


@dataclass(frozen=True, slots=True)
class RetryState:
    """For status and tests.

    Attributes:
        attempts: Since the last valid NTP answer.
        wait: The last wait; zero before the first.
        allowed_at: When the next attempt may begin; None: at once.
    """

    attempts: int
    wait: Duration
    allowed_at: Instant[Mono] | None


class KeRetry:
    """The waits of one NTS-KE server.

    Args:
        rng: For spreading.
    """

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._attempts = 0
        self._wait = ZERO
        self._allowed_at: Instant[Mono] | None = None
        self._established_at: Instant[Mono] | None = None

    @property
    def state(self) -> RetryState:
        """As it is now."""
        return RetryState(self._attempts, self._wait, self._allowed_at)

    @property
    def dead(self) -> bool:
        """Attempt after attempt has failed, or given keys that no answer came under."""
        return self._attempts >= DEAD

    def allowed(self, now: Instant[Mono]) -> bool:
        """Whether an attempt may begin."""
        return self._allowed_at is None or now >= self._allowed_at

    def failed(self, now: Instant[Mono], failure: KeFailure) -> None:
        """An attempt has failed."""
        self._back_off(now, FIRST_UNREACHED if failure is KeFailure.UNREACHED else FIRST_REACHED)

    def established(self, now: Instant[Mono], age: Duration = ZERO) -> None:
        """There are keys, ``age`` old when they were stored; whether they are of use is not known yet."""
        self._established_at = now - age
        self._back_off(now, FIRST_UNREACHED)

    def verified(self) -> None:
        """A valid NTP answer has come under the keys: when they are of no more use, an attempt may begin at once."""
        self._attempts = 0
        self._wait = ZERO
        self._allowed_at = None

    def refresh_due(self, now: Instant[Mono]) -> bool:
        """Whether the keys are too old."""
        return self._established_at is not None and now - self._established_at >= LIFETIME

    def _back_off(self, now: Instant[Mono], first: Duration) -> None:
        self._attempts += 1
        stretch = 1.0 + SPREAD * self._rng.random()
        # From the wait that was, its spread included, so that no wait is under 1.5 times the one before.
        grown = Duration(round(self._wait.scaled_ns * GROWTH * stretch))
        fresh = Duration(round(first.scaled_ns * stretch))
        # At the limit the spread goes the other way: there only the limit holds.
        limit = Duration(round(LONGEST.scaled_ns * (2.0 - stretch)))
        self._wait = min(max(grown, fresh), limit)
        self._allowed_at = now + self._wait


class KeRetries:
    """The waits of the NTS-KE servers behind one name: one that fails keeps nobody from the others.

    Args:
        rng: For spreading.
    """

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._servers: dict[str, KeRetry] = {}

    def of(self, address: str, now: Instant[Mono]) -> KeRetry:
        """Those of one server. Where there are too many, one that need not wait any more is forgotten."""
        known = self._servers.get(address)
        if known is None:
            if len(self._servers) >= MAX_SERVERS:
                free = (other for other, its in self._servers.items() if its.allowed(now))
                del self._servers[next(free, next(iter(self._servers)))]
            known = self._servers[address] = KeRetry(self._rng)
        return known

    def wait(self, now: Instant[Mono]) -> Duration:
        """Until the first of those that have to wait need not any more; zero when none has to."""
        ends = (its.state.allowed_at for its in self._servers.values())
        return min((end - now for end in ends if end is not None and end > now), default=ZERO)
