"""Commands of the core on clocks: what stands below every servo."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from sim_support import MS, make_host

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.host import ClockError, ClockReport, Trouble
from timesync.runtime.steer import Helmsman
from timesync.servo.command import Command, Report, SetFrequency, StepClock
from timesync.servo.controller import Controller
from timesync.sim.clock import ClockModel
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.world import World

SYSTEM = ClockId("system")
S = Duration.from_s(1)


class Core:
    """Stands for the controller: notes what it is told."""

    def __init__(self) -> None:
        self.rates: list[Rate] = []
        self.moments: list[tuple[Instant[Tai], float]] = []
        self.missing: list[ClockId] = []
        self.steps: list[tuple[Duration, int]] = []

    def applied(self, clock: ClockId, rate: Rate, at: Instant[Tai], noise_s: float = 0.0) -> None:
        self.rates.append(rate)
        self.moments.append((at, noise_s))

    def gone(self, clock: ClockId, why: str) -> None:
        self.missing.append(clock)

    def stepped(self, clock: ClockId, by: Duration, before: Instant[Tai], epoch: int) -> Noted:
        self.steps.append((by, epoch))
        return Noted("warning", "step", f"{clock} by {by}")

    def deadline(self) -> Instant[Mono] | None:
        return None


class Scene:
    """A helmsman over a simulated clock."""

    def __init__(self, model: ClockModel | None = None) -> None:
        self.world = World(1)
        self.host = make_host(self.world, Network(self.world), model=model)
        self.core = Core()
        self.notes: list[Noted] = []
        self.moves: list[bool] = []
        self.helmsman = Helmsman(
            cast("Controller", self.core),
            self.host,
            self.notes.append,
            lambda source, exponent: None,
            lambda source: None,
            lambda clock: (Leap.INSERT, 36),
            lambda clock, stepped: self.moves.append(stepped),
        )

    def play(self, story: Callable[[], None]) -> None:
        async def main() -> None:
            story()

        run(self.world, main(), self.host.system)

    def do(self, *commands: Command) -> None:
        self.play(lambda: self.helmsman.perform(commands))


def test_the_core_learns_what_was_taken_and_others_that_the_clock_moved() -> None:
    scene = Scene()
    scene.do(SetFrequency(SYSTEM, Rate.from_ppm(900)), StepClock(SYSTEM, MS))

    assert [Rate.from_ppm(500).to_kernel()] == [rate.to_kernel() for rate in scene.core.rates]
    assert [(MS, 1)] == scene.core.steps
    assert [False, True] == scene.moves
    assert MS == scene.host.system.true_offset()
    assert [f"system by {MS}"] == [note.text for note in scene.notes]


def test_the_core_learns_between_which_readings_the_frequency_changed() -> None:
    """The daemon is put off the processor just when the clock has taken the frequency."""
    scene = Scene(ClockModel(held_up_s=10e-3))
    began = scene.host.system.exact()
    scene.do(SetFrequency(SYSTEM, Rate.from_ppm(500)))
    window = scene.host.system.exact() - began

    ((at, noise_s),) = scene.core.moments
    assert window > MS
    assert abs(at - began - window // 2) < Duration.from_ns(2)
    assert window.s() / 2 == pytest.approx(noise_s, abs=2e-9)


def test_a_clock_that_vanishes_once_it_has_taken_a_frequency_is_carried_on() -> None:
    scene = Scene()
    system = scene.host.system
    take = system.adjust_frequency

    def take_and_vanish(rate: Rate) -> Rate:
        taken = take(rate)
        system.failure = ClockError(Trouble.GONE, "unplugged", "")
        return taken

    scene.helmsman.now()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "adjust_frequency", take_and_vanish)
        scene.do(SetFrequency(SYSTEM, Rate.from_ppm(10)))
    assert 10.0 == pytest.approx(scene.core.rates[0].ppm(), abs=1e-4)
    assert [SYSTEM] == scene.core.missing
    ((at, _),) = scene.core.moments
    assert abs(at - system.exact()) < MS


def test_a_report_carries_the_leap_second_and_tai_utc() -> None:
    scene = Scene()
    scene.do(Report(SYSTEM, True, MS, MS * 2))
    assert [ClockReport(True, MS, MS * 2, Leap.INSERT, 36)] == scene.host.system.reports


def test_four_steps_a_minute_and_no_more() -> None:
    scene = Scene()
    for _ in range(6):
        scene.do(StepClock(SYSTEM, MS))
    assert 4 == scene.host.system.epoch == len(scene.core.steps)
    assert ["step"] * 4 + ["too-many-steps"] * 2 == [note.name for note in scene.notes]

    scene.world.run_for(S * 60)
    scene.do(StepClock(SYSTEM, MS))
    assert 5 == scene.host.system.epoch


def test_a_clock_that_refuses_is_complained_of_once_until_it_takes_something() -> None:
    scene = Scene()
    scene.host.system.failure = ClockError(Trouble.PERMISSION, "no", "be root")
    everything: tuple[Command, ...] = (
        SetFrequency(SYSTEM, Rate(0.0)), StepClock(SYSTEM, MS), Report(SYSTEM, False, MS, MS),
    )  # fmt: skip
    scene.do(*everything)
    scene.do(*everything)
    assert ["clock system: no; be root"] == [note.text for note in scene.notes]
    assert ("clock system: no; be root",) == scene.helmsman.troubles()
    assert ([], [], []) == (scene.core.rates, scene.core.steps, scene.moves)

    scene.host.system.failure = None
    scene.do(SetFrequency(SYSTEM, Rate(0.0)))
    assert () == scene.helmsman.troubles()
