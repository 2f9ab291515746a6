"""What of the Linux host the contract suite does not cover."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest
from linux_support import TABLE

from timesync.base.ids import ClockId, Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.daemon.linux import LinuxHost, SystemSpec, VirtualSpec, _endpoint
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


def test_addresses_of_other_families_are_left_out() -> None:
    assert _endpoint(socket.AF_UNIX, (1, b"x")) is None
    assert _endpoint(socket.AF_INET6, ("fe80::1%3", 123, 0, 3)) == Endpoint("fe80::1", 123, 3)
