"""The core as it is recorded: all that goes in at its entrances, and what it is told of its clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from timesync import __version__
from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Measurement, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.observe.records import rows
from timesync.observe.records.pack import pack
from timesync.observe.records.rows import Row
from timesync.servo.command import ClockMemory, ClockSpec, Command, CoreSettings, Now, SourceSpec
from timesync.servo.controller import Controller

MOST_WAITING: Final = 20_000
"""Rows that are kept for somebody who is still to come."""

BATCH: Final = 256
"""Rows that are not kept any longer than it takes to hand them on."""


class Tape:
    """Takes rows, and hands them on in batches.

    Attributes:
        session: UTC nanoseconds of its beginning: rows of one session belong together without a gap.
    """

    def __init__(
        self,
        hand_on: Callable[[list[Row]], bool],
        utc_ns: Callable[[], int],
        mono: Callable[[], Instant[Mono]],
    ) -> None:
        """Begin.

        Args:
            hand_on: Takes a batch; False: there is nobody yet.
            utc_ns: UTC by the system clock, ns since 1970.
            mono: Monotonic time.
        """
        self._hand_on = hand_on
        self._utc_ns = utc_ns
        self._mono = mono
        self._rows: list[Row] = []
        self.session = utc_ns()

    def put(self, kind: str, now: Now | None = None, **columns: Any) -> None:
        """Add a row; ``now`` gives the readings of the clocks."""
        if now is None:
            row = Row(self._utc_ns(), kind, mono=self._mono().scaled_ns, **columns)
        else:
            row = Row(self._utc_ns(), kind, mono=now.mono.scaled_ns, clocks=_readings(now), **columns)
        self.add(row)

    def add(self, row: Row) -> None:
        """Add a row that is made already."""
        self._rows.append(row)
        if len(self._rows) % BATCH == 0:
            self.flush()

    def flush(self) -> None:
        """Hand on what is there."""
        if self._rows and self._hand_on(self._rows):
            self._rows = []

    @property
    def overflowed(self) -> bool:
        """Whether nobody came in time: what is kept is given up."""
        return len(self._rows) >= MOST_WAITING

    def opening(self, core: TapedController, now: Now, *, continues: bool) -> Row:
        """The row with which a recording begins: all that the rows after it build upon.

        Args:
            core: As it stands.
            now: The present.
            continues: Of somebody who has seen what was before.
        """
        fresh = all(model.fusion.state is None for model in core.clocks.values())
        details = {
            "format": rows.FORMAT,
            "version": __version__,
            "session": self.session,
            "continues": continues,
            "fresh": fresh,
            "settings": pack(core.settings),
            "clocks": [_clock(core, clock, now) for clock in core.clocks],
            "sources": [pack(source.spec) for source in core.sources()],
            "fence": pack(core.fence(now.mono)),
            "statuses": [pack(source.status) for source in core.sources() if source.status is not None],
        }
        return Row(self._utc_ns(), rows.BEGIN, mono=now.mono.scaled_ns, clocks=_readings(now), details=details)


def _readings(now: Now) -> dict[str, int]:
    return {clock: at.scaled_ns for clock, at in now.clocks.items()}


def _clock(core: Controller, clock: ClockId, now: Now) -> dict[str, Any]:
    model = core.clocks[clock]
    memory = model.remember(now.clocks[clock]) or model.spec.memory
    spec = replace(model.spec, memory=memory, epoch=model.ledger.epoch, rate=model.ledger.rate)
    done = model.corrections
    return {**pack(spec), "updates": done.updates, "steps": done.steps, "led": done.led}


class TapedController(Controller):
    """A controller that writes down what happens to it, while there is a tape.

    Attributes:
        tape: Takes the rows; None while nobody wants them.
    """

    tape: Tape | None = None

    def start(self, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.START, now)
        return super().start(now)

    def add_clock(self, spec: ClockSpec, now: Now) -> None:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.CLOCK, now, clock=spec.clock, at=now.clocks[spec.clock].scaled_ns, details=pack(spec))
        super().add_clock(spec, now)

    def add_source(self, spec: SourceSpec) -> None:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.SOURCE, source=spec.source, clock=spec.clock, details=pack(spec))
        super().add_source(spec)

    def remove_source(self, source: SourceId, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.REMOVED, now, source=source)
        return super().remove_source(source, now)

    def configure(self, settings: CoreSettings) -> None:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.SETTINGS, details=pack(settings))
        super().configure(settings)

    def memory(self, now: Now) -> dict[ClockId, ClockMemory]:
        """See ``Controller``."""
        kept = super().memory(now)
        if self.tape is not None:
            self.tape.put(rows.MEMORY, now, details={clock: pack(memory) for clock, memory in kept.items()})
        return kept

    def finish(self, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.FINISH, now)
        return super().finish(now)

    def on_measurement(self, m: Measurement, source_id: SourceId, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.MEASUREMENT, now, source=source_id, **measurement_columns(m))
        return super().on_measurement(m, source_id, now)

    def on_status(self, status: SourceStatus, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.STATUS, now, **status_columns(status))
        return super().on_status(status, now)

    def on_temperature(self, clock: ClockId, celsius: float, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.TEMPERATURE, now, clock=clock, celsius=celsius)
        return super().on_temperature(clock, celsius, now)

    def on_fence(self, fence: Fence | None, now: Now, *, awaited: bool = False) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.FENCE, now, details={"fence": pack(fence), "awaited": awaited})
        return super().on_fence(fence, now, awaited=awaited)

    def on_deadline(self, now: Now) -> list[Command]:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.DEADLINE, now)
        return super().on_deadline(now)

    def applied(self, clock: ClockId, rate: Rate, at: Instant[Tai], noise_s: float = 0.0) -> None:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.APPLIED, clock=clock, at=at.scaled_ns, rate=rate.ratio, noise_s=noise_s)
        super().applied(clock, rate, at, noise_s)

    def stepped(self, clock: ClockId, by: Duration, at: Instant[Tai], epoch: int) -> Noted:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.STEPPED, clock=clock, at=at.scaled_ns, epoch=epoch, offset=by.scaled_ns)
        return super().stepped(clock, by, at, epoch)

    def foreign_step(self, clock: ClockId, at: Instant[Tai], epoch: int, rate: Rate) -> None:
        """See ``Controller``."""
        tape, self.tape = self.tape, None  # what it tells itself of it is no event of its own
        if tape is not None:
            tape.put(rows.FOREIGN, clock=clock, at=at.scaled_ns, epoch=epoch, rate=rate.ratio)
        try:
            super().foreign_step(clock, at, epoch, rate)
        finally:
            self.tape = tape

    def gone(self, clock: ClockId, why: str) -> None:
        """See ``Controller``."""
        if self.tape is not None:
            self.tape.put(rows.GONE, clock=clock, details={"why": why})
        super().gone(clock, why)


def measurement_columns(m: Measurement) -> Mapping[str, Any]:
    """The columns of a measurement."""
    found: dict[str, Any] = {
        "clock": m.local,
        "offset": m.offset.scaled_ns,
        "delay": None if m.delay is None else m.delay.scaled_ns,
        "at": m.at.scaled_ns,
        "epoch": m.epoch,
        "noise_s": m.noise_s,
        "averaged": m.averaged,
        "link": m.link,
        "remote": m.remote,
    }
    quality = m.quality
    if quality is not None:
        found |= {
            "stratum": quality.stratum,
            "leap": quality.leap.name.lower(),
            "reference_id": quality.reference_id.hex(),
            "root_delay": quality.root_delay.scaled_ns,
            "root_dispersion": quality.root_dispersion.scaled_ns,
            "precision_s": quality.precision_s,
            "authenticated": quality.authenticated,
        }
    return found


def status_columns(status: SourceStatus) -> Mapping[str, Any]:
    """The columns of a status."""
    return {
        "source": status.source,
        "stratum": status.stratum,
        "leap": status.leap.name.lower(),
        "reference_id": status.reference_id.hex(),
        "authenticated": status.authenticated,
        "details": {
            "reach": status.reach,
            "poll_s": status.poll_s,
            "sent": status.sent,
            "received": status.received,
            "dropped": status.dropped,
            "interleaved": status.interleaved,
            "timestamping": None if status.timestamping is None else status.timestamping.value,
            "excluded": status.excluded,
            "stepped_back": status.stepped_back,
            "keyed": status.keyed,
        },
    }
