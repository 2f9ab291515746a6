"""``timesync doctor``: what the configuration needs of this machine, and what mends what is missing."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timesync.cli.params import profile_names
from timesync.cli.render import json_option, print_json
from timesync.cli.show import count
from timesync.config.load import DEFAULT_FILE, load
from timesync.config.problem import ConfigError

if TYPE_CHECKING:  # loaded when it runs: --help must not wait for it
    from timesync.daemon.doctor.check import Finding

_TAGS = {"ok": ("[ OK ]", "green"), "warn": ("[WARN]", "yellow"), "fail": ("[FAIL]", "red"), "skip": ("[SKIP]", "blue")}
_WIDTH = 110
_INDENT = " " * 7


@click.command()
@click.option(
    "-c", "--config", "file", metavar="FILE", type=click.Path(),
    help=f"The configuration. [default: {DEFAULT_FILE}, or none with --profile]",
)  # fmt: skip
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=profile_names,
    help="The shipped profile to check for; alone, or under FILE.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, file: str | None, profile: str | None, as_json: bool) -> None:
    """Check this machine for what a configuration needs, in the order in which people fail.

    Reads only, and takes less than 15 seconds. Run it as root to see all. Ends with 0 when nothing fails, 2 when the
    configuration is wrong, 3 when only permissions are missing, 4 when only hardware is, else 1.
    """
    from timesync.daemon.doctor.check import exit_code
    from timesync.daemon.doctor.machine import this_machine
    from timesync.daemon.doctor.run import bad_configuration, examine

    path = Path(file) if file is not None else None if profile is not None else Path(DEFAULT_FILE)
    name = f"profile {profile}" if path is None else str(path)
    words = [] if path is None else ["-c", str(path)]
    argument = shlex.join([*words, *(() if profile is None else ("--profile", profile))])
    findings: list[Finding] = []
    try:
        loaded = load(path, profile)
    except ConfigError as error:
        _tell(findings, [bad_configuration(name, error, argument)], quiet=as_json)
        if not as_json:
            for problem in error.problems[1:]:
                click.echo(f"{_INDENT}{problem.headline()}")
    else:
        _tell(findings, examine(loaded, name, argument, this_machine()), quiet=as_json)
    code = exit_code(findings)
    if as_json:
        checks = [{**asdict(one), "state": one.state.value, "cause": one.cause and one.cause.value} for one in findings]
        print_json({"file": name, "exit_code": code, "checks": checks})
    else:
        click.echo()
        click.echo(_summary(findings))
    ctx.exit(code)


def _tell(findings: list[Finding], more: Iterable[Finding], *, quiet: bool) -> None:
    """Keep findings, and print each as soon as it is there."""
    for finding in more:
        findings.append(finding)
        if not quiet:
            _print(finding)


def _print(finding: Finding) -> None:
    tag, colour = _TAGS[finding.state.value]
    line = f"{finding.id} {finding.subject}: {finding.evidence}"
    first, *rest = textwrap.wrap(
        line, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )
    click.echo(click.style(tag, fg=colour) + first[len(tag) :])
    for text in rest:
        click.echo(text)
    if finding.state.value in ("warn", "fail"):
        click.echo(textwrap.fill(finding.meaning, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT))
    if finding.remedy:
        # Not wrapped: it is there to be copied.
        click.echo(f"{_INDENT}-> {finding.remedy}")


def _summary(findings: list[Finding]) -> str:
    counted = Counter(finding.state.value for finding in findings)
    parts = [f"{counted[state]} {word}" for state, word in (("fail", "failed"), ("warn", "doubtful")) if counted[state]]
    if counted["skip"]:
        parts.append(f"{counted['skip']} not checked")
    text = f"{count(len(findings), 'check')}: {', '.join(parts) or 'all is well'}."
    first = next((finding for finding in findings if finding.state.value == "fail"), None)
    return text if first is None else f"{text} Begin with the first that failed: {first.id}, {first.subject}."
