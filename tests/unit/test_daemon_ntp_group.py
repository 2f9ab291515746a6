"""The servers of one entry: nobody asked twice, nothing that the resolver does is the end of a source."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest
from sim_support import leap_table, make_host

from timesync.base.ids import ClockId, Endpoint, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse
from timesync.base.time import Duration, Instant, Tai
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.ntp.client import Client
from timesync.ntp.v5.bloom import ReferenceId
from timesync.ntp.v5.speech import Speech5
from timesync.servo.command import SourceSpec
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.world import World

SYSTEM = ClockId("system")


class NoCore:
    """NTP asks the core nothing."""

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        raise AssertionError

    def known(self, clock: ClockId) -> Coarse | None:
        raise AssertionError

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        raise AssertionError

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        raise AssertionError

    def epoch(self, clock: ClockId) -> int:
        raise AssertionError


class Scene:
    """A host whose network has names and nobody who answers, and groups that know of each other."""

    def __init__(self) -> None:
        self.world = World(1)
        self.network = Network(self.world)
        self.host: SimHost = make_host(self.world, self.network)
        self.notes: list[Noted] = []
        self.added: list[SourceSpec] = []
        self.groups: list[NtpGroup] = []
        listener = Listener(self.added.append, lambda _: None, lambda *_: None, lambda _: None, self.notes.append)
        self.around = Surroundings(self.host, leap_table(), listener, NoCore())

    def group(self, **entry: object) -> NtpGroup:
        kind = PoolSource if "pool" in entry else NtpSource
        source = kind.model_validate(entry)

        def taken() -> list[str]:
            return [address for other in self.groups if other is not made for address in other.addresses()]

        made = NtpGroup(source, SYSTEM, self.around, {}, taken=taken)
        self.groups.append(made)
        return made

    def asked(self) -> list[list[str]]:
        return [sorted(group.addresses()) for group in self.groups]

    def play(self, *seconds: float) -> list[list[list[str]]]:
        """Start all groups; whom they ask after each of these times."""

        async def story() -> list[list[list[str]]]:
            for group in self.groups:
                group.start()
            seen = []
            for span in seconds:
                await asyncio.sleep(span)
                seen.append(self.asked())
            for group in self.groups:
                group.stop()
            return seen

        return run(self.world, story(), self.host.system)

    def warnings(self, name: str) -> list[str]:
        return [note.text for note in self.notes if (note.level, note.name) == ("warning", name)]


def test_a_name_and_its_address_are_one_vote_from_the_start() -> None:
    scene = Scene()
    scene.network.dns.set("a.example", "192.0.2.7")
    named = scene.group(ntp="a.example")
    scene.group(ntp="192.0.2.7")
    troubles: list[str | None] = []

    async def story() -> None:
        for group in scene.groups:
            group.start()
        await asyncio.sleep(1)
        troubles.append(named.trouble)
        assert [[], ["192.0.2.7"]] == scene.asked()
        await asyncio.sleep(1000)
        assert [[], ["192.0.2.7"]] == scene.asked()
        for group in scene.groups:
            group.stop()

    run(scene.world, story(), scene.host.system)
    text = "a.example is not asked: another source asks 192.0.2.7 already, and one server has one vote"
    assert [text] == troubles
    assert [text] == scene.warnings("double"), "said once, however often it is looked up"


def test_of_two_written_out_entries_the_first_is_asked_and_the_other_takes_over() -> None:
    scene = Scene()
    first = scene.group(ntp="192.0.2.7", name="first")
    second = scene.group(ntp="192.0.2.7:1123", name="second")
    troubles: list[str | None] = []

    async def story() -> list[list[list[str]]]:
        first.start()
        await asyncio.sleep(1)
        second.start()
        await asyncio.sleep(1)
        seen = [scene.asked()]
        troubles.append(second.trouble)
        first.stop()
        await asyncio.sleep(70)
        seen.append(scene.asked())
        troubles.append(second.trouble)
        second.stop()
        return seen

    assert [[["192.0.2.7"], []], [[], ["192.0.2.7"]]] == run(scene.world, story(), scene.host.system)
    assert ["second is not asked: another source asks 192.0.2.7 already, and one server has one vote", None] == troubles


def test_two_pools_share_no_server() -> None:
    scene = Scene()
    scene.network.dns.set("a.example", "192.0.2.7", "192.0.2.8")
    scene.network.dns.set("b.example", "192.0.2.8", "192.0.2.9")
    a, b = scene.group(pool="a.example"), scene.group(pool="b.example")

    ((asked_a, asked_b),) = scene.play(1)
    assert ["192.0.2.7", "192.0.2.8", "192.0.2.9"] == sorted(asked_a + asked_b)
    assert (None, None) == (a.trouble, b.trouble)


def test_a_pool_does_not_ask_this_machine_at_the_first_look_up_either() -> None:
    scene = Scene()
    scene.network.dns.set("a.example", "192.0.2.1", "192.0.2.7")
    assert "192.0.2.1" in scene.host.own_addresses()
    scene.group(pool="a.example")
    assert [[["192.0.2.7"]]] == scene.play(1)


def test_a_client_knows_this_machines_reference_ids_before_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, frozenset[bytes]]] = []
    ask = Client.on_deadline
    monkeypatch.setattr(Client, "set_own_reference_ids", lambda _, ids: calls.append(("own", ids)))

    def on_deadline(self: Client, now: object) -> object:
        calls.append(("ask", frozenset()))
        return ask(self, now)  # type: ignore[arg-type]  # handed through as it came

    monkeypatch.setattr(Client, "on_deadline", on_deadline)
    scene = Scene()
    scene.group(ntp="192.0.2.7")
    scene.play(1)
    name, ids = calls[0]
    assert "own" == name
    assert {bytes([192, 0, 2, 1]), bytes([127, 0, 0, 1])} < ids
    assert "ask" in [name for name, _ in calls]


def test_new_addresses_of_this_machine_are_known_to_show_loops_in_any_version(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[frozenset[ReferenceId]] = []
    monkeypatch.setattr(Speech5, "set_own", lambda _, own: told.append(own))
    scene = Scene()
    monkeypatch.setattr(scene.host, "own_addresses", lambda: frozenset({"127.0.0.1", "8.8.8.8"}))
    group = NtpGroup(NtpSource(ntp="192.0.2.7", version=5), SYSTEM, scene.around, {}, loops=True)
    scene.groups.append(group)

    async def story() -> None:
        group.start()
        await asyncio.sleep(1)
        group.review((), {"127.0.0.1", "2a00::1"}, ())
        group.stop()

    run(scene.world, story(), scene.host.system)
    own = scene.around.references.own(scene.host.entropy)
    assert [frozenset({own, ReferenceId.of_address("2a00::1")})] == told


@pytest.mark.parametrize("error", [UnicodeError("label empty or too long"), OverflowError("port"), RuntimeError()])
def test_whatever_the_resolver_raises_is_said_and_tried_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    group = scene.group(ntp="a.example")
    calls = 0

    async def resolve(name: str, port: int) -> Sequence[Endpoint]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise error
        return [Endpoint("192.0.2.7", port)]

    monkeypatch.setattr(scene.host, "resolve", resolve)
    assert [[[]], [["192.0.2.7"]]] == scene.play(1, 10)
    why = str(error) or "RuntimeError"
    text = f"the name a.example cannot be looked up ({why}); trying again, other sources are not affected"
    assert [text] == scene.warnings("resolve")
    assert (3, None) == (calls, group.trouble)


def test_a_name_without_any_usable_address_says_so() -> None:
    scene = Scene()
    scene.network.dns.set("a.example", "0.0.0.0")
    group = scene.group(ntp="a.example")
    assert [[[]]] == scene.play(1)
    assert "the name a.example has no address that can be asked; trying again" == group.trouble
