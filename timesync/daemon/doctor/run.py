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
_REPORT = "timesync doctor, once more; if it stays so, report this line as a fault of timesync"

Step = tuple[str, Callable[[], Iterable[Finding]]]


def bad_configuration(file: str, error: ConfigError, argument: str) -> Finding:
    """A configuration that cannot be used: nothing more can be checked. ``argument`` is that of ``examine``."""
    first = error.problems[0]
    more = "" if len(error.problems) == 1 else f", and {len(error.problems) - 1} more"
    denied = isinstance(error.cause, PermissionError)
    remedy = f"sudo timesync doctor {argument}" if denied else _look(argument)
    cause = Cause.PERMISSION if denied else Cause.CONFIG
    return fail("TS-CFG-001", file, f"{first.headline()}{more}", remedy, cause=cause)


def examine(loaded: Loaded, file: str, argument: str, machine: Machine) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    Args:
        loaded: The configuration.
        file: Its name.
        argument: How a command line names it, for remedies: ``-c FILE``, ``--profile NAME`` or both.
        machine: Where to look.
    """
    config = loaded.config
    table, said = load_leap_table(SYSTEM_LISTS if config.leap is None else (machine.at(config.leap.file),))
    background = Background(TOTAL_S)
    daemon, silence = running.reach(str(machine.at(config.observe.control)))
    case = Case(config, argument, machine, table, said, daemon, silence, background)
    # Begun before anything is told, so that all of it goes on at once.
    failed = [broken for subject, start in _beginnings(case) if (broken := _begun(subject, start)) is not None]
    yield from _configuration(loaded, file, argument)
    yield from failed
    for subject, step in steps(case):
        yield from bounded(case, subject, step)


def _configuration(loaded: Loaded, file: str, argument: str) -> Iterator[Finding]:
    count = len(loaded.config.sources)
    yield ok("TS-CFG-001", file, f"{count} source{'' if count == 1 else 's'}")
    for problem in loaded.warnings:
        meaning = "The configuration can be used, but this is probably not meant."
        yield warn("TS-CFG-001", file, problem.headline("warning"), _look(argument), meaning)


def _look(argument: str) -> str:
    """The command that shows what is wrong with the configuration, or what a profile alone says."""
    if argument.startswith("-c "):
        return f"timesync check {argument.removeprefix('-c ')}"
    return f"timesync profiles show {argument.removeprefix('--profile ')}"


def _beginnings(case: Case) -> Iterator[tuple[str, Callable[[], None]]]:
    """What takes seconds, to be begun."""
    for source in case.config.sources:
        if isinstance(source, NmeaSource):
            yield source.nmea, partial(serial.begin, case, source.nmea, source.baud)
        elif isinstance(source, GpsdSource):
            yield str(source.gpsd), partial(gpsd.begin, case, source.gpsd)
    for source in pulses.kernel_sources(case):
        yield source.pps, partial(pulses.begin, case, source.pps)
    for server in network.servers(case):
        yield str(server), partial(network.begin, case, server)


def _begun(subject: str, start: Callable[[], None]) -> Finding | None:
    """Begin one; why it could not be begun."""
    try:
        start()
    except Exception as error:  # noqa: BLE001 - one thing that is odd must not hide what the others find
        return _broken(subject, error)
    return None


def _broken(subject: str, error: Exception) -> Finding:
    """A check that broke off."""
    if isinstance(error, OSError):  # what was there a moment ago is gone
        return warn("TS-RUN-004", subject, f"{error.filename or subject}: {error.strerror or error}", _AGAIN)
    meaning = "The check itself broke off: a fault of timesync, or something that it did not expect of this machine."
    return warn("TS-RUN-004", subject, f"{type(error).__name__}: {error}", _REPORT, meaning)


def steps(case: Case) -> Iterator[Step]:
    """What to look at, in order."""
    config = case.config
    yield "Python packages", lambda: [system.packages(config)]
    yield "user", partial(system.user, case)
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
    yield "Landlock", partial(system.landlock, case)
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
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others find
        yield from found
        yield _broken(subject, error)
        return
    yield from list(found)
    if not ended:
        yield warn("TS-RUN-004", subject, f"no end within {TOTAL_S:g} s", _AGAIN)
