"""A hardware clock as TAI: steering, stamps, steps of others, leap seconds of one that holds UTC, and unplugging."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest
from linux_support import LEAP_DAY, NOW_NS, S
from phc_support import CAPABILITIES, ETH0, FakeCard, Machine

from timesync.base.measure import Leap, StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.host import ClockError, ClockReport, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.phc_scale import Timescale
from timesync_drivers.cross import CrossReading

MS = 1_000_000
TAI_NS = NOW_NS + 37 * S


def _plugged(ppm: float = 0.0) -> tuple[Machine, FakeCard, PhcClock]:
    machine = Machine()
    card = machine.plug("eth0", TAI_NS, ppm)
    return machine, card, machine.clock()


def _seconds(machine: Machine, clock: PhcClock, count: int) -> list[str]:
    """What is found foreign in so many seconds."""
    said = []
    for _ in range(count):
        machine.run(1)
        said.append(clock.check_foreign())
    return [text for text in said if text is not None]


# --- reading and steering


def test_a_clock_on_tai_is_read_as_it_is() -> None:
    _, _, clock = _plugged()
    stamp = clock.read()
    assert (ETH0, 0, TAI_NS) == (stamp.clock, stamp.epoch, stamp.at.ns())
    assert clock.kind == "phc"


def test_a_stamp_keeps_its_place_when_the_system_clock_begins_to_slew_between_two_readings() -> None:
    machine, card, clock = _plugged(ppm=8)
    for _ in range(8):
        machine.run(0.25)
        clock.cross()
    machine.run(0.125)
    machine.system_ratio = 5e-3
    clock.system_rate_changed(5e-3)
    machine.run(0.0625)
    edge, phc_ns = machine.real_ns, card.phc_ns
    machine.run(0.0625)
    clock.cross()
    stamp = clock.stamp_at(edge, StampSource.KERNEL)
    assert stamp is not None
    assert abs(stamp.at.ns() - phc_ns) <= 2


def test_a_frequency_is_clamped_to_what_the_kernel_takes() -> None:
    _, card, clock = _plugged()
    taken = clock.adjust_frequency(Rate.from_ppm(1e6))
    assert 62_499.9 < taken.ppm() <= 62_500
    assert card.freq == taken.to_kernel()
    assert clock.frequency() == taken
    assert clock.adjust_frequency(Rate.from_ppm(-1e6)) == -taken


def test_a_frequency_is_rounded_to_the_kernels_unit() -> None:
    _, card, clock = _plugged()
    taken = clock.adjust_frequency(Rate.from_ppb(1.2345))
    assert card.freq == 81  # 0.0012345 ppm times 65536
    assert taken == Rate.from_kernel(81)


def test_a_clock_that_cannot_be_steered_says_so() -> None:
    machine = Machine()
    machine.plug("eth0", TAI_NS).capabilities = replace(CAPABILITIES, max_adj_ppb=0)
    with pytest.raises(ClockError, match="no frequency adjustment") as caught:
        machine.clock().adjust_frequency(Rate(0.0))
    assert caught.value.trouble is Trouble.UNSUPPORTED


def test_a_step_moves_the_reading_and_the_epoch() -> None:
    machine, card, clock = _plugged()
    clock.step(Duration.from_s(-0.25))
    stamp = clock.read()
    assert (1, TAI_NS - 250 * MS) == (stamp.epoch, stamp.at.ns())
    assert card.phc_ns == TAI_NS - 250 * MS
    assert _seconds(machine, clock, 2) == []


def test_a_report_has_nowhere_to_go() -> None:
    _, card, clock = _plugged()
    clock.report(ClockReport(True, Duration.from_ns(1), Duration.from_ns(2), Leap.NONE, 37))
    assert card.calls == []


@pytest.mark.parametrize(
    ("number", "trouble", "advice"),
    [
        (errno.EACCES, Trouble.PERMISSION, "udev"),
        (errno.EBUSY, Trouble.UNSUPPORTED, "n_vclocks"),
        (errno.EOPNOTSUPP, Trouble.UNSUPPORTED, "discipline: false"),
        (errno.ENODEV, Trouble.GONE, "kernel's log"),
    ],
)
def test_a_refusal_says_what_it_is_and_what_to_do(number: int, trouble: Trouble, advice: str) -> None:
    for act in (lambda one: one.adjust_frequency(Rate(0.0)), lambda one: one.step(Duration.from_s(1))):
        _, card, clock = _plugged()
        card.failing = OSError(number, os.strerror(number))
        with pytest.raises(ClockError, match=os.strerror(number)) as caught:
            act(clock)
        assert caught.value.trouble is trouble
        assert advice in caught.value.advice
        assert clock.epoch == 0


# --- stamps of the kernel and of the hardware


def test_a_kernel_stamp_is_placed_between_two_readings() -> None:
    """The system clock gains 10 ppm, the card 50 ppm: half a second back that would be 20 us if rates were ignored."""
    machine, card, clock = _plugged(ppm=50)
    machine.system_ratio = 10e-6
    machine.run(0.3)
    kernel_ns, shown = machine.real_ns, card.phc_ns
    machine.run(0.5)
    stamp = clock.stamp_at(kernel_ns, StampSource.KERNEL)
    assert stamp is not None
    assert abs(stamp.at.ns() - shown) <= 1
    assert stamp.source is StampSource.KERNEL


def test_the_rate_is_learnt_and_bends_with_the_frequency() -> None:
    machine, card, clock = _plugged(ppm=50)
    _seconds(machine, clock, 5)
    clock.adjust_frequency(Rate.from_ppm(-80))
    machine.run(0.010)
    clock.cross()
    kernel_ns, shown = machine.real_ns, card.phc_ns
    placed = clock.stamp_at(kernel_ns + 15 * MS, StampSource.KERNEL)  # no further reading so soon
    assert placed is not None
    machine.run(0.015)
    assert abs(placed.at.ns() - card.phc_ns) <= 1
    assert shown + 15 * MS - card.phc_ns == pytest.approx(450, abs=2)  # 30 ppm of 15 ms


@pytest.mark.parametrize("when_s", [-1.0, 1.0])
def test_what_lies_before_the_first_reading_or_ahead_is_not_placed(when_s: float) -> None:
    machine, _, clock = _plugged()
    assert clock.stamp_at(machine.real_ns + round(when_s * S), StampSource.KERNEL) is None


def test_a_step_of_the_system_clock_does_not_mix_with_readings_from_before() -> None:
    machine, card, clock = _plugged()
    machine.run(1)
    clock.cross()
    machine.run(1)
    before_step = machine.real_ns - 1000
    machine.real_offset_ns += 3 * MS
    assert clock.stamp_at(before_step, StampSource.KERNEL) is None
    machine.run(1)
    shown, kernel_ns = card.phc_ns, machine.real_ns
    machine.run(0.2)
    stamp = clock.stamp_at(kernel_ns, StampSource.KERNEL)
    assert stamp is not None
    assert stamp.at.ns() == shown


def test_a_step_of_the_system_clock_within_a_reading_spoils_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, _, clock = _plugged()
    machine.run(1)
    untouched = FakeCard.cross
    steps = [5 * MS, 0, 0]

    def disturbed(card: FakeCard) -> CrossReading:
        reading = untouched(card)
        machine.real_offset_ns += steps.pop(0)
        return reading

    monkeypatch.setattr(FakeCard, "cross", disturbed)
    reading = clock.cross()
    assert reading.system_ns == machine.real_ns
    assert steps == [0]
    assert clock.stamp_at(machine.real_ns - 1, StampSource.KERNEL) is None

    steps[:] = [MS] * 9
    with pytest.raises(ClockError, match="stepped again and again"):
        clock.cross()


def test_nothing_is_placed_next_to_a_leap_second() -> None:
    machine = Machine(LEAP_DAY * S - S // 2)
    machine.plug("eth0", LEAP_DAY * S)
    clock = machine.clock()
    machine.run(0.1)
    assert clock.stamp_at(machine.real_ns, StampSource.KERNEL) is None


def test_a_hardware_stamp_from_before_a_step_is_dropped() -> None:
    for by_s in (-0.01, 0.01, 3600.0, -3600.0):
        machine, card, clock = _plugged()
        machine.run(0.2)
        taken_before = card.phc_ns - MS
        clock.step(Duration.from_s(by_s))
        assert clock.stamp_raw(taken_before) is None, by_s
        machine.run(0.1)
        assert clock.stamp_raw(taken_before) is None, by_s
        shown = card.phc_ns
        machine.run(0.001)
        fresh = clock.stamp_raw(shown)
        assert fresh is not None, by_s
        assert (1, shown, StampSource.HARDWARE) == (fresh.epoch, fresh.at.ns(), fresh.source)


def test_the_map_for_servers_gives_this_clocks_utc() -> None:
    machine, card, clock = _plugged(ppm=20)
    card.phc_ns += 5 * MS
    _seconds(machine, clock, 6)
    served = clock.serving_map()
    machine.run(1)
    assert served.utc_ns(machine.real_ns) == pytest.approx(card.phc_ns - 37 * S, abs=2)


# --- others


def test_the_error_of_the_oscillator_is_no_finding() -> None:
    machine, _, clock = _plugged(ppm=-180)
    assert _seconds(machine, clock, 30) == []


def test_steering_at_any_pace_is_no_finding() -> None:
    machine, _, clock = _plugged(ppm=70)
    for turn in range(200):
        machine.run(0.125)
        clock.adjust_frequency(Rate.from_ppm(-70 + 40 * (turn % 3)))
        assert clock.check_foreign() is None
    assert clock.epoch == 0


def test_a_frequency_that_somebody_left_in_the_hardware_ends_with_our_first() -> None:
    """The kernel tells 0 of a card whose driver was loaded anew, although the card still runs as it was told before."""
    machine, card, clock = _plugged(ppm=300)
    _seconds(machine, clock, 5)
    clock.adjust_frequency(Rate(0.0))
    card.oscillator = 0.0
    assert _seconds(machine, clock, 5) == []
    assert clock.epoch == 0


@pytest.mark.parametrize("by_ns", [80_000, -80_000, 40 * S])
def test_a_step_by_others_is_a_new_epoch(by_ns: int) -> None:
    machine, card, clock = _plugged(ppm=70)
    _seconds(machine, clock, 3)
    machine.daemons = ["phc2sys (process 7)"]
    machine.slept_ns += 3000  # two clocks make it, and reading them takes time
    card.phc_ns += by_ns
    (said,) = _seconds(machine, clock, 2)
    assert f"eth0 (/dev/ptp0) was moved by {by_ns / 1e6:+.3f} ms by phc2sys (process 7)" in said
    assert clock.epoch == 1
    assert clock.read().at.ns() == card.phc_ns


def test_a_frequency_set_by_others_is_told_once_when_we_steer() -> None:
    machine, card, clock = _plugged()
    card.freq = 65_536  # not ours yet: their business
    assert _seconds(machine, clock, 2) == []
    clock.adjust_frequency(Rate.from_ppm(3))
    _seconds(machine, clock, 3)
    machine.run(0.5)
    card.freq = -700 * 65_536  # the half second at another rate must not look like a step
    machine.run(0.5)
    (said,) = _seconds(machine, clock, 3)
    assert "-700.0000 ppm where +3.0000 ppm was set" in said
    assert "moved" not in said
    assert clock.epoch == 0


def test_a_step_that_was_worked_out_before_a_strangers_is_refused() -> None:
    machine, card, clock = _plugged()
    _seconds(machine, clock, 3)
    card.phc_ns += S
    with pytest.raises(ClockError, match="something else moved it"):
        clock.step(Duration.from_s(0.5))
    assert card.phc_ns == clock.read().at.ns()
    assert clock.epoch == 1


def test_a_suspended_machine_is_named_as_the_cause() -> None:
    machine, card, clock = _plugged()
    _seconds(machine, clock, 3)
    machine.slept_ns = 60 * S
    card.phc_ns += 60 * S
    assert "suspended for 60.0 s" in _seconds(machine, clock, 1)[0]


# --- one that holds UTC


def _utc(before_leap_s: float) -> tuple[Machine, FakeCard, PhcClock]:
    """A card that holds UTC, so long before the end of 2016."""
    machine = Machine(LEAP_DAY * S - round(before_leap_s * S))
    card = machine.plug("eth0", machine.real_ns)
    return machine, card, machine.clock(timescale="utc")


def test_a_clock_that_holds_utc_is_read_as_tai() -> None:
    _, card, clock = _utc(100)
    assert clock.read().at.ns() == card.phc_ns + 36 * S
    stamp = clock.stamp_raw(card.phc_ns)
    assert stamp is not None
    assert stamp.at.ns() == card.phc_ns + 36 * S


def test_at_a_leap_second_it_is_stepped_and_its_tai_goes_on() -> None:
    machine, card, clock = _utc(3.5)
    clock.adjust_frequency(Rate(0.0))
    start = clock.read().at
    said = _seconds(machine, clock, 8)
    assert len(said) == 1
    assert "stepped by -1 s for the leap second" in said[0]
    assert (clock.read().at - start) == Duration.from_s(8)
    assert card.phc_ns == (LEAP_DAY * S + round(3.5 * S))  # 8 s later by TAI, 7 s by UTC
    assert clock.epoch == 1


@pytest.mark.parametrize("step_s", [9.7, 10.0, 11.4])
def test_when_somebody_else_steps_it_then_that_is_no_finding(step_s: float) -> None:
    """The leap second begins after 10 s; who steps it may be early or late, and its TAI must not feel it."""
    machine, card, clock = _utc(10)
    start = clock.read().at
    for tenth in range(1, 200):
        machine.run(0.1)
        if tenth == round(step_s * 10):
            card.phc_ns -= S
        assert clock.check_foreign() is None
        assert abs((clock.read().at - start).s() - tenth / 10) < 1e-9
    assert clock.epoch == 1


def test_a_step_out_of_1970_crosses_all_leap_seconds() -> None:
    machine = Machine()
    card = machine.plug("eth0", 100 * S)
    clock = machine.clock(timescale="utc")
    assert clock.read().at.ns() == 110 * S  # TAI - UTC is 10 s before 1972
    clock.step(Duration.from_ns(TAI_NS - 110 * S))
    assert clock.read().at.ns() == TAI_NS
    assert card.phc_ns == NOW_NS


# --- away and back


def test_a_clock_that_vanishes_goes_on_by_reckoning() -> None:
    machine, card, clock = _plugged(ppm=70)
    clock.adjust_frequency(Rate.from_ppm(-20))
    _seconds(machine, clock, 5)
    card.vanish()
    machine.run(1)
    before = clock.read()
    machine.run(10)
    assert (clock.read().at - before.at).s() == pytest.approx(10 * (1 + 50e-6), abs=1e-7)
    assert clock.read().epoch == before.epoch
    assert card.closed
    assert not clock.present
    said = clock.check_foreign()
    assert said is not None
    assert "vanished" in said
    assert clock.check_foreign() is None


def test_while_away_everything_that_needs_the_device_says_gone() -> None:
    machine, card, clock = _plugged()
    clock.adjust_frequency(Rate.from_ppm(5))
    card.vanish()
    for act in (
        lambda: clock.adjust_frequency(Rate(0.0)),
        lambda: clock.step(Duration.from_s(1)),
        clock.cross,
        lambda: clock.hardware,
    ):
        with pytest.raises(ClockError) as caught:
            act()
        assert caught.value.trouble is Trouble.GONE
    machine.run(1)
    assert clock.stamp_at(machine.real_ns, StampSource.KERNEL) is None
    assert clock.frequency().ppm() == pytest.approx(5)
    assert clock.serving_map().base_ns == machine.real_ns


def test_it_comes_back_as_a_new_epoch_perhaps_as_another_card() -> None:
    machine, card, clock = _plugged()
    moved = []
    forget = clock.on_moved(lambda: moved.append(clock.epoch))
    card.vanish()
    clock.read()
    assert not clock.reopen()
    other = machine.plug("eth0", 12 * S)
    other.capabilities = replace(CAPABILITIES, max_adj_ppb=1_000_000)
    assert clock.reopen()
    assert (1, 12 * S) == (clock.read().epoch, clock.read().at.ns())
    assert clock.limits.max_frequency.ppm() == pytest.approx(1000, abs=0.01)
    assert moved == [1]
    said = clock.check_foreign()
    assert said is not None
    assert "vanished" in said
    assert "back" in said
    forget()
    clock.step(Duration.from_s(1))
    assert moved == [1]


def test_one_that_is_back_and_refuses_says_why() -> None:
    machine, card, clock = _plugged()
    assert clock.away is None
    card.vanish()
    clock.read()
    assert clock.away is not None
    assert "vanished" in clock.away
    machine.plug("eth0", TAI_NS).failing = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(ClockError, match="Permission denied"):
        clock.reopen()
    assert "Permission denied" in clock.away
    assert "udev" in clock.away
    machine.plug("eth0", TAI_NS)
    assert clock.reopen()
    assert clock.away is None


@pytest.mark.parametrize("timescale", ["tai", "utc"])
def test_one_that_fails_on_its_return_leaves_the_reckoning_as_it_was(timescale: Timescale) -> None:
    """It shows 1970 when it is back, and cannot be read beside the system clock: it is not back yet."""
    machine = Machine()
    card = machine.plug("eth0", TAI_NS, ppm=40)
    clock = machine.clock(timescale=timescale)
    card.vanish()
    before = clock.read()
    other = machine.plug("eth0", 12 * S)

    def failing() -> CrossReading:
        raise OSError(errno.EIO, "bus error")

    other.cross = failing  # type: ignore[method-assign]  # this card alone fails
    with pytest.raises(ClockError, match="bus error"):
        clock.reopen()
    machine.run(1)
    after = clock.read()
    assert not clock.present
    assert other.closed
    assert after.epoch == before.epoch
    assert (after.at - before.at).s() == pytest.approx(1, abs=1e-3)
    machine.plug("eth0", 12 * S)
    assert clock.reopen()
    assert before.epoch + 1 == clock.read().epoch


def test_one_that_is_missing_at_the_start_cannot_be_made() -> None:
    with pytest.raises(ClockError, match="eth0") as caught:
        Machine().clock()
    assert caught.value.trouble is Trouble.GONE


def test_one_that_fails_while_it_is_taken_up_is_let_go() -> None:
    machine = Machine()
    card = machine.plug("eth0", TAI_NS)
    card.failing = OSError(errno.EIO, "bus error")
    with pytest.raises(ClockError, match="bus error"):
        machine.clock()
    assert card.closed
