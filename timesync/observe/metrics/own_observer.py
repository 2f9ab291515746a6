"""Metrics of the two processes: does the daemon say anything, and what do they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from timesync.observe.metrics.table import STALE_S, Described, Message, Own, Row, Rows, Scene


def _of(value: Callable[[Own], float | None]) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        yield (), value(scene.own)

    return rows


def _of_daemon(key: str) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        process: Message | None = scene.state.get("process")
        yield (), None if process is None else process[key]

    return rows


OBSERVER: Final = (
    Described(
        "timesync_up",
        f"1 while the daemon tells its state; else its state is older than {STALE_S:.0f} s and left out.",
        _of(lambda own: float(own.fresh)),
    ),
    Described(
        "timesync_state_age_seconds", "Since the daemon told its state, which it does every second.",
        _of(lambda own: own.age_s), unit="seconds",
    ),
    Described(
        "timesync_observer_missed_messages_total", "Messages of the daemon that did not get through to the observer.",
        _of(lambda own: float(own.missed)), kind="counter",
    ),
    Described(
        "timesync_observer_cpu_seconds_total", "Time of processors that the observer has taken.",
        _of(lambda own: own.usage.cpu_s), unit="seconds", kind="counter",
    ),
    Described(
        "timesync_observer_resident_memory_bytes", "Memory that the observer has.",
        _of(lambda own: own.usage.resident_bytes), unit="bytes",
    ),
)  # fmt: skip

DAEMON: Final = (
    Described(
        "timesync_daemon_cpu_seconds_total", "Time of processors that the daemon has taken, without its workers.",
        _of_daemon("cpu_s"), unit="seconds", kind="counter",
    ),
    Described(
        "timesync_daemon_resident_memory_bytes", "Memory that the daemon has, without its workers.",
        _of_daemon("resident_bytes"), unit="bytes",
    ),
)  # fmt: skip
