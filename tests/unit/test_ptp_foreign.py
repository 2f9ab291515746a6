"""The table of foreign timeTransmitters: who qualifies, for how long, and what a storm does to it."""

from __future__ import annotations

import random

import pytest
from bmca_support import OWN, announce, at, identity, instance_settings, port_of, port_settings, table

from timesync.ptp.foreign import NOTED, QUALIFIED, ForeignTable, Heard
from timesync.ptp.settings import Bmca, Role
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, Announce, Flags


def qualify(foreign: ForeignTable, *senders: int, start: float = 0.0, **fields: int) -> None:
    """Two Announces of each, a second apart."""
    for sequence in range(2):
        for sender in senders:
            foreign.on_announce(announce(sender, sequence=sequence, **fields), at(start + sequence))


def best(foreign: ForeignTable, seconds: float) -> bytes | None:
    candidate = foreign.best(at(seconds))
    return None if candidate is None else candidate.announce.grandmaster


def test_the_second_announce_qualifies() -> None:
    foreign = table()

    assert Heard.NOTED is foreign.on_announce(announce(1, sequence=0), at(0))
    assert foreign.best(at(0)) is None
    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=1), at(1))
    assert identity(1) == best(foreign, 1)
    candidate = foreign.best(at(1))
    assert candidate is not None
    assert (port_of(OWN), 128) == (candidate.receiver, candidate.local_priority)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(0.0, Heard.REPEATED), (0.24, Heard.REPEATED), (0.25, Heard.CHANGED), (4.0, Heard.CHANGED), (4.01, Heard.NOTED)],
)
def test_the_two_must_lie_within_four_intervals_and_be_no_copies(gap: float, expected: Heard) -> None:
    foreign = table()
    foreign.on_announce(announce(1, sequence=0), at(0))

    assert expected is foreign.on_announce(announce(1, sequence=1), at(gap))


def test_an_announce_after_too_long_counts_as_the_first_again() -> None:
    foreign = table()
    foreign.on_announce(announce(1, sequence=0), at(0))
    foreign.on_announce(announce(1, sequence=1), at(5))

    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=2), at(6))


@pytest.mark.parametrize("timeout", [2, 3, 10])
def test_a_silent_one_is_given_up_after_the_timeout_and_a_part_of_an_interval(timeout: int) -> None:
    foreign = table(port_settings(timeout=timeout))
    qualify(foreign, 1)
    deadline = foreign.deadline()

    assert deadline is not None
    assert at(1 + timeout) <= deadline <= at(2 + timeout)
    assert identity(1) == best(foreign, timeout + 0.99)
    assert foreign.best(deadline) is None
    assert foreign.expire(deadline)
    assert foreign.deadline() is None
    assert not foreign.expire(deadline)


def test_timeouts_are_spread_so_that_not_all_clocks_give_up_at_once() -> None:
    deadlines = set()
    for seed in range(20):
        foreign = table(seed=seed)
        qualify(foreign, 1)
        deadlines.add(foreign.deadline())

    assert 20 == len(deadlines)


def test_gptp_times_out_after_exactly_so_many_intervals() -> None:
    foreign = table(bmca=Bmca.GPTP)
    foreign.on_announce(announce(1), at(0))

    assert at(3) == foreign.deadline()


@pytest.mark.parametrize(
    ("own", "sender", "seconds"),
    [
        (1, -3, 0.125),
        (0, LOG_INTERVAL_NONE, 1),
        (None, LOG_INTERVAL_NONE, 2),
        (0, 22, 16),
        (0, -100, 1 / 16),
        (6, 6, 64),
    ],
)
def test_the_interval_is_the_senders_within_reason(own: int | None, sender: int, seconds: float) -> None:
    foreign = table(port_settings(log_interval=own), bmca=Bmca.GPTP)
    foreign.on_announce(announce(1, log_interval=sender), at(0))

    assert at(3 * seconds) == foreign.deadline()


REFUSED: dict[str, tuple[Announce, Heard]] = {
    "own port": (announce(port_of(OWN)), Heard.OWN),
    "another own port": (announce(port_of(OWN, 2)), Heard.OWN),
    "alternate": (announce(1, flags=Flags.ALTERNATE_TIME_TRANSMITTER), Heard.ALTERNATE),
    "255 steps": (announce(1, grandmaster=2, steps=255), Heard.STEPS),
    "own clock in its path": (announce(1, path=(2, OWN, 1)), Heard.LOOP),
    "own clock its grandmaster": (announce(1, grandmaster=OWN, steps=3), Heard.LOOP),
}


@pytest.mark.parametrize(("message", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_never_considered(message: Announce, expected: Heard) -> None:
    foreign = table()

    for second in range(4):
        verdict = foreign.on_announce(message, at(second))
        assert expected is verdict
        assert verdict.refused
    assert foreign.best(at(3)) is None


def test_the_largest_number_of_steps_is_a_setting() -> None:
    foreign = table(maximum_steps=4)

    assert Heard.STEPS is foreign.on_announce(announce(1, grandmaster=2, steps=4), at(0))
    assert Heard.NOTED is foreign.on_announce(announce(1, grandmaster=2, steps=3), at(0))


def test_only_the_latest_announce_of_a_clock_counts() -> None:
    """9.3.2.5: whom we follow now follows us. What he said before is no reason to follow him still."""
    foreign = table()
    qualify(foreign, 1)

    assert Heard.LOOP is foreign.on_announce(announce(1, sequence=2, path=(OWN, 1)), at(2))
    assert foreign.best(at(2)) is None
    assert at(2) == foreign.deadline()
    assert foreign.expire(at(2))


def test_one_that_was_disqualified_and_comes_back_asks_for_a_decision_though_it_says_what_it_said() -> None:
    foreign = table()
    qualify(foreign, 1)
    foreign.on_announce(announce(1, sequence=2, path=(OWN, 1)), at(2))

    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=3), at(3))
    assert identity(1) == best(foreign, 3)


def test_one_that_comes_back_just_after_it_was_given_up_asks_for_a_decision() -> None:
    foreign = table()
    qualify(foreign, 1)
    deadline = foreign.deadline()
    assert deadline is not None
    assert foreign.best(deadline) is None

    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=9), deadline)


def test_a_port_that_may_only_send_hears_nobody() -> None:
    foreign = table(port_settings(role=Role.TIME_TRANSMITTER))

    assert Heard.ROLE is foreign.on_announce(announce(1), at(0))
    assert foreign.deadline() is None


@pytest.mark.parametrize(
    "row", ["0000000000000001", "000000.0000.000001", "00:00:00:00:00:00:00:01", "000000.0000.000001-1"]
)
def test_only_acceptable_ones_are_heard(row: str) -> None:
    foreign = table(port_settings(acceptable=frozenset({row})))

    assert Heard.UNACCEPTABLE is foreign.on_announce(announce(2), at(0))
    assert Heard.NOTED is foreign.on_announce(announce(1), at(0))


def test_a_row_of_the_acceptable_table_may_mean_one_port_alone() -> None:
    foreign = table(port_settings(acceptable=frozenset({"000000.0000.000001-2"})))

    assert Heard.UNACCEPTABLE is foreign.on_announce(announce(port_of(1, 1)), at(0))
    assert Heard.NOTED is foreign.on_announce(announce(port_of(1, 2)), at(0))


@pytest.mark.parametrize(
    "row", ["", "01", "000000.0000.00000g", "000000.0000.000001-", "000000.0000.000001-0", "000000.0000.000001-65535"]
)
def test_a_malformed_row_is_refused_at_once(row: str) -> None:
    port = port_settings(acceptable=frozenset({row}))

    with pytest.raises(ValueError, match=r".+"):
        ForeignTable(port, instance_settings(port), random.Random(1))


def test_a_change_of_what_is_announced_asks_for_a_decision() -> None:
    foreign = table()
    qualify(foreign, 1)

    assert Heard.UNCHANGED is foreign.on_announce(announce(1, sequence=2), at(2))
    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=3, clock_class=7), at(3))
    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=4, clock_class=7, flags=Flags.LEAP_61), at(4))
    candidate = foreign.best(at(4))
    assert candidate is not None
    assert 7 == candidate.announce.quality.clock_class


def test_a_copy_and_an_overtaken_announce_change_nothing() -> None:
    foreign = table()
    qualify(foreign, 1)

    assert Heard.REPEATED is foreign.on_announce(announce(1, sequence=1, clock_class=7), at(1.01))
    assert Heard.REPEATED is foreign.on_announce(announce(1, sequence=0, clock_class=7), at(1.02))
    assert Heard.UNCHANGED is foreign.on_announce(announce(1, sequence=2), at(1.03))


def test_sequences_may_wrap_and_begin_again() -> None:
    foreign = table()
    for sequence in (65534, 65535, 0):
        foreign.on_announce(announce(1, sequence=sequence), at(1 + (sequence + 2) % 65536))

    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=65533, clock_class=7), at(4))


def test_the_best_of_several_is_given_and_then_the_next() -> None:
    foreign = table()
    qualify(foreign, 3, 2, 1)

    assert identity(1) == best(foreign, 1)
    for sequence in range(2, 8):
        foreign.on_announce(announce(2, sequence=sequence), at(sequence))
    assert identity(2) == best(foreign, 7)


def test_local_priority_of_the_port_goes_with_its_candidates() -> None:
    foreign = table(port_settings(local_priority=7))
    qualify(foreign, 1)

    assert [7] == [candidate.local_priority for candidate in foreign.candidates(at(1))]


def test_gptp_takes_the_first_announce_when_it_follows_nobody() -> None:
    foreign = table(bmca=Bmca.GPTP)

    assert Heard.CHANGED is foreign.on_announce(announce(5), at(0))
    assert identity(5) == best(foreign, 0)


def test_gptp_lets_a_second_clock_persist_before_it_replaces_the_first() -> None:
    foreign = table(bmca=Bmca.GPTP)
    foreign.on_announce(announce(5), at(0))

    assert Heard.NOTED is foreign.on_announce(announce(1), at(0.1))
    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=1), at(1.1))
    assert identity(1) == best(foreign, 1.1)


def test_gptp_takes_the_first_again_once_the_old_one_is_gone() -> None:
    foreign = table(bmca=Bmca.GPTP)
    foreign.on_announce(announce(5), at(0))

    assert Heard.CHANGED is foreign.on_announce(announce(6), at(3))


def test_gptp_takes_nobody_at_the_first_announce_in_a_crowd() -> None:
    foreign = table(bmca=Bmca.GPTP)
    foreign.on_announce(announce(5), at(0))
    foreign.on_announce(announce(6), at(2.5))

    assert Heard.NOTED is foreign.on_announce(announce(7), at(3))
    assert foreign.best(at(3)) is None
    assert Heard.CHANGED is foreign.on_announce(announce(8), at(7.5))


def test_a_lower_port_of_this_clock_in_the_same_network_casts_a_shadow_for_as_long_as_it_sends() -> None:
    foreign = table(port_settings(2))
    foreign.on_announce(announce(port_of(OWN, 3)), at(0))
    assert not foreign.shadowed(at(0))

    foreign.on_announce(announce(port_of(OWN, 1)), at(1))
    deadline = foreign.deadline()

    assert foreign.shadowed(at(3.9))
    assert deadline is not None
    assert at(4) <= deadline <= at(5)
    assert not foreign.shadowed(deadline)
    assert foreign.expire(deadline)
    assert foreign.deadline() is None


def test_nothing_is_left_after_clearing() -> None:
    foreign = table(port_settings(2))
    foreign.on_announce(announce(port_of(OWN, 1)), at(0))
    qualify(foreign, 1)
    foreign.on_announce(announce(2), at(1))
    foreign.clear()

    assert foreign.deadline() is None
    assert foreign.best(at(1)) is None
    assert Heard.NOTED is foreign.on_announce(announce(2, sequence=1), at(2))


def test_of_many_qualified_ones_the_best_are_kept() -> None:
    foreign = table()
    qualify(foreign, *range(20, 0, -1))

    kept = {candidate.announce.grandmaster for candidate in foreign.candidates(at(1))}
    assert {identity(number) for number in range(1, QUALIFIED + 1)} == kept


def test_one_worse_than_all_that_are_kept_is_told_so() -> None:
    foreign = table()
    qualify(foreign, *range(1, QUALIFIED + 1))
    foreign.on_announce(announce(99, sequence=0), at(1))

    assert Heard.CROWDED is foreign.on_announce(announce(99, sequence=1), at(2))
    assert Heard.CHANGED is foreign.on_announce(announce(1, sequence=2, clock_class=7), at(2))


def storm(
    foreign: ForeignTable, *, identities: int | None, seconds: int, rate: int = 10_000, newcomer: int | None = None
) -> set[bytes | None]:
    """A steady clock 0x40 and so many spoofed Announces a second, each better than it; tells who was best.

    ``identities`` is how many names the attacker goes through again and again; None: he never uses one twice.
    """
    rng = random.Random(5)
    seen = set()
    for tick in range(seconds * rate):
        now = 2 + tick / rate
        if tick % rate == 0:
            foreign.on_announce(announce(0x40, sequence=2 + tick // rate), at(now))
        if newcomer is not None and tick % rate == rate // 2:
            foreign.on_announce(announce(newcomer, sequence=tick // rate, priority1=1), at(now))
        number = rng.getrandbits(60) | 1 << 61 if identities is None else 1 << 61 | tick % identities
        foreign.on_announce(announce(number, priority1=0, clock_class=6, sequence=tick), at(now))
        if tick % (rate // 100) == 0:
            foreign.expire(at(now))
            seen.add(best(foreign, now))
            assert len(foreign._noted) <= NOTED
            assert len(foreign._qualified) <= QUALIFIED
    return seen


@pytest.mark.parametrize("bmca", [Bmca.DEFAULT, Bmca.G8275, Bmca.GPTP])
def test_a_storm_of_spoofed_identities_leaves_the_chosen_grandmaster_alone(bmca: Bmca) -> None:
    foreign = table(bmca=bmca)
    qualify(foreign, 0x40)

    assert {identity(0x40)} == storm(foreign, identities=None, seconds=6)


@pytest.mark.parametrize("identities", [20_000, 50_000])
def test_so_does_a_storm_that_uses_its_many_names_again(identities: int) -> None:
    """No name is heard twice soon enough: it is forgotten in between, or was never noted."""
    foreign = table()
    qualify(foreign, 0x40)

    assert {identity(0x40)} == storm(foreign, identities=identities, seconds=6)


def test_a_better_clock_is_found_even_during_a_storm() -> None:
    """The list of notes is full within a third of a second, and yet some are watched until they are heard again."""
    foreign = table()
    qualify(foreign, 0x40)

    assert identity(7) in storm(foreign, identities=None, seconds=40, rate=1000, newcomer=7)
