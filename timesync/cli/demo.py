"""``timesync demo``: the whole appliance for a minute, without privileges, with the truth beside every claim."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from timesync.base.time import Duration
from timesync.cli.params import POSITIVE
from timesync.cli.render import ExitCode, fail
from timesync.cli.show import UNKNOWN, console, count, ppm, signed, span
from timesync.ntp.query import Outcome, best_of
from timesync.servo.view import ClockView

if TYPE_CHECKING:  # the daemon is imported when the demonstration runs: --help must not wait for it
    from timesync.daemon.demo import Found


@click.command()
@click.option("--duration", type=POSITIVE, default="60s", show_default=True, help="How long; Ctrl-C ends it earlier.")
def demo(duration: Duration) -> None:
    """See the whole appliance work: no privileges, no hardware, the system clock is only read.

    A clock in software starts 10 ms and 20 ppm wrong. The daemon corrects it from a local NTP server and serves
    its time over real NTP. Ends with 0 when the clock was locked.
    """
    from timesync.daemon.demo import Reference, Teller, demonstrate
    from timesync.observe import journal

    journal.set_up("warning", "text", stamped=False)
    out = console()

    def began(references: Sequence[Reference], served: Sequence[str], control: str) -> None:
        for reference in references:
            out.print(f"Started {reference.words}.")
        out.print("Started the daemon with profile demo: clock bench is 10 ms and 20 ppm off.")
        out.print(f"It serves NTP on {', '.join(served) or 'no port'}. Look at it from another terminal with:")
        out.print(f"  timesync status --control {control}", soft_wrap=True)

    def progress(at_s: float, offset_s: float, clock: ClockView) -> None:
        claim = "nothing claimed" if clock.error_bound_s is None else f"claimed ±{span(clock.error_bound_s)}"
        known = math.isfinite(clock.frequency_uncertainty.ratio)
        found = f"frequency {clock.frequency.ppm():+.2f} ppm" if known else "frequency unknown"
        out.print(f"{at_s:5.1f} s  {clock.state.value}: truly {signed(offset_s)} off, {claim}, {found}")

    def locked(found: Found) -> None:
        out.print(Text(f"{found.locked_s:5.1f} s  LOCKED after {span(found.locked_s)}", style="bold green"))

    def asked(best: Outcome | None) -> None:
        out.print(f"         asked like any client would: {_asked(best)}")

    try:
        found = asyncio.run(demonstrate(duration, Teller(began, progress, locked, asked)))
    except OSError as error:
        fail(ExitCode.MISSING, f"the demonstration cannot run here: {error.strerror or error}")
    table = Table(box=None, show_header=False, pad_edge=False, title="What it did", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("time to lock", "not locked" if found.locked_s is None else span(found.locked_s))
    table.add_row("ran for", f"{span(found.ran_s)}, {count(found.steps, 'step')} of the clock")
    table.add_row("true offset", f"{signed(found.start_offset_s)} at the start, {signed(found.offset_s)} at the end")
    if found.locked_s is not None:
        table.add_row("largest after lock", span(found.worst_s))
        held = "always held" if not found.broken else f"broken in {found.broken}"
        table.add_row("claimed bound", f"{span(found.bound_s)} at the end; {held} ({found.looks} comparisons)")
    table.add_row("frequency", f"found {_frequency(found)}, truly {ppm(found.true_frequency_ppm)}")
    table.add_row("NTP client", f"{count(found.requests, 'request')} sent, {count(found.answers, 'answer')}")
    table.add_row("NTP server", f"{count(found.served, 'request')} answered")
    if found.asked:
        table.add_row("independent query", _asked(best_of(found.asked)))
    out.print()
    out.print(table)
    if found.locked_s is None:
        fail(ExitCode.NO, "the clock was not locked in this time")


def _asked(best: Outcome | None) -> str:
    """What an independent client saw of the served clock, against the system clock."""
    if best is None or best.sample is None:
        return "no answer"
    offset_s = best.sample.offset.s()
    side = "behind" if offset_s > 0 else "ahead"
    return f"{span(abs(offset_s))} {side}, round trip {span(best.sample.round_trip.s())}"


def _frequency(found: Found) -> str:
    """The oscillator's error as the daemon knows it; unknown before the first measurements."""
    known = found.frequency_uncertainty_ppm
    return ppm(found.frequency_ppm, known) if math.isfinite(known) else UNKNOWN
