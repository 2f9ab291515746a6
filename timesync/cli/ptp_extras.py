"""What a PTP parent says in the TLVs of profiles, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from timesync.cli.show import UNKNOWN, span


def said(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of ``timesync ports``: a name and a text each, for what ``parent_says`` has."""
    rows = []
    if "power" in told:
        rows.append(("power profile", _power(told["power"])))
    rows += [
        ("local time", f"{zone['name'] or zone['key']}: {_offset(zone)}") for zone in told.get("alternate_times", ())
    ]
    if "metadata" in told:
        rows += _metadata(told["metadata"])
    return rows


def interface(server: Mapping[str, Any]) -> str:
    """What a unicast server says of its interface, to be appended; nothing when it does not."""
    rate = None if server["interface"] is None else server["interface"]["bits_per_s"]
    return "" if rate is None else f"; its interface sends {rate:.3g} bit/s"


def _power(power: Mapping[str, Any]) -> str:
    who = f"grandmaster {power['grandmaster_id']} (C37.238-{power['edition']})"
    if power["edition"] == 2011:
        own, network = power["grandmaster_inaccuracy_s"], power["network_inaccuracy_s"]
        return f"{who}, inaccuracy {_inaccuracy(own)}, of the network {_inaccuracy(network)}"
    return f"{who}, inaccuracy {_inaccuracy(power['total_inaccuracy_s'])}"


def _inaccuracy(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else span(seconds)


def _offset(zone: Mapping[str, Any]) -> str:
    jump = zone["next_jump"]
    then = "no jump known" if jump is None else f"jumps by {zone['jump_s']:+d} s at {_moment(jump)}"
    return f"TAI {zone['offset_s']:+d} s, {then}"


def _metadata(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    numerator, denominator = told["frame_rate"]
    rate = str(numerator) if denominator == 1 else f"{numerator}/{denominator}"
    dropped = ", drop frame" if told["drop_frame"] else ""
    rows = [
        ("studio", f"{rate} pictures a second{dropped}, grandmaster {told['locking_status']}"),
        ("local time", _offset(told)),
    ]
    if told["next_jam"] is not None:
        rows.append(("next jam", _moment(told["next_jam"])))
    return rows


def _moment(seconds: int) -> str:
    """A second of PTP time; 48 bits hold more than calendars do."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} TAI"
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
