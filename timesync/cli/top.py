"""``timesync top``: the running daemon, live in a terminal."""

from __future__ import annotations

import click

from timesync.cli.control import socket_options, socket_path
from timesync.cli.render import ExitCode, fail

_INSTALL = "pip install 'timesync[top]'"


@click.command()
@socket_options
def top(control: str | None, file: str | None) -> None:
    """Watch the daemon live: verdict, sources, clocks, PTP ports, receiver and events.

    It goes on over restarts of the daemon. Keys: q ends it, s sorts the sources by the next column, p pauses, l
    changes between light and dark, ? explains the words. Ends with 2 when the package that draws it is missing.
    """
    path = socket_path(control, file)
    try:
        from timesync.cli.top_app import TopApp
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        fail(ExitCode.USAGE, f"this needs the package textual: {_INSTALL}")
    trouble = TopApp(path).run()
    if trouble is not None:
        fail(ExitCode.NO, trouble)
