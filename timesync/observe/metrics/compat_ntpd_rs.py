"""The names of the exporter of ntpd-rs 1.x, as far as there is such a thing here.

Offsets are of a source minus the clock, as ntpd-rs counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Rows, Scene, each, number, one

_LEAP: Final = {"none": 0.0, "insert": 1.0, "delete": 2.0, "unknown": 3.0}
_MOST_UNANSWERED: Final = 8


def _sources(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    """What has an address; a source's number is its place among all."""
    for place, source in enumerate(scene.sources):
        if source["clock"] is not None:
            yield (source["name"], source["address"] or source["name"], str(place)), source


def _uptime(scene: Scene) -> Iterator[Row]:
    # No commit is known of an installed package.
    yield (scene.hello["version"], "-", "-"), number("uptime_s")(scene.status)


def _shortest(scene: Scene) -> Iterator[Row]:
    polls = [source["poll_s"] for source in scene.sources if source["poll_s"] is not None]
    yield (), min(polls, default=None)


def _stepped(scene: Scene) -> Iterator[Row]:
    yield (), None if scene.served is None else scene.served["stepped_s"]


def _no_threshold(scene: Scene) -> Iterator[Row]:
    del scene
    yield (), -1.0


def _leap(status: Message) -> float:
    return _LEAP[status["leap"]]


def _unanswered(source: Message) -> float | None:
    register = source["reach_register"]
    if register is None:
        return None
    return float(_MOST_UNANSWERED if register == 0 else (register & -register).bit_length() - 1)


def _seconds(name: str, text: str, rows: Rows, labels: tuple[str, ...] = ()) -> Described:
    return Described(f"ntp_{name}_seconds", text, rows, labels, "seconds")


_SOURCE: Final = ("name", "address", "id")


def _source(name: str, text: str, key: str, scale: float = 1.0) -> Described:
    return _seconds(f"source_{name}", text, each(_sources, number(key, scale)), _SOURCE)


def _server(name: str, text: str, *keys: str) -> Described:
    """The sum of some counters, which are of all addresses together."""

    def rows(scene: Scene) -> Iterator[Row]:
        serving = scene.status["serving"]
        if serving["counters"] is not None:
            yield (", ".join(serving["ntp"]),), float(sum(serving["counters"][key] for key in keys))

    return Described(f"ntp_server_{name}_total", text, rows, ("listen_address",), kind="counter")


def _gauge(name: str, text: str, value: Callable[[Message], float | None]) -> Described:
    return Described(f"ntp_source_{name}", text, each(_sources, value), _SOURCE)


NTPD_RS: Final = (
    _seconds("uptime", "Since the daemon began.", _uptime, ("version", "build_commit", "build_commit_date")),
    _seconds("system_poll_interval", "Shortest interval at which a source is asked.", _shortest),
    _seconds("system_accumulated_steps", "Sizes of all steps together.", _stepped),
    _seconds("system_accumulated_steps_threshold", "There is none, which is -1.", _no_threshold),
    Described("ntp_system_leap_indicator", "0: none, 1: insert, 2: delete, 3: unknown.", one(_leap)),
    _seconds("system_root_delay", "Round trip to the root.", one(number("root_delay_s"))),
    _seconds("system_root_dispersion", "Error bound without half of the root delay.", one(number("root_dispersion_s"))),
    Described("ntp_system_stratum", "Stratum that is served.", one(number("stratum"))),
    _source("poll_interval", "How often it is asked.", "poll_s"),
    _gauge("unanswered_polls", "Requests since the last answer, eight at most.", _unanswered),
    _gauge("nts_cookies_available", "Cookies of NTS that are left.", number("details.nts.cookies")),
    _source("offset", "The source minus our clock.", "offset_s", -1.0),
    _source("delay", "Round trip of the last measurement.", "delay_s"),
    _source("uncertainty", "One standard deviation of the offset.", "uncertainty_s"),
    _source("root_delay", "Round trip from the source to its root, as it says.", "root_delay_s"),
    _source("root_dispersion", "Its own error bound without that delay, as it says.", "root_dispersion_s"),
    _server("received_packets", "Datagrams that came.", "received"),
    _server("accepted_packets", "Requests answered.", "answered"),
    _server("denied_packets", "Requests from where none are allowed.", "denied"),
    _server("ignored_packets", "Datagrams that are no requests, or no good ones.", "bad", "late", "auth_failed"),
    _server("rate_limited_packets", "Requests refused because of their rate.", "limited"),
    _server("response_send_errors", "Answers that the kernel did not take.", "unsent"),
    _server("nts_received_packets", "Requests with NTS that were answered or refused with a NAK.", "nts", "nts_nak"),
    _server("nts_accepted_packets", "Requests with NTS that were answered.", "nts"),
    _server("nts_nak_packets", "Requests whose cookie does not open.", "nts_nak"),
)  # fmt: skip
