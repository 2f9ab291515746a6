"""The names of chrony_exporter 0.13, with all its collectors on, as far as there is such a thing here.

Signs are chronyd's: of ``system_time`` and of frequencies positive means that the clock is slow, of offsets of samples
that it is fast, and of ``peer_offset`` that the server is ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Rows, Scene, each, number, one

_REMOTE: Final = frozenset({"ntp", "pool", "csptp", "roughtime"})
_LOCAL_REFERENCE: Final = "7f7f0101"
"""127.127.1.1: chronyd's local reference, and ours."""

_NO_STRATUM: Final = 16
_LABELS: Final = ("source_address", "source_name")
_STATES: Final = {
    "selected": "candidate",
    "candidate": "outlier",
    "falseticker": "falseticker",
    "unreachable": "unreach",
    "waiting": "unreach",
    "excluded": "unreach",
}
"""What chronyd calls them: what it combines is a candidate, what it could but does not combine an outlier."""


def _address(source: Message) -> str:
    """Without the port; of a source that is no server its name, which is what chronyd does with a reference clock."""
    address, name = source["address"], str(source["name"])
    if address is None or not _is_remote(source):
        return name
    bare = address.rpartition(":")[0].strip("[]")
    try:
        return str(ip_address(bare))
    except ValueError:
        return str(address)


def _is_remote(source: Message) -> bool:
    return source["kind"] in _REMOTE


def _sources(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    """Those that have begun: chronyd does not show what has no address yet."""
    for source in scene.sources:
        if source["clock"] is not None:
            yield (_address(source), source["name"]), source


def _served(value: Callable[[Message], float | None]) -> Rows:
    """Of the clock that is served."""

    def rows(scene: Scene) -> Iterator[Row]:
        clock = scene.served
        yield (), None if clock is None else value(clock)

    return rows


def _residual(clock: Message) -> float:
    return float(clock["frequency_ppm"] + clock["steering_ppm"])


def _up(scene: Scene) -> Iterator[Row]:
    yield (), float(scene.own.fresh)


def _info(scene: Scene) -> Iterator[Row]:
    status = scene.status
    entry = next((source for source in scene.sources if source["name"] == status["reference"]), None)
    name = status["reference_id"] if entry is None else entry["name"]
    address = status["reference_id"] if entry is None else _address(entry)
    yield (address, name, status["reference_id_hex"].upper()), 1.0


def _remote(status: Message) -> float:
    return float(status["reference_id_hex"] != _LOCAL_REFERENCE)


def _stratum(status: Message) -> float:
    """A chronyd that is not synchronised says 0."""
    return 0.0 if status["stratum"] == _NO_STRATUM else float(status["stratum"])


def _rms(scene: Scene) -> Iterator[Row]:
    yield (), scene.trail.rms_offset_s


def _interval(scene: Scene) -> Iterator[Row]:
    yield (), scene.trail.update_interval_s


def _tracking(name: str, text: str, rows: Rows) -> Described:
    return Described(f"chrony_tracking_{name}", text, rows, unit="seconds" if name.endswith("_seconds") else "")


TRACKING: Final = (
    Described("chrony_up", "Whether the daemon tells its state.", _up),
    Described(
        "chrony_tracking_info", "What is followed; always 1.", _info,
        ("tracking_address", "tracking_name", "tracking_refid"),
    ),
    _tracking("last_offset_seconds", "Estimated offset of the clock; positive is fast.", _served(number("offset_s"))),
    _tracking("reference_timestamp_seconds", "When the clock was last corrected; UTC.",
              one(number("updated_utc_ns", 1e-9))),
    _tracking("system_time_seconds", "Correction still to be made; positive is slow.",
              _served(number("offset_s", -1.0))),
    _tracking("remote_reference", "1 unless only the clock itself is served.", one(_remote)),
    _tracking("rms_offset_seconds", "Long-term average of the offset.", _rms),
    _tracking("root_delay_seconds", "Round trip to the root.", one(number("root_delay_s"))),
    _tracking("root_dispersion_seconds", "Error bound without half of the root delay.",
              one(number("root_dispersion_s"))),
    _tracking("frequency_ppms", "Frequency error without correction, ppm; positive is slow.",
              _served(number("frequency_ppm", -1.0))),
    _tracking("residual_frequency_ppms", "Frequency error that is left, ppm.", _served(_residual)),
    _tracking("skew_ppms", "Standard deviation of the frequency error, ppm.",
              _served(number("frequency_uncertainty_ppm"))),
    _tracking("update_interval_seconds", "Between the last two corrections.", _interval),
    _tracking("stratum", "Stratum; 0 when not synchronised.", one(_stratum)),
)  # fmt: skip


def _reach_ratio(source: Message) -> float | None:
    return None if source["reach_register"] is None else source["reach"] / 8


def _reach_success(source: Message) -> float | None:
    return None if source["reach_register"] is None else float(source["reach_register"] & 1)


def _peer(key: str, scale: float = 1.0) -> Rows:
    """Of what is asked over the network: the exporter gives nothing of this for reference clocks."""
    value = number(key, scale)

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, source in _sources(scene):
            if _is_remote(source):
                yield labels, value(source)

    return rows


def _states(scene: Scene) -> Iterator[Row]:
    for labels, source in _sources(scene):
        state = "sync" if source["name"] == scene.status["reference"] else _STATES[source["state"]]
        yield (*labels, state, "client" if _is_remote(source) else "reference clock"), 1.0


def _source(name: str, text: str, rows: Rows, *more: str) -> Described:
    return Described(f"chrony_{name}", text, rows, (*_LABELS, *more), "seconds" if name.endswith("_seconds") else "")


SOURCES: Final = (
    _source("sources_last_sample_age_seconds", "Since the last sample.", each(_sources, number("last_sample_age_s"))),
    _source("sources_reachability_ratio", "Share of the last eight requests that were answered.",
            each(_sources, _reach_ratio)),
    _source("sources_reachability_success", "1 when the last request was answered.", each(_sources, _reach_success)),
    _source("sources_last_sample_offset_seconds", "The clock minus the source; positive is fast.",
            each(_sources, number("offset_s"))),
    _source("sources_last_sample_error_margin_seconds", "What the source may be wrong.",
            each(_sources, number("error_bound_s"))),
    _source("sources_polling_interval_seconds", "How often it is asked.", each(_sources, number("poll_s"))),
    _source("sources_state_info", "What chronyd would say of it; always 1.", _states, "source_state", "source_mode"),
    _source("sources_stratum", "Stratum as it says.", each(_sources, number("stratum"))),
    _source("sources_peer_offset_seconds", "The server minus our clock.", _peer("offset_s", -1.0)),
    _source("sources_peer_delay_seconds", "Round trip of the last measurement.", _peer("delay_s")),
    _source("sourcestats_stddev", "Standard deviation of one measurement, seconds.",
            each(_sources, number("jitter_s"))),
    _source("sourcestats_offset", "The clock minus the source, seconds.", each(_sources, number("offset_s"))),
)  # fmt: skip


def _sum(*keys: str) -> Rows:
    """The sum of some of the server's counters."""

    def rows(scene: Scene) -> Iterator[Row]:
        counters = scene.status["serving"]["counters"]
        yield (), None if counters is None else float(sum(counters[key] for key in keys))

    return rows


def _refused_connections(status: Message) -> float | None:
    if status["nts"] is None:
        return None
    counters = status["nts"]["counters"]
    return float(sum(counters.get(name, 0) for name in ("refused-full", "refused-client")))


def _accepted_connections(status: Message) -> float | None:
    nts = status["nts"]
    if nts is None:
        return None
    lost = sum(count for name, count in nts["counters"].items() if name.startswith("refused-"))
    return float(nts["counters"].get("connections", 0) - lost)


def _server(name: str, text: str, rows: Rows) -> Described:
    return Described(f"chrony_serverstats_{name}", text, rows, kind="counter")


SERVERSTATS: Final = (
    _server("ntp_packets_received_total", "Requests that were valid and allowed.",
            _sum("answered", "limited", "late", "auth_failed")),
    _server("ntp_packets_dropped_total", "Requests refused because of their rate.", _sum("limited")),
    _server("nts_ke_connections_accepted_total", "Connections to NTS-KE.", one(_accepted_connections)),
    _server("nts_ke_connections_dropped_total", "Connections refused because there were too many.",
            one(_refused_connections)),
    _server("authenticated_ntp_packets_total", "Requests with a key or NTS.", _sum("authenticated")),
    _server("interleaved_ntp_packets_total", "Requests in interleaved mode.", _sum("interleaved")),
    _server("ntp_hw_rx_timestamps_total", "Answers whose receive timestamp is the card's.", _sum("hardware")),
)  # fmt: skip

CHRONY: Final = (*TRACKING, *SOURCES, *SERVERSTATS)
