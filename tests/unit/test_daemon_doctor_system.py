"""The doctor on files, packages and segments."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_support import by_id, case, machine, write

from timesync.base.time import UNITS_PER_S, Instant
from timesync.daemon.doctor import system
from timesync.daemon.doctor.check import Cause, State
from timesync.daemon.doctor.machine import this_machine
from timesync_drivers.access import User

KEYED = (
    "sources: [{nmea: /dev/ttyAMA0}]\nkeys: {1: {algorithm: AES128, secret: 'HEX:000102030405060708090a0b0c0d0e0f'}}\n"
)
SHM = "sources: [{shm: 0}, {shm: 2}]\n"
STRANGER = User("timesync", 990, 990, (990,))
SEGMENTS = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid\n{} \n"


def test_packages_that_the_configuration_needs(tmp_path: Path) -> None:
    config = case(machine(tmp_path), KEYED).config
    assert State.OK is system.packages(config).state
    found = system.packages(config, lambda name: name != "serial")
    assert (State.FAIL, "pip install pyserial") == (found.state, found.remedy)
    without = case(machine(tmp_path), "sources: [{ntp: 192.0.2.1}]\n").config
    assert State.OK is system.packages(without, lambda _: False).state


def test_a_user_of_the_service_who_does_not_exist(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "lib/systemd/system/timesync.service", "[Service]\nUser=tymesync\n")
    asked = case(this_machine(tmp_path), SHM)
    found = by_id(system.user(asked))["TS-CFG-003"]
    assert (State.FAIL, "User=tymesync in timesync.service, and there is no such user") == (found.state, found.evidence)
    assert found.remedy.startswith("sudo useradd --system ")
    assert found.remedy.endswith(" tymesync")
    assert {State.SKIP} == {one.state for one in (*system.directories(asked), *system.exchanges(asked))}
    write(tmp_path, "etc/sysusers.d/tymesync.conf", "u tymesync -\n")
    assert "sudo systemd-sysusers" == by_id(system.user(asked))["TS-CFG-003"].remedy


def test_the_user_of_the_service_is_there_or_made_when_it_starts(tmp_path: Path) -> None:
    machine(tmp_path)
    assert [] == list(system.user(case(this_machine(tmp_path), SHM)))  # no unit
    unit = write(tmp_path, "lib/systemd/system/timesync.service", "[Service]\nUser=timesync\n")
    assert State.OK is by_id(system.user(case(this_machine(tmp_path), SHM)))["TS-CFG-003"].state
    unit.write_text("[Service]\nUser=tymesync\nDynamicUser=yes\n")
    assert State.OK is by_id(system.user(case(this_machine(tmp_path), SHM)))["TS-CFG-003"].state


@pytest.mark.parametrize("asked", ["serve: {ntp: {}}", "observe: {metrics: '127.0.0.1:9123'}"])
def test_a_kernel_that_cannot_keep_files_from_our_processes(tmp_path: Path, asked: str) -> None:
    with_processes = case(machine(tmp_path), f"{SHM}{asked}\n")
    states = [one.state for version in (6, 0) for one in system.landlock(with_processes, lambda: version)]  # noqa: B023 - used at once
    assert [State.OK, State.WARN] == states
    for without in (SHM, f"{SHM}serve: {{ntp: {{workers: 0}}}}\n"):
        assert [] == list(system.landlock(case(machine(tmp_path), without), lambda: 0))


def test_the_list_of_leap_seconds_runs_out(tmp_path: Path) -> None:
    asked = case(machine(tmp_path), SHM)
    assert asked.table.expires is not None
    day = 86_400 * UNITS_PER_S
    early, late = (Instant(asked.table.expires.scaled_ns - days * day) for days in (100, 10))
    assert State.OK is system.leap(asked, early).state
    found = system.leap(asked, late)
    assert State.WARN is found.state
    assert "in 10 days" in found.evidence


def test_directories_are_judged_for_the_user_of_the_service(tmp_path: Path) -> None:
    text = "sources: [{shm: 2}]\nobserve: {state: /var/lib/timesync, control: /run/timesync/control.sock}\n"
    made = machine(tmp_path, STRANGER)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "var/lib").chmod(0o755)
    (tmp_path / "run").chmod(0o777)
    found = by_id(system.directories(case(made, text)))
    assert State.WARN is found["TS-SYS-002"].state
    assert "may not write in /var/lib" in found["TS-SYS-002"].evidence
    assert "sudo install -d -o timesync /var/lib/timesync" == found["TS-SYS-002"].remedy
    assert State.OK is found["TS-SYS-003"].state
    (tmp_path / "var/lib/timesync").write_text("")
    assert "is no directory" in by_id(system.directories(case(made, text)))["TS-SYS-002"].evidence


@pytest.mark.parametrize(
    ("user", "line", "states"),
    [
        (STRANGER, "", (State.FAIL, State.OK)),
        (
            STRANGER,
            "1314148400     3   600                    96     1     1      1     0     0",
            (State.FAIL, State.OK),
        ),
        (
            STRANGER,
            "1314148402     3   666                    96     1     1      1     0     0",
            (State.FAIL, State.OK),
        ),
        (
            STRANGER,
            "1314148402     3   600                    96     1     1      1     0     0",
            (State.FAIL, State.FAIL),
        ),
        (User("root", 0, 0), "1314148400     3   600       96  1  1      1     7     0", (State.OK, State.OK)),
    ],
)
def test_segments(tmp_path: Path, user: User, line: str, states: tuple[State, State]) -> None:
    """Units 0 and 2; 0x4e545030 is 1314148400."""
    made = machine(tmp_path, user)
    write(tmp_path, "proc/sysvipc/shm", SEGMENTS.format(line))
    assert states == tuple(finding.state for finding in system.exchanges(case(made, SHM)))


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("", State.OK),  # we make it
        ("1314148402     3   666      96     1     1      1     0     0", State.OK),
        ("1314148402     3   600      96     1     1      1     0     0", State.FAIL),
        ("1314148402     3   600      96     1     1      1   990   990", State.OK),
    ],
)
def test_the_segment_that_we_write(tmp_path: Path, line: str, state: State) -> None:
    made = machine(tmp_path, STRANGER)
    write(tmp_path, "proc/sysvipc/shm", SEGMENTS.format(line))
    (found,) = system.exchanges(case(made, "sources: [{ntp: 192.0.2.1}]\nserve: {shm: 2}\n"))
    assert ("TS-SYS-004", "serve.shm 2", state) == (found.id, found.subject, found.state)
    assert (state is State.FAIL) == ("ipcrm -M 0x4e545032" in found.remedy)


def test_the_socket_of_a_chronyd_that_is_not_there(tmp_path: Path) -> None:
    asked = case(machine(tmp_path), "sources: [{ntp: 192.0.2.1}]\nserve: {sock: /run/chrony/t.sock}\n")
    found = by_id(system.exchanges(asked))["TS-SYS-004"]
    assert State.WARN is found.state
    assert "refclock SOCK /run/chrony/t.sock" in found.remedy


def test_thermometers(tmp_path: Path) -> None:
    text = "clocks: {system: {thermometer: /sys/class/hwmon/hwmon0/temp1_input}}\nsources: [{ntp: 192.0.2.1}]\n"
    asked = case(machine(tmp_path), text)
    absent = by_id(system.thermometers(asked))["TS-SYS-005"]
    assert (State.FAIL, Cause.MISSING) == (absent.state, absent.cause)
    file = write(tmp_path, "sys/class/hwmon/hwmon0/temp1_input", "48250\n")
    assert "48.2 °C" in by_id(system.thermometers(asked))["TS-SYS-005"].evidence
    file.write_text("N/A\n")
    assert State.FAIL is by_id(system.thermometers(asked))["TS-SYS-005"].state
