"""``timesync ptp``: looking at PTP on the network, whether the daemon runs or not."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.cli.show import ago, console, count, span

if TYPE_CHECKING:  # loaded when it runs: --help must not wait for it
    from timesync.daemon.ptp_nodes import Heeding
    from timesync.ptp.nodes.talker import Talker

_TRANSPORTS = {"udp4": "UDP/IPv4", "udp6": "UDP/IPv6", "l2": "Ethernet"}
_DENIED = (errno.EPERM, errno.EACCES)
_GONE = (errno.ENODEV, errno.ENXIO)
_INDENT = "    "


@click.group()
def ptp() -> None:
    """Look at PTP on the network."""


@ptp.command()
@click.argument("interface")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 86_400), default=15, show_default=True, help="How long to listen."
)
@click.option("--promiscuous", is_flag=True, help="Also hear what is for other machines, as at a mirror port.")
@click.option("-c", "--config", "file", metavar="FILE", type=click.Path(), help="Say which domains it does not use.")
@json_option
def nodes(interface: str, seconds: float, promiscuous: bool, file: str | None, as_json: bool) -> None:
    """List who talks PTP on INTERFACE, what they say of themselves, and what looks wrong.

    Only listens: nothing is sent, and a running daemon is not disturbed. Hears Ethernet, UDP/IPv4 and UDP/IPv6, all
    domains, and this machine's own messages. Needs CAP_NET_RAW: run it as root. Ctrl-C ends it early. Ends with 1 when
    nobody was heard.
    """
    from timesync.config.load import load
    from timesync.config.problem import ConfigError
    from timesync.daemon.leap import load_leap_table
    from timesync.daemon.ptp_nodes import as_object, domains_of, listen

    domains = None
    if file is not None:
        try:
            domains = domains_of(load(file, private_keys=False).config)
        except ConfigError as error:
            fail_config(error)
    leaps, _ = load_leap_table()

    def started() -> None:
        if not as_json:
            console().print(f"listening on {interface} for {span(seconds)}; Ctrl-C ends it")

    try:
        heeding = listen(interface, seconds, leaps, promiscuous=promiscuous, domains=domains, started=started)
    except OSError as error:
        _refused(interface, error)
    if as_json:
        print_json(as_object(interface, heeding))
    else:
        _print(heeding)
    if not heeding.table.talkers:
        raise click.exceptions.Exit(int(ExitCode.NO))


def _refused(interface: str, error: OSError) -> None:
    if error.errno in _DENIED:
        fail(
            ExitCode.NOT_PERMITTED,
            "listening to all packets of an interface needs the capability CAP_NET_RAW: run it as root (sudo timesync "
            "ptp nodes ...), or in a container with --cap-add NET_RAW",
        )
    if error.errno in _GONE:
        fail(ExitCode.MISSING, f'there is no network interface "{interface}"; `ip link` lists them')
    fail(ExitCode.NO, f"cannot listen on {interface}: {error.strerror or error}")


def _print(heeding: Heeding) -> None:
    from timesync.daemon.ptp_nodes import neighbours

    out, table = console(), heeding.table
    talkers = table.talkers
    if heeding.ended:
        out.print(f"ended after {span(heeding.listened_s)}: {heeding.ended}")
    if not talkers:
        out.print(
            "nobody was heard; a switch may keep multicast back from who has not asked for it (IGMP or MLD snooping), "
            "and unicast between others comes by at a mirror port only"
        )
    for talker in talkers:
        out.print()
        _print_talker(talker, neighbours(talker, talkers), heeding.now_ns)
    out.print()
    if heeding.dropped:
        out.print(f"{count(heeding.dropped, 'packet')} came too fast to be looked at")
    if not heeding.findings:
        if talkers:
            out.print(f"{count(len(talkers), 'talker')}, and nothing looks wrong")
        return
    noun = "thing looks" if len(heeding.findings) == 1 else "things look"
    out.print(Text(f"{len(heeding.findings)} {noun} wrong:", style="bold"))
    for finding in heeding.findings:
        out.print(Text(f"- {finding.sentence}", style="yellow"))


def _print_talker(talker: Talker, around: list[Talker], now_ns: int) -> None:
    from timesync.ptp.nodes.words import guess, roles

    out, key, found = console(), talker.key, talker.found
    sdo = f", sdoId 0x{key.sdo_id:03X}" if key.sdo_id else ""
    head = Text(f"{key.port}", style="bold")
    out.print(head, f" {', '.join(roles(talker))}; domain {key.domain}{sdo}, {_TRANSPORTS[key.transport]}", sep="")
    rows = Table.grid(padding=(0, 2))
    profile = guess(talker, around)
    rows.add_row(_INDENT + "address", _where(talker))
    versions = ", ".join(f"2.{minor}" for minor in sorted(found.versions))
    rows.add_row(_INDENT + "PTP version", f"{versions}{_steps(talker)}")
    rows.add_row(_INDENT + "profile", f"{profile.profile}? ({profile.why})")
    _add_announce(rows, talker)
    rows.add_row(_INDENT + "messages", _messages(talker))
    rows.add_row(_INDENT + "heard", ago((now_ns - talker.last_ns) / 1e9))
    out.print(rows)


def _where(talker: Talker) -> str:
    found = talker.found
    others = [mac for mac in sorted(found.macs) if mac != found.address]
    text = found.address + (f", {', '.join(others)}" if others else "")
    vlans = sorted(vlan for vlan in found.vlans if vlan is not None)
    return text + (f", VLAN {', '.join(map(str, vlans))}" if vlans else "")


def _steps(talker: Talker) -> str:
    two_step = talker.said.two_step
    return "" if two_step is None else ", two-step" if two_step else ", one-step"


def _add_announce(rows: Table, talker: Talker) -> None:
    from timesync.base.ids import identity_text
    from timesync.ptp.nodes import words

    announce = talker.said.announce
    if announce is None:
        return
    quality = announce.quality
    steps = "itself" if words.is_grandmaster(talker) else identity_text(announce.grandmaster)
    rows.add_row(_INDENT + "grandmaster", f"{steps}, {count(announce.steps_removed, 'step')} away")
    rows.add_row(_INDENT + "priorities", f"priority1 {announce.priority1}, priority2 {announce.priority2}")
    rows.add_row(_INDENT + "clockClass", words.class_text(quality.clock_class))
    deviation = words.deviation_s(quality.variance)
    stable = "variance unknown" if deviation is None else f"deviation {_deviation(deviation)}"
    rows.add_row(_INDENT + "accuracy", f"{words.accuracy_text(quality.accuracy)}, {stable}")
    rows.add_row(_INDENT + "time source", words.time_source_text(announce.time_source))
    flags = ", ".join(words.flag_texts(announce.header.flags))
    rows.add_row(_INDENT + "timescale", f"TAI - UTC {announce.utc_offset} s; {flags}")


def _deviation(seconds: float) -> str:
    """Offsets this small have no other reader: with their unit down to picoseconds."""
    return span(seconds) if seconds >= 1e-9 else f"{seconds * 1e12:.3g} ps"


def _messages(talker: Talker) -> str:
    from timesync.wire.ptp_message import MessageType

    parts = []
    for kind in MessageType:
        number = talker.count(kind)
        if not number:
            continue
        flow = talker.flow(kind)
        assert flow is not None
        text = f"{number} {kind.name.title()}"
        if flow.heard_s is not None:
            text += f" every {span(flow.heard_s)}"
        if flow.advertised_s is not None:
            text += f" (says {span(flow.advertised_s)})"
        parts.append(text)
    return ", ".join(parts)
