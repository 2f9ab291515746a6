"""What the last measurements of a source look like, as JSON."""

from __future__ import annotations

from typing import Any

from timesync.servo.view import TrackView


def track_object(view: TrackView | None) -> dict[str, Any]:
    """Fields of its entry; those of a source that has not been measured where there is no view."""
    return {
        "measured_offset_s": None if view is None else view.measured_s,
        "carried_offset_s": None if view is None else view.carried_s,
        "residual_frequency_ppm": None if view is None else view.residual_frequency.ppm(),
        "residual_frequency_uncertainty_ppm": (None if view is None else view.residual_frequency_uncertainty.ppm()),
        "points": 0 if view is None else view.points,
        "runs": 0 if view is None else view.runs,
        "span_s": 0.0 if view is None else view.span_s,
    }
