"""What goes wrong during a demonstration, and when: as a user writes it, and in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from timesync.base.time import ZERO, Duration
from timesync.config.quantity import QuantityError, parse_duration
from timesync.sim.hardware import PHC_FAULTS, PULSE_FAULTS, RECEIVER_FAULTS, Fault

ReceiverKind = Literal["nmea", "ubx", "gpsd"]

_DEVICES: Final[Mapping[str, frozenset[Fault]]] = {
    "receiver": RECEIVER_FAULTS,
    "pps": PULSE_FAULTS,
    "nic": PHC_FAULTS,
}
_LANGUAGES: Final[Mapping[Fault, ReceiverKind]] = {Fault.FALSE_LEAP: "ubx", Fault.GPSD_GONE: "gpsd"}
"""Faults that only one kind of receiver has."""

_RECEIVER_WORDS: Final[Mapping[Fault, str]] = {
    Fault.WRONG_WEEK: "the receiver's week counter rolled over: its date is 1024 weeks back",
    Fault.JUMP: "the receiver says a time that is 1 s ahead; its pulses stay where they are",
    Fault.STALE: "the receiver repeats its last message, time included",
    Fault.NO_FIX: "the receiver sees no satellites: its pulses drift with its own oscillator",
    Fault.NO_PULSES: "the receiver gives no pulses",
    Fault.FALSE_LEAP: "the receiver announces a leap second that does not exist",
    Fault.UNPLUGGED: "the receiver is unplugged",
    Fault.GARBLED: "one byte in fifty of what the receiver sends is damaged",
    Fault.SILENT: "the receiver says nothing; its pulses go on",
    Fault.GPSD_GONE: "gpsd has ended",
}
_OTHER_WORDS: Final[Mapping[Fault, str]] = {
    Fault.NO_PULSES: "no pulses arrive any more at {}",
    Fault.UNPLUGGED: "{} is unplugged",
}
_CALLED: Final[Mapping[str, str]] = {"pps": "the PPS device", "nic": "the network card"}


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault of the demonstration's hardware.

    Attributes:
        device: ``receiver``, ``pps`` or ``nic``.
        fault: What goes wrong.
        at: When, after the start.
        lasting: For how long; None: to the end.
    """

    device: str
    fault: Fault
    at: Duration
    lasting: Duration | None

    @property
    def words(self) -> str:
        """What is wrong while it lasts."""
        if self.device == "receiver":
            return _RECEIVER_WORDS[self.fault]
        return _OTHER_WORDS[self.fault].format(_CALLED[self.device])

    def objection(self, kind: ReceiverKind, duration: Duration) -> str | None:
        """Why it would never be seen with this receiver and in this time, in words; None: it will."""
        needed = _LANGUAGES.get(self.fault, kind)
        if needed != kind:
            return f"{_written(self.fault)} needs a receiver of the kind {needed}: --receiver {needed}"
        if self.at >= duration:
            return f"{_written(self.fault)} would begin after the end; make --duration longer"
        return None


def parse_fault(text: str) -> PlannedFault:
    """``[DEVICE:]FAULT@START[+LASTING]``, such as ``no-fix@20s+15s`` or ``nic:unplugged@30s``. Raises QuantityError.

    The device is the receiver unless it is said; of a fault's name as much is enough as no other begins with.
    """
    what, at, when = text.partition("@")
    if not at:
        raise QuantityError("expected a fault and when it begins, such as no-fix@20s+15s", f"{what}@20s")
    device, colon, name = what.rpartition(":")
    device = device if colon else "receiver"
    if device not in _DEVICES:
        near = difflib.get_close_matches(device, _DEVICES, n=1)
        suggestion = f"{near[0]}:{name}@{when}" if near else None
        raise QuantityError(f"there is no device {device}, only {', '.join(_DEVICES)}", suggestion)
    fault = _named(name, device, f"{what.removesuffix(name)}{{}}@{when}")
    start, plus, length = when.partition("+")
    begin = _span(start, f"{what}@{{}}{plus}{length}")
    lasting = _span(length, f"{what}@{start}+{{}}") if plus else None
    if begin < ZERO or (lasting is not None and lasting <= ZERO):
        raise QuantityError("a fault begins after the start, and lasts")
    return PlannedFault(device, fault, begin, lasting)


def _named(name: str, device: str, whole: str) -> Fault:
    """The fault of that name, or of the only one that begins so; ``whole`` has a gap for what to write instead."""
    wanted = name.lower().replace("_", "-").replace(" ", "-")
    names = {_written(fault): fault for fault in Fault if fault in _DEVICES[device]}
    meant = [fault for written, fault in names.items() if wanted and written.startswith(wanted)]
    if wanted in names or len(meant) == 1:
        return names.get(wanted) or meant[0]
    near = difflib.get_close_matches(wanted, names, n=1)
    message = f"{device} has no fault {name!r}, only {', '.join(names)}"
    raise QuantityError(message, whole.format(near[0]) if near else None)


def _span(text: str, whole: str) -> Duration:
    """A duration; ``whole`` has a gap for what to write instead."""
    try:
        return parse_duration(text)
    except QuantityError as error:
        suggestion = None if error.suggestion is None else whole.format(error.suggestion)
        raise QuantityError(error.message, suggestion) from None


def _written(fault: Fault) -> str:
    return fault.value.replace(" ", "-")
