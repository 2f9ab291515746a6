"""Which addresses of a pool or a name are used: kept, replaced, never doubled."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from timesync.base.ids import Endpoint, SourceId
from timesync.base.measure import Leap, SourceStatus
from timesync.base.time import Duration, Instant, Mono
from timesync.ntp.pool import Add, Health, Remove, Resolve, Roster, RosterEffect, RosterSettings, health

HALF_HOUR = 1800.0


def at(seconds: float) -> Instant[Mono]:
    return Instant(0) + Duration.from_s(seconds)


def v4(*numbers: int, port: int = 123) -> list[Endpoint]:
    return [Endpoint(f"192.0.2.{number}", port) for number in numbers]


def v6(*numbers: int) -> list[Endpoint]:
    return [Endpoint(f"2001:db8::{number:x}", 123) for number in numbers]


def pool(count: int = 4, **changes: Any) -> Roster:
    return Roster(RosterSettings(name="pool.example", count=count, **changes), random.Random(1))


def server(name: str = "ntp.example") -> Roster:
    return Roster(RosterSettings(name=name, count=1, pool=False), random.Random(1))


def added(effects: list[RosterEffect]) -> list[Endpoint]:
    return [effect.endpoint for effect in effects if isinstance(effect, Add)]


def removed(effects: list[RosterEffect]) -> list[Endpoint]:
    return [effect.endpoint for effect in effects if isinstance(effect, Remove)]


def started(roster: Roster, endpoints: list[Endpoint]) -> list[RosterEffect]:
    assert len(roster.on_deadline(at(0))) == 1
    return roster.on_resolved(endpoints, at(0))


def all_are(roster: Roster, state: Health, *but: Endpoint, other: Health = Health.GOOD) -> dict[Endpoint, Health]:
    return {member: other if member in but else state for member in roster.members}


# -- look-ups


def test_the_name_is_looked_up_at_once_and_once() -> None:
    roster = pool()
    assert roster.deadline() == at(0)
    assert [Resolve("pool.example", 123)] == roster.on_deadline(at(0))
    assert roster.deadline() is None, "while it is under way"
    assert [] == roster.on_deadline(at(100))


def test_failed_look_ups_are_repeated_from_2_s_on_doubling_up_to_half_an_hour() -> None:
    roster = pool()
    now = 0.0
    gaps = []
    for _ in range(14):
        assert [Resolve("pool.example", 123)] == roster.on_deadline(at(now))
        roster.on_resolve_failed(at(now))
        due = roster.deadline()
        assert due is not None
        assert [] == roster.on_deadline(due - Duration(1))
        gaps.append((due - at(now)).s())
        now = (due - at(0)).s() + 0.001
    expected = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, *[HALF_HOUR] * 4]
    assert all(want <= gap <= want * 1.1 for want, gap in zip(expected, gaps, strict=True)), gaps


def test_an_empty_answer_is_a_failure() -> None:
    roster = pool()
    assert [] == started(roster, [])
    due = roster.deadline()
    assert due is not None
    assert 2.0 <= (due - at(0)).s() <= 2.2


def test_a_full_and_healthy_pool_looks_nothing_up() -> None:
    roster = pool()
    started(roster, v4(1, 2, 3, 4))
    assert [] == roster.observe(all_are(roster, Health.GOOD), at(10_000))
    assert roster.deadline() is None


def test_a_pool_with_too_few_addresses_asks_again_after_half_an_hour() -> None:
    roster = pool()
    assert v4(1, 2) == added(started(roster, v4(1, 2)))
    due = roster.deadline()
    assert due is not None
    assert HALF_HOUR <= (due - at(0)).s() <= 1.1 * HALF_HOUR
    assert [Resolve("pool.example", 123)] == roster.on_deadline(due)
    assert v4(3, 4) == added(roster.on_resolved(v4(2, 3, 4), due))
    assert 4 == len(roster.members)


def test_a_failed_look_up_keeps_the_members() -> None:
    roster = pool()
    started(roster, v4(1, 2))
    due = roster.deadline()
    assert due is not None
    roster.on_deadline(due)
    roster.on_resolve_failed(due)
    assert tuple(v4(1, 2)) == roster.members


# -- whom to take


def test_a_pool_takes_as_many_as_it_was_told() -> None:
    roster = pool(count=3)
    assert v4(1, 2, 3) == added(started(roster, v4(1, 2, 3, 4, 5)))
    assert tuple(v4(1, 2, 3)) == roster.members


def test_ipv4_and_ipv6_by_turns_the_resolvers_favourite_first() -> None:
    assert [v6(1)[0], v4(1)[0], v6(2)[0], v4(2)[0]] == added(started(pool(), [*v6(1, 2, 3, 4), *v4(1, 2, 3, 4)]))
    assert [v4(1)[0], v6(1)[0], *v4(2, 3)] == added(started(pool(), [*v4(1, 2, 3), *v6(1)]))


@pytest.mark.parametrize(
    "doubled",
    [
        Endpoint("192.0.2.1", 123),
        Endpoint("192.0.2.1", 1123),
        Endpoint("::ffff:192.0.2.1", 123),
        Endpoint("::FFFF:c000:201", 123),
    ],
    ids=str,
)
def test_one_address_has_one_vote_however_it_is_written(doubled: Endpoint) -> None:
    assert v4(1) == added(started(pool(), [*v4(1), doubled]))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "224.0.1.1", "ff0e::101", "x"])
def test_a_pool_never_takes_what_cannot_be_a_server(address: str) -> None:
    assert v4(1) == added(started(pool(), [Endpoint(address, 123), *v4(1)]))


def test_own_and_taken_addresses_are_not_taken() -> None:
    roster = pool()
    roster.bar(own=["192.0.2.1", "2001:0db8::0001"], taken=["::ffff:192.0.2.2"])
    assert v4(3) == added(started(roster, [*v4(1, 2, 3), *v6(1)]))


def test_a_servers_name_may_be_this_machine_but_not_a_second_vote() -> None:
    roster = server("localhost")
    roster.bar(own=["127.0.0.1"], taken=["192.0.2.2"])
    assert [Endpoint("127.0.0.1", 123)] == added(started(roster, [Endpoint("127.0.0.1", 123)]))

    roster = server()
    roster.bar(own=[], taken=["192.0.2.2"])
    assert [] == added(started(roster, v4(2)))
    assert roster.deadline() is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.9", "::1", "2001:db8::9"])
@pytest.mark.parametrize("is_pool", [True, False])
def test_an_address_is_taken_as_it_is_and_never_looked_up_or_replaced(address: str, is_pool: bool) -> None:
    roster = Roster(RosterSettings(name=address, port=1123, count=1, pool=is_pool), random.Random(1))
    literal = Endpoint(address, 1123)
    assert [Add(literal)] == roster.on_deadline(at(0))
    for state in Health:
        assert [] == roster.observe({literal: state}, at(1e6))
    assert roster.deadline() is None


def test_a_written_out_address_is_no_second_vote_either() -> None:
    roster = server("192.0.2.2")
    roster.bar(own=[], taken=["::ffff:192.0.2.2"])
    assert [] == roster.on_deadline(at(0))
    assert ("192.0.2.2",) == roster.doubled
    due = roster.deadline()
    assert due is not None
    assert 60 <= (due - at(0)).s() <= 66, "who asks it now may go"

    roster.bar(own=[], taken=[])
    assert () == roster.doubled
    assert [Add(v4(2)[0])] == roster.on_deadline(due)
    assert roster.deadline() is None
    roster.bar(own=[], taken=["192.0.2.2"])
    assert [] == roster.observe({v4(2)[0]: Health.GOOD}, at(1e6)), "members stay"


def test_a_pool_knows_which_addresses_others_ask() -> None:
    roster = pool()
    roster.bar(own=["192.0.2.3"], taken=["192.0.2.2"])
    assert v4(1) == added(started(roster, v4(1, 2, 3)))
    assert ("192.0.2.2",) == roster.doubled


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_servers_on_loopback_are_told_apart_by_their_ports(address: str) -> None:
    roster = Roster(RosterSettings(name=address, port=1123, count=1, pool=False), random.Random(1))
    roster.bar(own=[address], taken=[address])
    assert [Add(Endpoint(address, 1123))] == roster.on_deadline(at(0))


# -- whom to replace


@pytest.mark.parametrize("state", [Health.UNREACHABLE, Health.UNSYNCHRONISED, Health.EXCLUDED])
def test_a_failing_member_is_replaced_by_a_spare_at_once(state: Health) -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2, 3))
    effects = roster.observe({v4(1)[0]: Health.GOOD, v4(2)[0]: state}, at(600))
    assert [Remove(v4(2)[0], state.value), Add(v4(3)[0])] == effects
    assert tuple(v4(1, 3)) == roster.members
    assert [] == roster.observe(all_are(roster, Health.GOOD), at(601))
    assert roster.deadline() is None


@pytest.mark.parametrize("state", [Health.GOOD, Health.WAITING])
def test_members_in_order_stay(state: Health) -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2, 3))
    assert [] == roster.observe(all_are(roster, state), at(1e6))


def test_a_member_that_nothing_is_said_of_is_waiting() -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2, 3))
    assert [] == roster.observe({}, at(1e6))


def test_an_outvoted_member_is_replaced_after_half_an_hour_without_a_break() -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2, 3))
    bad = v4(2)[0]
    outvoted = {v4(1)[0]: Health.GOOD, bad: Health.OUTVOTED}
    assert [] == roster.observe(outvoted, at(0))
    assert [] == roster.observe(outvoted, at(HALF_HOUR - 1))
    assert [] == roster.observe(all_are(roster, Health.GOOD), at(HALF_HOUR - 0.5)), "in the majority again"
    assert [] == roster.observe(outvoted, at(HALF_HOUR))
    assert [] == roster.observe(outvoted, at(2 * HALF_HOUR - 1))
    assert [bad] == removed(roster.observe(outvoted, at(2 * HALF_HOUR)))


def test_without_a_spare_the_bad_member_stays_until_a_look_up_finds_one() -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2))
    dead = {v4(1)[0]: Health.GOOD, v4(2)[0]: Health.UNREACHABLE}
    assert [] == roster.observe(dead, at(600))
    due = roster.deadline()
    assert due is not None
    assert HALF_HOUR <= (due - at(0)).s() <= 1.1 * HALF_HOUR, "not more than one look-up each half hour"
    assert [] == roster.on_deadline(at(1700))
    assert [Resolve("pool.example", 123)] == roster.on_deadline(due)
    assert [] == roster.on_resolved(v4(1, 2), due), "nothing new"
    later = roster.deadline()
    assert later is not None
    assert (later - due).s() >= HALF_HOUR
    roster.on_deadline(later)
    assert [Remove(v4(2)[0], "unreachable"), Add(v4(9)[0])] == roster.on_resolved(v4(2, 9), later)


def test_an_address_that_was_given_up_is_not_taken_straight_back() -> None:
    roster = pool(count=1)
    started(roster, v4(1, 2))
    assert v4(2) == added(roster.observe({v4(1)[0]: Health.UNREACHABLE}, at(600)))
    assert [] == roster.observe({v4(2)[0]: Health.UNREACHABLE}, at(1200))
    assert v4(1) == added(roster.observe({v4(2)[0]: Health.UNREACHABLE}, at(600 + 3600))), "after an hour"


def test_a_cut_of_our_own_line_leaves_the_pool_with_members() -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2))
    now = 600.0
    for _ in range(50):
        roster.observe(all_are(roster, Health.UNREACHABLE), at(now))
        if roster.on_deadline(at(now)):
            roster.on_resolve_failed(at(now))
        now += 60
        assert 2 == len(roster.members)


# -- one server with several addresses


def test_a_server_uses_one_of_its_addresses() -> None:
    assert v6(1) == added(started(server(), [*v6(1, 2), *v4(1)]))


def test_a_dead_address_is_changed_for_another_of_the_same_name() -> None:
    roster = server()
    started(roster, [*v6(1), *v4(1)])
    assert [Remove(v6(1)[0], "unreachable"), Add(v4(1)[0])] == roster.observe({v6(1)[0]: Health.UNREACHABLE}, at(600))


def test_a_server_that_moved_is_followed() -> None:
    roster = server()
    started(roster, v4(1))
    assert [] == roster.observe({v4(1)[0]: Health.UNREACHABLE}, at(600)), "it is all there is"
    due = roster.deadline()
    assert due is not None
    roster.on_deadline(due)
    effects = roster.on_resolved(v4(2), due)
    assert [Remove(v4(1)[0], "ntp.example no longer has this address"), Add(v4(2)[0])] == effects


@pytest.mark.parametrize("is_pool", [False, True])
def test_a_server_that_went_to_another_port_is_followed_and_has_one_vote(is_pool: bool) -> None:
    """Only who is found by somebody else, as with NTS-KE, can: a name has no port."""
    roster = pool(2, pool=True, indirect=True) if is_pool else pool(1, pool=False, indirect=True)
    others = v4(3) if is_pool else []
    started(roster, [*v4(2), *others])
    assert len(roster.look_again()) == 1
    effects = roster.on_resolved([*v4(2, port=1123), *others], at(10))
    assert (v4(2), v4(2, port=1123)) == (removed(effects), added(effects))
    assert {*v4(2, port=1123), *others} == set(roster.members)


def test_two_ports_of_one_address_are_one_server() -> None:
    roster = pool(4, indirect=True)
    assert v4(2) == added(started(roster, [*v4(2), *v4(2, port=1123)]))


def test_a_name_that_has_lost_all_its_addresses_keeps_the_server() -> None:
    roster = server()
    started(roster, v4(1))
    roster.observe({v4(1)[0]: Health.UNREACHABLE}, at(600))
    due = roster.deadline()
    assert due is not None
    roster.on_deadline(due)
    assert [] == roster.on_resolved([], due)
    assert tuple(v4(1)) == roster.members


def test_a_pool_does_not_follow_dns_rotation() -> None:
    roster = pool(count=2)
    started(roster, v4(1, 2))
    roster.observe({v4(1)[0]: Health.GOOD, v4(2)[0]: Health.UNREACHABLE}, at(600))
    due = roster.deadline()
    assert due is not None
    roster.on_deadline(due)
    assert v4(2) == removed(roster.on_resolved(v4(7, 8), due)), "192.0.2.1 is good, though no longer listed"


# -- bounds


def test_memory_is_bounded_whatever_dns_says() -> None:
    roster = pool(count=1)
    now = 0.0
    for round_ in range(4):
        due = roster.deadline()
        assert due is not None
        now = max(now, (due - at(0)).s() + 1)
        roster.on_deadline(at(now))
        flood = [Endpoint(f"10.{round_ % 250}.{n // 250}.{n % 250 + 1}", 123) for n in range(200)]
        roster.on_resolved(flood, at(now))
        for _ in range(70):
            roster.observe(all_are(roster, Health.UNREACHABLE), at(now))
        assert len(roster._avoid) <= 64
    assert 1 == len(roster.members)
    assert len(roster._candidates) <= 64
    assert len(roster._avoid) <= 64


@pytest.mark.parametrize(("is_pool", "count"), [(True, 0), (True, 17), (False, 2), (False, 0)])
def test_counts_out_of_range_are_refused(is_pool: bool, count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        RosterSettings(name="x", count=count, pool=is_pool)


# -- health

STATUS = SourceStatus(
    source=SourceId("a"),
    reach=0xFF,
    poll_s=64.0,
    sent=20,
    received=20,
    dropped=0,
    stratum=2,
    leap=Leap.NONE,
    reference_id=b"abcd",
    authenticated=False,
    interleaved=False,
    timestamping=None,
    excluded=None,
    stepped_back=False,
)


@pytest.mark.parametrize(
    ("changes", "falseticker", "expected"),
    [
        ({}, False, Health.GOOD),
        ({}, True, Health.OUTVOTED),
        ({"reach": 0, "sent": 7}, False, Health.WAITING),
        ({"reach": 0, "sent": 8}, False, Health.UNREACHABLE),
        ({"reach": 0x80}, False, Health.GOOD),
        ({"leap": Leap.UNKNOWN}, False, Health.UNSYNCHRONISED),
        ({"stratum": 16}, True, Health.UNSYNCHRONISED),
        ({"excluded": "a loop"}, False, Health.EXCLUDED),
        ({"excluded": "DENY", "reach": 0}, True, Health.EXCLUDED),
    ],
)
def test_health(changes: dict[str, Any], falseticker: bool, expected: Health) -> None:
    assert expected is health(replace(STATUS, **changes), falseticker=falseticker)
