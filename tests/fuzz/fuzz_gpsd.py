"""Fuzz targets of gpsd's lines and of the conversation with it."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, fields

from targets import Target, mutate, register

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.gnss.event import DeviceReport, PulseMark, ReceiverEvent, TimeMark, Write
from timesync.gnss.gpsd_session import GpsdSession
from timesync.wire.error import WireError
from timesync.wire.gpsd import Version, decode

S = 1_000_000_000
START_S = 1_790_000_000
TTY = "/dev/ttyAMA0"
VERSION = b'{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}\r\n'
PAIR = {"device": TTY, "real_sec": START_S, "real_nsec": 0, "clock_sec": START_S, "clock_nsec": 271}
DEVICE = {"class": "DEVICE", "path": TTY, "driver": "u-blox", "subtype": "MOD=X", "activated": "2026-09-21T14:13:20Z"}
REPORTS: list[dict[str, object]] = [
    {"class": "DEVICES", "devices": [DEVICE, {"class": "DEVICE", "path": "/dev/pps0"}]},
    DEVICE,
    {"class": "DEVICE", "path": TTY, "activated": 0},
    {"class": "WATCH", "enable": True, "json": True, "pps": True, "timing": True, "raw": 0},
    {"class": "TPV", "device": TTY, "mode": 1},
    {"class": "TPV", "device": TTY, "mode": 3, "status": 2, "time": "2026-09-21T14:13:20.000Z", "leapseconds": 18},
    {"class": "TPV", "device": TTY, "mode": 3, "time": "2026-09-21T14:13:20Z", "ept": 0.005, "rtime": START_S},
    {"class": "SKY", "device": TTY, "hdop": 0.9, "tdop": 0.7, "satellites": [{"PRN": 3, "used": True, "ss": 44.0}] * 9},
    {"class": "SKY", "device": TTY, "nSat": 31, "uSat": 12},
    {"class": "TOFF", **PAIR},
    {"class": "PPS", **PAIR, "precision": -20, "qErr": -8123},
    {"class": "ERROR", "message": f"No such device as {TTY}"},
    {"class": "AIS", "mmsi": 351759000},
]
ODD: list[object] = [
    None,
    True,
    "",
    "x" * 300,
    "\x1b[2J",
    "\ud800",
    0,
    -1,
    3,
    2**31,
    2**63,
    10**19,
    1.5,
    -0.0,
    1e300,
    math.nan,
    math.inf,
    [],
    {},
    [[]],
    [{"used": 1}],
    "9999-12-31T23:59:60Z",
    "0000-00-00T00:00:00Z",
]
JUNK = [
    b"",
    b"[" * 300,
    b'{"a":' * 300,
    b"9" * 5000,
    b'{"class":"TPV","mode":' + b"1" * 25 + b"}",
    b"\\u" * 40,
    b'"' * 99,
]


def line(rng: random.Random) -> bytes:
    """A report, one of its fields odd from time to time, its octets mutated from time to time."""
    report = dict(rng.choice(REPORTS))
    kind = rng.randrange(10)
    if kind < 4:
        report[rng.choice([*report, "time", "rtime", "leapseconds", "status", "qErr"])] = rng.choice(ODD)
    if kind == 4:
        return rng.choice(JUNK)
    data = json.dumps(report).encode()
    return mutate(rng, data) if kind in (5, 6) else data


def read(data: bytes) -> None:
    """Whatever is read can be shown and computed with."""
    report = decode(data)
    for field in fields(report):
        value = getattr(report, field.name)
        if isinstance(value, str) and not value.isprintable():
            raise AssertionError(f"not printable: {value!r}")
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            raise AssertionError(f"no quantity: {value!r}")


def stream(rng: random.Random) -> bytes:
    """A connection: a greeting mostly, lines, ends of lines that are missing or too many."""
    parts = [VERSION] if rng.random() < 0.95 else []
    ends = (b"\r\n", b"\r\n", b"\n", b"", b"\n\n")
    parts += [line(rng) + rng.choice(ends) for _ in range(rng.randrange(12))]
    if rng.random() < 0.01:
        parts.append(b"x" * 70_000 + b"\n" + line(rng) + b"\r\n")
    return b"".join(parts)


@dataclass
class Conversation:
    """Each input is one connection, cut into pieces by its own content; the session is the same throughout."""

    def __post_init__(self) -> None:
        self.now_ns = S
        self.session = GpsdSession(None, self._stamp)

    def _stamp(self, kernel_ns: int, /) -> Stamp | None:
        if abs(kernel_ns - START_S * S) > 10 * S:
            return None
        return Stamp(ClockId("system"), 0, Instant[Tai].from_ns(kernel_ns + 37 * S))

    def _now(self) -> Instant[Mono]:
        return Instant.from_ns(self.now_ns)

    def target(self, data: bytes) -> None:
        """Open, deliver, lose; hold what comes out against what went in."""
        rng = random.Random(data[:64])
        if [Write] != [type(event) for event in self.session.on_open(self._now())]:
            raise AssertionError("does not ask")
        events: list[ReceiverEvent] = []
        rest = data
        while rest:
            cut = rng.choice((1, 7, 100, 4096))
            arrival = Stamp(ClockId("system"), 0, Instant[Tai].from_ns((START_S + 37) * S + S // 2))
            events += self.session.on_data(rest[:cut], arrival, self._now())
            rest = rest[cut:]
            self.now_ns += S // 10
        self._check(data, events)
        while self.session.broken is None:
            due = self.session.deadline()
            if due is None or due > self._now() + Duration.from_s(10):
                raise AssertionError(f"waits until {due}")
            self.now_ns = max(self.now_ns, due.ns())
            self.session.on_deadline(self._now())
        self.session.on_lost()

    def _check(self, data: bytes, events: list[ReceiverEvent]) -> None:
        if any(isinstance(event, DeviceReport) and not event.device for event in events):
            raise AssertionError("a receiver without a name")
        times = [event for event in events if isinstance(event, TimeMark | PulseMark)]
        if times and not any(greets(one) for one in data.split(b"\n")):
            raise AssertionError("time before the greeting")
        for event in times:
            if isinstance(event, TimeMark) and abs((event.stamp.at.ns() - (START_S + 37) * S) / S) > 10:
                raise AssertionError(f"stamped {event.stamp}")


def greets(data: bytes) -> bool:
    """Whether a line is a greeting."""
    try:
        return isinstance(decode(data), Version)
    except WireError:
        return False


def conversation() -> Target:
    """A session in its initial state."""
    talk = Conversation()
    return Target("gpsd session", stream, talk.target)


LINES = Target("gpsd lines", line, read, (WireError,))

register(LINES, conversation())
