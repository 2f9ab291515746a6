"""The addresses of this machine's interfaces, against what was given to them in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from timesync_drivers.interfaces import interface_address, interface_rate, local_addresses

_GIVEN = ("198.51.100.7/24", "198.51.100.8/24", "203.0.113.9/32", "2001:db8::7/64", "2001:db8::8/64")
_SCRIPT = "\n".join(
    [
        "set -e",
        "ip link set lo up",
        *(f"ip address add {address} dev lo" for address in _GIVEN),
        "ip link add tt0 type veth peer name tt1",
        "ip address add 192.0.2.1 peer 192.0.2.2 dev tt0",
        'exec "$0" -c "from timesync_drivers.interfaces import *; print(*local_addresses())"',
    ]
)


def _namespaces_missing() -> str | None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "making a network namespace needs root and the program ip"
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return None if probe.returncode == 0 else "this machine does not let us make a network namespace"


def test_every_address_of_every_interface_is_told_and_not_the_far_end() -> None:
    """Secondary ones too, and those of a link that is down."""
    reason = _namespaces_missing()
    if reason is not None:
        pytest.skip(reason)
    command = ["unshare", "--net", "sh", "-c", _SCRIPT, sys.executable]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)

    given = {address.partition("/")[0] for address in _GIVEN}
    assert {"127.0.0.1", "::1", "192.0.2.1", *given} == set(done.stdout.split())


def test_without_netlink_loopback_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("sandboxed")

    monkeypatch.setattr(socket, "socket", refuse)
    assert ["127.0.0.1", "::1"] == local_addresses()


def test_the_address_of_one_interface() -> None:
    loopback = socket.if_nametoindex("lo")
    assert bytes((127, 0, 0, 1)) == interface_address(loopback, ipv6=False)
    assert interface_address(loopback, ipv6=True) in (b"", bytes(15) + b"\x01")
    assert b"" == interface_address(0x7FFF_FFFF, ipv6=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10000\n", 10_000_000_000), ("10\n", 10_000_000), ("-1\n", None), ("0\n", None), ("", None), ("fast\n", None)],
)
def test_the_rate_of_an_interface_is_what_sysfs_says_in_megabits(
    tmp_path: Path, text: str, expected: int | None
) -> None:
    """Documentation/ABI/testing/sysfs-class-net: -1 where it is not known."""
    (tmp_path / "eth0").mkdir()
    (tmp_path / "eth0/speed").write_text(text)

    assert expected == interface_rate("eth0", tmp_path)
    assert interface_rate("eth1", tmp_path) is None
