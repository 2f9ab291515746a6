"""The virtual clock against a model in fractions, which knows nothing of its pieces."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linux_support import NOW_NS, TABLE, FakeBase, S

from timesync.base.ids import ClockId
from timesync.base.measure import Leap, StampSource
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Duration
from timesync.host import ClockReport
from timesync.runtime.virtual import MAX_FREQUENCY, VirtualClock, VirtualSettings

BENCH = ClockId("bench")
KERNEL = StampSource.KERNEL


class Scripted:
    """Gaussian numbers as told; notes the deviations that were asked for."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)
        self.sigmas: list[float] = []

    def gauss(self, mu: float, sigma: float, /) -> float:
        assert mu == 0.0
        self.sigmas.append(sigma)
        return self.numbers.pop(0) * sigma if self.numbers else 0.0


def _clock(
    base: FakeBase, *, offset_ns: int = 0, ppm: float = 0.0, wander: float = 0.0, rng: Scripted | None = None
) -> VirtualClock:
    settings = VirtualSettings(Duration.from_ns(offset_ns), Rate.from_ppm(ppm), wander)
    return VirtualClock(BENCH, base, TABLE, settings, rng or Scripted())


def test_it_starts_with_its_offset_and_gains_by_its_frequency_error() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=10_000_000, ppm=20)
    assert clock.true_offset() == Duration.from_ns(10_000_000)

    base.tai_ns += 100 * S
    assert clock.true_offset().ns() == 10_000_000 + 2_000_000
    stamp = clock.read()
    assert (BENCH, 0, base.tai_ns + 12_000_000) == (stamp.clock, stamp.epoch, stamp.at.ns())
    assert clock.kind == "virtual"


def test_steering_multiplies_with_the_oscillator() -> None:
    base = FakeBase()
    clock = _clock(base, ppm=100_000)
    taken = clock.adjust_frequency(Rate.from_ppm(50_000))
    base.tai_ns += 10 * S

    assert clock.frequency() == taken
    expected = Fraction(10 * S) * ((1 + Fraction(1, 10)) * (1 + Fraction(taken.ratio)) - 1)
    assert clock.true_offset().ns() == pytest.approx(float(expected), abs=1)


def test_a_frequency_is_clamped_and_rounded_like_the_kernels() -> None:
    clock = _clock(FakeBase())
    assert clock.adjust_frequency(Rate.from_ppm(3e5)) == MAX_FREQUENCY
    assert clock.adjust_frequency(Rate.from_ppm(-3e5)) == -MAX_FREQUENCY
    assert clock.adjust_frequency(Rate(1e-12)) == Rate.from_kernel(0)
    assert clock.limits.max_frequency == MAX_FREQUENCY


def test_a_step_moves_it_and_counts() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=500)
    clock.step(Duration.from_ns(-2000))
    stamp = clock.read()
    assert (1, base.tai_ns - 1500) == (stamp.epoch, stamp.at.ns())
    assert clock.epoch == 1


def test_kernel_stamps_of_the_past_go_through_the_piece_that_held_then() -> None:
    base = FakeBase()
    clock = _clock(base, ppm=0)
    start = base.tai_ns
    base.tai_ns = start + 2 * S
    clock.adjust_frequency(Rate.from_ppm(1000))
    base.tai_ns = start + 4 * S
    clock.step(Duration.from_ns(7_000_000))
    base.tai_ns = start + 6 * S

    def gained(after_s: float) -> tuple[int, int]:
        stamp = clock.stamp_at(start - 37 * S + round(after_s * S), KERNEL)
        assert stamp is not None
        assert stamp.source is KERNEL
        return stamp.at.ns() - start - round(after_s * S), stamp.epoch

    assert gained(1) == (0, 0)
    assert gained(3) == (1_000_000, 0)
    assert gained(5) == (3_000_000 + 7_000_000, 1)


def test_stamps_from_before_the_clock_or_its_history_have_no_place() -> None:
    base = FakeBase()
    clock = _clock(base, wander=1e-9)
    assert clock.stamp_at(NOW_NS - 1, KERNEL) is None
    base.tai_ns += 60 * S
    assert clock.stamp_at(NOW_NS + 15 * S, KERNEL) is None
    assert clock.stamp_at(NOW_NS + 50 * S, KERNEL) is not None


def test_the_oscillator_walks_once_a_second_by_its_wander() -> None:
    base = FakeBase()
    rng = Scripted(3.0, -1.0)
    clock = _clock(base, wander=1e-6, rng=rng)
    # Read unevenly, and steered in between: the walk has a step at each full second all the same.
    for after_ms in (400, 900, 1_100, 1_500, 2_500):
        base.tai_ns = NOW_NS + 37 * S + after_ms * 1_000_000
        clock.adjust_frequency(Rate(0.0))

    assert rng.sigmas == [1e-6, 1e-6]
    # 1 s at 0, 1 s at 3 ppm, half a second at 2 ppm.
    assert clock.true_offset().ns() == pytest.approx(3000 + 1000, abs=1)


def test_wander_has_the_variance_of_a_random_walk() -> None:
    """The frequency after 100 s has a standard deviation of ten times the wander."""
    ends = []
    for seed in range(300):
        base = FakeBase()
        clock = VirtualClock(BENCH, base, TABLE, VirtualSettings(wander=1e-7), random.Random(seed))
        base.tai_ns += 100 * S
        before = clock.true_offset()
        base.tai_ns += S - 1
        ends.append((clock.true_offset() - before).s())
    deviation = (sum(end * end for end in ends) / len(ends)) ** 0.5

    # 300 draws: the deviation of the estimate is 4 %.
    assert deviation == pytest.approx(1e-6, rel=0.15)


def test_a_base_clock_moved_far_ahead_is_not_walked_through_second_by_second() -> None:
    base = FakeBase()
    rng = Scripted()
    clock = _clock(base, wander=1e-9, rng=rng)
    base.tai_ns += 10 * 365 * 86_400 * S
    clock.read()
    assert len(rng.sigmas) <= 3600
    assert max(rng.sigmas) == pytest.approx(1e-9 * (10 * 365 * 86_400) ** 0.5, rel=1e-3)


def test_a_step_of_the_base_clock_is_one_of_this_clock() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=1000)
    base.tai_ns += 5 * S
    base.epoch += 1
    stamp = clock.read()
    assert (1, base.tai_ns + 1000) == (stamp.epoch, stamp.at.ns())
    assert clock.epoch == 1


def test_a_base_clock_moved_back_keeps_the_map_and_the_steps_made() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=1000)
    base.tai_ns += 100 * S
    clock.step(Duration.from_ns(500))
    base.tai_ns += S
    clock.adjust_frequency(Rate.from_ppm(10))
    base.tai_ns -= 50 * S
    base.epoch += 1

    assert clock.true_offset().ns() == 1500
    base.tai_ns += 10 * S
    assert clock.true_offset().ns() == 1500 + 100_000
    assert clock.epoch == 2


def test_the_serving_map_gives_the_utc_of_this_clock() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=10_000_000, ppm=20)
    base.tai_ns += 7 * S
    serving = clock.serving_map()
    kernel_ns = base.tai_ns - 37 * S + 2 * S
    base.tai_ns += 2 * S

    assert serving.utc_ns(kernel_ns) == pytest.approx(clock.read().at.ns() - 37 * S, abs=2)


def test_a_clock_far_from_its_base_serves_the_utc_of_its_own_day() -> None:
    base = FakeBase()
    clock = _clock(base, offset_ns=-NOW_NS + 300 * S)  # in 1970, TAI - UTC was another
    serving = clock.serving_map()
    assert serving.utc_ns(NOW_NS) == 300 * S + 37 * S - 10 * S


def test_a_report_is_kept() -> None:
    clock = _clock(FakeBase())
    assert clock.last_report is None
    report = ClockReport(True, ZERO, ZERO, Leap.NONE, 37)
    clock.report(report)
    assert clock.last_report == report


_actions = st.lists(
    st.tuples(
        st.integers(1, 3 * S),  # ns until then
        st.sampled_from(["read", "adjust", "step"]),
        st.integers(-(10**6), 10**6),
    ),
    max_size=40,
)


@given(_actions, st.integers(-(10**6), 10**6))
def test_any_history_agrees_with_the_sum_of_its_parts(actions: list[tuple[int, str, int]], ppb: int) -> None:
    """The model: offset += span x rate, with exact fractions; the clock may be off by half a unit a piece."""
    base = FakeBase()
    oscillator = Rate.from_ppb(ppb)
    clock = VirtualClock(BENCH, base, TABLE, VirtualSettings(frequency=oscillator), Scripted())
    offset = Fraction(0)
    rate = Fraction(oscillator.ratio)
    previous = clock.read().at
    for span, action, value in actions:
        base.tai_ns += span
        offset += span * rate
        if action == "adjust":
            taken = clock.adjust_frequency(Rate.from_ppb(value))
            rate = (1 + Fraction(oscillator.ratio)) * (1 + Fraction(taken.ratio)) - 1
        elif action == "step":
            clock.step(Duration.from_ns(value))
            offset += value
        reading = clock.read().at
        if action != "step":
            assert reading > previous
        previous = reading
        assert abs(clock.true_offset().scaled_ns - offset * 65_536) <= len(actions) + 1
