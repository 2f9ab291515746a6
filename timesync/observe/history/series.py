"""Which numbers of a state are worth keeping, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Message = Mapping[str, Any]

_CLOCK: Final = ("offset_s", "offset_uncertainty_s", "error_bound_s", "steering_ppm", "celsius")
_SOURCE: Final = ("offset_s", "delay_s", "jitter_s")
_PORT: Final = ("offset_s", "mean_delay_s", "neighbor_rate_ratio")
_DETAILS: Final = ("satellites_used", "satellites_seen", "cn0_mean_db_hz", "tdop", "latency_s", "pulse_jitter_s")
"""Of a source's details: what receivers and pulses say of themselves."""

_COUNTED: Final = ("received", "answered", "limited", "denied", "nts")
"""Of the server's counters: shown per second."""

NUMBER_OF_SERIES: Final = 1000
"""More than any appliance has: names that remotes choose must not fill a memory."""


class Extractor:
    """Takes the numbers out of states; counters become rates, for which it remembers the last state."""

    def __init__(self) -> None:
        self._counters: Mapping[str, int] = {}
        self._counted_ns = 0

    def values(self, state: Message) -> dict[str, float]:
        """The numbers that are known in this state, by ``kind/name/field``."""
        found: dict[str, float] = {}
        for clock in state["status"]["clocks"]:
            found.update(_fields(f"clock/{clock['name']}", clock, _CLOCK))
            if clock["frequency_uncertainty_ppm"] is not None:
                found.update(_fields(f"clock/{clock['name']}", clock, ("frequency_ppm",)))
        for source in state["sources"]:
            found.update(_fields(f"source/{source['name']}", source, _SOURCE))
            found.update(_fields(f"source/{source['name']}", source["details"], _DETAILS))
        for port in state["ports"]:
            found.update(_fields(f"port/{port['name']}.{port['domain']}", port, _PORT))
        found.update(self._rates(state))
        return found

    def _rates(self, state: Message) -> Iterator[tuple[str, float]]:
        counters = state["status"]["serving"]["counters"] or {}
        elapsed_s = (state["utc_ns"] - self._counted_ns) / 1e9
        for name in _COUNTED:
            # After a restart of the daemon, or a step of the clock, there is no rate for once.
            if name in counters and name in self._counters and 0 < elapsed_s < 60:
                more = counters[name] - self._counters[name]
                if more >= 0:
                    yield f"ntp/requests/{name}_per_s", more / elapsed_s
        self._counters, self._counted_ns = counters, state["utc_ns"]


def _fields(prefix: str, values: Message, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}/{name}", float(value)
