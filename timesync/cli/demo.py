"""``timesync demo``: the whole appliance for a minute, without privileges, with the truth beside every claim."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesync.base.time import Duration
from timesync.cli.invoked import own_command
from timesync.cli.params import POSITIVE, Parsed
from timesync.cli.render import ExitCode, fail
from timesync.cli.show import UNKNOWN, console, count, ppm, signed, span
from timesync.ntp.query import Outcome, best_of
from timesync.observe.snapshot import reference_text
from timesync.servo.view import ClockView

if TYPE_CHECKING:  # the daemon is imported when the demonstration runs: --help must not wait for it
    from timesync.daemon.demo import Found, Judged
    from timesync.daemon.demo_faults import PlannedFault, ReceiverKind


def _fault(text: str) -> PlannedFault:
    from timesync.daemon.demo_faults import parse_fault

    return parse_fault(text)


FAULT: Parsed[PlannedFault] = Parsed("FAULT", _fault)


@click.command()
@click.option("--duration", type=POSITIVE, default="60s", show_default=True, help="How long; Ctrl-C ends it earlier.")
@click.option(
    "--receiver",
    type=click.Choice(["nmea", "ubx", "gpsd"]),
    default="nmea",
    show_default=True,
    help="What the simulated receiver speaks; gpsd: it is behind a simulated gpsd.",
)
@click.option(
    "--fault",
    "faults",
    type=FAULT,
    multiple=True,
    metavar="[DEVICE:]FAULT@START[+LASTING]",
    help="Break something, such as no-fix@20s+15s; also several times. FAULT: wrong-week, jump, stale, no-fix, "
    "no-pulses, false-leap, unplugged, garbled, silent, gpsd-gone. DEVICE: receiver, unless it is pps or nic, which "
    "know no-pulses and unplugged.",
)
@click.option(
    "--web",
    "web_port",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=0,
    default=0,
    metavar="[PORT]",
    help="The port of the web page on loopback; any free one unless given.",
)
def demo(duration: Duration, receiver: ReceiverKind, faults: tuple[PlannedFault, ...], web_port: int) -> None:
    """See the whole appliance work: no privileges, no hardware, the system clock is only read.

    A clock in software starts 10 ms and 20 ppm wrong. The daemon corrects it from a simulated satellite receiver and
    its pulse a second, compares it with a local NTP server, and serves its time over real NTP at stratum 1. A web page
    on loopback shows it. Ends with 0 when the clock was locked.
    """
    from timesync.daemon.demo import Demonstration, Teller, demonstrate

    for planned in faults:
        objection = planned.objection(receiver, duration)
        if objection is not None:
            raise click.BadParameter(objection, param_hint="'--fault'")
    out = console()
    command = own_command()

    def began(hardware: Sequence[str], served: Sequence[str], control: str, page: str | None) -> None:
        for words in hardware:
            out.print(f"Started {words}.", soft_wrap=True)
        out.print("Started the daemon with profile demo: clock bench is 10 ms and 20 ppm off.")
        out.print(f"It serves NTP on {', '.join(served) or 'no port'}. Look at it from another terminal with:")
        out.print(f"  {command} status --control {control}", soft_wrap=True)
        if page is not None:
            out.print(f"or in a browser: http://{page}/", soft_wrap=True)

    def progress(at_s: float, offset_s: float, clock: ClockView) -> None:
        claim = "nothing claimed" if clock.error_bound_s is None else f"claimed ±{span(clock.error_bound_s)}"
        known = math.isfinite(clock.frequency_uncertainty.ratio)
        found = f"frequency {clock.frequency.ppm():+.2f} ppm" if known else "frequency unknown"
        out.print(f"{at_s:5.1f} s  {clock.state.value}: truly {signed(offset_s)} off, {claim}, {found}")

    def locked(found: Found) -> None:
        out.print(Text(f"{found.locked_s:5.1f} s  LOCKED after {span(found.locked_s)}", style="bold green"))

    def asked(best: Outcome | None) -> None:
        out.print(f"         asked like any client would: {_asked(best)}", soft_wrap=True)

    def fault(at_s: float, text: str) -> None:
        out.print(Text(f"{at_s:5.1f} s  FAULT {text}", style="bold red"), soft_wrap=True)

    def said(at_s: float, text: str) -> None:
        out.print(Text(f"{at_s:5.1f} s  {text}", style="yellow"), soft_wrap=True)

    show = Demonstration(duration, receiver, faults, web_port)
    try:
        found = asyncio.run(demonstrate(show, Teller(began, progress, locked, asked, fault, said)))
    except OSError as error:
        fail(ExitCode.MISSING, f"the demonstration cannot run here: {error.strerror or error}")
    _print(out, found)
    if found.locked_s is None:
        fail(ExitCode.NO, "the clock was not locked in this time")
    if not faults:
        out.print("\nTo see what it does without satellites, or with another receiver:")
        out.print(f"  {command} demo --fault no-fix@20s+20s", soft_wrap=True)
        out.print(f"  {command} demo --receiver ubx --fault unplugged@30s+10s", soft_wrap=True)


def _print(out: Console, found: Found) -> None:
    """The closing tables."""
    out.print()
    out.print(_table("What it did", _rows(found)))
    if found.sources:
        out.print()
        out.print(_table("Its sources at the end", ((one["name"], _source(one)) for one in found.sources)))


def _table(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return table


def _rows(found: Found) -> Iterator[tuple[str, str]]:
    yield "time to lock", "not locked" if found.locked_s is None else span(found.locked_s)
    yield "ran for", f"{span(found.ran_s)}, {count(found.steps, 'step')} of the clock"
    yield "state at the end", f"{found.state.value}: {found.reason}"
    at_end = signed(found.bench.offset_s)
    yield "true offset", f"{signed(found.start_offset_s)} at the start, {at_end} at the end"
    if found.locked_s is not None:
        yield "since lock", f"RMS {span(found.bench.rms_s)}, largest {span(found.bench.worst_s)}"
        yield "claimed bound", _claim(found.bench)
    yield "frequency", f"found {_frequency(found)}, truly {ppm(found.true_frequency_ppm)}"
    if found.card.looks:
        yield "network card", f"RMS {span(found.card.rms_s)}, largest {span(found.card.worst_s)} off since lock"
        yield "its claimed bound", _claim(found.card)
    yield "NTP server", f"{count(found.served, 'request')} answered"
    if found.asked:
        yield "independent query", _asked(best_of(found.asked))


def _claim(judged: Judged) -> str:
    held = "always held" if not judged.broken else f"broken in {judged.broken}"
    return f"{span(judged.bound_s)} at the end; {held} ({judged.looks - judged.broken} of {judged.looks} comparisons)"


def _source(source: dict[str, object]) -> str:
    """One source in words, from the object of ``timesync sources --json``."""
    offset_s = source["offset_s"]
    if isinstance(offset_s, float):
        return f"{source['state']}: {source['reason']}; the clock is {signed(offset_s)} against it"
    return f"{source['state']}: {source['reason']}"


def _asked(best: Outcome | None) -> str:
    """What an independent client saw of the served clock, against the system clock."""
    if best is None or best.sample is None or best.packet is None:
        return "no answer"
    offset_s = best.sample.offset.s()
    side = "behind" if offset_s > 0 else "ahead"
    packet = best.packet
    who = f"stratum {packet.stratum}, reference {reference_text(packet.reference_id, packet.stratum)}"
    return f"{span(abs(offset_s))} {side}, round trip {span(best.sample.round_trip.s())}; {who}"


def _frequency(found: Found) -> str:
    """The oscillator's error as the daemon knows it; unknown before the first measurements."""
    known = found.frequency_uncertainty_ppm
    return ppm(found.frequency_ppm, known) if math.isfinite(known) else UNKNOWN
