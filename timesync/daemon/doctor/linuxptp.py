"""Which clock a program of linuxptp steers: by what it has open, else by its command line and its file."""

from __future__ import annotations

import enum
import getopt
from collections.abc import Iterator
from dataclasses import dataclass

from timesync.daemon.doctor.machine import Machine
from timesync_drivers import proc
from timesync_drivers.proc import Process

_SHORT = {
    "ptp4l": "AEP246HSLf:i:p:sl:mqvh",
    "phc2sys": "arc:d:s:E:P:I:S:F:R:N:O:L:M:i:u:wn:xz:l:mqvht:f:D:",
    "ts2phc": "ac:f:hi:l:mqs:vP:",
}
"""Options of linuxptp 3 and 4, as getopt(3) has them (the manual pages of these programs)."""
_SYSTEM = "CLOCK_REALTIME"


class Verdict(enum.Enum):
    """Whether a program steers the system clock."""

    YES = "yes"
    NO = "no"
    NO_BY_COMMAND = "no, as far as its command line tells"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Told:
    """What a command line and the file that it names say.

    Attributes:
        options: Letters and their values, in order.
        settings: Of the global section and of ``--name=value``, the latter over the former.
        interfaces: Sections and options that name a card or a device.
        complete: The file could be read, or there is none.
    """

    options: tuple[tuple[str, str], ...]
    settings: dict[str, str]
    interfaces: frozenset[str]
    complete: bool


def steers_system(machine: Machine, process: Process) -> Verdict:
    """Whether a ptp4l or a phc2sys steers the system clock."""
    if process.name == "phc2sys":
        return _phc2sys(read(machine, process))
    opened = proc.opened(machine.proc, process.pid)
    if opened:
        return Verdict.NO if any(name.startswith("/dev/ptp") for name in opened) else Verdict.YES
    told = read(machine, process)
    stamping = "hardware"
    for letter, _ in told.options:
        stamping = {"-S": "software", "-H": "hardware", "-L": "legacy"}.get(letter, stamping)
    by_letter = any(letter in ("-S", "-H", "-L") for letter, _ in told.options)
    if not by_letter:
        if not told.complete:
            return Verdict.UNKNOWN
        stamping = told.settings.get("time_stamping", stamping)
    return Verdict.YES if stamping == "software" else Verdict.NO_BY_COMMAND


def _phc2sys(told: Told) -> Verdict:
    """It steers the clock of ``-c``, which is the system's unless said; with ``-a`` the system's only by ``-r``."""
    letters = {letter for letter, _ in told.options}
    if "-a" in letters:
        return Verdict.YES if "-r" in letters else Verdict.NO
    steered = [value for letter, value in told.options if letter == "-c"]
    return Verdict.YES if not steered or _SYSTEM in steered else Verdict.NO


def names(machine: Machine, process: Process, *wanted: str) -> bool:
    """Whether a program whose open files are hidden was told of one of these cards or devices."""
    if process.name not in _SHORT or proc.opened(machine.proc, process.pid):
        return False
    return not read(machine, process).interfaces.isdisjoint(wanted)


def read(machine: Machine, process: Process) -> Told:
    """What its command line says, and the file behind ``-f``."""
    arguments = process.arguments[1:]
    long = dict(argument[2:].partition("=")[::2] for argument in arguments if argument.startswith("--"))
    short = [argument for argument in arguments if not argument.startswith("--")]
    try:
        options, _ = getopt.gnu_getopt(short, _SHORT[process.name])
    except getopt.GetoptError:
        options = []  # of a release that we do not know
    settings: dict[str, str] = {}
    interfaces = {value for letter, value in options if letter in ("-i", "-c", "-s", "-p") and value}
    complete = True
    for _, file in (option for option in options if option[0] == "-f"):
        try:
            text = machine.at(file).read_text(errors="replace")
        except OSError:
            complete = False
            continue
        for section, key, value in _lines(text):
            if key is None:
                interfaces.add(section)
            elif section == "global":
                settings[key] = value
    return Told(tuple(options), settings | long, frozenset(interfaces), complete)


def _lines(text: str) -> Iterator[tuple[str, str | None, str]]:
    """(section, key, value) of each line; (section, None, "") where one begins."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            yield section, None, ""
        elif line and not line.startswith("#"):
            key, *rest = line.split(None, 1)
            yield section, key, "".join(rest).strip()
