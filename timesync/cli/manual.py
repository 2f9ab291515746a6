"""The manual page timesync(1), from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from timesync.cli.main import COMMANDS, cli
from timesync.cli.render import ExitCode
from timesync.config import roff
from timesync.config.load import DEFAULT_FILE

_ENDS = {
    ExitCode.OK: "Fine.",
    ExitCode.NO: "The answer is no: not synchronised, no reply.",
    ExitCode.USAGE: "Bad usage, or a bad configuration.",
    ExitCode.NOT_PERMITTED: "Not permitted.",
    ExitCode.MISSING: "Hardware or a feature of the kernel is missing.",
}
_FILES = {
    DEFAULT_FILE: "The configuration, see timesync.yaml(5).",
    "/run/timesync/control.sock": "The socket by which the running daemon is asked.",
    "/var/lib/timesync": "What was learnt of the clocks, keys of NTS, and what else is kept over a restart.",
}


def page() -> str:
    """The whole page, as roff."""
    context = click.Context(cli, info_name="timesync")
    parts = [
        roff.title("timesync", 1, "User Commands"),
        roff.heading("NAME"),
        "timesync \\- keep this machine's clocks right and serve the time, by NTP and PTP",
        roff.heading("SYNOPSIS"),
        roff.line("`timesync` COMMAND [OPTIONS] [ARGS]..."),
        ".br",
        roff.line("`timesync` --version"),
        roff.heading("DESCRIPTION"),
        roff.first(inspect.cleandoc(cli.help or "")),
        roff.paragraph("`timesync COMMAND --help` prints what is said here of a command."),
        roff.heading("COMMANDS"),
    ]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, f"timesync {name}", click.Context(command, info_name=name, parent=context))
    parts.append(roff.heading("EXIT STATUS"))
    parts += [roff.entry(str(int(code)), text) for code, text in _ENDS.items()]
    parts.append(roff.heading("FILES"))
    parts += [roff.entry(path, text) for path, text in _FILES.items()]
    parts += [roff.heading("SEE ALSO"), "\\fBtimesync.yaml\\fP(5), \\fBsystemctl\\fP(1), \\fBjournalctl\\fP(1)"]
    return "\n".join(parts) + "\n"


def _command(command: click.Command, name: str, context: click.Context) -> Iterator[str]:
    """A command and those below it."""
    yield roff.subheading(" ".join([name, *command.collect_usage_pieces(context)]))
    for number, text in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        yield roff.paragraph(text) if number else roff.first(text)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None and "--help" not in parameter.opts:
            yield roff.entry(*record)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            part = command.get_command(context, below)
            assert part is not None
            yield from _command(part, f"{name} {below}", click.Context(part, info_name=below, parent=context))
