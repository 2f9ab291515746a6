"""A CSPTP server as a source of the daemon, over simulated cards: found, asked, lost and found again."""

from __future__ import annotations

from csptp_bench import AHEAD_S, NAME, SERVER_ADDRESS, WAY_NS, Bench

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.servo.view import ServoState
from timesync.sim.law import Exactly
from timesync.sim.network import Path

SOURCE = SourceId(f"csptp:{NAME}")


def test_the_offset_and_the_delay_of_a_server_are_measured_every_second() -> None:
    bench = Bench(poll=["1s", "1s"])
    bench.play(20)
    offsets = bench.stand.offsets_s()
    assert 17 <= len(offsets) <= 23
    assert {True} == {abs(offset - AHEAD_S) < 1e-9 for offset in offsets}
    assert {WAY_NS} == {one.delay.ns() for _, _, one in bench.stand.heard if one.delay is not None}
    assert ([SOURCE], [SOURCE]) == (bench.stand.added, bench.stand.removed)
    status = bench.stand.statuses[-1]
    assert (0xFF, 1, Leap.NONE) == (status.reach, status.stratum, status.leap)
    assert [] == bench.stand.lines()


def test_it_says_whom_it_asks() -> None:
    bench = Bench()
    seen = []
    bench.play(3, (2.5, lambda: seen.append(bench.group.facts()[SOURCE])))
    assert [("csptp", SERVER_ADDRESS, {})] == [(one.kind, one.address, dict(one.drops)) for one in seen]
    assert [{"interface": "eth0", "domain": 128}] == [dict(one.details) for one in seen]
    assert ("csptp", f"csptp:{NAME}", (ClockId("system"),)) == (
        bench.group.kind,
        bench.group.name,
        bench.group.clocks,
    )


def test_a_server_that_doubts_its_own_time_says_so() -> None:
    bench = Bench()
    bench.core.state = ServoState.ACQUIRING
    bench.play(5)
    assert {Leap.UNKNOWN} == {one.quality.leap for _, _, one in bench.stand.heard if one.quality is not None}


def test_a_name_that_cannot_be_looked_up_is_said_once_and_asked_again() -> None:
    bench = Bench()
    dns = bench.stand.scene.host.node.network.dns
    dns.set(NAME)
    troubles = []
    bench.play(20, (8, lambda: troubles.append(bench.group.trouble)), (10, lambda: dns.set(NAME, SERVER_ADDRESS)))
    name, there = "device-lost", "device-back"
    why = f"the name {NAME} cannot be looked up (Name or service not known); trying again"
    assert [f"{name}: csptp:{NAME}: {why}", f"{there}: csptp:{NAME}: works again"] == bench.stand.lines()
    assert [why] == troubles
    assert len(bench.stand.heard) >= 5
    assert bench.group.trouble is None


def test_a_card_that_is_pulled_out_and_put_back_is_used_again() -> None:
    bench = Bench()
    host, card = bench.stand.scene.host, bench.near_card
    again = bench.segment.card("near again", model=card.model)

    def pull() -> None:
        card.remove()
        del host.cards["eth0"]

    def put_back() -> None:
        host.cards["eth0"] = again

    seen: list[str | None] = []
    bench.play(
        20,
        (5.2, pull),
        (9, lambda: seen.append(bench.group.trouble)),
        (10, put_back),
    )
    assert [SOURCE, SOURCE] == bench.stand.added
    assert [True] == ["eth0: there is no such interface" in (text or "") for text in seen]
    before = [at for at, _, _ in bench.stand.heard if at < 5.2]
    after = [at for at, _, _ in bench.stand.heard if at > 10]
    assert min(len(before), len(after)) >= 4
    assert len(before) + len(after) == len(bench.stand.heard)
    assert "device-back" in {note.name for note in bench.stand.notes}


def test_hardware_stamps_that_cannot_be_had_are_not_replaced_by_others() -> None:
    bench = Bench(timestamping="hardware")
    bench.play(5)
    assert [] == bench.stand.heard
    assert "not stamped by the clock system" in (bench.group.trouble or "")


def test_a_silent_server_is_looked_up_again_and_followed_to_its_new_address() -> None:
    bench = Bench(poll=["1s", "1s"])
    dns = bench.stand.scene.host.node.network.dns
    dns.set(NAME, "192.0.2.200")

    def review() -> None:
        bench.group.review((), (), ())

    seen: list[int] = []
    bench.play(
        30,
        (5, review),
        (6, lambda: dns.set(NAME, SERVER_ADDRESS)),
        (12, lambda: seen.append(len(bench.stand.heard))),
        (12.1, review),
    )
    assert [0] == seen
    assert [SOURCE, SOURCE] == bench.stand.added
    assert len(bench.stand.heard) >= 10


def test_lost_messages_cost_their_exchanges_only() -> None:
    bench = Bench(poll=["1s", "1s"])
    bench.segment.connect(
        bench.far_card, bench.near_card, Path(base=Duration.from_ns(WAY_NS), jitter=Exactly(), loss=0.2)
    )
    bench.play(200)
    # One of five is lost three times: half of all exchanges are whole.
    assert 80 <= len(bench.stand.heard) <= 130
    assert {True} == {abs(offset - AHEAD_S) < 1e-9 for offset in bench.stand.offsets_s()}


def test_the_core_sets_the_pace_and_can_ask_at_once() -> None:
    bench = Bench()

    def advise(exponent: int) -> None:
        bench.group.set_poll(SOURCE, exponent)

    bench.play(
        40,
        (10, lambda: advise(2)),
        (11, lambda: bench.group.set_poll(SourceId("another"), 0)),
        (30.05, lambda: bench.group.probe(SOURCE)),
        (30.06, lambda: bench.group.probe(SourceId("another"))),
    )
    fast = [at for at, _, _ in bench.stand.heard if at < 10]
    slow = [at for at, _, _ in bench.stand.heard if 12 < at < 30]
    assert len(fast) >= 8
    assert 4 <= len(slow) <= 6


def test_a_step_of_the_clock_ends_what_is_on_its_way() -> None:
    bench = Bench(poll=["1s", "1s"])
    system = bench.stand.scene.system
    far_away = Path(base=Duration.from_ns(200_000_000), jitter=Exactly())
    bench.segment.connect(bench.far_card, bench.near_card, far_away)

    def step() -> None:
        system.step(Duration.from_s(-AHEAD_S))
        bench.group.clock_stepped(ClockId("system"))

    # An answer takes 0.4 s, so that a request is often under way at such a moment.
    bench.play(20, *((second + 0.35, step) for second in (5, 9)))
    by_epoch: dict[int, set[int]] = {}
    for _, _, one in bench.stand.heard:
        by_epoch.setdefault(one.epoch, set()).add(round(one.offset.s() * 1e6))
    assert {0: {2000}, 1: {0}, 2: {-2000}} == by_epoch


def test_it_works_over_ipv6() -> None:
    bench = Bench(serve={"transports": ["udp6"]})
    address = bench.far_card.address("udp6")
    bench.stand.scene.host.node.network.dns.set(NAME, address)
    bench.play(5)
    assert {True} == {abs(offset - AHEAD_S) < 1e-9 for offset in bench.stand.offsets_s()}
    assert len(bench.stand.heard) >= 3
