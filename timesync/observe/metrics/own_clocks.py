"""Own metrics of the appliance as a whole and of its clocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Scene, each, number, one, states, told
from timesync.servo.view import ServoState

PPM: Final = 1e-6
_STATES: Final = tuple(state.value for state in ServoState)
_LEAPS: Final = ("none", "insert", "delete", "unknown")


def _whole(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    yield (), scene.status


def _clocks(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for clock in scene.status["clocks"]:
        yield (clock["name"], clock["kind"]), clock


def _links(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for clock in scene.status["clocks"]:
        for link in clock["links"]:
            yield (clock["name"], link["name"]), link


def _build(scene: Scene) -> Iterator[Row]:
    yield (scene.hello["version"], str(scene.hello["schema"])), 1.0


def _warnings(status: Message) -> float:
    return float(len(status["warnings"]))


def _held(status: Message) -> float:
    return float(status["state"] == ServoState.HOLDOVER.value)


def _elapsed(status: Message) -> float:
    return float(status["holdover_s"] or 0.0)


APPLIANCE: Final = (
    Described("timesync_build_info", "Which timesync this is; always 1.", _build, ("version", "schema")),
    Described("timesync_uptime_seconds", "Since the daemon began.", one(number("uptime_s")), unit="seconds"),
    Described(
        "timesync_state",
        "State of the appliance, which is that of the served clock: 1 for the present one.",
        states(_whole, "state", _STATES),
        ("state",),
    ),
    Described(
        "timesync_error_bound_seconds",
        "The served clock is wrong by no more than this.",
        one(number("error_bound_s")),
        unit="seconds",
    ),
    Described("timesync_stratum", "Stratum that is served; 16 when not synchronised.", one(number("stratum"))),
    Described(
        "timesync_root_delay_seconds", "Round trip to the root of the time.", one(number("root_delay_s")),
        unit="seconds",
    ),
    Described(
        "timesync_root_dispersion_seconds",
        "Error bound without half of the root delay.",
        one(number("root_dispersion_s")),
        unit="seconds",
    ),
    Described(
        "timesync_reference_info",
        "What the served time is taken from; always 1.",
        told(_whole, "served_clock", "reference", "reference_id"),
        ("clock", "source", "reference_id"),
    ),
    Described(
        "timesync_leap", "Announced leap second: 1 for what holds.", states(_whole, "leap", _LEAPS), ("leap",)
    ),
    Described("timesync_tai_utc_offset_seconds", "TAI - UTC.", one(number("tai_utc_offset_s")), unit="seconds"),
    Described(
        "timesync_leap_table_remaining_seconds",
        "Until the table of leap seconds expires; negative when it has.",
        one(number("leap_table_left_s")),
        unit="seconds",
    ),
    Described("timesync_holdover_active", "1 while the served clock is on its own and still believed.", one(_held)),
    Described(
        "timesync_holdover_elapsed_seconds",
        "Since a source last fed the served clock, in holdover; 0 otherwise.",
        one(_elapsed),
        unit="seconds",
    ),
    Described(
        "timesync_holdover_remaining_seconds",
        "For so long the holdover goes on without a source; only in holdover.",
        one(number("holdover_left_s")),
        unit="seconds",
    ),
    Described("timesync_warnings", "Warnings that `timesync status` shows.", one(_warnings)),
)  # fmt: skip

_CLOCK: Final = ("clock", "kind")
_LINK: Final = ("clock", "link")

CLOCKS: Final = (
    Described(
        "timesync_clock_state", "State of a clock: 1 for the present one.", states(_clocks, "state", _STATES),
        (*_CLOCK, "state"),
    ),
    Described(
        "timesync_clock_disciplined", "1 for a clock that is steered.", each(_clocks, number("disciplined")), _CLOCK
    ),
    Described(
        "timesync_clock_offset_seconds",
        "Estimate of the clock minus the true time; positive when it is ahead.",
        each(_clocks, number("offset_s")),
        _CLOCK,
        "seconds",
    ),
    Described(
        "timesync_clock_offset_uncertainty_seconds",
        "One standard deviation of that estimate.",
        each(_clocks, number("offset_uncertainty_s")),
        _CLOCK,
        "seconds",
    ),
    Described(
        "timesync_clock_error_bound_seconds",
        "The clock is wrong by no more than this.",
        each(_clocks, number("error_bound_s")),
        _CLOCK,
        "seconds",
    ),
    Described(
        "timesync_clock_frequency_ratio",
        "Frequency error of the oscillator when it is let alone; 1e-6 is 1 ppm fast.",
        each(_clocks, number("frequency_ppm", PPM)),
        _CLOCK,
        "ratio",
    ),
    Described(
        "timesync_clock_frequency_uncertainty_ratio",
        "One standard deviation of that.",
        each(_clocks, number("frequency_uncertainty_ppm", PPM)),
        _CLOCK,
        "ratio",
    ),
    Described(
        "timesync_clock_steering_ratio",
        "Frequency adjustment in force; the frequency error and this together are how it runs.",
        each(_clocks, number("steering_ppm", PPM)),
        _CLOCK,
        "ratio",
    ),
    Described(
        "timesync_clock_temperature_celsius", "Temperature near the oscillator, where there is a thermometer.",
        each(_clocks, number("celsius")), _CLOCK, "celsius",
    ),
    Described(
        "timesync_steps_total", "Steps that we made.", each(_clocks, number("steps")), _CLOCK, kind="counter"
    ),
    Described(
        "timesync_stepped_seconds_total",
        "Sizes of these steps together, whatever their direction.",
        each(_clocks, number("stepped_s")),
        _CLOCK,
        "seconds",
        "counter",
    ),
    Described(
        "timesync_link_offset_seconds",
        "A clock minus the one that it is compared with in this machine.",
        each(_links, number("offset_s")),
        _LINK,
        "seconds",
    ),
    Described(
        "timesync_link_jitter_seconds",
        "Standard deviation of one such comparison.",
        each(_links, number("jitter_s")),
        _LINK,
        "seconds",
    ),
    Described(
        "timesync_link_window_seconds",
        "How long one such comparison takes.",
        each(_links, number("window_s")),
        _LINK,
        "seconds",
    ),
)  # fmt: skip
