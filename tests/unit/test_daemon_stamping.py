"""Who stamps the packets of an NTP source, decided anew as cards, routes and promises change."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sim_support import leap_table, make_host

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Noted
from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.config.schema import Config
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.daemon.stamping import CARD_PRECISION, card_clocks
from timesync.host import ClockError, Exchange, ExchangeHandler, Trouble
from timesync.servo.command import SourceSpec
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.world import World

SYSTEM, ETH0, ETH1 = ClockId("system"), ClockId("eth0"), ClockId("eth1")
SERVER = "192.0.2.7"
VIRTUAL = "clocks: {system: {discipline: false}, e: {phc: e}, v: {virtual: {}}}\nserve: {clock: v}\n"
CLOCKS = "clocks: {eth0: {phc: enp1s0}, eth1: {phc: enp2s0}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLOCKS + "sources: [{ntp: a}]", {ETH0, ETH1}),
        (CLOCKS + "sources: [{ntp: a, timestamping: hardware}]", {ETH0, ETH1}),
        (CLOCKS + "sources: [{ntp: a, timestamping: software}]", set()),
        (CLOCKS + "sources: [{ntp: a, clock: eth1}]", {ETH1}),
        (CLOCKS + "sources: [{ntp: a, clock: system, timestamping: hardware}]", set()),
        ("sources: [{ntp: a}]", set()),
        (
            "clocks: {eth0: {phc: enp1s0}, eth1: {phc: enp2s0, discipline: false}}\nsources: [{ntp: a}, {phc: eth1}]",
            {ETH0},
        ),
        (VIRTUAL + "sources: [{ntp: a}]", set()),
    ],
)
def test_the_clocks_that_may_be_measured_by_a_card(text: str, expected: set[ClockId]) -> None:
    config: Config = loads(text, "t.yaml").config
    source = config.sources[0]
    assert isinstance(source, NtpSource | PoolSource)
    assert expected == card_clocks(config, source)


class Scene:
    """A host with a card that may or may not be of use; nobody answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(1)
        self.host = make_host(self.world, Network(self.world))
        self.card: ClockId | ClockError = ETH0
        self.notes: list[Noted] = []
        self.added: list[SourceSpec] = []
        self.opened: list[tuple[ClockId, bool]] = []
        self.over_ptp: set[bool] = set()
        self._open = self.host.open_exchange
        monkeypatch.setattr(self.host, "card_clock", self._card_clock)
        monkeypatch.setattr(self.host, "open_exchange", self._opens)
        listener = Listener(self.added.append, lambda _: None, lambda *_: None, lambda _: None, self.notes.append)
        core: Any = None  # NTP asks the core nothing
        self.around = Surroundings(self.host, leap_table(), listener, core)

    def _card_clock(self, remote: Endpoint, *, over_ptp: bool) -> ClockId:
        assert remote.address == SERVER
        self.over_ptp.add(over_ptp)
        if isinstance(self.card, ClockError):
            raise self.card
        return self.card

    def _opens(
        self, remote: Endpoint, clock: ClockId, handler: ExchangeHandler, *, hardware: bool, over_ptp: bool
    ) -> Exchange:
        self.opened.append((clock, hardware))
        self.over_ptp.add(over_ptp)
        return self._open(remote, SYSTEM, handler)

    def play(
        self, timestamping: str, able: set[ClockId], *story: Callable[[NtpGroup], None], transport: str = "udp"
    ) -> NtpGroup:
        """Start the group, and do one thing after the other, with a review after each."""
        source = NtpSource.model_validate({"ntp": SERVER, "timestamping": timestamping, "transport": transport})
        group = NtpGroup(source, SYSTEM, self.around, {}, cards=able)

        async def main() -> None:
            group.start()
            await asyncio.sleep(1)
            for act in story:
                act(group)
                group.review((), (), ())
                await asyncio.sleep(1)
            group.stop()

        run(self.world, main(), self.host.system)
        return group

    def said(self, level: str) -> list[str]:
        return [note.text for note in self.notes if (note.level, note.name) == (level, "timestamping")]

    def refuse(self, text: str) -> Callable[[NtpGroup], None]:
        def refuse(_: NtpGroup) -> None:
            self.card = ClockError(Trouble.UNSUPPORTED, text, "try another")

        return refuse

    def give(self, clock: ClockId) -> Callable[[NtpGroup], None]:
        def give(_: NtpGroup) -> None:
            self.card = clock

        return give


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


@pytest.mark.parametrize("timestamping", ["auto", "hardware"])
def test_the_card_is_taken_where_it_can_stamp(scene: Scene, timestamping: str) -> None:
    scene.play(timestamping, {ETH0})
    assert (ETH0, True) == scene.opened[0]
    (spec,) = scene.added
    assert (ETH0, CARD_PRECISION.s()) == (spec.clock, spec.stamp_noise_s)
    assert scene.notes == []


@pytest.mark.parametrize(("transport", "over_ptp"), [("udp", False), ("ptp", True)])
def test_the_card_is_told_what_carries_the_messages(scene: Scene, transport: str, over_ptp: bool) -> None:
    scene.play("hardware", {ETH0}, transport=transport)
    assert {over_ptp} == scene.over_ptp


def test_software_asks_no_card(scene: Scene) -> None:
    scene.card = ClockError(Trouble.UNSUPPORTED, "not to be asked", "")
    scene.play("auto", set(), lambda _: None)
    assert (SYSTEM, False) == scene.opened[0]
    assert scene.notes == []


def test_auto_falls_back_and_says_so_once(scene: Scene) -> None:
    scene.card = ClockError(Trouble.UNSUPPORTED, "the card is too old", "buy one")
    group = scene.play("auto", {ETH0}, lambda _: None, lambda _: None)
    assert {(SYSTEM, False)} == set(scene.opened)
    assert ["the kernel stamps packets to 192.0.2.7, on clock system: the card is too old; buy one"] == scene.said(
        "info"
    )
    assert group.trouble is None


def test_hardware_waits_says_why_and_is_asked_when_the_card_can(scene: Scene) -> None:
    scene.card = ClockError(Trouble.UNSUPPORTED, "the card is too old", "buy one")
    troubles: list[str | None] = []
    asked: list[list[str]] = []

    def look(group: NtpGroup) -> None:
        troubles.append(group.trouble)
        asked.append(list(group.addresses()))
        assert scene.opened == []

    group = scene.play("hardware", {ETH0}, look, look, scene.give(ETH0))
    text = "192.0.2.7 is not asked: the card is too old; buy one"
    assert [text, text] == troubles
    assert [[SERVER], [SERVER]] == asked, "nobody else is to ask it meanwhile"
    assert [text] == scene.said("warning")
    assert (ETH0, True) == scene.opened[0]
    assert group.trouble is None


def test_a_source_that_measures_another_clock_cannot_be_stamped_by_a_card(scene: Scene) -> None:
    seen: list[str | None] = []
    scene.play("hardware", set(), lambda group: seen.append(group.trouble))
    assert scene.opened == []
    assert seen[0] is not None
    assert "this source measures clock system" in seen[0]


def test_a_source_changes_over_with_its_card_and_back(scene: Scene) -> None:
    scene.play(
        "auto",
        {ETH0, ETH1},
        scene.refuse("no stamps"),
        scene.give(ETH1),
        scene.give(ETH1),
        scene.give(ClockId("eth2")),
    )
    assert [ETH0, SYSTEM, ETH1, SYSTEM] == [spec.clock for spec in scene.added]
    assert len({spec.source for spec in scene.added}) == 1
    said = scene.said("info")
    assert "192.0.2.7 is stamped by the kernel, on clock system, from now on" in said
    assert "192.0.2.7 is stamped by the network card, on clock eth1, from now on" in said
    assert any("stamped by clock eth2, which this source does not measure" in text for text in said)


def test_hardware_does_not_fall_back_when_the_card_fails_later(scene: Scene) -> None:
    seen: list[str | None] = []
    scene.play("hardware", {ETH0}, scene.refuse("no stamps"), lambda group: seen.append(group.trouble))
    assert ["192.0.2.7 is not asked: no stamps; try another"] == seen
    assert {(ETH0, True)} == set(scene.opened)


def test_a_step_restarts_only_what_is_measured_by_that_clock(scene: Scene) -> None:
    counts: list[int] = []

    def step(clock: ClockId) -> Callable[[NtpGroup], None]:
        def act(group: NtpGroup) -> None:
            counts.append(len(scene.opened))
            group.clock_stepped(clock)

        return act

    scene.play("auto", {ETH0}, lambda _: None, step(SYSTEM), step(ETH0), lambda _: counts.append(len(scene.opened)))
    assert (0, 1) == (counts[1] - counts[0], counts[2] - counts[1])


def test_what_reading_a_card_costs_does_not_pass_for_the_noise_of_its_stamps() -> None:
    assert Duration.from_ns(1) < CARD_PRECISION < Duration.from_ns(1000)


# --- an interface without hardware, on the real kernel

_SCRIPT = """
set -e
ip link set lo up
ip link add t0 type veth peer name t1
ip address add 198.51.100.1/24 dev t0
ip link set t0 up; ip link set t1 up
exec "$0" -c "
import asyncio
from importlib import resources
from timesync.base.ids import ClockId, Endpoint
from timesync.base.utc import LeapTable
from timesync.config.sources import NtpSource
from timesync.daemon.linux import LinuxHost, PhcSpec, SystemSpec
from timesync.daemon.stamping import StampChoice
table = LeapTable.parse((resources.files('timesync_profiles') / 'leap-seconds.list').read_text())
system, card = ClockId('system'), ClockId('card')
host = LinuxHost([SystemSpec(system), PhcSpec(card, 't0')], table, None)
server = Endpoint('198.51.100.9', 123)
for kind in ('auto', 'hardware'):
    source = NtpSource.model_validate({'ntp': server.address, 'timestamping': kind})
    print(StampChoice(source, system, {card}, host, print).choose(server))
print(host.card_maps())
async def main():
    try:
        host.open_exchange(server, system, None, hardware=True)
    except OSError as error:
        print(type(error).__name__)
    host.open_exchange(server, system, None).close()
asyncio.run(main())
"
"""


def test_on_a_veth_pair_auto_falls_back_and_hardware_waits() -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("making a network namespace needs root and the program ip")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us make a network namespace")
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", _SCRIPT, sys.executable],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    said, auto, hardware, maps, refused = done.stdout.splitlines()
    why = "the interface t0 has no hardware timestamps; "
    assert said.startswith(f"the kernel stamps packets to 198.51.100.9, on clock system: {why}")
    assert auto == "by the kernel, on clock system"
    assert hardware.startswith(why)
    assert (maps, refused) == ("()", "ClockError")
