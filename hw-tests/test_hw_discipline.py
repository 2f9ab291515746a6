"""The real daemon disciplines a card, and on request the system clock, from a receiver behind a real gpsd.

On real boards: TIMESYNC_HW_SERIAL is the receiver's serial port, TIMESYNC_HW_PPS its pulse, TIMESYNC_HW_PHC the card,
TIMESYNC_HW_PULSE_PIN=PIN:CHANNEL where the same pulse reaches the card. The system clock is left alone unless
TIMESYNC_HW_REALCLOCK=1. Judged by ``ppstest`` and ``phc_ctl`` alone: what the clocks read at the pulses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hw_devices import named
from hw_judge import figures, watch
from hw_lab import hardware, is_lab, pulse_output, receiver, serial_line
from hw_programs import gpsd, timesync

SETTLE_S = int(os.environ.get("TIMESYNC_HW_SETTLE_S", "180"))
WATCH_S = int(os.environ.get("TIMESYNC_HW_WATCH_S", "120"))
LIMIT_NS = float(os.environ.get("TIMESYNC_HW_LIMIT_NS", "2000"))

Record = Callable[[str, object], None]


def may_set_system_clock() -> None:
    """Skip where nobody asked for it; the lab's system clock is the guest's own."""
    if not is_lab() and os.environ.get("TIMESYNC_HW_REALCLOCK") != "1":
        pytest.skip("sets the system clock of this machine: asked for by TIMESYNC_HW_REALCLOCK=1")


@contextmanager
def satellites(directory: Path, *, to_pin: bool) -> Iterator[str]:
    """The serial port of a receiver that has a fix; in the lab one is made up, and fed into the other end."""
    if not is_lab():
        yield named("SERIAL")
        return
    with hardware(directory, true="lab1" if to_pin else None) as phase, receiver(phase, *serial_line()) as port:
        if to_pin:
            pulse_output("lab1")
        yield port


def judged(tmp_path: Path, configuration: str, record: Record, *, to_pin: bool = False, system: bool = False) -> None:
    """Run the daemon, let it settle, and hold what it did to the limit."""
    card, pps = named("PHC"), named("PPS")
    with (
        satellites(tmp_path, to_pin=to_pin) as port,
        gpsd(tmp_path, port, pps),
        timesync(tmp_path, configuration) as daemon,
    ):
        watch([card], pps, SETTLE_S, tmp_path / "settling")
        watched = watch([card], pps, WATCH_S, tmp_path / "settled")
        said = f"{daemon.ask('clocks')}\n{daemon.ask('sources')}\n{daemon.log()}"
    found = {"card": figures(watched.at_pulses(card))}
    if system:
        found["system"] = figures(watched.system_at_pulses())
    for name, of in found.items():
        record(name, of)
    assert [f"{name}: {of}" for name, of in found.items() if of.rms_ns > LIMIT_NS] == [], said


def test_a_card_by_pulses_that_gpsd_numbers(tmp_path: Path, record_property: Record) -> None:
    configuration = f"""
    clocks: {{system: {{discipline: false}}, card: {{phc: {named("PHC")}}}}}
    sources:
      - gpsd: localhost
      - {{pps: {named("PPS")}, clock: card, pairs_with: gpsd}}
    serve: {{clock: card}}
    """
    judged(tmp_path, configuration, record_property)


def test_a_card_by_its_own_pin(tmp_path: Path, record_property: Record) -> None:
    pin, channel = named("PULSE_PIN").split(":")
    configuration = f"""
    clocks: {{system: {{discipline: false}}, card: {{phc: {named("PHC")}}}}}
    sources:
      - gpsd: localhost
      - {{pps: card, pin: {pin}, channel: {channel}, pairs_with: gpsd}}
    serve: {{clock: card}}
    """
    judged(tmp_path, configuration, record_property, to_pin=True)


def test_the_system_clock_by_a_card(tmp_path: Path, record_property: Record) -> None:
    may_set_system_clock()
    configuration = f"""
    clocks: {{card: {{phc: {named("PHC")}}}}}
    sources:
      - gpsd: localhost
      - {{pps: {named("PPS")}, clock: card, pairs_with: gpsd}}
    """
    judged(tmp_path, configuration, record_property, system=True)


def test_a_card_by_the_system_clock(tmp_path: Path, record_property: Record) -> None:
    may_set_system_clock()
    configuration = f"""
    clocks: {{card: {{phc: {named("PHC")}}}}}
    sources:
      - gpsd: localhost
      - {{pps: {named("PPS")}, pairs_with: gpsd}}
    """
    judged(tmp_path, configuration, record_property, system=True)
