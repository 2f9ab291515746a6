"""All checks of one configuration, in the order in which people fail, within a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from functools import partial

from timesync.config.load import Loaded
from timesync.config.problem import ConfigError
from timesync.config.sources import GpsdSource, NmeaSource
from timesync.daemon.doctor import gpsd, network, phc, pulses, running, serial, steering, system
from timesync.daemon.doctor.case import Background, Case, UnfinishedError, in_thread
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, warn
from timesync.daemon.doctor.machine import Machine
from timesync.daemon.leap import SYSTEM_LISTS, load_leap_table

TOTAL_S = 12.5
"""The whole takes no longer than this and what starts and ends take."""
_STEP_S = 0.5
"""What a check has at least, however long those before it took."""
_AGAIN = "timesync doctor, once more"

Step = tuple[str, Callable[[], Iterable[Finding]]]


def bad_configuration(file: str, error: ConfigError) -> Finding:
    """A configuration that cannot be used: nothing more can be checked."""
    first = error.problems[0]
    more = "" if len(error.problems) == 1 else f", and {len(error.problems) - 1} more"
    denied = isinstance(error.cause, PermissionError)
    remedy = f"sudo timesync doctor -c {file}" if denied else f"timesync check {file}"
    cause = Cause.PERMISSION if denied else Cause.CONFIG
    return fail("TS-CFG-001", file, f"{first.headline()}{more}", remedy, cause=cause)


def examine(loaded: Loaded, file: str, argument: str, machine: Machine) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    Args:
        loaded: The configuration.
        file: Its name.
        argument: How a command line names it, for remedies: ``-c FILE`` or ``--profile NAME``.
        machine: Where to look.
    """
    config = loaded.config
    table, said = load_leap_table(SYSTEM_LISTS if config.leap is None else (machine.at(config.leap.file),))
    background = Background(TOTAL_S)
    daemon, silence = running.reach(str(machine.at(config.observe.control)))
    case = Case(config, argument, machine, table, said, daemon, silence, background)
    _begin(case)
    yield from _configuration(loaded, file, argument)
    for subject, step in steps(case):
        yield from bounded(case, subject, step)


def _configuration(loaded: Loaded, file: str, argument: str) -> Iterator[Finding]:
    count = len(loaded.config.sources)
    yield ok("TS-CFG-001", file, f"{count} source{'' if count == 1 else 's'}")
    for problem in loaded.warnings:
        meaning = "The configuration can be used, but this is probably not meant."
        shown = argument.replace("-c ", "check ").replace("--profile ", "profiles show ")
        yield warn("TS-CFG-001", file, problem.headline("warning"), f"timesync {shown}", meaning)


def _begin(case: Case) -> None:
    """Begin what takes seconds."""
    for source in case.config.sources:
        if isinstance(source, NmeaSource):
            serial.begin(case, source.nmea, source.baud)
        elif isinstance(source, GpsdSource):
            gpsd.begin(case, source.gpsd)
    for source in pulses.kernel_sources(case):
        pulses.begin(case, source.pps)
    for server in network.servers(case):
        network.begin(case, server)


def steps(case: Case) -> Iterator[Step]:
    """What to look at, in order."""
    config = case.config
    yield "Python packages", lambda: [system.packages(config)]
    serials = [source for source in config.sources if isinstance(source, NmeaSource)]
    daemons = [source for source in config.sources if isinstance(source, GpsdSource)]
    ports = {source.nmea: False for source in serials}
    ports |= {port: True for source in daemons if (port := gpsd.local_device(case, source.gpsd)) is not None}
    for port, by_gpsd in ports.items():
        yield port, partial(serial.line, case, port, gpsd=by_gpsd)
    for source in serials:
        yield source.nmea, partial(serial.messages, case, source.nmea, source.baud)
    kernel = pulses.kernel_sources(case)
    if kernel:
        yield "config.txt", partial(pulses.board, case)
    for pulse in kernel:
        yield pulse.pps, partial(pulses.device, case, pulse)
    for receiver in daemons:
        yield str(receiver.gpsd), partial(gpsd.examine, case, receiver.gpsd)
    for name, clock in config.clocks.items():
        if clock.phc is not None:
            yield name, partial(phc.examine, case, name, clock)
    yield "system clock", partial(steering.rivals, case)
    if any(clock.discipline and clock.virtual is None for clock in config.clocks.values()):
        yield "capabilities", lambda: [steering.capability(case)]
    yield "server", partial(network.ports, case)
    for server in network.servers(case):
        yield str(server), partial(network.examine, case, server)
    yield "leap seconds", lambda: [system.leap(case)]
    yield "directories", partial(system.directories, case)
    yield "exchanges", partial(system.exchanges, case)
    yield "thermometers", partial(system.thermometers, case)
    yield "machine", partial(steering.counter, case)
    yield "timesync", partial(running.examine, case)


def bounded(case: Case, subject: str, step: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a step finds; that it did not end, when it does not."""
    # In a thread of its own: a device or a network disk may keep even a harmless question waiting for ever.
    found: list[Finding] = []
    done = in_thread(lambda: found.extend(step()))
    try:
        ended = bool(wait([done], max(case.background.left_s(), _STEP_S)).done)
        if ended:
            done.result()
    except UnfinishedError:
        ended = False
    except OSError as error:  # what was there a moment ago is gone
        yield from found
        yield warn("TS-RUN-004", subject, f"{error.filename or subject}: {error.strerror or error}", _AGAIN)
        return
    yield from list(found)
    if not ended:
        yield warn("TS-RUN-004", subject, f"no end within {TOTAL_S:g} s", _AGAIN)
