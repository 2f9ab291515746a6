"""The ``timesync`` command: a table of sub-commands, each loaded when it is used."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from timesync import __version__


@dataclass(frozen=True, slots=True)
class Lazy:
    """A sub-command that is not loaded yet.

    Attributes:
        target: ``module:attribute`` of a ``click.Command``.
        help: The line in the list of commands; kept here so that the list needs no loading.
    """

    target: str
    help: str


COMMANDS: dict[str, Lazy] = {
    "run": Lazy("timesync.cli.run:run", "Keep clocks right and serve time: the daemon."),
    "demo": Lazy("timesync.cli.demo:demo", "Try the whole appliance, without privileges."),
    "status": Lazy("timesync.cli.reading:status", "How right the served clock is, and why."),
    "sources": Lazy("timesync.cli.reading:sources", "What the clocks are compared with."),
    "clocks": Lazy("timesync.cli.reading:clocks", "The clocks of this machine."),
    "ports": Lazy("timesync.cli.reading:ports", "The PTP ports."),
    "clients": Lazy("timesync.cli.clients:clients", "Who has asked this machine for the time."),
    "ptp": Lazy("timesync.cli.ptp:ptp", "Look at PTP on the network: `ptp nodes` lists who talks."),
    "gptp-check": Lazy("timesync.cli.gptp_check:gptp_check", "What of gPTP's requirements the ports meet."),
    "top": Lazy("timesync.cli.top:top", "All of that live, in the terminal."),
    "why": Lazy("timesync.cli.reading:why", "Why the clock is as it is, or why a source is not used."),
    "wait": Lazy("timesync.cli.wait:wait", "Wait until the running daemon is synchronised."),
    "fleet": Lazy("timesync.cli.fleet:fleet", "All appliances that publish to an MQTT broker, side by side."),
    "query": Lazy("timesync.cli.query:query", "Ask an NTP server once, and show what it says."),
    "testserver": Lazy("timesync.cli.testserver:testserver", "An NTP server that misbehaves, to try clients with."),
    "simulate": Lazy("timesync.cli.simulate:simulate_command", "The daemon in simulated time, judged by the truth."),
    "replay": Lazy("timesync.cli.replay:replay_command", "A recording through the core again, to compare settings."),
    "report": Lazy("timesync.cli.report:report", "What was, as one page of HTML."),
    "doctor": Lazy("timesync.cli.doctor:doctor", "Check the machine for what a configuration needs."),
    "check": Lazy("timesync.cli.check:check", "Find every error in a configuration file."),
    "import": Lazy("timesync.cli.import_config:import_command", "Configurations of chrony, ptp4l and others, as ours."),
    "profiles": Lazy("timesync.cli.profiles:profiles", "List the shipped profiles, or show one."),
    "install": Lazy("timesync.cli.install:install", "Make a service of it: unit, user, devices, manual pages."),
    "uninstall": Lazy("timesync.cli.install:uninstall", "Take away what `timesync install` made."),
    "completion": Lazy("timesync.cli.completion:completion", "Let a shell complete this command."),
}
"""Every sub-command. To add one: write ``timesync/cli/<name>.py`` and a line here."""


class LazyGroup(click.Group):
    """A group that imports a sub-command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one sub-command; None when there is none of this name."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a name that is not there."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            ctx.fail(f'no command "{args[0]}"{hint}')
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names from the table alone, and our own options: a key press must not wait for sub-commands to load."""
        names = (
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        )
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table alone."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="timesync", message="%(prog)s %(version)s")
def cli() -> None:
    """One NTP and PTP time service: keeps this machine's clocks right, and serves them."""


def main() -> None:
    """The entry point of the installed command."""
    cli(prog_name="timesync")


if __name__ == "__main__":
    main()
