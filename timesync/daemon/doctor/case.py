"""What all checks share: the configuration, the machine, the running daemon, and what was begun in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from timesync.base.utc import LeapTable
from timesync.config.schema import Config
from timesync.daemon.doctor.machine import Machine
from timesync_drivers import access, proc, units
from timesync_drivers.proc import Process

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that runs with this configuration.

    Attributes:
        pid: Its process; None where the kernel does not tell.
        status: The object of ``timesync status --json``.
        sources: The objects of ``timesync sources --json``.
    """

    pid: int | None
    status: dict[str, Any]
    sources: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What is examined.

    Attributes:
        config: What is needed.
        argument: How a command line names the configuration: ``-c FILE``, ``--profile NAME`` or both.
        machine: Where it is looked for.
        table: TAI - UTC.
        leap_said: Where that comes from.
        running: The daemon, if it runs.
        silence: Why it does not answer, in words.
        background: What was begun at the start.
    """

    config: Config
    argument: str
    machine: Machine
    table: LeapTable
    leap_said: str
    running: Running | None = None
    silence: str = ""
    background: Background = field(default_factory=lambda: Background(60.0))

    def others(self, opened: str) -> proc.Holders:
        """Who has a file open, apart from us and from the running daemon."""
        found = proc.holders(self.machine.proc, opened)
        ours = {self.machine.pid, None if self.running is None else self.running.pid}
        return proc.Holders(tuple(one for one in found.processes if one.pid not in ours), found.hidden)

    def processes(self) -> list[Process]:
        """All that run."""
        return proc.processes(self.machine.proc)

    def open_error(self, path: str, flags: int = access.READ_WRITE) -> int:
        """0 when the user of the service may open a file, else the errno."""
        return access.try_open(self.machine.at(path), self.machine.user, flags)

    def starts_with_machine(self, unit: str) -> bool:
        """Whether a unit is enabled."""
        return units.enabled_by(self.machine.root, unit) is not None


class UnfinishedError(Exception):
    """Something that was begun did not end in time."""


class Background:
    """Things that take a while, begun together, so that the whole does not take their sum."""

    def __init__(self, seconds: float) -> None:
        """All must have ended so many seconds from now; what has not is given up."""
        self._ends = time.monotonic() + seconds
        self._begun: dict[tuple[str, str], Future[Any]] = {}

    def begin(self, kind: str, subject: str, call: Callable[[], object]) -> None:
        """Begin one; twice does nothing."""
        if (kind, subject) not in self._begun:
            self._begun[kind, subject] = in_thread(call)

    def left_s(self) -> float:
        """How much time is left."""
        return max(self._ends - time.monotonic(), 0.0)

    def result(self, kind: str, subject: str, wanted: type[T]) -> T | None:
        """What came of one; None when it was not begun. Raises UnfinishedError, and what it raised."""
        future = self._begun.get((kind, subject))
        if future is None:
            return None
        if not wait([future], self.left_s()).done:
            raise UnfinishedError(kind, subject)
        found = future.result()
        assert isinstance(found, wanted)
        return found


def in_thread(call: Callable[[], T]) -> Future[T]:
    """What ``call`` gives or raises, from a thread that does not keep the program from ending."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=work, name="doctor", daemon=True).start()
    return answer
