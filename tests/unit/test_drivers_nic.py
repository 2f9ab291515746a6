"""Setting what a network card stamps, against a driver that is made up; and the way to an address, from the kernel."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import subprocess
import sys

import pytest

from timesync_drivers import nic
from timesync_drivers.nic import Claim, Setting, Stamping, stamping, widened
from timesync_drivers.route import parse_route, route_interface

# linux/net_tstamp.h
OFF, ON, ONESTEP_SYNC = 0, 1, 2
NONE, ALL, PTP_V2_EVENT, NTP_ALL = 0, 1, 12, 15
EVERYTHING = Stamping(0x7F, 0, 1 << OFF | 1 << ON, 1 << NONE | 1 << ALL | 1 << PTP_V2_EVENT | 1 << NTP_ALL)
NO_ALL = Stamping(0x7F, 0, 1 << OFF | 1 << ON, 1 << NONE | 1 << PTP_V2_EVENT | 1 << NTP_ALL)


@pytest.mark.parametrize(
    ("present", "able", "expected"),
    [
        (None, EVERYTHING, Setting(0, ON, ALL)),
        (None, NO_ALL, Setting(0, ON, NTP_ALL)),
        (Setting(0, OFF, NONE), EVERYTHING, Setting(0, ON, ALL)),
        (Setting(0, OFF, NONE), NO_ALL, Setting(0, ON, NTP_ALL)),
        (Setting(1, OFF, NONE), EVERYTHING, Setting(1, ON, ALL)),
        (Setting(0, ON, ALL), NO_ALL, Setting(0, ON, ALL)),
        (Setting(0, ON, NTP_ALL), EVERYTHING, Setting(0, ON, NTP_ALL)),
        (Setting(0, OFF, NTP_ALL), EVERYTHING, Setting(0, ON, NTP_ALL)),
        (Setting(0, ON, PTP_V2_EVENT), EVERYTHING, Setting(0, ON, ALL)),
        (Setting(0, ONESTEP_SYNC, PTP_V2_EVENT), EVERYTHING, Setting(0, ONESTEP_SYNC, ALL)),
    ],
)
def test_a_setting_is_widened_and_never_narrowed(present: Setting | None, able: Stamping, expected: Setting) -> None:
    assert expected == widened(present, able)


def test_a_filter_that_another_program_needs_is_not_taken_away() -> None:
    with pytest.raises(OSError, match="another program has the card stamp PTP packets only") as caught:
        widened(Setting(0, ON, PTP_V2_EVENT), NO_ALL)
    assert caught.value.errno == errno.EBUSY


class Driver:
    """A card that remembers what was asked of it; ``takes`` is what it makes of a setting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, present: Setting | None) -> None:
        self.present = present
        self.silent = present is None
        self.asked: list[Setting] = []
        self.takes: Setting | None = None
        monkeypatch.setattr(nic, "setting", lambda _: None if self.silent else self.present)
        monkeypatch.setattr(nic, "change", self._change)

    def _change(self, interface: str, wanted: Setting) -> Setting:
        assert interface == "eth0"
        self.asked.append(wanted)
        self.present = self.takes or wanted
        return self.present


def test_a_claim_is_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Setting(0, OFF, PTP_V2_EVENT)
    driver = Driver(monkeypatch, before)
    claim = Claim("eth0", EVERYTHING)
    assert driver.present == Setting(0, ON, ALL)
    assert not claim.renew()
    claim.release()
    assert [Setting(0, ON, ALL), before] == driver.asked


def test_what_suffices_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, ON, ALL))
    Claim("eth0", EVERYTHING).release()
    assert driver.asked == []


def test_what_somebody_has_set_since_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    claim = Claim("eth0", EVERYTHING)
    driver.present = Setting(0, ONESTEP_SYNC, ALL)
    claim.release()
    assert driver.present == Setting(0, ONESTEP_SYNC, ALL)


def test_a_filter_that_somebody_narrows_is_widened_again_and_theirs_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    claim = Claim("eth0", EVERYTHING)
    theirs = driver.present = Setting(0, ON, PTP_V2_EVENT)
    assert claim.renew()
    assert driver.present == Setting(0, ON, ALL)
    assert not claim.renew()
    claim.release()
    assert driver.present == theirs


def test_a_driver_that_widens_by_itself_is_fine_and_one_that_does_otherwise_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    driver.takes = Setting(0, ON, ALL)
    Claim("eth0", NO_ALL)
    assert [Setting(0, ON, NTP_ALL)] == driver.asked

    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    driver.takes = Setting(0, ON, PTP_V2_EVENT)
    with pytest.raises(OSError, match="asked for filter 1, took 12"):
        Claim("eth0", EVERYTHING)
    assert driver.asked[-1] == Setting(0, OFF, NONE), "and it is put back"


def test_a_driver_that_tells_nothing_is_only_ever_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, None)
    claim = Claim("eth0", EVERYTHING)
    assert not claim.renew()
    claim.release()
    assert [Setting(0, ON, ALL)] == driver.asked


def test_loopback_has_kernel_stamps_only() -> None:
    able = stamping("lo")
    assert (None, False, False) == (able.phc, able.hardware, able.any_packet)
    with pytest.raises(OSError, match="No such device"):
        stamping("nosuch0")
    with pytest.raises(OSError, match="no interface can be called"):
        stamping("a" * 16)


# --- routes


def test_the_way_to_ourselves_is_loopback() -> None:
    lo = socket.if_nametoindex("lo")
    assert [lo, lo, 7] == [route_interface("127.0.0.1"), route_interface("::1"), route_interface("fe80::1", 7)]


def _answer(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def test_the_interface_is_found_among_the_other_attributes() -> None:
    attributes = _attribute(15, b"\xfe\0\0\0") + _attribute(1, bytes(5)) + _attribute(4, b"\x09\0\0\0")
    assert parse_route(_answer(24, bytes(12) + attributes)) == 9


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_answer(2, struct.pack("=i", -errno.ENETUNREACH)), errno.ENETUNREACH),
        (_answer(24, bytes(12)), errno.EPROTO),
        (_answer(24, bytes(12) + _attribute(4, b"\x09\0")), errno.EPROTO),
        (_answer(24, bytes(12) + struct.pack("=HH", 0, 4) + b"\x09\0\0\0"), errno.EPROTO),
        (_answer(3, bytes(12) + _attribute(4, b"\x09\0\0\0")), errno.EPROTO),
        (b"", errno.EPROTO),
    ],
)
def test_other_answers_are_errors(data: bytes, code: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the code says which
        parse_route(data)
    assert caught.value.errno == code


_SCRIPT = """
set -e
ip link set lo up
for n in 0 1; do
  ip link add t$n type veth peer name u$n
  ip address add 198.51.100.$((n * 128 + 1))/25 dev t$n
  ip link set t$n up; ip link set u$n up
done
ip rule add to 203.0.113.0/24 table 77
ip route add default via 198.51.100.2 dev t0
ip route add default via 198.51.100.130 dev t1 table 77
exec "$0" -c "
import socket
from timesync_drivers.route import route_interface as way
from timesync_drivers.nic import Claim, stamping
print(*(socket.if_indextoname(way(a)) for a in ('198.51.100.9', '198.51.100.200', '192.0.2.1', '203.0.113.1')))
try:
    way('2001:db8::1')
except OSError as error:
    print(error.errno)
able = stamping('t0')
print(able.phc, able.hardware)
try:
    Claim('t0', able)
except OSError as error:
    print(error.errno)
"
"""


def _namespaces_missing() -> str | None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "making a network namespace needs root and the program ip"
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return None if probe.returncode == 0 else "this machine does not let us make a network namespace"


def test_the_kernels_own_choice_counts_and_a_veth_has_nothing_to_stamp_with() -> None:
    why = _namespaces_missing()
    if why is not None:
        pytest.skip(why)
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", _SCRIPT, sys.executable],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert done.stdout.splitlines() == [
        "t0 t1 t0 t1",
        str(errno.ENETUNREACH),
        "None False",
        str(errno.EOPNOTSUPP),
    ]
