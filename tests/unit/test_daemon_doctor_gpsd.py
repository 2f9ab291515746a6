"""The doctor on gpsd: conversations over real sockets with the lines of the manual gpsd_json(5)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from doctor_support import by_id, case, machine, write

from timesync.config.address import HostPort
from timesync.config.device import Gpsd
from timesync.daemon.doctor import gpsd
from timesync.daemon.doctor.check import Cause, Finding, State

VERSION = '{"class":"VERSION","release":"3.25","rev":"3.25","proto_major":3,"proto_minor":15}'
DEVICES = (
    '{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyAMA0","driver":"u-blox",'
    '"activated":"2026-11-21T08:00:00.000Z"}]}'
)
NONE = '{"class":"DEVICES","devices":[]}'
TPV = '{"class":"TPV","device":"/dev/ttyAMA0","mode":3,"time":"2026-11-21T08:00:01.000Z","leapseconds":18}'
NO_FIX = '{"class":"TPV","device":"/dev/ttyAMA0","mode":1}'
SKY = '{"class":"SKY","device":"/dev/ttyAMA0","nSat":12,"uSat":9}'
_TIMES = '"device":"/dev/ttyAMA0","real_sec":1795248001,"real_nsec":0,"clock_sec":1795248001'
TOFF = f'{{"class":"TOFF",{_TIMES},"clock_nsec":130000000}}'
LATE = f'{{"class":"TOFF",{_TIMES},"clock_nsec":480000000}}'
PPS = f'{{"class":"PPS",{_TIMES},"clock_nsec":120,"precision":-20}}'


@contextlib.contextmanager
def _server(*lines: str) -> Iterator[int]:
    """Says these lines to one client, the first at once and the others once it is asked; then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.sendall(f"{lines[0]}\r\n".encode())
                if len(lines) > 1:
                    assert b"?WATCH=" in link.recv(200)
                    link.sendall("".join(f"{line}\r\n" for line in lines[1:]).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _heard(*lines: str, device: str | None = None) -> dict[str, Finding]:
    with _server(*lines) as port:
        told = gpsd.talk("127.0.0.1", port, device, 3.0)
        return by_id(gpsd.judge(Gpsd(HostPort("127.0.0.1", port), device), told))


def test_a_gpsd_with_everything() -> None:
    found = _heard(VERSION, DEVICES, TPV, SKY, TOFF, PPS, "{garbled")
    assert {State.OK} == {finding.state for finding in found.values()}, found
    assert "/dev/ttyAMA0 (u-blox)" == found["TS-GPD-003"].evidence
    assert "TPV mode 3, 9 satellites used" == found["TS-GPD-006"].evidence
    assert "1 TOFF, 1 PPS" == found["TS-GPD-005"].evidence
    assert "130 ms after its second" in found["TS-GPD-007"].evidence


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        told = gpsd.talk("127.0.0.1", port, None, 1.0)
    found = by_id(gpsd.judge(Gpsd(HostPort("127.0.0.1", port)), told))["TS-GPD-001"]
    assert State.FAIL is found.state
    assert "ECONNREFUSED" in found.evidence
    assert "systemctl enable --now gpsd.socket" in found.remedy


def test_something_else_listens() -> None:
    found = _heard("SSH-2.0-OpenSSH_9.2")["TS-GPD-001"]
    assert (State.FAIL, True) == (found.state, "not gpsd" in found.meaning)


@pytest.mark.parametrize(
    ("release", "major", "state"),
    [
        ("3.25", 3, State.OK),
        ("3.19", 3, State.OK),
        ("3.21", 3, State.WARN),
        ("3.22", 3, State.OK),
        ("2.95", 2, State.FAIL),
    ],
)
def test_releases_with_faults(release: str, major: int, state: State) -> None:
    line = VERSION.replace('"3.25","rev"', f'"{release}","rev"').replace('"proto_major":3', f'"proto_major":{major}')
    assert state is _heard(line, DEVICES, TPV)["TS-GPD-002"].state


def test_receivers_that_are_missing_or_too_many() -> None:
    missing = _heard(VERSION, NONE)["TS-GPD-003"]
    assert (State.FAIL, Cause.MISSING) == (missing.state, missing.cause)
    other = _heard(VERSION, DEVICES, device="/dev/ttyUSB0")["TS-GPD-003"]
    assert State.FAIL is other.state
    assert "/dev/ttyAMA0" in other.remedy
    two = DEVICES.replace("]}", ',{"class":"DEVICE","path":"/dev/ttyACM0"}]}')
    assert State.WARN is _heard(VERSION, two, TPV)["TS-GPD-003"].state


def test_reports_that_do_not_come_or_are_of_no_fix() -> None:
    silent = _heard(VERSION, DEVICES)
    assert State.FAIL is silent["TS-GPD-004"].state
    assert "TS-GPD-006" not in silent
    blind = _heard(VERSION, DEVICES, NO_FIX)
    assert (State.OK, State.WARN) == (blind["TS-GPD-004"].state, blind["TS-GPD-006"].state)
    assert State.WARN is blind["TS-GPD-005"].state


def test_messages_half_a_second_late() -> None:
    assert State.WARN is _heard(VERSION, DEVICES, TPV, LATE)["TS-GPD-007"].state


def test_the_port_behind_a_local_gpsd_is_found_in_its_settings(tmp_path: Path) -> None:
    asked = case(machine(tmp_path), "sources: [{gpsd: localhost}]\n")
    local, far = Gpsd(HostPort("localhost", 2947)), Gpsd(HostPort("gps.example.org", 2947))
    assert gpsd.local_device(asked, local) is None
    write(tmp_path, "etc/default/gpsd", 'DEVICES="/dev/pps0 /dev/ttyS4"\nGPSD_OPTIONS="-n"\n')
    assert "/dev/ttyS4" == gpsd.local_device(asked, local)
    assert gpsd.local_device(asked, far) is None
    assert "/dev/ttyUSB3" == gpsd.local_device(asked, Gpsd(HostPort("127.0.0.1", 2947), "/dev/ttyUSB3"))
