"""Stories in virtual time: the appliance on simulated hardware, and a client that asks it for the time every second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import pytest

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Noted
from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.config.scenario import read_scenario
from timesync.daemon import simulate
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap import load_leap_table
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.simulate import _build, _happen
from timesync.daemon.why import why
from timesync.observe.snapshot import Snapshot
from timesync.sim.clock import SimClock
from timesync.sim.hardware import Fault
from timesync.sim.law import Exactly
from timesync.sim.loop import run
from timesync.sim.network import Datagram, Path
from timesync.sim.world import DEFAULT_START, World
from timesync.wire.ntp import Mode, NtpPacket, decode, encode, short_to_duration, timestamp_to_utc

AT_ONCE = Path(base=Duration(0), jitter=Exactly())
LAST_DIGIT_S = 2**-16
"""Root delay and dispersion have 16 bits of fraction on the wire (RFC 5905, 6)."""

NMEA_AND_PPS = """
name: faults
description: A receiver and its pulse.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  hardware:
    receivers:
      /dev/ttyAMA0: {latency: {mean: 120ms, deviation: 30ms}}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
config:
  sources:
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: /dev/pps0, pairs_with: nmea}
  serve: {ntp: {listen: ["10.0.0.1:123"]}}
"""


@cache
def leap_table() -> LeapTable:
    return load_leap_table(())[0]


def expired(table: LeapTable) -> LeapTable:
    """The same list, for which nobody vouches any more when the world begins."""
    long_ago: Instant[Utc] = Instant.from_ns(1_700_000_000 * 10**9)
    return replace(table, expires=long_ago)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client was told.

    Attributes:
        at: True time after the start, in seconds.
        error_s: The served time minus the truth.
        bound_s: Half the root delay and the root dispersion.
        packet: The rest.
    """

    at: float
    error_s: float
    bound_s: float
    packet: NtpPacket

    @property
    def synchronized(self) -> bool:
        return self.packet.leap is not Leap.UNKNOWN and 0 < self.packet.stratum < 16


class Story:
    """One world and the daemon in it.

    Attributes:
        answers: To the client, once a second.
        notes: The event log, with the true second of each line.
        seen: What ``look`` was asked to keep, by second.
    """

    def __init__(
        self,
        text: str = NMEA_AND_PPS,
        *,
        seed: int = 1,
        table: LeapTable | None = None,
        truth: LeapTable | None = None,
        start: Instant[Tai] = DEFAULT_START,
    ) -> None:
        """The daemon has ``table``, the world goes by ``truth`` and begins at ``start``."""
        scenario, loaded = read_scenario(text.encode(), "story.yaml")
        self.table = table or leap_table()
        self.truth = truth or leap_table()
        self.scenario = scenario
        self.config = loaded.config
        with patch.object(simulate, "World", partial(World, start=start)):
            self.stage = _build(scenario, loaded.config, self.truth, seed)
        self.world = self.stage.world
        self.host = self.stage.host
        self.answers: list[Answer] = []
        self.notes: list[tuple[float, Noted]] = []
        self.seen: dict[float, Snapshot] = {}
        self.offsets: list[tuple[float, Mapping[ClockId, float]]] = []
        self._plans: list[tuple[float, Callable[[], object]]] = []
        self._broken: list[Mapping[str, Any]] = []
        self._client = self.stage.network.node("client", "10.0.0.250")
        self.stage.network.connect(self._client, self.host.node, AT_ONCE, AT_ONCE)
        self._socket = self._client.bind(self, "10.0.0.250")
        self._appliance: Appliance | None = None

    # -- what happens

    @property
    def appliance(self) -> Appliance:
        assert self._appliance is not None
        return self._appliance

    def at(self, second: float, call: Callable[[], object]) -> None:
        self._plans.append((second, call))

    def fault(self, fault: Fault, device: str, at: float, lasting: float | None = None) -> None:
        switch = partial(self.host.devices.switch, device, fault)
        self.at(at, partial(switch, on=True))
        if lasting is not None:
            self.at(at + lasting, partial(switch, on=False))

    def look(self, *seconds: float) -> None:
        for second in seconds:
            self.at(second, partial(self._keep, second))

    def reload(self, text: str) -> list[str]:
        return self.appliance.reload(read_scenario(text.encode(), "story.yaml")[1].config, {})

    def _keep(self, second: float) -> None:
        self.seen[second] = self.appliance.snapshot()

    # -- how it is told

    def run(self, seconds: float) -> Story:
        """From the start of the daemon to its end; nothing may break on the way, and nothing stay behind."""
        run(self.world, self._play(seconds), self.host.system)
        assert not self._broken, self._broken[0]
        return self

    async def _play(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._broken.append(context))
        self._appliance = Appliance(self.config, self.host, LiveTable.of(self.table), Start({}, self._note))
        for event in self.scenario.world.events:
            self.world.after(event.at, partial(_happen, event, self.stage, _no_restart))
        self._appliance.start()
        for second, call in self._plans:
            # On the loop, as everything that comes to a daemon from outside.
            self.world.after(Duration.from_s(second), partial(loop.call_soon, call))
        self._ask()
        finished = asyncio.Event()
        self.world.after(Duration.from_s(seconds), finished.set)
        await finished.wait()
        self._appliance.stop()
        await asyncio.sleep(0)
        self._assert_nothing_left(loop)

    def _assert_nothing_left(self, loop: asyncio.AbstractEventLoop) -> None:
        """Whoever is stopped has no timer and no task any more."""
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert timers == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.appliance._around.receivers == {}
        assert self.appliance.controller.sources() == []
        assert self.host.node._sockets == {}
        devices = self.host.devices
        assert devices._outputs == set()
        assert [line.name for line in devices._lines() if line._listeners] == []
        assert [name for name, port in devices._ports.items() if port._ends] == []

    def _note(self, noted: Noted) -> None:
        self.notes.append((self.world.elapsed.s(), noted))

    # -- the client

    def _ask(self) -> None:
        self.world.after(Duration.from_s(1), self._ask)
        self.offsets.append(
            (self.world.elapsed.s(), {name: clock.true_offset().s() for name, clock in self.host.clocks.items()})
        )
        request = encode(NtpPacket(mode=Mode.CLIENT, transmit=self.world.units % 2**64))
        self._socket.send(request, Endpoint("10.0.0.1", 123))

    def on_datagram(self, datagram: Datagram) -> None:
        packet = decode(datagram.data)
        truth = self.truth.utc(self.world.now)
        said = timestamp_to_utc(packet.transmit, truth)
        bound = short_to_duration(packet.root_delay).s() / 2 + short_to_duration(packet.root_dispersion).s()
        self.answers.append(Answer(self.world.elapsed.s(), (said - truth).s(), bound, packet))

    def on_refused(self, target: Endpoint) -> None:
        """Nobody serves just now: ``told`` notices."""

    # -- what is asked of it afterwards

    def told(self, since: float, until: float) -> Sequence[Answer]:
        """The answers of a while, one a second."""
        answers = [answer for answer in self.answers if since <= answer.at < until]
        assert len(answers) >= until - since - 1, "NTP was not served all the time"
        return answers

    def worst_s(self, since: float, until: float) -> float:
        return max(abs(answer.error_s) for answer in self.told(since, until))

    def offset_s(self, clock: str, since: float, until: float) -> float:
        """The largest true offset of a clock."""
        return max(abs(offsets[ClockId(clock)]) for at, offsets in self.offsets if since <= at < until)

    def strata(self, since: float, until: float) -> set[int]:
        return {answer.packet.stratum if answer.synchronized else 16 for answer in self.told(since, until)}

    def leaps(self, since: float, until: float) -> set[Leap]:
        return {answer.packet.leap for answer in self.told(since, until)}

    def references(self, since: float, until: float) -> set[bytes]:
        return {answer.packet.reference_id for answer in self.told(since, until)}

    def assert_honest(self) -> None:
        """In every second in which the daemon said that its time can be believed, it was within its claim."""
        believed = [answer for answer in self.answers if answer.synchronized]
        assert believed
        wrong = [answer for answer in believed if abs(answer.error_s) > answer.bound_s + LAST_DIGIT_S]
        assert wrong == []

    def said(self, since: float, until: float) -> list[str]:
        return [f"{noted.name}: {noted.text}" for at, noted in self.notes if since <= at < until]

    def assert_said(self, *phrases: str, since: float, until: float) -> None:
        """Some line of the event log of that while has all these phrases."""
        lines = self.said(since, until)
        if not any(all(phrase in line for phrase in phrases) for line in lines):
            pytest.fail(f"no line has {phrases}:\n" + "\n".join(lines))

    def states(self, since: float, until: float) -> list[str]:
        """The states that the served clock passed through, in order, by the event log."""
        names = ("locked", "holdover", "freerun", "acquiring", "fault")
        ours = f"clock {self.config.served_clock()}: "
        return [
            noted.name
            for at, noted in self.notes
            if since <= at < until
            and noted.name in names
            and (noted.text.startswith(ours) or not noted.text.startswith("clock "))
        ]

    def source(self, second: float, name: str) -> Mapping[str, Any]:
        """The entry of ``timesync sources --json``."""
        entries = self.seen[second].sources()["sources"]
        found: list[Mapping[str, Any]] = [entry for entry in entries if entry["name"] == name]
        assert len(found) == 1, [entry["name"] for entry in entries]
        return found[0]

    def status(self, second: float) -> Mapping[str, Any]:
        return self.seen[second].status()

    def why(self, second: float, name: str | None = None) -> str:
        """What ``timesync why`` prints."""
        return "\n".join(why(self.seen[second], name)["lines"])

    def clock(self, name: str) -> SimClock:
        return self.host.clocks[ClockId(name)]


def _no_restart() -> None:
    raise AssertionError
