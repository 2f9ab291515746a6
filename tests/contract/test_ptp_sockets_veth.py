"""What the sockets of PTP put on the wire and take from it, as a bystander with a raw socket sees it."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ptp_benches import CLOCK, INTERFACE, Recorder, VethBench, sync, veth_bench, veth_missing

from timesync.transport import PtpPortSpec

ETH_P_ALL = 3
FOLLOW_UP = 8
SOURCE = bytes.fromhex("021122334455")
PTP_GROUP, PEER_GROUP = bytes.fromhex("011b19000000"), bytes.fromhex("0180c200000e")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[VethBench]:
    reason = veth_missing()
    if reason is not None:
        pytest.skip(reason)
    with veth_bench(tmp_path / "state") as made:
        yield made


def spec(transport: str, **more: Any) -> PtpPortSpec:
    return PtpPortSpec(interface=INTERFACE, transport=transport, clock=CLOCK, **more)  # type: ignore[arg-type]


def raw(bench: VethBench) -> socket.socket:
    """Everything that passes at ``b``, frame by frame."""
    with bench.inside("b"):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((f"{INTERFACE}b", ETH_P_ALL))
    tap.settimeout(5)
    return tap


def frames(tap: socket.socket, sender: bytes, count: int) -> list[bytes]:
    """The next frames with PTP in them from that address."""
    found: list[bytes] = []
    while len(found) < count:
        frame = tap.recv(2048)
        is_udp = frame[12:14] == b"\x08\x00" and frame[23] == 17
        is_udp6 = frame[12:14] == b"\x86\xdd" and frame[20] == 17
        if frame[6:12] == sender and (is_udp or is_udp6 or frame[12:14] == b"\x88\xf7"):
            found.append(frame)
    return found


async def up(heard: Recorder) -> None:
    await heard.until(lambda: bool(heard.links) and heard.links[-1])


def test_ethernet_frames(bench: VethBench) -> None:
    """IEEE 1588-2019, annex E: EtherType 88F7 and the two group addresses, and one's own as the sender."""

    async def main() -> None:
        heard = Recorder()
        with closing(raw(bench)) as tap, closing(bench.open("a", heard, spec("l2"))) as port:
            await up(heard)
            port.send_event(sync(1), 1)
            port.send_event(sync(2, kind=2), 2, peer=True)
            port.send_general(sync(3, kind=FOLLOW_UP), destination="02-11-22-33-44-55")
            found = frames(tap, port.mac, 3)
        heads = [PTP_GROUP, PEER_GROUP, SOURCE]
        messages = [sync(1), sync(2, kind=2), sync(3, kind=FOLLOW_UP)]
        expected = [head + port.mac + b"\x88\xf7" + data for head, data in zip(heads, messages, strict=True)]
        assert expected == found

    bench.run(main())


def test_gptp_sends_all_to_the_address_that_no_bridge_forwards(bench: VethBench) -> None:
    """IEEE 802.1AS-2020, 11.3.4."""

    async def main() -> None:
        heard = Recorder()
        with closing(raw(bench)) as tap, closing(bench.open("a", heard, spec("l2", gptp=True))) as port:
            await up(heard)
            port.send_event(sync(1, sdo_id=0x100), 1)
            port.send_event(sync(2, kind=2, sdo_id=0x100), 2, peer=True)
            found = frames(tap, port.mac, 2)
        assert [PEER_GROUP, PEER_GROUP] == [frame[:6] for frame in found]

    bench.run(main())


def test_udp_over_ipv4(bench: VethBench) -> None:
    """IEEE 1588-2019, annex C: groups and ports; peer delay never passes a router."""

    async def main() -> None:
        heard = Recorder()
        wanted = spec("udp4", hop_limit=5, dscp=46)
        with closing(raw(bench)) as tap, closing(bench.open("a", heard, wanted)) as port:
            await up(heard)
            port.send_event(sync(1), 1)
            port.send_event(sync(2, kind=2), 2, peer=True)
            port.send_general(sync(3, kind=FOLLOW_UP))
            found = frames(tap, port.mac, 3)
        seen = [
            (
                socket.inet_ntoa(frame[30:34]),
                int.from_bytes(frame[36:38], "big"),
                frame[22],
                frame[15] >> 2,
                frame[42:],
            )
            for frame in found
        ]
        expected = [
            ("224.0.1.129", 319, 5, 46, sync(1)),
            ("224.0.0.107", 319, 1, 46, sync(2, kind=2)),
            ("224.0.1.129", 320, 5, 46, sync(3, kind=FOLLOW_UP)),
        ]
        assert expected == seen

    bench.run(main())


def test_udp_over_ipv6(bench: VethBench) -> None:
    """IEEE 1588-2019, annex D: groups, ports, and two octets behind each message."""

    async def main() -> None:
        heard = Recorder()
        wanted = spec("udp6", hop_limit=5, dscp=46, ipv6_scope=5)
        with closing(raw(bench)) as tap, closing(bench.open("a", heard, wanted)) as port:
            await up(heard)
            port.send_event(sync(1), 1)
            port.send_event(sync(2, kind=2), 2, peer=True)
            port.send_general(sync(3, kind=FOLLOW_UP))
            found = frames(tap, port.mac, 3)
        seen = []
        for frame in found:
            (first,) = struct.unpack_from(">I", frame, 14)
            group = socket.inet_ntop(socket.AF_INET6, frame[38:54])
            seen.append((group, int.from_bytes(frame[56:58], "big"), frame[21], first >> 22 & 0x3F, frame[62:]))
        expected = [
            ("ff05::181", 319, 5, 46, sync(1) + bytes(2)),
            ("ff02::6b", 319, 1, 46, sync(2, kind=2) + bytes(2)),
            ("ff05::181", 320, 5, 46, sync(3, kind=FOLLOW_UP) + bytes(2)),
        ]
        assert expected == seen

    bench.run(main())


def test_which_ethernet_frames_are_heard(bench: VethBench) -> None:
    """Priority-tagged ones too (C37.238); not those of another VLAN, nor what another machine is meant to get."""

    async def main() -> None:
        heard = Recorder()
        with closing(raw(bench)) as tap, closing(bench.open("a", heard, spec("l2"))) as port:
            await up(heard)
            bench.ip("a", "link", "set", f"{INTERFACE}a", "promisc", "on")
            bench.ip("a", "link", "set", f"{INTERFACE}a", "up")
            peer = bytes.fromhex(bench.address("b", "l2").replace(":", ""))
            tagged, another = bytes.fromhex("81008000"), bytes.fromhex("81008005")
            sent = [
                PTP_GROUP + SOURCE + another + b"\x88\xf7" + sync(1),
                SOURCE + peer + b"\x88\xf7" + sync(2),
                PTP_GROUP + port.mac + b"\x88\xf7" + sync(3),
                PTP_GROUP + SOURCE + b"\x08\x00" + sync(4),
                PTP_GROUP + SOURCE + tagged + b"\x88\xf7" + sync(5),
                port.mac + SOURCE + b"\x88\xf7" + sync(6),
                (PEER_GROUP + SOURCE + b"\x88\xf7" + sync(7)).ljust(60, b"\0"),
            ]
            for frame in sent:
                tap.send(frame)
            await heard.until(lambda: len(heard.messages) >= 3)
            assert [sync(5), sync(6), sync(7)] == heard.data()
            assert {"02:11:22:33:44:55"} == {source for _, _, source in heard.messages}

            # General messages come by a socket of their own, which sees the same.
            heard.messages.clear()
            for at, frame in enumerate(sent):
                tap.send(frame.replace(sync(at + 1), sync(at + 1, kind=FOLLOW_UP)))
            await heard.until(lambda: len(heard.messages) >= 3)
            assert [sync(number, kind=FOLLOW_UP) for number in (5, 6, 7)] == heard.data()

    bench.run(main())


def test_a_new_mac_address_is_used_and_told(bench: VethBench) -> None:
    async def main() -> None:
        heard = Recorder()
        with closing(bench.open("a", heard, spec("l2"))) as port:
            await up(heard)
            bench.ip("a", "link", "set", f"{INTERFACE}a", "address", SOURCE.hex(":"))
            # Told behind the change of the address, and so a sign that that was heard too.
            bench.ip("b", "link", "set", f"{INTERFACE}b", "down")
            await heard.until(lambda: not heard.links[-1])
            bench.ip("b", "link", "set", f"{INTERFACE}b", "up")
            await up(heard)
            assert port.mac == SOURCE
            with closing(raw(bench)) as tap:
                port.send_general(sync(1, kind=FOLLOW_UP))
                assert sync(1, kind=FOLLOW_UP) == frames(tap, SOURCE, 1)[0][14:]

    bench.run(main())


@pytest.mark.parametrize("reorder", ["on", "off"])
def test_a_vlan_is_an_interface_of_its_own(bench: VethBench, reorder: str) -> None:
    """Also with its header as it came, which some set for bridges: the tag is then inside the frame."""
    made = ["link", "add", "link", f"{INTERFACE}a", "name", "vlan5", "type", "vlan", "id", "5", "reorder_hdr", reorder]
    try:
        bench.ip("a", *made)
    except subprocess.CalledProcessError:
        pytest.skip("this kernel has no VLANs")

    async def main() -> None:
        bench.ip("a", "link", "set", "vlan5", "up")
        heard, below = Recorder(), Recorder()
        wanted = PtpPortSpec(interface="vlan5", transport="l2", clock=CLOCK)
        with (
            closing(raw(bench)) as tap,
            closing(bench.open("a", heard, wanted)),
            closing(bench.open("a", below, spec("l2"))),
        ):
            await up(heard)
            await up(below)
            for number in (1, 2):
                tap.send(PTP_GROUP + SOURCE + bytes.fromhex("81008005") + b"\x88\xf7" + sync(number, kind=FOLLOW_UP))
            tap.send(PTP_GROUP + SOURCE + b"\x88\xf7" + sync(3, kind=FOLLOW_UP))
            await heard.until(lambda: len(heard.messages) == 2)
            await below.until(lambda: bool(below.messages))
            assert [sync(1, kind=FOLLOW_UP), sync(2, kind=FOLLOW_UP)] == heard.data()
            assert [sync(3, kind=FOLLOW_UP)] == below.data()

    bench.run(main())


def test_why_stamps_are_not_those_of_the_card_is_told(bench: VethBench) -> None:
    async def main() -> None:
        with closing(bench.open("a", Recorder(), spec("udp4", timestamping="auto"))) as port:
            assert port.software_because == f"the interface {INTERFACE}a has no hardware timestamps"

    bench.run(main())


def test_what_cannot_be_sent_is_counted(bench: VethBench) -> None:
    async def main() -> None:
        heard = Recorder()
        with closing(bench.open("a", heard, spec("udp4"))) as port:
            await up(heard)
            port.send_general(sync(1, kind=FOLLOW_UP), destination="fe80::1")
            port.send_event(sync(1), 1, destination="nobody")
            assert port.failed == 2
            assert heard.sent == []
            await heard.until(lambda: bool(heard.sent))
            assert [(1, None)] == heard.sent

    bench.run(main())
