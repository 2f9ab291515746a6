"""``timesync profiles``: the shipped profiles, and what each comes to."""

from __future__ import annotations

from pathlib import PurePath

import click
from click.shell_completion import CompletionItem

from timesync.cli.params import profile_names
from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.config.explain import nearest
from timesync.config.load import load
from timesync.config.problem import ConfigError
from timesync.config.profiles import description, shipped
from timesync.config.ptp_profiles import PTP_PROFILES, PtpProfile, ptp_profile
from timesync.config.source import Mark, Source
from timesync.config.tree import plain
from timesync.config.write import write

_NAME, _VALUE = 27, 22


def _all_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes profiles of both kinds."""
    of_ptp = (CompletionItem(name) for name in PTP_PROFILES if name.startswith(incomplete))
    return [*profile_names(ctx, param, incomplete), *of_ptp]


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def profiles(ctx: click.Context, as_json: bool) -> None:
    """List the shipped profiles."""
    if ctx.invoked_subcommand is not None:
        return
    whole = {name: description(source) for name, source in shipped().items()}
    ptp: dict[str, str] = {name: ptp_profile(name).title for name in PTP_PROFILES}
    if as_json:
        lists = {"profiles": whole, "ptp_profiles": ptp}
        print_json({key: [{"name": n, "description": text} for n, text in each.items()] for key, each in lists.items()})
        return
    width = max(map(len, (*whole, *ptp)))
    for name, text in whole.items():
        click.echo(f"{name:{width}}  {text}")
    click.echo("\nPTP profiles, for `ptp.profile`:")
    for name, text in ptp.items():
        click.echo(f"{name:{width}}  {text}")


@profiles.command()
@click.argument("name", shell_complete=_all_names)
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Print the profile NAME with its inheritance resolved, and where each value comes from.

    Of a PTP profile: its values, the ranges within which they may be changed, and the clauses of its standard.
    """
    assert ctx.parent is not None
    wants_json = as_json or bool(ctx.parent.params["as_json"])
    library = shipped()
    known = next((known for known in PTP_PROFILES if known == name), None)
    if name in library:
        _show_whole(name, library, wants_json)
    elif known is not None:
        _show_ptp(ptp_profile(known), wants_json)
    else:
        near = nearest(name, [*library, *PTP_PROFILES])
        hint = f'did you mean "{near}"?' if near else f"there are {', '.join([*library, *PTP_PROFILES])}"
        fail(ExitCode.USAGE, f'no profile "{name}"; {hint}')


def _show_whole(name: str, library: dict[str, Source], as_json: bool) -> None:
    try:
        loaded = load(None, name, library)
    except ConfigError as error:
        fail_config(error)
    about = description(library[name])
    if as_json:
        origins = {path: _place(mark) for path, mark in loaded.origins.items()}
        print_json({"name": name, "description": about, "config": plain(loaded.tree), "origins": origins})
        return
    click.echo(f"# {name}: {about}")
    for line in write(loaded.tree, _place):
        click.echo(line)


def _show_ptp(profile: PtpProfile, as_json: bool) -> None:
    facts = profile.facts()
    if as_json:
        values = {
            name: {
                "value": fact.shown(),
                "range": fact.span(),
                "source": profile.cite(fact),
                "checked": fact.checked,
                "range_checked": fact.range_checked,
                "advice": fact.advice,
            }
            for name, fact in facts.items()
        }
        about = {"name": profile.name, "description": profile.title, "standard": profile.standard}
        print_json({**about, "values": values, "lacks": profile.lacks})
        return
    click.echo(f"# {profile.name}: {profile.title}")
    click.echo("# (?) is from memory or a secondary source; compare it with the text of the standard.")
    for name, fact in facts.items():
        span = fact.span()
        value = fact.shown() + ("" if fact.checked else " (?)")
        allowed = (
            ""
            if span is None
            else f"; {span}{'' if fact.range_checked else ' (?)'}{', or with a warning any' if fact.advice else ''}"
        )
        click.echo(f"{name + ':':{_NAME}} {value:{_VALUE}} # {profile.cite(fact)}{allowed}")
    for text in profile.lacks:
        click.echo(f"# not done: {text}")


def _place(mark: Mark) -> str:
    return f"{PurePath(mark.source.name).name}:{mark.line}"
