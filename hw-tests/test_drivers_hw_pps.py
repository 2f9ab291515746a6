"""A PPS device that pulses once a second."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise

import pytest
from hw_devices import NS_PER_S, named, until

from timesync.base.ids import ClockId
from timesync.base.utc import LeapTable
from timesync.daemon.linux import LinuxHost, PhcSpec, SystemSpec
from timesync.devices import KernelPulses, Pulse
from timesync_drivers import abi
from timesync_drivers.pps import PpsDevice

TABLE = LeapTable.parse((resources.files("timesync_profiles") / "leap-seconds.list").read_text())
SYSTEM, CARD = ClockId("system"), ClockId("card")


@pytest.fixture
def device() -> Iterator[PpsDevice]:
    """The PPS device, with the assert edge captured."""
    pps = PpsDevice(named("PPS"))
    pps.capture(abi.PPS_CAPTUREASSERT)
    yield pps
    pps.close()


def test_waiting_gives_the_next_pulse(device: PpsDevice) -> None:
    if not device.capabilities() & abi.PPS_CANWAIT:
        pytest.skip("this device cannot wait")
    before = device.fetch()
    while (after := device.fetch(3.0)).asserted == before.asserted:
        pass  # that was a clear edge
    assert after.asserted.sequence == before.asserted.sequence + 1
    assert time.time_ns() - after.asserted.at_ns < NS_PER_S // 2
    assert device.fetch(0.0) == after


def test_asking_without_waiting_returns_at_once(device: PpsDevice) -> None:
    start = time.monotonic()
    for _ in range(100):
        device.fetch(0.0)
    assert time.monotonic() - start < 0.9


def test_a_short_wait_ends_in_a_time_out(device: PpsDevice) -> None:
    until(lambda: _since_edge(device) < 0.3, "the beginning of a second")
    before = device.fetch()
    start = time.monotonic()
    try:
        edges = device.fetch(0.02)
    except TimeoutError:
        assert 0.01 < time.monotonic() - start < 0.7
    else:
        assert edges != before  # the other edge came just then


def _since_edge(device: PpsDevice) -> float:
    return (time.time_ns() - device.fetch().asserted.at_ns) / NS_PER_S


def test_both_edges_are_told_apart(device: PpsDevice) -> None:
    both = abi.PPS_CAPTUREASSERT | abi.PPS_CAPTURECLEAR
    if device.capabilities() & both != both:
        pytest.skip("this device captures one edge only")
    device.capture(both)
    assert device.mode() & both == both
    start = device.fetch()
    edges = until(
        lambda: (now := device.fetch()).cleared.sequence >= start.cleared.sequence + 2 and now, "two clear edges"
    )
    width = (edges.cleared.at_ns - edges.asserted.at_ns) % NS_PER_S
    assert 0 < width < NS_PER_S


def test_another_program_is_told_the_same_stamps(device: PpsDevice) -> None:
    """``ppstest`` of pps-tools prints what it fetched; the pulses that both saw must agree to the nanosecond."""
    if shutil.which("ppstest") is None:
        pytest.skip("ppstest is not installed")
    seen = {}
    with subprocess.Popen(["ppstest", device.path], stdout=subprocess.PIPE, text=True) as other:
        try:
            for _ in range(60):
                edge = device.fetch().asserted
                seen[edge.sequence] = edge.at_ns
                time.sleep(0.05)
        finally:
            other.terminate()
        assert other.stdout is not None
        output = other.stdout.read()
    theirs = {
        int(sequence): int(seconds) * NS_PER_S + int(nanoseconds)
        for seconds, nanoseconds, sequence in re.findall(r"assert (\d+)\.(\d{9}), sequence: (\d+)", output)
    }
    common = seen.keys() & theirs.keys()
    assert len(common) >= 2
    assert {sequence: seen[sequence] for sequence in common} == {sequence: theirs[sequence] for sequence in common}


def test_pulses_come_on_the_scale_of_the_system_clock() -> None:
    host = LinuxHost([SystemSpec(SYSTEM)], TABLE, None)
    pulses = _collect(host, SYSTEM, 3)
    assert [b.sequence - a.sequence for a, b in pairwise(pulses)] == [1, 1]
    gaps = [(b.stamp.at - a.stamp.at).s() for a, b in pairwise(pulses)]
    assert gaps == pytest.approx([1.0, 1.0], abs=1e-3)
    now = host.clocks[SYSTEM].read().at
    assert 0 <= (now - pulses[-1].stamp.at).s() < 2


def test_pulses_come_on_the_scale_of_a_hardware_clock() -> None:
    host = LinuxHost([SystemSpec(SYSTEM), PhcSpec(CARD, named("PHC"))], TABLE, None)
    for pulse in _collect(host, CARD, 3):
        kernel_ns = host.devices.kernel_ns(CARD, pulse.stamp)
        assert kernel_ns is not None
        on_system = host.devices.stamp(SYSTEM, kernel_ns)
        pair = host.devices.read_pair(CARD, SYSTEM)
        assert on_system is not None
        drift = (pulse.stamp.at - on_system.at) - (pair.local.at - pair.remote.at)
        assert abs(drift.s()) < 0.0005 + pair.uncertainty.s()


def _collect(host: LinuxHost, clock: ClockId, count: int) -> list[Pulse]:
    """So many pulses, asked for as the daemon does."""
    source = host.devices.open_pulses(KernelPulses(named("PPS")), clock)
    pulses: list[Pulse] = []
    try:
        until(lambda: pulses.extend(source.pulses()) or len(pulses) >= count, f"{count} pulses")
    finally:
        source.close()
    return pulses
