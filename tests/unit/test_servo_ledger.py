"""The ledger against an exact model in fractions."""

from __future__ import annotations

import random
from fractions import Fraction

from servo_support import START, tai

from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Tai
from timesync.servo.ledger import Ledger


def test_a_rate_found_at_the_start_is_taken_out() -> None:
    ledger = Ledger(START, 0, Rate(1e-3))
    # 1001 steered seconds are 1000 free ones.
    assert abs((ledger.adjustment(tai(1001)) - Duration.from_s(1)).scaled_ns) < 65536
    assert abs((ledger.free(tai(1001)) - tai(1000)).scaled_ns) < 65536


def test_steps_and_slews_add_up_as_in_an_exact_model() -> None:
    rng = random.Random(5)
    ledger = Ledger(START, 0, Rate(0.0))
    reading = Fraction(0)
    free = Fraction(0)
    rate = 0.0
    epoch = 0
    for _ in range(400):
        passed = Fraction(rng.randrange(1, 4000), 16)  # free seconds
        free += passed
        reading += passed * (1 + Fraction(rate))
        at: Instant[Tai] = Instant(START.scaled_ns + round(reading * 65536 * 10**9))
        assert abs((ledger.free(at).scaled_ns - START.scaled_ns) / 65536 - float(free * 10**9)) < 5.0
        if rng.random() < 0.3:
            by = rng.randrange(-3 * 10**9, 3 * 10**9)
            epoch += 1
            ledger.stepped(Duration.from_ns(by), at, epoch)
            reading += Fraction(by, 10**9)
            assert epoch == ledger.epoch
        else:
            rate = rng.uniform(-1e-3, 1e-3)
            ledger.steered(Rate(rate), at)
            assert Rate(rate) == ledger.rate


def test_a_reading_before_the_last_change_of_rate_is_judged_by_the_rate_then() -> None:
    ledger = Ledger(START, 0, Rate(0.0))
    ledger.steered(Rate(1e-4), tai(100))
    ledger.steered(Rate(-1e-4), tai(200))
    expected = 50 * 1e-4 / (1 + 1e-4)
    assert abs(ledger.adjustment(tai(150)).s() - expected) < 1e-12
    assert Duration(0) == ledger.adjustment(tai(99))


def test_readings_after_a_step_back_do_not_meet_entries_of_the_epoch_before() -> None:
    ledger = Ledger(START, 7, Rate(0.0))
    ledger.steered(Rate(1e-2), tai(100))
    ledger.steered(Rate(0.0), tai(150))
    ledger.stepped(Duration.from_s(-1000), tai(200), 8)
    # The clock passes the readings 100 to 200 a second time, with nothing done to it then.
    before = ledger.adjustment(tai(-800))
    assert before == ledger.adjustment(tai(120))
    assert abs(before.s() + 1000 - 50 * 1e-2 / 1.01) < 1e-9


def test_a_step_of_half_a_century_is_exact() -> None:
    ledger = Ledger(Instant(0), 0, Rate(0.0))
    by = Duration.from_ns(1_800_000_000 * 10**9 + 1)
    ledger.stepped(by, Instant.from_ns(10**9), 1)
    assert by == ledger.adjustment(Instant.from_ns(10**9) + by)
    assert Instant.from_ns(2 * 10**9) == ledger.free(Instant.from_ns(2 * 10**9) + by)


def test_the_last_step_is_kept_through_changes_of_rate_and_lost_where_it_is_not_known() -> None:
    ledger = Ledger(START, 7, Rate(0.0))
    assert Duration(0) == ledger.last_step
    by = Duration.from_ns(-1_500_000_000)
    ledger.stepped(by, tai(100), 8)
    ledger.steered(Rate(1e-5), tai(150))
    assert by == ledger.last_step
    ledger.stepped(Duration(0), tai(200), 9)  # as of a step by somebody else
    assert Duration(0) == ledger.last_step
