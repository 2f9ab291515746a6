"""The JSON lines of gpsd that tell time, the sky and which receivers there are.

Described in gpsd's own manual, gpsd_json(5); nobody else has published it. Both the forms of release 3.17 and those
of today are read: SKY counts its satellites since 3.21, and sends them apart from the dilutions since 3.25. gpsd cuts
off answers that are too long for it, so a line that is no JSON is nothing unusual. Positions are left out: the daemon
has no use for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from timesync.base.time import NS_PER_S, Instant, Utc
from timesync.wire.error import WireError
from timesync.wire.gpsd_fields import Fields, Real, nanoseconds, read_object

MAX_REQUEST = 80
"""Octets of a request without its end (gpsd_json(5), overview); longer ones are taken today."""

PROTOCOL = 3
"""The major number of the protocol, since 2010."""

_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Version:
    """The first line of every connection.

    Attributes:
        release: Such as ``3.22``.
        major: Of the protocol; another one means that nothing here need hold.
        minor: Of the protocol.
    """

    release: str
    major: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A receiver that gpsd has, or has just lost.

    Attributes:
        path: Its name; empty where the only one is meant.
        activated: gpsd has it open.
        driver: gpsd's name for its language; empty before it was recognised.
        subtype: Model and firmware, as far as the driver asked for them.
    """

    path: str = ""
    activated: bool
    driver: str = ""
    subtype: str = ""


@dataclass(frozen=True, slots=True)
class Devices:
    """All receivers.

    Attributes:
        devices: Them.
        remote: They belong to another gpsd that this one listens to.
    """

    devices: tuple[Device, ...]
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """What gpsd will report to us.

    Attributes:
        enable: Anything at all.
        json: Reports as JSON.
        pps: TOFF and PPS among them.
        device: Of this receiver only; empty: of all.
    """

    enable: bool
    json: bool
    pps: bool
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpv:
    """Time, position, velocity: once for each cycle of a receiver.

    Attributes:
        device: Which receiver.
        mode: 0 nothing said yet, 1 no fix, 2 in two dimensions, 3 in three.
        status: 2 differential, 3 and 4 real-time kinematic, 5 dead reckoning, 6 both, 7 time at a surveyed place,
            8 simulated; None: an ordinary fix, or none.
        time: UTC, to the millisecond; None when the receiver does not know it.
        leapseconds: GPS time minus UTC, in seconds, when a receiver of this gpsd has told it.
        ept: How far off ``time`` may be, in seconds, at a confidence that nobody knows.
        sent_ns: What gpsd's CLOCK_REALTIME read when it wrote this, ns since 1970, UTC; in answer to ``timing``.
    """

    device: str = ""
    mode: int
    status: int | None = None
    time: Instant[Utc] | None = None
    leapseconds: int | None = None
    ept: float | None = None
    sent_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkySatellite:
    """A satellite; None where gpsd does not say, or says what cannot be.

    Attributes:
        prn: Its number among those of all systems.
        gnss: Its system as u-blox numbers them (``gnssid``); since 3.18.
        number: Its number within that (``svid``).
        elevation: Degrees.
        azimuth: Degrees from true north.
        signal_db: C/N0 in dBHz.
        used: It is in the solution.
    """

    prn: int
    gnss: int | None = None
    number: int | None = None
    elevation: float | None = None
    azimuth: float | None = None
    signal_db: float | None = None
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """The satellites; None where this report does not say.

    Attributes:
        device: Which receiver.
        seen: Satellites in view.
        used: Those in the solution.
        hdop: Horizontal dilution of precision.
        tdop: Time dilution of precision.
        satellites: Each of those in view.
    """

    device: str = ""
    seen: int | None = None
    used: int | None = None
    hdop: float | None = None
    tdop: float | None = None
    satellites: tuple[SkySatellite, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toff:
    """When the first message of a cycle came, which told a time.

    Attributes:
        device: Which receiver.
        real: The time told.
        clock_ns: What gpsd's CLOCK_REALTIME read then, ns since 1970, UTC.
    """

    device: str
    real: Instant[Utc]
    clock_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pps:
    """A pulse.

    Attributes:
        device: Which receiver.
        real: The second that it marks.
        clock_ns: What gpsd's CLOCK_REALTIME read at the pulse, ns since 1970, UTC.
        precision: log2 of the seconds that the pulse may be off (RFC 5905, 7.3).
        q_err_ps: Quantization error as the receiver says it: add to the pulse's measured time to have the second.
    """

    device: str
    real: Instant[Utc]
    clock_ns: int
    precision: int
    q_err_ps: int | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """gpsd refuses a request.

    Attributes:
        message: Why.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Other:
    """A report of no interest here (ships, weather, raw measurements).

    Attributes:
        kind: Its class.
    """

    kind: str


Report = Version | Devices | Device | Watch | Tpv | Sky | Toff | Pps | Error | Other


def watch(device: str | None) -> bytes:
    """The request for everything that tells time, of one receiver or of all.

    ``enable`` is left out, since it is the default and a request should not exceed ``MAX_REQUEST``.
    """
    wanted: dict[str, object] = {"json": True, "pps": True, "timing": True}
    if device is not None:
        wanted["device"] = device
    return b"?WATCH=%s;\n" % json.dumps(wanted, separators=(",", ":")).encode("ascii")


def decode(line: bytes) -> Report:
    """One line, its end removed or not. Raises WireError, whose words are of a small fixed set."""
    fields = Fields("report", read_object(line))
    kind = fields.text("class")
    if not kind:
        raise WireError("no class")
    fields.kind = kind
    reader = _READERS.get(kind)
    return Other(kind) if reader is None else reader(fields)


def _version(fields: Fields) -> Version:
    major, minor = (fields.needed(name, 0, 1_000_000) for name in ("proto_major", "proto_minor"))
    return Version(fields.text("release"), major, minor)


def _devices(fields: Fields) -> Devices:
    return Devices(tuple(_device(one) for one in fields.objects("devices")), remote="remote" in fields)


def _device(fields: Fields) -> Device:
    activated = fields.any("activated")
    # A time when it was opened; 0 in the message that it was closed; nothing at all while it is closed.
    if activated is not None and type(activated) is not int and not isinstance(activated, str):
        raise fields.wrong("activated")
    return Device(
        path=fields.path("path"),
        activated=bool(activated),
        driver=fields.text("driver"),
        subtype=" ".join(filter(None, (fields.text("subtype"), fields.text("subtype1")))),
    )


def _watch(fields: Fields) -> Watch:
    enable, is_json, pps = (fields.truth(name) for name in ("enable", "json", "pps"))
    return Watch(enable, is_json, pps, fields.path())


def _tpv(fields: Fields) -> Tpv:
    return Tpv(
        device=fields.path(),
        mode=fields.needed("mode", 0, 3),
        status=fields.whole("status", 0, 255),
        time=fields.time("time"),
        leapseconds=fields.whole("leapseconds", 0, 255),
        ept=fields.real("ept"),
        sent_ns=_sent(fields.any("rtime")),
    )


def _sky(fields: Fields) -> Sky:
    seen, used = (fields.whole(name, 0, 100_000) for name in ("nSat", "uSat"))
    satellites: tuple[SkySatellite, ...] | None = None
    if "satellites" in fields:
        satellites = tuple(map(_sky_satellite, fields.objects("satellites")))
        seen = len(satellites) if seen is None else seen
        used = sum(one.used for one in satellites) if used is None else used
    return Sky(
        device=fields.path(),
        seen=seen,
        used=used,
        hdop=fields.real("hdop"),
        tdop=fields.real("tdop"),
        satellites=satellites,
    )


def _sky_satellite(fields: Fields) -> SkySatellite:
    prn, gnss, number = (fields.any(name) for name in ("PRN", "gnssid", "svid"))
    return SkySatellite(
        prn=prn if type(prn) is int and 0 <= prn <= 9999 else 0,
        gnss=gnss if type(gnss) is int and 0 <= gnss <= 255 else None,
        number=number if type(number) is int and 0 < number <= 9999 else None,
        elevation=_aside(fields.any("el"), -90, 90),
        azimuth=_aside(fields.any("az"), 0, 360),
        signal_db=_aside(fields.any("ss"), 0, 99),
        used=fields.truth("used"),
    )


def _aside(value: object, low: float, high: float) -> float | None:
    """Where a satellite stands, or how loud it is: a strange value does not cost the report."""
    if type(value) is not int and not isinstance(value, Real):
        return None
    number = float(value)
    return number if low <= number <= high else None


def _toff(fields: Fields) -> Toff:
    return Toff(device=fields.path(), real=Instant.from_ns(fields.pair_ns("real")), clock_ns=fields.pair_ns("clock"))


def _pps(fields: Fields) -> Pps:
    return Pps(
        device=fields.path(),
        real=Instant.from_ns(fields.pair_ns("real")),
        clock_ns=fields.pair_ns("clock"),
        precision=fields.needed("precision", -64, 0),
        q_err_ps=fields.whole("qErr", -(2**31), 2**31 - 1),
    )


def _error(fields: Fields) -> Error:
    return Error(fields.text("message"))


_READERS: dict[str, Callable[[Fields], Report]] = {
    "VERSION": _version,
    "DEVICES": _devices,
    "DEVICE": _device,
    "WATCH": _watch,
    "TPV": _tpv,
    "SKY": _sky,
    "TOFF": _toff,
    "PPS": _pps,
    "ERROR": _error,
}


def _sent(value: object) -> int | None:
    """``rtime``. gpsd calls it unstable, so a strange one does not cost the report."""
    match = _SECONDS.fullmatch(str(value)) if isinstance(value, Real) or type(value) is int else None
    return None if match is None else int(match[1]) * NS_PER_S + nanoseconds(match[2])
