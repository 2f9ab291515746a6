"""What of the Linux host the contract suite does not cover."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import threading
from pathlib import Path

import pytest
from linux_support import NOW_NS, TABLE
from phc_support import Machine

from timesync.base.ids import ClockId, Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.daemon.linux import LinuxHost, PhcSpec, SystemSpec, VirtualSpec, _endpoint
from timesync.host import ClockError
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.virtual import VirtualSettings

BENCH = ClockId("bench")
SYSTEM = ClockId("system")


def test_the_clocks_are_those_of_the_configuration_in_its_order() -> None:
    settings = VirtualSettings(Duration.from_s(0.01), Rate.from_ppm(20), 1e-9)
    host = LinuxHost([VirtualSpec(BENCH, settings), SystemSpec(SYSTEM)], TABLE, None)

    assert [(name, clock.kind) for name, clock in host.clocks.items()] == [(BENCH, "virtual"), (SYSTEM, "system")]
    ahead = host.clocks[BENCH].read().at - host.clocks[SYSTEM].read().at
    assert 0.005 < ahead.s() < 0.0101


def test_a_virtual_clock_alone_needs_no_system_clock_in_the_configuration() -> None:
    host = LinuxHost([VirtualSpec(BENCH, VirtualSettings())], TABLE, None)
    assert list(host.clocks) == [BENCH]
    assert host.check_foreign() is None


def test_making_a_host_does_not_load_the_server() -> None:
    program = (
        "import sys; import timesync.daemon.linux;"
        "sys.exit('timesync.runtime.serve' in sys.modules or 'multiprocessing' in sys.modules)"
    )

    async def main() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env={"PYTHONPATH": ":".join(path for path in sys.path if path)}
        )
        return await process.wait()

    assert asyncio.run(main()) == 0


def test_without_a_state_directory_nothing_is_kept() -> None:
    host = LinuxHost([], TABLE, None)
    host.save("drift", b"1")
    assert host.load("drift") is None


def test_the_state_directory_is_used(tmp_path: Path) -> None:
    LinuxHost([], TABLE, tmp_path).save("drift", b"1")
    assert LinuxHost([], TABLE, tmp_path).load("drift") == b"1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 123)),
        ("2001:DB8:0::1", Endpoint("2001:db8::1", 123)),
        ("fe80::1%lo", Endpoint("fe80::1", 123, socket.if_nametoindex("lo"))),
    ],
)
def test_numeric_addresses_resolve_to_themselves(name: str, expected: Endpoint) -> None:
    host = LinuxHost([], TABLE, None)
    assert asyncio.run(host.resolve(name, 123)) == [expected]


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ""])
def test_what_is_not_a_name_is_an_os_error(name: str) -> None:
    host = LinuxHost([], TABLE, None)
    with pytest.raises(OSError, match=r"name|known|label|address"):
        asyncio.run(host.resolve(name, 123))


def test_a_look_up_that_hangs_does_not_hold_up_the_end_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on = threading.Event(), threading.Event()
    hung: list[threading.Thread] = []

    def hang(*_: object, **__: object) -> list[object]:
        hung.append(threading.current_thread())
        asked.set()
        go_on.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def main() -> None:
        looking = asyncio.create_task(LinuxHost([], TABLE, None).resolve("ntp.example", 123))
        assert await asyncio.to_thread(asked.wait, 10)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking

    try:
        asyncio.run(main())
        assert hung[0].is_alive()
        assert hung[0].daemon, "nor the end of the process"
    finally:
        go_on.set()
        hung[0].join()


def test_addresses_of_other_families_are_left_out() -> None:
    assert _endpoint(socket.AF_UNIX, (1, b"x")) is None
    assert _endpoint(socket.AF_INET6, ("fe80::1%3", 123, 0, 3)) == Endpoint("fe80::1", 123, 3)


def test_a_hardware_clock_that_is_missing_does_not_stop_the_host(tmp_path: Path) -> None:
    eth0, other = ClockId("eth0"), ClockId("other")
    host = LinuxHost([SystemSpec(SYSTEM), PhcSpec(eth0, "nosuch0"), PhcSpec(other, str(tmp_path / "ptp"))], TABLE, None)
    assert list(host.clocks) == [SYSTEM]
    assert set(host.missing) == {eth0, other}
    assert "nosuch0 did not let us open it: No such device" in host.missing[eth0]
    assert "it is taken up again as soon as it is there" in host.missing[eth0]
    assert host.retry_missing() == []
    assert host.check_foreign() is None
    with pytest.raises(ClockError, match="eth0 is not there"):
        host.devices.read_pair(SYSTEM, eth0)


def test_missing_hardware_clocks_come_vanish_and_come_back() -> None:
    machine = Machine()

    def made_up(spec: PhcSpec, table: LeapTable) -> PhcClock:
        around = machine.around()
        return PhcClock(
            spec.clock, spec.device, table, timescale=spec.timescale, open_device=machine.open, around=around
        )

    eth0 = ClockId("eth0")
    host = LinuxHost([PhcSpec(eth0, "enp1s0", "utc")], TABLE, None, open_phc=made_up)
    assert list(host.clocks) == []

    card = machine.plug("enp1s0", NOW_NS)
    assert host.retry_missing() == [eth0]
    assert host.missing == {}
    assert host.clocks[eth0].read().at.ns() == NOW_NS + 37 * 1_000_000_000

    card.vanish()
    assert "vanished" in (host.check_foreign() or "")
    assert list(host.missing) == [eth0]
    assert host.clocks[eth0].epoch == 0
    assert host.retry_missing() == []

    machine.plug("enp1s0", NOW_NS).failing = OSError(errno.EACCES, "Permission denied")
    assert host.retry_missing() == []
    assert "Permission denied" in host.missing[eth0], "it is back, and why it is not used is told"

    machine.plug("enp1s0", NOW_NS)
    assert host.retry_missing() == [eth0]
    assert host.missing == {}
    assert host.clocks[eth0].epoch == 1
    assert "back" in (host.check_foreign() or "")
