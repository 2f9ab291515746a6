"""The foreign timeTransmitters that one port hears (IEEE 1588-2019, 9.3.2.4 and 9.3.2.5), in bounded memory.

A clock that is heard for the first time is only noted. It is qualified, and may be followed, when it goes on. So a
storm of Announces from invented identities fills the short list of notes and touches nothing else: whoever wants to
be followed has to persist under one name.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.machine import Rng
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono
from timesync.ptp.bmca import Candidate, elect
from timesync.ptp.datasets import path_of
from timesync.ptp.settings import Bmca, InstanceSettings, PortSettings, Role
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, Announce, Flags

WINDOW = 4
"""``FOREIGN_MASTER_TIME_WINDOW``, announce intervals (9.3.2.4.5)."""

QUALIFIED = 8
"""Qualified foreign timeTransmitters that are kept; the worst one goes when there are more. At least 5 are required."""

NOTED = 256
"""Those heard once that are remembered."""

QUALITY_LEVELS = range(80, 110)
"""Values of ``clockClass`` that stand for a quality level that may be used (G.8265.1, table 1); 110 is QL-DNU."""

BARRED = Duration.from_s(60)
"""How long one that announces itself and sends no Sync is not tried again (G.8265.1)."""

_DEFAULT_LOG_INTERVAL = 1
_LOG_INTERVALS = -4, 4
"""Of senders, unless ours is outside: nobody can make himself immortal by an interval of years."""


class Heard(enum.Enum):
    """What became of an Announce; those refused have a short name for the counters."""

    CHANGED = "changed"
    """The qualified clocks, or what one of them says, are not what they were: a state decision is due."""
    UNCHANGED = "unchanged"
    NOTED = "noted"
    """Heard, and not yet qualified."""
    ROLE = "announce-role"
    """This port may only send."""
    OWN = "announce-own"
    """From this clock (9.3.2.5)."""
    ALTERNATE = "announce-alternate"
    """The alternateTimeTransmitter flag is set (17.3)."""
    STEPS = "announce-steps"
    """stepsRemoved has reached maxStepsRemoved (9.3.2.5)."""
    LOOP = "announce-loop"
    """This clock is in its path trace (16.2), or is its grandmaster."""
    QUALITY = "announce-quality-level"
    """Its ``clockClass`` says "do not use", or stands for no quality level (G.8265.1, table 1)."""
    SILENT = "announce-without-sync"
    """It was given up because it sends no time, and is tried again later (G.8265.1)."""
    UNACCEPTABLE = "announce-unacceptable"
    """Not in the acceptable timeTransmitter table (17.5)."""
    REPEATED = "announce-repeated"
    """A copy, or overtaken by a later one."""
    CROWDED = "announce-crowded"
    """Too many new identities are heard to take note of all."""

    @property
    def refused(self) -> bool:
        """It counts for nothing."""
        return self.value.startswith("announce-")


@dataclass(slots=True)
class _Foreign:
    """A qualified foreign timeTransmitter."""

    candidate: Candidate
    heard: Instant[Mono]
    expires: Instant[Mono]


class ForeignTable:
    """``foreignMasterDS`` of one port: who may be followed there.

    A clock is qualified by two Announces within four intervals, and stays so until none came for
    ``announceReceiptTimeout`` intervals, and a random part of one, drawn anew each time (9.2.6.12). Intervals are
    those of the sender, within reason, and our own where he does not tell. 802.1AS qualifies at the first Announce
    (10.3.11); here only as long as nobody else is heard, so that there too a stranger has to persist before he
    replaces anybody.

    Args:
        port: Of the port.
        instance: Of its instance.
        rng: Spreads the time-outs.
    """

    def __init__(self, port: PortSettings, instance: InstanceSettings, rng: Rng) -> None:
        self._port = port
        self._instance = instance
        self._rng = rng
        self._receiver = PortIdentity(instance.identity, port.number)
        self._acceptable = frozenset(_acceptable(text) for text in port.acceptable)
        own = port.intervals.announce
        self._log_interval = _DEFAULT_LOG_INTERVAL if own is None else own
        self._qualified: dict[PortIdentity, _Foreign] = {}
        self._noted: dict[PortIdentity, Instant[Mono]] = {}
        self._barred: dict[PortIdentity, Instant[Mono]] = {}
        self._shadowed_until: Instant[Mono] | None = None

    def on_announce(self, message: Announce, now: Instant[Mono], preference: int | None = None) -> Heard:
        """An Announce of this instance's domain came in by this port.

        ``preference`` is its sender's place in an order of preference; without one it has that of the port.
        """
        preference = self._port.local_priority if preference is None else preference
        sender = message.header.source
        known = self._qualified.get(sender)
        refusal = self._refusal(message, now)
        if refusal is not None:
            if known is not None:
                # Only the latest Announce of a clock counts, and this one does not qualify (9.3.2.5).
                known.expires = now
            return refusal
        if known is not None:
            return self._refresh(known, message, now, preference)
        if not self._qualifies(sender, self._interval(message), now):
            return self._note(sender, self._interval(message), now)
        self._noted.pop(sender, None)
        candidate = Candidate(message, self._receiver, preference)
        self._qualified[sender] = _Foreign(candidate, now, self._expiry(message, now))
        return self._drop_worst(sender)

    def best(self, now: Instant[Mono]) -> Candidate | None:
        """Erbest: the best of those that are qualified; None when there is none."""
        return elect(self.candidates(now), self._instance.bmca)

    def candidates(self, now: Instant[Mono]) -> tuple[Candidate, ...]:
        """All that are qualified, in the order in which they came."""
        return tuple(foreign.candidate for foreign in self._qualified.values() if now < foreign.expires)

    def shadowed(self, now: Instant[Mono]) -> bool:
        """A port of this clock with a lower number announces in the same network."""
        return self._shadowed_until is not None and now < self._shadowed_until

    def announce_of(self, sender: PortIdentity | None) -> Announce | None:
        """The newest Announce of one that is qualified; None for others."""
        known = None if sender is None else self._qualified.get(sender)
        return None if known is None else known.candidate.announce

    def deadline(self) -> Instant[Mono] | None:
        """When ``expire`` is to be called: a qualified one, or the shadow, is given up if it is not heard before.

        It may lie in the past, when an Announce just disqualified its sender.
        """
        ends = [foreign.expires for foreign in self._qualified.values()]
        if self._shadowed_until is not None:
            ends.append(self._shadowed_until)
        return min(ends, default=None)

    def expire(self, now: Instant[Mono]) -> bool:
        """Give up those whose time has come; true when there was one: a state decision is due."""
        gone = [sender for sender, foreign in self._qualified.items() if foreign.expires <= now]
        for sender in gone:
            del self._qualified[sender]
        shadow_gone = self._shadowed_until is not None and self._shadowed_until <= now
        if shadow_gone:
            self._shadowed_until = None
        return bool(gone) or shadow_gone

    def give_up(self, sender: PortIdentity, now: Instant[Mono]) -> None:
        """He gives no time, whatever he announces: as if his last Announce were too old.

        In 802.1AS the next one counts again. Where Sync is granted only to whom it follows, as in G.8265.1, that would
        change the parent every other second.
        """
        known = self._qualified.get(sender)
        if known is not None:
            known.expires = now
            if self._instance.bmca is Bmca.G8265:
                self._barred = {one: until for one, until in self._barred.items() if now < until}
                self._barred[sender] = now + BARRED

    def clear(self) -> None:
        """Forget everybody: the link went down, or the port begins again."""
        self._qualified.clear()
        self._noted.clear()
        self._barred.clear()
        self._shadowed_until = None

    def _refusal(self, message: Announce, now: Instant[Mono]) -> Heard | None:
        """Why an Announce is not considered at all (9.3.2.5)."""
        sender = message.header.source
        if self._port.role is Role.TIME_TRANSMITTER:
            return Heard.ROLE
        if sender.clock == self._instance.identity:
            if 0 < sender.port < self._receiver.port:
                self._shadowed_until = self._expiry(message, now)
            return Heard.OWN
        if Flags.ALTERNATE_TIME_TRANSMITTER in message.header.flags:
            return Heard.ALTERNATE
        if message.steps_removed >= self._instance.maximum_steps_removed:
            return Heard.STEPS
        if message.grandmaster == self._instance.identity or self._instance.identity in path_of(message):
            return Heard.LOOP
        if now < self._barred.get(sender, now):
            return Heard.SILENT
        if self._instance.bmca is Bmca.G8265 and message.quality.clock_class not in QUALITY_LEVELS:
            return Heard.QUALITY
        if self._acceptable and self._acceptable.isdisjoint((sender, sender.clock)):
            return Heard.UNACCEPTABLE
        return None

    def _refresh(self, known: _Foreign, message: Announce, now: Instant[Mono], preference: int) -> Heard:
        """Another Announce of one that is qualified."""
        before = known.candidate.announce
        behind = before.header.sequence_id - message.header.sequence_id & 0xFFFF
        if behind < WINDOW and (now - known.heard) * WINDOW < self._interval(message):
            return Heard.REPEATED
        # One that was given up, and not yet cleared away, is new to the decisions made since.
        unchanged = now < known.expires and _content(before) == _content(message)
        known.candidate = Candidate(message, self._receiver, preference)
        known.heard = now
        known.expires = self._expiry(message, now)
        return Heard.UNCHANGED if unchanged else Heard.CHANGED

    def _qualifies(self, sender: PortIdentity, interval: Duration, now: Instant[Mono]) -> bool:
        """Whether it is the second Announce within the window, and no copy of the first; for 802.1AS see the class.

        ``FOREIGN_MASTER_THRESHOLD`` is 2 (9.3.2.4.5).
        """
        if self._instance.bmca is Bmca.GPTP and not self.candidates(now) and not self._crowd(interval, now):
            return True
        first = self._noted.get(sender)
        return first is not None and interval <= (now - first) * WINDOW and now - first <= interval * WINDOW

    def _crowd(self, interval: Duration, now: Instant[Mono]) -> bool:
        """Strangers have been heard within the window."""
        return bool(self._noted) and now - next(reversed(self._noted.values())) <= interval * WINDOW

    def _note(self, sender: PortIdentity, interval: Duration, now: Instant[Mono]) -> Heard:
        """Remember that one was heard.

        A full list gives up its oldest note, but none so young that its second Announce may be on its way: under a
        storm a few are watched for long enough, rather than all for too short a time.
        """
        first = self._noted.get(sender)
        if first is not None:
            if (now - first) * WINDOW < interval:
                return Heard.REPEATED
            del self._noted[sender]
        elif len(self._noted) >= NOTED:
            oldest = next(iter(self._noted))
            if now - self._noted[oldest] < self._own_interval() * 3 // 2:
                return Heard.CROWDED
            del self._noted[oldest]
        self._noted[sender] = now
        return Heard.NOTED

    def _drop_worst(self, newcomer: PortIdentity) -> Heard:
        """Keep the best ones when too many are qualified; tells what became of the newcomer."""
        if len(self._qualified) <= QUALIFIED:
            return Heard.CHANGED
        left = {sender: foreign.candidate for sender, foreign in self._qualified.items()}
        for _ in range(QUALIFIED):
            best = elect(left.values(), self._instance.bmca)
            assert best is not None
            del left[best.sender]
        for sender in left:
            del self._qualified[sender]
        return Heard.CROWDED if newcomer in left else Heard.CHANGED

    def _expiry(self, message: Announce, now: Instant[Mono]) -> Instant[Mono]:
        """When its sender is given up, if this is the last that is heard of him (9.2.6.12)."""
        interval = self._interval(message)
        # 802.1AS has no random part (10.3.12).
        spread = 0 if self._instance.bmca is Bmca.GPTP else int(interval.scaled_ns * self._rng.random())
        return now + interval * self._port.announce_receipt_timeout + Duration(spread)

    def _interval(self, message: Announce) -> Duration:
        """The sender's announce interval, within reason."""
        log_interval = message.header.log_interval
        if log_interval == LOG_INTERVAL_NONE:
            return self._own_interval()
        low, high = _LOG_INTERVALS
        return _interval(max(min(low, self._log_interval), min(log_interval, max(high, self._log_interval))))

    def _own_interval(self) -> Duration:
        return _interval(self._log_interval)


def _interval(log_interval: int) -> Duration:
    return Duration(UNITS_PER_S << log_interval if log_interval >= 0 else UNITS_PER_S >> -log_interval)


def _content(announce: Announce) -> tuple[object, ...]:
    """What of an Announce a decision or a data set depends on."""
    return (
        announce.header.flags,
        announce.utc_offset,
        announce.priority1,
        announce.quality,
        announce.priority2,
        announce.grandmaster,
        announce.steps_removed,
        announce.time_source,
        announce.tlvs,
    )


def _acceptable(text: str) -> PortIdentity | ClockIdentity:
    """A row of the acceptable timeTransmitter table: ``aabbcc.fffe.ddeeff``, with ``-1`` for one port only.

    Raises:
        ValueError: It is neither.
    """
    digits, dash, number = text.partition("-")
    clock = ClockIdentity(bytes.fromhex(digits.replace(".", "").replace(":", "")))
    if len(clock) != 8:
        raise ValueError(f"{text!r} is not a clock identity of 16 hexadecimal digits, nor one with -PORT")
    if not dash:
        return clock
    port = int(number)
    if not 1 <= port <= 0xFFFE:
        raise ValueError(f"{text!r}: a port number is 1 to 65534")
    return PortIdentity(clock, port)
