"""The alarm and the driver of a machine, in simulated time and over sockets that do as they are told."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest
from sim_support import make_host

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Done, Dropped, Effect, Noted, SendStamped
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.host import ExchangeHandler
from timesync.runtime.drive import Alarm, Driver
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.world import World

SYSTEM = ClockId("system")
REMOTE = Endpoint("192.0.2.9", 123)
REFUSED = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


class Scene:
    """A machine in simulated time."""

    def __init__(self) -> None:
        self.world = World(1)
        self.host: SimHost = make_host(self.world, Network(self.world))

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        run(self.world, story, self.host.system)

    def mono_s(self) -> float:
        return (self.host.mono() - Instant(0)).s()


def after(scene: Scene, seconds: float) -> Instant[Mono]:
    return scene.host.mono() + Duration.from_s(seconds)


# -- the alarm


def test_an_alarm_fires_once_and_never_early() -> None:
    scene = Scene()
    fired: list[Instant[Mono]] = []

    async def story() -> None:
        alarm = Alarm(scene.host, lambda: fired.append(scene.host.mono()))
        when = after(scene, 1.5)
        alarm.set(when)
        await asyncio.sleep(10)
        assert 1 == len(fired)
        assert 0 <= (fired[0] - when).s() < 1e-6
        alarm.set(when)
        await asyncio.sleep(0.001)
        assert 2 == len(fired), "a time that has passed is now, also when it is the one of before"

    scene.run(story())


def test_an_alarm_allows_for_loops_that_fire_within_their_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio calls what is due before now plus the clock's resolution: too early for a machine that compares."""
    scene = Scene()
    delays: list[float] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", lambda delay, call: delays.append(delay))
        Alarm(scene.host, lambda: None).set(after(scene, 1.5))
        monkeypatch.undo()

    scene.run(story())
    (delay,) = delays
    assert 1.5 + time.get_clock_info("monotonic").resolution < delay < 1.5 + 1e-6


def test_an_alarm_can_be_moved_and_taken_back() -> None:
    scene = Scene()
    fired: list[float] = []

    async def story() -> None:
        alarm = Alarm(scene.host, lambda: fired.append(scene.mono_s()))
        start = scene.mono_s()
        alarm.set(after(scene, 5))
        alarm.set(after(scene, 1))
        await asyncio.sleep(2)
        assert [pytest.approx(start + 1, abs=1e-6)] == fired
        alarm.set(after(scene, 1))
        alarm.set(None)
        await asyncio.sleep(10)
        alarm.set(after(scene, 1))
        alarm.cancel()
        await asyncio.sleep(10)
        assert 1 == len(fired)

    scene.run(story())


def test_an_alarm_can_be_set_from_its_own_call() -> None:
    scene = Scene()
    fired: list[float] = []

    async def story() -> None:
        def call() -> None:
            fired.append(scene.mono_s())
            if len(fired) < 3:
                alarm.set(after(scene, 1))

        alarm = Alarm(scene.host, call)
        start = scene.mono_s()
        alarm.set(after(scene, 1))
        await asyncio.sleep(10)
        assert [pytest.approx(start + n, abs=1e-5) for n in (1, 2, 3)] == fired

    scene.run(story())


# -- the driver


class Socket:
    """An exchange that keeps what is sent."""

    def __init__(self, handler: ExchangeHandler, failure: OSError | None) -> None:
        self.handler = handler
        self.failure = failure
        self.sent: list[bytes] = []
        self.closed = 0

    def send(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append(data)

    def close(self) -> None:
        self.closed += 1


class Machine:
    """Does as the test says, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.due: Instant[Mono] | None = None
        self.next: list[Effect] = []

    def _take(self, *told: Any) -> Iterable[Effect]:
        self.told.append(told)
        effects, self.next = self.next, []
        return effects

    def deadline(self) -> Instant[Mono] | None:
        return self.due

    def on_deadline(self, now: Instant[Mono]) -> Iterable[Effect]:
        assert self.due is not None
        assert now >= self.due
        self.due = None
        return self._take("deadline")

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("packet", token, data, stamp)

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("sent", token, stamp)

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("error", token, text)


class Driving(Scene):
    """A driver with its machine and sockets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.machine = Machine()
        self.sockets: list[Socket] = []
        self.opening: OSError | None = None
        self.sending: OSError | None = None
        self.said: list[Effect] = []
        monkeypatch.setattr(self.host, "open_exchange", self._open)
        self.driver = Driver(self.machine, self.host, REMOTE, SYSTEM, self.said.append)

    def _open(
        self, remote: Endpoint, clock: ClockId, handler: ExchangeHandler, *, hardware: bool, over_ptp: bool
    ) -> Socket:
        assert (REMOTE, SYSTEM, False, False) == (remote, clock, hardware, over_ptp)
        if self.opening is not None:
            raise self.opening
        self.sockets.append(Socket(handler, self.sending))
        return self.sockets[-1]


def test_a_request_gets_a_socket_of_its_own_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Driving(monkeypatch)

    async def story() -> None:
        scene.machine.due = after(scene, 1)
        scene.machine.next = [SendStamped(b"one", 1), SendStamped(b"two", 2)]
        scene.driver.start()
        await asyncio.sleep(2)
        assert [("deadline",)] == scene.machine.told
        assert [[b"one"], [b"two"]] == [made.sent for made in scene.sockets]

        scene.machine.next = [Dropped("late"), Done(1)]
        scene.sockets[1].handler.on_sent(None)
        scene.sockets[0].handler.on_packet(b"answer", None)
        assert [("sent", 2, None), ("packet", 1, b"answer", None)] == scene.machine.told[1:]
        assert [Dropped("late")] == scene.said
        assert [1, 0] == [made.closed for made in scene.sockets]
        scene.driver.perform([Done(1)])
        assert [1, 0] == [made.closed for made in scene.sockets], "done twice is done"

    scene.run(story())


@pytest.mark.parametrize("where", ["opening", "sending"])
def test_what_cannot_be_sent_is_an_error_told_after_the_effects(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Driving(monkeypatch)

    async def story() -> None:
        setattr(scene, where, REFUSED)
        scene.driver.perform([SendStamped(b"one", 7), Noted("info", "x", "said in order")])
        assert [] == scene.machine.told, "not from inside its own effects"
        assert [Noted("info", "x", "said in order")] == scene.said
        scene.machine.next = [Done(7)]
        await asyncio.sleep(0.001)
        assert [("error", 7, "Connection refused")] == scene.machine.told, "and no on_sent"
        assert [1] * len(scene.sockets) == [made.closed for made in scene.sockets]

    scene.run(story())


def test_the_deadline_is_set_anew_by_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Driving(monkeypatch)

    async def story() -> None:
        scene.driver.start()
        scene.driver.perform([SendStamped(b"one", 1)])
        await asyncio.sleep(100)
        assert [] == scene.machine.told, "it wanted no call"
        scene.machine.due = after(scene, 3)
        scene.sockets[0].handler.on_error(REFUSED)
        await asyncio.sleep(2.9)
        assert [("error", 1, "Connection refused")] == scene.machine.told
        await asyncio.sleep(0.2)
        assert [("deadline",)] == scene.machine.told[1:]

    scene.run(story())


def test_after_stop_nothing_reaches_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Driving(monkeypatch)

    async def story() -> None:
        scene.machine.due = after(scene, 1)
        scene.driver.start()
        scene.driver.perform([SendStamped(b"one", 1)])
        scene.opening = REFUSED
        scene.driver.perform([SendStamped(b"two", 2)])
        scene.driver.stop()
        assert [1] == [made.closed for made in scene.sockets]
        handler = scene.sockets[0].handler
        handler.on_packet(b"late", None)
        handler.on_sent(None)
        handler.on_error(REFUSED)
        await asyncio.sleep(10)
        assert [] == scene.machine.told
        assert [] == scene.said

    scene.run(story())
