"""What looks wrong among the PTP talkers of a wire, in sentences.

``checks`` has what can be said of one talker alone; here is what is seen by comparing them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

from timesync.base.ids import ClockIdentity, PortIdentity, identity_text
from timesync.base.time import NS_PER_S
from timesync.ptp.nodes.checks import CHECKS, ENOUGH, Finding, World
from timesync.ptp.nodes.table import MAX_PER_ADDRESS, NodeTable
from timesync.ptp.nodes.talker import Talker
from timesync.ptp.nodes.words import is_transmitter, sender
from timesync.wire.ptp_message import Announce, Flags, MessageType

_MOST_ALIKE = 8
_MOST_COMPARED = 32
"""So many announcers of one domain are compared with each other; no network has more on one wire."""
_OVERLAP = 4
"""Announce intervals: a grandmaster yields to a better one within these (9.3.2.4.4), with one to spare."""


def judge(table: NodeTable, world: World, now_ns: int) -> list[Finding]:
    """Everything that looks wrong now, one domain after the other."""
    talkers = table.talkers
    found = [finding for talker in talkers for check in CHECKS for finding in check(talker, world, now_ns)]
    wires: dict[tuple[int, int, str], list[Talker]] = defaultdict(list)
    for talker in talkers:
        wires[talker.key.wire].append(talker)
    for together in wires.values():
        for compare in _OF_WIRES:
            found += compare(together)
    found += _foreign_domains(wires, world)
    found += _same_identity(talkers)
    found += _strangers(table)
    return sorted(_shortened(found), key=lambda finding: (finding.domain is not None, finding.domain or 0))


def _shortened(findings: Iterable[Finding]) -> Iterator[Finding]:
    """A few of each kind in each domain, and how many more there are: forged talkers are no reason for a book."""
    kinds: dict[tuple[str, int | None], list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.id, finding.domain].append(finding)
    for alike in kinds.values():
        yield from alike[:_MOST_ALIKE]
        more = len(alike) - _MOST_ALIKE
        if more > 0:
            first = alike[0]
            yield Finding(first.id, first.domain, f"the same ({first.id}) is true of {more} more")


# -- those who hear each other


def _overlap(first: Talker, second: Talker) -> bool:
    """Whether both announced to groups for longer than one takes to yield."""
    flows = first.multicast.get(MessageType.ANNOUNCE), second.multicast.get(MessageType.ANNOUNCE)
    if flows[0] is None or flows[1] is None or min(flows[0].count, flows[1].count) < ENOUGH:
        return False
    common_ns = min(flows[0].last_ns, flows[1].last_ns) - max(flows[0].first_ns, flows[1].first_ns)
    longest_s = max(flow.advertised_s or 1.0 for flow in flows if flow is not None)
    return common_ns >= _OVERLAP * longest_s * NS_PER_S


def _several_transmitters(talkers: list[Talker]) -> Iterator[Finding]:
    """Two grandmasters, or two ports that give the same grandmaster's time, on one wire."""
    heard: list[tuple[Talker, Announce]] = [
        (talker, talker.said.announce)
        for talker in talkers
        if talker.said.announce and not talker.said.announce.header.flags & Flags.ALTERNATE_TIME_TRANSMITTER
    ]
    told: set[frozenset[ClockIdentity]] = set()
    # Those who were heard most come first: a forger who talks once must not hide them.
    heard.sort(key=lambda one: -one[0].count(MessageType.ANNOUNCE))
    for (first, ours), (second, theirs) in combinations(heard[:_MOST_COMPARED], 2):
        pair = frozenset({ours.grandmaster, theirs.grandmaster})
        if pair in told or not _overlap(first, second):
            continue
        told.add(pair)
        domain = first.key.domain
        if len(pair) == 2:
            yield Finding(
                "two-grandmasters", domain,
                f"two grandmasters in domain {domain}: {_offer(ours)}, by {sender(first)}, and {_offer(theirs)}, by "
                f"{sender(second)}; the one that is worse does not hear the other, or is told not to yield",
            )  # fmt: skip
        elif is_transmitter(first) and is_transmitter(second):
            yield Finding(
                "two-transmitters", domain,
                f"{sender(first)} and {sender(second)} both give the time of {identity_text(ours.grandmaster)} in "
                f"domain {domain}: one of them should be passive",
            )  # fmt: skip


def _offer(announce: Announce) -> str:
    quality = announce.quality
    return (
        f"{identity_text(announce.grandmaster)} (priority1 {announce.priority1}, clockClass {quality.clock_class}, "
        f"priority2 {announce.priority2})"
    )


def _mixed_delay(talkers: list[Talker]) -> Iterator[Finding]:
    end_to_end = [talker for talker in talkers if talker.count(MessageType.DELAY_REQ)]
    peers = [talker for talker in talkers if talker.count(MessageType.PDELAY_REQ)]
    if end_to_end and peers:
        domain = talkers[0].key.domain
        yield Finding(
            "mixed-delay", domain,
            f"domain {domain} mixes delay mechanisms: {_some(end_to_end)} end-to-end (Delay_Req), {_some(peers)} "
            "peer-to-peer (Pdelay_Req)",
        )  # fmt: skip


def _some(talkers: list[Talker]) -> str:
    names = ", ".join(sender(talker) for talker in talkers[:3])
    rest = len(talkers) - 3
    return f"{names} and {rest} more" if rest > 0 else names


_OF_WIRES: tuple[Callable[[list[Talker]], Iterator[Finding]], ...] = (_several_transmitters, _mixed_delay)


# -- everybody


def _foreign_domains(wires: Iterable[tuple[int, int, str]], world: World) -> Iterator[Finding]:
    if world.domains is None:
        return
    used = ", ".join(_domain(*one) for one in sorted(world.domains)) or "none"
    for domain, sdo_id in sorted({(domain, sdo_id) for domain, sdo_id, _ in wires} - world.domains):
        yield Finding(
            "domain", domain,
            f"{_domain(domain, sdo_id)} is not used by the configuration here (it uses {used})",
        )  # fmt: skip


def _domain(domain: int, sdo_id: int) -> str:
    return f"domain {domain} of sdoId 0x{sdo_id:03X}" if sdo_id else f"domain {domain}"


def _same_identity(talkers: list[Talker]) -> Iterator[Finding]:
    """One port identity from two addresses, in turn or at once."""
    macs: dict[PortIdentity, set[str]] = defaultdict(set)
    turns: dict[PortIdentity, int] = defaultdict(int)
    first: dict[PortIdentity, Talker] = {}
    for talker in talkers:
        port = talker.key.port
        known = macs[port]
        own = set(talker.found.macs)
        # Heard in several domains or transports: a talker that has no address in common is another device.
        turns[port] += talker.found.switches + (2 if known and own and not known & own else 0)
        known |= own
        first.setdefault(port, talker)
    for port, talker in first.items():
        if len(macs[port]) > 1 and turns[port] >= 2:
            yield Finding(
                "duplicate-identity", talker.key.domain,
                f"two devices are {port}: it comes from {' and '.join(sorted(macs[port]))}",
            )  # fmt: skip


def _strangers(table: NodeTable) -> Iterator[Finding]:
    for stranger in table.strangers:
        if stranger.version_1:
            text = f"{stranger.address} speaks PTP version 1 ({stranger.what}), which nobody of version 2 understands"
            yield Finding("ptp-v1", None, text)
        else:
            times = f", {stranger.count} times" if stranger.count > 1 else ""
            yield Finding("unreadable", None, f"{stranger.address} sends what cannot be read{times}: {stranger.what}")
    for address in sorted(table.flooding):
        yield Finding(
            "flood", None,
            f"{address} sends under more than {MAX_PER_ADDRESS} identities; only the first are listed: it forges them",
        )  # fmt: skip
    if table.refused and not table.flooding:
        yield Finding("full", None, f"there are more talkers than fit; {table.refused} packets of others are left out")
