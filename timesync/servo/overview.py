"""The core's state as one frozen value, for servers, status and metrics."""

from __future__ import annotations

import math

from timesync.base.ids import SourceId
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Tai
from timesync.servo.clock_model import CONFIDENCE, ClockModel, Source
from timesync.servo.command import Now
from timesync.servo.controller import Controller
from timesync.servo.recent import Updates
from timesync.servo.select import Candidate
from timesync.servo.view import ClockView, CoreView, ServoState, SourceState, SourceView, TrackView, UpdateView

LOCAL_REFERENCE = bytes((127, 127, 1, 1))
"""Reference id of a clock that serves its own time for want of better (the address of ntpd's local clock driver)."""

_SERVABLE = (ServoState.LOCKED, ServoState.HOLDOVER)
_NO_STRATUM = 16


def view_source(model: ClockModel, source: Source, now: Now) -> SourceView:
    """One source, now."""
    candidate = model.candidate(source, now.clocks[model.spec.clock], now.mono)
    return SourceView(
        source=source.spec.source,
        clock=model.spec.clock,
        state=source.ruling.state,
        reason=source.ruling.reason,
        offset_s=None if candidate is None else candidate.offset_s,
        uncertainty_s=None if candidate is None else candidate.deviation_s,
        error_bound_s=None if candidate is None else candidate.bound_s,
        delay_s=source.delay_s,
        jitter_s=source.tracker.model.typical_s,
        last_sample_at=source.tracker.last_at,
        samples=source.tracker.samples,
        outliers=source.tracker.outliers,
        root_delay_s=None if source.quality is None else source.quality.root_delay.s(),
        root_dispersion_s=None if source.quality is None else source.quality.root_dispersion.s(),
        trusted=source.spec.trusted,
        noselect=source.spec.noselect,
        track=None if candidate is None else _view_track(model, source, candidate, now.clocks[model.spec.clock]),
    )


def _view_track(model: ClockModel, source: Source, candidate: Candidate, reading: Instant[Tai]) -> TrackView | None:
    """Its last measurements, when the clock reads ``reading``."""
    last, estimate, free = source.recent.last, model.estimate(reading), model.ledger.free(reading)
    if last is None:
        return None
    # What the clock would have done by itself since then, and what was added to it.
    drifted = candidate.frequency * (free - last.free).s()
    steered = (reading - free) - last.adjustment
    known = candidate.frequency if estimate is None else estimate.frequency - model.ledger.environment
    return TrackView(
        measured_s=last.offset.s(),
        carried_s=(last.offset - source.spec.correction + steered).s() + drifted,
        residual_frequency=Rate(candidate.frequency - known),
        residual_frequency_uncertainty=Rate(candidate.frequency_deviation),
        points=source.recent.points,
        runs=source.recent.runs,
        span_s=source.recent.span_s,
    )


def view_clock(controller: Controller, model: ClockModel, now: Now) -> ClockView:
    """One clock, now."""
    clock = model.spec.clock
    reading = now.clocks[clock]
    estimate = model.estimate(reading)
    memory = model.spec.memory
    if estimate is not None:
        frequency, deviation = estimate.frequency, estimate.frequency_deviation
    elif memory is not None:
        frequency, deviation = memory.frequency, memory.deviation
    else:
        frequency, deviation = 0.0, math.inf
    return ClockView(
        clock=clock,
        disciplined=model.spec.disciplined,
        state=controller.standing(clock).state,
        offset_s=None if estimate is None else estimate.offset_s,
        offset_uncertainty_s=None if estimate is None else estimate.deviation_s,
        error_bound_s=model.error_bound_s(reading, now.mono),
        frequency=Rate(frequency),
        frequency_uncertainty=Rate(deviation),
        steering=model.ledger.rate,
        wander=model.wander.value,
        steps=model.steps,
        stepped=model.corrections.stepped,
        fed_by=tuple(model.sources[source].spec.name for source in controller.feed(clock) if source in model.sources),
    )


def overview(controller: Controller, now: Now) -> CoreView:
    """The whole core as seen from the served clock."""
    served = controller.settings.served
    model = controller.clocks[served]
    standing = controller.standing(served)
    reading = now.clocks[served]
    estimate = model.estimate(reading)
    bound = model.error_bound_s(reading, now.mono)
    best = standing.best
    stratum, reference_id, leap, root_delay = _NO_STRATUM, b"\0\0\0\0", Leap.UNKNOWN, Duration(0)
    reference: SourceId | None = None
    usable = standing.state in _SERVABLE and best is not None and bound is not None
    root, path = controller.lineage.root(served)
    if usable and best is not None and root is not None and root.quality is not None:
        stratum = min(root.quality.stratum + 1, _NO_STRATUM)
        reference = root.spec.source
        reference_id = root.spec.reference_id
        leap = _vote(controller.clocks[root.spec.clock], root)
        root_delay = root.quality.root_delay + path
    elif controller.settings.local_stratum is not None and standing.state is not ServoState.FAULT:
        stratum, reference_id, leap = controller.settings.local_stratum, LOCAL_REFERENCE, Leap.NONE
    dispersion = Duration.from_s(max(bound or 0.0, 0.0)) - root_delay // 2
    growth = model.growth + (0.0 if estimate is None else CONFIDENCE * estimate.frequency_deviation)
    return CoreView(
        at=now.mono,
        served=served,
        state=standing.state,
        reason=standing.reason,
        stratum=stratum,
        reference_id=reference_id,
        leap=leap,
        root_delay=root_delay,
        root_dispersion=max(dispersion, Duration(0)),
        dispersion_rate=growth,
        reference_time=model.corrections.updated_at,
        sources=_views(controller, now, links=False),
        links=_views(controller, now, links=True),
        clocks=tuple(view_clock(controller, m, now) for m in controller.clocks.values()),
        fed_at=standing.fed_at,
        reference=reference,
        holdover_left=standing.holdover_left(now.mono),
        update=_view_update(model.corrections.recent),
    )


def _view_update(recent: Updates) -> UpdateView | None:
    if recent.offset_s is None:
        return None
    return UpdateView(offset_s=recent.offset_s, rms_offset_s=recent.rms_s, interval_s=recent.interval_s)


def _views(controller: Controller, now: Now, *, links: bool) -> tuple[SourceView, ...]:
    """Outside sources, or the links between clocks of this machine."""
    return tuple(
        view_source(controller.owner(s.spec.source), s, now)
        for s in controller.sources()
        if (s.spec.parent is not None) is links
    )


def _vote(model: ClockModel, best: Source) -> Leap:
    """What more than half of the selected sources announce; in holdover, what the best one last did."""
    votes = [
        s.quality.leap
        for s in model.sources.values()
        if s.ruling.state is SourceState.SELECTED and s.quality is not None
    ]
    for leap in (Leap.INSERT, Leap.DELETE):
        if 2 * votes.count(leap) > len(votes):
            return leap
    if not votes and best.quality is not None and best.quality.leap is not Leap.UNKNOWN:
        return best.quality.leap
    return Leap.NONE
