"""gpsd: whether it answers, what it is, what it has, and what it tells."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from timesync.config.device import Gpsd
from timesync.daemon.doctor import serial, words
from timesync.daemon.doctor.case import Case
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, warn
from timesync.wire import gpsd as wire
from timesync.wire.error import WireError

TALK_S = 4.0
_CONNECT_S = 3.0
_MOST = 1 << 20
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_RELEASE = re.compile(r"(\d+)\.(\d+)")
_ROLLOVER = ((3, 20), (3, 22))
"""From the first to the last release that moves dates from October 2021 on back by 1024 weeks, unless patched."""
_PATCHED = "3.22"
"""Debian's and Ubuntu's packages of this release have the repair."""


@dataclass(slots=True)
class Told:
    """What gpsd said in a few seconds.

    Attributes:
        trouble: Why there was no conversation.
        version: Its first line.
        devices: Its receivers by path.
        classes: How many reports of each class came.
        mode: Of the newest TPV of the receiver in question.
        used: Satellites in the solution.
        toffs: How late messages came, in seconds, by the clock of gpsd's machine.
        errors: What it refused.
        garbled: Lines that could not be read.
    """

    trouble: OSError | None = None
    version: wire.Version | None = None
    devices: dict[str, wire.Device] = field(default_factory=dict)
    classes: Counter[str] = field(default_factory=Counter)
    mode: int | None = None
    used: int | None = None
    toffs: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    garbled: int = 0

    def take(self, line: bytes, device: str | None) -> None:
        """One line of its answer."""
        try:
            report = wire.decode(line)
        except WireError:
            self.garbled += 1
            return
        self.classes[type(report).__name__.upper() if not isinstance(report, wire.Other) else report.kind] += 1
        match report:
            case wire.Version():
                self.version = report
            case wire.Devices():
                self.devices = {one.path: one for one in report.devices}
            case wire.Device():
                if report.activated:
                    self.devices[report.path] = report
            case wire.Tpv() if device in (None, report.device):
                self.mode = report.mode
            case wire.Sky() if device in (None, report.device) and report.used is not None:
                self.used = report.used
            case wire.Toff() if device in (None, report.device):
                self.toffs.append((report.clock_ns - report.real.ns()) / 1e9)
            case wire.Error():
                self.errors.append(report.message)
            case _:
                pass


def talk(host: str, port: int, device: str | None, seconds: float = TALK_S) -> Told:
    """Watch a gpsd for a while, as any client may; a receiver that sleeps is woken by it."""
    told = Told()
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S) as link:
            ends = time.monotonic() + seconds
            # What breaks off later leaves what was said until then.
            with contextlib.suppress(TimeoutError, ConnectionError):
                link.sendall(b"?DEVICES;\n" + wire.watch(device))
                for line in _lines(link, ends):
                    told.take(line, device)
    except OSError as error:
        told.trouble = error
    return told


def _lines(link: socket.socket, ends: float) -> Iterator[bytes]:
    """The lines that come until then. Raises TimeoutError, ConnectionError."""
    held, size = b"", 0
    while (left := ends - time.monotonic()) > 0 and size < _MOST:
        link.settimeout(left)
        data = link.recv(65_536)
        if not data:
            return
        size += len(data)
        *lines, held = (held + data).split(b"\n")
        yield from (line for line in lines if line.strip())


def begin(case: Case, address: Gpsd) -> None:
    """Begin to listen to it."""
    server = address.server
    case.background.begin("gpsd", str(address), lambda: talk(server.host, server.port, address.device))


def local_device(case: Case, address: Gpsd) -> str | None:
    """The serial port that a gpsd of this machine reads, as far as the configurations tell."""
    if address.server.host not in _LOCAL:
        return None
    if address.device is not None:
        return address.device
    try:
        text = case.machine.at("/etc/default/gpsd").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r'^DEVICES="?([^"\n]*)', text, re.MULTILINE)
    devices = [] if found is None else [one for one in found[1].split() if "/dev/pps" not in one]
    return devices[0] if devices else None


def examine(case: Case, address: Gpsd) -> Iterator[Finding]:
    """One gpsd."""
    told = case.background.result("gpsd", str(address), Told)
    if told is not None:
        yield from judge(address, told)


def judge(address: Gpsd, told: Told) -> Iterator[Finding]:
    """What its answer says."""
    subject = str(address)
    if told.trouble is not None or told.version is None:
        yield _silent(address, told)
        return
    yield ok("TS-GPD-001", subject, f"gpsd {told.version.release} answers")
    yield _version(subject, told.version)
    found = _device(address, told)
    yield found
    if found.cause is not None:
        return
    yield from _reports(subject, told)


def _silent(address: Gpsd, told: Told) -> Finding:
    where = str(address.server)
    if told.trouble is None:
        meaning = "Something answers there, but it is not gpsd."
        return fail("TS-GPD-001", str(address), f"{where} sends no VERSION", "correct the port in `gpsd:`", meaning)
    code = told.trouble.errno
    evidence = f"connect to {where}: {words.error(code) if code else told.trouble}"
    if address.server.host in _LOCAL:
        remedy = "sudo apt-get install gpsd; sudo systemctl enable --now gpsd.socket"
    else:
        remedy = f"on {address.server.host}: gpsd must run with -G, and its firewall let port {address.server.port} in"
    return fail("TS-GPD-001", str(address), evidence, remedy)


def _version(subject: str, version: wire.Version) -> Finding:
    spoken = f"release {version.release}, protocol {version.major}.{version.minor}"
    found = _RELEASE.match(version.release)
    if version.major != wire.PROTOCOL:
        return fail("TS-GPD-002", subject, spoken, "install a gpsd from 3.0 on, whose protocol is 3")
    if found is None or not _ROLLOVER[0] <= (int(found[1]), int(found[2])) <= _ROLLOVER[1]:
        return ok("TS-GPD-002", subject, spoken)
    if version.release == _PATCHED:
        return ok("TS-GPD-002", subject, spoken, "The fault of this release is mended in the packages of Debian 12.")
    return warn("TS-GPD-002", subject, spoken, "install gpsd 3.23 or later, or the patched package of Debian 12")


def _device(address: Gpsd, told: Told) -> Finding:
    subject = str(address)
    listed = "; ".join([", ".join(told.devices) or "none", *told.errors])
    remedy = 'set DEVICES="/dev/ttyAMA0" and GPSD_OPTIONS="-n" in /etc/default/gpsd; sudo systemctl restart gpsd'
    if address.device is not None and address.device not in told.devices:
        if told.devices:
            remedy = f"write gpsd://{address.server}{next(iter(told.devices))}; or {remedy}"
        return fail("TS-GPD-003", subject, f"its receivers: {listed}", remedy, cause=Cause.MISSING)
    if not told.devices:
        return fail("TS-GPD-003", subject, "its receivers: none", remedy, cause=Cause.MISSING)
    drivers = ", ".join(f"{one.path} ({one.driver or 'language not known yet'})" for one in told.devices.values())
    if address.device is None and len(told.devices) > 1:
        remedy = f"write gpsd://{address.server}{next(iter(told.devices))}"
        meaning = "gpsd has several receivers, and the configuration does not say which one is meant."
        return warn("TS-GPD-003", subject, drivers, remedy, meaning)
    return ok("TS-GPD-003", subject, drivers)


def _reports(subject: str, told: Told) -> Iterator[Finding]:
    counted = ", ".join(f"{number} {kind}" for kind, number in told.classes.items())
    if told.mode is None:
        remedy = 'look with `gpsmon`; give gpsd the speed of the line: GPSD_OPTIONS="-n -s 9600" in /etc/default/gpsd'
        yield fail("TS-GPD-004", subject, f"in {TALK_S:g} s: {counted}", remedy)
        return
    yield ok("TS-GPD-004", subject, f"in {TALK_S:g} s: {counted}")
    used = "" if told.used is None else f", {words.count(told.used, 'satellite')} used"
    if told.mode < 2:
        yield warn("TS-GPD-006", subject, f"TPV mode {told.mode}{used}", words.SKY)
    else:
        yield ok("TS-GPD-006", subject, f"TPV mode {told.mode}{used}")
    pulses = f"{told.classes['PPS']} PPS" if told.classes["PPS"] else "no PPS (gpsd has no pulse of it)"
    if not told.toffs:
        evidence = f"no TOFF, {pulses}"
        remedy = "give gpsd the serial device itself, on this machine; it sends TOFF once the receiver tells a time"
        yield warn("TS-GPD-005", subject, evidence, remedy)
        return
    yield ok("TS-GPD-005", subject, f"{len(told.toffs)} TOFF, {pulses}")
    late = sorted(told.toffs)[len(told.toffs) // 2]
    yield serial.latency("TS-GPD-007", subject, "the first message", late, None)
