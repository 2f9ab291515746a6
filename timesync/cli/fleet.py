"""``timesync fleet``: all appliances that publish to an MQTT broker, side by side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from timesync.base.time import Duration
from timesync.cli.params import POSITIVE, Parsed
from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.cli.show import UNKNOWN, console, signed, span
from timesync.config.observe import BrokerUrl, parse_broker

if TYPE_CHECKING:
    from timesync.observe.mqtt.fleet import Agreement, Fleet, Overview, Standing
    from timesync.observe.mqtt.link import Access

BROKER: Parsed[BrokerUrl] = Parsed("URL", parse_broker)
_COLOURS = {"locked": "bold green", "holdover": "bold yellow", "acquiring": "bold yellow"}
_REFRESH_S = 1.0
_TLS = ("ca", "certificate", "private_key")


class _Options(TypedDict):
    broker: BrokerUrl | None
    file: str | None
    topic: str | None
    username: str | None
    password_file: str | None
    ca: str | None
    certificate: str | None
    private_key: str | None


@click.command()
@click.option("--broker", type=BROKER, help="mqtt://HOST[:PORT], or mqtts:// with TLS.")
@click.option(
    "-c", "--config", "file", metavar="FILE", type=click.Path(), help="Broker and all else as in observe.mqtt there."
)
@click.option("--topic", metavar="TOPIC", help="The first part of all topics. [default: timesync]")
@click.option("--username", metavar="NAME", help="Who we are for the broker.")
@click.option("--password-file", metavar="FILE", type=click.Path(), help="Holds the password in its first line.")
@click.option("--ca", metavar="FILE", type=click.Path(), help="With mqtts: certificates to trust, not the system's.")
@click.option("--certificate", metavar="FILE", type=click.Path(), help="With mqtts: our own certificate.")
@click.option("--private-key", metavar="FILE", type=click.Path(), help="With --certificate: its key.")
@click.option("--listen", type=POSITIVE, default="1s", show_default=True, help="How long; what is kept comes at once.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C; with --json one line a second.")
@json_option
def fleet(listen: Duration, watch: bool, as_json: bool, **options: Unpack[_Options]) -> None:
    """All appliances of a broker: how right each is, who agrees with whom, who is in holdover and who is silent.

    Ends with 0 when all are synchronised and none contradicts another; 1 when one is not, when one is silent, when
    there is none, or when the broker cannot be reached; 2 for wrong options; 3 when the broker does not let us in.
    """
    from timesync.observe.mqtt.fleet import Fleet
    from timesync.observe.mqtt.link import LinkError, RefusedError
    from timesync.observe.mqtt.subscribe import listen as listen_to

    allowed, root = _where(options)
    gathered = Fleet(time.monotonic, time.time_ns)
    try:
        if watch:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_watch(allowed, root, gathered, as_json=as_json))
        else:
            asyncio.run(listen_to(allowed, root, gathered, listen.s()))
    except LinkError as error:
        fail(ExitCode.NOT_PERMITTED if isinstance(error, RefusedError) else ExitCode.NO, f"the broker {error}")
    overview = gathered.overview()
    if not watch:
        if as_json:
            print_json(overview.as_object())
        else:
            console().print(_page(overview, root, None))
    if not overview.well:
        raise click.exceptions.Exit(int(ExitCode.NO))


def _where(options: _Options) -> tuple[Access, str]:
    """The broker and the first part of its topics. Ends the command for options that do not fit together."""
    from timesync.observe.mqtt.link import access

    broker, topic, username = options["broker"], options["topic"], options["username"]
    paths: dict[str, Any] = {key: options[key] for key in ("password_file", *_TLS)}  # type: ignore[literal-required]
    if options["file"] is not None:
        if broker is not None or username is not None or any(paths.values()):
            raise click.UsageError("-c names broker, user and files already; give those or -c")
        broker, username, root, paths = _configured(options["file"])
        topic = topic or root
    if broker is None:
        raise click.UsageError("name a broker: --broker mqtt://HOST, or -c FILE of an appliance that publishes there")
    if not broker.tls and any(paths[key] for key in _TLS):
        raise click.UsageError("only a connection with TLS has certificates: write --broker mqtts://")
    if (paths["certificate"] is None) != (paths["private_key"] is None):
        raise click.UsageError("--certificate and --private-key go together")
    if paths["password_file"] is not None and username is None:
        raise click.UsageError("a password needs a user: --username")
    try:
        return access(broker, username, {key: Path(path).read_bytes() for key, path in paths.items() if path}), _root(
            topic
        )
    except OSError as error:
        fail(ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.USAGE, str(error))


def _root(topic: str | None) -> str:
    if topic is None:
        return "timesync"
    if not topic or set("+#") & set(topic) or topic.startswith(("/", "$")) or topic.endswith("/"):
        raise click.UsageError("--topic is text without + and #, without / at its ends and without $ in front")
    return topic


def _configured(file: str) -> tuple[BrokerUrl, str | None, str, dict[str, Any]]:
    """Broker, user, topic and files of a configuration."""
    from timesync.config.load import load
    from timesync.config.problem import ConfigError

    try:
        mqtt = load(file, private_keys=False).config.observe.mqtt
    except ConfigError as error:
        fail_config(error)
    if mqtt is None:
        fail(ExitCode.USAGE, f"{file} has no observe.mqtt")
    return mqtt.broker, mqtt.username, mqtt.topic, {key: getattr(mqtt, key) for key in ("password_file", *_TLS)}


async def _watch(allowed: Access, root: str, gathered: Fleet, *, as_json: bool) -> NoReturn:
    """Show the fleet once a second, until it is interrupted. Raises LinkError where trying again does not help."""
    from timesync.observe.mqtt.subscribe import follow

    trouble: list[str | None] = [None]

    def say(text: str | None) -> None:
        trouble[0] = text

    following = asyncio.create_task(follow(allowed, root, gathered, say))
    with contextlib.ExitStack() as stack:
        live = None if as_json else stack.enter_context(Live(console=console(), auto_refresh=False, screen=False))
        while True:
            done, _ = await asyncio.wait([following], timeout=_REFRESH_S)
            if done:
                following.result()
            overview = gathered.overview()
            if live is not None:
                live.update(_page(overview, root, trouble[0]), refresh=True)
            else:
                click.echo(json.dumps({"schema": 1, "trouble": trouble[0], **overview.as_object()}, allow_nan=False))


def _page(overview: Overview, root: str, trouble: str | None) -> RenderableType:
    parts: list[RenderableType] = []
    if trouble is not None:
        parts.append(Text(f"The broker {trouble}; what follows is old.", style="yellow"))
    if not overview.standings:
        return Group(*parts, Text(f"Nobody has published anything under {root}."))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("name", overflow="fold", min_width=8)
    table.add_column("state", no_wrap=True)
    for name in ("error", "offset", "stratum"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reference", overflow="fold")
    for name in ("agrees", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    agreeing = overview.agreeing()
    for one in overview.standings:
        table.add_row(*_row(one, *agreeing[one.name]))
    return Group(*parts, table, *(Text(line, style=style) for line, style in _sentences(overview)))


def _row(one: Standing, with_how_many: int, of: int) -> list[str | Text]:
    said = one.report
    agrees = "-" if not of else f"{with_how_many} of {of}"
    if said is None:
        return [one.name, Text(one.silent or UNKNOWN, style="red"), "-", "-", "-", "-", agrees, "-"]
    state = Text(said.state, style=_COLOURS.get(said.state, "bold red"))
    if one.silent is not None:
        state = Text("offline" if one.silent == "offline" else "silent", style="red")
    numbers = [_cell(span(said.error_bound_s)), _cell(signed(said.offset_s)), str(said.stratum)]
    return [one.name, state, *numbers, said.reference_id, agrees, _cell(span(one.age_s))]


def _cell(text: str) -> str:
    return "-" if text == UNKNOWN else text


def _sentences(overview: Overview) -> list[tuple[str, str]]:
    """What is to be said of the fleet, and how it is coloured."""
    lines = [(_contradiction(one), "bold red") for one in overview.contradictions]
    if not overview.whole:
        lines.append(("More is published there than is looked at; another --topic may have less.", "red"))
    for one in overview.standings:
        said = one.report
        if one.trouble is not None:
            lines.append((f"{one.name}: what it publishes cannot be read: {one.trouble}.", "red"))
        if one.silent is not None:
            since = "" if one.age_s is None else f"; its last word is {span(one.age_s)} old"
            lines.append((f"{one.name} is silent: {one.silent}{since}.", "red"))
        elif said is not None and (one.holdover or not one.synchronised):
            alone = f" for {span(said.holdover_s)}" if one.holdover and said.holdover_s is not None else ""
            state = f"in holdover{alone}" if one.holdover else said.state
            lines.append((f"{one.name} is {state}: {said.reason}.", "yellow"))
        if one.ahead_s is not None:
            lines.append(
                (f"{one.name}: its system clock is ahead of this machine's by {span(one.ahead_s)} or more.", "yellow")
            )
        if said is not None and one.silent is None:
            lines += [(f"{one.name}: warning: {text}", "yellow") for text in said.warnings]
    worst = overview.worst
    if worst is not None and worst.report is not None:
        lines.append((f"The worst error bound is {span(worst.report.error_bound_s)}, that of {worst.name}.", ""))
    compared = sum(one.agree is not None for one in overview.agreements)
    agreeing = sum(one.agree is True for one in overview.agreements)
    if compared:
        lines.append((f"{agreeing} of {compared} pairs that can be compared agree within their error bounds.", ""))
    else:
        lines.append(("No two of them can be compared: none measures another, and no two measure the same clock.", ""))
    return lines


def _contradiction(one: Agreement) -> str:
    return (
        f"{one.first} and {one.second} contradict each other: {span(abs(one.difference_s))} apart, "
        f"{span(one.allowed_s)} allowed ({one.by})."
    )
