"""A serial receiver: who owns its line, who may open it, and what comes over it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timesync.base.time import NS_PER_S, SCALE, Instant, Utc
from timesync.daemon.doctor import words
from timesync.daemon.doctor.case import Case
from timesync.daemon.doctor.check import Cause, Finding, fail, nobody, ok, skip, warn
from timesync.daemon.doctor.listen import Heard, listen
from timesync.daemon.doctor.machine import Machine
from timesync.gnss.latency import LATE_S
from timesync.gnss.rollover import BUILT
from timesync_drivers import access, boot, proc, units

_LISTEN_S = 11.0
_GETTYS = ("agetty", "getty", "login", "mgetty")
_BLUETOOTH = ("hciattach", "btattach")
_BLUETOOTH_OFF = ("disable-bt", "pi3-disable-bt", "miniuart-bt", "pi3-miniuart-bt")
_USB = ("ttyUSB", "ttyACM")
_EARLY_S = 0.4
"""A message so late after a second (``LATE_S``), or so early before it, may be about either of two."""
_SECOND_S = 1.0
_CLOCK_WRONG_S = 2.0


def begin(case: Case, device: str, baud: int | None) -> None:
    """Begin to listen, where nobody else does."""
    if not _listeners(case, device).processes:
        path = str(case.machine.at(device))
        case.background.begin("serial", device, partial(listen, path, baud, case.table, BUILT, _LISTEN_S))


def line(case: Case, device: str, *, gpsd: bool) -> Iterator[Finding]:
    """Who owns the line, up to who has it open; ``gpsd``: it is gpsd that should have it."""
    machine = case.machine
    name = real_path(machine, device).name
    yield _console(case, device, name)
    yield _login(case, device, name)
    yield from _bluetooth(case, device, name)
    found = _there(machine, device)
    yield found
    if found.cause is not None:
        return
    if not gpsd:
        yield permission(case, "TS-SER-005", device)
    yield _holder(case, device, gpsd=gpsd)
    yield from _later(case, device, name, gpsd=gpsd)


def messages(case: Case, device: str, baud: int | None) -> Iterator[Finding]:
    """What comes over the line."""
    heard = case.background.result("serial", device, Heard)
    if heard is None:
        who = ", ".join(map(str, _listeners(case, device).processes)) or "somebody"
        yield skip("TS-SER-008", device, f"{who} reads it, and would lose what we took")
        return
    if heard.trouble is not None:
        code = heard.trouble.errno or 0
        if code == errno.EBUSY:
            yield _kept(case, device)
        elif code not in (errno.ENOENT, errno.EACCES, errno.EPERM):  # those were said already
            yield fail("TS-SER-008", device, f"open: {words.error(code)}", _wires(case, device), cause=Cause.MISSING)
        return
    if heard.silent:
        tried = ", ".join(map(str, heard.octets))
        yield fail("TS-SER-008", device, f"no byte in 2.6 s at {tried} baud", _wires(case, device), cause=Cause.MISSING)
        return
    total = sum(heard.octets.values())
    yield ok("TS-SER-008", device, f"{total} bytes came")
    yield _speed(device, baud, heard)
    if heard.baud is not None:
        yield from judge_time(case, device, heard)


def judge_time(case: Case, device: str, heard: Heard) -> Iterator[Finding]:
    """Fix, date and latency."""
    used = "" if heard.used is None else f" with {words.count(heard.used, 'satellite')}"
    trusted = [mark for mark in heard.marks if mark[3]]
    if heard.fix or (heard.fix is None and trusted):
        yield ok("TS-SER-010", device, f"it has a fix{used}")
    elif heard.fix is None and not heard.marks:
        remedy = "switch RMC or ZDA on (UBX: NAV-PVT), or write `configure: true` for a u-blox receiver"
        meaning = "The receiver sends no message that tells the time."
        yield fail("TS-SER-010", device, "no RMC, ZDA, NAV-PVT or NAV-TIMEUTC came", remedy, meaning)
        return
    else:
        yield warn("TS-SER-010", device, f"it says that it has no fix{used}", words.SKY)
    if not trusted:
        return
    # Of several, the middle one: a busy machine delays some.
    kind, told, arrived, _ = sorted(trusted, key=lambda mark: mark[2] - mark[1])[len(trusted) // 2]
    if heard.rollover:
        evidence = f"it tells a date before {words.date(BUILT)[:10]}, when this program was made"
        yield warn("TS-SER-011", device, evidence, "update the firmware of the receiver, or replace it")
    else:
        yield ok("TS-SER-011", device, f"{kind} tells {words.date(told)}")
    yield latency("TS-SER-012", device, kind, _delay_s(told, arrived), _pulse_delay_s(case, arrived))


def latency(check: str, subject: str, kind: str, delay_s: float, pulse_s: float | None) -> Finding:
    """How late messages come.

    Args:
        check: Which check.
        subject: What is looked at.
        kind: The message.
        delay_s: Arrival on the system clock less the time told.
        pulse_s: Arrival less the newest pulse, 0 to 1 s; None where no pulse was seen.
    """
    meaning = None
    if pulse_s is not None and -_EARLY_S <= delay_s < 0 and pulse_s > _SECOND_S - _EARLY_S:
        # Only the clock can tell a message before its pulse from one that is nearly a second late.
        late_s = pulse_s - _SECOND_S
        evidence = f"{kind} came {words.span(-late_s)} before the pulse, by the system clock"
    elif pulse_s is not None:
        evidence, late_s = f"{kind} came {words.span(pulse_s)} after the pulse", pulse_s
    elif abs(delay_s) > _CLOCK_WRONG_S:
        evidence = f"{kind} differs from the system clock by {words.span(abs(delay_s))}"
        meaning = "The system clock is not right yet, so the delay of messages cannot be told from it."
        return ok(check, subject, evidence, meaning)
    else:
        evidence, late_s = f"{kind} came {words.span(delay_s)} after its second, by the system clock", delay_s
        if abs(late_s) > _SECOND_S:
            meaning = "Either messages come more than a second late, or the system clock is wrong by a second."
    if not -_EARLY_S <= late_s <= LATE_S:
        remedy = "give the line a higher speed, or have the receiver send RMC alone"
        return warn(check, subject, evidence, remedy, meaning)
    return ok(check, subject, evidence)


def permission(case: Case, check: str, device: str, flags: int = access.READ_WRITE) -> Finding:
    """Whether the service may open a device."""
    machine, user = case.machine, case.machine.user
    if machine.absent is not None:
        return nobody(check, device, machine.absent)
    code = case.open_error(device, flags)
    if code in (errno.EACCES, errno.EPERM):
        status = machine.at(device).stat()
        group = access.group_name(machine.root, status.st_gid)
        evidence = f"user {user.name}: {words.error(code)}; the device is {words.mode(status.st_mode)}, group {group}"
        return fail(check, device, evidence, _let_in(machine, device, status, group), cause=Cause.PERMISSION)
    if code not in (0, errno.EBUSY):  # EBUSY: the permission was good, and somebody has it for himself
        return fail(check, device, f"user {user.name}: {words.error(code)}", "plug it in again", cause=Cause.MISSING)
    return ok(check, device, f"open() as user {user.name} succeeds")


def real_path(machine: Machine, device: str) -> Path:
    """Where a device is, links followed; as the machine itself has it."""
    return Path(machine.shown(machine.at(device).resolve()))


def _let_in(machine: Machine, device: str, status: os.stat_result, group: str) -> str:
    if status.st_mode & 0o060 == 0o060 and status.st_gid != 0:
        return f"sudo usermod -aG {group} {machine.user.name} && sudo systemctl restart timesync"
    kernel = real_path(machine, device).name.rstrip("0123456789")
    mine = access.group_name(machine.root, machine.user.gid)
    rule = f'KERNEL=="{kernel}[0-9]*", GROUP="{mine}", MODE="0660"'
    file = "/etc/udev/rules.d/60-timesync.rules"
    return f"echo '{rule}' | sudo tee -a {file} && sudo udevadm control --reload && sudo udevadm trigger"


def _open_name(case: Case, device: str) -> str:
    """How /proc names the device."""
    return str(case.machine.at(device).resolve())


def _listeners(case: Case, device: str) -> proc.Holders:
    """All others that have the line open, the running daemon included."""
    found = proc.holders(case.machine.proc, _open_name(case, device))
    return proc.Holders(tuple(one for one in found.processes if one.pid != case.machine.pid), found.hidden)


def _console(case: Case, device: str, name: str) -> Finding:
    machine = case.machine
    for option in proc.kernel_options(machine.proc):
        if option.startswith("console="):
            console = option.removeprefix("console=").split(",")[0]
            if console in (name, Path(device).name) or real_path(machine, f"/dev/{console}").name == name:
                return fail("TS-SER-001", device, f"{option} in /proc/cmdline", _without_console(machine, console))
    return ok("TS-SER-001", device, "no console= names it in /proc/cmdline")


def _without_console(machine: Machine, console: str) -> str:
    file = boot.boot_file(machine.root, "cmdline.txt")
    if file is None:
        return f"take console={console} out of GRUB_CMDLINE_LINUX in /etc/default/grub; sudo update-grub && sudo reboot"
    text = file.read_text(errors="replace")
    for alias in (console, "serial0"):  # the firmware puts the real name in its place
        if f"console={alias}" in text:
            return rf"sudo sed -i 's/console={alias}[^ ]* *//' {machine.shown(file)} && sudo reboot"
    return "sudo reboot   # cmdline.txt has it no more"


def _login(case: Case, device: str, name: str) -> Finding:
    unit = f"serial-getty@{name}.service"
    link = units.enabled_by(case.machine.root, unit)
    made = link is not None and "generator" in str(link)
    # A generated link cannot be disabled.
    remedy = f"sudo systemctl {'mask' if made else 'disable'} --now {unit}"
    for process in case.processes():
        if process.name in _GETTYS and name in process.arguments:
            return fail("TS-SER-002", device, f"{process} waits for a login on {name}", remedy)
    if link is not None:
        return warn("TS-SER-002", device, f"{case.machine.shown(link)} starts it at boot", remedy)
    return ok("TS-SER-002", device, f"no getty runs on {name}, and none is enabled")


def _bluetooth(case: Case, device: str, name: str) -> Iterator[Finding]:
    machine = case.machine
    for process in case.processes():
        if process.name in _BLUETOOTH and any(
            argument in (name, f"/dev/{name}", device) for argument in process.arguments
        ):
            yield fail("TS-SER-003", device, f"{process} drives Bluetooth over it", _without_bluetooth(machine))
            return
    model = boot.pi_model(machine.root)
    if model is None:
        return
    if _target(machine, "/dev/serial1") == name:
        yield fail("TS-SER-003", device, f"/dev/serial1, the port of Bluetooth, is {name}", _without_bluetooth(machine))
    elif name == "ttyS0" and _target(machine, "/dev/serial0") == name:
        meaning = (
            "This is the small UART: its speed follows the clock of the processor, and Bluetooth has the good one."
        )
        yield warn("TS-SER-003", device, "/dev/serial0 is ttyS0", _without_bluetooth(machine), meaning)
    elif "Raspberry Pi 5" in model and name == "ttyAMA10":
        meaning = "On a Raspberry Pi 5 this is the debug connector, and not the pins 14 and 15 of the header."
        remedy = "write nmea: /dev/ttyAMA0, and `dtparam=uart0=on` in /boot/firmware/config.txt; then reboot"
        yield warn("TS-SER-003", device, f"{name} on {model}", remedy, meaning)
    else:
        yield ok("TS-SER-003", device, f"Bluetooth is not on {name}")


def _target(machine: Machine, link: str) -> str | None:
    path = machine.at(link)
    return path.resolve().name if path.is_symlink() else None


def _without_bluetooth(machine: Machine) -> str:
    file = boot.boot_file(machine.root, "config.txt")
    if file is None:
        return "sudo systemctl disable --now hciuart bluetooth"
    overlay = boot.read_config(file, boot.pi_model(machine.root)).overlay(*_BLUETOOTH_OFF)
    if overlay is not None:
        return f"sudo reboot   # dtoverlay={overlay.name} is in {machine.shown(file)} already, and not in force yet"
    disable = "sudo systemctl disable hciuart; " if units.fragment(machine.root, "hciuart.service") else ""
    return f"echo dtoverlay=disable-bt | sudo tee -a {machine.shown(file)}; {disable}sudo reboot"


def _there(machine: Machine, device: str) -> Finding:
    path = machine.at(device)
    if path.exists():
        real = real_path(machine, device)
        return ok("TS-SER-004", device, "it is there" if str(real) == device else f"it is {real}")
    ports = _ports(machine)
    evidence = f"{words.error(errno.ENOENT)}; serial ports here: {', '.join(ports) or 'none'}"
    file = boot.boot_file(machine.root, "config.txt")
    on_board = Path(device).name in ("serial0", "ttyAMA0", "ttyS0")
    if boot.pi_model(machine.root) is not None and file is not None and on_board:
        if boot.read_config(file, boot.pi_model(machine.root)).settings.get("enable_uart") == "1":
            remedy = "sudo reboot   # enable_uart=1 is in config.txt already"
        else:
            remedy = f"echo enable_uart=1 | sudo tee -a {machine.shown(file)} && sudo reboot"
    elif ports:
        remedy = f"write nmea: {ports[0]} if that is the receiver"
    else:
        remedy = "plug the receiver in; `sudo dmesg -w` shows the name that it gets"
    return fail("TS-SER-004", device, evidence, remedy, cause=Cause.MISSING)


def _ports(machine: Machine) -> list[str]:
    """Serial ports that may have a receiver, those with names of their own first."""
    named = sorted(machine.at("/dev/serial/by-id").glob("*"))
    plain = [
        path for kind in ("ttyAMA", "ttyUSB", "ttyACM") for path in sorted(machine.at("/dev").glob(f"{kind}[0-9]*"))
    ]
    return [machine.shown(path) for path in (*named, *plain)]


def _holder(case: Case, device: str, *, gpsd: bool) -> Finding:
    found = case.others(_open_name(case, device))
    rivals = [one for one in found.processes if not (gpsd and one.name == "gpsd")]
    if not found.processes and _busy(case, device, hidden=found.hidden):
        return _exclusive(case, device)
    if not rivals:
        seen = f"{found.processes[0]} has it open" if found.processes else "nobody has it open"
        return ok("TS-SER-006", device, f"{seen}{words.AS_FAR if found.hidden else ''}")
    first = rivals[0]
    remedy = {
        "gpsd": "write `gpsd: localhost:2947` instead of `nmea:`, or: sudo systemctl disable --now gpsd.socket gpsd",
        "ModemManager": "sudo systemctl disable --now ModemManager",
        **dict.fromkeys(
            _GETTYS, f"sudo systemctl mask --now serial-getty@{real_path(case.machine, device).name}.service"
        ),
    }.get(first.name, f"sudo kill {first.pid}")
    return fail("TS-SER-006", device, f"{', '.join(map(str, rivals))} has it open", remedy)


def _busy(case: Case, device: str, *, hidden: bool) -> bool:
    """Whether the kernel refuses the line to the user of the service, or to us where others may hide."""
    if case.open_error(device) == errno.EBUSY:
        return True
    return hidden and access.try_open(case.machine.at(device), access.current_user()) == errno.EBUSY


def _exclusive(case: Case, device: str) -> Finding:
    """Somebody whose open files we may not see keeps the line for himself (tty_ioctl(4): TIOCEXCL)."""
    busy = words.error(errno.EBUSY)
    if case.running is not None:
        who = "timesync" if case.running.pid is None else f"timesync (process {case.running.pid})"
        return ok("TS-SER-006", device, f"open: {busy}; probably the running {who} has it{words.AS_FAR}")
    evidence = f"open: {busy}; a process that this user may not see keeps it for itself"
    return fail("TS-SER-006", device, evidence, f"sudo fuser -v {device} shows who it is; end that program")


def _kept(case: Case, device: str) -> Finding:
    """Nothing could be heard, because somebody keeps the line for himself."""
    found = _listeners(case, device)
    who = ", ".join(map(str, found.processes)) or "a process that this user may not see"
    return skip(
        "TS-SER-008", device, f"open: {words.error(errno.EBUSY)}; {who} keeps it for itself", f"sudo fuser -v {device}"
    )


def _later(case: Case, device: str, name: str, *, gpsd: bool) -> Iterator[Finding]:
    """Programs that are not there now, but will be."""
    path = case.machine.at("/etc/default/gpsd")
    text = path.read_text(errors="replace") if path.is_file() else ""
    listed = next((line for line in text.splitlines() if line.startswith("DEVICES=") and device in line), None)
    if (
        not gpsd
        and listed is not None
        and (case.starts_with_machine("gpsd.socket") or case.starts_with_machine("gpsd.service"))
    ):
        evidence = f"{listed} in /etc/default/gpsd, and gpsd starts on demand"
        remedy = "sudo systemctl disable --now gpsd.socket gpsd.service"
        yield warn("TS-SER-007", device, evidence, remedy)
        return
    modems = any(process.name == "ModemManager" for process in case.processes())
    if name.startswith(_USB) and (modems or case.starts_with_machine("ModemManager.service")):
        rule = f'KERNEL=="{name}", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
        remedy = f"echo '{rule}' | sudo tee /etc/udev/rules.d/78-timesync.rules && sudo udevadm control --reload"
        meaning = "ModemManager sends modem commands to each serial device that is plugged in."
        yield warn("TS-SER-007", device, "ModemManager is here, and this is a USB device", remedy, meaning)
        return
    yield ok("TS-SER-007", device, "neither gpsd nor ModemManager is set up to take it")


def _speed(device: str, baud: int | None, heard: Heard) -> Finding:
    if heard.baud is None:
        tried = ", ".join(f"{one}: {octets}" for one, octets in heard.octets.items())
        remedy = "name the speed of the receiver's manual, or set it to NMEA 0183 or UBX with the maker's program"
        meaning = "Bytes come, but no valid NMEA or UBX message at any speed: noise, or another language."
        return fail("TS-SER-009", device, f"bytes by speed: {tried}", remedy, meaning)
    kinds = ", ".join(sorted(heard.kinds)) or "no message that tells the time"
    if baud is not None and heard.baud != baud:
        remedy = f"write `baud: {heard.baud}`, or `baud: auto`"
        return fail("TS-SER-009", device, f"valid messages at {heard.baud} baud, not at {baud}", remedy)
    return ok("TS-SER-009", device, f"{kinds} at {heard.baud} baud")


def _wires(case: Case, device: str) -> str:
    at = "GPIO 15, pin 10 of the header" if boot.pi_model(case.machine.root) else f"RX of {device}"
    return f"wire TX of the receiver to {at}, and look at its power; `cat {device}` should then show something"


def _delay_s(told: Instant[Utc], arrived: Instant[Utc]) -> float:
    return (arrived - told).s()


def _pulse_delay_s(case: Case, arrived: Instant[Utc]) -> float | None:
    """Arrival after the newest pulse; None where none was seen."""
    from timesync.daemon.doctor import pulses  # it needs what is here

    edge_ns = pulses.newest_edge_ns(case)
    return None if edge_ns is None else (arrived.scaled_ns // SCALE - edge_ns) % NS_PER_S / NS_PER_S
