"""``timesync import``: configurations of other time programs as ours."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import click

from timesync.cli.invoked import own_command
from timesync.cli.render import ExitCode, config_exit_code, fail, fail_config
from timesync.config import yaml
from timesync.config.importing.draft import Draft, Kind
from timesync.config.importing.numbers import UnreadableError
from timesync.config.importing.render import render, with_keys
from timesync.config.importing.translate import FORMATS, guess, translate
from timesync.config.load import finish, load
from timesync.config.problem import ConfigError
from timesync.config.source import Source
from timesync.config.yaml import MAX_BYTES


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="What FILE is; found by what it says.")
@click.option(
    "-o", "--output", metavar="OUT", type=click.Path(dir_okay=False), help="Write to OUT, not standard output."
)
@click.option("--force", is_flag=True, help="Let OUT, and files of keys, be written over.")
@click.option("-i", "--interface", "interfaces", multiple=True, metavar="NAME",
              help="An interface that ptp4l -i, or hwtimestamp *, means; may be repeated.")  # fmt: skip
@click.option("--show-secrets", is_flag=True, help="Write the secrets of keys into the configuration itself.")
@click.option("--root", default="/", metavar="DIR", type=click.Path(exists=True, file_okay=False),
              help="Where files that FILE names are looked up: the / of another system.")  # fmt: skip
@click.pass_context
def import_command(
    ctx: click.Context,
    files: tuple[str, ...],
    form: str | None,
    output: str | None,
    force: bool,
    interfaces: tuple[str, ...],
    show_secrets: bool,
    root: str,
) -> None:
    """Write the configuration of chrony, linuxptp, ntpd, ntpd-rs or timesyncd as one of ours.

    FILE is chrony.conf, a file of ptp4l or ts2phc, timemaster.conf, ntp.toml, ntp.conf or timesyncd.conf; several, of
    one machine, become one. Each value says which line it comes from; of every other line a comment says why it is
    none. With -o, secrets of keys go into files beside OUT. Ends with 1 when `check` finds errors in the result.
    """
    sources = [_read(file) for file in files]
    named = [(source, form or _guess(source)) for source in sources]
    try:
        draft = translate(named, Files(root), interfaces)
    except UnreadableError as error:
        fail(ExitCode.USAGE, str(error))
    target = None if output is None else Path(output)
    paths = None if show_secrets else {number: f"ntp-{number}.key" for number in draft.keys}
    tree = with_keys(draft, paths)
    name = "FILE" if output is None else output
    text = render(tree, draft.findings, _head(files), _foot(named, name))
    if target is not None:
        _write(target, text, draft, {} if paths is None else paths, force=force, secret=show_secrets)
    problems = _problems(target, text)
    if target is None:
        click.echo(text, nl=False)
    else:
        counts = ", ".join(f"{sum(each.kind is kind for each in draft.findings)} {word}" for kind, word in _COUNTED)
        click.echo(f"{output}: written; of the other lines {counts}")
    if problems is not None:
        click.echo(str(problems), err=True)
        code = config_exit_code(problems)
        ctx.exit(int(ExitCode.NO if code is ExitCode.USAGE else code))


_COUNTED = ((Kind.DIFFERS, "to be looked at"), (Kind.MISSING, "without an equal"), (Kind.NEEDLESS, "that need no key"))


class Files:
    """The files that configurations name, below a directory.

    Args:
        root: What is / for them.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root).rstrip("/")  # noqa: PTH100 (the name, not what links lead to)

    def read(self, path: str) -> Source | None:
        """See ``lines.Reader``."""
        try:
            return _source(f"{self._below(path)}{path}", path)
        except (OSError, ConfigError):
            return None

    def matching(self, pattern: str) -> list[str]:
        """See ``lines.Reader``."""
        below = self._below(pattern)
        found = sorted(glob.glob(f"{glob.escape(below)}{pattern}"))  # noqa: PTH207 (a pattern from / on)
        return [path.removeprefix(below) for path in found if Path(path).is_file()]

    def _below(self, path: str) -> str:
        """What stands before a path; what is named relative to a file below the root is there already."""
        return "" if not path.startswith("/") or path.startswith(f"{self._root}/") else self._root


def _source(place: str, name: str) -> Source:
    """A regular file as text. Raises OSError, ConfigError."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("is not a regular file")
        data = file.read(MAX_BYTES + 1)
    return yaml.decode(data, name, str(Path(name).absolute().parent))


def _read(file: str) -> Source:
    try:
        return _source(file, file)
    except PermissionError as error:
        fail(ExitCode.NOT_PERMITTED, f"{file}: {error.strerror}")
    except OSError as error:
        fail(ExitCode.USAGE, f"{file}: {error.strerror or error}")
    except ConfigError as error:
        fail_config(error)


def _guess(source: Source) -> str:
    found = guess(source)
    if found is None:
        fail(ExitCode.USAGE, f"{source.name}: of which program is it? say --format; there are {', '.join(FORMATS)}")
    return found


def _head(files: Sequence[str]) -> list[str]:
    names = " ".join(Path(file).name for file in files)
    return [f"By `timesync import {names}`; behind each value stands the line that it comes from."]


def _foot(named: Sequence[tuple[Source, str]], name: str) -> list[str]:
    """What to do next."""
    services = " ".join(dict.fromkeys(service for _, form in named for service in FORMATS[form].services))
    command = own_command()
    todo = [
        (f"{command} check {name}", "finds every error"),
        (f"{command} doctor -c {name}", "what this machine lacks for it, and who else steers a clock"),
        (f"systemctl disable --now {services}", "those of them that run: two that steer one clock fight"),
        ("docs/how-to/install-service.md", "has it start with the machine"),
    ]
    width = max(len(what) for what, _ in todo)
    return ["What to do next:", *(f"  {what:{width}}  {why}" for what, why in todo)]


def _write(target: Path, text: str, draft: Draft, paths: dict[int, str], *, force: bool, secret: bool) -> None:
    """The configuration, and the secrets in files that only their owner can read."""
    contents = {target.parent / name: f"{draft.keys[number].secret}\n" for number, name in paths.items()}
    there = [path for path in (target, *contents) if path.exists()]
    if there and not force:
        fail(ExitCode.USAGE, f"{there[0]} is there already; --force writes over it")
    try:
        for path, content in contents.items():
            _put(path, content, 0o600)
        _put(target, text, 0o600 if secret else 0o644)
    except PermissionError as error:
        fail(ExitCode.NOT_PERMITTED, f"{error.filename}: {error.strerror}")
    except OSError as error:
        fail(ExitCode.USAGE, f"{error.filename}: {error.strerror}")


def _put(path: Path, content: str, mode: int) -> None:
    """Write a file as a whole; it never has more rights than these."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    new.replace(path)


def _problems(target: Path | None, text: str) -> ConfigError | None:
    """What `timesync check` says of the result."""
    try:
        if target is not None:
            load(target)
        else:
            finish(yaml.compose(yaml.decode(text.encode(), "standard output", str(Path.cwd()))), None, None)
    except ConfigError as error:
        return error
    return None
