"""A receiver as a source of time: what it tells becomes measurements, or a reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Dropped, Effect, Measured, Noted, Status
from timesync.base.measure import Coarse, Leap, Measurement, Quality
from timesync.base.time import Duration, Instant, Mono
from timesync.base.utc import LeapTable
from timesync.gnss.burst import Opener
from timesync.gnss.continuity import Skip, Trouble
from timesync.gnss.event import (
    DeviceReport,
    FixReport,
    Garbled,
    LeapReport,
    PulseLock,
    PulseMark,
    ReceiverEvent,
    Sawtooth,
    SetBaud,
    TimeMark,
    Write,
)
from timesync.gnss.health import Health, HealthSettings
from timesync.gnss.label import PulseFigures
from timesync.gnss.latency import Latency, LatencyBook, LatencyMemory, Truth
from timesync.gnss.listened import Listened
from timesync.gnss.pulse_marks import MarkedPulses, PulseLink
from timesync.gnss.register import Register
from timesync.gnss.sawtooth import SawtoothBook
from timesync.gnss.sky_watch import Sky

_COARSE_FOR = Duration.from_s(4)
_COARSE_GROWTH = 6e-3
"""How fast the clock may leave what a message said of it, in seconds per second."""

_PRECISION_S = 1e-6
_MENDED = "week rollover"
"""How whoever reads the line says, once, that it moves the receiver's dates."""

_MENDED_TEXT = "its dates are 1024 weeks or more in the past (week number rollover): they are moved ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """A receiver's place in the core.

    Attributes:
        source: Its identity.
        name: What the operator calls it.
        link: The link that the measurements from its messages come over.
        clock: The clock that stamps them.
        device: The only device to listen to where one connection carries several; empty: the first one that speaks.
        delay: Latency of its messages; None: learnt.
        kinds: Messages whose time is listened to; empty: all.
        reference_id: Four octets (RFC 5905, figure 12).
        health: What is asked of it.
        pulses: Where pulses go that gpsd reports; None: they are ignored.
        single: The connection carries one device by its nature, as a serial line does.
    """

    source: SourceId
    name: str
    link: LinkId
    clock: ClockId
    device: str = ""
    delay: Duration | None = None
    kinds: frozenset[str] = frozenset()
    reference_id: bytes = b"GPS\0"
    health: HealthSettings = field(default_factory=HealthSettings)
    pulses: PulseLink | None = None
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverView:
    """The receiver at one moment, for status.

    Attributes:
        device: The one that is listened to.
        description: As far as it introduced itself.
        sky: Fix, satellites, dilution, jamming, spoofing, antenna.
        message: The kind of message that tells the time; None before one was chosen.
        latency: Of that message.
        leap: The leap second that it announces for the end of this month.
        tai_utc: As it counts; None when it does not say.
        trouble: Why it is not believed; None when it is.
        pulse_trouble: Why its pulses are not.
        used: Times that became measurements.
        skipped: Times that did not, by reason.
        garbled: What could not be read, by reason.
        pulses: What became of the pulses that gpsd reported; None without such.
    """

    device: str
    description: str
    sky: Sky
    message: str | None
    latency: Latency | None
    leap: Leap
    tai_utc: int | None
    trouble: str | None
    pulse_trouble: str | None
    used: int
    skipped: Mapping[str, int]
    garbled: Mapping[str, int]
    pulses: PulseFigures | None


@dataclass(slots=True)
class _Device:
    """What is known of the one receiver that is listened to, and of no other.

    Attributes:
        health: How far it is believed.
        latencies: Of its messages.
        opener: Which of them tells the time.
        newest: Its last measurement, the bound of that, and when it came.
    """

    health: Health
    latencies: LatencyBook
    opener: Opener = field(default_factory=Opener)
    newest: tuple[Measurement, float, Instant[Mono]] | None = None


@dataclass(slots=True)
class _Counts:
    """What became of what came, for status."""

    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    garbled: Counter[str] = field(default_factory=Counter)


class ReceiverJudge:
    """Takes what a receiver tells and decides what the core gets to hear of it."""

    def __init__(self, settings: ReceiverSettings, table: LeapTable, now: Instant[Mono]) -> None:
        """Expect the receiver to speak from now on."""
        self._settings = settings
        self._table = table
        self._remote = ClockId(f"gnss:{settings.name}")
        self._listened = Listened(settings.device)
        self._memory = LatencyMemory(settings.delay, single=settings.single or bool(settings.device))
        self._device = self._new_device(now)
        self._register = Register(settings.source, settings.reference_id)
        self._register.start(now)
        self._sawtooth = SawtoothBook(table)
        self._pulses: MarkedPulses | None = None
        if settings.pulses is not None:
            self._pulses = MarkedPulses(settings.pulses, settings.clock, self._remote, table)
            self._pulses.start(now)
        self._trouble: Trouble | None = None
        self._counts = _Counts()

    def _new_device(self, now: Instant[Mono]) -> _Device:
        health = Health(self._settings.health, self._table, now)
        return _Device(health, self._memory.book(self._listened.current))

    # -- for others

    @property
    def sawtooth(self) -> SawtoothBook:
        """The quantization errors that it told, for whoever labels its pulses."""
        return self._sawtooth

    def pulses_excluded(self, now: Instant[Mono]) -> str | None:
        """Why the pulses of this receiver mean nothing now, in words; None when they do."""
        trouble = self._device.health.pulse_trouble(now)
        return None if trouble is None else trouble.text

    def leap(self) -> Leap:
        """The leap second that it announces for the end of this month."""
        return self._device.health.leap()

    def coarse(self, epoch: int, now: Instant[Mono]) -> Coarse | None:
        """What its latest message says of the local clock in this epoch, to number pulses by; None when nothing."""
        newest = self._device.newest
        if newest is None or self._device.health.trouble(now) is not None:
            return None
        measurement, bound, at = newest
        if measurement.epoch != epoch or now - at > _COARSE_FOR:
            return None
        return Coarse(measurement.offset.s(), bound + _COARSE_GROWTH * (now - at).s(), self._settings.name)

    def leap_report(self) -> LeapReport:
        """What it says of leap seconds, for the vote: only what is possible; UNKNOWN from one that says nothing."""
        said = self._device.health.said_leap
        leap = said.leap if said.leap is Leap.UNKNOWN else self._device.health.leap()
        return LeapReport(device=said.device, tai_utc=said.tai_utc, leap=leap, at=said.at)

    def set_table(self, table: LeapTable) -> None:
        """Another leap second table from now on."""
        self._table = self._sawtooth.table = table
        self._device.health.set_table(table)
        if self._pulses is not None:
            self._pulses.table = table

    def memory(self) -> dict[str, object]:
        """What is worth keeping over a restart: the learnt latencies, and the device that they are of."""
        return self._memory.memory(self._listened.current, self._device.latencies)

    def restore(self, memory: Mapping[str, object]) -> None:
        """Latencies that were learnt before a restart; used once the device that they are of is listened to."""
        self._memory.restore(memory)
        self._device.latencies = self._memory.book(self._listened.current)

    def view(self, now: Instant[Mono]) -> ReceiverView:
        """For status."""
        health, kind = self._device.health, self._device.opener.kind
        trouble, pulse_trouble = health.trouble(now), health.pulse_trouble(now)
        return ReceiverView(
            device=self._listened.current,
            description=self._listened.description,
            sky=health.sky(now),
            message=kind,
            latency=None if kind is None else self._device.latencies.of(kind),
            leap=health.leap(),
            tai_utc=health.said_leap.tai_utc,
            trouble=None if trouble is None else trouble.text,
            pulse_trouble=None if pulse_trouble is None else pulse_trouble.text,
            used=self._counts.used,
            skipped=dict(self._counts.skipped),
            garbled=dict(self._counts.garbled),
            pulses=None if self._pulses is None else self._pulses.figures(),
        )

    # -- what happens

    def on_event(self, event: ReceiverEvent, now: Instant[Mono], truth: Truth | None = None) -> list[Effect]:
        """The receiver told something.

        Args:
            event: What.
            now: Monotonic time.
            truth: What the core knows of the local clock; None while it knows nothing.
        """
        if isinstance(event, TimeMark) and self._settings.kinds and event.kind not in self._settings.kinds:
            return []
        before = self._listened.current
        if not self._listened.heard(event, now):
            return []
        effects = self._other_device(before, now) if self._listened.current != before else []
        effects += self._heard(event, now, truth)
        return effects + self._transitions(now)

    def _other_device(self, before: str, now: Instant[Mono]) -> list[Effect]:
        """Another receiver than ``before`` tells the time from now on: what was learnt of that one is not of this."""
        if not before:
            # The first one. What came before may be of any device, and the latencies are of none that has a name.
            if self._listened.mixed:
                self._device = self._new_device(now)
            else:
                self._device.latencies = self._memory.book(self._listened.current)
            return []
        self._memory.leave(before, self._device.latencies)
        self._device = self._new_device(now)
        self._sawtooth.clear()
        if self._pulses is not None:
            self._pulses.forget()
        text = f"{self._listened.current} tells the time now, no more {before}"
        return [self._note("info", "gnss-device", text)]

    def _heard(self, event: ReceiverEvent, now: Instant[Mono], truth: Truth | None) -> list[Effect]:
        health = self._device.health
        match event:
            case TimeMark():
                health.on_anything(now)
                return self._on_time(event, now, truth)
            case PulseMark():
                return self._on_pulse(event, now, truth)
            case FixReport():
                health.on_anything(now)
                health.on_fix(event, now)
            case LeapReport():
                health.on_anything(now)
                odd = health.on_leap(event)
                return [] if odd is None else [self._note("warning", "gnss-leap", odd)]
            case Sawtooth():
                health.on_anything(now)
                self._sawtooth.heard(event, now)
            case PulseLock():
                health.on_anything(now)
                health.on_pulse_lock(now, locked=event.locked)
            case DeviceReport():
                health.on_device(now, present=event.present)
            case Garbled():
                health.on_garbled()
                self._counts.garbled[event.reason] += 1
                if event.reason == _MENDED:
                    return [self._note("warning", "gnss-week-mended", _MENDED_TEXT)]
            case Write() | SetBaud():
                pass  # for whoever holds the line; they say nothing of the receiver
            case _:
                assert_never(event)
        return []

    def lost(self, now: Instant[Mono]) -> list[Effect]:
        """The connection to the receiver is gone."""
        self._device.health.on_device(now, present=False)
        return self._transitions(now)

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        registers = [self._register] if self._pulses is None else [self._register, self._pulses.register]
        due = [register.deadline() for register in registers]
        return min((when for when in due if when is not None), default=None)

    def on_deadline(self, now: Instant[Mono]) -> list[Effect]:
        """Something should have come by now."""
        effects = self._transitions(now)
        if self._register.overdue(now):
            effects += self._status(now)
        if self._pulses is not None and self._pulses.register.overdue(now):
            effects += self._pulses.status(self._device.health.pulse_trouble(now), self._device.health.leap())
        return effects

    # -- messages

    def _on_time(self, mark: TimeMark, now: Instant[Mono], truth: Truth | None) -> list[Effect]:
        opener = self._device.opener
        before = opener.kind
        counts = opener.counts(mark, now)
        effects: list[Effect] = []
        if before is not None and opener.kind != before:
            text = f"the second is now told by {opener.kind}, no more by {before}"
            effects.append(self._note("info", "gnss-burst", text))
        if not counts:
            self._device.health.on_other_time(mark, now)
        if not counts or mark.stamp.clock != self._settings.clock:
            return effects
        skip = self._device.health.on_time(mark, now, truth)
        if skip is Skip.SAME_SECOND:
            return effects
        self._register.heard(now, mark.stamp.source)
        trouble = self._device.health.trouble(now)
        if skip is not None or trouble is not None:
            reason = skip.value if skip is not None else "refused"
            self._counts.skipped[reason] += 1
            self._register.dropped += 1
            return [*effects, Dropped(reason), *self._status(now)]
        effects += self._learn(mark, truth)
        return [*effects, *self._status(now), Measured(self._measurement(mark, now))]

    def _learn(self, mark: TimeMark, truth: Truth | None) -> list[Effect]:
        """Compare the message's arrival with the truth, where it is known."""
        if truth is None or truth.epoch != mark.stamp.epoch:
            return []
        latency_s = (mark.stamp.at - self._table.tai(mark.utc)).s() - truth.offset_s
        said = self._device.latencies.learn(mark.kind, latency_s, truth.bound_s)
        if said is None:
            return []
        level = "warning" if self._device.latencies.of(mark.kind).late else "info"
        return [self._note(level, "gnss-latency", said)]

    def _measurement(self, mark: TimeMark, now: Instant[Mono]) -> Measurement:
        latency = self._device.latencies.of(mark.kind)
        offset = mark.stamp.at - Duration.from_s(latency.delay_s) - self._table.tai(mark.utc)
        claimed = min(max(mark.accuracy_s or 0.0, 0.0), 1.0)
        bound = latency.bound_s + 3 * claimed
        measurement = Measurement(
            link=self._settings.link,
            local=self._settings.clock,
            remote=self._remote,
            at=mark.stamp.at,
            epoch=mark.stamp.epoch,
            offset=offset,
            delay=None,
            noise_s=latency.spread_s,
            quality=Quality(
                stratum=0,
                leap=self._device.health.leap(),
                reference_id=self._settings.reference_id,
                root_delay=Duration(0),
                root_dispersion=Duration.from_s(bound),
                precision_s=_PRECISION_S,
                authenticated=False,
            ),
        )
        self._counts.used += 1
        self._device.newest = measurement, bound, now
        return measurement

    def _on_pulse(self, mark: PulseMark, now: Instant[Mono], truth: Truth | None) -> list[Effect]:
        if self._pulses is None:
            return []
        health = self._device.health
        return self._pulses.on_mark(mark, now, truth, health.pulse_trouble(now), health.leap())

    # -- what is said

    def _status(self, now: Instant[Mono]) -> list[Effect]:
        trouble = self._device.health.trouble(now)
        excluded = None if trouble is None else trouble.text
        return [Status(self._register.status(excluded, self._device.health.leap()))]

    def _transitions(self, now: Instant[Mono]) -> list[Effect]:
        """Say what changed, and tell the core."""
        effects: list[Effect] = [
            self._note(remark.level, remark.name, remark.text) for remark in self._device.health.remarks()
        ]
        before, after = self._trouble, self._device.health.trouble(now)
        if after != before:
            self._trouble = after
            if after is not None:
                effects.append(self._note("warning", after.name, after.text))
            elif before is not None:
                effects.append(self._note("info", f"{before.name}-over", f"is believed again ({before.text}: over)"))
            effects += self._status(now)
        if self._pulses is not None:
            trouble = self._device.health.pulse_trouble(now)
            effects += self._pulses.status(trouble, self._device.health.leap(), always=False)
        return effects

    def _note(self, level: str, name: str, text: str) -> Noted:
        return Noted(level, name, f"{self._settings.name}: {text}", self._settings.source)
