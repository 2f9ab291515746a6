"""What an NTP server said last, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from timesync.base.measure import StampSource
from timesync.base.time import Instant, Utc
from timesync.ntp.association import Heard
from timesync.wire.ntp import short_to_duration, timestamp_to_utc

STAMPING: Final = {StampSource.HARDWARE: "hardware", StampSource.KERNEL: "kernel", StampSource.USER: "daemon"}
"""Words for who took a timestamp."""


def answer_object(heard: Heard, near: Instant[Utc]) -> dict[str, Any]:
    """``details.answer`` of a source; ``near`` settles the era of its timestamps."""
    packet = heard.packet
    reference = timestamp_to_utc(packet.reference, near) if packet.reference else None
    sent, received = heard.stamps
    return {
        "poll": packet.poll,
        "precision": packet.precision,
        "root_delay_s": short_to_duration(packet.root_delay).s(),
        "root_dispersion_s": short_to_duration(packet.root_dispersion).s(),
        "reference_time_ns": None if reference is None else reference.ns(),
        "response_s": None if heard.response is None else heard.response.s(),
        "tx_timestamping": None if heard.tx is None else STAMPING[heard.tx],
        "rx_timestamping": None if heard.rx is None else STAMPING[heard.rx],
        "tx_stamps": _counts(sent),
        "rx_stamps": _counts(received),
        "measurements": heard.good,
    }


def _counts(stamps: Mapping[StampSource, int]) -> dict[str, int]:
    return {word: stamps.get(source, 0) for source, word in STAMPING.items()}
