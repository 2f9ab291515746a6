"""What is kept of PTP links over a restart (Avnu automotive), as it stands in the calibration file."""

from __future__ import annotations

import math
from collections.abc import Mapping

from timesync.base.time import Duration
from timesync.ptp.link import LinkMemory

_MOST_DELAY_S = 1e-3
"""No link in a vehicle is longer."""
_MOST_RATE = 1e-3
_MOST_PORTS = 64


def encode(links: Mapping[str, LinkMemory]) -> dict[str, object]:
    """For the file, by interface: nanoseconds, and parts per million that the neighbour is faster by."""
    return {
        interface: {
            "link_delay_ns": kept.delay.s() * 1e9,
            **({} if kept.rate_ratio is None else {"neighbor_rate_ppm": (kept.rate_ratio - 1.0) * 1e6}),
        }
        for interface, kept in links.items()
    }


def decode(written: Mapping[str, object]) -> dict[str, LinkMemory]:
    """From the file; what is no sensible number is left out."""
    found: dict[str, LinkMemory] = {}
    for interface, fields in list(written.items())[:_MOST_PORTS]:
        if not isinstance(fields, Mapping):
            continue
        delay_s = _number(fields.get("link_delay_ns"), 1e-9, _MOST_DELAY_S)
        rate = _number(fields.get("neighbor_rate_ppm"), 1e-6, _MOST_RATE)
        if delay_s is not None:
            found[interface] = LinkMemory(Duration.from_s(delay_s), None if rate is None else 1.0 + rate)
    return found


def _number(value: object, unit: float, most: float) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return value * unit if abs(value * unit) <= most else None
