"""The names of OpenShift's linuxptp-daemon, as far as there is such a thing here: nanoseconds, and rates in ppb.

There a process each does what here one does; the label ``process`` names the one whose work it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from timesync.observe.metrics.table import Described, Message, Row, Rows, Scene, number
from timesync.ptp.states import PortState

_NS: Final = 1e9
_PPB_PER_PPM: Final = 1e3
_LINK: Final = ("from", "process", "node", "iface")
_IFACE: Final = ("process", "node", "iface")
_CONFIG: Final = ("process", "node", "config")
_ROLES: Final = {
    PortState.PASSIVE: 0.0,
    PortState.UNCALIBRATED: 1.0,
    PortState.TIME_RECEIVER: 1.0,
    PortState.TIME_TRANSMITTER: 2.0,
    PortState.PRE_TIME_TRANSMITTER: 2.0,
    PortState.FAULTY: 3.0,
    PortState.DISABLED: 4.0,
    PortState.INITIALIZING: 4.0,
    PortState.LISTENING: 5.0,
}
_STATES: Final = {"locked": 1.0, "holdover": 2.0}
"""All others are 0, free running."""

_FOLLOWING: Final = (PortState.UNCALIBRATED.name, PortState.TIME_RECEIVER.name)
_PULSES: Final = "pps"
_REALTIME: Final = "CLOCK_REALTIME"


class _Path(NamedTuple):
    """How a clock gets its time: by whom, from what, and what is known of it."""

    origin: str
    process: str
    iface: str
    offset_s: float | None
    delay_s: float | None
    clock: Message


def _paths(scene: Scene) -> Iterator[_Path]:
    clocks = {clock["name"]: clock for clock in scene.status["clocks"]}
    for port in scene.ports:
        if port["state"] in _FOLLOWING and port["clock"] in clocks:
            yield _Path("master", "ptp4l", port["name"], port["offset_s"], port["mean_delay_s"], clocks[port["clock"]])
    for source in scene.sources:
        clock = clocks.get(source["clock"])
        if source["kind"] == _PULSES and source["state"] == "selected" and clock and clock["kind"] == "phc":
            yield _Path("master", "ts2phc", clock["name"], source["offset_s"], 0.0, clock)
    for clock in clocks.values():
        link = next((one for one in clock["links"] if one["state"] == "selected"), None)
        if clock["kind"] == "system" and link is not None:
            yield _Path("phc", "phc2sys", _REALTIME, link["offset_s"], link["window_s"], clock)


def _each(value: Callable[[_Path], float | None]) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        for path in _paths(scene):
            found = value(path)
            yield (path.origin, path.process, scene.hello["host"], path.iface), found

    return rows


def _scaled(value: float | None) -> float | None:
    return None if value is None else value * _NS


def _states(scene: Scene) -> Iterator[Row]:
    for path in _paths(scene):
        yield (path.process, scene.hello["host"], path.iface), _STATES.get(path.clock["state"], 0.0)


def _classes(scene: Scene) -> Iterator[Row]:
    for place, instance in enumerate(scene.status["ptp"]):
        yield ("ptp4l", scene.hello["host"], f"ptp4l.{place}.config"), number("clock_class")(instance)


def _roles(scene: Scene) -> Iterator[Row]:
    for port in scene.ports:
        yield ("ptp4l", scene.hello["host"], port["name"]), _ROLES[PortState[port["state"]]]


def _processes(scene: Scene) -> Iterator[Row]:
    for place, _ in enumerate(scene.status["ptp"]):
        yield ("ptp4l", scene.hello["host"], f"ptp4l.{place}.config"), 1.0
    for process in dict.fromkeys(path.process for path in _paths(scene)):
        if process != "ptp4l":
            yield (process, scene.hello["host"], f"{process}.0.config"), 1.0


OPENSHIFT: Final = (
    Described("openshift_ptp_offset_ns", "The clock minus what it follows.",
              _each(lambda path: _scaled(path.offset_s)), _LINK),
    Described("openshift_ptp_max_offset_ns", "The same, as linuxptp-daemon has it without summaries.",
              _each(lambda path: _scaled(path.offset_s)), _LINK),
    Described("openshift_ptp_frequency_adjustment_ns", "Correction as ptp4l prints it, ppb; positive slows.",
              _each(lambda path: number("steering_ppm", -_PPB_PER_PPM)(path.clock)), _LINK),
    Described("openshift_ptp_delay_ns", "One-way delay, or how long a comparison takes.",
              _each(lambda path: _scaled(path.delay_s)), _LINK),
    Described("openshift_ptp_clock_state", "0 = FREERUN, 1 = LOCKED, 2 = HOLDOVER", _states, _IFACE),
    Described("openshift_ptp_clock_class", "clockClass.", _classes, _CONFIG),
    Described(
        "openshift_ptp_interface_role",
        "0 = PASSIVE, 1 = SLAVE, 2 = MASTER, 3 = FAULTY, 4 = UNKNOWN, 5 = LISTENING", _roles, _IFACE,
    ),
    Described("openshift_ptp_process_status", "0 = DOWN, 1 = UP", _processes, _CONFIG),
)  # fmt: skip
