"""A simulated gpsd: the JSON lines of its protocol (gpsd_json(5), release 3.22), one ``GpsdVoice`` a client.

It shares nothing with the parser that it is there to try.
"""

from __future__ import annotations

import json
import time

from timesync.base.time import NS_PER_S
from timesync.sim.hardware import ReceiverHardware
from timesync.sim.receiver import Told
from timesync.sim.receiver_nmea import HEIGHT_M, LATITUDE, LONGITUDE, SEPARATION_M, satellites

_LONGEST_COMMAND = 4096


class GpsdVoice:
    """What one client of gpsd hears."""

    def __init__(self, hardware: ReceiverHardware) -> None:
        self._hardware = hardware
        self._heard = bytearray()
        self._json = False
        self._pps = False
        self._present = True

    def greeting(self) -> bytes:
        """VERSION, which comes unasked."""
        return _line({"class": "VERSION", "release": "3.22", "rev": "3.22", "proto_major": 3, "proto_minor": 14})

    def answer(self, data: bytes, told: Told) -> bytes:
        """Answers ?WATCH, ?VERSION and ?DEVICES; others get an ERROR."""
        self._heard += data[-_LONGEST_COMMAND:]
        said = b""
        while (end := self._heard.find(b"\n")) >= 0:
            line = bytes(self._heard[:end]).decode("ascii", "replace").strip()
            del self._heard[: end + 1]
            for command in filter(None, line.split(";")):
                said += self._answer(command.strip(), told)
        return said

    def unplugged(self) -> bytes:
        """The device went away."""
        self._present = False
        if not self._json:
            return b""
        return _line({"class": "DEVICE", "path": self._hardware.device, "activated": 0})

    def plugged(self, told: Told) -> bytes:
        """The device came back."""
        self._present = True
        return _line(self._device(told)) if self._json else b""

    def pulse(self, told: Told, kernel_ns: int) -> bytes:
        """PPS, which gpsd gives out for a receiver with a fix alone."""
        if not (self._pps and self._present and told.fix):
            return b""
        seconds, nanoseconds = divmod(kernel_ns, NS_PER_S)
        said: dict[str, object] = {
            "class": "PPS",
            "device": self._hardware.device,
            "real_sec": told.utc_s,
            "real_nsec": 0,
            "clock_sec": seconds,
            "clock_nsec": nanoseconds,
            "precision": -20,
        }
        if told.pulse_error_ps:
            # As TIM-TP has it: the other sign than the pulse's error.
            said["qErr"] = -told.pulse_error_ps
        return _line(said)

    def burst(self, told: Told, kernel_ns: int) -> bytes:
        """TOFF, TPV and SKY of a second."""
        if not self._present:
            return b""
        said = b""
        if self._pps and told.fix:
            seconds, nanoseconds = divmod(kernel_ns, NS_PER_S)
            said += _line(
                {
                    "class": "TOFF",
                    "device": self._hardware.device,
                    "real_sec": told.utc_s,
                    "real_nsec": 0,
                    "clock_sec": seconds,
                    "clock_nsec": nanoseconds,
                }
            )
        if self._json:
            said += _line(self._tpv(told)) + _line(self._sky(told))
        return said

    def _answer(self, command: str, told: Told) -> bytes:
        word, _, value = command.partition("=")
        match word:
            case "?WATCH":
                return self._watch(value, told)
            case "?VERSION":
                return self.greeting()
            case "?DEVICES":
                return self._devices(told)
            case _:
                return _line({"class": "ERROR", "message": f"Unrecognized request '{command[:80]}'"})

    def _watch(self, value: str, told: Told) -> bytes:
        if value:
            try:
                wanted = json.loads(value)
            except ValueError:
                wanted = None
            if not isinstance(wanted, dict):
                return _line({"class": "ERROR", "message": "Invalid WATCH: -1"})
            # As gpsd has it: enabled without a word about the format means JSON.
            enabled = bool(wanted.get("enable", True))
            self._json = enabled and bool(wanted.get("json", "json" in wanted or "nmea" not in wanted))
            self._pps = enabled and bool(wanted.get("pps", False))
        watch = {
            "class": "WATCH",
            "enable": self._json or self._pps,
            "json": self._json,
            "nmea": False,
            "raw": 0,
            "scaled": False,
            "timing": False,
            "split24": False,
            "pps": self._pps,
        }
        return self._devices(told) + _line(watch)

    def _devices(self, told: Told) -> bytes:
        return _line({"class": "DEVICES", "devices": [self._device(told)] if self._present else []})

    def _device(self, told: Told) -> dict[str, object]:
        hardware = self._hardware
        return {
            "class": "DEVICE",
            "path": hardware.device,
            "driver": "u-blox",
            "subtype": f"SW EXT CORE 3.01 (111141),HW 00080000,MOD={hardware.model}",
            "activated": _iso(told.utc_s),
            "flags": 1,
            "native": 1,
            "bps": hardware.baud,
            "parity": "N",
            "stopbits": 1,
            "cycle": 1.0,
            "mincycle": 0.02,
        }

    def _tpv(self, told: Told) -> dict[str, object]:
        said: dict[str, object] = {"class": "TPV", "device": self._hardware.device, "mode": 3 if told.fix else 1}
        if told.known:
            # In the leap second gpsd, which counts in POSIX time, says 23:59:59 again or 00:00:00; here the former.
            said |= {"time": _iso(told.utc_s), "leapseconds": told.tai_utc - 19, "ept": 0.005}
        if told.fix:
            said |= {
                "lat": LATITUDE,
                "lon": LONGITUDE,
                "altHAE": HEIGHT_M + SEPARATION_M,
                "altMSL": HEIGHT_M,
                "epx": 3.2,
                "epy": 3.9,
                "epv": 8.1,
                "speed": 0.002,
            }
        return said

    def _sky(self, told: Told) -> dict[str, object]:
        fix = self._hardware.fix
        sky = satellites(fix.seen)
        said: dict[str, object] = {"class": "SKY", "device": self._hardware.device}
        if told.known:
            said["time"] = _iso(told.utc_s)
        if told.fix:
            said |= {"hdop": fix.hdop, "vdop": round(1.3 * fix.hdop, 2), "tdop": fix.tdop}
        return said | {
            "nSat": len(sky),
            "uSat": fix.used if told.fix else 0,
            "satellites": [
                {
                    "PRN": number,
                    "gnssid": 0 if number <= 32 else 6,
                    "svid": number if number <= 32 else number - 64,
                    "el": float(elevation),
                    "az": float(azimuth),
                    "ss": float(cno),
                    "used": told.fix and index < fix.used,
                    "health": 1,
                }
                for index, (number, elevation, azimuth, cno) in enumerate(sky)
            ],
        }


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\r\n"


def _iso(utc_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(utc_s))
