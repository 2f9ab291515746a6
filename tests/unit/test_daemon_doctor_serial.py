"""The doctor on serial lines: their owners in made-up trees, what they carry on pseudo-terminals."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from pathlib import Path

import pytest
from doctor_support import by_id, case, link, machine, plugged_in, process, raspberry, write

from timesync.daemon.doctor import serial
from timesync.daemon.doctor.case import Running
from timesync.daemon.doctor.check import Cause, Finding, State
from timesync.daemon.doctor.listen import Heard
from timesync_drivers.access import User

PORT = "/dev/ttyAMA0"
NMEA = f"sources: [{{nmea: {PORT}}}]\n"
STRANGER = User("timesync", 990, 990, (990,))
FIX = (
    b"GPRMC,HHMMSS.00,A,4807.0380,N,01131.0000,E,0.00,0.0,DDMMYY,,,A\n"
    b"GPGGA,HHMMSS.00,4807.0380,N,01131.0000,E,1,05,0.9,545.4,M,46.9,M,,\n"
)
NO_FIX = b"GPRMC,HHMMSS.00,V,,,,,,,DDMMYY,,,N\nGPGGA,HHMMSS.00,,,,,0,00,99.99,,,,,,\n"


def _line(root: Path, device: str = PORT, *, gpsd: bool = False, user: User | None = None) -> dict[str, Finding]:
    return by_id(serial.line(case(machine(root, user), NMEA), device, gpsd=gpsd))


def test_a_free_line_is_fine(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/ttyAMA0", "")
    found = _line(tmp_path)
    assert {State.OK} == {finding.state for finding in found.values()}
    assert {f"TS-SER-00{n}" for n in (1, 2, 4, 5, 6, 7)} == set(found)


def test_the_console_is_found_under_the_other_name_and_the_firmwares_file_is_mended(tmp_path: Path) -> None:
    machine(tmp_path)
    raspberry(tmp_path, cmdline="console=serial0,115200 console=tty1 root=PARTUUID=1\n")
    write(tmp_path, "proc/cmdline", "coherent_pool=1M console=ttyAMA0,115200 console=tty1\n")
    write(tmp_path, "dev/ttyAMA0", "")
    link(tmp_path, "dev/serial0", "ttyAMA0")
    found = _line(tmp_path, "/dev/serial0")["TS-SER-001"]
    assert State.FAIL is found.state
    assert "console=ttyAMA0,115200" in found.evidence
    assert r"sed -i 's/console=serial0[^ ]* *//' /boot/firmware/cmdline.txt" in found.remedy


def test_a_console_that_is_mended_but_still_in_force_needs_a_reboot_only(tmp_path: Path) -> None:
    machine(tmp_path)
    raspberry(tmp_path, cmdline="console=tty1\n")
    write(tmp_path, "proc/cmdline", "console=ttyAMA0,115200\n")
    write(tmp_path, "dev/ttyAMA0", "")
    assert _line(tmp_path)["TS-SER-001"].remedy.startswith("sudo reboot")


def test_a_console_on_another_line_does_not_matter(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "proc/cmdline", "console=ttyAMA01 console=ttyS0,9600\n")
    write(tmp_path, "dev/ttyAMA0", "")
    assert State.OK is _line(tmp_path)["TS-SER-001"].state


def test_a_getty_that_runs_is_worse_than_one_that_will(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/ttyAMA0", "")
    link(tmp_path, "run/systemd/generator/getty.target.wants/serial-getty@ttyAMA0.service", "/lib/x")
    later = _line(tmp_path)["TS-SER-002"]
    assert (State.WARN, "sudo systemctl mask --now serial-getty@ttyAMA0.service") == (later.state, later.remedy)
    process(tmp_path, 612, "agetty", "/sbin/agetty", "-o", "-p -- \\u", "--keep-baud", "115200", "ttyAMA0", "vt220")
    now = _line(tmp_path)["TS-SER-002"]
    assert State.FAIL is now.state
    assert "agetty (process 612)" in now.evidence


def test_a_masked_getty_is_none(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/ttyAMA0", "")
    link(tmp_path, "etc/systemd/system/getty.target.wants/serial-getty@ttyAMA0.service", "/lib/x")
    link(tmp_path, "etc/systemd/system/serial-getty@ttyAMA0.service", "/dev/null")
    assert State.OK is _line(tmp_path)["TS-SER-002"].state


def test_bluetooth_on_the_good_uart(tmp_path: Path) -> None:
    machine(tmp_path)
    raspberry(tmp_path, "enable_uart=1\n")
    write(tmp_path, "lib/systemd/system/hciuart.service", "[Service]\n")
    for name, target in (("serial0", "ttyS0"), ("serial1", "ttyAMA0")):
        write(tmp_path, f"dev/{target}", "")
        link(tmp_path, f"dev/{name}", target)
    good = _line(tmp_path)["TS-SER-003"]
    assert State.FAIL is good.state
    assert "echo dtoverlay=disable-bt | sudo tee -a /boot/firmware/config.txt" in good.remedy
    assert "sudo systemctl disable hciuart" in good.remedy
    small = _line(tmp_path, "/dev/serial0")["TS-SER-003"]
    assert State.WARN is small.state
    assert "small UART" in small.meaning
    raspberry(tmp_path, "enable_uart=1\ndtoverlay=disable-bt\n")
    assert _line(tmp_path)["TS-SER-003"].remedy.startswith("sudo reboot")


def test_the_debug_connector_of_a_raspberry_pi_5_is_not_the_header(tmp_path: Path) -> None:
    machine(tmp_path)
    raspberry(tmp_path, model="Raspberry Pi 5 Model B Rev 1.0")
    write(tmp_path, "dev/ttyAMA10", "")
    link(tmp_path, "dev/serial0", "ttyAMA10")
    found = _line(tmp_path, "/dev/serial0")["TS-SER-003"]
    assert State.WARN is found.state
    assert "dtparam=uart0=on" in found.remedy


def test_a_port_that_is_not_there_is_replaced_by_one_that_is(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/ttyACM0", "")
    link(tmp_path, "dev/serial/by-id/usb-u-blox_AG-if00", "../../ttyACM0")
    found = _line(tmp_path)["TS-SER-004"]
    assert (State.FAIL, Cause.MISSING) == (found.state, found.cause)
    assert "ENOENT" in found.evidence
    assert "nmea: /dev/serial/by-id/usb-u-blox_AG-if00" in found.remedy


def test_a_raspberry_pi_is_told_to_switch_its_port_on(tmp_path: Path) -> None:
    machine(tmp_path)
    raspberry(tmp_path, "dtparam=audio=on\n")
    assert _line(tmp_path, "/dev/serial0")["TS-SER-004"].remedy.startswith("echo enable_uart=1 | sudo tee -a /boot/")
    raspberry(tmp_path, "enable_uart=1\n")
    assert _line(tmp_path, "/dev/serial0")["TS-SER-004"].remedy.startswith("sudo reboot")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open files as another user")
def test_open_is_tried_as_the_user_of_the_service(tmp_path: Path) -> None:
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        directory.chmod(0o755)
    machine(tmp_path)
    port = write(tmp_path, "dev/ttyAMA0", "")
    os.chown(port, 0, 20)
    port.chmod(0o660)
    outside = _line(tmp_path, user=STRANGER)["TS-SER-005"]
    assert (State.FAIL, Cause.PERMISSION) == (outside.state, outside.cause)
    assert "EACCES" in outside.evidence
    assert "group dialout" in outside.evidence
    assert outside.remedy.startswith("sudo usermod -aG dialout timesync")
    inside = _line(tmp_path, user=User("timesync", 990, 990, (20, 990)))["TS-SER-005"]
    assert State.OK is inside.state
    os.chown(port, 0, 0)
    assert 'GROUP="timesync"' in _line(tmp_path, user=STRANGER)["TS-SER-005"].remedy


def test_who_holds_the_line_is_named_and_ourselves_are_not(tmp_path: Path) -> None:
    machine(tmp_path)
    port = write(tmp_path, "dev/ttyAMA0", "")
    process(tmp_path, 999, "timesync", opened=port)
    assert State.OK is _line(tmp_path)["TS-SER-006"].state
    process(tmp_path, 801, "gpsd", opened=port)
    found = _line(tmp_path)["TS-SER-006"]
    assert State.FAIL is found.state
    assert "gpsd (process 801)" in found.evidence
    assert "gpsd: localhost:2947" in found.remedy
    assert State.OK is _line(tmp_path, gpsd=True)["TS-SER-006"].state
    process(tmp_path, 802, "minicom", opened=port)
    assert "sudo kill 802" == _line(tmp_path, gpsd=True)["TS-SER-006"].remedy


def test_a_gpsd_that_waits_on_its_socket_is_seen(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/ttyAMA0", "")
    write(tmp_path, "etc/default/gpsd", 'START_DAEMON="true"\nDEVICES="/dev/ttyAMA0 /dev/pps0"\n')
    assert State.OK is _line(tmp_path)["TS-SER-007"].state
    link(tmp_path, "etc/systemd/system/sockets.target.wants/gpsd.socket", "/lib/systemd/system/gpsd.socket")
    found = _line(tmp_path)["TS-SER-007"]
    assert (State.WARN, "sudo systemctl disable --now gpsd.socket gpsd.service") == (found.state, found.remedy)


def test_modem_manager_is_told_to_leave_usb_receivers_alone(tmp_path: Path) -> None:
    machine(tmp_path)
    process(tmp_path, 400, "ModemManager")
    for name in ("ttyAMA0", "ttyACM0"):
        write(tmp_path, f"dev/{name}", "")
    assert State.OK is _line(tmp_path)["TS-SER-007"].state
    found = _line(tmp_path, "/dev/ttyACM0")["TS-SER-007"]
    assert State.WARN is found.state
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in found.remedy


def _listen(tmp_path: Path, path: str, baud: str) -> dict[str, Finding]:
    machine(tmp_path)
    (tmp_path / "dev/gps").symlink_to(path)
    asked = case(machine(tmp_path), f"sources: [{{nmea: /dev/gps, baud: {baud}}}]\n")
    number = None if baud == "auto" else int(baud)
    serial.begin(asked, "/dev/gps", number)
    return by_id(serial.messages(asked, "/dev/gps", number))


def test_a_receiver_with_a_fix_is_read_and_the_line_is_left_as_it_was(tmp_path: Path) -> None:
    with plugged_in(9600, FIX) as receiver:
        before = receiver.settings()
        found = _listen(tmp_path, receiver.path, "auto")
        after = receiver.settings()
    assert {State.OK} == {finding.state for finding in found.values()}, found
    assert "RMC at 9600 baud" == found["TS-SER-009"].evidence
    assert "5 satellites" in found["TS-SER-010"].evidence
    assert before == after


def test_another_speed_than_the_configured_one_is_found(tmp_path: Path) -> None:
    with plugged_in(115_200, NO_FIX) as receiver:
        found = _listen(tmp_path, receiver.path, "9600")
    assert State.FAIL is found["TS-SER-009"].state
    assert "valid messages at 115200 baud, not at 9600" == found["TS-SER-009"].evidence
    assert State.WARN is found["TS-SER-010"].state
    assert "TS-SER-012" not in found


def test_messages_near_half_a_second_late_are_said(tmp_path: Path) -> None:
    with plugged_in(115_200, FIX, late_s=0.5) as receiver:
        found = _listen(tmp_path, receiver.path, "115200")
    assert State.WARN is found["TS-SER-012"].state


def test_a_silent_line(tmp_path: Path) -> None:
    with plugged_in(9600, b"") as receiver:
        found = _listen(tmp_path, receiver.path, "auto")
    assert (State.FAIL, Cause.MISSING) == (found["TS-SER-008"].state, found["TS-SER-008"].cause)
    assert "no byte" in found["TS-SER-008"].evidence


def test_a_port_that_somebody_reads_is_not_listened_to(tmp_path: Path) -> None:
    machine(tmp_path)
    port = write(tmp_path, "dev/gps", "")
    process(tmp_path, 77, "gpsd", opened=port)
    asked = case(machine(tmp_path), NMEA)
    serial.begin(asked, "/dev/gps", None)
    found = by_id(serial.messages(asked, "/dev/gps", None))["TS-SER-008"]
    assert State.SKIP is found.state
    assert "gpsd (process 77)" in found.evidence


def test_what_is_no_serial_line_is_said(tmp_path: Path) -> None:
    machine(tmp_path)
    write(tmp_path, "dev/gps", "")
    asked = case(machine(tmp_path), NMEA)
    serial.begin(asked, "/dev/gps", None)
    found = by_id(serial.messages(asked, "/dev/gps", None))["TS-SER-008"]
    assert State.FAIL is found.state
    assert errno.errorcode[errno.ENOTTY] in found.evidence


def test_a_line_that_somebody_keeps_for_himself_is_not_told_as_bad_wiring(tmp_path: Path) -> None:
    """TIOCEXCL: the next open() fails with EBUSY, unless it is root's."""
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        directory.chmod(0o755)
    user = STRANGER if os.geteuid() == 0 else None
    master, slave = os.openpty()
    try:
        os.fchmod(slave, 0o666)
        fcntl.ioctl(slave, termios.TIOCEXCL)
        machine(tmp_path)
        (tmp_path / "dev/gps").symlink_to(os.ttyname(slave))
        found = _line(tmp_path, "/dev/gps", user=user)["TS-SER-006"]
        daemon = Running(4711, {}, ())
        ours = by_id(serial.line(case(machine(tmp_path, user), NMEA, daemon), "/dev/gps", gpsd=False))["TS-SER-006"]
    finally:
        os.close(slave)
        os.close(master)
    assert (State.FAIL, True) == (found.state, "EBUSY" in found.evidence)
    assert "sudo fuser -v /dev/gps" in found.remedy
    assert (State.OK, True) == (ours.state, "the running timesync (process 4711)" in ours.evidence)


def test_what_could_not_be_heard_of_a_busy_line_names_its_holder(tmp_path: Path) -> None:
    machine(tmp_path)
    port = write(tmp_path, "dev/gps", "")
    asked = case(machine(tmp_path), NMEA)
    busy = OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    asked.background.begin("serial", "/dev/gps", lambda: Heard(trouble=busy))
    hidden = by_id(serial.messages(asked, "/dev/gps", None))["TS-SER-008"]
    assert (State.SKIP, True) == (hidden.state, "a process that this user may not see" in hidden.evidence)
    process(tmp_path, 88, "ubxtool", opened=port)
    named = by_id(serial.messages(asked, "/dev/gps", None))["TS-SER-008"]
    assert (State.SKIP, True) == (named.state, "ubxtool (process 88)" in named.evidence)


@pytest.mark.parametrize(
    ("delay_s", "pulse_s", "state"),
    [
        (0.12, None, State.OK),
        (0.45, None, State.WARN),
        (-0.45, None, State.WARN),
        (-0.3, None, State.OK),  # before its second
        (0.7, None, State.WARN),
        (0.95, None, State.WARN),
        (1.1, None, State.WARN),
        (1.5, None, State.WARN),
        (86_400.0, None, State.OK),  # the system clock is wrong: nothing can be said
        (86_400.0, 0.5, State.WARN),
        (0.5, 0.1, State.OK),  # the pulse knows better
        (0.9, 0.9, State.WARN),
        (86_400.0, 0.9, State.WARN),
        (-0.1, 0.9, State.OK),  # before the pulse, as the clock says
    ],
)
def test_latency_is_judged_by_the_pulse_or_by_a_clock_that_is_near(
    delay_s: float, pulse_s: float | None, state: State
) -> None:
    assert state is serial.latency("TS-SER-012", "/dev/gps", "RMC", delay_s, pulse_s).state
