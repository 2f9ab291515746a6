"""NTPv5 in whole appliances that ask each other: reference ids break a loop, and time passes on as by version 4."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from story_support import leap_table

from timesync.base.machine import Noted
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono
from timesync.config.load import loads
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.why import why
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.host import Machine, SimHost
from timesync.sim.law import Exponential
from timesync.sim.loop import run
from timesync.sim.network import Network, Node, Path
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.server import Behaviour, SimNtpServer
from timesync.sim.world import World
from timesync.wire.ntp5_ext import DRAFTS

LAN = Path(base=Duration.from_ns(200_000), jitter=Exponential(20e-6))


class Member(SimHost):
    """One of several machines on one loop: the beat of its timers is the loop's own, whatever its clock does."""

    beat: SimClock

    def mono(self) -> Instant[Mono]:
        return Instant(self.beat.elapsed())


@dataclass
class Daemon:
    """One appliance and its machine."""

    host: Member
    text: str
    notes: list[Noted] = field(default_factory=list)
    appliance: Appliance = field(init=False)

    def start(self) -> None:
        config = loads(self.text, f"{self.host.node.name}.yaml").config
        self.appliance = Appliance(config, self.host, LiveTable.of(leap_table()), Start({}, self.notes.append))
        self.appliance.start()

    def source(self, name: str) -> dict[str, Any]:
        sources = self.appliance.snapshot().sources()["sources"]
        return next(dict(one) for one in sources if one["name"] == name)

    @property
    def stratum(self) -> int:
        return self.appliance.view().stratum


class Lab:
    """Daemons a, b, c at 10.0.0.1 to 10.0.0.3, and a server that is right, ``root``, of version 4."""

    def __init__(self, **texts: str) -> None:
        self.world = World(5)
        self.network = Network(self.world)
        self.beat = self._clock("beat", Quartz(), Duration(0))
        self.daemons: dict[str, Daemon] = {}
        nodes: list[Node] = []
        root = self._join("root", "10.0.0.9", nodes)
        self.root = SimNtpServer(self.world, root, leap_table())
        for number, (name, text) in enumerate(texts.items(), 1):
            node = self._join(name, f"10.0.0.{number}", nodes)
            quartz = Quartz(frequency_error=Rate(20e-6 * number), wander=1e-9)
            clock = self._clock(name, quartz, Duration.from_ns(number * 10_000_000))
            host = Member(self.world, node, [clock], Machine(stamp_noise_s=1e-6))
            host.beat = self.beat
            serve = f'serve: {{ntp: {{listen: ["10.0.0.{number}:123"], versions: [4, 5]}}}}\n'
            self.daemons[name] = Daemon(host, text + serve)

    def _join(self, name: str, address: str, nodes: list[Node]) -> Node:
        node = self.network.node(name, address)
        self.network.dns.set(name, address)
        for other in nodes:
            self.network.connect(node, other, LAN)
        nodes.append(node)
        return node

    def _clock(self, name: str, quartz: Quartz, offset: Duration) -> SimClock:
        oscillator = Oscillator(self.world, name, quartz)
        return SimClock(self.world, oscillator, leap_table(), ClockModel(offset=offset), "system")

    def run(self, *phases: tuple[float, Any]) -> None:
        """Wait so many seconds, then do that; phase after phase."""

        async def play() -> None:
            for daemon in self.daemons.values():
                daemon.start()
            for seconds, then in phases:
                done = asyncio.Event()
                self.world.after(Duration.from_s(seconds), done.set)
                await done.wait()
                then()
            for daemon in self.daemons.values():
                daemon.appliance.stop()

        run(self.world, play(), self.beat)


def asks(*names: str, version: str) -> str:
    entries = [f"  - {{ntp: {name}, poll: [1s, 4s], version: {version}}}\n" for name in names]
    return "sources:\n" + "".join(entries)


def circle(version: str) -> Lab:
    """A follows B or the root, B follows C, C follows A."""
    root = "  - {ntp: root, poll: [1s, 4s]}\n"
    return Lab(
        a=asks("b", version=version) + root,
        b=asks("c", version=version),
        c=asks("a", version=version),
    )


def test_a_circle_of_three_is_broken_by_their_reference_ids() -> None:
    lab = circle("5")
    a, b, c = (lab.daemons[name] for name in "abc")
    states: list[str] = []

    def settled() -> None:
        assert (2, 4, 3) == (a.stratum, b.stratum, c.stratum)
        of_b = a.source("b")
        assert "excluded" == of_b["state"]
        assert "it takes its own time from this machine, by itself or over other servers" == of_b["reason"]
        assert (5, DRAFTS[0]) == (of_b["version"], of_b["draft"])
        assert (4, None) == (a.source("root")["version"], a.source("root")["draft"])
        assert of_b["drops"]["loop"] > 10
        assert ["selected", "selected"] == [b.source("c")["state"], c.source("a")["state"]]
        assert any("takes its own time from this machine" in line for line in why(a.appliance.snapshot(), "b")["lines"])
        lab.root.behaviour = Behaviour.SILENT

    def watch() -> None:
        states.append(a.source("b")["state"])

    lab.run((240, settled), *[(10, watch)] * 60)
    assert ["ntp-loop"] == [note.name for note in a.notes if note.name == "ntp-loop"]
    assert {"excluded"} == set(states), "with the root away, nobody else may take its place"


def test_without_reference_ids_the_circle_would_close() -> None:
    """The reference id of version 4 tells of one hop only: this is what the test above is measured against."""
    lab = circle("4")
    a = lab.daemons["a"]
    found: list[str] = []

    def settled() -> None:
        assert "candidate" == a.source("b")["state"], "it agrees, and is believed"
        lab.root.behaviour = Behaviour.SILENT

    lab.run((240, settled), *[(10, lambda: found.append(a.source("b")["state"]))] * 60)
    assert "selected" in found


def test_a_loop_over_a_server_of_version_4_shows_nothing_and_harms_nothing_in_version_5() -> None:
    """B asks the root and C in version 4: its own clients are told of both by their addresses."""
    lab = Lab(a=asks("b", version="5"), b=asks("root", "c", version="4"), c=asks("root", version="4"))
    a = lab.daemons["a"]
    found: list[str] = []
    lab.run((120, lambda: found.append(a.source("b")["state"])))
    assert ["selected"] == found


def errors(version: str) -> tuple[float, dict[str, Any]]:
    """RMS of B's true offset against A's, and what B says of A."""
    lab = Lab(a=asks("root", version="4"), b=asks("a", version=version))
    a, b = lab.daemons["a"], lab.daemons["b"]
    squares: list[float] = []

    def look() -> None:
        squares.append((b.host.system.true_offset().s() - a.host.system.true_offset().s()) ** 2)

    found: dict[str, Any] = {}
    lab.run((180, look), *[(2, look)] * 200, (1, lambda: found.update(b.source("a"))))
    return math.sqrt(sum(squares) / len(squares)), found


def test_time_passes_on_by_version_5_as_by_version_4() -> None:
    by_4, said_4 = errors("4")
    for version in ("5", "auto"):
        by_5, said_5 = errors(version)
        assert by_5 < max(1.5 * by_4, 5e-6), f"{by_5} by version {version}, {by_4} by 4"
        assert (5, "selected", 8, True) == (said_5["version"], said_5["state"], said_5["reach"], said_5["interleaved"])
    assert (4, None, "selected") == (said_4["version"], said_4["draft"], said_4["state"])
    assert by_4 < 50e-6


def test_who_asks_whether_version_5_is_spoken_stays_with_4_where_it_is_not() -> None:
    lab = Lab(a=asks("root", version="auto"), b=asks("root", version="5"))
    a, b = lab.daemons["a"], lab.daemons["b"]
    found: list[tuple[str, int | None]] = []
    lab.run((180, lambda: found.extend((one.source("root")["state"], one.source("root")["version"]) for one in (a, b))))
    assert ("selected", 4) == found[0]
    assert found[1] in (("unreachable", None), ("waiting", None))


@pytest.mark.parametrize("silenced", [5, 4])
def test_a_server_that_gives_up_version_5_is_asked_in_version_4(silenced: int) -> None:
    """Its configuration changes while we run: it stops answering version 5, and later version 4 as well."""
    lab = Lab(a=asks("root", version="4"), b=asks("a", version="auto"))
    a, b = lab.daemons["a"], lab.daemons["b"]
    versions = "[4]" if silenced == 5 else "[5]"
    spoken: list[int | None] = []

    def change() -> None:
        assert 5 == b.source("a")["version"]
        text = a.text.replace("[4, 5]", versions)
        assert [] == a.appliance.reload(loads(text, "a.yaml").config, {})

    lab.run((60, change), (120, lambda: spoken.append(b.source("a")["version"])))
    assert [4 if silenced == 5 else 5] == spoken
