"""``timesync completion``: what makes a shell complete our commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_TIMESYNC_COMPLETE"
"""By it the shell's function asks the command itself; click names it so."""


def script(shell: str) -> str:
    """What a shell reads to complete ``timesync``; one of ``SHELLS``."""
    from timesync.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    # Not its own `source`, which starts a Bash to see how old it is: the file may be for another machine.
    return ShellComplete.source(kind(cli, {}, "timesync", _VARIABLE)).rstrip() + "\n"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what SHELL reads to complete the timesync command.

    For Bash (4.4 or newer), now: eval "$(timesync completion bash)". `timesync install` and the Debian package put it
    where the shells find it by themselves.
    """
    click.echo(script(shell), nl=False)
