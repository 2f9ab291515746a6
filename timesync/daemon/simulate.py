"""``timesync simulate``: the daemon's own code in simulated time, judged by a truth that it cannot see."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.config.scenario import Expectation, Scenario, WorldClock, WorldEvent, WorldServer
from timesync.config.schema import SYSTEM, Config
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.sim_hardware import delay_law, simulated_hardware, swing
from timesync.daemon.sim_ptp import PtpStage, simulated_ptp
from timesync.servo.select import words
from timesync.servo.view import ServoState, SourceState
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.devices import make_phc
from timesync.sim.host import Machine, SimHost
from timesync.sim.law import Exponential
from timesync.sim.loop import run
from timesync.sim.network import Network, Node, Path
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.server import Behaviour, SimNtpServer
from timesync.sim.world import World

_SECOND = Duration.from_s(1)
_FIRST_WITHIN_S = 100e-6
_ADDRESS = "10.0.0.{}"
_MAX_FREQUENCY = Rate(0.1)
_DEVIATIONS = 3.0


@dataclass(slots=True)
class Result:
    """What one seed gave.

    Attributes:
        seed: Which.
        locked_s: When the daemon first said that it was locked; None: never.
        first_s: When the true offset was first within the expected limit, or 100 µs.
        rms_s: True offset after settling, root mean square.
        maximum_s: The largest.
        frequency_rms: True frequency error of the steered clock after settling, root mean square, a ratio.
        requests_per_hour: Requests to all servers together.
        coverage: Share of the seconds with a claimed bound in which the true offset was inside it; 0 without a claim.
        frequency_coverage: Share of the seconds with an estimate in which the true frequency of the oscillator was
            within three of its claimed deviations; 0 without one.
        steps: How many times the clock was stepped.
        falsetickers: Servers named as falsetickers at the end.
        accused: Servers named as falsetickers at any time.
        misses: What was expected and did not come out, in words.
        trace: Per second: true offset, claimed bound (None while unknown); kept on request.
        notes: What the daemon said, with the second in which it did.
    """

    seed: int
    locked_s: float | None = None
    first_s: float | None = None
    rms_s: float = 0.0
    maximum_s: float = 0.0
    frequency_rms: float = 0.0
    requests_per_hour: float = 0.0
    coverage: float = 0.0
    frequency_coverage: float = 0.0
    steps: int = 0
    falsetickers: tuple[str, ...] = ()
    accused: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()
    trace: list[tuple[float, float | None]] = field(default_factory=list)
    notes: list[tuple[float, Noted]] = field(default_factory=list)


class Judge:
    """Looks once a simulated second at what the daemon says and at what is true."""

    def __init__(self, clock: SimClock, settle_s: float, within_s: float, *, keep: bool) -> None:
        self._clock = clock
        self._settle_s = settle_s
        self._within_s = within_s
        self._keep = keep
        self._squares = self._frequency_squares = self._worst = 0.0
        self._counted = self._claims = self._covered = 0
        self._estimates = self._near = 0

    def look(self, appliance: Appliance, at_s: float, result: Result) -> None:
        """One second."""
        controller = appliance.controller
        model = controller.clocks[self._clock.id]
        reading = self._clock.exact()  # of a card that was pulled out, too: whose time is served goes on being judged
        bound = model.error_bound_s(reading, appliance.mono())
        true = self._clock.true_offset().s()
        if bound is not None:
            self._claims += 1
            self._covered += abs(true) <= bound
        estimate = model.estimate(reading)
        if estimate is not None:
            ratio = self._clock.free_frequency().ratio
            # The estimate's is a ratio to the clock's own seconds.
            apart = abs(estimate.frequency - ratio / (1 + ratio))
            self._estimates += 1
            self._near += apart <= _DEVIATIONS * estimate.frequency_deviation
        if result.first_s is None and abs(true) <= self._within_s:
            result.first_s = at_s
        if result.locked_s is None and controller.standing(self._clock.id).state is ServoState.LOCKED:
            result.locked_s = at_s
        if at_s >= self._settle_s:
            self._counted += 1
            self._squares += true * true
            self._worst = max(self._worst, abs(true))
            self._frequency_squares += self._clock.true_frequency().ratio ** 2
        if self._keep:
            result.trace.append((true, bound))

    def conclude(self, result: Result) -> None:
        """Put the sums into the result."""
        if self._counted:
            result.rms_s = math.sqrt(self._squares / self._counted)
            result.frequency_rms = math.sqrt(self._frequency_squares / self._counted)
        result.maximum_s = self._worst
        result.frequency_coverage = self._near / max(self._estimates, 1)
        result.coverage = self._covered / max(self._claims, 1)


@dataclass(slots=True)
class Stage:
    """The simulated world of one seed."""

    world: World
    network: Network
    host: SimHost
    clock: SimClock
    oscillator: Oscillator
    servers: dict[str, SimNtpServer]
    nodes: dict[str, Node]
    ptp: PtpStage


def simulate(scenario: Scenario, config: Config, leap_table: LeapTable, seed: int, *, keep: bool = False) -> Result:
    """Run one seed of a scenario; the same seed gives the same result to the last digit.

    Args:
        scenario: The world.
        config: What the daemon is told.
        leap_table: For both.
        seed: Which random world.
        keep: Keep the trace of every second.
    """
    stage = _build(scenario, config, leap_table, seed)
    result = Result(seed)
    first = scenario.expect.first
    # Whose time is served is what counts; events happen to the system clock.
    judged = stage.host.clocks[ClockId(config.served_clock())]
    judge = Judge(judged, scenario.settle.s(), _FIRST_WITHIN_S if first is None else first.within.s(), keep=keep)
    # The collector's passes over a growing heap of events would cost a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        run(stage.world, _play(scenario, config, leap_table, stage, judge, result), stage.host.system)
    finally:
        if collecting:
            gc.enable()
    judge.conclude(result)
    requests = sum(server.requests for server in stage.servers.values())
    result.requests_per_hour = requests / scenario.duration.s() * 3600
    result.misses = tuple(_misses(scenario.expect, result))
    return result


async def _play(
    scenario: Scenario, config: Config, leap_table: LeapTable, stage: Stage, judge: Judge, result: Result
) -> None:
    """The daemon's life in this world."""
    world, accused = stage.world, set[str]()
    judged = ClockId(config.served_clock())

    def elapsed() -> float:
        return world.elapsed.s()

    def note(noted: Noted) -> None:
        result.notes.append((elapsed(), noted))
        if noted.name == "falseticker" and noted.source is not None:
            accused.add(noted.source)

    def begin() -> Appliance:
        appliance = Appliance(config, stage.host, LiveTable.of(leap_table), Start({}, note))
        appliance.start()
        return appliance

    stage.ptp.start()
    running = [begin()]

    def restart() -> None:
        running[0].stop()
        result.steps += running[0].controller.clocks[judged].steps
        running[0] = begin()

    def look() -> None:
        world.after(_SECOND, look)
        judge.look(running[0], elapsed(), result)

    world.after(_SECOND, look)
    _schedule(scenario, stage, restart)
    finished = asyncio.Event()
    world.after(scenario.duration, finished.set)
    await finished.wait()
    controller = running[0].controller
    result.steps += controller.clocks[judged].steps
    result.falsetickers = tuple(
        source.spec.name for source in controller.sources() if source.ruling.state is SourceState.FALSETICKER
    )
    result.accused = tuple(sorted(accused))
    running[0].stop()


def _build(scenario: Scenario, config: Config, leap_table: LeapTable, seed: int) -> Stage:
    world = World(seed)
    network = Network(world)
    spec = scenario.world.clock
    oscillator = Oscillator(world, "clock", _quartz(spec))
    model = ClockModel(offset=spec.offset, tick=spec.tick, max_frequency=_MAX_FREQUENCY, held_up_s=spec.held_up.s())
    clock = SimClock(world, oscillator, leap_table, model, SYSTEM)
    node = network.node("daemon", _ADDRESS.format(1))
    machine = Machine(stamp_noise_s=spec.stamp_noise.s(), slowness=Exponential(spec.slowness.s()))
    hardware = simulated_hardware(scenario.world)
    phcs = [make_phc(world, name, phc, leap_table, clock) for name, phc in hardware.phcs.items()]
    host = SimHost(world, node, [clock, *phcs], machine, hardware)
    servers: dict[str, SimNtpServer] = {}
    nodes: dict[str, Node] = {}
    for index, server in enumerate(scenario.world.servers):
        address = _ADDRESS.format(index + 2)
        far = network.node(server.name, address)
        network.dns.set(server.name, address)
        nodes[server.name] = far
        _connect(network, node, far, server)
        servers[server.name] = _server(world, far, leap_table, server)
    ptp = simulated_ptp(world, scenario.world.ptp, config, host, leap_table)
    return Stage(world, network, host, clock, oscillator, servers, nodes, ptp)


def _quartz(spec: WorldClock) -> Quartz:
    return Quartz(
        frequency_error=spec.frequency,
        wander=spec.wander,
        white_fm=spec.white_fm,
        temperature=swing(spec.temperature),
    )


def _connect(network: Network, node: Node, far: Node, server: WorldServer) -> None:
    base, law = delay_law(server.delay, server.jitter)
    there = Path(base=base, jitter=law, loss=server.loss)
    back = Path(base=base + server.asymmetry, jitter=law, loss=server.loss)
    network.connect(node, far, there, back)


def _server(world: World, node: Node, leap_table: LeapTable, spec: WorldServer) -> SimNtpServer:
    server = SimNtpServer(world, node, leap_table, offset=spec.offset, quartz=Quartz(frequency_error=spec.drift))
    server.claims.stratum = spec.stratum
    server.behaviour = Behaviour(spec.behaviour)
    return server


def _schedule(scenario: Scenario, stage: Stage, restart: Callable[[], None]) -> None:
    for event in scenario.world.events:
        stage.world.after(event.at, partial(_happen, event, stage, restart))


def _happen(event: WorldEvent, stage: Stage, restart: Callable[[], None]) -> None:
    if event.frequency_step is not None:
        stage.oscillator.step_frequency(event.frequency_step)
    elif event.clock_step is not None:
        stage.clock.disturb(event.clock_step)
    elif event.restart:
        restart()
    elif event.peer_step is not None and event.device is not None:
        stage.ptp.step(event.device, event.peer_step)
    elif event.outage is not None and event.lasting is not None:
        now = stage.world.now
        for name in event.outage or (*stage.nodes, *stage.ptp.peers):
            if name in stage.nodes:
                stage.network.outage(stage.host.node, stage.nodes[name], now, now + event.lasting)
            if name in stage.ptp.peers:
                stage.ptp.outage(name, now, now + event.lasting)


def _misses(expect: Expectation, result: Result) -> list[str]:
    """What was expected and did not come out."""
    misses = []
    if expect.rms is not None and result.rms_s > expect.rms.s():
        misses.append(f"RMS true offset {words(result.rms_s)}, expected at most {words(expect.rms.s())}")
    if expect.maximum is not None and result.maximum_s > expect.maximum.s():
        misses.append(f"largest true offset {words(result.maximum_s)}, expected at most {words(expect.maximum.s())}")
    if expect.first is not None and (result.first_s is None or result.first_s > expect.first.by.s()):
        reached = "never" if result.first_s is None else f"after {result.first_s:g} s"
        misses.append(f"{words(expect.first.within.s())} reached {reached}, expected by {expect.first.by.s():g} s")
    if expect.coverage is not None and result.coverage < expect.coverage:
        misses.append(f"the bound held in {result.coverage:.5%} of the time, expected {expect.coverage:.3%}")
    if expect.steps is not None and result.steps != expect.steps:
        misses.append(f"{result.steps} steps, expected {expect.steps}")
    if expect.falsetickers is not None and set(result.falsetickers) != set(expect.falsetickers):
        found = ", ".join(result.falsetickers) or "none"
        misses.append(f"falsetickers at the end: {found}; expected {', '.join(expect.falsetickers) or 'none'}")
    return misses
