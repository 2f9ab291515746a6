"""The snapshot of an appliance that has measured nothing yet, and of a server that does not answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Instant
from timesync.observe.snapshot import Snapshot, SourceFacts
from timesync.servo.view import ClockView, CoreView, ServoState, SourceState, SourceView

SYSTEM = ClockId("system")
ADDRESS = "192.0.2.7:123"


def silent_status(name: SourceId, **changes: Any) -> SourceStatus:
    """Of a server that has been asked eight times."""
    plain: dict[str, Any] = {
        "source": name, "reach": 0, "poll_s": 64.0, "sent": 8, "received": 0, "dropped": 0, "stratum": 16,
        "leap": Leap.UNKNOWN, "reference_id": bytes(4), "authenticated": False, "interleaved": False,
        "timestamping": None, "excluded": None, "stepped_back": False,
    }  # fmt: skip
    return SourceStatus(**{**plain, **changes})


def silent_snapshot(facts: Mapping[SourceId, SourceFacts], **changes: Any) -> Snapshot:
    """With sources that are all unreachable; ``changes`` are of the snapshot."""
    clock = ClockView(
        clock=SYSTEM, disciplined=True, state=ServoState.ACQUIRING, offset_s=None, offset_uncertainty_s=None,
        error_bound_s=None, frequency=Rate(0.0), frequency_uncertainty=Rate(0.0), steering=Rate(0.0), wander=1e-9,
        steps=0, fed_by=(),
    )  # fmt: skip
    sources = tuple(
        SourceView(
            source=name, clock=SYSTEM, state=SourceState.UNREACHABLE, reason="no answer to the last eight requests",
            offset_s=None, uncertainty_s=None, error_bound_s=None, delay_s=None, jitter_s=None, last_sample_at=None,
            samples=0, outliers=0,
        )
        for name in facts
    )  # fmt: skip
    core = CoreView(
        at=Instant(0), served=SYSTEM, state=ServoState.ACQUIRING, reason="no measurement yet", stratum=16,
        reference_id=b"INIT", leap=Leap.UNKNOWN, root_delay=ZERO, root_dispersion=ZERO, dispersion_rate=0.0,
        reference_time=None, sources=sources, links=(), clocks=(clock,),
    )  # fmt: skip
    plain: dict[str, Any] = {
        "core": core, "kinds": {SYSTEM: "system"}, "facts": facts, "unresolved": {}, "started": Instant(0),
        "tai_utc": 37, "served": (), "counters": None,
    }  # fmt: skip
    return Snapshot(**{**plain, **changes})
