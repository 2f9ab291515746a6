"""``timesync clients``: who asks this machine for the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.table import Table

from timesync.cli.control import answer, socket_options, socket_path
from timesync.cli.render import json_option, print_json
from timesync.cli.show import console, count, span
from timesync.observe.clients import anonymous, ordered

_ORDERS = ("last", "requests", "address")


@click.command()
@socket_options
@json_option
@click.option("--sort", "by", type=click.Choice(_ORDERS), default="last", show_default=True, help="What comes first.")
@click.option("--count", "most", type=click.IntRange(min=1), metavar="N", help="Show so many at most.")
@click.option("--anonymous", "nameless", is_flag=True, help="Show networks (/24 and /48) in place of addresses.")
def clients(control: str | None, file: str | None, as_json: bool, by: str, most: int | None, nameless: bool) -> None:
    """Who has asked this machine for the time: those heard last, and those that asked most."""
    content = answer(socket_path(control, file), "clients")
    rows = list(ordered(content["clients"], by))[:most]
    if nameless:
        rows = [{**row, "address": anonymous(row["address"])} for row in rows]
    if as_json:
        print_json({**content, "clients": rows})
        return
    out = console()
    if rows:
        out.print(_table(rows))
    if len(rows) < content["known"]:
        out.print(f"{len(rows)} of {count(content['known'], 'client')} shown.")
    elif not rows:
        out.print("Nobody has asked, as far as is known.")
    if not content["recorded"]:
        out.print("Clients of NTP are not recorded: there is no serve.ntp, or its clients is 0.")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("client", overflow="fold", min_width=15)
    table.add_column("speaks", overflow="fold")
    for name in ("requests", "answered", "dropped", "every", "last"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        numbers = (row["requests"], row["answered"], row["dropped"])
        table.add_row(
            row["address"],
            _speaks(row),
            *("-" if number is None else str(number) for number in numbers),
            _span(row["interval_s"]),
            _span(row["last_s"]),
        )
    return table


def _speaks(row: Mapping[str, Any]) -> str:
    """Protocol and version, and how it is spoken: with NTS, interleaved."""
    if row["protocol"] != "ntp":
        return str(row["protocol"]).upper()
    return f"NTPv{row['version']}{' NTS' if row['nts'] else ''}{' il' if row['interleaved'] else ''}"


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else span(seconds)
