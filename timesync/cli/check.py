"""``timesync check``: every error of a configuration at once."""

from __future__ import annotations

import json

import click

from timesync.cli.params import profile_names
from timesync.cli.render import ExitCode, config_exit_code, fail_config, json_option, print_json
from timesync.config.load import Loaded, load
from timesync.config.problem import ConfigError, Problem
from timesync.config.reference import json_schema
from timesync.config.sources import NtpSource, PoolSource, RoughtimeSource


@click.command()
@click.argument("file", required=False, type=click.Path())
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=profile_names,
    help="Check the file over this profile instead of its own.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema that an editor completes from, and end.")
@json_option
@click.pass_context
def check(ctx: click.Context, file: str | None, profile: str | None, schema: bool, as_json: bool) -> None:
    """Find every error in the configuration FILE.

    Prints file:line:column, what is wrong and what was probably meant. Ends with 0 when the file is fine,
    2 when it is not, and 3 when it may not be read.
    """
    if schema:
        if file is not None or profile is not None:
            raise click.UsageError("--schema goes without FILE and --profile")
        click.echo(json.dumps(json_schema(), indent=2))
        return
    if file is None:
        raise click.UsageError("which FILE?")
    try:
        loaded = load(file, profile)
    except ConfigError as error:
        if not as_json:
            fail_config(error)
        print_json({"file": file, "ok": False, "problems": [_as_json(p, "error") for p in error.problems]})
        ctx.exit(int(config_exit_code(error)))
    if as_json:
        problems = [_as_json(problem, "warning") for problem in loaded.warnings]
        print_json({"file": file, "ok": True, "problems": problems})
        ctx.exit(int(ExitCode.OK))
    for problem in loaded.warnings:
        click.echo(problem.render("warning"), err=True)
    click.echo(f"{file}: fine: {_summary(loaded)}")


def _summary(loaded: Loaded) -> str:
    """What the configuration comes to, in one line."""
    config = loaded.config
    parts = [] if config.profile is None else [f"profile {config.profile}"]
    disciplined = [name for name, clock in config.clocks.items() if clock.discipline]
    parts.append(f"steers {', '.join(disciplined)}" if disciplined else "steers no clock")
    count = len(config.sources)
    secured = sum(isinstance(source, NtpSource | PoolSource) and source.nts for source in config.sources)
    rough = sum(isinstance(source, RoughtimeSource) for source in config.sources)
    also = (f", {secured} with NTS" if secured else "") + (f", {rough} of Roughtime to check them" if rough else "")
    parts.append(("1 source" if count == 1 else f"{count} sources") + also)
    for instance in config.ptp_instances:
        ports = ", ".join(port.interface for port in instance.ports)
        parts.append(f"PTP {instance.profile} on {ports}")
    if config.serve.ntp is not None:
        addresses = ", ".join(map(str, config.serve.ntp.listen))
        parts.append(f"serves {config.served_clock()} over NTP on {addresses}")
        if config.serve.ntp.ptp_listen:
            parts[-1] += f" and over PTP on {', '.join(map(str, config.serve.ntp.ptp_listen))}"
    if config.serve.nts is not None:
        parts.append(f"establishes keys for NTS on {', '.join(map(str, config.serve.nts.listen))}")
    if config.serve.csptp is not None:
        parts.append(f"serves CSPTP (experimental) on {', '.join(config.serve.csptp.interfaces)}")
    return "; ".join(parts)


def _as_json(problem: Problem, severity: str) -> dict[str, object]:
    return {
        "severity": severity,
        "path": problem.path,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
