"""How a receiver on a serial line sees the sky: its sentences and messages turned into ``FixReport``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.constellation import SpokenSky, of_ubx
from timesync.gnss.event import FixMode, FixReport
from timesync.wire import nmea
from timesync.wire import ubx_message as ubx

_HOLD = Duration.from_s(5)
"""How long a message that says less is not listened to after one that says more."""

_TALKER_HOLD = Duration.from_s(10)
"""Some receivers tell of one system only every few seconds."""

_FORGET = Duration.from_s(5)
"""How long it stands what a receiver said of its fix."""

_RMC, _GGA, _GSA, _UBX, _UBX_BEST = range(5)
_REAL_MODES = frozenset({None, "A", "D", "F", "R", "P"})
"""Not N (none), E (dead reckoning), M (typed in) and S (simulated)."""

_PVT_MODES = {2: FixMode.TWO_D, 3: FixMode.THREE_D, 4: FixMode.THREE_D, 5: FixMode.TIME}
_GSA_MODES = {1: FixMode.NONE, 2: FixMode.TWO_D, 3: FixMode.THREE_D}
_JAMMING = {1: "ok", 2: "warning", 3: "critical"}
_SPOOFING = {1: "none", 2: "indicated", 3: "multiple"}
_ANTENNA = {2: "ok", 3: "short", 4: "open"}


class Sky:
    """Joins what several kinds of message say of the same thing."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._heard: dict[str, tuple[int, Instant[Mono]]] = {}
        self._seen: dict[str, tuple[int, Instant[Mono]]] = {}
        self._in_view: dict[str, int] = {}
        self._used: set[tuple[str, int]] = set()
        self._spoken = SpokenSky()
        self._usable: tuple[bool, Instant[Mono]] | None = None

    def usable(self, now: Instant[Mono]) -> bool | None:
        """Whether the receiver lately said that it has a fix; None when it said nothing of it."""
        if self._usable is None or now - self._usable[1] > _FORGET:
            return None
        return self._usable[0]

    def burst(self, now: Instant[Mono]) -> list[FixReport]:
        """A new second begins: what the sentences of the last one summed up to."""
        used, self._used = self._used, set()
        in_view, self._in_view = self._in_view, {}
        self._seen |= {talker: (count, now) for talker, count in in_view.items()}
        seen = sum(count for count, at in self._seen.values() if now - at <= _TALKER_HOLD)
        satellites = self._spoken.burst(used, now)
        return self._report(
            FixReport(
                satellites=satellites if satellites is not None and self._listen("sky", _GSA, now) else None,
                seen=seen if in_view and self._listen("seen", _GSA, now) else None,
                used=len(used) if used and self._listen("used", _GSA, now) else None,
            )
        )

    def sentence(self, sentence: nmea.Sentence, now: Instant[Mono]) -> list[FixReport]:
        """What a sentence says of the fix."""
        match sentence:
            case nmea.Rmc():
                ok = is_real(sentence)
                return self._report(FixReport(mode=self._mode(_RMC, FixMode.TWO_D if ok else FixMode.NONE, ok, now)))
            case nmea.Gga():
                return self._gga(sentence, now)
            case nmea.Gsa():
                # Before 4.1 there is no system id, but numbers of their own for the systems of talker GN.
                system = sentence.talker if sentence.system is None else str(sentence.system)
                self._used.update((system, one) for one in sentence.satellites)
                mode = None if sentence.fix is None else _GSA_MODES[sentence.fix]
                ok = mode in (FixMode.TWO_D, FixMode.THREE_D)
                return self._report(
                    FixReport(
                        mode=None if mode is None else self._mode(_GSA, mode, ok, now),
                        hdop=sentence.hdop if self._listen("hdop", _GSA, now) else None,
                    )
                )
            case nmea.Gsv():
                # With signal ids the same satellites are listed once for each signal: the largest group counts.
                self._in_view[sentence.talker] = max(sentence.seen, self._in_view.get(sentence.talker, 0))
                self._spoken.hear(sentence)
                return []
            case nmea.Zda() | nmea.Other():
                return []

    def message(self, message: ubx.Message, now: Instant[Mono]) -> list[FixReport]:
        """What a message says of the fix and of the surroundings."""
        match message:
            case ubx.NavPvt():
                ok = message.fix_ok and message.fix in _PVT_MODES
                mode = _PVT_MODES[message.fix] if ok else FixMode.NONE
                self._listen("used", _UBX, now)
                return self._report(FixReport(mode=self._mode(_UBX_BEST, mode, ok, now), used=message.used))
            case ubx.NavSat():
                self._listen("seen", _UBX, now)
                self._listen("sky", _UBX, now)
                return self._report(FixReport(seen=len(message.satellites), satellites=of_ubx(message.satellites)))
            case ubx.NavDop():
                self._listen("hdop", _UBX, now)
                return self._report(FixReport(hdop=message.horizontal / 100, tdop=message.time / 100))
            case ubx.NavStatus():
                ok = message.fix_ok and message.fix in _PVT_MODES
                mode = _PVT_MODES[message.fix] if ok else FixMode.NONE
                spoofing = _SPOOFING.get(message.spoofing) if self._listen("spoofing", _UBX, now) else None
                return self._report(FixReport(mode=self._mode(_UBX, mode, ok, now), spoofing=spoofing))
            case ubx.MonRf():
                jamming = _worst((one.jamming for one in message.blocks), _JAMMING)
                antenna = _worst((one.antenna for one in message.blocks), _ANTENNA)
                return self._report(
                    FixReport(jamming=jamming if self._listen("jamming", _UBX, now) else None, antenna=antenna)
                )
            case ubx.SecSig():
                jamming, spoofing = _JAMMING.get(message.jamming), _SPOOFING.get(message.spoofing)
                if jamming is not None:
                    self._listen("jamming", _UBX_BEST, now)
                if spoofing is not None:
                    self._listen("spoofing", _UBX_BEST, now)
                return self._report(FixReport(jamming=jamming, spoofing=spoofing))
            case _:
                return []

    def _gga(self, gga: nmea.Gga, now: Instant[Mono]) -> list[FixReport]:
        mode = None
        if gga.quality is not None:
            ok = 1 <= gga.quality <= 5
            has = FixMode.THREE_D if (gga.used or 0) >= 4 else FixMode.TWO_D
            mode = self._mode(_GGA, has if ok else FixMode.NONE, ok, now)
        # Many receivers stop at 12 here; GSA lists them all.
        used = gga.used if self._listen("used", _GGA, now) else None
        return self._report(FixReport(mode=mode, used=used, hdop=gga.hdop if self._listen("hdop", _GGA, now) else None))

    def _mode(self, rank: int, mode: FixMode, ok: bool, now: Instant[Mono]) -> FixMode | None:
        if not self._listen("mode", rank, now):
            return None
        self._usable = ok, now
        return mode

    def _listen(self, field: str, rank: int, now: Instant[Mono]) -> bool:
        """Whether a message of this rank is the best that tells the field these days."""
        best = self._heard.get(field)
        if best is not None and best[0] > rank and now - best[1] <= _HOLD:
            return False
        self._heard[field] = rank, now
        return True

    def _report(self, report: FixReport) -> list[FixReport]:
        """It, unless it says nothing."""
        report = replace(report, device=self._device)
        return [] if report == FixReport(device=self._device) else [report]


def is_real(rmc: nmea.Rmc) -> bool:
    """Whether the time of the sentence comes from satellites."""
    return rmc.active and rmc.mode in _REAL_MODES


def _worst(states: Iterable[int], names: dict[int, str]) -> str | None:
    """The name of the highest known state; None when none is known."""
    return names.get(max((one for one in states if one in names), default=-1))
