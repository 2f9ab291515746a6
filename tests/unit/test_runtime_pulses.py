"""Pulses of PPS devices and of the channels of hardware clocks, and pulses given out."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linux_support import NOW_NS, S
from phc_support import CAPABILITIES, ETH0, FakeCard, Machine, SystemBase

from timesync.base.measure import StampSource
from timesync.base.time import Duration
from timesync.devices import EdgeName, KernelPulses, PinPulses
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.pulses import EdgeSorter, KernelPulseInput, PinEvents, PinPulseInput, PinPulseOutput
from timesync_drivers import abi
from timesync_drivers.phc import ExternalStamp, PhcPin, PinFunction
from timesync_drivers.pps import PpsDevice, PpsEdge, PpsEdges

MS = 1_000_000
TAI_NS = NOW_NS + 37 * S


class FakePps:
    """A PPS device that keeps the newest edge of each kind, as drivers/pps/kapi.c does."""

    path = "/dev/pps0"

    def __init__(self) -> None:
        self.edges = PpsEdges(PpsEdge(NOW_NS - 500 * S, 41), PpsEdge(0, 0))
        self.captured = 0
        self.able = abi.PPS_CAPTUREASSERT | abi.PPS_CAPTURECLEAR
        self.removed = False
        self.failing: OSError | None = None
        self.closed = False

    def capture(self, edges: int) -> None:
        if edges & ~self.able:
            raise OSError(errno.EOPNOTSUPP, "the device does not capture that edge")
        self.captured |= edges

    def fetch(self, timeout_s: float | None = 0.0) -> PpsEdges:
        assert timeout_s == 0.0  # anything else would hold up the loop
        if self.failing is not None:
            raise self.failing
        return self.edges

    def replaced(self) -> bool:
        return self.removed

    def close(self) -> None:
        self.closed = True


def _opened(device: FakePps, machine: Machine, edge: str = "assert") -> KernelPulseInput:
    spec = KernelPulses("/dev/pps0", edge)  # type: ignore[arg-type]  # one of the two literals
    return KernelPulseInput(spec, SystemBase(machine), lambda _: device)  # type: ignore[arg-type,return-value]


# --- PPS devices of the kernel


def test_each_pulse_is_given_once_with_its_sequence() -> None:
    machine, device = Machine(), FakePps()
    source = _opened(device, machine)
    assert device.captured == abi.PPS_CAPTUREASSERT
    assert list(source.pulses()) == []  # what it kept of earlier pulses is not news

    machine.run(1)
    device.edges = PpsEdges(PpsEdge(NOW_NS + S, 42), PpsEdge(NOW_NS, 7))
    machine.run(0.2)
    (pulse,) = source.pulses()
    assert (42, TAI_NS + S, StampSource.KERNEL) == (pulse.sequence, pulse.stamp.at.ns(), pulse.stamp.source)
    assert list(source.pulses()) == []

    machine.run(3)
    device.edges = PpsEdges(PpsEdge(NOW_NS + 4 * S, 45), PpsEdge(NOW_NS, 7))
    assert [pulse.sequence for pulse in source.pulses()] == [45]


def test_the_other_edge_has_its_own_sequence() -> None:
    machine, device = Machine(), FakePps()
    source = _opened(device, machine, "clear")
    assert device.captured == abi.PPS_CAPTURECLEAR
    device.edges = PpsEdges(PpsEdge(NOW_NS - S, 42), PpsEdge(NOW_NS, 1))
    assert [pulse.sequence for pulse in source.pulses()] == [1]


def test_a_pulse_whose_moment_cannot_be_told_is_left_out() -> None:
    machine, device = Machine(), FakePps()
    source = _opened(device, machine)
    device.edges = PpsEdges(PpsEdge(NOW_NS + S, 42), PpsEdge(0, 0))  # in the future: the clock was stepped back
    assert list(source.pulses()) == []


def test_a_device_that_was_removed_is_gone_although_it_still_answers() -> None:
    machine, device = Machine(), FakePps()
    source = _opened(device, machine)
    device.removed = True
    with pytest.raises(ClockError, match="vanished") as caught:
        source.pulses()
    assert caught.value.trouble is Trouble.GONE


@pytest.mark.parametrize(
    ("number", "trouble", "advice"),
    [
        (errno.ENOENT, Trouble.GONE, "pps-gpio"),
        (errno.EACCES, Trouble.PERMISSION, "udev"),
        (errno.EPERM, Trouble.PERMISSION, "CAP_SYS_TIME"),
        (errno.ENOTTY, Trouble.UNSUPPORTED, "PPS device"),
    ],
)
def test_a_device_that_does_not_open_says_why(number: int, trouble: Trouble, advice: str) -> None:
    def refuse(path: str) -> PpsDevice:
        raise OSError(number, os.strerror(number))

    with pytest.raises(ClockError, match="/dev/pps9") as caught:
        KernelPulseInput(KernelPulses("/dev/pps9"), SystemBase(Machine()), refuse)
    assert caught.value.trouble is trouble
    assert advice in caught.value.advice


def test_an_edge_that_the_device_does_not_capture_is_refused_and_the_device_let_go() -> None:
    device = FakePps()
    device.able = abi.PPS_CAPTUREASSERT
    with pytest.raises(ClockError, match="does not capture"):
        _opened(device, Machine(), "clear")
    assert device.closed


def test_the_real_driver_refuses_what_is_no_pps_device() -> None:
    with pytest.raises(ClockError, match="/dev/null") as caught:
        KernelPulseInput(KernelPulses("/dev/null"), SystemBase(Machine()))
    assert caught.value.trouble is Trouble.UNSUPPORTED
    with pytest.raises(ClockError) as caught:
        KernelPulseInput(KernelPulses("/dev/pps-that-is-not-there"), SystemBase(Machine()))
    assert caught.value.trouble is Trouble.GONE


# --- external timestamps


def _carded() -> tuple[Machine, FakeCard, PhcClock]:
    machine = Machine()
    card = machine.plug("eth0", TAI_NS)
    return machine, card, machine.clock()


def test_channels_of_one_clock_share_its_events() -> None:
    _, card, clock = _carded()
    events = PinEvents(clock)
    first = PinPulseInput(PinPulses(ETH0, channel=0, pin=1), events)
    second = PinPulseInput(PinPulses(ETH0, channel=1, edge="clear"), events)
    assert card.calls == ["extts 0 rising", "extts 1 falling"]
    assert card.pins[1] == PhcPin(1, "SDP1", PinFunction.EXTTS, 0)

    card.edges = [ExternalStamp(channel, TAI_NS - 3 * S + at) for channel, at in [(0, 0), (1, 5), (0, S), (1, S + 5)]]
    assert [(one.stamp.at.ns() - TAI_NS, one.sequence) for one in second.pulses()] == [(5 - 3 * S, 1), (5 - 2 * S, 2)]
    assert [(one.stamp.at.ns() - TAI_NS, one.sequence) for one in first.pulses()] == [(-3 * S, 1), (-2 * S, 2)]
    assert list(first.pulses()) == []
    assert all(one.stamp.source is StampSource.HARDWARE for one in second.pulses())


def test_a_channel_serves_one_source() -> None:
    _, _, clock = _carded()
    events = PinEvents(clock)
    first = PinPulseInput(PinPulses(ETH0), events)
    with pytest.raises(ClockError, match="used twice"):
        PinPulseInput(PinPulses(ETH0), events)
    first.close()
    PinPulseInput(PinPulses(ETH0), events)


def test_closing_stops_the_stamps_and_gives_the_pin_back() -> None:
    _, card, clock = _carded()
    card.pins[0] = replace(card.pins[0], function=PinFunction.PEROUT, channel=1)
    source = PinPulseInput(PinPulses(ETH0, pin=0), PinEvents(clock))
    assert card.pins[0].function is PinFunction.EXTTS
    source.close()
    assert card.calls[-1] == "no extts 0"
    assert card.pins[0] == PhcPin(0, "SDP0", PinFunction.PEROUT, 1)


def test_edges_from_before_the_opening_are_not_news() -> None:
    _, card, clock = _carded()
    card.edges = [ExternalStamp(0, TAI_NS - 100 * S)]
    assert list(PinPulseInput(PinPulses(ETH0), PinEvents(clock)).pulses()) == []


@pytest.mark.parametrize(
    ("spec", "text"),
    [(PinPulses(ETH0, channel=2), "has 2 external timestamp channels"), (PinPulses(ETH0, pin=2), "has 2 programmable")],
)
def test_what_the_card_does_not_have_is_refused(spec: PinPulses, text: str) -> None:
    _, _, clock = _carded()
    events = PinEvents(clock)
    with pytest.raises(ClockError, match=text):
        PinPulseInput(spec, events)
    PinPulseInput(PinPulses(ETH0, channel=0), events)  # the failure left nothing behind


def test_a_card_that_was_away_must_be_opened_anew() -> None:
    machine, card, clock = _carded()
    source = PinPulseInput(PinPulses(ETH0), PinEvents(clock))
    card.vanish()
    with pytest.raises(ClockError) as caught:
        source.pulses()
    assert caught.value.trouble is Trouble.GONE
    machine.plug("eth0", TAI_NS)
    assert clock.reopen()
    with pytest.raises(ClockError) as caught:
        source.pulses()
    assert caught.value.trouble is Trouble.GONE
    source.close()


def test_where_both_edges_are_stamped_the_wanted_one_is_picked() -> None:
    machine = Machine()
    card = machine.plug("eth0", TAI_NS)
    card.strict = False
    source = PinPulseInput(PinPulses(ETH0), PinEvents(machine.clock()))
    start = TAI_NS - 10 * S
    card.edges = [ExternalStamp(0, start + second * S + after) for second in range(5) for after in (0, 100 * MS)]
    assert [one.stamp.at.ns() for one in source.pulses()] == [start + second * S for second in range(1, 5)]


def _rare(lost: set[int]) -> set[int]:
    """Some of them, so that there is a whole pulse between any two lost edges."""
    kept: set[int] = set()
    for one in sorted(lost):
        if kept.isdisjoint({one - 1, one - 2, one - 3}):
            kept.add(one)
    return kept


@given(
    width=st.integers(1000, 450 * MS),
    missing=st.sets(st.integers(4, 38)).map(_rare),
    leading=st.booleans(),
    both=st.booleans(),
    first=st.integers(0, 1),
)
def test_the_picked_edges_are_always_of_the_wanted_kind(
    width: int, missing: set[int], leading: bool, both: bool, first: int
) -> None:
    """Forty edges of twenty pulses, single ones lost: what is picked is right, and without losses it is nearly all."""
    sorter = EdgeSorter("assert" if leading else "clear")
    wanted = 0 if leading else 1
    edges = [(n // 2 * S + n % 2 * width, n % 2) for n in range(first, 40) if (both or n % 2 == wanted)]
    kept = [edge for n, edge in enumerate(edges, first) if n not in missing]
    picked = [kind for at, kind in kept if sorter.wanted(at)]
    assert set(picked) <= {wanted}
    if not both:
        assert len(picked) == len(kept) - 2
    elif not missing:
        assert len(picked) >= 18


def _placed(ppm: float, width: int, pulses: range) -> list[tuple[int, bool]]:
    """Both edges of each pulse on a clock with this frequency error, and whether it begins the pulse."""
    exact = [(n * S + after, after == 0) for n in pulses for after in (0, width)]
    return [(at + round(at * ppm * 1e-6), begins) for at, begins in exact]


@pytest.mark.parametrize(("width", "ppm"), [(100_000, 60), (20_000, 15), (10_000, 8), (1000, -500), (1000, 500)])
def test_short_pulses_are_taken_whatever_rate_the_clock_runs_at(width: int, ppm: float) -> None:
    sorter = EdgeSorter("assert")
    picked = [begins for at, begins in _placed(ppm, width, range(60)) if sorter.wanted(at)]
    assert all(picked)
    assert len(picked) >= 58


def test_a_slew_of_the_clock_costs_a_short_pulse_or_two_and_no_more() -> None:
    sorter = EdgeSorter("assert")
    before = _placed(0, 100_000, range(10))
    slewed = [(at + round((at - 9 * S) * 500e-6), begins) for at, begins in _placed(0, 100_000, range(10, 30))]
    assert 9 == sum(sorter.wanted(at) for at, _ in before)
    picked = [begins for at, begins in slewed if sorter.wanted(at)]
    assert all(picked)
    assert len(picked) >= 18


@given(
    width=st.integers(1000, 450 * MS),
    ppm=st.integers(-500, 500),
    missing=st.sets(st.integers(6, 76)).map(_rare),
    leading=st.booleans(),
)
def test_a_lost_edge_of_a_clock_that_runs_wrong_does_not_turn_the_kinds_round(
    width: int, ppm: int, missing: set[int], leading: bool
) -> None:
    sorter = EdgeSorter("assert" if leading else "clear")
    kept = [edge for n, edge in enumerate(_placed(ppm, width, range(40))) if n not in missing]
    picked = [begins for at, begins in kept if sorter.wanted(at)]
    assert {leading} == set(picked)
    assert len(picked) >= 38 - 2 * len(missing)


@pytest.mark.parametrize("edge", ["assert", "clear"])
@pytest.mark.parametrize("ppm", [-100, 0, 100])
@pytest.mark.parametrize("bounce", [20_000, 3 * MS, 400 * MS])
def test_a_bounce_does_not_silence_a_channel_that_stamps_one_kind_of_edge(
    edge: EdgeName, ppm: int, bounce: int
) -> None:
    sorter = EdgeSorter(edge)
    second = S + ppm * 1000
    before = [sorter.wanted(n * second) for n in range(10)]
    sorter.wanted(9 * second + bounce)
    after = [sorter.wanted(n * second) for n in range(10, 20)]
    assert [False, False, *[True] * 8] == before
    assert [True] * 7 == after[3:]


def test_a_step_of_the_clock_starts_the_sorting_of_edges_anew() -> None:
    """The gap over the step would look like a pulse 300 ms wide, and the edges after it like those that end one."""
    machine = Machine()
    card = machine.plug("eth0", TAI_NS)
    card.strict = False
    clock = machine.clock()
    source = PinPulseInput(PinPulses(ETH0), PinEvents(clock))
    card.edges = [ExternalStamp(0, TAI_NS + n * S) for n in range(1, 5)]
    machine.run(4.1)
    assert 2 == len(source.pulses())
    clock.step(Duration.from_s(1000.3))
    stepped = TAI_NS + 4 * S + 1000 * S + 300 * MS
    machine.run(4.5)
    card.edges = [ExternalStamp(0, TAI_NS + 4 * S + 300 * MS)]  # was on its way when the clock was stepped
    card.edges += [ExternalStamp(0, stepped + n * S) for n in range(1, 5)]
    assert [stepped + n * S for n in range(3, 5)] == [pulse.stamp.at.ns() for pulse in source.pulses()]


# --- pulses given out


def test_an_output_begins_at_a_full_second_of_the_clock() -> None:
    machine, card, clock = _carded()
    machine.run(0.3)
    output = PinPulseOutput(clock, 1, 0, Duration.from_s(0.1))
    assert card.pins[0] == PhcPin(0, "SDP0", PinFunction.PEROUT, 1)
    assert card.calls == [f"perout 1 from {TAI_NS + 2 * S} every {S} for {100 * MS}"]
    output.close()
    assert card.calls[-1] == "no perout 1"
    assert card.pins[0].function is PinFunction.NONE


def test_an_output_is_begun_anew_after_a_step_and_a_return() -> None:
    machine, card, clock = _carded()
    output = PinPulseOutput(clock, 0, None, Duration.from_s(0.1))
    clock.step(Duration.from_s(100.25))
    assert card.calls[-1] == f"perout 0 from {TAI_NS + 102 * S} every {S} for {100 * MS}"

    card.vanish()
    clock.read()
    other = machine.plug("eth0", 7 * S)
    assert clock.reopen()
    assert other.calls == [f"perout 0 from {9 * S} every {S} for {100 * MS}"]
    output.close()
    clock.step(Duration.from_s(1))
    assert other.calls[-1] == "no perout 0"


def _refuses(**_: object) -> bool:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def test_an_output_that_cannot_be_begun_anew_says_so_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    _, card, clock = _carded()
    output = PinPulseOutput(clock, 1, None, Duration.from_s(0.1))
    assert output.trouble() is None
    with monkeypatch.context() as busy:
        busy.setattr(card, "start_perout", lambda _, **times: _refuses(**times))
        clock.step(Duration.from_s(100.25))
        assert not output.tend()
        trouble = output.trouble()
    assert trouble is not None
    assert "no right pulse comes out on output channel 1 of the hardware clock eth0" in trouble
    assert os.strerror(errno.EBUSY) in trouble
    calls = list(card.calls)
    assert trouble == output.trouble()
    assert calls == card.calls, "asking changes nothing"
    assert output.tend()
    assert output.trouble() is None
    assert card.calls[-1] == f"perout 1 from {TAI_NS + 102 * S} every {S} for {100 * MS}"
    calls = list(card.calls)
    assert output.tend()
    assert calls == card.calls, "an output that is right is not interrupted"


def test_an_output_that_is_refused_gives_its_pin_back(monkeypatch: pytest.MonkeyPatch) -> None:
    _, card, clock = _carded()
    card.pins[0] = before = replace(card.pins[0], function=PinFunction.EXTTS, channel=1)
    monkeypatch.setattr(card, "start_perout", lambda _, **times: _refuses(**times))
    with pytest.raises(ClockError, match=os.strerror(errno.EBUSY)):
        PinPulseOutput(clock, 1, 0, Duration.from_s(0.1))
    assert before == card.pins[0]


def test_a_driver_that_takes_no_width_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, card, clock = _carded()
    monkeypatch.setattr(card, "start_perout", lambda _, **__: False)
    trouble = PinPulseOutput(clock, 1, 0, Duration.from_s(0.1)).trouble()
    assert trouble is not None
    assert "it takes no width, so not 0.1 s" in trouble


def test_an_output_that_the_card_does_not_have_is_refused() -> None:
    machine = Machine()
    machine.plug("eth0", TAI_NS).capabilities = replace(CAPABILITIES, n_per_out=0)
    with pytest.raises(ClockError, match="0 periodic output channels"):
        PinPulseOutput(machine.clock(), 0, None, Duration.from_s(0.1))
