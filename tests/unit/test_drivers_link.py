"""Messages of rtnetlink about links, laid out by hand (``linux/rtnetlink.h``, ``linux/if_link.h``)."""

from __future__ import annotations

import socket
import struct

import pytest

from timesync_drivers.ethernet import format_mac, parse_frame, parse_mac
from timesync_drivers.link import LinkState, LinkWatch, parse_link

UP_AND_RUNNING = 0x11043
ADDRESS = struct.pack("=HH6sxx", 10, 1, bytes.fromhex("020000000001"))
NAME = struct.pack("=HH5sxxx", 9, 3, b"eth0\0")
UNKNOWN = struct.pack("=HHI", 8, 0x8000 | 60, 7)


def body(flags: int, attributes: bytes, family: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, 1, 4, flags, 0) + attributes


def test_a_link_with_its_name_and_address() -> None:
    expected = LinkState(4, "eth0", bytes.fromhex("020000000001"), up=True)
    assert expected == parse_link(body(UP_AND_RUNNING, UNKNOWN + NAME + ADDRESS))


@pytest.mark.parametrize("flags", [0x1003, 0x1002, 0x1042, 0])
def test_a_link_is_up_when_it_is_switched_on_and_has_a_carrier(flags: int) -> None:
    found = parse_link(body(flags, NAME))
    assert found is not None
    assert not found.up


@pytest.mark.parametrize("data", [b"", bytes(15), body(UP_AND_RUNNING, NAME, family=socket.AF_BRIDGE)])
def test_what_is_not_of_a_link(data: bytes) -> None:
    assert parse_link(data) is None


def test_attributes_that_are_cut_off_are_not_read_beyond() -> None:
    assert parse_link(body(0, NAME + b"\0\0\1\0")) == LinkState(4, "eth0", b"", up=False)
    assert parse_link(body(0, b"\x0a")) == LinkState(4, "", b"", up=False)


def test_loopback_of_this_machine() -> None:
    watch = LinkWatch("lo")
    try:
        assert watch.state.name == "lo"
        assert watch.state.index == socket.if_nametoindex("lo")
        assert watch.state.mac == bytes(6)
        assert not watch.refresh()
    finally:
        watch.close()


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(OSError, match="No such device"):
        LinkWatch("nowhere0")


def test_mac_addresses() -> None:
    assert parse_mac("01:1B:19:00:00:00") == parse_mac("01-1b-19-00-00-00") == bytes.fromhex("011b19000000")
    assert format_mac(bytes.fromhex("011b19000000")) == "01:1b:19:00:00:00"
    for wrong in ("", "192.0.2.1", "01:1b:19:00:00", "01:1b:19:00:00:00:00"):
        with pytest.raises(OSError, match="not a MAC address"):
            parse_mac(wrong)


def test_frames_with_and_without_a_tag() -> None:
    head, payload = bytes.fromhex("011b19000000" + "020000000001"), b"payload"
    for tag in ("", "81008000", "88a80005"):
        frame = head + bytes.fromhex(tag) + b"\x88\xf7" + payload
        assert parse_frame(frame) == (payload, "02:00:00:00:00:01")
    for other in (head + b"\x08\x00" + payload, head + bytes.fromhex("810080000800") + payload, head):
        assert parse_frame(other) is None
