"""Pulses of one device: asked for when they are due, numbered, measured, counted, and missed."""

from __future__ import annotations

from functools import partial

from group_support import SYSTEM, Judge, Stand
from sim_devices_support import CARD, PPS, Scene, one_line

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Coarse, Leap, StampSource
from timesync.base.time import Duration
from timesync.config.sources import PpsSource
from timesync.daemon.pulse_group import PulseGroup
from timesync.sim.hardware import Fault, Gauss, Hardware, PhcHardware, PinHardware, PulseHardware

IDENTITY = SourceId(PPS)


def _group(stand: Stand, *, only: str | None = None, receiver: str | None = None, **entry: object) -> PulseGroup:
    source = PpsSource.model_validate({"pps": PPS, **entry})
    clock = SYSTEM if source.phc is None else ClockId(source.phc)
    return PulseGroup(
        source,
        clock,
        stand.around,
        None if only is None else SourceId(only),
        None if receiver is None else SourceId(receiver),
    )


def _stand(**figures: object) -> Stand:
    stand = Stand(Scene(one_line(noise=Gauss(0.0), **figures)))
    stand.exact()
    return stand


def test_each_pulse_is_a_measurement_of_its_second() -> None:
    stand = _stand()
    group = _group(stand)
    stand.play(group, 20.5)
    assert [PPS] == stand.added
    assert [PPS] == stand.removed
    # Three make a grid; then each is numbered.
    assert 18 == len(stand.heard)
    assert all(abs(offset) < 1e-9 for offset in stand.offsets_s())
    _, source, one = stand.heard[-1]
    assert (IDENTITY, SYSTEM, None, 5e-8) == (source, one.local, one.delay, one.noise_s)
    assert one.quality is not None
    assert (0, b"PPS\0", Leap.NONE) == (one.quality.stratum, one.quality.reference_id, one.quality.leap)
    assert Duration.from_ns(5_000) == one.quality.root_dispersion, "an interrupt is late by what no sample shows"


def test_a_pulse_is_heard_within_milliseconds_of_its_edge() -> None:
    stand = _stand()
    stand.play(_group(stand), 20.5)
    assert all(0.004 < at % 1 < 0.06 for at, _, _ in stand.heard)


def test_pulses_without_a_second_are_counted_and_not_measured() -> None:
    stand = _stand()
    stand.core.coarse_time = None
    group = _group(stand)
    stand.play(group, 12.5)
    assert [] == stand.heard
    assert 0 == stand.statuses[-1].reach
    assert "nothing tells which second it marks" in (stand.statuses[-1].excluded or "")
    assert group.facts()[IDENTITY].details["unnumbered"] >= 9


def test_only_the_named_source_is_asked_for_the_second() -> None:
    stand = _stand()
    stand.play(_group(stand, only="nmea0"), 5.5)
    assert {SourceId("nmea0")} == set(stand.core.asked)


def test_a_coarse_time_that_is_too_coarse_numbers_nothing() -> None:
    stand = _stand()
    stand.core.coarse_time = Coarse(0.3, 0.6, "somebody")
    stand.play(_group(stand), 8.5)
    assert [] == stand.heard
    assert "not good enough" in (stand.statuses[-1].excluded or "")


def test_missing_and_doubled_pulses_change_nothing_but_the_counts() -> None:
    stand = _stand(missing=0.2, doubled=0.1)
    group = _group(stand)
    stand.play(group, 200.5)
    details = group.facts()[IDENTITY].details
    assert 120 < details["pulses"] < 185
    assert 20 < details["missed"] < 60
    assert 8 < details["doubled"] < 40
    assert 0 == details["renumbered"]
    assert all(abs(offset) < 1e-9 for offset in stand.offsets_s())
    assert details["wild"] < 10, "only a second edge whose first one is missing is off any grid"


def test_silence_is_missed_second_by_second_and_the_gap_is_told() -> None:
    stand = _stand()
    group = _group(stand)
    ages: list[float] = []
    switch = partial(stand.scene.devices.switch, PPS, Fault.NO_PULSES)
    stand.play(
        group,
        60.5,
        (10.5, partial(switch, on=True)),
        (40.3, lambda: ages.append(group.facts()[IDENTITY].details["last_pulse_age_s"])),
        (40.5, partial(switch, on=False)),
    )
    assert 30.2 < ages[0] < 30.4
    assert 0 == min(status.reach for status in stand.statuses if status.sent > 10)
    details = group.facts()[IDENTITY].details
    assert 30 == details["missed"]
    assert details["last_pulse_age_s"] < 1.0
    # A minute at most is bridged by counting: these pulses still have their numbers.
    assert 0xFF == stand.statuses[-1].reach
    assert all(abs(offset) < 1e-9 for offset in stand.offsets_s())


def test_a_gap_too_long_to_count_through_is_counted_and_said() -> None:
    stand = _stand()
    group = _group(stand)
    switch = partial(stand.scene.devices.switch, PPS, Fault.NO_PULSES)
    stand.play(group, 100.5, (10.5, partial(switch, on=True)), (90.5, partial(switch, on=False)))
    assert 80 == group.facts()[IDENTITY].details["missed"]
    assert any("pulses come again after 81 s" in line for line in stand.lines())


def test_a_device_that_goes_and_comes_is_said_once_each_and_numbered_anew() -> None:
    stand = _stand()
    group = _group(stand)
    switch = partial(stand.scene.devices.switch, PPS, Fault.UNPLUGGED)
    stand.play(group, 60.5, (10.5, partial(switch, on=True)), (30.5, partial(switch, on=False)))
    names = [note.name for note in stand.notes]
    assert ["pulses-numbered", "device-lost", "device-back", "pulses-numbered"] == names
    lost = stand.notes[1].text
    assert lost.startswith(f"{PPS}: ")
    assert "plug it in" in lost
    assert any("is gone" in (status.excluded or "") for status in stand.statuses)
    assert 0xFF == stand.statuses[-1].reach
    assert stand.statuses[-1].excluded is None


def test_a_device_that_is_not_there_is_waited_for() -> None:
    stand = _stand()
    stand.scene.devices.switch(PPS, Fault.UNPLUGGED, on=True)
    group = _group(stand)
    stand.play(group, 40.5, (20.5, partial(stand.scene.devices.switch, PPS, Fault.UNPLUGGED, on=False)))
    assert ["device-lost", "device-back", "pulses-numbered"] == [note.name for note in stand.notes]
    assert len(stand.heard) > 10


def test_a_stop_while_the_device_is_away_leaves_nothing() -> None:
    stand = _stand()
    stand.scene.devices.switch(PPS, Fault.UNPLUGGED, on=True)
    stand.play(_group(stand), 5.5)
    assert [PPS] == stand.removed


def test_a_receiver_without_fix_takes_its_pulses_with_it() -> None:
    stand = _stand()
    judge = Judge()
    stand.around.receivers[SourceId("nmea0")] = judge

    def lose() -> None:
        judge.why = "the receiver has no fix"

    stand.play(_group(stand, receiver="nmea0"), 20.5, (10.5, lose))
    assert max(at for at, _, _ in stand.heard) < 10.6
    assert "its receiver nmea0: the receiver has no fix" == stand.statuses[-1].excluded
    assert 0xFF == stand.statuses[-1].reach, "the pulses come; they mean nothing"


def test_the_receivers_quantization_error_is_taken_out_and_its_leap_second_passed_on() -> None:
    stand = _stand()
    judge = Judge()
    judge.teeth, judge.says = Duration.from_ns(8), Leap.INSERT
    stand.around.receivers[SourceId("nmea0")] = judge
    stand.play(_group(stand, receiver="nmea0"), 10.5)
    # The pulse was 8 ns late by the receiver's word: the clock reads that much less against truth.
    assert all(abs(offset + 8e-9) < 1e-10 for offset in stand.offsets_s())
    assert {Leap.INSERT} == {m.quality.leap for _, _, m in stand.heard if m.quality is not None}


def test_a_pin_of_a_card_stamps_by_that_card() -> None:
    pulses = PulseHardware(noise=Gauss(0.0))
    card = PhcHardware(offset=Duration.from_s(5), inputs=(PinHardware(1, pulses),))
    stand = Stand(Scene(Hardware(phcs={CARD: card})))
    stand.core.coarse_time = Coarse(5.0, 0.1, "somebody")
    group = _group(stand, pps="eth0", channel=1)
    stand.play(group, 12.5)
    assert {CARD} == {m.local for _, _, m in stand.heard}
    assert all(abs(offset - 5.0) < 1e-9 for offset in stand.offsets_s())
    assert {StampSource.HARDWARE} == {status.timestamping for status in stand.statuses if status.received}
    assert {5e-9} == {m.noise_s for _, _, m in stand.heard}


def test_a_card_that_vanishes_between_two_looks_is_survived() -> None:
    pulses = PulseHardware(noise=Gauss(0.0))
    stand = Stand(Scene(Hardware(phcs={CARD: PhcHardware(inputs=(PinHardware(0, pulses),))})))
    stand.exact()
    switch = partial(stand.scene.devices.switch, CARD, Fault.UNPLUGGED)
    group = _group(stand, pps="eth0")
    stand.play(group, 40.5, (10.5, partial(switch, on=True)), (20.5, partial(switch, on=False)))
    assert any(line.startswith("device-lost: pps:eth0: ") for line in stand.lines())
    assert max(at for at, _, _ in stand.heard) > 35


def test_edges_of_before_a_step_are_not_mistaken() -> None:
    stand = _stand()
    stand.core.coarse_time = Coarse(0.0, 0.3, "somebody")
    stand.play(_group(stand), 20.5, (10.5, partial(stand.scene.system.step, Duration.from_s(0.25))))
    assert {0, 1} == {m.epoch for _, _, m in stand.heard}
    for _, _, m in stand.heard:
        assert abs(m.offset.s() - 0.25 * m.epoch) < 1e-9


def test_a_pulse_that_breaks_something_does_not_silence_those_after_it() -> None:
    stand = _stand()
    group = _group(stand)
    answer = stand.core.coarse
    broken: list[float] = []

    def break_once(*args: object, **options: object) -> Coarse | None:
        at = stand.scene.world.elapsed.s()
        if at > 10 and not broken:
            broken.append(at)
            raise ArithmeticError
        return answer(*args, **options)  # type: ignore[arg-type]

    stand.core.coarse = break_once  # type: ignore[method-assign]
    stand.play(group, 20.5, (15.5, stand.broken.clear))
    assert 1 == len(broken)
    assert 8 <= len([at for at, _, _ in stand.heard if at > 11])
