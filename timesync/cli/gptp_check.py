"""``timesync gptp-check``: the gPTP ports of the running daemon against what is required of them, for a test report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from timesync.base.time import Duration
from timesync.cli.control import answer, socket_options, socket_path
from timesync.cli.params import POSITIVE
from timesync.cli.render import ExitCode, fail, json_option, print_json
from timesync.cli.show import console, signed, span

_SCHEMA = 1
_MOST_RATE = 200e-6
"""Two oscillators of 100 ppm each (IEEE 802.1AS-2020, B.1.1)."""
_OPEN = 1
"""Messages whose second half may be under way when we look."""
_BROKEN = ("follow-up", "sync", "late", "duplicate", "not-as-capable", "link-delay", "epoch", "receive-stamp")
_FOLLOWS, _GIVES = ("UNCALIBRATED", "TIME_RECEIVER"), ("TIME_TRANSMITTER",)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is required.

    Attributes:
        delay_s: Most link delay.
        offset_s: Most offset from the grandmaster, as measured.
        automotive: By the rules of Avnu's automotive profile: no Announce.
    """

    delay_s: float = 800e-9
    offset_s: float = 1e-6
    automotive: bool = False


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of the report.

    Attributes:
        port: Interface and domain.
        name: What is required.
        clause: Where it says so.
        passed: Whether it is so.
        found: What was seen.
    """

    port: str
    name: str
    clause: str
    passed: bool
    found: str


@click.command("gptp-check")
@socket_options
@json_option
@click.option("--watch", type=POSITIVE, default="10s", show_default=True, help="How long to look.")
@click.option("--max-delay", type=POSITIVE, default="800ns", show_default=True, help="Most link delay.")
@click.option("--max-offset", type=POSITIVE, default="1us", show_default=True, help="Most offset while we look.")
@click.option("--automotive", is_flag=True, help="By Avnu's automotive profile: roles are fixed, nobody announces.")
def gptp_check(
    control: str | None,
    file: str | None,
    as_json: bool,
    watch: Duration,
    max_delay: Duration,
    max_offset: Duration,
    automotive: bool,
) -> None:
    """Look at the gPTP ports of the running daemon for a while, and say what of the requirements they meet.

    The exit code is 1 when one is not met.
    """
    path = socket_path(control, file)
    before = _ports(path)
    if not before:
        fail(ExitCode.NO, "the daemon has no gPTP port: `ptp` with profile gptp or an automotive one makes one")
    offsets: dict[str, float] = {}
    end = time.monotonic() + watch.s()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        after = _ports(path)
        for name, port in after.items():
            if port["offset_s"] is not None:
                offsets[name] = max(offsets.get(name, 0.0), abs(port["offset_s"]))
    limits = Limits(max_delay.s(), max_offset.s(), automotive)
    report = [
        line
        for name, port in after.items()
        if name in before
        for line in requirements(name, before[name], port, offsets.get(name), limits)
    ]
    missed = [line for line in report if not line.passed]
    if as_json:
        lines = [asdict(line) for line in report]
        print_json({"schema": _SCHEMA, "watched_s": watch.s(), "passed": not missed, "requirements": lines})
    else:
        _print(report)
    if missed:
        raise SystemExit(ExitCode.NO)


def _ports(path: str) -> dict[str, Mapping[str, Any]]:
    """The gPTP ports: those that are asCapable or not."""
    ports = answer(path, "ports")["ports"]
    return {f"{one['name']}, domain {one['domain']}": one for one in ports if one["as_capable"] is not None}


def requirements(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], offset_s: float | None, limits: Limits
) -> Iterator[Requirement]:
    """Every requirement of one port.

    Args:
        name: What to call it.
        before: The port as in ``timesync ports --json``.
        after: The same, later.
        offset_s: The largest offset between; None when none was measured.
        limits: What is required.
    """
    seen = _Seen(before, after)
    yield from _link(name, seen, limits)
    if after["state"] in _FOLLOWS:
        yield from _follows(name, seen, offset_s, limits)
    elif after["state"] in _GIVES:
        yield from _gives(name, seen)
    yield from _announces(name, seen, limits)


class _Seen:
    """What happened between two looks at a port."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self._before = before
        self.now = after

    def grown(self, way: str, kind: str) -> int:
        """How many more of ``received``, ``sent`` or ``drops``."""
        return int(self.now[way].get(kind, 0)) - int(self._before[way].get(kind, 0))

    @property
    def lost_stamps(self) -> int:
        """Transmit stamps that did not come meanwhile."""
        return int(self.now["lost_stamps"]) - int(self._before["lost_stamps"])


def _link(name: str, seen: _Seen, limits: Limits) -> Iterator[Requirement]:
    port = seen.now
    stamps = port["timestamping"]
    yield Requirement(name, "hardware timestamps", "802.1AS 8.4.3", stamps == "hardware", stamps or "no sockets")
    capable = bool(port["as_capable"])
    yield Requirement(name, "asCapable", "802.1AS 10.2.5.1", capable, port["reason"] or ("yes" if capable else "no"))
    delay = port["mean_delay_s"]
    short = delay is not None and delay <= limits.delay_s
    yield Requirement(name, f"link delay up to {span(limits.delay_s)}", "802.1AS 11.2.2", short, span(delay))
    ratio = port["neighbor_rate_ratio"]
    near = ratio is not None and abs(ratio - 1) <= _MOST_RATE
    found = "unknown" if ratio is None else f"{(ratio - 1) * 1e6:+.3f} ppm"
    yield Requirement(name, "neighborRateRatio within 200 ppm", "802.1AS B.1.1", near, found)
    asked = seen.grown("sent", "pdelay_req")
    answered = seen.grown("received", "pdelay_resp_follow_up")
    fine = asked > 0 and answered >= asked - _OPEN
    yield Requirement(name, "Pdelay_Req answered", "802.1AS 11.5.3", fine, f"{answered} of {asked}")
    lost = seen.lost_stamps
    yield Requirement(name, "no transmit stamp lost", "802.1AS 8.4.3", not lost, f"{lost} lost")


def _follows(name: str, seen: _Seen, offset_s: float | None, limits: Limits) -> Iterator[Requirement]:
    syncs, told = seen.grown("received", "sync"), seen.grown("received", "follow_up")
    yield Requirement(name, "Sync comes", "802.1AS 10.7.3.1", syncs > 0, f"{syncs} messages")
    whole = syncs > 0 and abs(syncs - told) <= _OPEN
    yield Requirement(name, "each Sync has its Follow_Up", "802.1AS 11.2.14", whole, f"{told} for {syncs}")
    drops = {kind: number for kind in _BROKEN if (number := seen.grown("drops", kind))}
    found = ", ".join(f"{number} {kind}" for kind, number in drops.items()) or "none dropped"
    yield Requirement(name, "every Sync can be used", "802.1AS 11.2.14", not drops, found)
    locked = seen.now["state"] == "TIME_RECEIVER"
    yield Requirement(name, "locked", "802.1AS 10.2.13", locked, str(seen.now["state"]).lower().replace("_", " "))
    near = offset_s is not None and offset_s <= limits.offset_s
    found = "not measured" if offset_s is None else f"{signed(offset_s)} at most"
    yield Requirement(name, f"within {span(limits.offset_s)} of the grandmaster", "802.1AS B.3", near, found)


def _gives(name: str, seen: _Seen) -> Iterator[Requirement]:
    syncs, told = seen.grown("sent", "sync"), seen.grown("sent", "follow_up")
    yield Requirement(name, "Sync is sent", "802.1AS 10.7.2.3", syncs > 0, f"{syncs} messages")
    whole = syncs > 0 and abs(syncs - told) <= _OPEN
    yield Requirement(name, "each Sync has its Follow_Up", "802.1AS 11.2.15", whole, f"{told} for {syncs}")


def _announces(name: str, seen: _Seen, limits: Limits) -> Iterator[Requirement]:
    heard, sent = seen.grown("received", "announce"), seen.grown("sent", "announce")
    found = f"{heard} heard, {sent} sent"
    if limits.automotive:
        yield Requirement(name, "nobody announces", "Avnu automotive 6.2", not heard and not sent, found)
    else:
        yield Requirement(name, "somebody announces", "802.1AS 10.3", bool(heard or sent), found)


def _print(report: list[Requirement]) -> None:
    out = console()
    for port in dict.fromkeys(line.port for line in report):
        out.print(Text(port, style="bold"))
        table = Table(box=None, pad_edge=False, show_header=False)
        for line in (one for one in report if one.port == port):
            verdict = Text("pass", style="green") if line.passed else Text("FAIL", style="bold red")
            table.add_row("  ", verdict, line.name, line.found, Text(line.clause, style="dim"))
        out.print(table)
    missed = sum(not line.passed for line in report)
    out.print(f"{len(report) - missed} of {len(report)} requirements are met")
