"""PTP hardware clocks: whether they are there, what they can do, who steers them, and what time they hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from timesync.base.time import Instant
from timesync.config.clocks import Clock
from timesync.config.sources import NtpOptions, PhcSource, PpsSource
from timesync.daemon.doctor import linuxptp, serial, words
from timesync.daemon.doctor.case import Case
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, skip, warn
from timesync.daemon.doctor.machine import Machine
from timesync_drivers.cross import CrossReading
from timesync_drivers.nic import Stamping, stamping
from timesync_drivers.phc import PhcCapabilities, PhcDevice, PhcPin, PinFunction, device_path

_STEERERS = ("ptp4l", "phc2sys", "ts2phc", "timemaster", "satpulsed", "ptpd", "ptpd2", "sptp", "phc_ctl", "timebeat")
Role = Literal["believed", "steered", "watched"]
"""A source; a clock that we set; neither."""

_NEAR_NS = 500_000_000
_SCALES = {"tai": "TAI", "utc": "UTC", "gps": "GPS time"}
_TAI_GPS_S = 19
_NEVER_SET_NS = 365 * 86_400 * 10**9
"""A clock that nobody has set counts from 1970."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a configuration asks of a hardware clock.

    Attributes:
        discipline: To be steered.
        stamped: Channels and pins of external timestamps.
        output: Channel and pin of the pulse that it gives; None: none.
    """

    discipline: bool
    stamped: tuple[tuple[int, int | None], ...] = ()
    output: tuple[int, int | None] | None = None


def wanted_of(case: Case, name: str, clock: Clock) -> Wanted:
    """From the configuration."""
    pulses = [one for one in case.config.sources if isinstance(one, PpsSource) and one.phc == name]
    out = clock.pulse_out
    return Wanted(
        clock.discipline,
        tuple((one.channel, one.pin) for one in pulses),
        None if out is None else (out.channel, out.pin),
    )


def examine(case: Case, name: str, clock: Clock) -> Iterator[Finding]:
    """One hardware clock of the configuration."""
    assert clock.phc is not None
    machine = case.machine
    try:
        path = device_path(clock.phc)
        device = PhcDevice(str(machine.at(path)))
    except OSError as error:
        yield from _unopened(case, clock.phc, error)
        return
    try:
        subject = f"{name} ({path})"
        yield ok("TS-PHC-001", subject, _named(machine, path))
        yield serial.permission(case, "TS-PHC-002", path, os.O_RDWR if clock.discipline else os.O_RDONLY)
        pins = [device.pin(index) for index in range(device.capabilities.n_pins)]
        yield capable(subject, wanted_of(case, name, clock), device.capabilities, pins)
        yield _steered(case, subject, path, clock)
        if "/" not in clock.phc and not clock.phc.startswith("ptp"):
            yield _stamps(case, clock.phc)
        yield compared(case, subject, name, clock, device.cross())
    except OSError as error:
        yield fail(
            "TS-PHC-006", name, words.error(error.errno or 0), "reload the driver of the card", cause=Cause.MISSING
        )
    finally:
        device.close()


def _unopened(case: Case, asked: str, error: OSError) -> Iterator[Finding]:
    machine = case.machine
    code = error.errno or 0
    if code in (errno.EACCES, errno.EPERM):
        path = asked if "/" in asked else device_path(asked)
        yield serial.permission(case, "TS-PHC-002", path)
        return
    there = ", ".join(f"/dev/{one.name} ({_named(machine, one.name)})" for one in _class(machine)) or "none"
    cards = ", ".join(f"{one.parents[2].name} has {one.name}" for one in _cards(machine))
    evidence = f"{asked}: {words.error(code)}; hardware clocks here: {there}{f'; {cards}' if cards else ''}"
    remedy = "name one of those that are there" if there != "none" else "a card with a PTP hardware clock is needed"
    if code == errno.EOPNOTSUPP and not cards:
        remedy = f"`ethtool -T {asked}` shows what the card can; take another card, or leave the clock out"
    yield fail("TS-PHC-001", asked, evidence, remedy, cause=Cause.MISSING)


def _class(machine: Machine) -> list[Path]:
    return sorted((machine.root / "sys/class/ptp").glob("ptp[0-9]*"))


def _cards(machine: Machine) -> list[Path]:
    return sorted((machine.root / "sys/class/net").glob("*/device/ptp/ptp[0-9]*"))


def _named(machine: Machine, path: str) -> str:
    """What its driver calls it."""
    try:
        return (machine.root / "sys/class/ptp" / Path(path).name / "clock_name").read_text(errors="replace").strip()
    except OSError:
        return "its driver is not told"


def capable(subject: str, wanted: Wanted, able: PhcCapabilities, pins: list[PhcPin]) -> Finding:
    """Whether a clock can do what is asked of it."""
    has = (
        f"±{able.max_adj_ppb} ppb, {able.n_ext_ts} inputs, {able.n_per_out} outputs, {able.n_pins} pins"
        f"{', reads both clocks at once' if able.cross_timestamping else ''}"
    )
    if wanted.discipline and not able.max_adj_ppb:
        remedy = "write `discipline: false` for this clock"
        return fail("TS-PHC-003", subject, f"max_adj is 0: {has}", remedy, cause=Cause.MISSING)
    uses = [("input", PinFunction.EXTTS, able.n_ext_ts, *one) for one in wanted.stamped]
    if wanted.output is not None:
        uses.append(("output", PinFunction.PEROUT, able.n_per_out, *wanted.output))
    for what, function, number, channel, pin in uses:
        if channel >= number:
            remedy = f"choose a channel below {number}" if number else "take another card"
            return fail("TS-PHC-003", subject, f"no {what} channel {channel}: {has}", remedy, cause=Cause.MISSING)
        if pin is not None and pin >= able.n_pins:
            remedy = f"choose a pin below {able.n_pins}" if able.n_pins else "leave `pin` out: the routing is fixed"
            return fail("TS-PHC-003", subject, f"no pin {pin}: {has}", remedy, cause=Cause.MISSING)
        routed = [one for one in pins if one.function is function and one.channel == channel]
        if pin is None and pins and not routed:
            names = ", ".join(f"{one.index} {one.name} ({one.function.name})" for one in pins)
            meaning = f"No pin is routed to {what} channel {channel}, and the configuration does not choose one."
            return fail("TS-PHC-003", subject, f"pins: {names}", "write `pin:` beside it", meaning)
    return ok("TS-PHC-003", subject, has)


def _steered(case: Case, subject: str, path: str, clock: Clock) -> Finding:
    found = case.others(str(case.machine.at(path).resolve()))
    rivals = [one for one in found.processes if one.name in _STEERERS]
    others = ", ".join(map(str, found.processes)) or "nobody"
    evidence = f"{others} has it open{words.AS_FAR if found.hidden else ''}"
    if found.hidden and not rivals:
        asked = (path, str(clock.phc))
        rivals = [one for one in case.processes() if linuxptp.names(case.machine, one, *asked)]
        if rivals:
            evidence = f"the command line of {', '.join(map(str, rivals))} names it; {evidence}"
    if clock.discipline and rivals:
        remedy = f"sudo systemctl disable --now '{rivals[0].name}*'; if no unit started it: sudo kill {rivals[0].pid}"
        return fail("TS-PHC-004", subject, evidence, remedy)
    if not clock.discipline and rivals:
        return ok("TS-PHC-004", subject, evidence, "The other program keeps it right, and we only read it.")
    return ok("TS-PHC-004", subject, evidence)


def _stamps(case: Case, interface: str) -> Finding:
    servers = [one for one in case.config.sources if isinstance(one, NtpOptions)]
    needed = any(one.timestamping == "hardware" for one in servers)
    over_ptp = bool(servers) and all(one.transport == "ptp" for one in servers)
    try:
        return stamps(interface, stamping(interface), needed=needed, over_ptp=over_ptp)
    except OSError as error:
        return skip("TS-PHC-005", interface, f"ETHTOOL_GET_TS_INFO: {words.error(error.errno or 0)}")


def stamps(interface: str, able: Stamping, *, needed: bool, over_ptp: bool = False) -> Finding:
    """Whether a card stamps packets of NTP; with ``over_ptp`` all of them travel in messages of PTP."""
    evidence = f"SOF_TIMESTAMPING {able.capabilities:#x}, tx_types {able.tx_types:#x}, rx_filters {able.rx_filters:#x}"
    if able.tx_type is not None:
        evidence += f"; in force tx_type {able.tx_type}, rx_filter {able.rx_filter}"
    if able.hardware and (able.any_packet or (over_ptp and able.ptp_over_udp)):
        return ok("TS-PHC-005", interface, evidence)
    meaning = "The card stamps packets of PTP only, and not those of NTP." if able.hardware else None
    remedy = "write `timestamping: auto` for the servers, ask them over PTP (`transport: ptp`), or use another card"
    if needed:
        return fail("TS-PHC-005", interface, evidence, remedy, meaning, Cause.MISSING)
    return ok(
        "TS-PHC-005", interface, evidence, f"{meaning or 'The card stamps no packets.'} The kernel does it instead."
    )


def role_of(case: Case, name: str, clock: Clock) -> Role:
    """What a clock is for."""
    if any(isinstance(one, PhcSource) and one.phc == name for one in case.config.sources):
        return "believed"
    return "steered" if clock.discipline else "watched"


def compared(case: Case, subject: str, name: str, clock: Clock, reading: CrossReading) -> Finding:
    """What time a clock holds beside the system clock, by the TAI - UTC of that moment."""
    tai_utc = case.table.tai_utc(Instant.from_ns(reading.system_ns))
    difference_ns = reading.device_ns - reading.system_ns
    return holds(subject, difference_ns, reading.device_ns, tai_utc, clock.timescale, role_of(case, name, clock))


def holds(subject: str, difference_ns: int, device_ns: int, tai_utc: int, timescale: str, role: Role) -> Finding:
    """What time a clock holds, in words.

    Args:
        subject: Its name.
        difference_ns: It less the system clock (UTC).
        device_ns: What it reads.
        tai_utc: TAI - UTC in seconds.
        timescale: What the configuration says that it holds: ``tai`` or ``utc``.
        role: What the clock is for.
    """
    ahead = {"tai": tai_utc, "utc": 0, "gps": tai_utc - _TAI_GPS_S}
    near = next((scale for scale, s in ahead.items() if abs(difference_ns - s * 10**9) < _NEAR_NS), None)
    side = "ahead of" if difference_ns >= 0 else "behind"
    evidence = f"{abs(difference_ns) / 1e9:.6f} s {side} the system clock"
    if near == timescale:
        return ok("TS-PHC-006", subject, f"{evidence}: it holds {_SCALES[near]}, as configured")
    if near == "gps":
        meaning = f"It holds GPS time, which is {_TAI_GPS_S} s behind TAI: whoever takes it for TAI is wrong by that."
        remedy = "have its program set it to TAI"
    elif near is not None:
        evidence += f": it holds {_SCALES[near]}, and the configuration says {_SCALES[timescale]}"
        meaning = f"Whoever believes the configuration is wrong by {tai_utc} s."
        remedy = f"write `timescale: {near}`, or have its program set it to {_SCALES[timescale]}"
    else:
        unset = device_ns < _NEVER_SET_NS
        meaning = "Nobody has set it since its driver was loaded." if unset else "One of the two clocks is wrong."
        steered = "nothing: the daemon sets it when it starts"
        remedy = steered if role == "steered" else "start the program that keeps it right"
    if role == "believed":
        return fail("TS-PHC-006", subject, evidence, remedy, meaning)
    stepped = "; else the daemon steps it" if role == "steered" and near is not None else ""
    return warn("TS-PHC-006", subject, evidence, f"{remedy}{stepped}", meaning)
