"""From the rows of a recording to what the core is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Leap, Measurement, Quality, SourceStatus, StampSource
from timesync.base.time import Duration, Instant, Mono
from timesync.observe.records.pack import unpack
from timesync.observe.records.rows import FORMAT, RecordError, Row
from timesync.servo.clock_model import Corrections
from timesync.servo.command import ClockSpec, CoreSettings, Now, SourceSpec

_LEAPS = {leap.name.lower(): leap for leap in Leap}


class Opening:
    """What a recording begins with.

    Attributes:
        session: Rows of one session belong together.
        continues: It goes on in another file.
        fresh: Nothing had been measured yet.
        settings: Of the core.
        clocks: All clocks.
        corrections: What had been done to each of them.
        sources: All sources.
        statuses: What was known of their remotes.
        fence: See ``Controller.on_fence``.
    """

    def __init__(self, row: Row) -> None:
        """Raises RecordError."""
        found = row.details or {}
        if found.get("format") != FORMAT:
            raise RecordError(f"written in format {found.get('format')!r}; this timesync reads {FORMAT}")
        try:
            self.session = int(found["session"])
            self.continues = bool(found["continues"])
            self.fresh = bool(found["fresh"])
            self.settings = unpack(CoreSettings, found["settings"])
            self.clocks = [unpack(ClockSpec, clock) for clock in found["clocks"]]
            self.corrections = {ClockId(clock["clock"]): _corrections(clock) for clock in found["clocks"]}
            self.sources = [unpack(SourceSpec, source) for source in found["sources"]]
            self.fence = None if found["fence"] is None else unpack(Fence, found["fence"])
            self.statuses = [unpack(SourceStatus, status) for status in found["statuses"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"a beginning without its {error}") from error


def _corrections(clock: Mapping[str, Any]) -> Corrections:
    return Corrections(updates=int(clock["updates"]), steps=int(clock["steps"]), led=bool(clock["led"]))


def now_of(row: Row) -> Now:
    """The present in a row that has one. Raises RecordError."""
    if row.clocks is None:
        raise RecordError(f"a row of kind {row.kind} without readings of the clocks")
    return Now(Instant(row.mono), {ClockId(clock): Instant(at) for clock, at in row.clocks.items()})


def mono_of(row: Row) -> Instant[Mono]:
    """Monotonic time of a row."""
    return Instant(row.mono)


def measurement_of(row: Row) -> Measurement:
    """A measurement as it was. Raises RecordError."""
    if row.at is None or row.offset is None or row.clock is None or row.epoch is None:
        raise RecordError("a measurement that says neither when nor how much")
    return Measurement(
        link=LinkId(row.link or ""),
        local=ClockId(row.clock),
        remote=ClockId(row.remote or ""),
        at=Instant(row.at),
        epoch=row.epoch,
        offset=Duration(row.offset),
        delay=None if row.delay is None else Duration(row.delay),
        noise_s=row.noise_s or 0.0,
        quality=_quality(row),
        averaged=bool(row.averaged),
    )


def _leap(row: Row) -> Leap:
    try:
        return _LEAPS[row.leap or ""]
    except KeyError:
        raise RecordError(f"leap is {row.leap!r}") from None


def _octets(row: Row) -> bytes:
    try:
        return bytes.fromhex(row.reference_id or "00000000")
    except ValueError:
        raise RecordError(f"reference_id is {row.reference_id!r}") from None


def _quality(row: Row) -> Quality | None:
    if row.stratum is None:
        return None
    return Quality(
        stratum=row.stratum,
        leap=_leap(row),
        reference_id=_octets(row),
        root_delay=Duration(row.root_delay or 0),
        root_dispersion=Duration(row.root_dispersion or 0),
        precision_s=row.precision_s or 0.0,
        authenticated=bool(row.authenticated),
    )


def fence_of(row: Row) -> tuple[Fence | None, bool]:
    """Between which instants the time is, and whether a first word is awaited. Raises RecordError."""
    found = row.details or {}
    fence = found.get("fence")
    return None if fence is None else unpack(Fence, fence), bool(found.get("awaited"))


def status_of(row: Row) -> SourceStatus:
    """What was known of a remote. Raises RecordError."""
    found = row.details or {}
    stamps = found.get("timestamping")
    try:
        return SourceStatus(
            source=SourceId(row.source or ""),
            reach=int(found["reach"]),
            poll_s=float(found["poll_s"]),
            sent=int(found["sent"]),
            received=int(found["received"]),
            dropped=int(found["dropped"]),
            stratum=16 if row.stratum is None else row.stratum,
            leap=_leap(row),
            reference_id=_octets(row),
            authenticated=bool(row.authenticated),
            interleaved=bool(found["interleaved"]),
            timestamping=None if stamps is None else StampSource(stamps),
            excluded=found["excluded"],
            stepped_back=bool(found["stepped_back"]),
            keyed=bool(found["keyed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"a status without {error}") from error
