"""The doctor on pulses: the files of a Raspberry Pi in made-up trees, and what rows of edges mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_support import by_id, case, machine, raspberry, write

from timesync.config.sources import PpsSource
from timesync.daemon.doctor import pulses
from timesync.daemon.doctor.check import Cause, Finding, State
from timesync.daemon.doctor.pulses import Counted
from timesync_drivers import abi
from timesync_drivers.pps import PpsEdge, PpsEdges

PULSE = "sources: [{pps: /dev/pps0}, {ntp: 192.0.2.1}]\n"
BOTH = abi.PPS_CAPTUREASSERT | abi.PPS_CAPTURECLEAR
EPOCH_NS = 1_795_247_000 * 10**9
OVERLAY = "dtoverlay=pps-gpio,gpiopin=4\n"


def _board(root: Path) -> dict[str, Finding]:
    return by_id(pulses.board(case(machine(root), PULSE)))


def _device(root: Path, path: str = "/dev/pps0") -> dict[str, Finding]:
    asked = case(machine(root), PULSE)
    pulses.begin(asked, path)
    return by_id(pulses.device(asked, PpsSource(pps=path)))


def test_a_pc_has_no_config_txt_and_is_not_asked_for_it(tmp_path: Path) -> None:
    assert {} == _board(tmp_path)


def test_the_overlay_and_its_pin_are_shown(tmp_path: Path) -> None:
    raspberry(tmp_path, f"dtparam=audio=on\n{OVERLAY}")
    found = _board(tmp_path)["TS-PPS-001"]
    assert (State.OK, "line 2 of /boot/firmware/config.txt: pps-gpio on GPIO 4") == (found.state, found.evidence)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("serial0", State.OK),  # pps-ldisc
        ("ttyAMA0", State.OK),
        ("ptp0", State.OK),  # the PPS of a hardware clock
        ("pps@12.-1", State.FAIL),
        ("", State.FAIL),  # nobody knows
    ],
)
def test_only_pulses_by_a_pin_need_an_overlay(tmp_path: Path, name: str, state: State) -> None:
    raspberry(tmp_path, "dtparam=audio=on\n")
    write(tmp_path, "sys/class/pps/pps0/name", f"{name}\n")
    found = _board(tmp_path)["TS-PPS-001"]
    assert state is found.state
    assert name in found.evidence or state is State.FAIL


def test_a_pin_may_stand_in_a_line_of_its_own(tmp_path: Path) -> None:
    raspberry(tmp_path, "[all]\ndtoverlay=pps-gpio\ndtparam=gpiopin=21\n")
    assert "on GPIO 21" in _board(tmp_path)["TS-PPS-001"].evidence


def test_an_overlay_in_the_file_that_nobody_reads_any_more(tmp_path: Path) -> None:
    raspberry(tmp_path, "dtparam=audio=on\n")
    write(tmp_path, "boot/config.txt", OVERLAY)
    found = _board(tmp_path)["TS-PPS-001"]
    assert State.FAIL is found.state
    assert "in /boot/config.txt, which nobody reads" in found.evidence
    assert "sudo tee -a /boot/firmware/config.txt" in found.remedy


@pytest.mark.parametrize(
    ("text", "state", "seen"),
    [
        (f"#{OVERLAY}", State.FAIL, "commented out"),
        ("dtparam=audio=on\n", State.FAIL, "no line dtoverlay=pps-gpio"),
        (f"[cm4]\n{OVERLAY}", State.FAIL, "below [cm4]"),
        (f"[none]\n{OVERLAY}", State.FAIL, "below [none]"),
        (f"[pi4]\n{OVERLAY}", State.OK, "GPIO 4"),
        (f"[gpio17=1]\n{OVERLAY}", State.WARN, "below [gpio17=1]"),
        (f"[cm4]\nx=1\n[all]\n{OVERLAY}", State.OK, "GPIO 4"),
    ],
)
def test_overlays_that_are_not_in_force(tmp_path: Path, text: str, state: State, seen: str) -> None:
    raspberry(tmp_path, text)
    found = _board(tmp_path)["TS-PPS-001"]
    assert state is found.state
    assert seen in found.evidence


def test_the_old_option_of_the_kernel(tmp_path: Path) -> None:
    raspberry(tmp_path, OVERLAY)
    machine(tmp_path)
    write(tmp_path, "proc/cmdline", "bcm2708.pps_gpio_pin=18 root=/dev/mmcblk0p2\n")
    found = _board(tmp_path)["TS-PPS-002"]
    assert (State.FAIL, "bcm2708.pps_gpio_pin=18") == (found.state, found.evidence)
    assert "/boot/firmware/cmdline.txt" in found.remedy


def test_a_device_that_is_not_there_on_a_raspberry_pi(tmp_path: Path) -> None:
    raspberry(tmp_path, "")
    found = _device(tmp_path)["TS-PPS-003"]
    assert (State.FAIL, Cause.MISSING) == (found.state, found.cause)
    assert found.remedy.startswith("echo dtoverlay=pps-gpio")
    raspberry(tmp_path, OVERLAY)
    assert _device(tmp_path)["TS-PPS-003"].remedy.startswith("sudo reboot")
    write(tmp_path, "sys/module/pps_gpio/refcnt", "1")
    assert "another driver has the pin" in _device(tmp_path)["TS-PPS-003"].remedy


def test_a_device_of_another_number_is_named(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/pps/pps1/name", "serial0\n")
    found = _device(tmp_path)["TS-PPS-003"]
    assert "/dev/pps1 (serial0)" in found.evidence
    assert "write pps: /dev/pps1 if that is the receiver's" == found.remedy


def test_a_file_that_is_no_pps_device(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/pps0", "")
    found = _device(tmp_path)
    assert State.OK is found["TS-PPS-004"].state
    assert (State.FAIL, True) == (found["TS-PPS-005"].state, "ENOTTY" in found["TS-PPS-005"].evidence)


def _looks(*edges: tuple[str, float], mode: int = BOTH, until_s: float = 2.2) -> Counted:
    """What a device gives that is looked at each 50 ms; one assert edge was seen long before."""
    looks = []
    for look in range(round(until_s / 0.05) + 1):
        seen = {
            kind: [at_s for name, at_s in edges if name == kind and at_s <= look * 0.05] for kind in ("assert", "clear")
        }
        made = [
            PpsEdge(
                EPOCH_NS + round(times[-1] * 1e9) if times else EPOCH_NS - 10**12,
                0xFFFF_FFFF + len(times) & 0xFFFF_FFFF,
            )
            for times in seen.values()
        ]
        looks.append(PpsEdges(*made))
    return Counted(BOTH, mode, looks, until_s)


def _judge(counted: Counted, edge: str = "assert", name: str = "pps@12.-1") -> dict[str, Finding]:
    return by_id(pulses.judge("/dev/pps0", edge, counted, name, "look at the wire"))


def test_pulses_that_begin_with_the_configured_edge() -> None:
    """The counter wraps in between."""
    found = _judge(_looks(("assert", 0.3), ("clear", 0.4), ("assert", 1.3), ("clear", 1.4)))
    assert {State.OK} == {finding.state for finding in found.values()}
    assert "2 assert and 2 clear edges in 2.2 s" == found["TS-PPS-006"].evidence
    assert "from assert to clear it takes 100 ms" == found["TS-PPS-008"].evidence


def test_the_end_of_pulses_taken_for_their_beginning() -> None:
    found = _judge(_looks(("clear", 0.3), ("assert", 0.4), ("clear", 1.3), ("assert", 1.4)))
    assert State.WARN is found["TS-PPS-008"].state
    assert "write `edge: clear`" in found["TS-PPS-008"].remedy


def test_no_pulse_and_pulses_of_the_other_edge() -> None:
    silent = _judge(_looks())["TS-PPS-006"]
    assert (State.FAIL, "look at the wire") == (silent.state, silent.remedy)
    other = _judge(_looks(("clear", 0.3), ("clear", 1.3)))["TS-PPS-006"]
    assert (State.FAIL, "write `edge: clear`") == (other.state, other.remedy)


@pytest.mark.parametrize(
    ("times", "state"),
    [
        ((0.1, 1.1, 2.1), State.OK),
        ((0.1, 0.11, 1.1, 1.11, 2.1, 2.11), State.FAIL),  # doubled
        ((0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3), State.FAIL),  # five a second
        ((0.1, 1.1, 1.6), State.FAIL),  # one too many, in the middle
        ((0.1,), State.WARN),
    ],
)
def test_edges_that_are_not_one_a_second(times: tuple[float, ...], state: State) -> None:
    found = _judge(_looks(*(("assert", at_s) for at_s in times)))
    assert state is found["TS-PPS-007"].state


def test_devices_that_cannot_serve() -> None:
    fake = _judge(_looks(("assert", 0.3)), name="ktimer")["TS-PPS-005"]
    assert (State.FAIL, "sudo modprobe -r pps-ktimer") == (fake.state, fake.remedy)
    one = Counted(abi.PPS_CAPTUREASSERT, abi.PPS_CAPTUREASSERT, _looks().looks, 2.2)
    found = _judge(one, "clear")["TS-PPS-005"]
    assert (State.FAIL, "write `edge: assert`") == (found.state, found.remedy)
