"""The drift file: what is remembered of clocks over a restart, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from timesync.base.ids import ClockId
from timesync.servo.command import ClockMemory

FILE = "drift.json"
_VERSION = 1
_MAX_FREQUENCY = 0.1
_STEEPEST = 1e-4


class DriftFileError(ValueError):
    """The file is not what ``encode`` writes."""


def encode(memory: Mapping[ClockId, ClockMemory]) -> bytes:
    """The file for these clocks: frequencies in ppm, as a person would look for them."""
    clocks = {
        clock: {
            "frequency_ppm": kept.frequency * 1e6,
            "frequency_uncertainty_ppm": kept.deviation * 1e6,
            "wander": kept.wander,
            **_thermal(kept),
        }
        for clock, kept in memory.items()
    }
    return json.dumps({"version": _VERSION, "clocks": clocks}, indent=1).encode() + b"\n"


def decode(data: bytes) -> dict[ClockId, ClockMemory]:
    """What a file says. Raises DriftFileError when it is corrupt or out of any sensible range."""
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise DriftFileError(f"version {document['version']} is unknown")
        return {ClockId(name): _decode_clock(fields) for name, fields in document["clocks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DriftFileError(f"not a drift file: {error}") from error


def _thermal(kept: ClockMemory) -> dict[str, float]:
    """What is known of the temperature's effect; nothing where there is no thermometer."""
    if kept.celsius is None or not math.isfinite(kept.slope_deviation):
        return {}
    return {
        "temperature_c": kept.celsius,
        "ppm_per_degree": kept.slope * 1e6,
        "ppm_per_degree_uncertainty": kept.slope_deviation * 1e6,
    }


def _decode_clock(fields: Mapping[str, object]) -> ClockMemory:
    numbers = [_number(fields, key) for key in ("frequency_ppm", "frequency_uncertainty_ppm", "wander")]
    frequency, deviation, wander = numbers[0] * 1e-6, numbers[1] * 1e-6, numbers[2]
    if abs(frequency) > _MAX_FREQUENCY or not 0 <= deviation <= _MAX_FREQUENCY or not 0 < wander <= 1:
        raise DriftFileError("a frequency is out of range")
    if "temperature_c" not in fields:
        return ClockMemory(frequency, deviation, wander)
    celsius = _number(fields, "temperature_c")
    slope, spread = _number(fields, "ppm_per_degree") * 1e-6, _number(fields, "ppm_per_degree_uncertainty") * 1e-6
    if not -100 <= celsius <= 200 or abs(slope) > _STEEPEST or not 0 <= spread <= _STEEPEST:
        raise DriftFileError("a temperature or its effect is out of range")
    return ClockMemory(frequency, deviation, wander, celsius, slope, spread)


def _number(fields: Mapping[str, object], key: str) -> float:
    value = fields[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise DriftFileError(f"{key} is not a number")
    return float(value)
