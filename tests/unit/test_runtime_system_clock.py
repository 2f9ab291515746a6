"""CLOCK_REALTIME as TAI, over a kernel made of numbers."""

from __future__ import annotations

import errno

import pytest
from linux_support import LEAP_DAY, NOW_NS, SYSTEM, TABLE, FakeKernel, S

from timesync.base.measure import Leap, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration
from timesync.host import ClockError, ClockReport, Trouble
from timesync.runtime.system_clock import SystemClock
from timesync_drivers import abi
from timesync_drivers.clock import ClockState

MS = 1_000_000


class Machine:
    """A system clock on a fake kernel, with programs and suspends that a test may set."""

    def __init__(self, utc_ns: int = NOW_NS) -> None:
        self.kernel = FakeKernel(utc_ns)
        self.daemons: list[str] = []
        self.slept_ns = 0
        self.clock = SystemClock(
            SYSTEM, self.kernel, TABLE, daemons=lambda: self.daemons, suspended=lambda: self.slept_ns
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


def _report(leap: Leap = Leap.NONE, *, synchronized: bool = True, maximum_s: float = 0.002) -> ClockReport:
    return ClockReport(synchronized, Duration.from_s(1e-6), Duration.from_s(maximum_s), leap, tai_utc=37)


def test_making_and_reading_it_changes_nothing(machine: Machine) -> None:
    stamp = machine.clock.read()

    assert (SYSTEM, 0, NOW_NS + 37 * S) == (stamp.clock, stamp.epoch, stamp.at.ns())
    assert machine.clock.kind == "system"
    assert machine.clock.check_foreign() is None
    assert machine.clock.serving_map() == SYSTEM_MAP
    assert machine.kernel.calls == []


def test_the_limits_are_ten_percent_and_a_tick_of_the_slowest_kernel(machine: Machine) -> None:
    limits = machine.clock.limits
    assert limits.max_frequency.ppm() == pytest.approx(100_000)
    assert limits.frequency_latency == Duration.from_ns(10 * MS)


# --- frequency


def test_who_listens_is_told_by_how_much_the_rate_has_changed(machine: Machine) -> None:
    changes: list[float] = []
    machine.clock.on_rate(changes.append)
    machine.clock.adjust_frequency(Rate.from_ppm(4.0))
    machine.clock.adjust_frequency(Rate.from_ppm(-1.0))
    assert changes == pytest.approx([4e-6, -5e-6], abs=1e-11)


@pytest.mark.parametrize(
    ("ppm", "taken_ppm", "freq_ppm", "tick"),
    [
        (12.5, 12.5, 12.5, 10_000),
        (-5_000.0, -5_000.0, 0.0, 9_950),
        (2e6, 100_000.0, 0.0, 11_000),
    ],
)
def test_a_frequency_is_set_and_what_was_taken_comes_back(
    machine: Machine, ppm: float, taken_ppm: float, freq_ppm: float, tick: int
) -> None:
    taken = machine.clock.adjust_frequency(Rate.from_ppm(ppm))

    assert taken.ppm() == pytest.approx(taken_ppm)
    assert machine.clock.frequency() == taken
    assert (freq_ppm * 65_536, tick) == (machine.kernel.freq, machine.kernel.tick)


def test_the_first_change_stops_slews_that_others_left(machine: Machine) -> None:
    machine.kernel.status = abi.STA_PLL
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    machine.clock.adjust_frequency(Rate.from_ppm(2))

    assert machine.kernel.calls == ["cancel", "frequency", "frequency"]
    assert not machine.kernel.status & abi.STA_PLL


@pytest.mark.parametrize(
    ("number", "trouble", "word"),
    [
        (errno.EPERM, Trouble.PERMISSION, "CAP_SYS_TIME"),
        (errno.ENODEV, Trouble.GONE, "kernel's log"),
        (errno.EOPNOTSUPP, Trouble.UNSUPPORTED, "discipline: false"),
    ],
)
def test_a_refusal_says_what_it_is_and_what_to_do(machine: Machine, number: int, trouble: Trouble, word: str) -> None:
    machine.kernel.denied = OSError(number, "as scripted")
    for change in (
        lambda: machine.clock.adjust_frequency(Rate.from_ppm(1)),
        lambda: machine.clock.step(Duration.from_s(1)),
        lambda: machine.clock.report(_report()),
    ):
        with pytest.raises(ClockError, match="as scripted") as caught:
            change()
        assert caught.value.trouble is trouble
        assert word in caught.value.advice
    assert machine.clock.epoch == 0


def test_a_clock_whose_state_may_not_be_read_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: FakeKernel) -> ClockState:
        raise OSError(errno.EPERM, "as scripted")

    monkeypatch.setattr(FakeKernel, "state", refused)
    with pytest.raises(ClockError, match="read its state: as scripted") as caught:
        Machine()
    assert caught.value.trouble is Trouble.PERMISSION
    assert "SystemCallFilter" in caught.value.advice


# --- steps


def test_a_step_moves_the_reading_and_the_epoch(machine: Machine) -> None:
    machine.clock.step(Duration.from_s(-0.3))
    stamp = machine.clock.read()

    assert (1, NOW_NS + 37 * S - 300 * MS) == (stamp.epoch, stamp.at.ns())
    machine.kernel.run(1)
    assert machine.clock.check_foreign() is None


def test_a_board_that_starts_in_1970_arrives_at_the_right_second() -> None:
    machine = Machine(utc_ns=100 * S)
    # TAI - UTC is 10 s before 1972, 37 s now: UTC must move by 27 s less than TAI.
    wanted_tai = NOW_NS + 37 * S
    by = wanted_tai - machine.clock.read().at.ns()
    machine.clock.step(Duration.from_ns(by))

    assert machine.kernel.utc_ns == NOW_NS
    assert machine.clock.read().at.ns() == wanted_tai


def test_a_step_back_across_a_leap_second_is_one_of_tai() -> None:
    machine = Machine(utc_ns=(LEAP_DAY + 10) * S)
    machine.clock.step(Duration.from_s(-20))
    # 20 s of TAI before 00:00:10 are, with 23:59:60 between, 23:59:51 UTC.
    assert machine.kernel.utc_ns == (LEAP_DAY - 9) * S


def test_a_step_worked_out_before_somebody_elses_is_refused(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(0))
    machine.kernel.run(1)
    machine.kernel.utc_ns -= 10 * S  # they step it by what we are about to

    with pytest.raises(ClockError, match="something else moved it"):
        machine.clock.step(Duration.from_s(-10))
    assert machine.clock.epoch == 1
    assert machine.kernel.utc_ns == NOW_NS + S - 10 * S


# --- kernel timestamps


def test_a_kernel_stamp_becomes_tai_with_its_source(machine: Machine) -> None:
    stamp = machine.clock.stamp_at(NOW_NS - 5, StampSource.KERNEL)

    assert stamp is not None
    assert (0, NOW_NS + 37 * S - 5, StampSource.KERNEL) == (stamp.epoch, stamp.at.ns(), stamp.source)


def test_a_stamp_from_before_a_forward_step_is_of_the_old_epoch(machine: Machine) -> None:
    machine.clock.step(Duration.from_s(2))
    machine.kernel.run(0.001)
    before = machine.clock.stamp_at(NOW_NS - 5, StampSource.KERNEL)
    after = machine.clock.stamp_at(NOW_NS + 2 * S + 5, StampSource.KERNEL)

    assert before is not None
    assert after is not None
    assert (0, 1) == (before.epoch, after.epoch)


def test_a_stamp_from_before_a_backward_step_is_in_the_future_and_refused(machine: Machine) -> None:
    machine.clock.step(Duration.from_s(-2))
    assert machine.clock.stamp_at(NOW_NS - 5, StampSource.KERNEL) is None


@pytest.mark.parametrize(("second", "placed"), [(-3, True), (-1, False), (0, False), (2, True)])
def test_a_stamp_beside_a_leap_second_is_refused(second: int, placed: bool) -> None:
    machine = Machine(utc_ns=(LEAP_DAY + 10) * S)
    stamp = machine.clock.stamp_at((LEAP_DAY + second) * S + 500 * MS, StampSource.KERNEL)
    assert placed == (stamp is not None)


def test_tai_runs_evenly_through_a_leap_second_that_the_kernel_inserts() -> None:
    machine = Machine(utc_ns=(LEAP_DAY - 5) * S + 100 * MS)
    machine.kernel.set_status(abi.STA_INS, maximum_error_us=0, estimated_error_us=0, tai=36)
    started = machine.clock.read().at.ns()
    readings = []
    for _ in range(40):
        machine.kernel.run(0.25)
        readings.append(machine.clock.read().at.ns())

    assert started == (LEAP_DAY - 5) * S + 100 * MS + 36 * S
    assert readings == [started + n * 250 * MS for n in range(1, 41)]
    assert machine.clock.check_foreign() is None


# --- reports


def test_a_report_reaches_the_kernel_in_its_units(machine: Machine) -> None:
    machine.clock.report(_report())
    kernel = machine.kernel

    assert (0, 2000, 1, 37) == (
        kernel.status, kernel.maximum_error_us, kernel.estimated_error_us, kernel.tai,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("leap", "status"),
    [(Leap.INSERT, 0x10), (Leap.DELETE, 0x20), (Leap.NONE, 0), (Leap.UNKNOWN, 0)],
)
def test_leap_seconds_are_handed_to_the_kernel(machine: Machine, leap: Leap, status: int) -> None:
    machine.clock.report(_report(leap))
    assert machine.kernel.status == status


def test_an_unsynchronized_clock_is_reported_so_with_the_largest_error(machine: Machine) -> None:
    machine.clock.report(_report(synchronized=False, maximum_s=1e6))
    assert (abi.STA_UNSYNC, 16_000_000) == (machine.kernel.status, machine.kernel.maximum_error_us)


# --- what others do


def test_our_own_changes_are_not_taken_for_somebody_elses(machine: Machine) -> None:
    for ppm in (0, 400, -3000, 90_000, 12, -100_000, 0):
        machine.clock.adjust_frequency(Rate.from_ppm(ppm))
        machine.clock.report(_report())
        machine.kernel.run(0.7)
        assert machine.clock.check_foreign() is None
    assert machine.clock.epoch == 0


def test_somebody_elses_step_is_counted_and_named(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(50))
    machine.kernel.run(1)
    machine.daemons = ["chronyd (process 7)"]
    machine.kernel.utc_ns += 5 * MS
    said = machine.clock.check_foreign()

    assert said == "the system clock was moved by +5.000 ms by chronyd (process 7)"
    assert machine.clock.epoch == 1
    machine.kernel.run(1)
    assert machine.clock.check_foreign() is None


def test_a_step_is_noticed_while_we_only_watch_a_clock_that_another_steers(machine: Machine) -> None:
    machine.kernel.run(10)
    machine.kernel.freq = 30 * 65_536  # theirs to change
    machine.kernel.run(10)
    assert machine.clock.check_foreign() is None
    machine.kernel.utc_ns -= S
    said = machine.clock.check_foreign()

    assert said == "the system clock was moved by -1000.000 ms by another program"
    assert machine.clock.epoch == 1


def test_stamps_from_before_a_step_of_somebody_else_are_of_the_old_epoch(machine: Machine) -> None:
    machine.kernel.utc_ns += 50 * MS
    machine.clock.check_foreign()
    stamp = machine.clock.stamp_at(NOW_NS + 49 * MS, StampSource.KERNEL)
    assert stamp is not None
    assert stamp.epoch == 0


def test_a_suspend_is_not_blamed_on_a_program(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(0))
    machine.kernel.utc_ns += 3600 * S  # CLOCK_MONOTONIC_RAW stood still
    machine.slept_ns += 3600 * S
    said = machine.clock.check_foreign()

    assert said == "the system clock was moved by +3600000.000 ms while the machine was suspended for 3600.0 s"
    assert machine.clock.epoch == 1


def test_somebody_elses_frequency_is_said_once_and_ours_set_again(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    machine.daemons = ["ntpd (process 1)", "ptp4l (process 2)"]
    machine.kernel.freq = 3 * 65_536
    machine.kernel.tick = 10_001
    said = machine.clock.check_foreign()

    assert said == (
        "ntpd (process 1) or ptp4l (process 2) steers the system clock too: "
        "its frequency is +3.0000 ppm where +1.0000 ppm was set; its tick is 10001 us where 10000 us was set"
    )
    assert machine.clock.check_foreign() is None
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    assert machine.clock.frequency().ppm() == pytest.approx(1)
    assert machine.clock.epoch == 0


def test_the_kernels_own_loop_switched_on_by_others_is_said_and_switched_off(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    machine.kernel.status |= abi.STA_PLL
    said = machine.clock.check_foreign()

    assert said == "another program steers the system clock too: its status is 0x0041 where 0x0040 was set"
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    assert not machine.kernel.status & abi.STA_PLL


def test_what_was_seen_during_an_adjustment_is_told_at_the_next_check(machine: Machine) -> None:
    machine.clock.adjust_frequency(Rate.from_ppm(1))
    machine.kernel.utc_ns += S
    machine.clock.adjust_frequency(Rate.from_ppm(2))

    assert machine.clock.epoch == 1
    said = machine.clock.check_foreign()
    assert said is not None
    assert "moved by +1000.000 ms" in said


def test_the_kernel_losing_its_synchronized_mark_by_itself_is_no_interference(machine: Machine) -> None:
    machine.clock.report(_report())
    machine.kernel.status |= abi.STA_UNSYNC  # ntp.c, second_overflow: the error bound outgrew 16 s
    assert machine.clock.check_foreign() is None
