"""The doctor on PTP hardware clocks: what their answers mean; the answers themselves are for the lab."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

import pytest
from doctor_support import by_id, case, machine, process, write

from timesync.base.utc import LeapTable
from timesync.daemon.doctor import linuxptp, phc
from timesync.daemon.doctor.check import Cause, State
from timesync.daemon.doctor.phc import Role, Wanted
from timesync_drivers import proc
from timesync_drivers.cross import CrossReading
from timesync_drivers.nic import Stamping
from timesync_drivers.phc import PhcCapabilities, PhcPin, PinFunction

ABLE = PhcCapabilities(
    max_adj_ppb=62_499_999, n_ext_ts=2, n_per_out=2, n_pins=4, pps=True, cross_timestamping=False,
    adjust_phase=False, max_phase_adj_ns=0,
)  # fmt: skip
PINS = [PhcPin(0, "SDP0", PinFunction.NONE, 0), PhcPin(1, "SDP1", PinFunction.EXTTS, 1)]
TAI_UTC = 37
S = 10**9


@pytest.mark.parametrize(
    ("wanted", "state"),
    [
        (Wanted(discipline=True), State.OK),
        (Wanted(discipline=True, stamped=((0, 0),)), State.OK),
        (Wanted(discipline=True, stamped=((1, None),)), State.OK),  # the routing stands
        (Wanted(discipline=True, stamped=((0, None),)), State.FAIL),  # no pin leads there
        (Wanted(discipline=True, stamped=((2, 0),)), State.FAIL),
        (Wanted(discipline=True, stamped=((0, 4),)), State.FAIL),
        (Wanted(discipline=False, output=(1, 3)), State.OK),
        (Wanted(discipline=False, output=(2, 3)), State.FAIL),
    ],
)
def test_channels_and_pins_are_compared_with_what_the_card_has(wanted: Wanted, state: State) -> None:
    assert state is phc.capable("eth0", wanted, ABLE, PINS).state


def test_a_clock_that_takes_no_frequency_cannot_be_disciplined() -> None:
    fixed = PhcCapabilities(0, 0, 0, 0, False, False, False, 0)
    found = phc.capable("eth0", Wanted(discipline=True), fixed, [])
    assert (State.FAIL, Cause.MISSING) == (found.state, found.cause)
    assert State.OK is phc.capable("eth0", Wanted(discipline=False), fixed, []).state


@pytest.mark.parametrize(
    ("ahead_s", "timescale", "role", "state", "said"),
    [
        (37, "tai", "believed", State.OK, "it holds TAI"),
        (0, "utc", "believed", State.OK, "it holds UTC"),
        (0, "tai", "believed", State.FAIL, "`timescale: utc`"),
        (37, "utc", "believed", State.FAIL, "`timescale: tai`"),
        (18, "tai", "believed", State.FAIL, "GPS time"),
        (0, "tai", "steered", State.WARN, "`timescale: utc`"),
        (5, "tai", "steered", State.WARN, "the daemon sets it"),
        (5, "tai", "watched", State.WARN, "keeps it right"),
        (5, "tai", "believed", State.FAIL, "One of the two clocks is wrong"),
    ],
)
def test_the_difference_from_utc_in_words(ahead_s: int, timescale: str, role: Role, state: State, said: str) -> None:
    now_ns = 1_795_247_000 * S
    ahead_ns = ahead_s * S + 1_234
    found = phc.holds("eth0", ahead_ns, now_ns + ahead_ns, TAI_UTC, timescale, role)
    assert state is found.state
    assert said in f"{found.evidence} {found.meaning} {found.remedy}"
    assert f"{ahead_s}.000001 s ahead of the system clock" in found.evidence


@pytest.mark.parametrize(("at", "tai_utc"), [("2026-11-21", 37), ("2027-07-02", 38)])
def test_a_leap_second_that_is_only_announced_does_not_count_yet(tmp_path: Path, at: str, tai_utc: int) -> None:
    """Its step, on 2027-07-01, is the last of the table."""
    asked = case(machine(tmp_path), "clocks: {nic: {phc: eth0}}\n")
    first_of_july_s = 1_814_400_000
    announced = dataclasses.replace(asked, table=LeapTable((*asked.table.steps, (first_of_july_s, 38))))
    now_ns = int(datetime.fromisoformat(f"{at}T00:00:00+00:00").timestamp()) * S
    reading = CrossReading(now_ns + tai_utc * S, now_ns, 500, "extended")
    found = phc.compared(announced, "nic", "nic", asked.config.clocks["nic"], reading)
    assert (State.OK, True) == (found.state, "it holds TAI" in found.evidence)


def test_without_root_who_steers_a_card_is_told_by_command_lines(tmp_path: Path) -> None:
    machine(tmp_path)
    process(tmp_path, 61, "ptp4l", "ptp4l", "-i", "eth0", "-m")
    process(tmp_path, 62, "ptp4l", "ptp4l", "-i", "eth1", "-m")
    told = [linuxptp.names(machine(tmp_path), one, "eth0", "/dev/ptp0") for one in _processes(tmp_path)]
    assert [True, False] == told
    write(tmp_path, "etc/gm.conf", "[global]\nslaveOnly 1\n[eth0]\n")
    process(tmp_path, 63, "ts2phc", "ts2phc", "-f", "/etc/gm.conf")
    process(tmp_path, 64, "ts2phc", "ts2phc", "-c", "eth0", opened="/dev/ptp7")  # seen: it has another card
    told = [linuxptp.names(machine(tmp_path), one, "eth0", "/dev/ptp0") for one in _processes(tmp_path)]
    assert [True, False, True, False] == told


def _processes(root: Path) -> list[proc.Process]:
    return [one for one in proc.processes(root / "proc") if one.pid > 60]


def test_a_clock_that_was_never_set() -> None:
    found = phc.holds("eth0", -1_795_246_000 * S, 1_000 * S, TAI_UTC, "tai", "steered")
    assert "Nobody has set it" in found.meaning


@pytest.mark.parametrize(
    ("able", "needed", "state"),
    [
        (Stamping(0x5F, 0, 0x3, 0x2), True, State.OK),  # every packet, as the Intel i210
        (Stamping(0x5F, 0, 0x3, 0x1001), True, State.FAIL),  # PTP only
        (Stamping(0x5F, 0, 0x3, 0x1001), False, State.OK),
        (Stamping(0x1A, None, 0, 0), True, State.FAIL),  # software only
    ],
)
def test_cards_that_stamp_packets_of_ptp_only(able: Stamping, needed: bool, state: State) -> None:
    assert state is phc.stamps("eth0", able, needed=needed).state


@pytest.mark.parametrize(
    ("filters", "state"),
    [(0x1001, State.OK), (0x2, State.OK), (0x201, State.FAIL)],  # of PTP, every packet, of PTP over Ethernet
)
def test_servers_that_are_all_asked_over_ptp_need_no_more_of_a_card(filters: int, state: State) -> None:
    able = Stamping(0x5F, 0, 0x3, filters)
    assert state is phc.stamps("eth0", able, needed=True, over_ptp=True).state


def test_clocks_that_are_there_are_listed_beside_the_one_that_is_not(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/ptp/ptp3/clock_name", "i226\n")
    write(tmp_path, "sys/class/net/enp1s0/device/ptp/ptp3/clock_name", "i226\n")
    asked = case(machine(tmp_path), "clocks: {nic: {phc: nosuch0}}\n")
    found = by_id(phc.examine(asked, "nic", asked.config.clocks["nic"]))["TS-PHC-001"]
    assert (State.FAIL, Cause.MISSING) == (found.state, found.cause)
    assert "/dev/ptp3 (i226)" in found.evidence
    assert "enp1s0 has ptp3" in found.evidence


def test_loopback_has_no_hardware_clock(tmp_path: Path) -> None:
    asked = case(machine(tmp_path), "clocks: {nic: {phc: lo}}\n")
    found = by_id(phc.examine(asked, "nic", asked.config.clocks["nic"]))["TS-PHC-001"]
    assert "EOPNOTSUPP" in found.evidence
    assert "ethtool -T lo" in found.remedy
