"""The clock driver: the split of a frequency, and the real clock as far as it may be read."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync_drivers import abi
from timesync_drivers.clock import KernelClock, join_frequency, max_frequency_scaled_ppm, split_frequency

PPM = 65_536


@pytest.mark.parametrize(
    ("ppm", "tick_before", "freq_ppm", "tick"),
    [
        (0, 10_000, 0, 10_000),
        (400, 10_000, 400, 10_000),
        (500, 10_000, 500, 10_000),  # the last that freq reaches alone
        (501, 10_000, 1, 10_005),
        (-501, 10_000, -1, 9_995),
        (450, 10_005, -50, 10_005),  # within reach of the tick in force: it stays
        (401, 10_005, -99, 10_005),
        (400, 10_005, 400, 10_000),  # well inside: back to nominal
        (-300, 10_005, -300, 10_000),
        (1000, 10_005, 500, 10_005),
        (1001, 10_005, 1, 10_010),
        (-2000, 10_005, 0, 9_980),
        (99_999, 10_000, -1, 11_000),
        (100_500, 10_000, 500, 11_000),
        (-100_500, 10_000, -500, 9_000),
    ],
)
def test_a_frequency_is_parted_into_freq_and_tick(ppm: int, tick_before: int, freq_ppm: int, tick: int) -> None:
    assert (freq_ppm * PPM, tick) == split_frequency(ppm * PPM, tick_before, 100)


@given(st.integers(-100_500 * PPM, 100_500 * PPM), st.integers(9_000, 11_000), st.sampled_from([100, 250, 1000]))
def test_the_parts_always_make_the_whole_within_the_kernels_limits(scaled: int, tick_before: int, hz: int) -> None:
    nominal = 1_000_000 // hz
    tick_before = max(nominal - nominal // 10, min(nominal + nominal // 10, tick_before * nominal // 10_000))
    freq, tick = split_frequency(scaled, tick_before, hz)

    assert scaled == join_frequency(freq, tick, hz)
    assert abs(freq) <= 500 * PPM  # MAXFREQ
    assert 900_000 <= tick * hz <= 1_100_000  # kernel/time/ntp.c, timekeeping_validate_timex


def test_a_rate_that_moves_around_500_ppm_does_not_flap() -> None:
    tick = 10_000
    ticks = []
    for ppm in [499, 501, 499, 502, 480, 510, 450, 501]:
        _, tick = split_frequency(ppm * PPM, tick, 100)
        ticks.append(tick)

    assert ticks == [10_000] + [10_005] * 7


def test_the_largest_frequency_is_that_of_the_tick_and_500_ppm() -> None:
    assert max_frequency_scaled_ppm(100) == 100_500 * PPM


@pytest.mark.skipif(abi.LONG_SIZE != 8, reason="the program reads the layout of a 64-bit ABI")
def test_the_state_of_the_real_clock_is_what_the_c_library_tells_another_process() -> None:
    program = (
        "import ctypes, struct; data = ctypes.create_string_buffer(208);"
        "state = ctypes.CDLL(None).adjtimex(data);"
        "print(state, *struct.unpack_from('=q', data, 16), *struct.unpack_from('=q', data, 88),"
        " *struct.unpack_from('=i', data, 160))"
    )
    state = KernelClock().state()
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert [int(word) for word in output.split()] == [
        state.time_state, state.scaled_ppm, state.tick_us, state.tai,
    ]  # fmt: skip


def test_reading_is_the_system_time() -> None:
    clock = KernelClock()
    before = time.time_ns()
    reading, state, progress = clock.read_ns(), clock.state(), clock.progress()
    after = time.time_ns()

    assert before <= reading <= after
    # In whole microseconds without STA_NANO, so it may be cut by one.
    assert before - 1000 <= state.at_ns <= after
    assert before <= progress.at_ns <= after
    assert 0 <= progress.window_ns < 1_000_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="drops privileges, so it needs them first")
def test_without_privilege_every_change_is_refused_with_a_permission_error() -> None:
    # Each call would change nothing even if it were let through.
    program = """
import os
from timesync_drivers.clock import KernelClock
clock = KernelClock()
os.setgid(65534)
os.setuid(65534)
state = clock.state()
for change in (
    lambda: clock.set_frequency(clock.frequency_scaled_ppm()),
    lambda: clock.step(0),
    lambda: clock.set_status(
        state.status, maximum_error_us=state.maximum_error_us, estimated_error_us=state.estimated_error_us
    ),
):
    try:
        change()
    except PermissionError as error:
        print(error.errno)
"""
    output = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ).stdout
    assert output.split() == ["1", "1", "1"]


class _Recorder:
    """Stands in for the C function: notes what it is given and answers from a script."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.calls: list[dict[str, int]] = []

    def __call__(self, clock_id: int, pointer: object) -> int:
        timex = pointer._obj  # type: ignore[attr-defined]  # what ctypes.byref points to
        names = (
            "modes",
            "freq",
            "tick",
            "status",
            "offset",
            "tv_sec",
            "tv_usec",
            "constant",
            "maxerror",
            "esterror",
        )
        if timex.modes:
            self.calls.append({name: getattr(timex, name) for name in names if getattr(timex, name)})
        for name, value in self.answers.items():
            setattr(timex, name, value)
        return 0


def _recorded(monkeypatch: pytest.MonkeyPatch, clock_id: int, **answers: int) -> tuple[KernelClock, _Recorder]:
    recorder = _Recorder(**answers)
    monkeypatch.setattr("timesync_drivers.clock._clock_adjtime", lambda: recorder)
    return KernelClock(clock_id), recorder


def test_a_small_frequency_leaves_the_tick_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recorder = _recorded(monkeypatch, time.CLOCK_REALTIME, tick=1_000_000 // os.sysconf("SC_CLK_TCK"))
    clock.set_frequency(7 * PPM)
    assert recorder.calls[0]["modes"] == 0x0002
    assert recorder.calls[0]["freq"] == 7 * PPM


def test_a_hardware_clock_gets_all_of_it_in_freq(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recorder = _recorded(monkeypatch, -29)
    clock.set_frequency(9000 * PPM)
    assert recorder.calls == [{"modes": 0x0002, "freq": 9000 * PPM}]


@pytest.mark.parametrize(
    ("by_ns", "seconds", "nanoseconds"),
    [(300, 0, 300), (-300, -1, 999_999_700), (-2_500_000_000, -3, 500_000_000), (1_000_000_000, 1, 0)],
)
def test_the_nanoseconds_of_a_step_are_never_negative(
    monkeypatch: pytest.MonkeyPatch, by_ns: int, seconds: int, nanoseconds: int
) -> None:
    clock, recorder = _recorded(monkeypatch, time.CLOCK_REALTIME)
    clock.step(by_ns)
    call = recorder.calls[0]
    assert (0x2100, seconds, nanoseconds) == (call["modes"], call.get("tv_sec", 0), call.get("tv_usec", 0))


def test_status_errors_and_tai_go_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recorder = _recorded(monkeypatch, time.CLOCK_REALTIME)
    # STA_NANO and the other read-only bits, as they come from state(), are not sent back.
    clock.set_status(abi.STA_INS | abi.STA_NANO | 0x0100, maximum_error_us=5, estimated_error_us=3, tai=37)
    assert recorder.calls == [{"modes": 0x009C, "status": 0x0010, "maxerror": 5, "esterror": 3, "constant": 37}]


def test_slews_of_others_are_cancelled_with_the_pll_on_and_then_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recorder = _recorded(monkeypatch, time.CLOCK_REALTIME)
    clock.cancel_slews()
    assert recorder.calls == [
        {"modes": 0x8001},
        {"modes": 0x0011, "status": 0x0041},
        {"modes": 0x0010, "status": 0x0040},
    ]
