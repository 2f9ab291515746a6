"""Own metrics of PTP: ports and instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Scene, counted, each, number, states, told
from timesync.ptp.states import PortState

_STATES: Final = tuple(state.name for state in PortState)
_PORT: Final = ("port", "domain")


def _ports(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for port in scene.ports:
        yield (port["name"], str(port["domain"])), port


def _instances(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    for instance in scene.status["ptp"]:
        yield (instance["identity"], str(instance["domain"])), instance


def _delay(*, of_peer: bool) -> Callable[[Message], float | None]:
    def value(port: Message) -> float | None:
        return number("mean_delay_s")(port) if (port["delay_mechanism"] == "p2p") is of_peer else None

    return value


def _messages(scene: Scene) -> Iterator[Row]:
    for labels, port in _ports(scene):
        for direction in ("received", "sent"):
            for kind, count in port[direction].items():
                yield (*labels, kind, direction), float(count)


def _grandmasters(scene: Scene) -> Iterator[Row]:
    for labels, instance in _instances(scene):
        master = instance["grandmaster"]
        yield (*labels, master["identity"], str(master["clock_class"]), f"0x{master['accuracy']:02x}"), 1.0


_INSTANCE: Final = ("clock_identity", "domain")

PORTS: Final = (
    Described(
        "timesync_ptp_port_info", "What there is to know of a port in words; always 1.",
        told(_ports, "identity", "parent", "transport", "timestamping", "delay_mechanism", "clock"),
        (*_PORT, "identity", "parent", "transport", "timestamping", "delay_mechanism", "clock"),
    ),
    Described(
        "timesync_ptp_port_state", "State of a port (IEEE 1588-2019, table 20): 1 for the present one.",
        states(_ports, "state", _STATES), (*_PORT, "state"),
    ),
    Described(
        "timesync_ptp_offset_from_transmitter_seconds",
        "The port's clock minus that of the timeTransmitter; positive when ours is ahead.",
        each(_ports, number("offset_s")), _PORT, "seconds",
    ),
    Described(
        "timesync_ptp_mean_path_delay_seconds", "Mean one-way delay to the timeTransmitter, end to end.",
        each(_ports, _delay(of_peer=False)), _PORT, "seconds",
    ),
    Described(
        "timesync_ptp_neighbor_prop_delay_seconds", "Mean one-way delay of the link to the neighbour, peer to peer.",
        each(_ports, _delay(of_peer=True)), _PORT, "seconds",
    ),
    Described(
        "timesync_ptp_neighbor_rate_ratio", "Frequency of the neighbour over that of our clock.",
        each(_ports, number("neighbor_rate_ratio")), _PORT, "ratio",
    ),
    Described("timesync_ptp_as_capable", "1 when asCapable (gPTP).", each(_ports, number("as_capable")), _PORT),
    Described(
        "timesync_ptp_unicast_clients", "Clients that are granted unicast messages.",
        each(_ports, number("clients")), _PORT,
    ),
    Described(
        "timesync_ptp_messages_total", "Messages received and sent.", _messages, (*_PORT, "type", "direction"),
        kind="counter",
    ),
    Described(
        "timesync_ptp_drops_total", "Messages refused.", counted(_ports, "drops"), (*_PORT, "reason"), kind="counter"
    ),
    Described(
        "timesync_ptp_lost_timestamps_total", "Transmit timestamps that never came.",
        each(_ports, number("lost_stamps")), _PORT, kind="counter",
    ),
    Described(
        "timesync_ptp_clock_class", "clockClass that an instance announces; 6 is locked to a primary reference.",
        each(_instances, number("clock_class")), _INSTANCE,
    ),
    Described(
        "timesync_ptp_steps_removed", "Paths between an instance and its grandmaster; 0 for the grandmaster.",
        each(_instances, number("steps_removed")), _INSTANCE,
    ),
    Described(
        "timesync_ptp_utc_offset_seconds", "currentUtcOffset of an instance: TAI - UTC.",
        each(_instances, number("time_properties.utc_offset_s")), _INSTANCE, "seconds",
    ),
    Described(
        "timesync_ptp_time_traceable", "1 when the time is traceable to a primary reference.",
        each(_instances, number("time_properties.time_traceable")), _INSTANCE,
    ),
    Described(
        "timesync_ptp_grandmaster_info", "The grandmaster of an instance; always 1.", _grandmasters,
        (*_INSTANCE, "identity", "clock_class", "accuracy"),
    ),
)  # fmt: skip
