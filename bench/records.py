"""What recording costs the daemon's loop, for each measurement: the row, and its share of a batch on the stream."""

from __future__ import annotations

import statistics
import time

from timesync.base.ids import ClockId, LinkId
from timesync.base.measure import Leap, Measurement, Quality
from timesync.base.time import Duration, Instant
from timesync.observe import stream
from timesync.observe.records import rows
from timesync.observe.records.rows import Row
from timesync.observe.records.taped import Tape, measurement_columns
from timesync.servo.command import Now

ROUNDS = 15
ROWS = 20_000


def main() -> None:
    """Print the figures."""
    at = Instant.from_ns(1_800_000_000_123_456_789)
    quality = Quality(
        stratum=1,
        leap=Leap.NONE,
        reference_id=b"GPS\0",
        root_delay=Duration.from_ns(15_258),
        root_dispersion=Duration.from_ns(30_517),
        precision_s=2**-23,
        authenticated=False,
    )
    m = Measurement(
        link=LinkId("ntp1.example.org"),
        local=ClockId("system"),
        remote=ClockId("ntp:192.0.2.1:123"),
        at=at,
        epoch=1,
        offset=Duration.from_ns(-12_345),
        delay=Duration.from_ns(250_000),
        noise_s=1e-7,
        quality=quality,
    )
    now = Now(Instant.from_ns(3_600_000_000_000), {ClockId("system"): at, ClockId("eth0"): at})

    def hand_on(batch: list[Row]) -> bool:
        stream.encode(stream.measurement(batch))
        return True

    tape = Tape(hand_on, time.time_ns, lambda: now.mono)
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(ROWS):
            tape.put(rows.MEASUREMENT, now, source="ntp1.example.org", **measurement_columns(m))
        tape.flush()
        found.append((time.perf_counter() - began) / ROWS)
    print(f"a measurement costs the loop {statistics.median(found) * 1e6:.1f} us, {min(found) * 1e6:.1f} at best")


if __name__ == "__main__":
    main()
