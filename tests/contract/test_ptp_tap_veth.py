"""What the listener of ``ptp nodes`` takes from a real interface, and what it leaves alone."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from ptp_benches import INTERFACE, VethBench, sync, veth_bench, veth_missing

from timesync.cli.main import cli
from timesync_drivers import abi
from timesync_drivers.ptp_tap import Packet, PtpTap, parse

SENDER = bytes.fromhex("021122334455")
PTP_GROUP = bytes.fromhex("011b19000000")
IPV4_GROUP, IPV6_GROUP = bytes.fromhex("01005e000181"), bytes.fromhex("333300000181")
MESSAGE = sync(1)
VLAN_100, PRIORITY = bytes.fromhex("81008064"), bytes.fromhex("81008000")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[VethBench]:
    reason = veth_missing()
    if reason is not None:
        pytest.skip(reason)
    with veth_bench(tmp_path / "state") as made:
        yield made


def udp(port: int, data: bytes = MESSAGE) -> bytes:
    """RFC 768; a checksum of zero is none."""
    return struct.pack(">HHHH", 40_000, port, 8 + len(data), 0) + data


def ipv4(payload: bytes, *, options: bytes = b"", fragment: int = 0, protocol: int = 17) -> bytes:
    """RFC 791, 3.1."""
    words = 5 + len(options) // 4
    length = 4 * words + len(payload)
    addresses = socket.inet_aton("192.0.2.9") + socket.inet_aton("224.0.1.129")
    head = struct.pack(">BBHHHBBH", 4 << 4 | words, 0, length, 7, fragment, 1, protocol, 0)
    return b"\x08\x00" + head + addresses + options + payload


def ipv6(payload: bytes, following: int = 17) -> bytes:
    """RFC 8200, 3."""
    addresses = (socket.inet_pton(socket.AF_INET6, one) for one in ("fe80::9", "ff0e::181"))
    return b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(payload), following, 1) + b"".join(addresses) + payload


def ethernet(rest: bytes, group: bytes = PTP_GROUP, tag: bytes = b"") -> bytes:
    return group + SENDER + tag + rest


PTP_FRAME = ethernet(b"\x88\xf7" + MESSAGE)
HEARD: list[tuple[str, bytes, tuple[str, str, int | None, int | None]]] = [
    ("Ethernet", PTP_FRAME, ("l2", "02:11:22:33:44:55", None, None)),
    ("a VLAN", ethernet(b"\x88\xf7" + MESSAGE, tag=VLAN_100), ("l2", "02:11:22:33:44:55", None, 100)),
    ("a tag of priority", ethernet(b"\x88\xf7" + MESSAGE, tag=PRIORITY), ("l2", "02:11:22:33:44:55", None, 0)),
    ("UDP over IPv4", ethernet(ipv4(udp(319)), IPV4_GROUP), ("udp4", "192.0.2.9", 319, None)),
    ("with IP options", ethernet(ipv4(udp(320), options=bytes(8)), IPV4_GROUP), ("udp4", "192.0.2.9", 320, None)),
    ("in a VLAN", ethernet(ipv4(udp(319)), IPV4_GROUP, VLAN_100), ("udp4", "192.0.2.9", 319, 100)),
    ("UDP over IPv6", ethernet(ipv6(udp(320)), IPV6_GROUP), ("udp6", "fe80::9", 320, None)),
    ("IPv6 in a VLAN", ethernet(ipv6(udp(319)), IPV6_GROUP, VLAN_100), ("udp6", "fe80::9", 319, 100)),
]
NOT_HEARD = [
    ethernet(ipv4(udp(123)), IPV4_GROUP),
    ethernet(ipv4(udp(319), fragment=0x0010), IPV4_GROUP),
    ethernet(ipv4(udp(319), protocol=6), IPV4_GROUP),
    ethernet(ipv6(udp(123)), IPV6_GROUP),
    ethernet(ipv6(udp(319), following=6), IPV6_GROUP),
    ethernet(b"\x88\xf5" + MESSAGE),
    ethernet(b"\x88\xf5" + MESSAGE, tag=VLAN_100),
]


@contextmanager
def sender(bench: VethBench, end: str) -> Iterator[socket.socket]:
    """Frames as they are, from one end."""
    with bench.inside(end):  # type: ignore[arg-type]  # "a" or "b"
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with closing(raw):
        raw.bind((f"{INTERFACE}{end}", 0))
        yield raw


@contextmanager
def tap_at_b(bench: VethBench) -> Iterator[PtpTap]:
    with bench.inside("b"):
        tap = PtpTap(f"{INTERFACE}b", promiscuous=False)
    with closing(tap):
        yield tap


def take(tap: PtpTap) -> Packet:
    while True:
        assert select.select([tap], [], [], 5)[0], "nothing comes"
        packet = tap.receive()
        if packet is not None:
            return packet


def accepted(tap: PtpTap) -> int:
    """How many frames the filter in the kernel has let through since the last look."""
    packed = tap._channel.getsockopt(abi.SOL_PACKET, 6, 8)
    return int(struct.unpack("=II", packed)[0])


def test_every_transport_with_and_without_a_tag(bench: VethBench) -> None:
    with tap_at_b(bench) as tap, sender(bench, "a") as raw:
        found = []
        for _, frame, _ in HEARD:
            raw.send(frame)
            found.append(take(tap))
    assert [expected for _, _, expected in HEARD] == [
        (packet.transport, packet.source, packet.port, packet.vlan) for packet in found
    ]
    assert [MESSAGE] * len(HEARD) == [packet.data[: len(MESSAGE)] for packet in found]
    assert all(packet.multicast and packet.mac == "02:11:22:33:44:55" for packet in found)


def test_the_kernel_keeps_everything_else_back(bench: VethBench) -> None:
    with tap_at_b(bench) as tap, sender(bench, "a") as raw:
        for frame in NOT_HEARD:
            raw.send(frame)
        raw.send(PTP_FRAME)
        assert take(tap).transport == "l2"
        assert accepted(tap) == 1


def test_what_this_machine_sends_is_heard(bench: VethBench) -> None:
    with tap_at_b(bench) as tap, sender(bench, "b") as raw:
        for _, frame, (_, source, port, _) in HEARD:
            raw.send(frame)
            packet = take(tap)
            assert (packet.source, packet.port) == (source, port)


def test_what_comes_too_fast_is_counted(bench: VethBench) -> None:
    with tap_at_b(bench) as tap, sender(bench, "a") as raw:
        before = tap.dropped
        for _ in range(10_000):
            raw.send(PTP_FRAME)
        while tap.receive() is not None:
            pass
        lost = tap.dropped
        assert (before, lost > 0) == (0, True)
        assert tap.dropped == lost


@pytest.mark.parametrize("frame", NOT_HEARD)
def test_the_parser_finds_nothing_either(frame: bytes) -> None:
    assert parse(frame) is None


@pytest.mark.parametrize("frame", [frame for _, frame, _ in HEARD], ids=[name for name, _, _ in HEARD])
def test_frames_that_are_cut_off_raise_nothing(frame: bytes) -> None:
    for size in range(len(frame)):
        parse(frame[:size])
    whole = parse(frame)
    assert whole is not None
    assert whole.data == MESSAGE


def test_the_command_lists_who_talks(bench: VethBench, tmp_path: Path) -> None:
    """Two Sync of the same port by different ways, every 20 ms while the command runs."""
    file = tmp_path / "timesync.yaml"
    file.write_text(f"ptp: {{domain: 5, role: timeReceiver, ports: [{{interface: {INTERFACE}b}}]}}\n")
    ended = threading.Event()
    with sender(bench, "a") as raw:

        def talk() -> None:
            number = 0
            while not ended.wait(0.02):
                number += 1
                raw.send(ethernet(b"\x88\xf7" + sync(number), tag=VLAN_100))
                raw.send(ethernet(ipv4(udp(319, sync(number))), IPV4_GROUP))

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            with bench.inside("b"):
                arguments = ["ptp", "nodes", f"{INTERFACE}b", "--seconds", "1", "-c", str(file)]
                done = CliRunner().invoke(cli, [*arguments, "--json"])
                text = CliRunner().invoke(cli, arguments)
        finally:
            ended.set()
            talker.join()
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [("l2", [100]), ("udp4", [])] == [(one["transport"], one["vlans"]) for one in found["nodes"]]
    assert {"020000.fffe.000001"} == {one["clock"] for one in found["nodes"]}
    assert ["2.1"] == found["nodes"][0]["versions"]
    assert "domain 0 is not used" in next(one["sentence"] for one in found["findings"] if one["id"] == "domain")
    assert text.exit_code == 0
    assert "020000.fffe.000001-1 timeTransmitter; domain 0, Ethernet" in text.output
    assert "02:11:22:33:44:55, VLAN 100" in text.output
    assert "two-step, but none of" in text.output


def test_an_interface_that_is_not_there(bench: VethBench) -> None:
    done = CliRunner().invoke(cli, ["ptp", "nodes", "eth77"])
    assert done.exit_code == 4
    assert '"eth77"' in done.stderr


def test_a_silent_wire_is_the_answer_no(bench: VethBench) -> None:
    with bench.inside("b"):
        done = CliRunner().invoke(cli, ["ptp", "nodes", f"{INTERFACE}b", "--seconds", "0.2"])
    assert done.exit_code == 1
    assert "nobody was heard" in done.output


def test_a_link_that_goes_down_ends_it_with_what_was_heard(bench: VethBench) -> None:
    ended = threading.Event()
    with sender(bench, "a") as raw:

        def talk() -> None:
            for _ in range(20):
                ended.wait(0.02)
                raw.send(PTP_FRAME)
            bench.cut(connected=False)

        talker = threading.Thread(target=talk)
        with bench.inside("b"):
            talker.start()
            done = CliRunner().invoke(cli, ["ptp", "nodes", f"{INTERFACE}b", "--seconds", "60", "--json"])
        talker.join()
    found = json.loads(done.output)
    assert len(found["nodes"]) == 1
    assert found["ended"] == f"{INTERFACE}b: Network is down"
    assert found["listened_s"] < 30
