"""A state of the daemon, made by hand, for what answers chronyc."""

from __future__ import annotations

from typing import Any

ENTRY: dict[str, Any] = {
    "name": "a", "kind": "ntp", "address": "192.0.2.7:123", "clock": "system", "state": "selected", "reason": "",
    "reach": 8, "reach_register": 255, "offset_s": 1e-5, "uncertainty_s": 1e-6, "error_bound_s": 1e-3, "delay_s": 2e-3,
    "jitter_s": 3e-6, "poll_s": 64.0, "stratum": 2, "reference_id": "192.0.2.1", "leap": "none",
    "authenticated": False, "interleaved": False, "version": 4, "timestamping": "kernel", "last_sample_age_s": 12.5,
    "measured_offset_s": 2e-5, "carried_offset_s": 1.5e-5, "residual_frequency_ppm": 0.25,
    "residual_frequency_uncertainty_ppm": 0.5, "points": 20, "runs": 9, "span_s": 1280.0, "samples": 40, "outliers": 0,
    "trusted": False, "noselect": False, "sent": 50, "received": 48, "drops": {"origin": 1}, "details": {},
}  # fmt: skip


def entry(**changed: Any) -> dict[str, Any]:
    """A source."""
    return {**ENTRY, **changed}


def state(*sources: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A ``state`` message."""
    clock = {"name": "system", "offset_s": 2e-6, "frequency_ppm": -12.5, "frequency_uncertainty_ppm": 0.125}
    return {
        "type": "state",
        "status": {
            "served_clock": "system", "stratum": 3, "reference_id_hex": "c0000207", "leap": "none",
            "reference": "a", "updated_utc_ns": 1_800_000_000_000_000_001, "last_offset_s": -4e-6,
            "rms_offset_s": 8e-6, "update_interval_s": 64.0, "root_delay_s": 0.0625, "root_dispersion_s": 0.03125,
            "clocks": [clock], "serving": {"counters": None}, "nts": None, **status,
        },
        "sources": list(sources) or [entry()],
    }  # fmt: skip
