"""The doctor on the system clock: rivals, rights and counters, in made-up trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_support import by_id, case, link, machine, process, write

from timesync.daemon.doctor import steering
from timesync.daemon.doctor.check import Cause, Finding, State
from timesync.daemon.doctor.machine import this_machine
from timesync_drivers.access import User

STEERED = "sources: [{ntp: 192.0.2.1}]\n"
OBSERVED = "clocks: {system: {discipline: false}}\nsources: [{ntp: 192.0.2.1}]\n"
PULSED = "sources: [{pps: /dev/pps0}, {ntp: 192.0.2.1}]\n"
SOURCE = "sys/devices/system/clocksource/clocksource0"


def _rivals(root: Path, text: str) -> dict[str, Finding]:
    return by_id(steering.rivals(case(machine(root), text)))


def test_time_daemons_that_run_are_named_with_their_units(tmp_path: Path) -> None:
    process(tmp_path, 31, "chronyd")
    process(tmp_path, 32, "systemd-timesyn")
    machine(tmp_path)
    found = _rivals(tmp_path, STEERED)["TS-CLK-001"]
    assert State.FAIL is found.state
    assert "chronyd (process 31), systemd-timesyncd (process 32)" == found.evidence
    assert "sudo systemctl disable --now chrony ; sudo systemctl disable --now systemd-timesyncd" == found.remedy
    assert State.OK is _rivals(tmp_path, OBSERVED)["TS-CLK-001"].state


def test_programs_that_steer_a_hardware_clock_only_are_no_rivals(tmp_path: Path) -> None:
    process(tmp_path, 41, "ptp4l", "ptp4l", "-i", "eth0", opened="/dev/ptp0")
    process(tmp_path, 42, "phc2sys", "phc2sys", "-s", "CLOCK_REALTIME", "-c", "eth0")
    machine(tmp_path)
    assert State.OK is _rivals(tmp_path, STEERED)["TS-CLK-001"].state
    process(tmp_path, 43, "ptp4l", "ptp4l", "-S", "-i", "eth0")
    process(tmp_path, 44, "phc2sys", "phc2sys", "-s", "eth0", "-c", "CLOCK_REALTIME")
    found = _rivals(tmp_path, STEERED)["TS-CLK-001"]
    assert "phc2sys (process 44), ptp4l (process 43)" == found.evidence


def _unseen(root: Path, pid: int, *arguments: str) -> None:
    """A program whose open files are not shown to us."""
    process(root, pid, arguments[0], *arguments)
    (root / f"proc/{pid}/fd").rmdir()


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        (("ptp4l", "-i", "eth0"), State.OK),  # hardware time stamps, its default: it steers the card
        (("ptp4l", "-Si", "eth0"), State.FAIL),
        (("ptp4l", "-f", "/etc/linuxptp/soft.conf"), State.FAIL),
        (("ptp4l", "-f", "/etc/linuxptp/soft.conf", "-H"), State.OK),
        (("ptp4l", "-f", "/etc/linuxptp/soft.conf", "--time_stamping=hardware"), State.OK),
        (("ptp4l", "-f", "/etc/linuxptp/hidden.conf"), State.WARN),
        (("phc2sys", "-a"), State.OK),  # without -r it steers cards only
        (("phc2sys", "-ar"), State.FAIL),
        (("phc2sys", "-s", "eth0"), State.FAIL),
    ],
)
def test_without_root_linuxptp_is_judged_by_its_command_line(
    tmp_path: Path, arguments: tuple[str, ...], state: State
) -> None:
    machine(tmp_path)
    write(tmp_path, "etc/linuxptp/soft.conf", "# x\n[global]\ntime_stamping\tsoftware\n[eth0]\n")
    _unseen(tmp_path, 51, *arguments)
    assert state is _rivals(tmp_path, STEERED)["TS-CLK-001"].state


def test_it_is_said_what_could_not_be_seen_of_linuxptp(tmp_path: Path) -> None:
    machine(tmp_path)
    _unseen(tmp_path, 51, "ptp4l", "-i", "eth0")
    assert "by its command line ptp4l (process 51)" in _rivals(tmp_path, STEERED)["TS-CLK-001"].evidence
    _unseen(tmp_path, 52, "ptp4l", "-f", "/etc/linuxptp/hidden.conf")
    found = _rivals(tmp_path, STEERED)["TS-CLK-001"]
    assert "ptp4l (process 52): neither its open files nor its configuration may be seen" == found.evidence
    assert "sudo timesync doctor -c t.yaml" == found.remedy


def test_time_daemons_of_the_next_start(tmp_path: Path) -> None:
    machine(tmp_path)
    link(tmp_path, "etc/systemd/system/multi-user.target.wants/chrony.service", "/lib/systemd/system/chrony.service")
    found = _rivals(tmp_path, STEERED)["TS-CLK-002"]
    assert (State.WARN, "sudo systemctl disable chrony") == (found.state, found.remedy)
    assert State.OK is _rivals(tmp_path, OBSERVED)["TS-CLK-002"].state


@pytest.mark.parametrize(
    ("effective", "bounding", "state", "remedy"),
    [
        ("0000000002000000", "0000000002000000", State.OK, ""),
        ("0000000000000000", "000001ffffffffff", State.FAIL, "sudo timesync run -c t.yaml"),
        ("0000000000000000", "00000000a80425fb", State.FAIL, "--cap-add SYS_TIME"),  # docker's own set
    ],
)
def test_the_right_to_set_clocks(tmp_path: Path, effective: str, bounding: str, state: State, remedy: str) -> None:
    made = machine(tmp_path)
    write(tmp_path, "proc/self/status", f"Name:\tx\nCapEff:\t{effective}\nCapBnd:\t{bounding}\n")
    found = steering.capability(case(made, STEERED))
    assert state is found.state
    assert remedy in found.remedy
    assert (Cause.PERMISSION if state is State.FAIL else None) == found.cause


@pytest.mark.parametrize(
    ("unit", "state", "said"),
    [
        ("User=timesync\nAmbientCapabilities=CAP_SYS_TIME CAP_NET_BIND_SERVICE\n", State.OK, "user timesync"),
        ("User=timesync\n", State.FAIL, "AmbientCapabilities="),
        ("User=root\nCapabilityBoundingSet=CAP_NET_ADMIN\n", State.FAIL, "CapabilityBoundingSet=CAP_NET_ADMIN"),
    ],
)
def test_the_rights_that_the_unit_gives(tmp_path: Path, unit: str, state: State, said: str) -> None:
    machine(tmp_path)
    write(tmp_path, "lib/systemd/system/timesync.service", f"[Unit]\nUser=x\n[Service]\n{unit}")
    found = steering.capability(case(this_machine(tmp_path), STEERED))
    assert state is found.state
    assert said in found.evidence


def test_a_drop_in_is_read_over_the_unit(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "lib/systemd/system/timesync.service", "[Service]\nUser=root\n")
    write(tmp_path, "etc/systemd/system/timesync.service.d/user.conf", "[Service]\nUser=timesync\n")
    assert User("timesync", 990, 990, (990,)) == this_machine(tmp_path).user


def test_nothing_is_said_of_what_a_user_may_who_does_not_exist(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "lib/systemd/system/timesync.service", "[Service]\nUser=tymesync\n")
    asked = case(this_machine(tmp_path), STEERED)
    assert ("tymesync", True) == (asked.machine.absent, asked.machine.unit)
    found = steering.capability(asked)
    assert (State.SKIP, True) == (found.state, "no user tymesync" in found.evidence)


@pytest.mark.parametrize(
    ("current", "available", "flags", "state", "said"),
    [
        ("tsc", "tsc hpet acpi_pm", "constant_tsc", State.OK, ""),
        ("arch_sys_counter", "arch_sys_counter", "", State.OK, ""),
        ("hpet", "hpet acpi_pm", "constant_tsc", State.WARN, "unstable"),
        ("acpi_pm", "tsc acpi_pm", "constant_tsc", State.WARN, "clocksource=tsc"),
    ],
)
def test_counters(tmp_path: Path, current: str, available: str, flags: str, state: State, said: str) -> None:
    made = machine(tmp_path)
    write(tmp_path, f"{SOURCE}/current_clocksource", f"{current}\n")
    write(tmp_path, f"{SOURCE}/available_clocksource", f"{available} \n")
    write(tmp_path, "proc/cpuinfo", f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    found = by_id(steering.counter(case(made, STEERED)))["TS-CLK-004"]
    assert state is found.state
    assert said in f"{found.meaning} {found.remedy}"


def test_a_virtual_machine_is_a_poor_place_for_pulses_only(tmp_path: Path) -> None:
    made = machine(tmp_path)
    write(tmp_path, "proc/cpuinfo", "flags\t\t: fpu hypervisor\n")
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "QEMU\n")
    client = by_id(steering.counter(case(made, STEERED)))["TS-CLK-005"]
    assert (State.OK, "the processor's flag hypervisor, QEMU") == (client.state, client.evidence)
    assert State.WARN is by_id(steering.counter(case(made, PULSED)))["TS-CLK-005"].state
