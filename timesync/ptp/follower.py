"""Receiving Sync: the two halves of a Sync joined, whichever comes first (IEEE 1588-2019, 9.5.4, 11.2)."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.ptp.timers import interval
from timesync.wire.ptp_message import Flags, FollowUp, Header, Sync

_LEAST_PATIENCE = Duration.from_s(1)
_TOO_MUCH = (1 << 63) - 1
"""``correctionField`` of a correction that does not fit (13.3.2.9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSample:
    """A Sync whose time of departure is known.

    Attributes:
        origin: t1: when it left the timeTransmitter, with all corrections of the way added.
        arrival: t2: when it came.
        received: Monotonic time of that.
        sync: The Sync's header.
        follow_up: The Follow_Up of a two-step Sync; None for one step.
    """

    origin: Instant[Tai]
    arrival: Stamp
    received: Instant[Mono]
    sync: Header
    follow_up: FollowUp | None

    @property
    def apart(self) -> Duration:
        """t2 - t1: the local clock's offset and the delay of the way together."""
        return self.arrival.at - self.origin


class SyncPairing:
    """Joins Sync and Follow_Up of one timeTransmitter.

    They travel over different sockets and networks may swap them, so either is held for the other; never for long,
    because 65536 messages later the sequence number is the same.
    """

    def __init__(self) -> None:
        self._sync: tuple[Sync, Stamp, Instant[Mono]] | None = None
        self._follow_up: tuple[FollowUp, Instant[Mono]] | None = None
        self._last: int | None = None

    def reset(self) -> None:
        """Another timeTransmitter is followed, or the local clock was stepped."""
        self._sync = self._follow_up = self._last = None

    def on_sync(self, message: Sync, stamp: Stamp, now: Instant[Mono]) -> SyncSample | str | None:
        """A Sync came: a sample, the reason for which it is dropped, or None while its other half is missing."""
        if message.header.correction.scaled_ns >= _TOO_MUCH:
            return "correction"
        if message.header.sequence_id == self._last:
            return "duplicate"
        if Flags.TWO_STEP not in message.header.flags:
            self._last = message.header.sequence_id
            self._sync = self._follow_up = None
            origin = message.origin + message.header.correction
            return SyncSample(origin=origin, arrival=stamp, received=now, sync=message.header, follow_up=None)
        held, self._follow_up = self._follow_up, None
        if held is not None and _belong(message.header, held[0].header) and now - held[1] <= _patience(message.header):
            return self._joined(message, stamp, now, held[0])
        lost = self._sync is not None
        self._sync = message, stamp, now
        return "follow-up" if lost else None

    def on_follow_up(self, message: FollowUp, now: Instant[Mono]) -> SyncSample | str | None:
        """A Follow_Up came; see ``on_sync``."""
        if message.header.correction.scaled_ns >= _TOO_MUCH:
            return "correction"
        held = self._sync
        if held is None or not _belong(held[0].header, message.header):
            lost = self._follow_up is not None
            self._follow_up = message, now
            return "sync" if lost else None
        self._sync = None
        sync, stamp, at = held
        if now - at > _patience(sync.header):
            return "late"
        return self._joined(sync, stamp, at, message)

    def _joined(self, sync: Sync, stamp: Stamp, at: Instant[Mono], follow_up: FollowUp) -> SyncSample:
        self._last = sync.header.sequence_id
        origin = follow_up.precise_origin + sync.header.correction + follow_up.header.correction
        return SyncSample(origin=origin, arrival=stamp, received=at, sync=sync.header, follow_up=follow_up)


def _belong(sync: Header, follow_up: Header) -> bool:
    return sync.source == follow_up.source and sync.sequence_id == follow_up.sequence_id


def _patience(header: Header) -> Duration:
    """How long one half waits for the other: a Sync interval, and a second at least."""
    return max(_LEAST_PATIENCE, interval(header.log_interval) if header.log_interval < 0x7F else _LEAST_PATIENCE)
