"""What looks wrong with one PTP talker, in sentences.

Each check looks at one thing and yields findings; what was not heard long enough is not judged. A listener hears only
what comes by: that something is missing can also mean that it went another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from timesync.base.ids import identity_text
from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S, Duration
from timesync.ptp.nodes.talker import Talker
from timesync.ptp.nodes.words import GPTP_SDO, accuracy_text, is_grandmaster, major_sdo, sender
from timesync.wire.ptp import CORRECTION_TOO_BIG
from timesync.wire.ptp_message import Flags, MessageType

_ANNOUNCE, _SYNC, _FOLLOW_UP = MessageType.ANNOUNCE, MessageType.SYNC, MessageType.FOLLOW_UP

ENOUGH = 3
"""So many messages before something is said of those that should have come with them."""
_PATIENCE_NS = 5 * NS_PER_S
"""So long before something is held to be missing: longer than two intervals of any profile."""
_FEWEST_GAPS = 6
_SLOWER, _FASTER = 1.35, 0.7
"""Intervals must be within 30 % of what is announced (9.5.8, 9.5.9.2)."""
_FEWEST_PAIRED = 0.8
_WRONG_S = 1.0
_UTC_SLACK_S = 0.5
_MOST_STEPS = 255
_CREDIBLE_NS = Duration.from_s(-0.001)
_MOST_CORRECTION = {False: Duration.from_s(1), True: Duration.from_s(10)}
"""A Follow_Up of gPTP carries all the time since the grandmaster sent its own, which may be seconds."""
_FREE_RUNNING = 248
_ACCURATE = 0x23
_NOT_CAPABLE = 255


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that looks wrong.

    Attributes:
        id: Which judgement; it does not change its meaning.
        domain: Where; None when it is not about a domain.
        sentence: For people.
    """

    id: str
    domain: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class World:
    """What the judge knows besides.

    Attributes:
        tai_utc: TAI - UTC in seconds; None when the table of leap seconds has expired.
        leap: The leap second at the end of this day.
        domains: (``domainNumber``, ``sdoId``) that are used here; None: not known.
    """

    tai_utc: int | None = None
    leap: Leap = Leap.UNKNOWN
    domains: frozenset[tuple[int, int]] | None = None


def _announced_quality(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del world, now_ns
    announce = talker.said.announce
    if announce is None:
        return
    domain, quality = talker.key.domain, announce.quality
    if quality.clock_class == _NOT_CAPABLE:
        yield Finding(
            "class-255", domain,
            f"{sender(talker)} announces clockClass 255: a clock that only takes time must not offer any",
        )  # fmt: skip
    elif quality.clock_class == _FREE_RUNNING and quality.accuracy <= _ACCURATE:
        yield Finding(
            "accuracy", domain,
            f"{sender(talker)} says that it is {accuracy_text(quality.accuracy)}, and that it runs free (clockClass "
            "248): both cannot be true",
        )  # fmt: skip
    if major_sdo(talker) == GPTP_SDO and is_grandmaster(talker) and announce.priority1 == _NOT_CAPABLE:
        yield Finding(
            "priority1-255", domain,
            f"{sender(talker)} announces itself with priority1 255, which in gPTP means that it cannot be grandmaster",
        )  # fmt: skip


def _utc_offset(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del now_ns
    announce = talker.said.announce
    if announce is None or world.tai_utc is None:
        return
    flags, said = announce.header.flags, announce.utc_offset
    # The new offset may come an hour before or after the leap second itself.
    if said == world.tai_utc or not flags & Flags.PTP_TIMESCALE or flags & (Flags.LEAP_61 | Flags.LEAP_59):
        return
    if flags & Flags.UTC_OFFSET_VALID:
        effect = f"whoever shows UTC by it is {abs(said - world.tai_utc)} s off"
    else:
        effect = "it does not claim that this is valid, but some clients use it all the same"
    yield Finding(
        "utc-offset", talker.key.domain,
        f"{sender(talker)} announces a currentUtcOffset of {said} s; TAI - UTC is {world.tai_utc} s: {effect}",
    )  # fmt: skip


def _leap(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del now_ns
    announce = talker.said.announce
    if announce is None:
        return
    domain, flags = talker.key.domain, announce.header.flags
    added, left_out = bool(flags & Flags.LEAP_61), bool(flags & Flags.LEAP_59)
    if added and left_out:
        yield Finding("leap", domain, f"{sender(talker)} announces that a leap second will be inserted and left out")
    elif (added and world.leap in (Leap.NONE, Leap.DELETE)) or (left_out and world.leap in (Leap.NONE, Leap.INSERT)):
        what = "inserted" if added else "left out"
        yield Finding(
            "leap", domain,
            f"{sender(talker)} announces that a leap second will be {what} today; the table of leap seconds does not "
            "know of one",
        )  # fmt: skip


def _own_time(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    """Its time against this machine's: no measurement, but whole seconds are seen."""
    del now_ns
    ahead, announce = talker.said.ahead, talker.said.announce
    if ahead is None or abs(ahead.s()) < _WRONG_S or (announce and not announce.header.flags & Flags.PTP_TIMESCALE):
        return
    seconds = ahead.s()
    if world.tai_utc is not None and abs(seconds + world.tai_utc) < _UTC_SLACK_S:
        claim = "says that it gives TAI" if announce else "should give TAI"
        text = f"{claim}, and gives UTC: its time is {world.tai_utc} s behind"
    elif announce is None:
        return  # without Announce, as in automotive gPTP, the timescale is not known
    else:
        side = "behind" if seconds < 0 else "ahead of"
        text = f"gives a time that is {abs(seconds):,.0f} s {side} the clock of this machine; one of the two is wrong"
    yield Finding("time", talker.key.domain, f"{sender(talker)} {text}")


def _companions(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    """Announce, Sync and Follow_Up belong together."""
    del world
    domain, said = talker.key.domain, talker.said
    announces, syncs, told = (talker.count(kind) for kind in (_ANNOUNCE, _SYNC, _FOLLOW_UP))
    patient = now_ns - talker.first_ns >= _PATIENCE_NS
    # Who negotiates unicast sends Announce alone, until somebody chooses it.
    if announces >= ENOUGH and not syncs and patient and _ANNOUNCE in talker.multicast:
        yield Finding(
            "announce-without-sync", domain,
            f"{sender(talker)} sends Announce but no Sync: it is chosen, and gives no time",
        )  # fmt: skip
    if syncs >= ENOUGH and not announces and patient and major_sdo(talker) == 0 and _SYNC in talker.multicast:
        yield Finding(
            "sync-without-announce", domain,
            f"{sender(talker)} sends Sync but no Announce: nobody can choose it",
        )  # fmt: skip
    # The Follow_Up of the last Sync may be under way.
    due = said.two_step_syncs - 1
    if due >= ENOUGH and told < due * _FEWEST_PAIRED:
        yield Finding(
            "no-follow-up", domain,
            f"{sender(talker)} says that it is two-step, but {told or 'none'} of {due} Sync messages had a Follow_Up",
        )  # fmt: skip
    if syncs - said.two_step_syncs >= ENOUGH and told >= ENOUGH and not said.two_step_syncs:
        yield Finding(
            "follow-up-of-one-step", domain,
            f"{sender(talker)} sends Follow_Up, but its Sync messages say that they are one-step",
        )  # fmt: skip
    elif said.empty_syncs >= ENOUGH:
        yield Finding(
            "empty-sync", domain,
            f"{sender(talker)} sends one-step Sync messages without a time in them: its card does not write it",
        )  # fmt: skip


def _intervals(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    """Announce and Sync against the interval in them; requests for delay are sent at random (9.5.11.2)."""
    del world, now_ns
    for kind, name in ((_ANNOUNCE, "Announce"), (_SYNC, "Sync")):
        flow = talker.flow(kind)
        if flow is None or flow.gaps < _FEWEST_GAPS or flow.advertised_s is None:
            continue
        # Lost messages make an interval longer, and a counter that is shared makes it shorter: each by the measure
        # that the other error does not reach.
        heard, sent = flow.heard_s or 0.0, flow.sent_s or 0.0
        if heard < _FASTER * flow.advertised_s:
            how, measured = "faster", heard
        elif sent > _SLOWER * flow.advertised_s:
            how, measured = "slower", sent
        else:
            continue
        yield Finding(
            "interval", talker.key.domain,
            f"{sender(talker)} sends {name} {how} than it says: every {measured:.3g} s instead of "
            f"{flow.advertised_s:.3g} s",
        )  # fmt: skip


def _loops(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del world, now_ns
    announce, said = talker.said.announce, talker.said
    if announce is None:
        return
    domain, own = talker.key.domain, announce.grandmaster == talker.key.port.clock
    text = None
    if len(set(said.path)) < len(said.path) or talker.key.port.clock in said.path[:-1]:
        text = "announces a path that passes a clock twice"
    elif announce.steps_removed >= _MOST_STEPS:
        text = f"is {announce.steps_removed} steps from its grandmaster: such an Announce circulates"
    elif said.steps.rises >= ENOUGH:
        text = f"announces more steps again and again, {announce.steps_removed} by now: its Announce circulates"
    elif own and announce.steps_removed:
        text = f"announces itself as grandmaster, {announce.steps_removed} steps away: it follows its own Announce"
    elif not own and not announce.steps_removed:
        text = f"announces {identity_text(announce.grandmaster)} with stepsRemoved 0, which only that one may"
    if text is not None:
        yield Finding("loop", domain, f"{sender(talker)} {text}")


def _corrections(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del world, now_ns
    if talker.said.corrections is None:
        return
    low, high = talker.said.corrections
    text = None
    if high == CORRECTION_TOO_BIG:
        text = "a correctionField that says that it is too big to be written"
    elif high > _MOST_CORRECTION[major_sdo(talker) == GPTP_SDO]:
        text = f"a correctionField of {high.s():,.3g} s: no message stays so long in a transparent clock"
    elif low < _CREDIBLE_NS:
        text = f"a negative correctionField ({low.s():,.3g} s): no message leaves a clock before it came"
    if text is not None:
        yield Finding("correction", talker.key.domain, f"messages of {sender(talker)} come with {text}")


def _unanswered(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del world
    asked, domain = talker.asked, talker.key.domain
    if now_ns - talker.first_ns < _PATIENCE_NS:
        return
    if asked.delay.asked >= ENOUGH and not asked.delay.answered:
        yield Finding("delay-unanswered", domain, f"nobody answers the Delay_Req of {sender(talker)}")
    if asked.pdelay.asked >= ENOUGH and not asked.pdelay.answered:
        yield Finding(
            "pdelay-unanswered", domain,
            f"nobody answers the Pdelay_Req of {sender(talker)}: the device at the other end of its cable does not "
            "measure peer delay",
        )  # fmt: skip
    if len(asked.responders) > 1:
        names = ", ".join(map(str, sorted(asked.responders)))
        yield Finding(
            "pdelay-many", domain,
            f"several ports answer the Pdelay_Req of {sender(talker)} ({names}): a switch without PTP lies between",
        )  # fmt: skip
    if asked.unicast.asked >= 2 and not asked.unicast.answered:
        yield Finding(
            "unicast-unanswered", domain,
            f"nobody answers when {sender(talker)} asks for unicast transmission",
        )  # fmt: skip
    elif asked.refused and asked.refused == asked.unicast.answered:
        yield Finding("unicast-refused", domain, f"{sender(talker)} asks for unicast transmission and is refused")


def _misplaced(talker: Talker, world: World, now_ns: int) -> Iterator[Finding]:
    del world, now_ns
    domain, found = talker.key.domain, talker.found
    if found.ports_wrong:
        yield Finding(
            "udp-port", domain,
            f"{sender(talker)} sends event messages to port 320, or others to port 319: they are not stamped",
        )  # fmt: skip
    if major_sdo(talker) == GPTP_SDO and any(vlan is not None for vlan in found.vlans):
        yield Finding("gptp-vlan", domain, f"{sender(talker)} sends gPTP with a VLAN tag, which 802.1AS forbids")
    if major_sdo(talker) == GPTP_SDO and talker.key.transport != "l2":
        yield Finding("gptp-udp", domain, f"{sender(talker)} sends gPTP over UDP; it is defined over Ethernet only")


Check = Callable[[Talker, World, int], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _announced_quality, _utc_offset, _leap, _own_time, _companions, _intervals, _loops, _corrections, _unanswered,
    _misplaced,
)  # fmt: skip
