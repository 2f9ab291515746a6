"""Own metrics of sources: what all have, and what only NTS, Roughtime, receivers and pulses have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timesync.gnss.event import FixMode
from timesync.observe.metrics.table import (
    Described,
    Message,
    Objects,
    Row,
    Scene,
    counted,
    each,
    number,
    states,
    told,
)
from timesync.servo.view import SourceState

_STATES: Final = tuple(state.value for state in SourceState)
_FIXES: Final = tuple(mode.value for mode in FixMode)
_REACH: Final = 8


def _sources(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for source in scene.sources:
        yield (source["name"], source["kind"]), source


def _with(key: str) -> Objects:
    """The details of sources that have this one."""

    def objects(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
        for source in scene.sources:
            if key in source["details"]:
                yield (source["name"],), source["details"]

    return objects


_nts, _roughtime, _pulses, _receivers = (_with(key) for key in ("nts", "roughtime", "pulses", "fix"))


def _reach(source: Message) -> float | None:
    """Only what is asked can be reached."""
    return None if source["poll_s"] is None else source["reach"] / _REACH


def _selected(source: Message) -> float:
    return float(source["state"] == SourceState.SELECTED.value)


def _malfeasance(details: Message) -> float:
    return float(details["roughtime"]["malfeasance_age_s"] is not None)


def _satellites(scene: Scene) -> Iterator[Row]:
    for labels, details in _receivers(scene):
        yield (*labels, "used"), number("satellites_used")(details)
        yield (*labels, "seen"), number("satellites_seen")(details)


def _fixes(scene: Scene) -> Iterator[Row]:
    for labels, details in _receivers(scene):
        if details["fix"] is not None:
            for fix in _FIXES:
                yield (*labels, fix), float(details["fix"] == fix)


def _says(key: str) -> Objects:
    """Receivers that say something of this."""

    def objects(scene: Scene) -> Iterator[tuple[tuple[str | None, ...], Message]]:
        for labels, details in _receivers(scene):
            if details.get(key) is not None:
                yield labels, details

    return objects


_SOURCE: Final = ("source", "kind")


def _seconds(name: str, text: str, key: str) -> Described:
    return Described(f"timesync_source_{name}_seconds", text, each(_sources, number(key)), _SOURCE, "seconds")


SOURCES: Final = (
    Described(
        "timesync_source_info",
        "What there is to know of a source in words; always 1.",
        told(_sources, "address", "clock", "reference_id", "version", "timestamping"),
        (*_SOURCE, "address", "clock", "reference_id", "version", "timestamping"),
    ),
    Described(
        "timesync_source_state",
        "What selection made of a source: 1 for the present state. `timesync why` has the sentence.",
        states(_sources, "state", _STATES),
        (*_SOURCE, "state"),
    ),
    Described("timesync_source_selected", "1 for a source whose time is used.", each(_sources, _selected), _SOURCE),
    _seconds("offset", "The clock that it is for minus the source; positive when the clock is ahead.", "offset_s"),
    _seconds("uncertainty", "One standard deviation of that.", "uncertainty_s"),
    _seconds(
        "error_bound", "What the source may be wrong by its own claim and its path: half its root delay, dispersion"
        " and noise together.", "error_bound_s",
    ),
    _seconds("delay", "Round trip of the last measurement.", "delay_s"),
    _seconds("jitter", "Standard deviation of one measurement.", "jitter_s"),
    _seconds("root_delay", "Round trip from the source to its root, as it says.", "root_delay_s"),
    _seconds("root_dispersion", "The source's own error bound without that delay, as it says.", "root_dispersion_s"),
    _seconds("poll_interval", "How often it is asked.", "poll_s"),
    _seconds("last_sample_age", "Since its last measurement.", "last_sample_age_s"),
    Described(
        "timesync_source_reach_ratio",
        "Share of the last eight requests that were answered; of sources that are asked.",
        each(_sources, _reach),
        _SOURCE,
        "ratio",
    ),
    Described("timesync_source_stratum", "Stratum as it says.", each(_sources, number("stratum")), _SOURCE),
    Described(
        "timesync_source_authenticated",
        "1 when its answers are proven to be its own.",
        each(_sources, number("authenticated")),
        _SOURCE,
    ),
    Described(
        "timesync_source_interleaved",
        "1 when it answers in interleaved mode (RFC 9769).",
        each(_sources, number("interleaved")),
        _SOURCE,
    ),
    Described(
        "timesync_source_samples_total", "Measurements taken in.", each(_sources, number("samples")), _SOURCE,
        kind="counter",
    ),
    Described(
        "timesync_source_outliers_total", "Measurements refused as too unlikely.",
        each(_sources, number("outliers")), _SOURCE, kind="counter",
    ),
    Described(
        "timesync_source_requests_total", "Requests sent.", each(_sources, number("sent")), _SOURCE, kind="counter"
    ),
    Described(
        "timesync_source_answers_total", "Valid answers received.", each(_sources, number("received")), _SOURCE,
        kind="counter",
    ),
    Described(
        "timesync_source_drops_total", "Answers and messages refused.", counted(_sources, "drops"),
        (*_SOURCE, "reason"), kind="counter",
    ),
    Described(
        "timesync_source_nts_cookies", "Cookies of NTS that are left.", each(_nts, number("nts.cookies")), ("source",)
    ),
    Described(
        "timesync_source_nts_provisional",
        "1 while its certificate cannot be judged, because the time is not known.",
        each(_nts, number("nts.provisional")),
        ("source",),
    ),
    Described(
        "timesync_roughtime_radius_seconds",
        "What a Roughtime server says it may be wrong.",
        each(_roughtime, number("roughtime.radius_s")),
        ("source",),
        "seconds",
    ),
    Described(
        "timesync_roughtime_malfeasance",
        "1 when a round with this server proved that some server had lied.",
        each(_roughtime, _malfeasance),
        ("source",),
    ),
)  # fmt: skip

_ONE: Final = ("source",)

PULSES: Final = (
    Described(
        "timesync_pps_pulses_total", "Pulses that were where a second begins.", each(_pulses, number("pulses")), _ONE,
        kind="counter",
    ),
    Described(
        "timesync_pps_missed_total", "Pulses that failed to come.", each(_pulses, number("missed")), _ONE,
        kind="counter",
    ),
    Described(
        "timesync_pps_doubled_total", "Pulses too close behind another.", each(_pulses, number("doubled")), _ONE,
        kind="counter",
    ),
    Described(
        "timesync_pps_outliers_total", "Pulses far from where they belong.", each(_pulses, number("wild")), _ONE,
        kind="counter",
    ),
    Described(
        "timesync_pps_jitter_seconds", "One pulse lies within this of its place.",
        each(_pulses, number("pulse_jitter_s")), _ONE, "seconds",
    ),
    Described(
        "timesync_pps_last_pulse_age_seconds", "Since the last pulse.", each(_pulses, number("last_pulse_age_s")),
        _ONE, "seconds",
    ),
)  # fmt: skip

RECEIVERS: Final = (
    Described(
        "timesync_gnss_info", "Which receiver it is; always 1.", told(_receivers, "receiver", "message"),
        (*_ONE, "receiver", "message"),
    ),
    Described("timesync_gnss_fix_mode", "The receiver's fix: 1 for the present one.", _fixes, (*_ONE, "fix")),
    Described("timesync_gnss_satellites", "Satellites that are used, and seen.", _satellites, (*_ONE, "status")),
    Described("timesync_gnss_hdop", "Horizontal dilution of precision.", each(_receivers, number("hdop")), _ONE),
    Described("timesync_gnss_tdop", "Time dilution of precision.", each(_receivers, number("tdop")), _ONE),
    Described(
        "timesync_gnss_cn0_mean_dbhz", "Mean C/N0 of the satellites that are used, in dB-Hz.",
        each(_receivers, number("cn0_mean_db_hz")), _ONE,
    ),
    Described(
        "timesync_gnss_jamming_state", "What the receiver says of jamming; always 1.",
        told(_says("jamming"), "jamming"), (*_ONE, "state"),
    ),
    Described(
        "timesync_gnss_spoofing_state", "What the receiver says of spoofing; always 1.",
        told(_says("spoofing"), "spoofing"), (*_ONE, "state"),
    ),
    Described(
        "timesync_gnss_antenna_state", "What the receiver says of its antenna; always 1.",
        told(_says("antenna"), "antenna"), (*_ONE, "state"),
    ),
    Described(
        "timesync_gnss_latency_seconds", "How long after the second its message comes.",
        each(_receivers, number("latency_s")), _ONE, "seconds",
    ),
    Described(
        "timesync_gnss_latency_spread_seconds", "How much that varies: one standard deviation.",
        each(_receivers, number("latency_spread_s")), _ONE, "seconds",
    ),
    Described(
        "timesync_gnss_latency_bound_seconds", "What that may be wrong at most.",
        each(_receivers, number("latency_bound_s")), _ONE, "seconds",
    ),
    Described(
        "timesync_gnss_latency_calibrated", "1 when that was measured, 0 while it is assumed.",
        each(_receivers, number("latency_calibrated")), _ONE,
    ),
)  # fmt: skip
