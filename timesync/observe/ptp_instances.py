"""A PTP instance's data sets (IEEE 1588-2019, 8.2), as JSON values."""

from __future__ import annotations

from typing import Any

from timesync.base.ids import identity_text
from timesync.ptp.view import InstanceView
from timesync.wire.ptp_message import ClockQuality


def instance_object(view: InstanceView) -> dict[str, Any]:
    """What an instance is, whom it follows, and what it says of its time.

    ``grandmaster`` is the instance itself where it follows nobody. ``path`` is kept where there is path
    trace: the clocks from the grandmaster to the parent.
    """
    default, sets = view.default, view.sets
    parent, properties = sets.parent, sets.time_properties
    return {
        "identity": identity_text(default.clock_identity),
        "domain": default.domain,
        "number_ports": default.number_ports,
        "time_receiver_only": default.time_receiver_only,
        "priority1": default.priority1,
        "priority2": default.priority2,
        **_quality(default.quality),
        "steps_removed": sets.current.steps_removed,
        "parent": str(parent.parent),
        "grandmaster": {
            "identity": identity_text(parent.grandmaster),
            "priority1": parent.priority1,
            "priority2": parent.priority2,
            **_quality(parent.quality),
        },
        "time_properties": {
            "utc_offset_s": properties.utc_offset,
            "utc_offset_valid": properties.utc_offset_valid,
            "leap61": properties.leap61,
            "leap59": properties.leap59,
            "ptp_timescale": properties.ptp_timescale,
            "time_traceable": properties.time_traceable,
            "frequency_traceable": properties.frequency_traceable,
            "time_source": properties.time_source,
        },
        "path_trace": view.settings.path_trace,
        "path": [identity_text(clock) for clock in sets.path],
        "ports": [port.name for port in view.ports],
    }


def _quality(quality: ClockQuality) -> dict[str, int]:
    return {"clock_class": quality.clock_class, "accuracy": quality.accuracy, "variance": quality.variance}
