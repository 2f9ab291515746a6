"""Pulses: the overlay and its pin, the device, and the edges themselves."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from timesync.config.sources import NmeaSource, PpsSource
from timesync.daemon.doctor import serial, words
from timesync.daemon.doctor.case import Case, UnfinishedError
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, skip, warn
from timesync.daemon.doctor.listen import Heard
from timesync.daemon.doctor.machine import Machine
from timesync_drivers import abi, boot, proc
from timesync_drivers.pps import NS_PER_S, PpsDevice, PpsEdges

COUNT_S = 2.2
_PAUSE_S = 0.05
_OFF_NS = 50_000_000
"""A second pulse is nearer to a second after the last one than this, even while the clock is slewed."""
_LONGEST_S = 0.55
"""Some pulses last half a second, none longer."""
_WRAP = 1 << 32
_STALE_OPTIONS = ("bcm2708.pps_gpio_pin", "bcm2709.pps_gpio_pin", "pps_gpio_pin")
_GPIO = ("pps@", "pps-gpio", "pps.", "pps_gpio")
"""How names of pps-gpio's devices begin: that of the device tree's node, or of the driver. A serial line's is its
driver's (``ttyAMA0``, ``serial0``), a hardware clock's ``ptp0``."""
_ON_BOARD_PIN = 18
"""Where the overlay looks unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a device gave in a while.

    Attributes:
        capabilities: What it captures, as ``PPS_CAPTURE`` bits.
        mode: What of that is switched on.
        looks: Its newest edges, time after time.
        seconds: How long.
    """

    capabilities: int
    mode: int
    looks: Sequence[PpsEdges]
    seconds: float

    def edges(self, edge: str) -> int:
        """How many of these came."""
        first, last = (self._one(look, edge)[1] for look in (self.looks[0], self.looks[-1]))
        return (last - first) % _WRAP

    def times_ns(self, edge: str) -> list[int]:
        """When those that were seen came, CLOCK_REALTIME; the last one before the start is the first."""
        return [at for at, _ in dict.fromkeys(self._one(look, edge) for look in self.looks) if at]

    @staticmethod
    def _one(look: PpsEdges, edge: str) -> tuple[int, int]:
        one = look.asserted if edge == "assert" else look.cleared
        return one.at_ns, one.sequence


def count(path: str) -> Counted:
    """Look at a device for 2.2 s; changes nothing. Raises OSError."""
    device = PpsDevice(path)
    try:
        capabilities, mode = device.capabilities(), device.mode()
        began = time.monotonic()
        looks = [device.fetch()]
        while time.monotonic() - began < COUNT_S:
            time.sleep(_PAUSE_S)
            looks.append(device.fetch())
        return Counted(capabilities, mode, looks, time.monotonic() - began)
    finally:
        device.close()


def begin(case: Case, device: str) -> None:
    """Begin to count; any number of programs may."""
    path = str(case.machine.at(device))
    case.background.begin("pps", device, lambda: count(path))


def newest_edge_ns(case: Case) -> int | None:
    """When the newest pulse of the configured devices came, CLOCK_REALTIME in ns; None where none was seen."""
    for source in kernel_sources(case):
        try:
            counted = case.background.result("pps", source.pps, Counted)
        except (OSError, UnfinishedError):
            continue
        if counted is not None and counted.edges(source.edge):
            return counted.times_ns(source.edge)[-1]
    return None


def kernel_sources(case: Case) -> list[PpsSource]:
    """The sources that are PPS devices of the kernel."""
    return [source for source in case.config.sources if isinstance(source, PpsSource) and source.phc is None]


def board(case: Case) -> Iterator[Finding]:
    """The overlay on a Raspberry Pi; nothing elsewhere."""
    machine = case.machine
    if boot.pi_model(machine.root) is None:
        return
    yield _other_driver(case) or _overlay(machine)
    options = proc.kernel_options(machine.proc)
    stale = next((option for option in options if option.partition("=")[0] in _STALE_OPTIONS), None)
    if stale is None:
        yield ok("TS-PPS-002", "/proc/cmdline", "no pps_gpio_pin= in it")
    else:
        file = boot.boot_file(machine.root, "cmdline.txt")
        where = "cmdline.txt" if file is None else machine.shown(file)
        remedy = rf"sudo sed -i 's/{stale.partition('=')[0]}=[^ ]* *//' {where} && sudo reboot"
        yield fail("TS-PPS-002", "/proc/cmdline", stale, remedy)


def _other_driver(case: Case) -> Finding | None:
    """That no pulse comes by a pin of the board, so that no overlay is needed; None where one does, or may."""
    names = {one.pps: _sysfs(case.machine, one.pps, "name") for one in kernel_sources(case)}
    if not all(name and not name.startswith(_GPIO) for name in names.values()):
        return None
    listed = ", ".join(f"{path} is {name}" for path, name in names.items())
    return ok("TS-PPS-001", "config.txt", listed, "No pulse comes by a pin of the board, so no overlay is needed.")


def _overlay(machine: Machine) -> Finding:
    file = boot.boot_file(machine.root, "config.txt")
    if file is None:
        remedy = "mount the boot partition: sudo mount /boot/firmware"
        return skip(
            "TS-PPS-001", "config.txt", "neither /boot/firmware/config.txt nor /boot/config.txt is there", remedy
        )
    shown = machine.shown(file)
    line = f"dtoverlay=pps-gpio,gpiopin={_ON_BOARD_PIN}"
    config = boot.read_config(file, boot.pi_model(machine.root))
    overlay = config.overlay("pps-gpio")
    if overlay is not None:
        pin = overlay.parameters.get("gpiopin", f"{_ON_BOARD_PIN}, the default")
        evidence = f"line {overlay.line} of {shown}: pps-gpio on GPIO {pin}"
        if overlay.section == "all":
            return ok("TS-PPS-001", shown, evidence)
        meaning = "The line stands below a filter, and whether that lets it count cannot be told from here."
        remedy = f"if it does not: echo '[all]' | sudo tee -a {shown}, and the line below it"
        return warn("TS-PPS-001", shown, f"{evidence}, below [{overlay.section}]", remedy, meaning)
    remedy = f"echo {line} | sudo tee -a {shown} && sudo reboot   # or the pin of your hat"
    old = boot.stale_file(machine.root, "config.txt")
    if old is not None and boot.read_config(old, boot.pi_model(machine.root)).overlay("pps-gpio") is not None:
        evidence = f"the overlay is in {machine.shown(old)}, which nobody reads; {shown} does not have it"
        return fail("TS-PPS-001", shown, evidence, remedy)
    away = next((one for one in config.elsewhere if one.name == "pps-gpio"), None)
    if away is not None:
        evidence = f"line {away.line} of {shown} is below [{away.section}], and this board is not that"
        return fail("TS-PPS-001", shown, evidence, rf"printf '[all]\n{line}\n' | sudo tee -a {shown} && sudo reboot")
    if "pps-gpio" in config.commented:
        return fail("TS-PPS-001", shown, "the line dtoverlay=pps-gpio is commented out", remedy)
    return fail("TS-PPS-001", shown, "no line dtoverlay=pps-gpio in it", remedy)


def device(case: Case, source: PpsSource) -> Iterator[Finding]:
    """One PPS device of the kernel."""
    machine, path = case.machine, source.pps
    if not machine.at(path).exists():
        yield _missing(machine, path)
        return
    name = _sysfs(machine, path, "name")
    yield ok("TS-PPS-003", path, f"it is there: {name or 'its driver is not told'}")
    yield serial.permission(case, "TS-PPS-004", path, os.O_RDONLY)
    try:
        counted = case.background.result("pps", path, Counted)
    except OSError as error:
        code = error.errno or 0
        if code not in (errno.EACCES, errno.EPERM):
            remedy = "name the right device; ls /sys/class/pps lists them"
            yield fail("TS-PPS-005", path, f"PPS_GETCAP: {words.error(code)}", remedy, cause=Cause.MISSING)
        return
    if counted is not None:
        yield from judge(path, source.edge, counted, name, _no_pulse_remedy(case))


def judge(path: str, edge: str, counted: Counted, name: str, remedy: str) -> Iterator[Finding]:
    """What the edges say.

    Args:
        path: The device.
        edge: The configured one, ``assert`` or ``clear``.
        counted: What came.
        name: Of the driver's device.
        remedy: What to do when none comes.
    """
    wanted = abi.PPS_CAPTUREASSERT if edge == "assert" else abi.PPS_CAPTURECLEAR
    other = "clear" if edge == "assert" else "assert"
    if name.startswith("ktimer"):
        meaning = "This device makes its pulses from the kernel's own clock: it is for tests and tells nothing."
        yield fail("TS-PPS-005", path, f"its name is {name}", "sudo modprobe -r pps-ktimer", meaning)
        return
    if not counted.capabilities & wanted:
        able = f"capabilities {counted.capabilities:#x}, without the {edge} edge"
        yield fail("TS-PPS-005", path, able, f"write `edge: {other}`", cause=Cause.MISSING)
        return
    if counted.mode & wanted:
        yield ok("TS-PPS-005", path, f"capabilities {counted.capabilities:#x}, mode {counted.mode:#x}")
    else:
        meaning = "The kernel does not capture this edge now; the daemon switches it on, which takes CAP_SYS_TIME."
        yield ok("TS-PPS-005", path, f"mode {counted.mode:#x}, without the {edge} edge", meaning)
    edges, others = counted.edges(edge), counted.edges(other)
    seen = f"{edges} {edge} and {others} {other} edges in {counted.seconds:.1f} s"
    if not edges and others:
        yield fail("TS-PPS-006", path, seen, f"write `edge: {other}`", "Only the other edge comes.")
        return
    if not edges:
        yield fail("TS-PPS-006", path, seen, remedy)
        return
    yield ok("TS-PPS-006", path, seen)
    yield _regular(path, edge, counted)
    yield from _upright(path, edge, other, counted)


def _regular(path: str, edge: str, counted: Counted) -> Finding:
    edges, times = counted.edges(edge), counted.times_ns(edge)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # The first gap is from an edge before the start, which may be old.
    odd = [gap for gap in gaps[1:] if abs((gap + NS_PER_S // 2) % NS_PER_S - NS_PER_S // 2) > _OFF_NS]
    most = int(counted.seconds) + 1
    if edges > most or odd:
        spans = ", ".join(words.span(gap / NS_PER_S) for gap in gaps[1:])
        evidence = f"{edges} edges in {counted.seconds:.1f} s, where at most {most} belong; apart by {spans}"
        return fail("TS-PPS-007", path, evidence, "set the receiver's time pulse to 1 Hz; shorten or shield the wire")
    if edges < most - 1:
        evidence = f"{edges} of {most - 1} or {most} edges in {counted.seconds:.1f} s"
        return warn("TS-PPS-007", path, evidence, "look at the wire, and at the receiver's fix", "Pulses are missing.")
    return ok("TS-PPS-007", path, f"{edges} edges in {counted.seconds:.1f} s")


def _upright(path: str, edge: str, other: str, counted: Counted) -> Iterator[Finding]:
    """Whether the pulse begins with the edge, where both are captured."""
    mine, theirs = counted.times_ns(edge), counted.times_ns(other)
    if not theirs or not counted.edges(other):
        return
    width_s = (theirs[-1] - mine[-1]) % NS_PER_S / NS_PER_S
    evidence = f"from {edge} to {other} it takes {words.span(width_s)}"
    if width_s > _LONGEST_S:
        yield warn("TS-PPS-008", path, evidence, f"write `edge: {other}`, unless the receiver's pulse is that long")
    else:
        yield ok("TS-PPS-008", path, evidence)


def _missing(machine: Machine, path: str) -> Finding:
    there = [f"/dev/{entry.name} ({_sysfs(machine, f'/dev/{entry.name}', 'name')})" for entry in _class(machine)]
    listed = ", ".join(there) or "none"
    evidence = f"{words.error(errno.ENOENT)}; PPS devices here: {listed}"
    loaded = [name for name in ("pps_gpio", "pps_ldisc") if (machine.root / "sys/module" / name).is_dir()]
    evidence += f"; modules loaded: {', '.join(loaded) or 'neither pps_gpio nor pps_ldisc'}"
    file = boot.boot_file(machine.root, "config.txt")
    if there:
        remedy = f"write pps: {there[0].partition(' ')[0]} if that is the receiver's"
    elif boot.pi_model(machine.root) is not None and file is not None:
        if boot.read_config(file, boot.pi_model(machine.root)).overlay("pps-gpio") is None:
            line = f"dtoverlay=pps-gpio,gpiopin={_ON_BOARD_PIN}"
            remedy = f"echo {line} | sudo tee -a {machine.shown(file)} && sudo reboot"
        elif loaded:
            remedy = (
                "another driver has the pin: look for `pps-gpio` in `sudo dmesg`, and for other overlays on that pin"
            )
        else:
            remedy = "sudo reboot   # the overlay is in config.txt and not in force yet"
    else:
        remedy = "on a serial port with DCD: sudo ldattach PPS /dev/ttyS0; on a pin: the device tree must name it"
    return fail("TS-PPS-003", path, evidence, remedy, cause=Cause.MISSING)


def _class(machine: Machine) -> list[Path]:
    return sorted((machine.root / "sys/class/pps").glob("pps[0-9]*"))


def _sysfs(machine: Machine, path: str, attribute: str) -> str:
    try:
        return (machine.root / "sys/class/pps" / Path(path).name / attribute).read_text(errors="replace").strip()
    except OSError:
        return ""


def _no_pulse_remedy(case: Case) -> str:
    """What to do when no pulse comes: without a fix there is nothing to do but to wait."""
    for receiver in case.config.sources:
        if isinstance(receiver, NmeaSource):
            try:
                heard = case.background.result("serial", receiver.nmea, Heard)
            except (OSError, UnfinishedError):
                continue
            if heard is not None and heard.fix is False:
                return f"the receiver has no fix yet, and gives no pulse until then: {words.SKY}"
    file = boot.boot_file(case.machine.root, "config.txt")
    if file is not None and boot.pi_model(case.machine.root) is not None:
        overlay = boot.read_config(file, boot.pi_model(case.machine.root)).overlay("pps-gpio")
        pin = _ON_BOARD_PIN if overlay is None else overlay.parameters.get("gpiopin", _ON_BOARD_PIN)
        return f"compare the pin of the hat's PPS with gpiopin={pin}; wait for the receiver's fix"
    return "wait for the receiver's fix; look at the wire of the pulse, and at the receiver's pulse settings"
