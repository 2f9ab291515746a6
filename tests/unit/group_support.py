"""A machine with time hardware, a core that answers as it is told, and a listener that keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from sim_devices_support import SYSTEM, Scene
from sim_support import leap_table

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse, Leap, Measurement, SourceStatus
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.daemon.group import Listener, Surroundings
from timesync.gnss.event import LeapReport


class Startable(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


class Core:
    """Answers of the core; set them.

    Attributes:
        coarse_time: What numbers pulses.
        asked: By whom: the only source that may number, in order.
        known_time: What is known of the clocks.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.coarse_time: Coarse | None = None
        self.known_time: Coarse | None = None
        self.asked: list[SourceId | None] = []

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        self.asked.append(only)
        return self.coarse_time

    def known(self, clock: ClockId) -> Coarse | None:
        return self.known_time

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        return False

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        return ZERO

    def epoch(self, clock: ClockId) -> int:
        return self.scene.host.clocks[clock].epoch


class Judge:
    """A receiver as its pulses see it."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.teeth = ZERO
        self.says = Leap.NONE

    def verdict(self) -> str | None:
        return self.why

    def leap(self) -> Leap:
        return self.says

    def leap_report(self) -> LeapReport:
        return LeapReport(leap=self.says)

    def sawtooth(self, second: Instant[Tai]) -> Duration:
        return self.teeth


class Stand:
    """Runs groups on a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.core = Core(scene)
        self.notes: list[Noted] = []
        self.added: list[str] = []
        self.removed: list[str] = []
        self.heard: list[tuple[float, SourceId, Measurement]] = []
        self.statuses: list[SourceStatus] = []
        self.broken: list[object] = []
        listener = Listener(
            lambda spec: self.added.append(spec.source),
            self.removed.append,
            self._measured,
            self.statuses.append,
            self.notes.append,
        )
        self.around = Surroundings(scene.host, leap_table(), listener, self.core)

    def _measured(self, source: SourceId, measurement: Measurement) -> None:
        self.heard.append((self.scene.world.elapsed.s(), source, measurement))

    def play(self, group: Startable, seconds: float, *acts: tuple[float, Callable[[], object]]) -> None:
        """Start the group, do each act at its second on the loop, and stop it."""

        async def story() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.broken.append(context))
            start = self.scene.world.elapsed.s()
            group.start()
            for second, act in sorted(acts, key=lambda one: one[0]):
                await asyncio.sleep(start + second - self.scene.world.elapsed.s())
                act()
            await asyncio.sleep(start + seconds - self.scene.world.elapsed.s())
            group.stop()
            assert [] == [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]

        self.scene.run(story())
        assert [] == self.broken

    def lines(self) -> list[str]:
        return [f"{note.name}: {note.text}" for note in self.notes]

    def exact(self) -> None:
        """The core knows the system clock exactly: it has no error in these scenes."""
        self.core.coarse_time = Coarse(0.0, 0.1, "somebody")

    def offsets_s(self) -> list[float]:
        return [measurement.offset.s() for _, _, measurement in self.heard]

    def true_ns(self) -> int:
        """Truth as UTC, ns since 1970."""
        return leap_table().utc(self.scene.world.now).ns()


SECOND = Duration.from_s(1)
__all__ = ["SECOND", "SYSTEM", "Core", "Judge", "Stand"]
