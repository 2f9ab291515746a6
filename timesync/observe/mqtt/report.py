"""What an appliance has published, as read by somebody else: nothing in it is believed to have the right form."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from timesync.observe.hub import Message
from timesync.observe.mqtt.topics import PORTS, SOURCES

MAX_PAYLOAD: Final = 1 << 18
"""Octets of a message: a source takes about one thousand, a receiver with its satellites three."""

_ASKED: Final = ("ntp", "pool", "csptp")
"""Kinds of sources that are other machines' clocks."""

_FOLLOWING: Final = ("TIME_RECEIVER", "SLAVE", "UNCALIBRATED")
_CONFIDENCE: Final = 3.0
_MOST: Final = 1 << 63
"""Of numbers; what is larger is none of ours, and none at all when it is infinite or no number."""


class ReportError(ValueError):
    """A message that no appliance of ours sends."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A clock outside, as seen from more than one appliance.

    Attributes:
        address: Its numeric address, or the PTP ``clockIdentity`` and domain.
        what: What it says of itself; two machines at different places may have the same address.
    """

    address: str
    what: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """How the served clock of an appliance stands to a clock outside.

    Attributes:
        offset_s: The served clock minus the other one.
        margin_s: It may be wrong by so much: what an asymmetric path can hide, and three standard deviations.
    """

    offset_s: float
    margin_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The state of an appliance, as far as the fleet needs it.

    Attributes:
        utc_ns: When, by its system clock.
        state: Of its served clock.
        reason: Why.
        stratum: 16 when not synchronised.
        reference_id: What it follows.
        offset_s: Its own estimate of its error.
        error_bound_s: It claims to be within so much of true time; None when it does not know.
        holdover_s: How long it has been on its own; None when it is not.
        interval_s: How often it publishes.
        host: The machine.
        version: Of timesync.
        warnings: What is wrong there.
        addresses: Of the machine.
        clocks: Offset and one standard deviation of each of its clocks, where known.
        served: The name of the served one.
    """

    utc_ns: int
    state: str
    reason: str
    stratum: int
    reference_id: str
    offset_s: float | None
    error_bound_s: float | None
    holdover_s: float | None
    interval_s: float
    host: str
    version: str
    warnings: tuple[str, ...]
    addresses: frozenset[str]
    clocks: Mapping[str, tuple[float, float]]
    served: str


def parse(payload: bytes) -> Message:
    """A JSON object. Raises ReportError."""
    if len(payload) > MAX_PAYLOAD:
        raise ReportError(f"a message of {len(payload)} octets; it may have {MAX_PAYLOAD}")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise ReportError("not a JSON object")
    return message


def report(message: Message) -> Report:
    """The ``state`` of an appliance. Raises ReportError."""
    serving = message.get("serving")
    clocks = {}
    for clock in _objects(message, "clocks"):
        offset, deviation = _number(clock, "offset_s"), _number(clock, "offset_uncertainty_s")
        if offset is not None and deviation is not None:
            clocks[_text(clock, "name")] = (offset, deviation)
    served = _text(message, "served_clock")
    return Report(
        utc_ns=_whole(message, "utc_ns"),
        state=_text(message, "state"),
        reason=_text(message, "reason"),
        stratum=_whole(message, "stratum"),
        reference_id=_text(message, "reference_id"),
        offset_s=clocks[served][0] if served in clocks else None,
        error_bound_s=_number(message, "error_bound_s"),
        holdover_s=_number(message, "holdover_s"),
        interval_s=_number(message, "interval_s") or 0.0,
        host=_text(message, "host", "unknown"),
        version=_text(message, "version", "unknown"),
        warnings=tuple(map(printable, _texts(message, "warnings"))),
        addresses=frozenset(_texts(serving, "addresses") if isinstance(serving, dict) else ()),
        clocks=clocks,
        served=served,
    )


def sights(sources: Message, ports: Message, of: Report) -> dict[Peer, Sight]:
    """The clocks outside that an appliance measures, carried over to its served clock. Raises ReportError."""
    found: dict[Peer, Sight] = {}
    for source in _objects(sources, SOURCES):
        address = _address(source.get("address"))
        if source.get("kind") in _ASKED and address is not None:
            said = (source.get("stratum"), source.get("reference_id"))
            if all(isinstance(word, int | str | None) for word in said):
                _add(found, Peer(address, said), source, _number(source, "delay_s"), of)
    followed = [source for source in _objects(sources, SOURCES) if source.get("kind") == "ptp"]
    for port in _objects(ports, PORTS):
        parent, mean = port.get("parent"), _number(port, "mean_delay_s")
        if not isinstance(parent, str) or mean is None or port.get("state") not in _FOLLOWING:
            continue
        # Ports of several domains on one interface are told apart by what they measure: it is of the same moment.
        measured = {"address": port.get("name"), "offset_s": port.get("offset_s")}
        for source in followed:
            if {key: source.get(key) for key in measured} == measured:
                peer = Peer(f"{parent.rpartition('-')[0]} domain {port.get('domain')}", ())
                _add(found, peer, source, 2 * mean, of)
    return found


def identities(ports: Message) -> frozenset[str]:
    """As what an appliance is known to those who follow it by PTP. Raises ReportError."""
    found = ((port.get("identity"), port.get("domain")) for port in _objects(ports, PORTS))
    return frozenset(f"{name.rpartition('-')[0]} domain {domain}" for name, domain in found if isinstance(name, str))


def _add(found: dict[Peer, Sight], peer: Peer, source: Mapping[str, Any], delay_s: float | None, of: Report) -> None:
    """One sight, where all is known that it takes; of two of the same peer the better one."""
    offset, deviation = _number(source, "offset_s"), _number(source, "uncertainty_s")
    clock = source.get("clock")
    if offset is None or deviation is None or delay_s is None:
        return
    margin = abs(delay_s) / 2 + _CONFIDENCE * deviation
    if clock != of.served:
        if not isinstance(clock, str) or clock not in of.clocks or of.served not in of.clocks:
            return
        (there, there_deviation), (here, here_deviation) = of.clocks[clock], of.clocks[of.served]
        offset += here - there
        margin += _CONFIDENCE * (here_deviation + there_deviation)
    if peer not in found or margin < found[peer].margin_s:
        found[peer] = Sight(offset, margin)


def _address(text: object) -> str | None:
    """The numeric address in ``address:port``; None where there is none, or one that means another machine to each."""
    if not isinstance(text, str):
        return None
    host = (
        text[1:].partition("]")[0] if text.startswith("[") else text if text.count(":") > 1 else text.partition(":")[0]
    )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if address.is_loopback or address.is_link_local else str(address)


def printable(text: str) -> str:
    """A text that a terminal only shows: anybody may publish."""
    return "".join(c if c.isprintable() else "?" for c in text[:500])


def _number(message: Mapping[str, Any], key: str) -> float | None:
    value = message.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MOST:
        raise ReportError(f"{key} is not a number")
    return float(value)


def _whole(message: Mapping[str, Any], key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not abs(value) < _MOST:
        raise ReportError(f"{key} is not a whole number")
    return value


def _text(message: Mapping[str, Any], key: str, absent: str | None = None) -> str:
    value = message.get(key)
    if value is None and absent is not None:
        return absent
    if not isinstance(value, str):
        raise ReportError(f"{key} is not a text")
    return printable(value)


def _texts(message: Mapping[str, Any], key: str) -> list[str]:
    values = message.get(key)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _objects(message: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    values = message.get(key, [])
    if not isinstance(values, list):
        raise ReportError(f"{key} is not a list")
    return (value for value in values if isinstance(value, dict))
