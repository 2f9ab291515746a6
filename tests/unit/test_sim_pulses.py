"""Simulated pulses, pins, outputs and pairs of clocks: figures, faults, and the manners of the real things."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, pstdev

import pytest
from sim_devices_support import (
    CARD,
    NS,
    PPS,
    QUIET,
    START_S,
    SYSTEM,
    S,
    Scene,
    gather,
    one_card,
    one_line,
    sequences,
)
from sim_support import MS

from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.devices import Devices, KernelPulses, PinPulses
from timesync.host import Clock, ClockError, Host, Trouble
from timesync.sim.clock import ClockModel
from timesync.sim.hardware import (
    Fault,
    FromOutput,
    Gauss,
    Hardware,
    PhcHardware,
    PinHardware,
    PulseHardware,
    TimedFault,
)
from timesync.sim.law import Exponential
from timesync.sim.oscillator import Quartz


def test_it_is_devices_of_a_host() -> None:
    scene = Scene(one_card())
    host: Host = scene.host
    devices: Devices = scene.devices
    clock: Clock = scene.cards[CARD]
    assert devices is host.devices
    assert "phc" == clock.kind
    assert {SYSTEM, CARD} == set(host.clocks)


def test_a_perfect_pulse_is_stamped_by_the_clocks_exact_reading() -> None:
    model = ClockModel(offset=MS * 3)
    scene = Scene(Hardware(pulses={PPS: QUIET}), quartz=Quartz(frequency_error=Rate(2.0**-16)), model=model)
    pulses = gather(scene, 10, KernelPulses(PPS))
    assert 10 == len(pulses)
    for index, pulse in enumerate(pulses):
        second = START_S + index + 1
        exact = second * S.scaled_ns + 3_000_000 * NS + ((index + 1) * S.scaled_ns >> 16)
        assert exact // NS * NS == pulse.stamp.at.scaled_ns
        assert (SYSTEM, 0, StampSource.KERNEL) == (pulse.stamp.clock, pulse.stamp.epoch, pulse.stamp.source)
    assert [1] * 9 == [later - earlier for earlier, later in pairwise(sequences(pulses))]


def test_noise_and_bias_are_those_of_the_hardware() -> None:
    scene = Scene(one_line(noise=Gauss(100e-9), bias=Duration.from_ns(2500)))
    errors = [scene.error_s(pulse.stamp) for pulse in gather(scene, 5000, KernelPulses(PPS))]
    assert 5000 == len(errors)
    assert 2500e-9 == pytest.approx(fmean(errors), abs=6e-9)
    assert 100e-9 == pytest.approx(pstdev(errors), rel=0.05)


def test_noise_can_be_one_sided() -> None:
    scene = Scene(one_line(noise=Exponential(3e-6)))
    errors = [scene.error_s(pulse.stamp) for pulse in gather(scene, 3000, KernelPulses(PPS))]
    assert min(errors) >= 0
    assert 3e-6 == pytest.approx(fmean(errors), rel=0.1)


def test_the_newest_edge_replaces_those_that_were_not_fetched() -> None:
    scene = Scene(Hardware(pulses={PPS: QUIET}))
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    assert () == source.pulses()
    scene.world.run_for(MS * 1500)
    (first,) = source.pulses()
    assert () == source.pulses()
    scene.world.run_for(S * 4)
    (later,) = source.pulses()
    assert first.sequence + 4 == later.sequence
    assert S * 4 == later.stamp.at - first.stamp.at


def test_pulses_that_nobody_saw_are_counted() -> None:
    scene = Scene(Hardware(pulses={PPS: QUIET}))
    before = gather(scene, 3, KernelPulses(PPS))[-1]
    scene.world.run_for(S * 7)
    after = gather(scene, 3, KernelPulses(PPS))[0]
    # The first after the pause is eight seconds after the last before it.
    assert S * 8 == after.stamp.at - before.stamp.at
    assert before.sequence + 8 == after.sequence


def test_the_clear_edge_is_a_pulses_width_later() -> None:
    scene = Scene(one_line(noise=Gauss(0.0), width=MS * 120))
    errors = [scene.error_s(pulse.stamp) for pulse in gather(scene, 6, KernelPulses(PPS, "clear"))]
    assert [0.12] * 5 == pytest.approx(errors, abs=1e-9)


def test_missing_pulses_are_as_many_as_said() -> None:
    scene = Scene(one_line(missing=0.05))
    pulses = gather(scene, 4000, KernelPulses(PPS))
    assert 4000 * 0.95 == pytest.approx(len(pulses), rel=0.01)
    gaps = [round((later.stamp.at - earlier.stamp.at).s()) for earlier, later in pairwise(pulses)]
    assert {1, 2} <= set(gaps)
    # The kernel does not see them either.
    assert {1} == {later - earlier for earlier, later in pairwise(sequences(pulses))}


def test_doubled_pulses_come_soon_after_and_hide_the_right_one_of_a_slow_reader() -> None:
    scene = Scene(one_line(noise=Gauss(0.0), doubled=0.1))
    errors = [scene.error_s(pulse.stamp) for pulse in gather(scene, 2000, KernelPulses(PPS))]
    late = [error for error in errors if error > 1e-6]
    assert 2000 * 0.1 == pytest.approx(len(late), rel=0.2)
    assert 10e-6 <= min(late)
    assert max(late) <= 5e-3
    quick = gather(Scene(one_line(noise=Gauss(0.0), doubled=1.0)), 5, KernelPulses(PPS), Duration.from_ns(10_000))
    assert len(quick) > 7


def test_wild_pulses_lie_anywhere() -> None:
    scene = Scene(one_line(noise=Gauss(0.0), wild=0.2))
    errors = [scene.error_s(pulse.stamp) for pulse in gather(scene, 1000, KernelPulses(PPS), MS * 20)]
    wild = [error for error in errors if abs(error) > 1e-3]
    assert 200 == pytest.approx(len(wild), rel=0.2)
    assert 1 / 12**0.5 == pytest.approx(pstdev(wild), rel=0.15)


def test_two_readers_see_the_same_edges_on_their_own_clocks() -> None:
    hardware = Hardware(
        pulses={PPS: PulseHardware()}, phcs={CARD: PhcHardware(offset=MS * 7, frequency_error=Rate.from_ppm(3))}
    )
    scene = Scene(hardware)
    ours = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    cards = scene.devices.open_pulses(KernelPulses(PPS), CARD)
    scene.world.run_for(MS * 1500)
    (one,), (other,) = ours.pulses(), cards.pulses()
    assert one.sequence == other.sequence
    assert CARD == other.stamp.clock
    assert 7e-3 + 3e-6 == pytest.approx((other.stamp.at - one.stamp.at).s(), abs=2e-9)


def test_a_device_that_is_not_there_cannot_be_opened() -> None:
    scene = Scene(one_card(n_pins=2))
    for spec, trouble in (
        (KernelPulses("/dev/pps9"), Trouble.GONE),
        (PinPulses(SYSTEM), Trouble.GONE),
        (PinPulses(CARD, channel=3), Trouble.UNSUPPORTED),
        (PinPulses(CARD, pin=2), Trouble.UNSUPPORTED),
    ):
        with pytest.raises(ClockError) as caught:
            scene.devices.open_pulses(spec, SYSTEM)
        assert trouble is caught.value.trouble


def test_a_pulse_device_goes_and_comes_back() -> None:
    fault = TimedFault(Fault.UNPLUGGED, S * 3, S * 4)
    scene = Scene(one_line(noise=Gauss(0.0), faults=(fault,)))
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    scene.world.run_for(MS * 2500)
    assert 1 == len(source.pulses())
    scene.world.run_for(S)
    with pytest.raises(ClockError) as caught:
        source.pulses()
    assert Trouble.GONE is caught.value.trouble
    with pytest.raises(ClockError):
        scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    source.close()
    scene.world.run_for(S * 5)
    assert 3 == len(gather(scene, 3, KernelPulses(PPS)))
    # What was open when it went stays dead.
    with pytest.raises(ClockError):
        source.pulses()


def test_pulses_stop_and_go_on() -> None:
    scene = Scene(one_line(faults=(TimedFault(Fault.NO_PULSES, MS * 2500, S * 5),)))
    found = gather(scene, 10, KernelPulses(PPS))
    assert [1, 2, 8, 9, 10] == [round(pulse.stamp.at.scaled_ns / S.scaled_ns - START_S) for pulse in found]


# --- external timestamps and outputs


def test_a_pin_queues_all_its_edges_on_the_cards_clock() -> None:
    card = PhcHardware(
        offset=S * 5, frequency_error=Rate.from_ppm(10), read_noise_s=0.0, inputs=(PinHardware(1, QUIET),), n_pins=1
    )
    scene = Scene(Hardware(phcs={CARD: card}))
    source = scene.devices.open_pulses(PinPulses(CARD, channel=1, pin=0), SYSTEM)
    scene.world.run_for(MS * 6500)
    pulses = source.pulses()
    assert list(range(1, 7)) == sequences(pulses)
    assert {(CARD, StampSource.HARDWARE)} == {(pulse.stamp.clock, pulse.stamp.source) for pulse in pulses}
    for index, pulse in enumerate(pulses, 1):
        assert 5 + index * (1 + 10e-6) == pytest.approx((pulse.stamp.at - scene.world.start).s(), abs=1.1e-9)
    assert () == source.pulses()


def test_a_pins_queue_drops_the_oldest() -> None:
    scene = Scene(one_card(inputs=(PinHardware(0, QUIET),)))
    source = scene.devices.open_pulses(PinPulses(CARD), SYSTEM)
    scene.world.run_for(MS * 200_500)
    assert list(range(73, 201)) == sequences(source.pulses())


def test_external_timestamps_stop() -> None:
    scene = Scene(one_card(inputs=(PinHardware(0, QUIET),), faults=(TimedFault(Fault.NO_PULSES, MS * 2500, S * 3),)))
    found = gather(scene, 8, PinPulses(CARD))
    assert 5 == len(found)
    scene.cards[CARD].read()


def test_a_card_goes_with_its_pins_and_comes_back_with_another_time() -> None:
    fault = TimedFault(Fault.UNPLUGGED, MS * 2500, S * 5)
    scene = Scene(one_card(offset=MS, inputs=(PinHardware(0, QUIET),), faults=(fault,)))
    card = scene.cards[CARD]
    source = scene.devices.open_pulses(PinPulses(CARD), SYSTEM)
    card.step(S)
    scene.world.run_for(S * 3)
    for call in (
        source.pulses,
        card.read,
        lambda: card.step(S),
        lambda: card.adjust_frequency(Rate(0.0)),
        lambda: scene.devices.read_pair(SYSTEM, CARD),
        lambda: scene.devices.open_pulses(PinPulses(CARD), SYSTEM),
        lambda: scene.devices.open_output(CARD, 0, None, MS),
    ):
        with pytest.raises(ClockError) as caught:
            call()
        assert Trouble.GONE is caught.value.trouble
    scene.world.run_for(S * 5)
    assert MS == card.true_offset()
    assert 2 == card.read().epoch
    assert 3 == len(gather(scene, 3, PinPulses(CARD)))


def output_scene(**figures: object) -> Scene:
    return Scene(
        Hardware(
            phcs={CARD: PhcHardware(**figures)},
            pulses={PPS: PulseHardware(noise=Gauss(0.0), origin=FromOutput(CARD))},
        )
    )


def test_an_output_gives_a_pulse_at_each_second_of_its_clock() -> None:
    scene = output_scene(offset=MS * 400, frequency_error=Rate.from_ppm(50), wander=1e-7)
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    scene.world.run_for(S * 2)
    assert () == source.pulses()
    output = scene.devices.open_output(CARD, 0, None, MS * 100)
    card, seen = scene.cards[CARD], 0
    for index in range(60):
        scene.world.run_for(MS * 250)
        card.adjust_frequency(Rate.from_ppm(300 * (-1) ** index))
        for pulse in source.pulses():
            seen += 1
            # The system clock is true here, so the card's history tells what the card showed.
            shown = card.stamp_at(pulse.stamp.at.scaled_ns, StampSource.USER)
            assert shown is not None
            assert abs(scene.error_s(shown)) <= 2e-9
    assert 15 == seen
    output.close()
    scene.world.run_for(S * 3)
    assert len(source.pulses()) <= 1
    scene.world.run_for(S * 3)
    assert () == source.pulses()


@pytest.mark.parametrize("by", [S * 5 + MS * 300, -S * 5 + MS * 300])
def test_an_output_follows_a_step_of_its_clock(by: Duration) -> None:
    scene = output_scene()
    scene.devices.open_output(CARD, 0, None, MS * 100)
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    scene.world.run_for(MS * 2500)
    source.pulses()
    scene.cards[CARD].step(by)
    scene.world.run_for(MS * 1500)
    source.pulses()
    found = 0
    for _ in range(20):
        scene.world.run_for(MS * 500)
        for pulse in source.pulses():
            found += 1
            assert -0.3 == pytest.approx(scene.error_s(pulse.stamp), abs=1e-8)
    assert 10 == found


@pytest.mark.parametrize("by", [-S * 30, -S * 30 + MS * 300, -MS * 700])
def test_an_output_of_a_clock_that_is_set_back_gives_no_edge_that_is_still_to_come(by: Duration) -> None:
    scene = output_scene()
    scene.devices.open_output(CARD, 0, None, MS * 100)
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    scene.world.run_for(MS * 2500)
    scene.cards[CARD].step(by)
    for _ in range(40):
        scene.world.run_for(MS * 100)
        now = scene.system.exact()
        assert all(pulse.stamp.at <= now for pulse in source.pulses())


def test_an_output_that_the_card_does_not_have_is_refused() -> None:
    scene = output_scene(n_outputs=1)
    for channel, pin, width in ((1, None, MS), (0, 0, MS), (0, None, Duration(0))):
        with pytest.raises(ClockError) as caught:
            scene.devices.open_output(CARD, channel, pin, width)
        assert Trouble.UNSUPPORTED is caught.value.trouble


# --- pairs


def pair_errors(scene: Scene, count: int) -> tuple[list[float], list[float]]:
    """Errors of the difference, and the claimed uncertainties, in seconds."""
    errors, claims = [], []
    for _ in range(count):
        scene.world.run_for(MS * 100)
        pair = scene.devices.read_pair(SYSTEM, CARD)
        true = scene.cards[CARD].true_offset() - scene.system.true_offset()
        errors.append((pair.remote.at - pair.local.at - true).s())
        claims.append(pair.uncertainty.s())
    return errors, claims


def test_one_reading_errs_by_its_delays_and_never_beyond_its_window() -> None:
    card = {"pair_window": Duration.from_ns(1000), "pair_excess": Exponential(100e-9), "read_noise_s": 0.0}
    scene = Scene(one_card(offset=MS, pair_samples=1, **card))
    errors, claims = pair_errors(scene, 4000)
    # Half the difference of two exponential delays of 100 ns: 100 ns / sqrt(2).
    assert 100e-9 / 2**0.5 == pytest.approx(pstdev(errors), rel=0.1)
    assert 600e-9 == pytest.approx(fmean(claims), rel=0.02)
    assert all(abs(error) <= claim + 1e-9 for error, claim in zip(errors, claims, strict=True))
    pair = scene.devices.read_pair(SYSTEM, CARD)
    assert (SYSTEM, CARD, "extended") == (pair.local.clock, pair.remote.clock, pair.method)
    turned = scene.devices.read_pair(CARD, SYSTEM)
    assert (CARD, SYSTEM) == (turned.local.clock, turned.remote.clock)
    assert -1e-3 == pytest.approx((turned.remote.at - turned.local.at).s(), abs=1e-5)


def test_the_shortest_of_many_windows_is_better() -> None:
    scene = Scene(one_card(pair_samples=10, read_noise_s=0.0))
    errors, claims = pair_errors(scene, 2000)
    assert pstdev(errors) < 25e-9
    assert fmean(claims) < 560e-9


def test_the_noise_of_the_card_comes_on_top() -> None:
    scene = Scene(one_card(pair_method="precise", read_noise_s=20e-9))
    errors, claims = pair_errors(scene, 3000)
    assert 20e-9 == pytest.approx(pstdev(errors), rel=0.06)
    assert 1e-9 == pytest.approx(max(claims))
    assert "precise" == scene.devices.read_pair(SYSTEM, CARD).method


def test_two_cards_are_compared_in_two_readings() -> None:
    other = type(CARD)("eth1")
    scene = Scene(Hardware(phcs={CARD: PhcHardware(offset=MS), other: PhcHardware()}))
    pair = scene.devices.read_pair(CARD, other)
    assert "read" == pair.method
    assert pair.uncertainty >= Duration.from_ns(1000)
    assert -1e-3 == pytest.approx((pair.remote.at - pair.local.at).s(), abs=1e-6)
    with pytest.raises(ClockError):
        scene.devices.read_pair(SYSTEM, type(CARD)("eth7"))
