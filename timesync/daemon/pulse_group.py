"""Pulses a second: asked for when they are due, numbered, and measured.

The kernel or the card stamped the edge, so it does not matter how late it is asked for: no thread waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Leap, Measurement, Quality, StampSource
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.config.sources import PpsSource
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.daemon.tally import Tally
from timesync.devices import KernelPulses, PinPulses, Pulse, PulseInput
from timesync.gnss.label import Labelled, Numberer, NumbererSettings, Refusal
from timesync.host import ClockError
from timesync.observe.snapshot import SourceFacts
from timesync.servo.command import SourceSpec

PPS_REFERENCE = b"PPS\0"

_LATE = Duration.from_ns(5_000_000)
"""After the expected edge: what a busy kernel may need to stamp it."""

_LOOK_AGAIN = Duration.from_ns(50_000_000)
_REOPEN = Duration.from_s(2)
_SECOND = Duration.from_s(1)
_PATIENCE = Duration.from_ns(1_500_000_000)

_PIN_NOISE_S = 5e-9
_PIN_ERROR = Duration.from_ns(100)
"""A receiver's own error and some metres of cable; a timestamp in hardware adds nothing to it."""

_INTERRUPT_NOISE_S = 5e-8
_INTERRUPT_ERROR = Duration.from_ns(5_000)
"""An interrupt is late, always to the same side, by what no sample shows; on small boards by 1 to 5 µs."""


class PulseGroup(DeviceGroup):
    """The pulses of one device."""

    def __init__(
        self,
        source: PpsSource,
        clock: ClockId,
        around: Surroundings,
        only: SourceId | None,
        receiver: SourceId | None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            source: The entry.
            clock: The clock that stamps the edges.
            around: The rest.
            only: The one source that may number them; None: any.
            receiver: The receiver that they hang on, if there is one: its pulses are worth what it is.
        """
        super().__init__(source, around, (clock,))
        pin = source.phc is not None
        identity = SourceId(source.title)
        self._spec = SourceSpec(
            source=identity,
            name=source.title,
            link=LinkId(identity),
            clock=clock,
            reference_id=PPS_REFERENCE,
            trusted=source.trust,
            noselect=source.noselect,
            correction=-source.offset,
            stamp_noise_s=_PIN_NOISE_S if pin else _INTERRUPT_NOISE_S,
        )
        if source.phc is None:
            self._device: KernelPulses | PinPulses = KernelPulses(source.pps, source.edge)
        else:
            self._device = PinPulses(ClockId(source.phc), source.channel, source.pin, source.edge)
        self._only = only
        self._receiver = receiver
        self._input: PulseInput | None = None
        self._numberer = Numberer(
            NumbererSettings(source=identity, name=source.title), partial(around.core.adjustment, clock)
        )
        self._tally = Tally()
        self._last: Instant[Mono] | None = None
        self._newest: Instant[Mono] | None = None

    def start(self) -> None:
        """Open the device, now or when it appears."""
        self._around.listener.added(self._spec)
        self._due()

    def stop(self) -> None:
        """Close it."""
        self._alarm.cancel()
        self._close()
        self._around.listener.removed(self._spec.source)

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """The counts of its edges."""
        figures = self._numberer.figures()
        details = {
            "pulses": figures.accepted,
            "missed": figures.missed,
            "doubled": figures.doubled,
            "wild": figures.wild,
            "unread": figures.unread,
            "unnumbered": figures.unnumbered,
            "renumbered": figures.renumbered,
            "last_pulse_age_s": None if self._newest is None else (self._around.host.mono() - self._newest).s(),
            "pulse_jitter_s": figures.jitter_s,
            "numbered_by": figures.numbered_by,
        }
        address = self._device.path if isinstance(self._device, KernelPulses) else f"pin of {self._device.phc}"
        return {
            self._spec.source: SourceFacts(
                kind=self.kind, address=address, status=None, drops=self._tally.drops, details=details
            )
        }

    # -- the device

    def _due(self) -> None:
        # First, so that whatever goes wrong below does not silence the source for good.
        self._wake(_LOOK_AGAIN)
        now = self._around.host.mono()
        try:
            if self._input is None:
                self._input = self._around.host.devices.open_pulses(self._device, self._spec.clock)
                self._works(self._spec.source)
            pulses = self._input.pulses()
        except ClockError as error:
            self._failed(f"{error}; {error.advice}", self._spec.source)
            self._close()
            self._count_silence(now)
            self._wake(_REOPEN)
            return
        for pulse in pulses:
            self._take(pulse, now)
        if not pulses:
            self._count_silence(now)
        self._wake(self._until_next(pulses[-1]) if pulses else _LOOK_AGAIN)

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
            self._numberer.forget()

    def _until_next(self, newest: Pulse) -> Duration:
        """When the next edge should have been stamped, from now."""
        try:
            age = self._around.host.clocks[self._spec.clock].read().at - newest.stamp.at
        except ClockError:
            return _LOOK_AGAIN  # the card has just vanished, as its next edge will tell
        wait = _SECOND - age + _LATE
        return wait if _LATE <= wait <= _SECOND + _LATE else _LOOK_AGAIN

    def _count_silence(self, now: Instant[Mono]) -> None:
        """A second without an edge."""
        if self._last is None or now - self._last >= _PATIENCE:
            self._last = now - (_PATIENCE - _SECOND)
            self._tally.missed()
            self._report()

    # -- edges

    def _take(self, pulse: Pulse, now: Instant[Mono]) -> None:
        self._last = self._newest = now
        core = self._around.core
        if pulse.stamp.epoch != core.epoch(self._spec.clock):
            self._tally.refused("epoch")
            return
        coarse = core.coarse(self._spec.clock, apart_from=(self._spec.source,), only=self._only)
        labelled = self._numberer.pulse(pulse.stamp, pulse.sequence, coarse)
        for note in self._numberer.notes():
            self._around.listener.note(note)
        if isinstance(labelled, Refusal):
            if labelled is Refusal.DOUBLED:
                self._tally.refuse_extra("doubled")
            elif labelled is not Refusal.REPEATED:
                self._tally.refused(labelled.name.lower())
            self._report()
            return
        self._tally.good()
        self._report()
        if self._verdict() is None:
            self._measure(labelled)

    def _measure(self, labelled: Labelled) -> None:
        receiver = self._around.receivers.get(self._receiver) if self._receiver is not None else None
        if receiver is not None:
            labelled = labelled.corrected(receiver.sawtooth(labelled.second))
        pin = isinstance(self._device, PinPulses)
        quality = Quality(
            stratum=0,
            leap=Leap.NONE if receiver is None else receiver.leap(),
            reference_id=PPS_REFERENCE,
            root_delay=ZERO,
            root_dispersion=_PIN_ERROR if pin else _INTERRUPT_ERROR,
            precision_s=self._spec.stamp_noise_s,
            authenticated=False,
        )
        self._around.listener.measured(
            self._spec.source,
            Measurement(
                link=self._spec.link,
                local=self._spec.clock,
                remote=ClockId(self._spec.source),
                at=labelled.at.at,
                epoch=labelled.at.epoch,
                offset=labelled.offset,
                delay=None,
                noise_s=self._spec.stamp_noise_s,
                quality=quality,
            ),
        )

    def _verdict(self) -> str | None:
        """Why the edges may not be used although they come."""
        if self._receiver is not None:
            receiver = self._around.receivers.get(self._receiver)
            verdict = None if receiver is None else receiver.verdict()
            if verdict is not None:
                return f"its receiver {self._receiver}: {verdict}"
        return None

    def _report(self) -> None:
        excluded = self._verdict()
        if excluded is None and not self._tally.reach:
            # In the words of who knows, before the core says only that nothing comes.
            excluded = self._trouble or self._numberer.trouble
        pin = isinstance(self._device, PinPulses)
        self._around.listener.status(
            self._tally.status(
                self._spec.source,
                PPS_REFERENCE,
                1.0,
                excluded=excluded,
                timestamping=StampSource.HARDWARE if pin else StampSource.KERNEL,
            )
        )
