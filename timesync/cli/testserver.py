"""``timesync testserver``: an NTP server that misbehaves, to try clients with."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import click

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.cli.params import DURATION, FREQUENCY, LISTEN
from timesync.cli.render import ExitCode, fail
from timesync.cli.show import count

if TYPE_CHECKING:  # loaded when it runs: --help and completion must not wait for it
    from timesync.daemon.testserver import Misbehaviour

_LINES_PER_S = 20
_LEAPS = {"none": Leap.NONE, "insert": Leap.INSERT, "delete": Leap.DELETE}


class Said:
    """Prints a line for each datagram, at most so many a second, and counts what was done."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self._second = 0
        self._printed = 0

    def heard(self, host: str, port: int, what: str) -> None:
        """One datagram came and this was done with it."""
        self.done[what] = self.done.get(what, 0) + 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._printed = second, 0
        self._printed += 1
        if self._printed <= _LINES_PER_S:
            click.echo(f"{host} port {port}: {what}")
        elif self._printed == _LINES_PER_S + 1:
            click.echo("more in this second is counted, not printed")


@click.command()
@click.option("--listen", type=LISTEN, default="127.0.0.1:11123", show_default=True, help="Port 0: a free one.")
@click.option("--deny", is_flag=True, help="Refuse every request with a kiss-o'-death DENY.")
@click.option("--rate", is_flag=True, help="Refuse every request with a kiss-o'-death RATE.")
@click.option("--silent", is_flag=True, help="Answer nothing.")
@click.option("--offset", type=DURATION, default="0s", help="Serve a time that is so far ahead; -50ms: behind.")
@click.option("--drift", type=FREQUENCY, default="0ppm", help="Serve a time that runs so much too fast.")
@click.option("--leap", type=click.Choice(list(_LEAPS)), default="none", help="Announce a leap second.")
@click.option("--unsynchronized", is_flag=True, help="Say that the clock is not synchronised.")
@click.option("--ntpv5", is_flag=True, help="Answer NTPv5, too (experimental: a draft).")
def testserver(
    listen: Endpoint,
    offset: Duration,
    drift: Rate,
    leap: str,
    unsynchronized: bool,
    ntpv5: bool,
    **refused: bool,
) -> None:
    """Serve real NTP, wrong on purpose, until Ctrl-C; touches no clock.

    --offset, --drift and --leap go together; --deny, --rate, --silent and --unsynchronized stand alone.
    """
    from timesync.daemon.testserver import Misbehaviour

    refusals = [name for name in ("deny", "rate", "silent") if refused[name]]
    if len(refusals) > 1:
        raise click.UsageError(f"--{refusals[0]} and --{refusals[1]} exclude each other")
    try:
        wrong = Misbehaviour(
            reply=refusals[0] if refusals else "answer",
            offset=offset,
            drift=drift,
            leap=_LEAPS[leap],
            unsynchronized=unsynchronized,
            ntpv5=ntpv5,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    said = Said()
    try:
        asyncio.run(_serve(listen, wrong, said))
    except PermissionError as error:
        fail(ExitCode.NOT_PERMITTED, f"{error.strerror}; ports below 1024 need root, try --listen 127.0.0.1:11123")
    except OSError as error:
        fail(ExitCode.NO, str(error.strerror or error))
    done = ", ".join(f"{number} {what}" for what, number in said.done.items())
    click.echo(f"{count(sum(said.done.values()), 'datagram')} came{': ' if done else ''}{done}")


async def _serve(listen: Endpoint, wrong: Misbehaviour, said: Said) -> None:
    from timesync.daemon.testserver import TrialServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = TrialServer([listen], wrong, said.heard)
    try:
        where = server.addresses[0]
        click.echo(f"NTP test server on {where}: {wrong.words()}. Ctrl-C ends it.")
        click.echo(f"Ask it with: timesync query {where}{' --version 5' if wrong.ntpv5 else ''}")
        await stop.wait()
    finally:
        server.close()
