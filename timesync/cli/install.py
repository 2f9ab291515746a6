"""``timesync install`` and ``timesync uninstall``: the service, its user and its files, each of them told of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypedDict, Unpack

import click

from timesync.cli.render import ExitCode, fail, fail_config

if TYPE_CHECKING:  # loaded when it runs: --help and completion must not wait for it
    from timesync.daemon.service.files import Item
    from timesync.daemon.service.plan import Change, Record
    from timesync.daemon.service.steps import Command, Target

_DEBIAN = "var/lib/dpkg/info/timesync.list"
_TAG = 9


class _Wishes(TypedDict):
    start: bool
    replace: bool
    force: bool


@click.command()
@click.option("--config", metavar="FILE", type=click.Path(), help="Begin with this configuration, not an NTP client's.")
@click.option("--root", metavar="DIR", default="/", type=click.Path(), help="Install into a machine's root directory.")
@click.option("--program", metavar="PATH", type=click.Path(), help="What the service runs. [default: this command]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--start", is_flag=True, help="Start it, now and with the machine.")
@click.option("--replace", is_flag=True, help="Disable other time daemons (chrony, systemd-timesyncd, ptp4l, ...).")
@click.option("--force", is_flag=True, help="Replace files that were changed by hand; what was there stays as .old.")
@click.option("--vendor", is_flag=True, help="For who makes a package: files below /usr in DIR, and nothing else.")
def install(
    config: str | None, root: str, program: str | None, dry_run: bool, vendor: bool, **wishes: Unpack[_Wishes]
) -> None:
    """Make a service of this program: systemd unit, udev rules, user, directories, manual pages, completion.

    Tells of every file. Files that you changed are kept, above all /etc/timesync/timesync.yaml; a second call changes
    nothing. Run it as root. Ends with 1 when another time daemon is in the way of --start or a Debian package brings
    the service, 2 when the service could not run this command or the configuration is wrong, 3 without root's rights.
    """
    from timesync.daemon.service.files import Layout, items

    place = Path(root)
    begun_with = None if config is None else _configuration(Path(config))
    if not place.is_dir():
        fail(ExitCode.USAGE, f"--root: there is no directory {root}")
    if vendor:
        if place == Path("/") or wishes["start"] or wishes["replace"] or program is not None:
            raise click.UsageError("--vendor needs a --root, and goes without --start, --replace and --program")
        _vendor(place, items(Layout.VENDOR, *_generated(), begun_with), dry_run=dry_run, force=wishes["force"])
        return
    _need_root(dry_run=dry_run)
    files = items(Layout.LOCAL, *_generated(), begun_with)
    link = _link(Path(program) if program is not None else None, place)
    if (place / _DEBIAN).exists():
        fail(ExitCode.NO, "the Debian package timesync brings the service already: systemctl enable --now timesync")
    try:
        _install(place, [*link, *files], dry_run=dry_run, wishes=wishes)
    except (OSError, ValueError) as error:
        _refused(error)


@click.command()
@click.option("--root", metavar="DIR", default="/", type=click.Path(), help="Of a machine's root directory.")
@click.option("--purge", is_flag=True, help="Also configuration, state and recordings, what you changed, and the user.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def uninstall(root: str, purge: bool, dry_run: bool) -> None:
    """Take away what `timesync install` made; the program itself stays.

    Configuration, state and what you changed are kept unless --purge, which may also come later. Ends with 1 when
    nothing is there to take away, 3 without root's rights.
    """
    _need_root(dry_run=dry_run)
    try:
        _uninstall(Path(root), purge=purge, dry_run=dry_run)
    except (OSError, ValueError) as error:
        _refused(error)


def _install(place: Path, files: list[Item], *, dry_run: bool, wishes: _Wishes) -> None:
    from timesync.daemon.service import perform, steps
    from timesync.daemon.service.plan import plan, read_record

    target = _target(place)
    before = read_record(place)
    changes = plan(place, files, before, force=wishes["force"])
    rivals = steps.enabled_rivals(place)
    _tell(changes)
    start = wishes["start"]
    replace = _settle(rivals, start=start, replace=wishes["replace"], dry_run=dry_run)
    doing = [
        *steps.user(target),
        *steps.devices(target),
        *(steps.disable(target, rivals) if replace else ()),
        *steps.unit(target, start=start),
    ]
    if dry_run:
        for command in doing:
            click.echo(f"{'run':{_TAG}} {command}")
        click.echo("Nothing was done.")
        return
    made = perform.write(place, changes)
    perform.remember(place, changes, made, before, rivals if replace else ())
    _run(doing)
    perform.own_state(place)
    if start and not target.running:
        click.echo("No systemd of that machine runs here: the service starts with the machine.")
    _what_next(target, started=start and target.running)


def _uninstall(place: Path, *, purge: bool, dry_run: bool) -> None:
    from timesync.config.load import DEFAULT_FILE
    from timesync.daemon.service import perform, steps
    from timesync.daemon.service.plan import read_record, removal

    record = read_record(place) or _left_behind(place, purge=purge)
    target = _target(place)
    changes = removal(place, record, (DEFAULT_FILE,), purge=purge)
    _tell(changes)
    for path in perform.folders_to_purge(place) if purge else ():
        click.echo(f"{'removed':{_TAG}} {path}, with all that is in it")
    ending = list(steps.ending(target)) if record.files else []  # nothing left of the service: it has ended before
    if dry_run:
        for command in (*ending, *steps.after_removal(target, purge=purge)):
            click.echo(f"{'run':{_TAG}} {command}")
        click.echo("Nothing was done.")
        return
    _run(ending)
    perform.remove(place, changes, record, purge=purge)
    _run(steps.after_removal(target, purge=purge))
    _tell_of_disabled(record)


def _left_behind(place: Path, *, purge: bool) -> Record:
    """What an uninstallation without --purge left, where there is no record of it any more; ends where that is nothing.

    The link to the program is not looked for: without a record it may be somebody's own.
    """
    from timesync.daemon.service import perform, steps
    from timesync.daemon.service.files import Layout, items
    from timesync.daemon.service.plan import present
    from timesync_drivers import access

    packaged = (place / _DEBIAN).exists()
    record = present(place, items(Layout.LOCAL, *_generated()))
    left = record.files or perform.folders_to_purge(place) or access.find_user(place, steps.USER) is not None
    if not purge or packaged or not left:  # a package's configuration and state are dpkg's to purge
        debian = "; the Debian package goes by: apt-get purge timesync" if packaged else ""
        fail(ExitCode.NO, f"nothing here was installed by `timesync install`{debian}")
    return record


def _vendor(place: Path, files: list[Item], *, dry_run: bool, force: bool) -> None:
    from timesync.daemon.service import perform
    from timesync.daemon.service.plan import plan

    try:
        changes = plan(place, files, None, force=force)
        _tell(changes)
        if not dry_run:
            perform.write(place, changes)
    except (OSError, ValueError) as error:
        _refused(error)


def _generated() -> tuple[dict[str, str], dict[str, str]]:
    """Manual pages and completions, made from the commands and the schema."""
    from timesync.cli import completion, manual
    from timesync.config import manual as of_file

    pages = {"timesync.1": manual.page(), "timesync.yaml.5": of_file.page()}
    return pages, {shell: completion.script(shell) for shell in completion.SHELLS}


def _configuration(file: Path) -> bytes:
    from timesync.config.load import load
    from timesync.config.problem import ConfigError

    try:
        load(file, private_keys=False)
        return file.read_bytes()
    except ConfigError as error:
        fail_config(error)
    except OSError as error:
        _refused(error)


def _link(program: Path | None, place: Path) -> list[Item]:
    """The name by which unit and user call the program; none where it is there under that name."""
    from timesync.daemon.service import program as programs
    from timesync.daemon.service.files import COMMAND, Item

    found = programs.own_program(Path(sys.argv[0]), Path(sys.executable)) if program is None else program.absolute()
    if str(found) == COMMAND and (place / COMMAND.lstrip("/")).is_symlink():
        found = (place / COMMAND.lstrip("/")).readlink()
    try:
        programs.check(found, place)
    except programs.UnfitError as error:
        fail(ExitCode.USAGE, str(error))
    for doubt in programs.doubts(found, place):
        click.echo(f"warning: {doubt}", err=True)
    return [] if str(found) == COMMAND else [Item(COMMAND, str(found).encode(), link=True)]


def _target(place: Path) -> Target:
    from timesync.daemon.service.steps import Target
    from timesync_drivers import programs

    return Target(place, programs.present, place == Path("/") and Path("/run/systemd/system").is_dir())


def _need_root(*, dry_run: bool) -> None:
    if not dry_run and os.geteuid() != 0:
        fail(ExitCode.NOT_PERMITTED, "only root may do that; sudo, or --dry-run to see what would be done")


def _settle(rivals: list[str], *, start: bool, replace: bool, dry_run: bool) -> bool:
    """Whether other time daemons are disabled; asks where somebody is there to answer."""
    if not rivals:
        return False
    names = ", ".join(rivals)
    if not replace and not dry_run and sys.stdin.isatty():
        replace = click.confirm(f"{names}: also keeps time, and starts with the machine. Disable it?")
    if not replace:
        click.echo(f"{names}: enabled, and keeps time too; --replace disables it", err=True)
        if start and not dry_run:
            fail(ExitCode.NO, "two that steer one clock fight over it: nothing was done")
    return replace


def _tell(changes: Iterable[Change]) -> None:
    for change in changes:
        where = "" if change.item is None or not change.item.link else f" -> {change.item.content.decode()}"
        why = f" ({change.why})" if change.why else ""
        click.echo(f"{change.step.value:{_TAG}} {change.path}{where}{why}")


def _run(commands: Iterable[Command]) -> None:
    from timesync.daemon.service import perform
    from timesync_drivers import programs

    def told(command: Command, wrong: str) -> None:
        click.echo(f"{'run':{_TAG}} {command}")
        if wrong:
            click.echo(f"{'':{_TAG}} {wrong}", err=True)

    try:
        perform.run_all(commands, programs.run, told)
    except perform.FailedError as error:
        fail(ExitCode.NO, str(error))


def _tell_of_disabled(record: Record) -> None:
    if record.disabled:
        click.echo(f"Once disabled for it: {', '.join(record.disabled)}; systemctl enable --now brings them back.")


def _what_next(target: Target, *, started: bool) -> None:
    from timesync.config.load import DEFAULT_FILE

    if target.elsewhere:
        return
    click.echo(f"Its configuration: {DEFAULT_FILE}; after a change `timesync check {DEFAULT_FILE}`.")
    click.echo(f"Now: timesync {'status' if started else 'doctor, then systemctl enable --now timesync'}")


def _refused(error: OSError | ValueError) -> NoReturn:
    code = ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.USAGE
    fail(code, str(error))
