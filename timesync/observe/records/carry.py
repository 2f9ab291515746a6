"""What a recording must say again when it goes on in another file, so that each file can be replayed alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timesync.base.measure import Leap
from timesync.observe.records import rows
from timesync.observe.records.rows import Row

_ESTABLISHED = 1000
"""Corrections of a clock that has been steered for a while: no first ones, which may be steps, are left."""


class CarryOver:
    """Follows the rows of a recording."""

    def __init__(self) -> None:
        self._details: dict[str, Any] | None = None
        self._clocks: dict[str, dict[str, Any]] = {}
        self._sources: dict[str, Mapping[str, Any]] = {}
        self._statuses: dict[str, Row] = {}
        self._mono = 0
        self._readings: dict[str, int] = {}

    def take(self, row: Row) -> None:
        """One row, in order."""
        if row.clocks is not None:
            self._mono = row.mono
            self._readings.update(row.clocks)
        details = row.details or {}
        match row.kind:
            case rows.BEGIN:
                self._begin(details)
            case rows.SETTINGS if self._details is not None:
                self._details["settings"] = details
            case rows.FENCE if self._details is not None:
                self._details["fence"] = details.get("fence")
            case rows.CLOCK if row.clock is not None:
                self._clocks[row.clock] = {**details, "updates": 0, "steps": 0, "led": False}
            case rows.SOURCE if row.source is not None:
                self._sources[row.source] = details
            case rows.REMOVED if row.source is not None:
                self._sources.pop(row.source, None)
                self._statuses.pop(row.source, None)
            case rows.STATUS if row.source is not None:
                self._statuses[row.source] = row
            case rows.MEMORY:
                for clock, memory in details.items():
                    if clock in self._clocks:
                        self._clocks[clock]["memory"] = memory
            case rows.APPLIED | rows.STEPPED | rows.FOREIGN:
                self._moved(row)

    def _begin(self, details: Mapping[str, Any]) -> None:
        self._details = dict(details)
        self._clocks = {clock["clock"]: dict(clock) for clock in details.get("clocks", ())}
        self._sources = {source["source"]: source for source in details.get("sources", ())}
        self._statuses = {}

    def _moved(self, row: Row) -> None:
        clock = self._clocks.get(row.clock or "")
        if clock is None:
            return
        if row.rate is not None:
            clock["rate"] = row.rate
            clock["updates"] = _ESTABLISHED
        if row.epoch is not None:
            clock["epoch"] = row.epoch
        if row.kind == rows.STEPPED:
            clock["steps"] += 1
        if row.kind == rows.FOREIGN:
            clock["updates"] = 0
        if row.at is not None:
            self._readings[row.clock or ""] = row.at + ((row.offset or 0) if row.kind == rows.STEPPED else 0)

    def opening(self, utc_ns: int) -> Row | None:
        """The row to begin another file with; None before there was a beginning."""
        if self._details is None:
            return None
        details = {
            **self._details,
            "continues": True,
            "fresh": False,
            "clocks": list(self._clocks.values()),
            "sources": list(self._sources.values()),
            "statuses": [_status(row) for row in self._statuses.values()],
        }
        return Row(utc_ns, rows.BEGIN, mono=self._mono, clocks=dict(self._readings), details=details)


def _status(row: Row) -> dict[str, Any]:
    return {
        **(row.details or {}),
        "source": row.source,
        "stratum": row.stratum,
        "leap": Leap[(row.leap or "unknown").upper()].value,
        "reference_id": row.reference_id,
        "authenticated": row.authenticated,
    }
