"""Samples that other programs leave: NTP shared memory segments and chrony's SOCK datagrams."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Leap, Measurement, Quality, Stamp
from timesync.base.time import NS_PER_S, ZERO, Duration, Instant, Utc
from timesync.config.sources import ShmSource, SockSource
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.daemon.tally import Tally
from timesync.devices import DatagramInbox, Feed, Segment
from timesync.gnss.label import Numberer, NumbererSettings, Refusal
from timesync.host import ClockError
from timesync.observe.snapshot import SourceFacts
from timesync.servo.command import SourceSpec
from timesync.wire import shm, sock
from timesync.wire.error import WireError

_POLL = Duration.from_ns(250_000_000)
_REOPEN = Duration.from_s(2)
_PATIENCE = Duration.from_s(16)
"""Without a sample for so long, one counts as missed; writers send every 1 to 16 s."""

_NOISE_S = 1e-6
_ERROR = Duration.from_ns(1_000)
"""What the writer's own reading of the clock may be off; more is for ``offset``, or for selection, to find."""

_OLD = Duration.from_s(16)


class _SampleGroup(DeviceGroup):
    """What both ways have in common: a sample is an offset at a time of the system clock."""

    reference_id = b"SHM\0"

    def __init__(self, source: ShmSource | SockSource, clock: ClockId, around: Surroundings) -> None:
        """Nothing is opened yet."""
        super().__init__(source, around, (clock,))
        identity = SourceId(source.title)
        self._spec = SourceSpec(
            source=identity,
            name=source.title,
            link=LinkId(identity),
            clock=clock,
            reference_id=self.reference_id,
            trusted=source.trust,
            noselect=source.noselect,
            correction=-source.offset,
            stamp_noise_s=_NOISE_S,
        )
        self._tally = Tally()
        self._heard = around.host.mono()
        self._unsynchronized = False
        self._address = ""

    def start(self) -> None:
        """Begin."""
        self._around.listener.added(self._spec)
        self._heard = self._around.host.mono()
        self._due()

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """Counts."""
        return {
            self._spec.source: SourceFacts(kind=self.kind, address=self._address, status=None, drops=self._tally.drops)
        }

    def _placed(self, kernel_ns: int) -> Stamp | None:
        """Our clock's reading then; None for what is too old or of an epoch that has gone."""
        stamp = self._around.host.devices.stamp(self._spec.clock, kernel_ns)
        if stamp is None or stamp.epoch != self._around.core.epoch(self._spec.clock):
            self._refuse("stamp")
            return None
        try:
            age = self._around.host.clocks[self._spec.clock].read().at - stamp.at
        except ClockError:
            self._refuse("stamp")
            return None
        if age > _OLD:
            self._refuse("old")
            return None
        return stamp

    def _sampled(self, stamp: Stamp, true_ns: int, leap: Leap, precision_s: float) -> None:
        """The reference read ``true_ns`` (UTC) when our clock read ``stamp``."""
        utc: Instant[Utc] = Instant.from_ns(true_ns)
        if self._around.leap_table.ambiguous(utc):
            self._refuse("leap-second")
            return
        self._measured(stamp, stamp.at - self._around.leap_table.tai(utc), leap, precision_s)

    def _measured(self, stamp: Stamp, offset: Duration, leap: Leap, precision_s: float) -> None:
        self._heard = self._around.host.mono()
        self._unsynchronized = leap is Leap.UNKNOWN
        self._tally.good()
        self._report()
        if self._unsynchronized:
            return
        quality = Quality(
            stratum=0,
            leap=leap,
            reference_id=self.reference_id,
            root_delay=ZERO,
            root_dispersion=_ERROR,
            precision_s=precision_s,
            authenticated=False,
        )
        self._around.listener.measured(
            self._spec.source,
            Measurement(
                link=self._spec.link,
                local=self._spec.clock,
                remote=ClockId(self._spec.source),
                at=stamp.at,
                epoch=stamp.epoch,
                offset=offset,
                delay=None,
                noise_s=_NOISE_S,
                quality=quality,
            ),
        )

    def _refuse(self, why: str) -> None:
        self._tally.refused(why)
        self._report()

    def _count_silence(self) -> None:
        now = self._around.host.mono()
        if now - self._heard >= _PATIENCE:
            self._heard = now
            self._tally.missed()
            self._report()

    def _report(self) -> None:
        excluded = "its writer says that it is not synchronized" if self._unsynchronized else None
        if not self._tally.reach and self._trouble is not None:
            excluded = self._trouble
        status = self._tally.status(self._spec.source, self.reference_id, _PATIENCE.s() / 16, excluded=excluded)
        self._around.listener.status(status)


class ShmGroup(_SampleGroup):
    """A segment that another program writes."""

    def __init__(self, source: ShmSource, clock: ClockId, around: Surroundings) -> None:
        super().__init__(source, clock, around)
        self._unit = source.shm
        self._segment: Segment | None = None
        self._last: tuple[int, int] | None = None
        self._address = f"segment 0x{shm.KEY + source.shm:08x}"

    def stop(self) -> None:
        """Detach."""
        self._alarm.cancel()
        self._close()
        self._around.listener.removed(self._spec.source)

    def _close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _due(self) -> None:
        # First, so that whatever goes wrong below does not silence the source for good.
        self._wake(_POLL)
        try:
            if self._segment is None:
                self._segment = self._around.host.devices.open_segment(self._unit, create=False)
                self._works(self._spec.source)
            data = self._segment.read()
        except ClockError as error:
            self._failed(f"{error}; {error.advice}", self._spec.source)
            self._close()
            self._count_silence()
            self._wake(_REOPEN)
            return
        if data is not None:
            self._look(data)
        self._count_silence()
        self._wake(_POLL)

    def _look(self, data: bytes) -> None:
        try:
            sample = shm.decode(data)
        except WireError:
            self._refuse("malformed")
            return
        key = (sample.count, sample.kernel_ns)
        if not sample.valid or key == self._last:
            return
        self._last = key
        stamp = self._placed(sample.kernel_ns)
        if stamp is not None:
            self._sampled(stamp, sample.clock_ns, sample.leap, 2.0**sample.precision)


class SockGroup(_SampleGroup):
    """A socket that another program sends to."""

    reference_id = b"SOCK"

    def __init__(self, source: SockSource, clock: ClockId, around: Surroundings) -> None:
        super().__init__(source, clock, around)
        self._feed: Feed | None = None
        self._address = source.sock
        self._numberer = Numberer(
            NumbererSettings(source=self._spec.source, name=source.title), partial(around.core.adjustment, clock)
        )
        self._pulses = 0

    def stop(self) -> None:
        """Close it."""
        self._alarm.cancel()
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        self._around.listener.removed(self._spec.source)

    def on_open(self) -> None:
        """It is there."""
        self._works(self._spec.source)

    def on_lost(self, error: OSError) -> None:
        """It is gone, or could not be made."""
        self._feed = None
        self._failed(f"{error.strerror or error}", self._spec.source)
        self._wake(_REOPEN)

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        """A datagram; when it came does not matter, for it says itself when it was measured."""
        del stamp
        try:
            sample = sock.decode(data)
        except WireError:
            self._refuse("malformed")
            return
        kernel_ns = sample.kernel_us * 1000
        if sample.pulse:
            self._edge(kernel_ns, sample.offset_s, sample.leap)
            return
        placed = self._placed(kernel_ns)
        if placed is not None:
            self._sampled(placed, kernel_ns + round(sample.offset_s * NS_PER_S), sample.leap, _NOISE_S)

    def _edge(self, kernel_ns: int, offset_s: float, leap: Leap) -> None:
        """A pulse: the sample's time is rounded to microseconds, its offset is not, and says where the second began."""
        past_ns = round(offset_s * NS_PER_S)
        second_ns = (kernel_ns - past_ns + NS_PER_S // 2) // NS_PER_S * NS_PER_S
        placed = self._placed(second_ns + past_ns)
        if placed is None:
            return
        self._pulses += 1
        coarse = self._around.core.coarse(self._spec.clock, apart_from=(self._spec.source,))
        labelled = self._numberer.pulse(placed, self._pulses, coarse)
        for note in self._numberer.notes():
            self._around.listener.note(note)
        if isinstance(labelled, Refusal):
            self._refuse(labelled.name.lower())
        else:
            self._measured(placed, labelled.offset, leap, _NOISE_S)

    def _due(self) -> None:
        # First, so that whatever goes wrong below does not silence the source for good.
        self._wake(_PATIENCE)
        if self._feed is None:
            try:
                self._feed = self._around.host.devices.open_feed(DatagramInbox(self._address), self._spec.clock, self)
            except OSError as error:
                self.on_lost(error)
                return
        self._count_silence()
        self._wake(_PATIENCE)
