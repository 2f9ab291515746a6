"""``timesync query``: one NTP server, asked once or a few times, in its own words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.cli.params import DRAFT, POSITIVE, SERVER
from timesync.cli.render import ExitCode, fail, json_option, print_json
from timesync.cli.show import ago, console, count, signed, span
from timesync.config.address import NTP_PORT, HostPort
from timesync.ntp.exchange import DropReason, precision_of, root_distance
from timesync.ntp.query import Outcome, QuerySettings, best_of, spread
from timesync.observe.snapshot import reference_text
from timesync.wire.ntp import NtpPacket, short_to_duration
from timesync.wire.ntp5 import VERSION as NTPV5
from timesync.wire.ntp5_ext import DRAFTS

if TYPE_CHECKING:  # loaded when it runs: --help and completion must not wait for it
    from timesync.nts.tls_client import Trust

_KISSES = {
    "DENY": "it refuses to serve this client",
    "RSTR": "it refuses to serve this client",
    "RATE": "it is asked too often",
}
_REFUSALS = {
    DropReason.KISS: "it sent a kiss-o'-death",
    DropReason.UNSYNCHRONISED: "it says that it is not synchronised",
    DropReason.STRATUM: "its stratum says that it is not synchronised",
    DropReason.DISTANCE: "it is too far from its root to be of use",
    DropReason.ZERO: "a timestamp is missing in its answer",
    DropReason.STAMP: "our own timestamp of the exchange is missing",
    DropReason.RESPONSE: "its timestamps say that it took too long, or answered before it was asked",
    DropReason.DELAY: "the round trip is too long, or negative",
    DropReason.EPOCH: "this clock was stepped meanwhile",
    DropReason.LEAP_SECOND: "a timestamp lies beside a leap second",
    DropReason.PRECISION: "its clock is too coarse",
}


class _Options(TypedDict):
    number: int
    interval: Duration
    timeout: Duration
    version: int
    drafts: tuple[str, ...]
    interleaved: bool
    nts: bool
    ca: str | None


@click.command()
@click.argument("server", type=SERVER, metavar="HOST[:PORT]")
@click.option("--count", "number", type=click.IntRange(1, 1000), default=1, show_default=True, help="Questions.")
@click.option("--interval", type=POSITIVE, default="1s", show_default=True, help="Between two questions.")
@click.option("--timeout", type=POSITIVE, default="3s", show_default=True, help="How long to wait for each answer.")
@click.option(
    "--version",
    type=click.IntRange(3, 5),
    default=4,
    show_default=True,
    help="NTP version; 5 is a draft, and no standard.",
)
@click.option(
    "--draft", "drafts", multiple=True, type=DRAFT, help="With --version 5: the draft to ask in; may be repeated."
)
@click.option("--interleaved", is_flag=True, help="Ask for interleaved mode (RFC 9769); needs --count 3 or more.")
@click.option("--nts", is_flag=True, help="Make keys by NTS-KE first (RFC 8915); PORT is then its TCP port, 4460.")
@click.option("--ca", metavar="FILE", type=click.Path(), help="With --nts: certificates to trust, not the system's.")
@json_option
def query(server: HostPort, as_json: bool, **options: Unpack[_Options]) -> None:
    """Ask an NTP server for the time, touch no clock, and show all that it says.

    Ends with 0 when a client would use the answer, 1 when there is none or it is not fit for use.
    """
    number = options["number"]
    settings = _settings(options)
    trust = _trust(options["ca"]) if options["nts"] else None
    answers = asyncio.run(_ask(server, trust, settings, quiet=as_json or number == 1))
    if as_json:
        print_json(as_object(answers))
    else:
        _print(answers)
    if not any(outcome.usable for outcome in answers.outcomes):
        raise click.exceptions.Exit(int(ExitCode.NO))


def _settings(options: _Options) -> QuerySettings:
    """What to ask, once options that contradict each other are refused."""
    from timesync.daemon.query import SYSTEM_CLOCK

    if options["interleaved"] and options["number"] < 3:
        # A server keeps no transmit stamp of an answer before a question has asked for it.
        raise click.UsageError("the first two answers are not interleaved: --interleaved needs --count 3 or more")
    if options["interleaved"] and options["version"] == 3:
        raise click.UsageError("interleaved mode exists from NTP version 4 on (RFC 9769)")
    if options["nts"] and options["version"] == 3:
        raise click.UsageError("NTS exists from NTP version 4 on (RFC 8915)")
    if options["drafts"] and options["version"] != 5:
        raise click.UsageError("only NTPv5 has drafts: --draft needs --version 5")
    if options["ca"] is not None and not options["nts"]:
        raise click.UsageError("--ca names certificates to trust, which only a server with --nts has")
    return QuerySettings(
        local=SYSTEM_CLOCK,
        version=options["version"],
        drafts=options["drafts"] or DRAFTS,
        count=options["number"],
        interval=options["interval"],
        timeout=options["timeout"],
        interleaved=options["interleaved"],
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a query.

    Attributes:
        server: Who was named.
        endpoint: Who was asked.
        outcomes: One for each question.
        nts: What was agreed upon with NTS, as in the object of ``--json``; None without NTS.
    """

    server: HostPort
    endpoint: Endpoint
    outcomes: Sequence[Outcome]
    nts: Mapping[str, Any] | None = field(default=None)


def _trust(ca: str | None) -> Trust:
    # Only who has NTS pays for TLS.
    from timesync.nts.certificates import CertificateError
    from timesync.runtime.ke_trust import Trusts

    try:
        return Trusts().of(ca)
    except OSError as error:
        fail(ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.USAGE, f"--ca: {error}")
    except CertificateError as error:
        fail(ExitCode.USAGE, f"--ca: {ca}: {error}")


async def _ask(server: HostPort, trust: Trust | None, settings: QuerySettings, *, quiet: bool) -> Answers:
    from timesync.daemon.leap import load_leap_table
    from timesync.daemon.query import first_address, measuring_host
    from timesync.daemon.query import query as ask_server

    table, _ = load_leap_table()
    host = measuring_host(table)
    told = 0

    def heard(outcome: Outcome) -> None:
        nonlocal told
        told += 1
        if not quiet:
            console().print(f"{told:3}: {_line(outcome)}")

    if trust is not None:
        from timesync.daemon.nts_query import NoKeysError, NtsQuerier
        from timesync.runtime.ke_client import KE_PORT

        server = replace(server, port=server.port or KE_PORT)
        querier = NtsQuerier(host, table, server, trust, ntpv5=settings.version == NTPV5)
        try:
            found = await querier.ask(settings, heard)
        except NoKeysError as error:
            fail(ExitCode.NO, str(error))
        return Answers(server, querier.asked.endpoint, found, querier.details())
    server = replace(server, port=server.port or NTP_PORT)
    try:
        endpoint = await first_address(host, server)
    except OSError as error:
        fail(ExitCode.NO, str(error))
    return Answers(server, endpoint, await ask_server(host, table, endpoint, settings, heard))


def as_object(answers: Answers) -> dict[str, Any]:
    """The object of ``--json``; offsets are this clock minus the server, as in ``timesync sources``."""
    outcomes = answers.outcomes
    best = best_of(outcomes)
    width = spread(outcomes)
    return {
        "server": str(answers.server),
        "address": str(answers.endpoint),
        "nts": answers.nts,
        "usable": any(outcome.usable for outcome in outcomes),
        "answers": [_outcome_object(outcome) for outcome in outcomes],
        "best": None if best is None else outcomes.index(best),
        "spread_s": None if width is None else width.s(),
    }


def _outcome_object(outcome: Outcome) -> dict[str, Any]:
    packet, sample = outcome.packet, outcome.sample
    content: dict[str, Any] = {
        "usable": outcome.usable,
        "reason": outcome.trouble or (None if outcome.refusal is None else outcome.refusal.value),
        "kiss": outcome.kiss,
        "offset_s": None if sample is None else sample.offset.s(),
        "error_bound_s": _bound_s(outcome),
        "delay_s": None if sample is None else sample.round_trip.s(),
        "timestamping": None if outcome.stamping is None else outcome.stamping.value,
        "interleaved": outcome.interleaved,
        "draft": outcome.draft,
        "drops": outcome.drops,
    }
    return content if packet is None else {**content, **_packet_object(packet)}


def _packet_object(packet: NtpPacket) -> Mapping[str, Any]:
    return {
        "version": packet.version,
        "leap": packet.leap.name.lower(),
        "stratum": packet.stratum,
        "reference_id": reference_text(packet.reference_id, packet.stratum),
        "poll": packet.poll,
        "precision_s": precision_of(packet.precision).s(),
        "root_delay_s": short_to_duration(packet.root_delay).s(),
        "root_dispersion_s": short_to_duration(packet.root_dispersion).s(),
        "root_distance_s": root_distance(packet).s(),
        "reference_age_s": _reference_age_s(packet),
    }


def _bound_s(outcome: Outcome) -> float | None:
    """How far the offset may be off if the server is right: half the round trip to the root, and dispersion."""
    if outcome.sample is None or outcome.packet is None:
        return None
    return (root_distance(outcome.packet) + outcome.sample.round_trip // 2 + outcome.sample.excess).s()


def _reference_age_s(packet: NtpPacket) -> float | None:
    """How long before its answer the server's clock was last set; None when it does not say."""
    if packet.reference == 0:
        return None
    age = (packet.transmit - packet.reference) & (1 << 64) - 1
    return None if age >> 63 else age / (1 << 32)


def _line(outcome: Outcome) -> str:
    """One of several answers in one line."""
    if outcome.sample is None:
        return _no_sample(outcome)
    how = ", interleaved" if outcome.interleaved else ""
    bad = "" if outcome.refusal is None else f"; {_REFUSALS[outcome.refusal]}"
    return f"offset {signed(outcome.sample.offset.s())}, delay {span(outcome.sample.round_trip.s())}{how}{bad}"


def _no_sample(outcome: Outcome) -> str:
    if outcome.trouble is not None:
        refused = sum(outcome.drops.values())
        more = "" if not refused else f"; {count(refused, 'datagram')} refused ({', '.join(outcome.drops)})"
        return f"no answer: {outcome.trouble}{more}"
    if outcome.kiss is not None:
        return f"kiss-o'-death {outcome.kiss}: {_KISSES.get(outcome.kiss, 'it does not want to answer')}"
    reason = outcome.refusal or DropReason.STAMP
    return f"an answer, but of no use: {_REFUSALS.get(reason, reason.value)}"


def _print(answers: Answers) -> None:
    out = console()
    server, outcomes = answers.server, answers.outcomes
    name = str(server) if server.numeric else f"{server} ({answers.endpoint.address})"
    best = best_of(outcomes)
    if best is None:
        out.print(f"{name}: {_no_sample(outcomes[-1])}")
        last = next((one for one in reversed(outcomes) if one.packet is not None), None)
        if last is not None and last.kiss is None:
            _print_words(last)
        return
    assert best.sample is not None
    offset_s = best.sample.offset.s()
    side = "ahead of" if offset_s < 0 else "behind"
    out.print(f"{name} is {span(abs(offset_s))} {side} this clock, give or take {span(_bound_s(best))}")
    if len(outcomes) > 1:
        measured = [one for one in outcomes if one.sample is not None]
        width = spread(outcomes)
        more = "" if width is None else f"; the offsets spread over {span(width.s())}"
        out.print(f"  best of {len(measured)} answers to {count(len(outcomes), 'question')}{more}")
    if best.refusal is not None:
        out.print(f"  not fit for use: {_REFUSALS[best.refusal]}")
    stamps = "daemon" if best.stamping is None or best.stamping.value == "user" else best.stamping.value
    how = "interleaved mode" if best.interleaved else "basic mode"
    out.print(f"  round trip {span(best.sample.round_trip.s())}, {stamps} timestamps, {how}")
    if best.sample.excess:
        out.print(f"  (below zero by {span(best.sample.excess.s())}: the server guesses when its answer leaves)")
    if answers.nts is not None:
        nts = answers.nts
        secret = "safe from a quantum computer" if nts["post_quantum"] else nts["group"] or "an unnamed group"
        out.print(f"  authenticated by NTS ({nts['aead']}, {secret})")
        out.print(f"  asked at {answers.endpoint}, {nts['cookies']} cookies left")
    _print_words(best)


def _print_words(outcome: Outcome) -> None:
    """What the server says of itself."""
    packet = outcome.packet
    assert packet is not None
    out = console()
    leap = {Leap.NONE: "none", Leap.INSERT: "insert", Leap.DELETE: "delete", Leap.UNKNOWN: "not synchronised"}
    reference = "" if outcome.draft else f"reference {reference_text(packet.reference_id, packet.stratum)}, "
    version = packet.version if outcome.draft is None else f"{packet.version} ({outcome.draft})"
    out.print(f"  stratum {packet.stratum}, {reference}leap {leap[packet.leap]}, version {version}")
    delay, dispersion = short_to_duration(packet.root_delay).s(), short_to_duration(packet.root_dispersion).s()
    out.print(
        f"  root distance {span(root_distance(packet).s())}: delay {span(delay)} / 2 + dispersion {span(dispersion)}"
    )
    age = "" if outcome.draft else f", its clock was set {ago(_reference_age_s(packet))}"
    out.print(f"  precision {span(precision_of(packet.precision).s())}{age}")
