"""``timesync report``: what was, as one page of HTML."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

import click

from timesync.base.time import Duration
from timesync.cli.params import POSITIVE
from timesync.cli.render import ExitCode, fail, fail_config
from timesync.config.observe import Observe
from timesync.config.quantity import QuantityError, parse_duration
from timesync.observe.history.part import FILE
from timesync.observe.records.rows import RecordError
from timesync.observe.report.material import Material, NothingError, of_history, of_recording
from timesync.observe.report.page import Wishes, render
from timesync.observe.stability import MASKS

_NS: Final = 1_000_000_000
_FOREVER_NS: Final = 1 << 62
_HISTORY: Final = Path(Observe().state) / "observer" / FILE
_CONFIGURED: Final = f"{__name__}.history"
"""Where the context has the file of history that a configuration names."""


def _take_history_of(context: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Remember where the daemon of a configuration keeps its history. Ends the command when that cannot be read."""
    if file is None:
        return
    from timesync.config.load import load
    from timesync.config.problem import ConfigError

    try:
        state = load(file, private_keys=False).config.observe.state
    except ConfigError as error:
        fail_config(error)
    context.meta[_CONFIGURED] = Path(state) / "observer" / FILE


@click.command("report")
@click.option(
    "--from", "since", metavar="TIME", help="Begin here: 2026-11-21, 2026-11-21T08:30, or 24h for so long ago."
)
@click.option("--to", "until", metavar="TIME", help="End here, likewise.")
@click.option(
    "--measurements", type=click.Path(path_type=Path), metavar="DIR",
    help="Make it of a recording: the directory of `observe.measurements`, or one of its files.",
)  # fmt: skip
@click.option(
    "--history", type=click.Path(path_type=Path), metavar="FILE",
    help=f"Make it of the file of history. [default: {_HISTORY}]",
)  # fmt: skip
@click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), metavar="FILE",
    expose_value=False, callback=_take_history_of,
    help="Make it of the history of the daemon that runs with this file.",
)  # fmt: skip
@click.option("--max-error", type=POSITIVE, help="Hold the claimed error bound against this.")
@click.option("--mask", type=click.Choice(sorted({mask.name for mask in MASKS})), help="Hold TDEV and MTIE against it.")
@click.option("--title", default="Time report", show_default=True, help="Of the page.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
def report(
    since: str | None,
    until: str | None,
    measurements: Path | None,
    history: Path | None,
    max_error: Duration | None,
    mask: str | None,
    title: str,
    output: Path,
) -> None:
    """Write what was as one page of HTML, with plots, percentiles, stability and events.

    Times are UTC unless they say otherwise. The page needs no network and no script, and names its inputs by their
    SHA-256. With --max-error the exit code is 1 when the claimed error bound of the served clock was ever larger.
    """
    configured: Path | None = click.get_current_context().meta.get(_CONFIGURED)
    if sum(place is not None for place in (measurements, history, configured)) > 1:
        raise click.UsageError("--measurements, --history and -c each say of what: choose one")
    now_s = time.time()
    from_ns = 0 if since is None else _moment("--from", since, now_s)
    to_ns = _FOREVER_NS if until is None else _moment("--to", until, now_s)
    if from_ns >= to_ns:
        raise click.UsageError("--from is not before --to")
    place = measurements or history or configured or _HISTORY
    try:
        if measurements is not None:
            material = of_recording(measurements, from_ns, to_ns)
        else:
            material = of_history(place, from_ns, min(to_ns, round(now_s + 1) * _NS))
        limit_s = None if max_error is None else max_error.s()
        page, verdict = render(material, Wishes(limit_s, mask, title), now_s)
    except RecordError as error:
        fail(ExitCode.USAGE, str(error))
    except (NothingError, sqlite3.Error) as error:
        fail(ExitCode.USAGE, f"{place}: {error}")
    except OSError as error:
        _failed(place, error)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        _failed(output, error)
    click.echo(_said(material, verdict.text, output))
    if verdict.passed is False:
        raise SystemExit(ExitCode.NO)


def _said(material: Material, text: str, output: Path) -> str:
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in material.span)
    return f"{output}: {first} to {last} UTC. {text}"


def _moment(option: str, text: str, now_s: float) -> int:
    """A moment as it is written; UTC, ns since 1970."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return round((now_s - parse_duration(text).s()) * _NS)
        except QuantityError:
            raise click.UsageError(
                f"{option}: {text!r} is neither a date, such as 2026-11-21T08:30, nor a length of time, such as 24h"
            ) from None
    return round(found.replace(tzinfo=found.tzinfo or UTC).timestamp()) * _NS


def _failed(path: Path, error: OSError) -> NoReturn:
    denied = isinstance(error, PermissionError)
    fail(ExitCode.NOT_PERMITTED if denied else ExitCode.USAGE, f"{path}: {error.strerror or error}")
