"""``timesync profiles``: the shipped profiles, and what each comes to."""

from __future__ import annotations

from pathlib import PurePath

import click

from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.config.explain import nearest
from timesync.config.load import load
from timesync.config.problem import ConfigError
from timesync.config.profiles import description, shipped
from timesync.config.source import Mark
from timesync.config.tree import plain
from timesync.config.write import write


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def profiles(ctx: click.Context, as_json: bool) -> None:
    """List the shipped profiles."""
    if ctx.invoked_subcommand is not None:
        return
    found = {name: description(source) for name, source in shipped().items()}
    if as_json:
        print_json({"profiles": [{"name": name, "description": text} for name, text in found.items()]})
        return
    width = max(map(len, found), default=0)
    for name, text in found.items():
        click.echo(f"{name:{width}}  {text}")


@profiles.command()
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Print the profile NAME with its inheritance resolved, and where each value comes from."""
    assert ctx.parent is not None
    library = shipped()
    if name not in library:
        near = nearest(name, library)
        hint = f'did you mean "{near}"?' if near else f"there are {', '.join(library)}"
        fail(ExitCode.USAGE, f'no profile "{name}"; {hint}')
    try:
        loaded = load(None, name, library)
    except ConfigError as error:
        fail_config(error)
    about = description(library[name])
    if as_json or ctx.parent.params["as_json"]:
        origins = {path: _place(mark) for path, mark in loaded.origins.items()}
        print_json({"name": name, "description": about, "config": plain(loaded.tree), "origins": origins})
        return
    click.echo(f"# {name}: {about}")
    for line in write(loaded.tree, _place):
        click.echo(line)


def _place(mark: Mark) -> str:
    return f"{PurePath(mark.source.name).name}:{mark.line}"
