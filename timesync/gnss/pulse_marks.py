"""Pulses that gpsd saw and numbered, as a source of their own: checked and counted like any other pulse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Dropped, Effect, Measured, Status
from timesync.base.measure import Coarse, Leap, Measurement, Quality, Stamp
from timesync.base.time import ZERO, Duration, Instant, Mono, Tai
from timesync.base.utc import LeapTable
from timesync.gnss.continuity import Trouble
from timesync.gnss.event import PulseMark
from timesync.gnss.label import Numberer, NumbererSettings, PulseFigures, Refusal
from timesync.gnss.latency import Truth
from timesync.gnss.register import Register

_OWN_BOUND_S = 0.1
"""gpsd's own number is taken at its word: it may be whole seconds off, and then a better truth overrules it."""

_GOOD_TRUTH_S = 0.4
_DISPERSION = Duration.from_ns(5_000)
"""gpsd sees the kernel's interrupt, as we do: it is late, always to the same side, by 1 to 5 µs on small boards."""

_LEAST_NOISE_S = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseLink:
    """The pulses' own place in the core.

    Attributes:
        source: Their identity.
        name: What the operator calls them.
        link: The link that their measurements come over.
        reference_id: Four octets.
        delay: How late the edge is seen for known reasons: subtracted.
        place: What the local clock read when CLOCK_REALTIME read so many ns (``Devices.stamp``).
        steered: What steering has added to the local clock at a reading of it (``Ledger.adjustment``).
    """

    source: SourceId
    name: str
    link: LinkId
    place: Callable[[int], Stamp | None]
    steered: Callable[[Instant[Tai]], Duration]
    reference_id: bytes = b"PPS\0"
    delay: Duration = field(default=ZERO)


class MarkedPulses:
    """Turns gpsd's PPS reports into measurements."""

    def __init__(self, settings: PulseLink, clock: ClockId, remote: ClockId, table: LeapTable) -> None:
        self.table = table
        self.register = Register(settings.source, settings.reference_id)
        self._settings = settings
        self._clock = clock
        self._remote = remote
        self._numberer = Numberer(
            NumbererSettings(source=settings.source, name=settings.name, delay=settings.delay), settings.steered
        )
        self._sequence = 0
        self._said: tuple[str | None, Leap, int] | None = None

    def figures(self) -> PulseFigures:
        """What became of them."""
        return self._numberer.figures()

    def start(self, now: Instant[Mono]) -> None:
        """Expect pulses from now on."""
        self.register.start(now)

    def forget(self) -> None:
        """The pulses to come are of another receiver."""
        self._numberer.forget()

    def on_mark(
        self, mark: PulseMark, now: Instant[Mono], truth: Truth | None, trouble: Trouble | None, leap: Leap
    ) -> list[Effect]:
        """A pulse was reported; ``trouble`` is why the receiver's pulses mean nothing now."""
        stamp = self._settings.place(mark.kernel_ns)
        if stamp is None or stamp.clock != self._clock or self.table.ambiguous(mark.utc):
            return self._drop("pulse-stamp")
        self._sequence += 1
        labelled = self._numberer.pulse(stamp, self._sequence, self._coarse(mark, stamp, truth))
        notes: list[Effect] = list(self._numberer.notes())
        if isinstance(labelled, Refusal):
            return [*notes, *self._drop(f"pulse-{labelled.name.lower()}")]
        self.register.heard(now, stamp.source)
        effects: list[Effect] = [*notes, *self.status(trouble, leap)]
        if trouble is not None:
            return [*effects, *self._drop("pulse-no-fix")]
        labelled = labelled.corrected(Duration.from_s(mark.quantization_s))
        measurement = Measurement(
            link=self._settings.link,
            local=self._clock,
            remote=self._remote,
            at=stamp.at,
            epoch=stamp.epoch,
            offset=labelled.offset,
            delay=None,
            noise_s=max(mark.noise_s, _LEAST_NOISE_S),
            quality=Quality(
                stratum=0,
                leap=leap,
                reference_id=self._settings.reference_id,
                root_delay=ZERO,
                root_dispersion=_DISPERSION,
                precision_s=max(mark.noise_s, _LEAST_NOISE_S),
                authenticated=False,
            ),
        )
        return [*effects, Measured(measurement)]

    def status(self, trouble: Trouble | None, leap: Leap, *, always: bool = True) -> list[Effect]:
        """Its standing; unless ``always``, only when something that matters has changed."""
        excluded = self._numberer.trouble if self.register.expected > 3 else None
        if trouble is not None:
            excluded = trouble.text
        said = excluded, leap, self.register.reach
        if not always and said == self._said:
            return []
        self._said = said
        return [Status(self.register.status(excluded, leap))]

    def _coarse(self, mark: PulseMark, stamp: Stamp, truth: Truth | None) -> Coarse:
        """Others' time where there is such; else gpsd's own number."""
        if truth is not None and truth.independent and truth.epoch == stamp.epoch and truth.bound_s < _GOOD_TRUTH_S:
            return Coarse(truth.offset_s, truth.bound_s, "the other sources")
        own = stamp.at - self.table.tai(mark.utc) - self._settings.delay
        return Coarse(own.s(), _OWN_BOUND_S, "gpsd")

    def _drop(self, reason: str) -> list[Effect]:
        self.register.dropped += 1
        return [Dropped(reason)]
