"""What the NTP server is told."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from timesync.base.machine import Noted
from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.smear import NO_SMEAR, Smear, changes, smear
from timesync.base.time import Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.config.schema import Config
from timesync.daemon.assemble import server_settings
from timesync.daemon.leap_book import LeapBook
from timesync.daemon.nts_server import NtsServer
from timesync.host import ClockError, Host, NtpService, ServerCounters, ServeState
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.ntp.v5.bloom import BloomFilter
from timesync.ntp.v5.serving import Serving, scales_at
from timesync.runtime.drive import Alarm
from timesync.servo.view import CoreView
from timesync.wire.ntp import timestamp_from_utc
from timesync.wire.ntp5 import VERSION as NTPV5

_SERVE_VALID = Duration.from_s(10)
"""A server whose daemon says nothing for so long declares itself unsynchronized."""

_NO_CARD = (
    "NTP is served with the kernel's timestamps: no network card whose clock is in `clocks` stamps packets of NTP now; "
    "for some seconds after the clock was opened or stepped that is so, else `timesync doctor` shows what a card can do"
)

_SYNCHRONIZED_STRATUM = 16
_LEAST_PRECISION = -29
_SOON = Duration.from_s(2)


class Publisher:
    """The NTP server of an appliance, and what it is told."""

    def __init__(
        self,
        host: Host,
        table: LeapTable,
        leaps: LeapBook,
        note: Callable[[Noted], None],
        references: Callable[[], BloomFilter],
    ) -> None:
        """``references`` gives the reference ids that clients of NTPv5 are told."""
        self._host = host
        self._references = references
        self._ntpv5 = False
        self.nts = NtsServer(host, table, note)
        self._table = table
        self._leaps = leaps
        self._service: NtpService | None = None
        self._smear: Duration | None = None
        self._view: Callable[[], CoreView] | None = None
        self._last: ServeState | None = None
        self._stamping = "software"
        self._over_ptp = False
        self._alarm = Alarm(host, self._again)
        self._clients: Sequence[ClientRecord] = ()

    @property
    def running(self) -> bool:
        """Something is served."""
        return self._service is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return () if self._service is None else tuple(str(endpoint) for endpoint in self._service.addresses)

    @property
    def counters(self) -> ServerCounters | None:
        """What the server did; None when nothing is served."""
        return None if self._service is None else self._service.counters()

    async def clients(self) -> ClientList | None:
        """Who has asked; None when nothing is served."""
        return None if self._service is None else await self._service.clients()

    def troubles(self) -> tuple[str, ...]:
        """What is not as the configuration wants it, in sentences."""
        stamped = self._last is None or self._last.cards or self._stamping != "hardware"
        return (*(() if stamped else (_NO_CARD,)), *self.nts.troubles())

    def open(self, config: Config, keys: Mapping[int, SymmetricKey], view: Callable[[], CoreView]) -> str | None:
        """Serve what a configuration asks for, instead of what was served; returns why that is not possible."""
        self.close()
        self._view = view
        serve = config.serve.ntp
        self._smear = self._leaps.smear = None if serve is None else serve.leap_smear
        self._stamping = "software" if serve is None else serve.timestamping
        self._over_ptp = serve is not None and bool(serve.ptp_listen)
        self._ntpv5 = serve is not None and NTPV5 in serve.versions
        cookies, trouble = self.nts.open(config)
        if serve is None:
            return trouble
        settings = replace(server_settings(config, keys), nts=cookies)
        try:
            self._service = self._host.serve_ntp(
                settings, serve.listen, serve.workers, serve.ptp_listen, self._clients if serve.clients else ()
            )
        except OSError as error:
            where = ", ".join(str(endpoint) for endpoint in (*serve.listen, *serve.ptp_listen))
            why = f"{error.strerror or error}{_advice(error)}"
            return f"NTP cannot be served on {where}: {why}; the rest keeps running"
        self.publish(view())
        return trouble

    def tick(self) -> None:
        """Once a second."""
        keys = self.nts.tick()
        if keys is not None and self._service is not None:
            self._service.rekey(keys)

    def close(self) -> None:
        """Serve no more."""
        self._alarm.cancel()
        self.nts.close()
        if self._service is not None:
            # Whoever serves next knows them still.
            self._clients = self._service.close()
            self._service = self._last = None

    def publish(self, view: CoreView) -> None:
        """Answer from this view from now on."""
        if self._service is None or view.served not in self._host.clocks:
            # Of a clock that has not been there yet there is nothing to say: the server answers with LI=3 by itself.
            return
        try:
            self._last = self._state(view)
        except ClockError:
            # A hardware clock that has vanished: nobody may believe what is served of it, and that at once.
            if self._last is None:
                return
            self._last = replace(self._last, synchronized=False, leap=Leap.UNKNOWN, stratum=_SYNCHRONIZED_STRATUM)
        self._service.publish(self._last)

    def _state(self, view: CoreView) -> ServeState:
        clock = self._host.clocks[view.served]
        at = clock.read().at
        now = NO_SMEAR if self._smear is None else smear(self._leaps.believed, at, self._smear)
        self._watch_smear(at)
        synchronized = view.stratum < _SYNCHRONIZED_STRATUM
        leap = self._leaps.month(at) if self._smear is None else Leap.NONE
        return ServeState(
            synchronized=synchronized,
            leap=leap if synchronized else Leap.UNKNOWN,
            stratum=view.stratum,
            reference_id=view.reference_id,
            root_delay=view.root_delay,
            root_dispersion=view.root_dispersion,
            dispersion_rate=view.dispersion_rate,
            at=view.at,
            valid_until=view.at + _SERVE_VALID,
            reference_time=self._reference_time(view.reference_time),
            precision=_log2(clock.limits.precision),
            serving_map=_smeared(clock.serving_map(), self._table.utc(at).ns(), now),
            epoch=clock.epoch,
            cards=self._host.card_maps(over_ptp=self._over_ptp) if self._stamping != "software" else (),
            ntpv5=self._told(at, now) if self._ntpv5 else None,
        )

    def _told(self, at: Instant[Tai], now: Smear) -> Serving:
        """What clients of NTPv5 are told besides."""
        utc, references = self._table.utc(at), self._references()
        if self._smear is None:
            return Serving(references=references, scales=scales_at(self._leaps.believed, utc))
        scales = scales_at(self._leaps.believed, utc, ahead=now.ahead, rate=now.rate)
        return Serving(references=references, scales=scales, leap=self._leaps.month(at))

    def _watch_smear(self, at: Instant[Tai]) -> None:
        """Publish when the map changes its course: as a smear begins and ends, and as the kernel repeats a second."""
        due = None if self._smear is None else changes(self._leaps.believed, at, self._smear)
        if due is None or due - at > _SOON:
            self._alarm.set(None)
        else:
            self._alarm.set(self._host.mono() + (due - at))

    def _again(self) -> None:
        if self._view is not None:
            self.publish(self._view())

    def _reference_time(self, at: Instant[Tai] | None) -> int:
        return 0 if at is None else timestamp_from_utc(self._table.utc(at))


def _smeared(served: ServingMap, now_ns: int, now: Smear) -> ServingMap:
    """The map with the smear on top.

    Args:
        served: From kernel time to UTC.
        now_ns: UTC by the clock, ns.
        now: The smear then.
    """
    if not now.active:
        return served
    # Kernel time of now; to well below a nanosecond, for the smear's rate is tiny.
    base_ns = now_ns - served.offset_ns
    offset_ns = served.utc_ns(base_ns) - base_ns + now.ahead.ns()
    return ServingMap(base_ns, offset_ns, served.rate * (1.0 + now.rate))


def _log2(precision: Duration) -> int:
    """Log2 of a precision in seconds, rounded up (RFC 5905, 7.3 "precision")."""
    exponent = _LEAST_PRECISION
    while Duration.from_s(2.0**exponent) < precision:
        exponent += 1
    return exponent


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
    if error.errno == errno.EADDRINUSE:
        return " (another NTP server runs there; see `ss -ulpn`)"
    return ""
