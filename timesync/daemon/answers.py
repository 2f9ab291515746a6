"""What the core answers to sources, and its view while the served clock is not there."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Coarse, Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Tai
from timesync.daemon.leap_book import LeapBook
from timesync.daemon.ptp_quality import Known
from timesync.daemon.pulse_group import PPS_REFERENCE
from timesync.servo.command import Now
from timesync.servo.controller import Controller
from timesync.servo.overview import view_clock, view_source
from timesync.servo.view import ClockView, CoreView, ServoState, SourceState, SourceView

_UNSYNCHRONIZED_STRATUM = 16
_AFTER_LOCK = (ServoState.LOCKED, ServoState.HOLDOVER, ServoState.FREERUN)


class Answers:
    """The ``CoreQuestions`` of an appliance."""

    def __init__(self, controller: Controller, now: Callable[[], Now], leaps: LeapBook) -> None:
        """Ask this core, as things are ``now``."""
        self._controller = controller
        self._now = now
        self._leaps = leaps
        self._were_locked: set[ClockId] = set()

    def watch(self) -> None:
        """Once a second: note which clocks are right or were, for ``claims`` never to forget it."""
        for clock in self._controller.clocks:
            if self._controller.standing(clock).state in _AFTER_LOCK:
                self._were_locked.add(clock)

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        """See ``CoreQuestions``."""
        return self._controller.lineage.coarse(clock, self._now(), apart_from=apart_from, only=only)

    def known(self, clock: ClockId) -> Coarse | None:
        """See ``CoreQuestions``; None for a clock that is not there."""
        model = self._controller.clocks.get(clock)
        if model is None:
            return None
        now = self._now()
        estimate = model.estimate(now.clocks[clock])
        bound = model.error_bound_s(now.clocks[clock], now.mono)
        if estimate is None or bound is None or not self._controller.standing(clock).known:
            return None
        return Coarse(estimate.offset_s, bound - abs(estimate.offset_s), f"clock {clock}")

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        """See ``CoreQuestions``."""
        return any(
            source.ruling.state is SourceState.SELECTED
            and source.spec.parent is None
            and source.spec.source not in apart_from
            and source.spec.reference_id != PPS_REFERENCE
            for source in self._controller.sources()
        )

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        """See ``CoreQuestions``."""
        return self._controller.clocks[clock].ledger.adjustment(at)

    def claims(self, clock: ClockId) -> Known:
        """See ``CoreQuestions``."""
        now = self._now()
        model, standing = self._controller.clocks[clock], self._controller.standing(clock)
        at = now.clocks[clock]
        estimate, bound = model.estimate(at), model.error_bound_s(at, now.mono)
        root, _ = self._controller.lineage.root(clock)
        self.watch()
        return Known(
            state=standing.state,
            primary=root is not None and root.quality is not None and root.quality.stratum == 0,
            was_locked=clock in self._were_locked,
            reference_id=None if root is None else root.spec.reference_id,
            bound_s=bound,
            deviation_s=None if estimate is None else estimate.deviation_s,
            tai_utc=self._leaps.today(clock, at)[1],
            tai_utc_known=self._leaps.vouched(at),
            leap=self._leaps.soon(clock, at),
        )

    def seen(self, source: SourceId) -> SourceView | None:
        """See ``CoreQuestions``."""
        found = next((one for one in self._controller.sources() if one.spec.source == source), None)
        return None if found is None else view_source(self._controller.owner(source), found, self._now())

    def last_step(self, clock: ClockId) -> Duration:
        """See ``CoreQuestions``."""
        return self._controller.clocks[clock].ledger.last_step

    def epoch(self, clock: ClockId) -> int:
        """See ``CoreQuestions``."""
        return self._controller.clocks[clock].ledger.epoch

    def fence(self) -> Fence | None:
        """See ``CoreQuestions``."""
        return self._controller.fence(self._now().mono)

    def shut_out(self) -> Collection[SourceId]:
        """See ``CoreQuestions``."""
        return self._controller.shut_out()


def view_without_served(controller: Controller, now: Now, why: str, *, disciplined: bool) -> CoreView:
    """The core while the device of the served clock has not been there yet: not synchronized, and in words why.

    Args:
        controller: The core.
        now: The present.
        why: The clock is not there.
        disciplined: Whether it is to be steered.
    """
    served = controller.settings.served
    views = [
        (source.spec.parent is not None, view_source(controller.owner(source.spec.source), source, now))
        for source in controller.sources()
    ]
    return CoreView(
        at=now.mono,
        served=served,
        state=ServoState.ACQUIRING,
        reason=f"waits for the device of the served clock: {why}",
        stratum=_UNSYNCHRONIZED_STRATUM,
        reference_id=bytes(4),
        leap=Leap.UNKNOWN,
        root_delay=Duration(0),
        root_dispersion=Duration(0),
        dispersion_rate=0.0,
        reference_time=None,
        sources=tuple(view for is_link, view in views if not is_link),
        links=tuple(view for is_link, view in views if is_link),
        clocks=(
            *(view_clock(controller, model, now) for model in controller.clocks.values()),
            _absent(served, disciplined),
        ),
    )


def _absent(clock: ClockId, disciplined: bool) -> ClockView:
    """A clock of which nothing is known."""
    return ClockView(
        clock=clock,
        disciplined=disciplined,
        state=ServoState.ACQUIRING,
        offset_s=None,
        offset_uncertainty_s=None,
        error_bound_s=None,
        frequency=Rate(0.0),
        frequency_uncertainty=Rate(math.inf),
        steering=Rate(0.0),
        wander=0.0,
        steps=0,
        fed_by=(),
    )
