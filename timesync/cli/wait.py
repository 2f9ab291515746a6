"""``timesync wait``: until the running daemon is synchronised."""

from __future__ import annotations

import time
from typing import Any

import click

from timesync.base.time import Duration
from timesync.cli.control import exit_code, socket_options, socket_path
from timesync.cli.params import NOT_NEGATIVE, POSITIVE
from timesync.cli.reading import objection_to
from timesync.cli.render import ExitCode, fail
from timesync.cli.show import span
from timesync.observe.control import ControlError, ask

_PAUSE_S = 0.2


@click.command()
@socket_options
@click.option("--timeout", type=NOT_NEGATIVE, default="60s", show_default=True, help="How long at most; 0s: no limit.")
@click.option("--max-error", type=POSITIVE, help="The error bound must be at most this, too.")
def wait(control: str | None, file: str | None, timeout: Duration, max_error: Duration | None) -> None:
    """Wait until the served clock is locked; a daemon that does not run yet is waited for.

    Ends with 0 when it is locked, 1 when the time is up, 3 when the daemon's socket may not be opened.
    """
    path = socket_path(control, file)
    started = time.monotonic()
    said = False
    while True:
        state, trouble = _look(path)
        if state is not None:
            trouble = objection_to(state, "locked", max_error)
        waited = time.monotonic() - started
        if state is not None and trouble is None:
            click.echo(f"locked after {span(waited)}: the error is at most {span(state['error_bound_s'])}")
            return
        if timeout and waited >= timeout.s():
            fail(ExitCode.NO, f"not locked after {span(waited)}: {trouble}")
        if not said:
            click.echo(f"waiting: {trouble}", err=True)
            said = True
        left = timeout.s() - waited if timeout else _PAUSE_S
        time.sleep(min(_PAUSE_S, left))


def _look(path: str) -> tuple[dict[str, Any] | None, str | None]:
    """The status, or why there is none yet. Ends the command where waiting would not help."""
    try:
        return ask(path, "status"), None
    except ControlError as error:
        code = exit_code(error)
        if code is not ExitCode.NO:
            fail(code, str(error))
        return None, str(error)
