"""PTP hardware clocks behind the kernel's real interfaces; every clock is left as it was found, but for its time."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
from hw_devices import NS_PER_S, clock_directory, named, run, until

from timesync.base.ids import ClockId
from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.daemon.linux import LinuxHost, PhcSpec, SystemSpec
from timesync.devices import PinPulses, Pulse
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync_drivers.cross import METHODS
from timesync_drivers.phc import PhcDevice

TABLE = LeapTable.parse((resources.files("timesync_profiles") / "leap-seconds.list").read_text())
SYSTEM, FIRST, SECOND = ClockId("system"), ClockId("first"), ClockId("second")


@pytest.fixture
def device() -> Iterator[PhcDevice]:
    """The first hardware clock."""
    phc = PhcDevice(named("PHC"))
    frequency = phc.clock.state().scaled_ppm
    yield phc
    phc.clock.set_frequency(frequency)
    phc.close()


@pytest.fixture
def host() -> Iterator[LinuxHost]:
    """The machine with both hardware clocks on TAI."""
    specs = [SystemSpec(SYSTEM), PhcSpec(FIRST, named("PHC")), PhcSpec(SECOND, named("PHC2"))]
    machine = LinuxHost(specs, TABLE, None)
    assert machine.missing == {}
    frequencies = {clock: machine.clocks[clock].frequency() for clock in (FIRST, SECOND)}
    for clock in (FIRST, SECOND):
        pair = machine.devices.read_pair(clock, SYSTEM)
        machine.clocks[clock].step(-(pair.local.at - pair.remote.at))
    yield machine
    for clock, frequency in frequencies.items():
        machine.clocks[clock].adjust_frequency(frequency)


def _phc(host: LinuxHost, clock: ClockId) -> PhcClock:
    found = host.clocks[clock]
    assert isinstance(found, PhcClock)
    return found


def test_the_capabilities_are_those_that_sysfs_tells(device: PhcDevice) -> None:
    able, told = device.capabilities, clock_directory(device)
    files = {
        "max_adjustment": able.max_adj_ppb,
        "n_external_timestamps": able.n_ext_ts,
        "n_periodic_outputs": able.n_per_out,
        "n_programmable_pins": able.n_pins,
        "pps_available": int(able.pps),
    }
    assert {name: int((told / name).read_text()) for name in files} == files
    pins = sorted(path.name for path in (told / "pins").glob("*"))
    assert sorted(device.pin(index).name for index in range(able.n_pins)) == pins


def test_the_path_of_an_interface_is_the_one_that_ethtool_tells() -> None:
    interface = named("PHC")
    if not Path("/sys/class/net", interface).exists():
        pytest.skip("the clock is not named by its interface")
    found = re.search(
        r"(?:PTP Hardware Clock|Hardware timestamp provider index): (\d+)", run("ethtool", "-T", interface)
    )
    assert found is not None
    with_index = PhcDevice(interface)
    assert with_index.path == f"/dev/ptp{found[1]}"
    with_index.close()


def test_another_program_reads_what_was_stepped(device: PhcDevice) -> None:
    for by_ns in (12_345_678_901, -2_500_000_000):
        target = time.time_ns() + by_ns
        device.clock.step(target - device.clock.read_ns())
        found = re.search(r"offset from CLOCK_REALTIME is (-?\d+)ns", run("phc_ctl", device.path, "cmp"))
        assert found is not None
        # phc_ctl tells the system clock less the hardware clock; the target grew old before the step was done.
        assert abs(-int(found[1]) - by_ns) < 20_000_000


def test_a_frequency_is_felt_and_reported(device: PhcDevice) -> None:
    def rate_ppm() -> float:
        start = device.clock.progress()
        until(lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - start.raw_ns > NS_PER_S // 2, "half a second")
        end = device.clock.progress()
        elapsed = end.raw_ns - start.raw_ns
        return (end.at_ns - start.at_ns - elapsed) / elapsed * 1e6

    by_ppm = min(500, device.capabilities.max_adj_ppb // 2000)
    device.clock.set_frequency(0)
    before = rate_ppm()
    assert device.clock.set_frequency(by_ppm * 65_536) == by_ppm * 65_536
    assert abs(rate_ppm() - before - by_ppm) < 0.1 * by_ppm
    assert device.clock.frequency_scaled_ppm() == by_ppm * 65_536
    with pytest.raises(OSError, match="out of range"):
        device.clock.set_frequency(65_536 * (device.capabilities.max_adj_ppb // 1000 + 1))


def test_all_ways_of_comparing_it_with_the_system_clock_agree(device: PhcDevice) -> None:
    readings = []
    for method in METHODS:
        # The kernel has the plain one for every driver.
        with suppress(OSError) if method != "plain" else nullcontext():
            readings.append(device._cross.read_by(method))
    offsets = [reading.device_ns - reading.system_ns for reading in readings]
    # The two clocks drift apart by less than 1000 ppm of the milliseconds between the readings.
    room = sum(reading.half_window_ns for reading in readings) + 10_000
    assert max(offsets) - min(offsets) < room
    assert device.cross().method == readings[0].method


def test_pulses_of_one_clock_are_stamped_by_the_other_at_full_seconds(host: LinuxHost) -> None:
    out_pin, in_pin = (int(pin) for pin in named("WIRE").split(":"))
    source = host.devices.open_pulses(PinPulses(SECOND, channel=0, pin=in_pin), SECOND)
    output = host.devices.open_output(FIRST, 0, out_pin, Duration.from_s(0.1))
    try:
        pulses: list[Pulse] = []
        until(lambda: pulses.extend(source.pulses()) or len(pulses) >= 3, "three pulses")
        pair = host.devices.read_pair(FIRST, SECOND)
        ahead_ns = (pair.local.at - pair.remote.at).ns()
        for pulse in pulses:
            assert pulse.stamp.source is StampSource.HARDWARE
            beside = (pulse.stamp.at.ns() + ahead_ns + NS_PER_S // 2) % NS_PER_S - NS_PER_S // 2
            # Up to 3 s before the pair was read, at a difference of up to 100 ppm.
            assert abs(beside) < 300_000 + pair.uncertainty.ns()
        gaps = [(b.stamp.at - a.stamp.at).s() for a, b in pairwise(pulses)]
        assert gaps == pytest.approx([1.0] * len(gaps), abs=2e-4)
        assert [b.sequence - a.sequence for a, b in pairwise(pulses)] == [1] * len(gaps)

        # A step of the first clock by a quarter of a second takes its output along.
        host.clocks[FIRST].step(Duration.from_s(0.25))
        pulses.clear()
        until(lambda: pulses.extend(source.pulses()) or len(pulses) >= 3, "pulses after the step", seconds=15)
        beside = (pulses[-1].stamp.at.ns() + ahead_ns + NS_PER_S // 4) % NS_PER_S
        assert min(beside, NS_PER_S - beside) < 2_000_000
    finally:
        output.close()
        source.close()


def test_a_queue_that_others_empty_is_read_without_waiting(host: LinuxHost) -> None:
    """As before Linux 6.7, by the list in sysfs: there read() waits where somebody else was quicker.

    Later kernels have that list as well, beside a queue for each that has the clock open: that is never emptied here,
    so that poll() goes on promising events.
    """
    out_pin, in_pin = (int(pin) for pin in named("WIRE").split(":"))
    reader = PhcDevice(named("PHC2"))
    reader._own_queue = False
    source = host.devices.open_pulses(PinPulses(SECOND, channel=0, pin=in_pin), SECOND)
    output = host.devices.open_output(FIRST, 0, out_pin, Duration.from_s(0.1))
    try:
        while reader._take_shared():
            pass  # of earlier tests
        got: list[int] = []
        until(lambda: got.extend(event.at_ns for event in reader.events()) or len(got) >= 3, "three events")
        assert [(b - a) / NS_PER_S for a, b in pairwise(got)] == pytest.approx([1.0] * (len(got) - 1), abs=2e-4)
        began = time.monotonic()
        assert sum(len(reader.events()) for _ in range(10)) <= 1
        assert time.monotonic() - began < 0.5
    finally:
        output.close()
        source.close()
        reader.close()


def test_the_pps_of_a_hardware_clock_reaches_the_kernel(device: PhcDevice) -> None:
    if not device.capabilities.pps:
        pytest.skip("this clock has no PPS")
    clock = clock_directory(device).name  # drivers/ptp/ptp_clock.c names the PPS source after it
    sources = [path for path in Path("/sys/class/pps").glob("pps*") if (path / "name").read_text().strip() == clock]
    assert len(sources) == 1

    def sequence() -> int:
        return int((sources[0] / "assert").read_text().partition("#")[2] or 0)

    device.enable_pps(on=True)
    before = sequence()
    try:
        until(lambda: sequence() >= before + 2, "two more pulses")
    finally:
        device.enable_pps(on=False)


def test_pairs_of_the_host_agree_with_each_other(host: LinuxHost) -> None:
    first = host.devices.read_pair(FIRST, SYSTEM)
    second = host.devices.read_pair(SECOND, SYSTEM)
    direct = host.devices.read_pair(FIRST, SECOND)
    around = (first.local.at - first.remote.at) - (second.local.at - second.remote.at)
    room = first.uncertainty + second.uncertainty + direct.uncertainty + Duration.from_ns(20_000)
    assert abs(around - (direct.local.at - direct.remote.at)) < room
    assert first.local.epoch == 1  # stepped by the fixture


def test_kernel_stamps_are_placed_on_a_hardware_clock(host: LinuxHost) -> None:
    """A reading whose moment is known on both clocks, placed again from its kernel time alone."""
    clock = _phc(host, FIRST)
    for _ in range(20):
        reading = clock.cross()
        stamp = host.devices.stamp(FIRST, reading.system_ns)
        assert stamp is not None
        assert abs(stamp.at.ns() - reading.device_ns) <= 1
        assert host.devices.kernel_ns(FIRST, stamp) == pytest.approx(reading.system_ns, abs=1)


def test_a_step_by_another_program_is_noticed(host: LinuxHost) -> None:
    clock = _phc(host, FIRST)
    assert host.check_foreign() is None
    epoch = clock.epoch
    run("phc_ctl", clock.hardware.path, "adj", "0.75")
    said = host.check_foreign()
    assert said is not None
    found = re.search(r"was moved by \+([0-9.]+) ms by ", said)
    assert found is not None, said
    # Beside the step itself, what a driver takes to read and write the clock.
    assert float(found[1]) == pytest.approx(750, abs=1)
    assert clock.epoch == epoch + 1


def test_a_frequency_by_another_program_is_noticed(host: LinuxHost) -> None:
    clock = _phc(host, FIRST)
    taken = clock.adjust_frequency(Rate.from_ppm(1.5))
    assert taken == Rate.from_ppm(1.5)
    run("phc_ctl", clock.hardware.path, "freq", "2500")
    said = host.check_foreign()
    assert said is not None
    assert "+2.5000 ppm where +1.5000 ppm was set" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a card from its driver, which needs root")
def test_a_card_that_is_taken_away_and_given_back() -> None:
    interface = named("UNPLUG")
    bus = Path("/sys/class/net", interface, "device").resolve()
    driver = (bus / "driver").resolve()
    host = LinuxHost([SystemSpec(SYSTEM), PhcSpec(FIRST, interface)], TABLE, None)
    assert host.missing == {}
    before = host.clocks[FIRST].read().at
    (driver / "unbind").write_text(bus.name)
    try:
        assert "vanished" in (host.check_foreign() or "")
        assert list(host.missing) == [FIRST]
        for act in (
            lambda: host.devices.read_pair(SYSTEM, FIRST),
            lambda: host.clocks[FIRST].step(Duration.from_s(1)),
        ):
            with pytest.raises(ClockError) as caught:
                act()
            assert caught.value.trouble is Trouble.GONE
        assert host.retry_missing() == []
        assert Duration.from_s(0) < host.clocks[FIRST].read().at - before < Duration.from_s(20)
        late = LinuxHost([PhcSpec(SECOND, interface)], TABLE, None)
        assert list(late.missing) == [SECOND]
    finally:
        (driver / "bind").write_text(bus.name)
    _name_back(bus, interface)
    assert until(host.retry_missing, "the card is back") == [FIRST]
    assert host.clocks[FIRST].epoch == 1
    host.devices.read_pair(SYSTEM, FIRST)
    assert late.retry_missing() == [SECOND]


def _name_back(bus: Path, interface: str) -> None:
    """Without udev the interface may have come back under another name."""
    names = until(lambda: [path.name for path in (bus / "net").glob("*")], "the card has an interface again")
    if names != [interface]:
        subprocess.run(["ip", "link", "set", names[0], "name", interface], check=True)
