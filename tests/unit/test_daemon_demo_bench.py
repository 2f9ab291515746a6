"""The demonstration's hardware in real time: what a receiver says when, and how each device goes and comes back."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from linux_support import TABLE, S

from timesync.base.ids import ClockId
from timesync.base.time import ZERO, Duration, Instant
from timesync.daemon.demo_bench import CARD, LOOPBACK, PULSES, Bench, Receiver
from timesync.daemon.demo_faults import parse_fault
from timesync.daemon.demo_receiver import LivePulses, LiveReceiver
from timesync.daemon.linux import PhcSpec, SystemSpec, VirtualSpec
from timesync.devices import KernelPulses
from timesync.host import ClockError
from timesync.runtime.virtual import VirtualSettings
from timesync.runtime.virtual_pulses import real_ns
from timesync.sim.hardware import Fault, ReceiverHardware
from timesync.sim.law import Exactly

PATIENCE_S = 10.0
BENCH = ClockId("bench")
_TOLD = re.compile(rb"RMC,(\d{6})\.00")


class Outlet:
    """Keeps what leaves, and when (CLOCK_REALTIME)."""

    def __init__(self, baud: int | None = 9600) -> None:
        self.data = b""
        self.times: list[int] = []
        self._baud = baud

    def send(self, data: bytes) -> None:
        self.data += data
        self.times.append(real_ns())

    def baud(self) -> int | None:
        return self._baud


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.005)


def test_a_second_is_told_after_it_began_and_no_faster_than_the_line_goes() -> None:
    async def story() -> tuple[Outlet, Outlet]:
        hardware = ReceiverHardware(latency=Exactly(0.1), sentences=("RMC", "ZDA"))
        outlets = Outlet(9600), Outlet(38400)
        players = [LiveReceiver(hardware, TABLE, Random(1)) for _ in outlets]
        for player, outlet in zip(players, outlets, strict=True):
            player.connect(outlet)
        right, wrong = outlets
        await until(lambda: b"ZDA" in right.data and right.data.endswith(b"\r\n"))
        await until(lambda: len(wrong.data) > len(right.data))
        for player in players:
            player.close()
        return outlets

    right, wrong = asyncio.run(story())
    said = re.match(rb"\$GNRMC,(\d\d)(\d\d)(\d\d)\.00,A,", right.data)
    assert said is not None
    hour, minute, second = map(int, said.groups())
    told_ns = (right.times[0] // (86_400 * S) * 86_400 + hour * 3600 + minute * 60 + second) * S
    # 32 bytes of 10 bits at 9600 baud are the first that the port hands over.
    assert 100_000_000 + 33_000_000 <= right.times[0] - told_ns < S
    # 1.04 ms a byte.
    assert right.times[-1] - told_ns >= 100_000_000 + len(right.data) * 1_041_000
    # Four times as fast a listener takes four bytes of no meaning for each.
    assert b"$GN" not in wrong.data


def test_a_line_that_is_too_slow_leaves_seconds_out() -> None:
    """At 330 baud a sentence of 75 octets takes 2.3 s: the next second's would wait 1.3 s, and the one after 0.3 s."""

    async def story() -> list[bytes]:
        player = LiveReceiver(
            ReceiverHardware(latency=Exactly(0.1), sentences=("RMC",), baud=330, fifo=16), TABLE, Random(1)
        )
        outlet = Outlet(330)
        player.connect(outlet)
        await until(lambda: len(_TOLD.findall(outlet.data)) == 2)
        player.close()
        return _TOLD.findall(outlet.data)

    first, second = (int(x[:2]) * 3600 + int(x[2:4]) * 60 + int(x[4:]) for x in asyncio.run(story()))
    assert 2 == (second - first) % 86_400


def test_its_pulses_end_with_it_and_with_their_wire() -> None:
    async def story() -> None:
        player = LiveReceiver(ReceiverHardware(), TABLE, Random(1))
        wire, other = LivePulses(player.receiver), LivePulses(player.receiver)
        second = TABLE.tai(Instant.from_ns(real_ns())).scaled_ns // Duration.from_s(1).scaled_ns + 5
        assert ZERO == wire.lateness(second)

        wire.switch(Fault.NO_PULSES, on=True)
        assert (None, True) == (wire.lateness(second), wire.present())
        assert ZERO == other.lateness(second)
        wire.switch(Fault.NO_PULSES, on=False)
        wire.switch(Fault.UNPLUGGED, on=True)
        assert (None, False) == (wire.lateness(second), wire.present())

        player.switch(Fault.UNPLUGGED, on=True)
        assert (None, True) == (other.lateness(second), other.present())
        player.switch(Fault.UNPLUGGED, on=False)
        player.switch(Fault.NO_FIX, on=True)
        drift = other.lateness(second + 1000)
        assert drift is not None
        # Half a part in a million, fast: its seconds begin too soon.
        assert -505e-6 < drift.s() < -500e-6
        player.close()

    asyncio.run(story())


def test_gpsd_tells_time_and_pulses_to_who_watches(tmp_path: Path) -> None:
    async def story() -> list[dict[str, object]]:
        receiver = Receiver("gpsd", tmp_path, TABLE, Random(1))
        where = re.search(r"gpsd: '127\.0\.0\.1:(\d+)'", receiver.source)
        assert where is not None
        reader, writer = await asyncio.open_connection(LOOPBACK, int(where[1]))
        writer.write(b'?WATCH={"enable":true,"json":true,"pps":true};\n')
        said: list[dict[str, object]] = []
        async with asyncio.timeout(PATIENCE_S):
            while not {"VERSION", "PPS", "TPV"} <= {one["class"] for one in said}:
                said.append(json.loads(await reader.readline()))
            receiver.switch(Fault.UNPLUGGED, on=True)
            while said[-1]["class"] != "DEVICE":
                said.append(json.loads(await reader.readline()))
            receiver.switch(Fault.GPSD_GONE, on=True)
            assert b"" == await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, int(where[1]))
        receiver.switch(Fault.GPSD_GONE, on=False)
        _, again = await asyncio.open_connection(LOOPBACK, int(where[1]))
        again.close()
        writer.close()
        receiver.close()
        return said

    said = asyncio.run(story())
    pulse = next(one for one in said if one["class"] == "PPS")
    seconds, nanoseconds = pulse["clock_sec"], pulse["clock_nsec"]
    assert isinstance(seconds, int)
    assert isinstance(nanoseconds, int)
    assert abs(seconds - time.time()) < PATIENCE_S
    assert min(nanoseconds, S - nanoseconds) < 10_000
    assert 0 == said[-1]["activated"]


def test_every_device_goes_and_comes_back_where_the_daemon_finds_it(tmp_path: Path) -> None:
    async def story() -> None:
        bench = Bench("nmea", tmp_path, TABLE)
        host = bench.host(
            [SystemSpec(ClockId("system")), VirtualSpec(BENCH, VirtualSettings()), PhcSpec(CARD, "/dev/ptp-demo")],
            TABLE,
            tmp_path / "state",
        )
        assert {"system", "bench", "nic"} == set(host.clocks)
        assert () == tuple(host.devices.open_pulses(KernelPulses(PULSES), BENCH).pulses())
        offset = bench.card_offset()
        assert offset is not None
        assert 5e-3 == pytest.approx(offset.s(), abs=1e-3)

        bench.switch(parse_fault("unplugged@0s"), on=True)
        assert not (tmp_path / "gps").is_symlink()
        bench.switch(parse_fault("unplugged@0s"), on=False)
        assert (tmp_path / "gps").is_char_device()

        bench.switch(parse_fault("pps:unplugged@0s"), on=True)
        with pytest.raises(ClockError, match="/dev/pps-demo is gone"):
            host.devices.open_pulses(KernelPulses(PULSES), BENCH)
        bench.switch(parse_fault("pps:unplugged@0s"), on=False)
        host.devices.open_pulses(KernelPulses(PULSES), BENCH)

        bench.switch(parse_fault("nic:unplugged@0s"), on=True)
        assert bench.card_offset() is None
        host.check_foreign()
        assert [CARD] == list(host.missing)
        bench.switch(parse_fault("nic:unplugged@0s"), on=False)
        assert [CARD] == host.retry_missing()
        bench.close()

    asyncio.run(story())
    assert [] == [path for path in tmp_path.iterdir() if path.name != "state"]
