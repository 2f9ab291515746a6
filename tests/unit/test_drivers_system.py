from __future__ import annotations

from pathlib import Path

import pytest

from timesync_drivers.system import TimeDaemon, find_time_daemons, suspended_ns


def _process(proc: Path, pid: int, comm: str, *arguments: str) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "comm").write_text(comm + "\n")
    (directory / "cmdline").write_bytes("\0".join([*arguments, ""]).encode())


@pytest.mark.parametrize(
    ("comm", "arguments", "name"),
    [
        ("chronyd", ["/usr/sbin/chronyd", "-F", "1"], "chronyd"),
        ("systemd-timesyn", ["/usr/lib/systemd/systemd-timesyncd"], "systemd-timesyncd"),
        ("ntpd", ["/usr/sbin/ntpd", "-u", "ntp"], "ntpd"),
        ("ntpd", ["ntpd: ntp engine"], "openntpd"),
        ("ntp-daemon", ["/usr/bin/ntp-daemon"], "ntp-daemon"),
        ("phc2sys", ["phc2sys", "-a", "-r"], "phc2sys"),
        ("ptp4l", ["ptp4l", "-i", "eth0"], "ptp4l"),
    ],
)
def test_programs_that_steer_the_clock_are_named(tmp_path: Path, comm: str, arguments: list[str], name: str) -> None:
    _process(tmp_path, 42, comm, *arguments)
    assert find_time_daemons(tmp_path, own_pid=1) == [TimeDaemon(name, 42)]


def test_others_are_left_out(tmp_path: Path) -> None:
    _process(tmp_path, 10, "bash", "bash")
    _process(tmp_path, 11, "chronyd", "chronyd", "-x")  # measures only
    _process(tmp_path, 12, "ntpd", "ntpd")  # ourselves
    (tmp_path / "13").mkdir()  # ended while we looked
    (tmp_path / "self").mkdir()
    assert find_time_daemons(tmp_path, own_pid=12) == []


def test_a_daemon_reads_well_in_a_sentence() -> None:
    assert str(TimeDaemon("chronyd", 7)) == "chronyd (process 7)"


def test_the_machine_has_not_slept_a_negative_time() -> None:
    assert suspended_ns() > -1_000_000  # the two clocks are read one after the other
