"""A satellite receiver, behind gpsd or on a serial port: its line, its language, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Dropped, Effect, Measured, Noted, Status
from timesync.base.measure import Leap, Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.config.sources import GpsdSource, NmeaSource
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.devices import Feed, FeedSpec, SerialLine, TcpStream
from timesync.gnss.constellation import mean_cn0
from timesync.gnss.event import LeapReport, ReceiverEvent, Satellite, SetBaud, TimeMark, Write
from timesync.gnss.gpsd_session import GpsdSession
from timesync.gnss.health import HealthSettings
from timesync.gnss.latency import Truth
from timesync.gnss.pulse_marks import PulseLink
from timesync.gnss.receiver import ReceiverJudge, ReceiverSettings, ReceiverView
from timesync.gnss.rollover import BUILT
from timesync.gnss.serial_receiver import SerialReceiver, SerialSettings
from timesync.observe.snapshot import SourceFacts
from timesync.runtime.drive import Alarm
from timesync.servo.command import SourceSpec

GPS_REFERENCE = b"GPS\0"
_FIRST_REOPEN = Duration.from_s(1)
_LONGEST_REOPEN = Duration.from_s(16)
_FIRST_BAUD = 9600
_MESSAGE_NOISE_S = 1e-3
_MARK_NOISE_S = 1e-7


class Session(Protocol):
    """What speaks the receiver's language: bytes in, events out."""

    def on_open(self, now: Instant[Mono]) -> Sequence[ReceiverEvent]:
        """The line is open."""
        ...

    def on_data(self, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> Sequence[ReceiverEvent]:
        """Bytes came; the last of them at ``stamp``."""
        ...

    def on_lost(self) -> Sequence[ReceiverEvent]:
        """The line is gone; ``on_open`` comes again when there is another."""
        ...

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        ...

    def on_deadline(self, now: Instant[Mono]) -> Sequence[ReceiverEvent]:
        """The deadline has passed."""
        ...


class ReceiverGroup(DeviceGroup):
    """One receiver; with gpsd also the pulses that gpsd sees."""

    def __init__(
        self,
        source: GpsdSource | NmeaSource,
        clock: ClockId,
        around: Surroundings,
        remembered: Mapping[str, object],
    ) -> None:
        """Nothing is opened yet; ``remembered`` is what ``calibration`` gave before the restart."""
        super().__init__(source, around, (clock,))
        self._clock = clock
        self._specs = _specs(source, clock)
        marks = self._specs[1] if len(self._specs) > 1 else None
        self._judge = ReceiverJudge(
            ReceiverSettings(
                source=self._specs[0].source,
                name=source.title,
                link=self._specs[0].link,
                clock=clock,
                device="" if isinstance(source, NmeaSource) else source.gpsd.device or "",
                delay=source.delay,
                reference_id=GPS_REFERENCE,
                health=HealthSettings(build_date=BUILT),
                pulses=None if marks is None else self._marks(marks),
                single=isinstance(source, NmeaSource),
            ),
            around.leap_table,
            around.host.mono(),
        )
        self._judge.restore(remembered)
        self._session, self._line = self._language(source)
        self._feed: Feed | None = None
        self._reopen = _FIRST_REOPEN
        self._clockwork = Alarm(around.host, self._tick)

    def _marks(self, spec: SourceSpec) -> PulseLink:
        around = self._around
        return PulseLink(
            source=spec.source,
            name=spec.name,
            link=spec.link,
            place=partial(around.host.devices.stamp, self._clock),
            steered=partial(around.core.adjustment, self._clock),
        )

    def _language(self, source: GpsdSource | NmeaSource) -> tuple[Session, FeedSpec]:
        if isinstance(source, NmeaSource):
            settings = SerialSettings(device="", baud=source.baud, configure=source.configure, build_date=BUILT)
            return SerialReceiver(settings), SerialLine(source.nmea, source.baud or _FIRST_BAUD)
        # What another machine's gpsd says of its clock says nothing of ours.
        place = (
            partial(self._around.host.devices.stamp, self._clock) if self._is_here(source.gpsd.server.host) else None
        )
        session = GpsdSession(source.gpsd.device, place)
        return session, TcpStream(source.gpsd.server.host, source.gpsd.server.port)

    def _is_here(self, host: str) -> bool:
        return host == "localhost" or host in self._around.host.own_addresses()

    # -- life

    def start(self) -> None:
        """Open the line, now or when the device appears."""
        for spec in self._specs:
            self._around.listener.added(spec)
        self._around.receivers[self._specs[0].source] = self
        self._due()
        self._arm()

    def stop(self) -> None:
        """Close it."""
        self._alarm.cancel()
        self._clockwork.cancel()
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        self._around.receivers.pop(self._specs[0].source, None)
        for spec in self._specs:
            self._around.listener.removed(spec.source)

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """Fix, satellites and latency, and what became of gpsd's pulses."""
        view = self._judge.view(self._around.host.mono())
        line = self._line.path if isinstance(self._line, SerialLine) else _stream(self._line)
        facts = {
            self._specs[0].source: SourceFacts(
                kind=self.kind,
                address=line,
                status=None,
                drops={**view.skipped, **view.garbled},
                details=_details(view),
            )
        }
        for spec in self._specs[1:]:
            figures = view.pulses
            details: dict[str, Any] = (
                {}
                if figures is None
                else {
                    "pulses": figures.accepted,
                    "missed": figures.missed,
                    "doubled": figures.doubled,
                    "wild": figures.wild,
                    "pulse_jitter_s": figures.jitter_s,
                    "numbered_by": figures.numbered_by,
                }
            )
            facts[spec.source] = SourceFacts(kind="pps", address=line, status=None, details=details)
        return facts

    def calibration(self) -> Mapping[str, object]:
        """The latencies of its messages, and the device that they are of."""
        return self._judge.memory()

    # -- for the pulses that hang on it

    def verdict(self) -> str | None:
        """See ``ReceiverView``."""
        return self._judge.pulses_excluded(self._around.host.mono())

    def leap(self) -> Leap:
        """See ``ReceiverView``."""
        return self._judge.leap()

    def leap_report(self) -> LeapReport:
        """What it says of leap seconds, for the vote: nothing while its time may not be used."""
        if self._judge.view(self._around.host.mono()).trouble is not None:
            return LeapReport()
        return self._judge.leap_report()

    def sawtooth(self, second: Instant[Tai]) -> Duration:
        """See ``ReceiverView``."""
        return self._judge.sawtooth.take(second, self._around.host.mono())

    # -- the line

    def _due(self) -> None:
        try:
            self._feed = self._around.host.devices.open_feed(self._line, self._clock, self)
        except OSError as error:
            self.on_lost(error)

    def on_open(self) -> None:
        """See ``FeedHandler``."""
        self._works(self._specs[0].source)
        self._hear(self._session.on_open(self._around.host.mono()))

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        """See ``FeedHandler``."""
        self._hear(self._session.on_data(data, stamp, self._around.host.mono()))

    def on_lost(self, error: OSError) -> None:
        """See ``FeedHandler``."""
        self._feed = None
        now = self._around.host.mono()
        for event in self._session.on_lost():
            self._perform(self._judge.on_event(event, now))
        self._failed(f"{error.strerror or error}; trying again", self._specs[0].source)
        self._perform(self._judge.lost(now))
        self._wake(self._reopen)
        self._reopen = min(self._reopen + self._reopen, _LONGEST_REOPEN)

    def _tick(self) -> None:
        now = self._around.host.mono()
        session, judge = self._session.deadline(), self._judge.deadline()
        if session is not None and session <= now and self._feed is not None:
            self._hear(self._session.on_deadline(now))
        if judge is not None and judge <= now:
            self._perform(self._judge.on_deadline(now))
        self._arm()

    def _arm(self) -> None:
        session = self._session.deadline() if self._feed is not None else None
        judge = self._judge.deadline()
        self._clockwork.set(min((when for when in (session, judge) if when is not None), default=None))

    def _hear(self, events: Iterable[ReceiverEvent]) -> None:
        for event in events:
            if isinstance(event, TimeMark):
                # Only what can be read is a reason to come back soon: garbage would have us reconnect for ever.
                self._reopen = _FIRST_REOPEN
            if self._feed is not None and isinstance(event, Write | SetBaud):
                self._command(self._feed, event)
            else:
                self._perform(self._judge.on_event(event, self._around.host.mono(), self._truth()))
        if self._feed is not None and isinstance(self._session, GpsdSession) and self._session.broken is not None:
            self._feed.close()
            self.on_lost(OSError(self._session.broken))
        self._arm()

    def _command(self, feed: Feed, event: Write | SetBaud) -> None:
        try:
            if isinstance(event, Write):
                feed.write(event.data)
            else:
                feed.set_baud(event.baud)
        except OSError as error:
            feed.close()
            self.on_lost(error)

    def _truth(self) -> Truth | None:
        core = self._around.core
        known = core.known(self._clock)
        if known is None:
            return None
        independent = core.vouched(apart_from=[spec.source for spec in self._specs])
        return Truth(known.offset_s, known.bound_s, core.epoch(self._clock), independent)

    def _perform(self, effects: Iterable[Effect]) -> None:
        listener = self._around.listener
        for effect in effects:
            match effect:
                case Measured():
                    source = next(spec.source for spec in self._specs if spec.link == effect.measurement.link)
                    listener.measured(source, effect.measurement)
                case Status():
                    listener.status(effect.status)
                case Noted():
                    listener.note(effect)
                case Dropped():
                    pass  # counted by the judge itself
                case _:
                    raise AssertionError(effect)


def _specs(source: GpsdSource | NmeaSource, clock: ClockId) -> list[SourceSpec]:
    """The messages, and with gpsd the pulses."""
    identity = SourceId(source.title)
    messages = SourceSpec(
        source=identity,
        name=source.title,
        link=LinkId(identity),
        clock=clock,
        reference_id=GPS_REFERENCE,
        trusted=source.trust,
        noselect=source.noselect,
        correction=-source.offset,
        stamp_noise_s=_MESSAGE_NOISE_S,
    )
    if isinstance(source, NmeaSource):
        return [messages]
    pulses = SourceId(f"{source.title} pps")
    return [
        messages,
        SourceSpec(
            source=pulses,
            name=pulses,
            link=LinkId(pulses),
            clock=clock,
            reference_id=b"PPS\0",
            trusted=source.trust,
            noselect=source.noselect,
            correction=-source.offset,
            stamp_noise_s=_MARK_NOISE_S,
        ),
    ]


def _stream(line: FeedSpec) -> str:
    return f"{line.host}:{line.port}" if isinstance(line, TcpStream) else line.path


def _details(view: ReceiverView) -> dict[str, Any]:
    """The receiver's state as JSON values."""
    sky, latency = view.sky, view.latency
    details: dict[str, Any] = {
        "receiver": view.description or None,
        "device": view.device or None,
        "fix": None if sky.mode is None else sky.mode.value,
        "satellites_used": sky.used,
        "satellites_seen": sky.seen,
        "hdop": sky.hdop,
        "tdop": sky.tdop,
        "jamming": sky.jamming,
        "spoofing": sky.spoofing,
        "antenna": sky.antenna,
        "cn0_mean_db_hz": None if sky.satellites is None else mean_cn0(sky.satellites),
        "sky": None if sky.satellites is None else [_satellite(one) for one in sky.satellites],
        "message": view.message,
        "trouble": view.trouble,
        "pulse_trouble": view.pulse_trouble,
    }
    if latency is not None:
        details |= {
            "latency_s": latency.delay_s,
            "latency_spread_s": latency.spread_s,
            "latency_bound_s": latency.bound_s,
            "latency_calibrated": latency.calibrated,
        }
    return details


def _satellite(one: Satellite) -> dict[str, Any]:
    return {
        "gnss": one.gnss,
        "id": one.number,
        "elevation_deg": one.elevation_deg,
        "azimuth_deg": one.azimuth_deg,
        "cn0_db_hz": one.cn0_db_hz,
        "used": one.used,
    }
