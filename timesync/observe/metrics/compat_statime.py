"""The names of statime's exporter, as far as there is such a thing here.

What is called nanoseconds is nanoseconds, and 1 stands for true, also where statime itself writes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Rows, Scene, number
from timesync.ptp.states import PortState

_NS: Final = 1e9
_FOLLOWING: Final = frozenset({PortState.UNCALIBRATED.name, PortState.TIME_RECEIVER.name})


def identity(text: str) -> str:
    """``aabbcc.fffe.ddeeff`` as ``aa:bb:cc:ff:fe:dd:ee:ff``."""
    return bytes.fromhex(text.replace(".", "")).hex(":")


def _instances(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for instance in scene.status["ptp"]:
        yield (identity(instance["identity"]),), instance


def _ports(scene: Scene, instance: Message) -> Iterator[tuple[str, Message]]:
    """Number and port."""
    for port in scene.ports:
        clock, _, portnumber = (port["identity"] or "").rpartition("-")
        if clock == instance["identity"] and port["domain"] == instance["domain"]:
            yield portnumber, port


def _each(value: Callable[[Message], float | None]) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        for labels, instance in _instances(scene):
            yield labels, value(instance)

    return rows


def _parent(key: str) -> Rows:
    value = number(f"grandmaster.{key}")

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, instance in _instances(scene):
            clock, _, portnumber = instance["parent"].rpartition("-")
            yield (*labels, identity(clock), portnumber), value(instance)

    return rows


def _followed(key: str) -> Rows:
    """Of the port that takes time, in nanoseconds."""

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, instance in _instances(scene):
            for _, port in _ports(scene, instance):
                if port["state"] in _FOLLOWING:
                    yield labels, number(key, _NS)(port)

    return rows


def _port_state(port: Message) -> float:
    return float(PortState[port["state"]].value)


def _link_delay(port: Message) -> float | None:
    return number("mean_delay_s", _NS)(port) if port["delay_mechanism"] == "p2p" else None


def _each_port(value: Callable[[Message], float | None]) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        for labels, instance in _instances(scene):
            for portnumber, port in _ports(scene, instance):
                yield (*labels, portnumber), value(port)

    return rows


def _last_minute(instance: Message) -> float:
    properties: Mapping[str, bool] = instance["time_properties"]
    return 61.0 if properties["leap61"] else 59.0 if properties["leap59"] else 60.0


def _path(scene: Scene) -> Iterator[Row]:
    for labels, instance in _instances(scene):
        for steps, clock in enumerate(instance["path"]):
            yield (*labels, identity(clock)), float(steps)
        yield (*labels, "self"), float(len(instance["path"]))


def _uptime(scene: Scene) -> Iterator[Row]:
    # No commit is known of an installed package.
    yield (scene.hello["version"], "-", "-"), number("uptime_s")(scene.status)


_CLOCK: Final = ("clock_identity",)
_PARENT: Final = (*_CLOCK, "parent_clock_identity", "parent_port_number")
_PORT: Final = (*_CLOCK, "port")


def _metric(name: str, text: str, rows: Rows, labels: tuple[str, ...] = _CLOCK) -> Described:
    return Described(f"statime_{name}", text, rows, labels, "seconds" if name.endswith("_seconds") else "")


STATIME: Final = (
    _metric("uptime_seconds", "Since the daemon began.", _uptime, ("version", "build_commit", "build_commit_date")),
    _metric("number_ports", "Ports.", _each(number("number_ports"))),
    _metric("quality_class", "clockClass.", _each(number("clock_class"))),
    _metric("quality_accuracy", "clockAccuracy.", _each(number("accuracy"))),
    _metric("quality_offset_scaled_log_variance", "offsetScaledLogVariance.", _each(number("variance"))),
    _metric("priority_1", "priority1.", _each(number("priority1"))),
    _metric("priority_2", "priority2.", _each(number("priority2"))),
    _metric("steps_removed", "Paths to the grandmaster.", _each(number("steps_removed"))),
    _metric("offset_from_master_nanoseconds", "Our clock minus the timeTransmitter's.", _followed("offset_s")),
    _metric("mean_delay_nanoseconds", "Mean one-way delay to the timeTransmitter.", _followed("mean_delay_s")),
    _metric("grandmaster_clock_quality_class", "clockClass of the grandmaster.", _parent("clock_class"), _PARENT),
    _metric("grandmaster_clock_quality_accuracy", "clockAccuracy of the grandmaster.", _parent("accuracy"), _PARENT),
    _metric("grandmaster_clock_quality_offset_scaled_log_variance", "offsetScaledLogVariance of the grandmaster.",
            _parent("variance"), _PARENT),
    _metric("grandmaster_priority_1", "priority1 of the grandmaster.", _parent("priority1"), _PARENT),
    _metric("grandmaster_priority_2", "priority2 of the grandmaster.", _parent("priority2"), _PARENT),
    _metric("current_utc_offset_seconds", "TAI - UTC.", _each(number("time_properties.utc_offset_s"))),
    _metric("upcoming_leap_seconds", "Seconds that the last minute of this UTC day has.", _each(_last_minute)),
    _metric("time_traceable", "1 when traceable.", _each(number("time_properties.time_traceable"))),
    _metric("frequency_traceable", "1 when traceable.", _each(number("time_properties.frequency_traceable"))),
    _metric("ptp_timescale", "1 when it is PTP's.", _each(number("time_properties.ptp_timescale"))),
    _metric("time_source", "timeSource.", _each(number("time_properties.time_source"))),
    _metric("path_trace_enable", "1 when the path is traced.", _each(number("path_trace"))),
    _metric("path_trace_list", "Clocks from the grandmaster to this one, numbered.", _path, (*_CLOCK, "node")),
    _metric("port_state", "portState (IEEE 1588-2019, table 20).", _each_port(_port_state), _PORT),
    _metric("mean_link_delay_nanoseconds", "Mean one-way delay of the link, peer to peer.", _each_port(_link_delay),
            _PORT),
)  # fmt: skip
