"""The system clock: who else steers it, whether we may, and what the kernel counts time with."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.config.clocks import SYSTEM
from timesync.config.sources import PpsSource
from timesync.daemon.doctor import linuxptp, words
from timesync.daemon.doctor.case import Case
from timesync.daemon.doctor.check import Cause, Finding, fail, nobody, ok, warn
from timesync.daemon.doctor.linuxptp import Verdict
from timesync.daemon.doctor.machine import SERVICE, Machine
from timesync_drivers import proc, units
from timesync_drivers.system import TimeDaemon, find_time_daemons

_UNITS = {
    "chronyd": "chrony", "ntpd": "ntpsec", "ntp-daemon": "ntpd-rs", "ntpd-rs": "ntpd-rs", "openntpd": "openntpd",
    "systemd-timesyncd": "systemd-timesyncd", "timemaster": "timemaster", "phc2sys": "'phc2sys*'", "ptp4l": "'ptp4l*'",
}  # fmt: skip
"""Debian's units of the programs that steer the system clock."""
_STARTING = (
    "systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "ntpd-rs", "timemaster", "phc2sys",
)  # fmt: skip
_CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0"
_POOR = ("hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies")


def steers_system(case: Case) -> bool:
    """Whether the system clock is to be steered."""
    return case.config.clocks[SYSTEM].discipline


def rivals(case: Case) -> Iterator[Finding]:
    """Other programs that steer the system clock, now and after the next start."""
    machine = case.machine
    found = find_time_daemons(machine.proc, own_pid=machine.pid)
    verdicts = {one: _verdict(machine, one) for one in found}
    running = [one for one, verdict in verdicts.items() if verdict is Verdict.YES]
    unclear = [one for one, verdict in verdicts.items() if verdict is Verdict.UNKNOWN]
    spared = [str(one) for one, verdict in verdicts.items() if verdict is Verdict.NO_BY_COMMAND]
    listed = ", ".join(map(str, running)) or "none runs"
    if unclear and not running and steers_system(case):
        evidence = f"{', '.join(map(str, unclear))}: neither its open files nor its configuration may be seen"
        meaning = "It may steer the system clock, or only the clock of a network card."
        yield warn("TS-CLK-001", SYSTEM, evidence, f"sudo timesync doctor {case.argument}", meaning)
    elif not running:
        by_command = f"; by its command line {', '.join(spared)} steers a network card{words.AS_FAR}" if spared else ""
        yield ok("TS-CLK-001", SYSTEM, f"no other time daemon steers it{by_command}")
    elif steers_system(case):
        yield fail("TS-CLK-001", SYSTEM, listed, " ; ".join(dict.fromkeys(map(_end, running))))
    else:
        yield ok("TS-CLK-001", SYSTEM, listed, "Another program keeps the system clock right, and we only read it.")
    names = {_UNITS.get(one.name, one.name) for one in running}
    later = [
        name
        for name in _STARTING
        if name not in names and units.enabled_by(machine.root, f"{name}.service") is not None
    ]
    if later and steers_system(case):
        evidence = f"enabled: {', '.join(f'{name}.service' for name in later)}"
        yield warn("TS-CLK-002", SYSTEM, evidence, f"sudo systemctl disable {' '.join(later)}")
    else:
        yield ok("TS-CLK-002", SYSTEM, f"enabled: {', '.join(later) or 'none'}")


def _verdict(machine: Machine, daemon: TimeDaemon) -> Verdict:
    """Whether it steers the system clock, and not a PTP hardware clock alone."""
    if daemon.name not in ("ptp4l", "phc2sys"):
        return Verdict.YES
    process = next((one for one in proc.processes(machine.proc) if one.pid == daemon.pid), None)
    return Verdict.NO if process is None else linuxptp.steers_system(machine, process)  # None: it has just ended


def _end(daemon: TimeDaemon) -> str:
    unit = _UNITS.get(daemon.name)
    return f"sudo kill {daemon.pid}" if unit is None else f"sudo systemctl disable --now {unit}"


def capability(case: Case) -> Finding:
    """Whether the daemon may set clocks; only for a configuration that steers one of the kernel's."""
    machine, user = case.machine, case.machine.user
    bit = 1 << proc.CAP_SYS_TIME
    if not proc.capabilities(machine.proc, "CapBnd") & bit:
        remedy = "in a container: docker run --cap-add SYS_TIME, or CapabilityBoundingSet=CAP_SYS_TIME in its unit"
        return fail("TS-CLK-003", f"user {user.name}", "CapBnd is without CAP_SYS_TIME", remedy, cause=Cause.PERMISSION)
    if machine.absent is not None:
        return nobody("TS-CLK-003", SERVICE, machine.absent)
    if machine.unit:
        return _by_unit(machine)
    if proc.capabilities(machine.proc, "CapEff") & bit:
        return ok("TS-CLK-003", f"user {user.name}", "CapEff has CAP_SYS_TIME")
    evidence = f"CapEff of user {user.name} is without CAP_SYS_TIME, and there is no {SERVICE}"
    remedy = f"run it as root: sudo timesync run {case.argument}"
    return fail("TS-CLK-003", f"user {user.name}", evidence, remedy, cause=Cause.PERMISSION)


def _by_unit(machine: Machine) -> Finding:
    keys = units.settings(machine.root, SERVICE)
    bounded = keys.get("CapabilityBoundingSet", "CAP_SYS_TIME")
    given = keys.get("AmbientCapabilities", "")
    if "CAP_SYS_TIME" not in bounded or bounded.startswith("~"):
        evidence, key = f"CapabilityBoundingSet={bounded} in {SERVICE}", "CapabilityBoundingSet"
    elif machine.user.uid != 0 and "CAP_SYS_TIME" not in given:
        evidence, key = f"User={machine.user.name} and AmbientCapabilities={given} in {SERVICE}", "AmbientCapabilities"
    else:
        return ok("TS-CLK-003", SERVICE, f"user {machine.user.name} with CAP_SYS_TIME")
    remedy = f"sudo systemctl edit {SERVICE}, and below [Service]: {key}=CAP_SYS_TIME CAP_NET_BIND_SERVICE"
    return fail("TS-CLK-003", SERVICE, evidence, remedy, cause=Cause.PERMISSION)


def counter(case: Case) -> Iterator[Finding]:
    """What the kernel counts time with, and whether the machine is real."""
    machine = case.machine
    current = _read(machine, f"{_CLOCKSOURCE}/current_clocksource")
    available = _read(machine, f"{_CLOCKSOURCE}/available_clocksource").split()
    flags = _cpu_flags(machine)
    if current:
        evidence = f"{current} of {', '.join(available)}"
        if current in _POOR and "tsc" not in available and "constant_tsc" in flags:
            meaning = "The kernel found the TSC of the processor unstable, and fell back to a slow counter."
            remedy = "sudo dmesg | grep -i tsc; then a BIOS update, or tsc=reliable on the kernel's command line"
            yield warn("TS-CLK-004", "clocksource", evidence, remedy, meaning)
        elif current in _POOR:
            better = next((name for name in available if name not in _POOR), None)
            remedy = "sudo dmesg | grep -i clocksource" if better is None else f"boot with clocksource={better}"
            yield warn("TS-CLK-004", "clocksource", evidence, remedy)
        else:
            yield ok("TS-CLK-004", "clocksource", evidence)
    yield _reality(case, flags)


def _reality(case: Case, flags: frozenset[str]) -> Finding:
    machine = case.machine
    names = (_read(machine, f"sys/class/dmi/id/{key}") for key in ("sys_vendor", "product_name"))
    vendor = " ".join(filter(None, names))
    hypervisor = _read(machine, "sys/hypervisor/type")
    signs = [text for text in ("the processor's flag hypervisor" if "hypervisor" in flags else "", hypervisor) if text]
    if not signs:
        return ok("TS-CLK-005", "machine", vendor or "no sign of a hypervisor")
    evidence = f"{' and '.join(signs)}{f', {vendor}' if vendor else ''}"
    remedy = "run it on the host or on a machine of its own; or `sudo modprobe ptp_kvm`, and follow /dev/ptp0"
    if any(isinstance(source, PpsSource) for source in case.config.sources):
        return warn("TS-CLK-005", "machine", evidence, remedy)
    meaning = "A virtual machine: good enough for a client; its clock jumps when it is paused or moved."
    return ok("TS-CLK-005", "machine", evidence, meaning)


def _cpu_flags(machine: Machine) -> frozenset[str]:
    for line in _read(machine, "proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _read(machine: Machine, path: str) -> str:
    try:
        return (machine.root / path).read_text(errors="replace").strip()
    except OSError:
        return ""
