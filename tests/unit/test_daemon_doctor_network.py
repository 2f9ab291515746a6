"""The doctor on the network: ports in made-up trees and on this machine, servers on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cli_support import server as trial_server
from doctor_support import by_id, case, machine, process, write

from timesync.config.address import HostPort, parse_host_port
from timesync.daemon.doctor import network
from timesync.daemon.doctor.case import Running
from timesync.daemon.doctor.check import Cause, Finding, State
from timesync.daemon.doctor.machine import Machine
from timesync_drivers.access import User

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAKEN = "  1: 00000000:007B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n"
SERVE = "sources: [{ntp: 192.0.2.1}]\nserve: {ntp: {listen: [LISTEN]}}\n"


def _port(made: Machine, listen: str, running: Running | None = None) -> Finding:
    return by_id(network.ports(case(made, SERVE.replace("LISTEN", f"'{listen}'"), running)))["TS-NET-001"]


def test_a_port_that_another_server_has(tmp_path: Path) -> None:
    made = machine(tmp_path)
    write(tmp_path, "proc/net/udp", HEADER + TAKEN)
    process(tmp_path, 55, "chronyd", opened="socket:[4711]")
    found = _port(made, "127.0.0.1:123")  # the wildcard takes it as well
    assert State.FAIL is found.state
    assert "chronyd (process 55) listens on 0.0.0.0 port 123" == found.evidence
    assert "sudo systemctl disable --now chrony" == found.remedy
    assert State.OK is _port(made, "[::1]:123").state
    assert State.OK is _port(made, "127.0.0.1:1123").state


def test_the_running_daemon_may_have_the_port(tmp_path: Path) -> None:
    made = machine(tmp_path)
    write(tmp_path, "proc/net/udp", HEADER + TAKEN)
    process(tmp_path, 55, "timesync", opened="socket:[4711]")
    assert State.OK is _port(made, "0.0.0.0:123", Running(55, {}, ())).state
    assert State.FAIL is _port(made, "0.0.0.0:123").state


def test_low_ports_need_a_right(tmp_path: Path) -> None:
    made = machine(tmp_path, User("anna", 1000, 1000))
    write(tmp_path, "proc/self/status", "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n")
    found = _port(made, "127.0.0.1:123")
    assert (State.FAIL, Cause.PERMISSION) == (found.state, found.cause)
    write(tmp_path, "proc/sys/net/ipv4/ip_unprivileged_port_start", "100\n")
    assert State.OK is _port(made, "127.0.0.1:123").state


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    assert "no interface has 192.0.2.77" == _port(machine(tmp_path), "192.0.2.77:123").evidence


def test_a_port_of_this_machine_that_we_took_ourselves() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        found = _port(Machine(), f"127.0.0.1:{taken.getsockname()[1]}")
    assert State.FAIL is found.state


def _ask(tmp_path: Path, server: HostPort) -> dict[str, Finding]:
    asked = case(machine(tmp_path), "sources: [{ntp: 192.0.2.1}]\n")
    network.begin(asked, server)
    return by_id(network.examine(asked, server))


@pytest.mark.parametrize(
    ("options", "state", "said"),
    [
        ((), State.OK, "stratum 1"),
        (("--unsynchronized",), State.WARN, "refused"),
        (("--deny",), State.FAIL, "DENY"),
        (("--silent",), State.FAIL, "no answer"),
    ],
)
def test_servers_of_all_kinds(tmp_path: Path, options: tuple[str, ...], state: State, said: str) -> None:
    with trial_server(tmp_path, *options) as address:
        found = _ask(tmp_path, parse_host_port(address, 123))["TS-NET-003"]
    assert state is found.state, found
    assert said in found.evidence


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    """The top-level domain is reserved never to exist (RFC 6761, 6.4)."""
    found = _ask(tmp_path, HostPort("ntp.invalid", 123))["TS-NET-002"]
    assert State.FAIL is found.state
