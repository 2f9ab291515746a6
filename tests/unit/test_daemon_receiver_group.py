"""A receiver's line: opened, heard, lost and asked for again; what is remembered of it."""

from __future__ import annotations

from functools import partial

import pytest
from group_support import SYSTEM, Stand
from sim_devices_support import GPSD, PPS, TTY, Scene, one_receiver

from timesync.base.ids import SourceId
from timesync.base.measure import Coarse, Leap
from timesync.base.time import Duration
from timesync.config.sources import GpsdSource, NmeaSource
from timesync.daemon.receiver_group import ReceiverGroup
from timesync.sim.hardware import Fault, FromReceiver, Gauss, Hardware, PulseHardware, ReceiverHardware

IDENTITY = SourceId(TTY)
MARKS = SourceId("gpsd://localhost pps")


def _nmea(stand: Stand, remembered: dict[str, object] | None = None, **entry: object) -> ReceiverGroup:
    source = NmeaSource.model_validate({"nmea": TTY, "baud": 9600, **entry})
    return ReceiverGroup(source, SYSTEM, stand.around, remembered or {})


def _gpsd() -> tuple[Stand, ReceiverGroup]:
    hardware = Hardware(
        receivers={GPSD: ReceiverHardware(language="gpsd")},
        pulses={PPS: PulseHardware(noise=Gauss(0.0), origin=FromReceiver(GPSD))},
    )
    stand = Stand(Scene(hardware))
    return stand, ReceiverGroup(GpsdSource.model_validate({"gpsd": GPSD}), SYSTEM, stand.around, {})


def test_messages_become_measurements_once_a_second() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand)
    stand.play(group, 20.9)
    assert [TTY] == stand.added == stand.removed
    assert 15 <= len(stand.heard) <= 20
    # The clock is right; 150 ms are assumed of the latency, which is 120 ± 30 ms.
    assert all(abs(offset) < 0.2 for offset in stand.offsets_s())
    details = group.facts()[IDENTITY].details
    assert ("3D", 9, 12) == (details["fix"], details["satellites_used"], details["satellites_seen"])
    assert 12 == len(details["sky"])
    first = {"gnss": "GPS", "id": 1, "elevation_deg": 80, "azimuth_deg": 0, "cn0_db_hz": 46.0, "used": True}
    assert first == details["sky"][0]
    # Those in use are the nine strongest of 46, 45, 44, and so on.
    assert 42.0 == details["cn0_mean_db_hz"]
    assert {} == stand.around.receivers, "it is no receiver any more once it is stopped"


def test_the_latency_is_learnt_against_the_truth_kept_and_taken_up_again() -> None:
    stand = Stand(Scene(one_receiver()))
    stand.core.known_time = Coarse(0.0, 1e-6, "somebody")
    group = _nmea(stand)
    stand.play(group, 60.0)
    details = group.facts()[IDENTITY].details
    assert details["latency_calibrated"]
    assert 0.09 < details["latency_s"] < 0.15
    kept = group.calibration()
    again = Stand(Scene(one_receiver(), seed=2))
    # As releases before this one wrote it: a serial line carries one device, which needs no name.
    other = _nmea(again, {key: value for key, value in kept.items() if key != "device"})
    again.play(other, 10.9)
    assert other.facts()[IDENTITY].details["latency_calibrated"]
    assert abs(other.facts()[IDENTITY].details["latency_s"] - details["latency_s"]) < 0.02


def test_nonsense_in_the_memory_is_not_believed() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand, {"RMC": "soon", "ZDA": float("nan"), "": [], "TPV": 1e9})
    stand.play(group, 10.9)
    assert not group.facts()[IDENTITY].details["latency_calibrated"]


def test_a_line_that_breaks_is_opened_again_ever_less_often() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand)
    switch = partial(stand.scene.devices.switch, TTY, Fault.UNPLUGGED)
    stand.play(group, 90.9, (10.5, partial(switch, on=True)), (60.5, partial(switch, on=False)))
    names = [note.name for note in stand.notes]
    assert ["gnss-gone", "device-lost", "device-lost", "device-back", "gnss-gone-over"] == names
    assert not [at for at, _, _ in stand.heard if 10.6 < at < 60]
    # 1, 2, 4, 8, 16, 16 s apart: within 16 s of its return it is found.
    assert min(at for at, _, _ in stand.heard if at > 60) < 80
    assert stand.statuses[-1].excluded is None


def test_a_short_break_after_a_good_while_is_short() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand)
    switch = partial(stand.scene.devices.switch, TTY, Fault.UNPLUGGED)
    long = [(10.5, partial(switch, on=True)), (60.5, partial(switch, on=False))]
    short = [(120.5, partial(switch, on=True)), (120.8, partial(switch, on=False))]
    stand.play(group, 140.0, *long, *short)
    assert min(at for at, _, _ in stand.heard if at > 121) < 126


def test_garbage_of_gpsd_does_not_make_us_reconnect_at_every_moment() -> None:
    stand, group = _gpsd()
    opened: list[float] = []
    once = stand.scene.devices.open_feed

    def count(*args: object) -> object:
        opened.append(stand.scene.world.elapsed.s())
        return once(*args)  # type: ignore[arg-type]

    stand.scene.devices.open_feed = count  # type: ignore[method-assign, assignment]
    switch = partial(stand.scene.devices.switch, GPSD, Fault.GARBLED)
    stand.play(group, 220.0, (10.5, partial(switch, on=True)), (200.5, partial(switch, on=False)))
    assert 1 < len(opened) < 25
    assert max(at for at, _, _ in stand.heard) > 215


def test_gpsd_gives_messages_and_pulses_of_their_own() -> None:
    stand, group = _gpsd()
    stand.core.known_time = Coarse(0.0, 1e-6, "somebody")
    stand.play(group, 20.9)
    assert ["gpsd://localhost", MARKS] == stand.added == stand.removed
    pulses = [m for _, source, m in stand.heard if source == MARKS]
    assert len(pulses) > 10
    assert all(abs(m.offset.s()) < 1e-6 for m in pulses)
    assert {"gpsd://localhost", MARKS} == {str(source) for source in group.facts()}
    assert group.facts()[MARKS].details["pulses"] > 10


def test_pulses_that_hang_on_it_ask_for_its_fix() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand)
    said: list[str | None] = []
    switch = partial(stand.scene.devices.switch, TTY, Fault.NO_FIX)
    ask = lambda: said.append(stand.around.receivers[IDENTITY].verdict())  # noqa: E731 - an act of the story
    stand.play(
        group,
        40.0,
        (10.5, ask),
        (11.0, partial(switch, on=True)),
        (20.0, ask),
        (21.0, partial(switch, on=False)),
        (39.0, ask),
    )
    assert [None, "the receiver has no fix", None] == said


@pytest.mark.parametrize("fault", [Fault.UNPLUGGED, Fault.GARBLED, Fault.SILENT])
def test_it_can_be_stopped_in_any_state(fault: Fault) -> None:
    stand = Stand(Scene(one_receiver()))
    stand.play(_nmea(stand), 12.0, (5.0, partial(stand.scene.devices.switch, TTY, fault, on=True)))
    heard = len(stand.heard)
    stand.scene.world.run_for(Duration.from_s(5))
    assert heard == len(stand.heard)


def test_one_that_was_silent_may_take_its_time_to_say_a_date() -> None:
    stand = Stand(Scene(one_receiver()))
    switch = partial(stand.scene.devices.switch, TTY, Fault.SILENT)
    stand.play(_nmea(stand), 60.0, (10.5, partial(switch, on=True)), (40.5, partial(switch, on=False)))
    assert not any("no full date" in line for line in stand.lines())
    assert any("is believed again" in line for line in stand.lines())


def test_one_that_never_says_a_date_is_told_what_to_switch_on() -> None:
    stand = Stand(Scene(one_receiver(sentences=("GGA", "GSA"))))
    stand.play(_nmea(stand), 30.0)
    assert [] == stand.heard
    assert "switch on RMC, ZDA or NAV-PVT" in (stand.statuses[-1].excluded or "")


def test_a_receiver_votes_on_leap_seconds_only_while_it_says_something_and_is_believed() -> None:
    stand = Stand(Scene(Hardware(receivers={TTY: ReceiverHardware(language="ubx")})))
    group = _nmea(stand)
    switch = partial(stand.scene.devices.switch, TTY, Fault.UNPLUGGED)
    votes: list[Leap] = []

    def vote() -> None:
        votes.append(group.leap_report().leap)

    acts = [(0.1, vote), (60.0, vote), (60.5, partial(switch, on=True)), (90.0, vote)]
    stand.play(group, 100.0, *acts)
    assert [Leap.UNKNOWN, Leap.NONE, Leap.UNKNOWN] == votes


def test_a_receiver_whose_language_knows_no_leap_seconds_has_no_voice() -> None:
    stand = Stand(Scene(one_receiver()))
    group = _nmea(stand)
    votes: list[Leap] = []
    stand.play(group, 60.0, (59.0, lambda: votes.append(group.leap_report().leap)))
    assert [Leap.UNKNOWN] == votes
    assert Leap.NONE is group.leap(), "its pulses are no worse for that"
