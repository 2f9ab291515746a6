"""Asking a u-blox receiver who it is, and, when that is wanted, for the messages that help.

What is set is set in RAM: a receiver that is turned off and on is as it was.
"""

from __future__ import annotations

import re

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import DeviceReport, Write
from timesync.wire import ubx
from timesync.wire import ubx_message as kinds

ASK_EVERY = Duration.from_s(10)
_ASK_TIMES = 3
_STALE = Duration.from_s(15)
_GENERATION_9 = (27, 0)
"""From this protocol version on, CFG-VALSET is the way; CFG-MSG goes away with the tenth generation."""

_LEGACY = (
    (kinds.NAV_PVT, 1),
    (kinds.TIM_TP, 1),
    (kinds.NAV_STATUS, 5),
    (kinds.NAV_DOP, 10),
    (kinds.NAV_TIMELS, 10),
    (kinds.MON_HW, 10),
    (kinds.NAV_SAT, 30),
)
"""Message and rate in navigation epochs. Together they need less than 200 octets a second."""

_UART1, _USB = 0, 2
_KEYS = (
    (0x20910007, 1),  # CFG-MSGOUT-UBX_NAV_PVT
    (0x2091017E, 1),  # CFG-MSGOUT-UBX_TIM_TP
    (0x20910039, 10),  # CFG-MSGOUT-UBX_NAV_DOP
    (0x20910061, 10),  # CFG-MSGOUT-UBX_NAV_TIMELS
    (0x2091001B, 5),  # CFG-MSGOUT-UBX_NAV_STATUS
    (0x2091035A, 10),  # CFG-MSGOUT-UBX_MON_RF
    (0x20910635, 10),  # CFG-MSGOUT-UBX_SEC_SIG
    (0x20910016, 30),  # CFG-MSGOUT-UBX_NAV_SAT
)
"""The key for UART1, and the rate. UART2 is one more, USB two."""

_OUTPUT_KEYS = (0x10740001, 0x10780001)
"""CFG-UART1OUTPROT-UBX and CFG-USBOUTPROT-UBX: let UBX out of the port at all."""


class Ublox:
    """Knows whether the receiver is one, and keeps its messages coming."""

    def __init__(self, device: str, *, configure: bool) -> None:
        self._device = device
        self._configure = configure
        self._asked = 0
        self._next: Instant[Mono] | None = None
        self._known = False
        self._told: Instant[Mono] | None = None

    def start(self, now: Instant[Mono]) -> None:
        """The line's speed is known: ask soon."""
        self._asked = 0
        self._known = False
        self._told = None
        self._next = now

    def stop(self) -> None:
        """Nobody is there."""
        self._next = None

    def deadline(self) -> Instant[Mono] | None:
        """When to ask next."""
        return self._next

    def on_deadline(self, now: Instant[Mono]) -> list[Write]:
        """Poll MON-VER while nobody has answered, and again when a configured receiver has fallen silent.

        To other receivers these eight octets are noise, so they get three of them.
        """
        if self._next is None or now < self._next:
            return []
        self._next = now + ASK_EVERY
        if self._known:
            if self._told is not None and now - self._told <= _STALE:
                return []
        elif self._asked >= _ASK_TIMES:
            self._next = None
            return []
        self._asked += 1
        return [Write(ubx.poll(kinds.MON_VER))]

    def told(self, now: Instant[Mono]) -> None:
        """A NAV-PVT came: what was asked for is being sent."""
        self._told = now

    def version(self, version: kinds.MonVer, now: Instant[Mono]) -> list[DeviceReport | Write]:
        """It is one: say which, and ask for messages when that is wanted."""
        self._known = True
        self._next = now + ASK_EVERY if self._configure else None
        events: list[DeviceReport | Write] = [
            DeviceReport(device=self._device, present=True, description=describe(version))
        ]
        if self._configure:
            self._told = now
            events.append(Write(configuration(protocol(version))))
        return events


def describe(version: kinds.MonVer) -> str:
    """Model, firmware and protocol version."""
    words = [f"u-blox {version.extension('MOD') or version.hardware}"]
    words.append(version.extension("FWVER") or version.software)
    number = version.extension("PROTVER")
    if number:
        words.append(f"protocol {number}")
    return ", ".join(words)


def protocol(version: kinds.MonVer) -> tuple[int, int]:
    """The protocol version; (0, 0) where the firmware is too old to tell."""
    match = re.match(r"(\d{1,3})\.(\d{1,2})", version.extension("PROTVER") or "", re.ASCII)
    return (0, 0) if match is None else (int(match[1]), int(match[2]))


def configuration(version: tuple[int, int]) -> bytes:
    """What to send to a receiver of this protocol version to have the messages that help, in RAM only.

    CFG-MSG speaks of the port that it comes in by. A key names its port, and which one we are at cannot be asked in
    all generations: UART1 and USB are set, UART2 is left alone since corrections often go out there. Each key has a
    message of its own, because one unknown key would have all others refused with it.
    """
    if version < _GENERATION_9:
        return b"".join(ubx.set_rate(kind, rate) for kind, rate in _LEGACY)
    keys = [(key, 1) for key in _OUTPUT_KEYS]
    keys += [(key + port, rate) for port in (_UART1, _USB) for key, rate in _KEYS]
    return b"".join(ubx.set_value(key, value) for key, value in keys)
