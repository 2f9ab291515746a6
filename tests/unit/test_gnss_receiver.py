"""A receiver as a source: what becomes a measurement, and each fault with its words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from gnss_support import SYSTEM, Local, Story, leap_table, mark, mono, receiver_settings, second, utc

from timesync.base.ids import LinkId, SourceId
from timesync.base.measure import Leap, Stamp
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai, Utc
from timesync.gnss.event import (
    DeviceReport,
    FixMode,
    FixReport,
    Garbled,
    LeapReport,
    PulseLock,
    PulseMark,
    Sawtooth,
    SetBaud,
    TimeMark,
    Write,
)
from timesync.gnss.health import HealthSettings
from timesync.gnss.label import Labelled, Numberer, NumbererSettings
from timesync.gnss.latency import Truth
from timesync.gnss.leap_watch import LeapWatch
from timesync.gnss.listened import Listened
from timesync.gnss.pulse_marks import PulseLink
from timesync.gnss.receiver import ReceiverJudge

GPS = SourceId("gps")
ROLLOVER_S = 1024 * 7 * 86_400


@pytest.mark.parametrize("offset_s", [0.0, 3.7, -1_795_000_000.5])
def test_a_healthy_receiver_gives_one_measurement_a_second_whose_claim_holds(offset_s: float) -> None:
    story = Story(local=Local(offset_s=offset_s, frequency=3e-4))
    story.run(0, 120)
    assert 116 <= len(story.measured) <= 118
    for at, m in story.measured:
        assert m.quality is not None
        assert abs(m.offset.s() - story.local.error_s(at)) <= m.quality.root_dispersion.s()
        assert (SYSTEM, LinkId("gps"), None, 0) == (m.local, m.link, m.delay, m.quality.stratum)
        assert (b"GPS\0", Leap.NONE) == (m.quality.reference_id, m.quality.leap)
    status = story.statuses[GPS]
    assert (0xFF, None, 0) == (status.reach, status.excluded, status.stratum)
    assert [] == story.names()
    view = story.judge.view(mono(120))
    assert ("RMC", FixMode.THREE_D, 9, 14, 0.9) == (
        view.message,
        view.sky.mode,
        view.sky.used,
        view.sky.seen,
        view.sky.hdop,
    )


def test_the_latency_is_learnt_where_the_clock_is_known_and_is_remembered() -> None:
    story = Story(local=Local(offset_s=0.01), kinds=frozenset({"RMC", "GGA"}))
    story.latency_s, story.spread_s = 0.32, 0.01
    story.truth = Truth(0.01, 1e-4, epoch=0)
    story.run(0, 100)
    assert "gnss-latency" in story.names()
    assert max(abs(error) for error in story.errors(since_s=30)) < 0.05
    late = story.measured[-1][1].quality
    assert late is not None
    assert late.root_dispersion < Duration.from_s(0.07)
    assert all(abs(error) <= late.root_dispersion.s() for error in story.errors(since_s=30))
    again = Story()
    again.latency_s, again.spread_s = 0.32, 0.01
    again.judge.restore(story.judge.memory())
    again.run(0, 10)
    assert max(abs(error) for error in again.errors()) < 0.05


def test_a_fixed_delay_is_taken_out_as_it_is() -> None:
    story = Story(delay=Duration.from_s(0.25))
    story.spread_s = 0.0
    story.run(0, 10)
    assert [pytest.approx(0.12 - 0.25, abs=1e-6)] * len(story.measured) == [e + 0.0 for e in story.errors()]


def test_a_lost_fix_is_said_at_once_and_must_be_back_for_a_while() -> None:
    story = Story()
    story.run(0, 30)
    count = len(story.measured)
    story.trusted, story.mode = False, FixMode.NONE
    story.run(30, 60)
    assert "the receiver has no fix" == story.excluded
    assert "the receiver has no fix" == story.judge.pulses_excluded(mono(60))
    assert len(story.measured) <= count
    story.trusted, story.mode = True, FixMode.THREE_D
    story.run(60, 64)
    assert "the receiver has no fix" == story.excluded
    story.run(64, 80)
    assert story.excluded is None
    assert story.judge.pulses_excluded(mono(80)) is None
    assert ["gnss-no-fix", "gnss-no-fix-over"] == story.names()
    first = next(at for at, _ in story.measured if at > 60)
    assert 64.5 < first < 68


def test_a_receiver_that_starts_without_a_fix_is_used_as_soon_as_it_has_one() -> None:
    story = Story()
    story.trusted, story.mode = False, FixMode.NONE
    story.run(0, 20)
    assert [] == story.measured
    story.trusted, story.mode = True, FixMode.TWO_D
    story.run(20, 30)
    assert story.excluded is None
    assert len(story.measured) >= 7


def test_one_sentence_that_is_not_vouched_for_casts_doubt_on_another_that_does_not_say() -> None:
    story = Story()
    story.kinds, story.mode = ("ZDA",), None
    for n in range(30):
        story.second(n)
        story.tell(mark(story.local, n, kind="RMC", latency_s=0.3, trusted=n < 15), n + 0.3)
    assert "the receiver does not vouch for its own time yet" == story.excluded
    assert all(at < 16 for at, _ in story.measured)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("jump_s", [1.0, -1.0, 3600.0, 0.6])
def test_a_jump_is_refused_until_it_has_been_consistent(seed: int, jump_s: float) -> None:
    story = Story(seed=seed)
    story.run(0, 60)
    story.said = lambda true_s: true_s + jump_s
    story.run(60, 85)
    assert story.excluded is not None
    assert story.excluded.startswith("its time jumped by ")
    assert float(story.excluded.split()[4]) == pytest.approx(jump_s, abs=0.2, rel=1e-3)
    assert max(abs(error) for error in story.errors()) < 0.2
    assert story.judge.pulses_excluded(mono(85)) is None
    story.run(85, 100)
    assert story.excluded is None
    assert ["gnss-jump", "gnss-jump-over"] == story.names()
    assert story.errors(since_s=95)


def test_a_jump_that_others_contradict_is_refused_as_long_as_they_do() -> None:
    story = Story()
    story.truth = Truth(0.0, 1e-3, epoch=0, independent=True)
    story.run(0, 60)
    story.said = lambda true_s: true_s + 1
    story.run(60, 200)
    assert story.excluded is not None
    assert max(abs(error) for error in story.errors()) < 0.2
    story.said = lambda true_s: true_s
    story.run(200, 260)
    assert story.excluded is None


@pytest.mark.parametrize("seed", range(5))
def test_single_wrong_times_are_dropped_without_a_fuss(seed: int) -> None:
    story = Story(seed=seed)
    story.run(0, 10)
    wrong = {20, 31, 45, 47 + seed * 2}
    story.said = lambda true_s: true_s + (1000 if true_s in wrong else 0)
    story.run(10, 80)
    assert len(story.measured) == 80 - 2 - len(wrong)
    assert max(abs(error) for error in story.errors()) < 0.2
    assert story.excluded is None


def test_stale_times_are_dropped_and_said_with_the_pulses_of_the_frozen_receiver() -> None:
    story = Story()
    story.run(0, 30)
    story.said = lambda _: 29.0
    story.run(30, 50)
    assert max(abs(error) for error in story.errors()) < 0.2
    assert "repeats the same time (2026-11-18 11:07:09) though time goes on" == story.excluded
    assert story.excluded == story.judge.pulses_excluded(mono(50))
    story.said = lambda true_s: true_s
    story.run(50, 60)
    assert story.excluded is None
    assert ["gnss-stale", "gnss-stale-over"] == story.names()


def test_a_time_that_runs_too_slowly_is_refused() -> None:
    story = Story()
    story.spread_s = 0.01
    story.run(0, 30)
    story.said = lambda true_s: 30 + (true_s - 30) * 0.7
    story.run(30, 60)
    assert story.excluded is not None
    assert all(at < 33 for at, _ in story.measured)


def test_a_week_number_rollover_is_refused_and_named() -> None:
    story = Story()
    story.said = lambda true_s: true_s - ROLLOVER_S
    story.run(0, 20)
    assert [] == story.measured
    assert (
        "says 2007-04-04 11:06:59, which is before this program was made: a week number rollover "
        "(1024 weeks more make it 2026-11-18 11:06:59)" == story.judge.view(mono(20)).trouble
    )
    assert [("warning", "gnss-week")] == [(note.level, note.name) for _, note in story.notes][:1]
    story.said = lambda true_s: true_s
    story.run(20, 30)
    assert story.excluded is None
    assert story.measured


def test_a_date_from_before_the_build_that_no_rollover_explains_is_just_wrong() -> None:
    story = Story()
    story.said = lambda true_s: true_s - 5 * 365 * 86_400
    story.run(0, 20)
    assert [] == story.measured
    trouble = story.judge.view(mono(20)).trouble
    assert trouble is not None
    assert trouble.endswith("which is before this program was made, and no week number rollover explains it")


def test_a_week_number_rollover_on_the_run_is_a_jump_where_no_build_date_is_known() -> None:
    story = Story(health=HealthSettings())
    story.run(0, 30)
    story.said = lambda true_s: true_s + ROLLOVER_S
    story.run(30, 40)
    assert story.excluded is not None
    assert "+1024 weeks (week number rollover)" in story.excluded
    assert max(abs(error) for error in story.errors()) < 0.2


def test_silence_is_noticed_and_its_end() -> None:
    story = Story()
    story.run(0, 30)
    story.wait(60)
    assert "nothing comes from the receiver" == story.excluded
    assert 0 == story.statuses[GPS].reach
    assert story.judge.coarse(0, mono(60)) is None
    assert story.judge.pulses_excluded(mono(60)) is None
    assert "nobody has said for 10 min whether the receiver has a fix" == story.judge.pulses_excluded(mono(700))
    story.run(60, 70)
    assert story.excluded is None
    assert 0xFF == story.statuses[GPS].reach
    assert ["gnss-silent", "gnss-silent-over"] == story.names()


def test_what_cannot_be_read_is_not_taken_for_silence() -> None:
    story = Story()
    for n in range(20):
        story.tell(Garbled("checksum"), n)
    assert "nothing readable comes from the receiver (another baud rate?)" == story.excluded
    assert {"checksum": 20} == story.judge.view(mono(20)).garbled


def test_dates_that_were_mended_on_the_way_are_said() -> None:
    story = Story()
    story.tell(Garbled("week rollover"), 1.0)
    story.tell(Garbled("checksum"), 1.1)
    assert ["gnss-week-mended"] == story.names()


def test_a_receiver_that_tells_no_date_is_helped() -> None:
    story = Story()
    story.kinds = ()
    story.run(0, 20)
    assert story.excluded is not None
    assert "switch on RMC" in story.excluded


def test_a_receiver_that_goes_and_comes() -> None:
    story = Story()
    story.run(0, 20)
    story.tell(DeviceReport(present=False), 20.0)
    assert "the receiver is gone" == story.excluded
    story.tell(DeviceReport(present=True, description="u-blox 7"), 25.0)
    story.run(26, 36)
    assert story.excluded is None
    assert "u-blox 7" == story.judge.view(mono(36)).description
    story.keep(story.judge.lost(mono(37)))
    assert "the receiver is gone" == story.excluded


def test_jamming_and_the_antenna_are_said_and_several_signs_of_forgery_refused() -> None:
    story = Story()
    story.run(0, 10)
    story.tell(FixReport(jamming="ok", spoofing="none", antenna="ok"), 10.0)
    assert [] == story.names()
    story.tell(FixReport(jamming="critical", antenna="short"), 10.1)
    story.tell(FixReport(spoofing="indicated"), 10.2)
    assert story.excluded is None
    story.tell(FixReport(spoofing="multiple"), 10.3)
    assert "the receiver sees several signs of forged signals" == story.excluded
    assert story.excluded == story.judge.pulses_excluded(mono(10.3))
    story.tell(FixReport(jamming="ok", spoofing="none", antenna="ok"), 10.4)
    assert story.excluded is None
    assert "gps: its jamming detector says critical" in [note.text for _, note in story.notes]
    assert ("info", "gnss-antenna") in [(note.level, note.name) for _, note in story.notes]


@pytest.mark.parametrize("mode", [None, FixMode.THREE_D])
def test_what_its_detectors_said_ends_when_they_have_been_silent_for_a_minute(mode: FixMode | None) -> None:
    """A receiver that was reset forgets that it was to send UBX-SEC-SIG."""
    story = Story()
    story.mode = mode
    story.run(0, 10)
    story.tell(FixReport(spoofing="multiple", jamming="critical"), 10.0)
    story.run(11, 68)
    assert "the receiver sees several signs of forged signals" == story.excluded
    story.tell(FixReport(spoofing="multiple"), 68.0)
    story.run(69, 126)
    assert story.excluded is not None
    assert story.judge.pulses_excluded(mono(126)) is not None
    story.run(126, 132)
    assert story.excluded is None
    assert story.judge.pulses_excluded(mono(132)) is None
    sky = story.judge.view(mono(132)).sky
    assert (None, None, mode) == (sky.spoofing, sky.jamming, sky.mode)


def test_a_pulse_that_does_not_follow_the_satellites_is_not_used_and_the_messages_are() -> None:
    story = Story()
    story.run(0, 10)
    story.tell(PulseLock(locked=False), 10.0)
    story.run(10, 13)
    assert "the receiver says that its pulse does not follow the satellites" == story.judge.pulses_excluded(mono(13))
    assert story.excluded is None
    story.tell(PulseLock(locked=True), 13.0)
    assert story.judge.pulses_excluded(mono(13)) is None
    story.tell(PulseLock(locked=False), 13.0)
    story.run(13, 25)
    assert story.judge.pulses_excluded(mono(25)) is None, "said each second, or not so any more"


def test_a_receiver_that_counts_other_leap_seconds_than_the_table_is_refused() -> None:
    story = Story()
    story.run(0, 10)
    story.tell(LeapReport(tai_utc=36), 10.0)
    assert story.excluded is not None
    assert story.excluded.startswith("counts TAI - UTC as 36 s where the leap table has 37 s: its UTC is -1 s off")
    story.tell(LeapReport(tai_utc=37), 11.0)
    assert story.excluded is None


def test_a_leap_second_is_announced_when_it_can_be_one() -> None:
    story = Story()
    story.run(0, 10)
    year_end: Instant[Utc] = Instant(1_798_761_600 * UNITS_PER_S)  # 2027-01-01, 43 days ahead
    story.tell(LeapReport(tai_utc=37, leap=Leap.INSERT, at=year_end), 10.0)
    assert Leap.NONE is story.judge.leap_report().leap
    story.tell(LeapReport(tai_utc=37, leap=Leap.INSERT, at=Instant(year_end.scaled_ns - 3600 * UNITS_PER_S)), 10.1)
    assert ["gps: announces a leap second that is not at the end of a month: not believed"] == [
        note.text for _, note in story.notes
    ]
    november_end: Instant[Utc] = Instant(1_796_083_200 * UNITS_PER_S)
    story.tell(LeapReport(tai_utc=37, leap=Leap.INSERT, at=november_end), 10.2)
    story.tell(LeapReport(tai_utc=37), 10.3)
    assert Leap.INSERT is story.judge.leap()
    story.run(11, 13)
    quality = story.measured[-1][1].quality
    assert quality is not None
    assert Leap.INSERT is quality.leap


@pytest.mark.parametrize(
    ("now", "at", "expected"),
    [
        ((2027, 1, 30), (2027, 3, 1), Leap.NONE),
        ((2027, 1, 31), (2027, 2, 1), Leap.INSERT),
        ((2027, 2, 1), (2027, 3, 1), Leap.INSERT),
        ((2027, 6, 30), (2027, 7, 31), Leap.NONE),
        ((2027, 6, 1), (2027, 7, 1), Leap.INSERT),
        ((2027, 5, 31), (2027, 7, 1), Leap.NONE),
        ((2026, 12, 1), (2027, 1, 1), Leap.INSERT),
    ],
)
@pytest.mark.parametrize("as_told_s", [-1, 0])
def test_a_leap_second_is_of_this_month_by_the_calendar(
    now: tuple[int, int, int], at: tuple[int, int, int], expected: Leap, as_told_s: int
) -> None:
    """From 30 January to the end of February there are 29 days."""
    noon = datetime(*now, 12, tzinfo=UTC).timestamp()
    midnight = int(datetime(*at, tzinfo=UTC).timestamp()) + as_told_s
    watch = LeapWatch(leap_table())
    told: Instant[Utc] = Instant(int(noon) * UNITS_PER_S)
    watch.on_report(LeapReport(leap=Leap.INSERT, at=Instant(midnight * UNITS_PER_S)), told)
    assert expected is watch.leap(told)


def test_the_kind_that_opens_the_burst_is_used_and_changes_only_for_good() -> None:
    story = Story()
    story.kinds = ("GGA", "RMC", "ZDA")
    story.run(0, 20)
    assert "GGA" == story.judge.view(mono(20)).message
    story.kinds = ("RMC", "ZDA", "GGA")
    story.run(20, 23)
    assert "GGA" == story.judge.view(mono(23)).message
    story.run(23, 40)
    assert "RMC" == story.judge.view(mono(40)).message
    assert ["gnss-burst"] == story.names()


def test_only_wanted_kinds_are_listened_to() -> None:
    story = Story(kinds=frozenset({"GGA"}))
    story.run(0, 20)
    assert "GGA" == story.judge.view(mono(20)).message
    assert len(story.measured) >= 17


def test_toff_is_preferred_to_tpv_while_it_comes() -> None:
    story = Story()
    story.kinds = ("TPV",)
    story.run(0, 10)
    assert "TPV" == story.judge.view(mono(10)).message
    story.kinds = ("TPV", "TOFF")
    story.run(10, 30)
    assert "TOFF" == story.judge.view(mono(30)).message
    story.kinds = ("TPV",)
    story.run(30, 50)
    assert "TPV" == story.judge.view(mono(50)).message


def test_of_several_fixes_in_a_second_one_is_used() -> None:
    story = Story()
    for tenth in range(200):
        true = tenth / 5
        said = TimeMark(utc=utc(true), stamp=story.local.stamp(true + 0.12), kind="NAV-PVT")
        story.tell(said, true + 0.12)
    assert 37 <= len(story.measured) <= 40
    assert max(abs(error) for error in story.errors()) < 0.05


def test_one_of_two_devices_on_a_connection_is_listened_to_until_it_falls_silent() -> None:
    story = Story()
    for n in range(40):
        if n < 20:
            story.tell(mark(story.local, n, device="/dev/a", kind="TPV"), n + 0.12)
        story.tell(mark(story.local, n, n + 5, device="/dev/b", kind="TPV", latency_s=0.2), n + 0.2)
    assert max(abs(error) for at, error in zip(story.measured, story.errors(), strict=True) if at[0] < 25) < 0.2
    assert "/dev/b" == story.judge.view(mono(40)).device
    fixed = Story(device="/dev/b")
    fixed.tell(mark(fixed.local, 0, device="/dev/a"), 0.1)
    assert {} == fixed.judge.view(mono(1)).skipped
    assert fixed.judge.view(mono(1)).message is None


def test_a_device_that_does_not_vouch_for_its_time_does_not_hold_back_one_that_does() -> None:
    story = Story()
    for n in range(20):
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV", trusted=False), n + 0.12)
        story.tell(mark(story.local, n, device="/dev/b", kind="TPV", latency_s=0.2), n + 0.2)
    assert "/dev/b" == story.judge.view(mono(20)).device
    assert story.excluded is None
    assert len(story.measured) >= 15
    assert ["gnss-device"] == story.names()


def test_a_device_gives_way_some_seconds_after_it_ceased_to_vouch_and_does_not_come_back_at_once() -> None:
    story = Story()
    for n in range(60):
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV", trusted=not 10 <= n < 30), n + 0.12)
        story.tell(mark(story.local, n, device="/dev/b", kind="TPV", latency_s=0.2), n + 0.2)
    changes = [at for at, note in story.notes if note.name == "gnss-device"]
    assert [pytest.approx(19.5, abs=1)] == changes
    assert "/dev/b" == story.judge.view(mono(60)).device


def test_a_device_that_is_gone_gives_way_at_once() -> None:
    story = Story()
    for n in range(10):
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV"), n + 0.12)
    story.tell(DeviceReport(device="/dev/a", present=False), 10.0)
    story.tell(mark(story.local, 10, device="/dev/b", kind="TPV"), 10.12)
    assert "/dev/b" == story.judge.view(mono(10.2)).device


def test_what_was_learnt_of_one_device_is_not_believed_of_the_next() -> None:
    story = Story()
    story.truth = Truth(0.0, 1e-4, epoch=0)
    for n in range(40):
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV", latency_s=0.4), n + 0.4)
    story.tell(Sawtooth(device="/dev/a", second=utc(80), correction=Duration.from_ns(9)), 40.0)
    story.tell(FixReport(device="/dev/a", spoofing="multiple", used=9, antenna="short"), 40.0)
    story.tell(LeapReport(device="/dev/a", tai_utc=36), 40.0)
    before = story.judge.view(mono(40)).latency
    assert before is not None
    assert before.delay_s == pytest.approx(0.4, abs=0.05)
    assert "the receiver sees several signs of forged signals" == story.excluded
    for n in range(41, 60):
        story.tell(mark(story.local, n, device="/dev/b", kind="TPV", latency_s=0.1), n + 0.1)
    view = story.judge.view(mono(60))
    assert ("/dev/b", None, None, None, None) == (
        view.device,
        view.trouble,
        view.sky.used,
        view.sky.antenna,
        view.tai_utc,
    )
    assert view.latency is not None
    assert view.latency.delay_s == pytest.approx(0.1, abs=0.05)
    assert Duration(0) == story.judge.sawtooth.take(second(80), mono(60))


def _of_two(device: str = "/dev/good", latency_s: float = 0.45) -> dict[str, object]:
    """What is remembered of one of two devices behind gpsd."""
    story = Story()
    story.truth = Truth(0.0, 1e-4, epoch=0)
    for n in range(40):
        story.tell(mark(story.local, n, device=device, kind="TPV", latency_s=latency_s), n + latency_s)
    return story.judge.memory()


def _claims_hold(story: Story) -> bool:
    """Whether the truth lies within what each measurement claimed."""
    return all(
        m.quality is not None and abs(error) <= m.quality.root_dispersion.s()
        for (_, m), error in zip(story.measured, story.errors(), strict=True)
    )


def test_the_latency_of_one_device_is_not_taken_for_that_of_another_that_speaks_first_after_a_restart() -> None:
    story = Story()
    story.judge.restore(_of_two())
    for n in range(10):
        story.tell(mark(story.local, n, device="/dev/other", kind="TPV", latency_s=0.01), n + 0.01)
    assert len(story.measured) >= 5
    assert _claims_hold(story)
    latency = story.judge.view(mono(10)).latency
    assert latency is not None
    assert not latency.calibrated


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_device_without_a_fix_that_speaks_first_does_not_cost_the_good_one_its_calibration(restarts: int) -> None:
    memory = _of_two()
    for _ in range(restarts):
        between = Story()
        between.judge.restore(memory)
        between.tell(mark(between.local, 0, device="/dev/blind", kind="TPV", trusted=False), 0.12)
        memory = between.judge.memory()
    story = Story()
    story.judge.restore(memory)
    for n in range(20):
        story.tell(mark(story.local, n, device="/dev/blind", kind="TPV", trusted=False), n + 0.12)
        story.tell(mark(story.local, n, device="/dev/good", kind="TPV", latency_s=0.45), n + 0.45)
    assert "/dev/good" == story.judge.view(mono(20)).device
    assert len(story.measured) >= 15
    assert max(abs(error) for error in story.errors()) < 0.01
    assert _claims_hold(story)


def test_a_device_that_is_taken_again_is_known_again() -> None:
    story = Story()
    story.judge.restore(_of_two())
    for n in range(60):
        device, latency_s = ("/dev/other", 0.01) if 20 <= n < 40 else ("/dev/good", 0.45)
        story.tell(mark(story.local, n, device=device, kind="TPV", latency_s=latency_s), n + latency_s)
    view = story.judge.view(mono(60))
    assert "/dev/good" == view.device
    assert view.latency is not None
    assert view.latency.delay_s == pytest.approx(0.45, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "device", "used"),
    [
        ({}, "/dev/good", False),
        ({}, "", False),
        ({"device": "/dev/good"}, "/dev/good", True),
        ({"single": True}, "", True),
    ],
)
def test_a_memory_without_a_name_is_used_only_where_there_can_be_one_device(
    settings: dict[str, object], device: str, used: bool
) -> None:
    memory = _of_two()
    memory.pop("device", None)
    story = Story(**settings)
    story.judge.restore(memory)
    for n in range(5):
        story.tell(mark(story.local, n, device=device, kind="TPV"), n + 0.12)
    latency = story.judge.view(mono(5)).latency
    assert latency is not None
    assert used == latency.calibrated


def test_a_named_memory_is_not_used_for_another_configured_device() -> None:
    story = Story(device="/dev/other")
    story.judge.restore(_of_two())
    for n in range(5):
        story.tell(mark(story.local, n, device="/dev/other", kind="TPV"), n + 0.12)
    latency = story.judge.view(mono(5)).latency
    assert latency is not None
    assert not latency.calibrated


def test_the_first_words_of_the_first_device_are_kept() -> None:
    """gpsd tells the fix before the time in one TPV: to forget it would end the trouble for a moment."""
    story = Story()
    for n in range(4):
        story.tell(FixReport(device="/dev/a", mode=FixMode.NONE, used=3), n + 0.1)
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV", trusted=False), n + 0.1)
    assert ["gnss-no-fix"] == story.names()


def test_the_descriptions_of_devices_that_come_and_go_do_not_pile_up() -> None:
    listened = Listened("")
    listened.heard(DeviceReport(device="/dev/a", present=True, description="u-blox"), mono(0))
    listened.heard(mark(Local(), 0, device="/dev/a"), mono(0))
    for n in range(1000):
        listened.heard(DeviceReport(device=f"/dev/pts/{n}", present=True, description="SiRF"), mono(1))
    assert "u-blox" == listened.description
    assert len(listened._descriptions) <= 33


def test_a_step_of_our_own_clock_is_no_jump_of_the_receiver() -> None:
    story = Story(local=Local(offset_s=2.0))
    story.run(0, 30)
    story.local = Local(epoch=1)
    story.run(30, 60)
    assert [] == story.names()
    assert len(story.measured) >= 57
    assert {0, 1} == {m.epoch for _, m in story.measured}


def test_coarse_time_for_the_pulses_is_fresh_and_of_the_same_epoch() -> None:
    story = Story(local=Local(offset_s=1.5))
    assert story.judge.coarse(0, mono(0)) is None
    story.run(0, 10)
    coarse = story.judge.coarse(0, mono(10))
    assert coarse is not None
    assert abs(coarse.offset_s - 1.5) <= coarse.bound_s < 0.4
    assert "gps" == coarse.by
    assert story.judge.coarse(1, mono(10)) is None
    assert story.judge.coarse(0, mono(15)) is None


@pytest.mark.parametrize("latency_s", [-0.1, 0.05, 0.3, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_pulses_are_numbered_by_uncalibrated_messages_and_calibrate_them(seed: int, latency_s: float) -> None:
    story = Story(seed=seed, local=Local(offset_s=-4.3, frequency=1e-4))
    story.latency_s, story.spread_s = latency_s, 0.02
    numberer = Numberer(NumbererSettings(source=SourceId("pps0"), name="pps0"))
    for n in range(120):
        stamp = story.local.stamp(n, story.rng.gauss(0, 1e-7))
        labelled = numberer.pulse(stamp, n, story.judge.coarse(0, mono(n)))
        if isinstance(labelled, Labelled):
            assert second(n) == labelled.second
            story.truth = Truth(labelled.offset.s(), 1e-4, epoch=0)
        story.second(n)
    assert numberer.figures().accepted - numberer.figures().unnumbered >= 110
    latency = story.judge.view(mono(120)).latency
    assert latency is not None
    assert latency.calibrated
    assert latency.delay_s == pytest.approx(latency_s, abs=0.02)
    assert latency.bound_s < 0.15


def _pulse_story(**local: float) -> Story:
    clock = Local(**local)  # type: ignore[arg-type]  # only floats are given

    def place(kernel_ns: int) -> Stamp | None:
        at: Instant[Tai] = Instant.from_ns(kernel_ns)
        return Stamp(SYSTEM, clock.epoch, at)

    def unsteered(_: Instant[Tai]) -> Duration:
        return Duration(0)

    link = PulseLink(source=SourceId("gps-pps"), name="gps-pps", link=LinkId("gps-pps"), place=place, steered=unsteered)
    return Story(local=clock, pulses=link)


def _pulse(story: Story, n: int, said: int | None = None, quantization_s: float = 0.0) -> PulseMark:
    kernel_ns = story.local.stamp(n).at.ns()
    return PulseMark(
        utc=utc(n if said is None else said), kernel_ns=kernel_ns, noise_s=1e-6, quantization_s=quantization_s
    )


def test_gpsds_pulses_are_a_source_of_their_own() -> None:
    story = _pulse_story(offset_s=0.5)
    for n in range(60):
        story.tell(_pulse(story, n, quantization_s=5e-9), n + 0.01)
        story.second(n)
    pulses = [m for _, m in story.measured if m.link == "gps-pps"]
    assert 58 == len(pulses)
    assert all(m.offset.ns() == 500_000_000 - 5 for m in pulses)
    status = story.statuses[SourceId("gps-pps")]
    assert (0xFF, None, b"PPS\0") == (status.reach, status.excluded, status.reference_id)
    figures = story.judge.view(mono(60)).pulses
    assert figures is not None
    assert "gpsd" == figures.numbered_by
    story.trusted, story.mode = False, FixMode.NONE
    for n in range(60, 70):
        story.tell(_pulse(story, n), n + 0.01)
        story.second(n)
    assert "the receiver has no fix" == story.statuses[SourceId("gps-pps")].excluded
    assert 61 >= len([m for _, m in story.measured if m.link == "gps-pps"])


def test_pulses_that_gpsd_numbers_wrongly_are_numbered_by_the_others() -> None:
    story = _pulse_story()
    story.truth = Truth(0.0, 1e-3, epoch=0, independent=True)
    for n in range(20):
        story.tell(_pulse(story, n, said=n - 1), n + 0.01)
    assert {0} == {m.offset.ns() for _, m in story.measured}
    assert 18 == len(story.measured)


def test_gpsds_pulses_that_stop_are_noticed() -> None:
    story = _pulse_story()
    for n in range(40):
        if n < 20:
            story.tell(_pulse(story, n), n + 0.01)
        story.second(n)
    assert 0 == story.statuses[SourceId("gps-pps")].reach
    assert 0xFF == story.statuses[GPS].reach


def test_the_pulses_of_another_device_are_numbered_anew() -> None:
    """gpsd numbered those of the first a second wrong: counted on, the first ones of the second would be so, too."""
    story = _pulse_story()
    for n in range(30):
        story.tell(replace(_pulse(story, n, said=n - 1), device="/dev/a"), n + 0.01)
        story.tell(mark(story.local, n, device="/dev/a", kind="TPV"), n + 0.12)
    story.tell(DeviceReport(device="/dev/a", present=False), 30.0)
    for n in range(30, 50):
        story.tell(mark(story.local, n, device="/dev/b", kind="TPV"), n + 0.12)
        story.tell(replace(_pulse(story, n), device="/dev/b"), n + 0.2)
    pulses = [(at > 30, m.offset.s()) for at, m in story.measured if m.link == "gps-pps"]
    assert [(False, 1.0)] * 28 + [(True, 0.0)] * 18 == pulses


def test_sawtooth_goes_to_the_pulse_that_it_is_about() -> None:
    judge = ReceiverJudge(receiver_settings(), leap_table(), mono(0))
    judge.on_event(Sawtooth(second=utc(5), correction=Duration.from_ns(7)), mono(4.1))
    judge.on_event(Sawtooth(second=utc(6), correction=Duration.from_ns(-9)), mono(5.1))
    assert Duration.from_ns(7) == judge.sawtooth.take(second(5), mono(5.2))
    assert Duration(0) == judge.sawtooth.take(second(5), mono(5.2))
    assert Duration.from_ns(-9) == judge.sawtooth.take(second(6), mono(6.0))
    judge.on_event(Sawtooth(correction=Duration.from_ns(3)), mono(6.5))
    assert Duration.from_ns(3) == judge.sawtooth.take(second(7), mono(7.0))
    assert Duration(0) == judge.sawtooth.take(second(8), mono(8.0))
    judge.on_event(Sawtooth(correction=Duration.from_ns(3)), mono(8.5))
    assert Duration(0) == judge.sawtooth.take(second(11), mono(11.0))
    judge.on_event(Sawtooth(second=utc(12), correction=Duration.from_ns(2_000)), mono(11.5))
    assert Duration(0) == judge.sawtooth.take(second(12), mono(12.0))
    assert (3, 1) == (judge.sawtooth.applied, judge.sawtooth.refused)


def test_orders_to_the_line_say_nothing_of_the_receiver() -> None:
    story = Story()
    for event in (Write(b"x"), SetBaud(9600)):
        story.tell(event, 1.0)
    assert [] == story.notes


def test_another_leap_table_changes_how_times_are_read() -> None:
    story = Story()
    story.run(0, 10)
    table = leap_table()
    longer = replace(table, steps=(*table.steps, (1_782_864_000, 38)))  # as if 2026-07-01 had brought one
    story.judge.set_table(longer)
    story.judge.on_event(LeapReport(tai_utc=38), mono(10))
    assert story.judge.view(mono(10)).trouble is None
