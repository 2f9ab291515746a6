"""Which candidates have a vote: those that lie within the fence, and those that are more than provisional.

A fence (``timesync.base.fence``) is a check by others than the sources. It has no vote and steers nothing: whoever
lies outside of it does not stand for election, and one that is ``trusted`` is no exception. That word is about votes of
other sources; a receiver that is misled is just what a fence is there for.

A provisional source is believed for want of better (``timesync.nts.bootstrap``). Beside others it has no vote.
"""

from __future__ import annotations

from collections.abc import Sequence

from timesync.base.fence import Fence
from timesync.base.ids import SourceId
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.servo.clock_model import ClockModel
from timesync.servo.lineage import Lineage
from timesync.servo.select import Candidate, Ruling, words
from timesync.servo.view import SourceState


class Suffrage:
    """What is known of the time from others than the sources.

    Attributes:
        awaited: The first word of those who make the fence is still to come.
        shut_out: Sources that lay outside of the fence when they were last judged.
    """

    def __init__(self) -> None:
        self.awaited = False
        self.shut_out: set[SourceId] = set()
        self._fence: Fence | None = None

    def enclose(self, fence: Fence | None, *, awaited: bool) -> None:
        """Judge by this from now on; None: by nothing."""
        self._fence, self.awaited = fence, awaited

    def fence(self, now: Instant[Mono]) -> Fence | None:
        """The fence as far as it counts now, carried to now."""
        if self._fence is None or now >= self._fence.until:
            return None
        return self._fence.carried(now)

    def contradiction(self, claimed: Instant[Tai], within_s: float, now: Instant[Mono]) -> str | None:
        """Why it cannot be ``claimed`` now, give or take so many seconds; None: it can.

        The words go after the name of the clock or source, without a verb of their own before them.
        """
        fence = self.fence(now)
        off = None if fence is None else fence.beyond(claimed, Duration.from_s(within_s), now)
        if fence is None or off is None:
            return None
        return f"at least {words(abs(off.s()))} {'ahead' if off.scaled_ns > 0 else 'behind'} by {fence.by}"

    def outside(self, candidate: Candidate, reading: Instant[Tai], now: Instant[Mono]) -> Ruling | None:
        """The ruling on a candidate that the fence shuts out; None for one that it does not."""
        why = self.contradiction(reading - Duration.from_s(candidate.offset_s), candidate.bound_s, now)
        return None if why is None else Ruling(SourceState.EXCLUDED, f"its time is {why}")

    def silent(
        self, model: ClockModel, standing: Sequence[Candidate], lineage: Lineage, minimum: int
    ) -> dict[SourceId, Ruling]:
        """The rulings on provisional candidates that have no vote now.

        Beside others they have none. Where the others alone are fewer than must agree, those that agree with all of
        them may make up the number: otherwise the time would never be known, and they never verified.
        """
        doubtful = [c for c in standing if _provisional(model, c, lineage)]
        firm = [c for c in standing if c not in doubtful]
        if not firm:
            wait = "provisional: others are asked first whether its time can be right"
            return {c.source: Ruling(SourceState.CANDIDATE, wait) for c in doubtful if self.awaited}
        enough = len(firm) >= minimum or any(c.trusted or c.vouched for c in firm)
        names = " and ".join(c.name for c in firm[:3])
        reason = f"provisional: it has no vote beside {names} before it is verified"
        return {
            c.source: Ruling(SourceState.CANDIDATE, reason)
            for c in doubtful
            if enough or any(abs(c.offset_s - f.offset_s) > c.bound_s + f.bound_s for f in firm)
        }


def _provisional(model: ClockModel, candidate: Candidate, lineage: Lineage) -> bool:
    """Whether a candidate is provisional itself, or a link to a clock that has its time from such a source."""
    source = model.sources[candidate.source]
    if source.spec.parent is not None:
        root, _ = lineage.root(source.spec.parent)
        return root is not None and root.status is not None and root.status.provisional
    return source.status is not None and source.status.provisional
