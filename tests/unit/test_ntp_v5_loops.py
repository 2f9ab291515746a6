"""Servers that ask each other in a circle, and how their reference ids break it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from ntp5_support import DRAFT, NOW_NS, Scales, entropy, stamp, state

from timesync.base.measure import Leap
from timesync.ntp.v5.bloom import BloomFilter, ReferenceId, filter_of, served_filter
from timesync.ntp.v5.client import Answer5, Session5, Settings5
from timesync.ntp.v5.loops import FIRST_WAIT, LAST_WAIT, QUIET, LoopGuard, Standing
from timesync.ntp.v5.server import Reply5, Server5
from timesync.ntp.v5.serving import Serving

MAX_STRATUM = 16


@dataclass
class Source:
    """What a node keeps of another one."""

    node: Node
    session: Session5
    guard: LoopGuard
    stratum: int = MAX_STRATUM


@dataclass
class Node:
    """A server that takes its time from the reachable one of least stratum, by real messages."""

    number: int
    chunk: int
    guarded: bool
    has_clock: bool = False
    sources: list[Source] = field(default_factory=list)
    selected: Source | None = None

    def __post_init__(self) -> None:
        self.id = ReferenceId.random(entropy(100 + self.number))
        self.server = Server5()
        self.entropy = entropy(self.number)

    def follow(self, other: Node) -> None:
        guard = LoopGuard(random.Random(31 * self.number + other.number))
        self.sources.append(Source(other, Session5(Settings5(chunk=self.chunk)), guard))

    @property
    def stratum(self) -> int:
        if self.has_clock:
            return 1
        return MAX_STRATUM if self.selected is None else self.selected.stratum + 1

    def publish(self) -> None:
        parents: list[BloomFilter] = []
        if self.has_clock:
            parents.append(filter_of(ReferenceId.of_clock(b"GPS")))
        elif self.selected is not None and self.selected.session.references is not None:
            parents.append(self.selected.session.references)
        live = self.stratum < MAX_STRATUM
        # Nothing ages in this world, so only the reference ids can end a circle before stratum 16 does.
        served = state(synchronized=live, stratum=min(self.stratum, 15), leap=Leap.NONE)
        self.server.publish(served, Serving(references=served_filter(self.id, parents)))

    def poll(self) -> None:
        for source in self.sources:
            asked = source.session.request(DRAFT.decode(), 6, self.entropy)
            reply = source.node.server.respond(asked.data, NOW_NS, NOW_NS, 0)
            assert isinstance(reply, Reply5)
            got = source.session.judge(reply.data, asked, stamp(), Scales())
            assert isinstance(got, Answer5)
            source.session.accepted(asked, got)
            source.stratum = MAX_STRATUM if got.packet.leap is Leap.UNKNOWN else got.packet.stratum
            source.guard.update([self.id], source.session.references)

    def select(self) -> None:
        fit = [one for one in self.sources if not self.guarded or one.guard.standing is Standing.CLEAR]
        live = [one for one in fit if one.stratum < MAX_STRATUM - 1]
        self.selected = None if self.has_clock else min(live, key=lambda one: one.stratum, default=None)


def round_of(nodes: list[Node]) -> None:
    """One poll of everybody, one after the other, in an order that changes nothing of the story."""
    for node in nodes:
        node.poll()
        node.select()
        node.publish()


def circular(nodes: list[Node]) -> bool:
    """Whether anybody's time comes from himself."""
    for node in nodes:
        seen, at = 0, node
        while at.selected is not None and seen <= len(nodes):
            at, seen = at.selected.node, seen + 1
            if at is node:
                return True
    return False


def triangle(*, chunk: int, guarded: bool, mesh: bool) -> list[Node]:
    """A, B and C; each asks the one before, in a mesh both others. A has a receiver."""
    nodes = [Node(number, chunk, guarded) for number in range(3)]
    for number, node in enumerate(nodes):
        node.follow(nodes[number - 1])
        if mesh:
            node.follow(nodes[(number + 1) % 3])
        node.publish()
    nodes[0].has_clock = True
    nodes[0].publish()
    return nodes


@pytest.mark.parametrize("chunk", [16, 128, 512])
@pytest.mark.parametrize("mesh", [False, True])
def test_a_triangle_that_loses_its_receiver_does_not_go_on_by_itself(chunk: int, mesh: bool) -> None:
    nodes = triangle(chunk=chunk, guarded=True, mesh=mesh)
    fetch = 512 // chunk
    for _ in range(3 * fetch + 3):
        round_of(nodes)
        assert not circular(nodes)
    assert [1, 2, 3 - mesh] == [node.stratum for node in nodes]

    nodes[0].has_clock = False
    circles = 0
    for _ in range(12 * fetch):
        round_of(nodes)
        circles += circular(nodes)
    assert circles <= 2 * fetch, "no longer than the news takes to go round"
    for _ in range(200):
        round_of(nodes)
        assert not circular(nodes)
    assert [MAX_STRATUM] * 3 == [node.stratum for node in nodes]


def test_without_reference_ids_it_would() -> None:
    """The same world without the guard: else the test above would prove nothing."""
    nodes = triangle(chunk=512, guarded=False, mesh=False)
    for _ in range(6):
        round_of(nodes)
    nodes[0].has_clock = False
    round_of(nodes)
    assert circular(nodes)


@pytest.mark.parametrize("mesh", [False, True])
def test_the_receiver_comes_back_and_all_follow_again(mesh: bool) -> None:
    nodes = triangle(chunk=128, guarded=True, mesh=mesh)
    for has_clock in (True, False, True):
        nodes[0].has_clock = has_clock
        nodes[0].publish()
        for _ in range(60):
            round_of(nodes)
    assert [1, 2, 3 - mesh] == [node.stratum for node in nodes]
    assert not circular(nodes)


def test_a_second_receiver_takes_over() -> None:
    """A's fails, and C's works: the circle now runs the other way, and nobody is left without time."""
    nodes = triangle(chunk=128, guarded=True, mesh=True)
    for _ in range(20):
        round_of(nodes)
    nodes[0].has_clock, nodes[2].has_clock = False, True
    for node in nodes:
        node.publish()
    for _ in range(60):
        round_of(nodes)
    assert [2, 2, 1] == [node.stratum for node in nodes]


OWN = ReferenceId.random(entropy(1))
LOOPED = filter_of(OWN)
OTHER = filter_of(ReferenceId.random(entropy(2)))


class Highest:
    """Always the longest wait."""

    def random(self) -> float:
        return 1 - 2**-53


class Lowest:
    """Never a wait."""

    def random(self) -> float:
        return 0.0


def waits(guard: LoopGuard) -> int:
    """Answers after a loop until the server may be selected again."""
    assert Standing.LOOP == guard.update([OWN], LOOPED)
    count = 0
    while guard.update([OWN], OTHER) is Standing.WAITING:
        count += 1
    assert Standing.CLEAR == guard.standing
    return count


def test_a_server_is_not_selected_before_all_its_ids_are_here() -> None:
    guard = LoopGuard(Lowest())
    assert Standing.FETCHING == guard.standing == guard.update([OWN], None)
    assert Standing.CLEAR == guard.update([OWN], OTHER)
    assert Standing.LOOP == guard.update([OWN], OTHER | LOOPED)


def test_after_a_loop_a_random_while_passes_and_longer_with_each() -> None:
    """«a random number of polling intervals (e.g. between 0 and 4)»; «increase the random delay»."""
    guard = LoopGuard(Highest())
    assert [FIRST_WAIT, 8, 16, 32, LAST_WAIT, LAST_WAIT] == [waits(guard) for _ in range(6)]
    assert [0, 0] == [waits(LoopGuard(Lowest())) for _ in range(2)]


def test_a_loop_that_stays_is_one_loop() -> None:
    guard = LoopGuard(Highest())
    for _ in range(10):
        guard.update([OWN], LOOPED)
    assert FIRST_WAIT == waits(guard)


def test_after_long_quiet_a_loop_is_the_first_again() -> None:
    guard = LoopGuard(Highest())
    assert [FIRST_WAIT, 8] == [waits(guard) for _ in range(2)]
    for _ in range(QUIET):
        guard.update([OWN], OTHER)
    assert FIRST_WAIT == waits(guard)


def test_a_crowded_filter_is_left_alone() -> None:
    crowded = BloomFilter(((1 << 4096) - 1) & ~(1 << OWN.positions()[0]))
    assert Standing.CROWDED == LoopGuard(Lowest()).update([OWN], crowded)
