"""What metrics are made from: an appliance that has everything, as it comes through the stream."""

from __future__ import annotations

from snapshot_support import UTC_NS, snapshot

from timesync.observe import stream
from timesync.observe.metrics.table import Own, Scene, Trail
from timesync.observe.snapshot import Snapshot
from timesync_drivers.usage import Usage

HELLO = {"type": "hello", "schema": 1, "version": "9.8.7", "host": "box", "pid": 77}
OWN = Own(age_s=0.5, missed=6, usage=Usage(cpu_s=1.25, resident_bytes=34_000_000))
TRAIL = Trail(rms_offset_s=4.5e-7, update_interval_s=16.0)


def scene(now: Snapshot | None = None, own: Own = OWN) -> Scene:
    """What metrics are made from, as it comes through the stream."""
    process = {"cpu_s": 42.5, "resident_bytes": 56_000_000}
    state = stream.state(snapshot() if now is None else now, UTC_NS, process)
    return Scene(stream.decode(stream.encode(HELLO)), stream.decode(stream.encode(state)), TRAIL, own)
