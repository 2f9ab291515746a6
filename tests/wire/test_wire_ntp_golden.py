"""NTP packets laid out by hand from RFC 5905, figure 8, and RFC 7822, figure 1; scapy as a second opinion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.ntp import MAX_PACKET, Extension, Mac, Mode, NtpPacket, decode, encode

REQUEST = bytes.fromhex(
    "23"  # LI 0, VN 4, mode 3: 00 100 011
    "00 06 20"  # stratum, poll 2^6 s, precision 32
    "00000000 00000000 00000000"  # root delay, root dispersion, reference id
    "0000000000000000 0000000000000000 0000000000000000"  # reference, origin, receive
    "0123456789abcdef"  # transmit
)

ANSWER = bytes.fromhex(
    "64"  # LI 1, VN 4, mode 4: 01 100 100
    "02 fc e7"  # stratum 2, poll -4, precision -25
    "00018000"  # root delay 1.5 s
    "00000041"  # root dispersion 65/65536 s
    "c0000201"  # 192.0.2.1
    "ec11d70080000000"  # reference
    "0123456789abcdef"  # origin
    "ec11d700ffffffff"  # receive
    "ec11d70100000000"  # transmit
    "0104 0028"  # extension field: unique identifier, 40 octets with these four
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
    "0000002a"  # key id 42
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"  # 16 octets of MD5 or CMAC
)

ANSWER_PACKET = NtpPacket(
    leap=Leap.INSERT,
    version=4,
    mode=Mode.SERVER,
    stratum=2,
    poll=-4,
    precision=-25,
    root_delay=0x18000,
    root_dispersion=65,
    reference_id=bytes([192, 0, 2, 1]),
    reference=0xEC11D700_80000000,
    origin=0x0123456789ABCDEF,
    receive=0xEC11D700_FFFFFFFF,
    transmit=0xEC11D701_00000000,
    extensions=(Extension(0x0104, bytes(range(36))),),
    mac=Mac(42, bytes(range(0xF0, 0x100))),
)


def test_a_request() -> None:
    expected = NtpPacket(mode=Mode.CLIENT, poll=6, precision=32, transmit=0x0123456789ABCDEF)
    assert expected == decode(REQUEST)
    assert REQUEST == encode(expected)


def test_an_answer_with_extension_field_and_mac() -> None:
    assert ANSWER_PACKET == decode(ANSWER)
    assert ANSWER == encode(ANSWER_PACKET)


def test_a_kiss_of_death_as_rfc_5905_7_4_describes_it() -> None:
    data = bytes.fromhex("e4 00 06 e8") + bytes(8) + b"RATE" + bytes(32)
    packet = decode(data)
    assert (Leap.UNKNOWN, 0, b"RATE", Mode.SERVER) == (
        packet.leap,
        packet.stratum,
        packet.reference_id,
        packet.mode,
    )
    assert data == encode(packet)


# -- any packet

uint64 = st.integers(0, 2**64 - 1)
uint32 = st.integers(0, 2**32 - 1)
int8 = st.integers(-128, 127)


@st.composite
def packets(draw: st.DrawFn) -> NtpPacket:
    version = draw(st.integers(1, 4))
    sizes = [0, 16, 20] if version == 4 else [0, 16, 20, 32, 48, 64]
    digests = st.sampled_from(sizes).flatmap(lambda size: st.binary(min_size=size, max_size=size))
    macs = st.builds(Mac, uint32, digests)
    mac = draw(st.none() | macs)
    # What follows a field: RFC 7822 wants 28 octets of a last field without a MAC, else 16.
    after = 0 if mac is None else 4 + len(mac.digest)
    lengths = draw(st.lists(st.integers(4, 40), max_size=16)) if version == 4 else []
    fields = []
    for index, words in enumerate(lengths):
        last = index == len(lengths) - 1
        length = max(4 * words, 28 if last and after < 16 else 16)
        body = draw(st.binary(min_size=length - 4, max_size=length - 4))
        fields.append(Extension(draw(st.integers(0, 65_535)), body))
    while sum(len(field.body) + 4 for field in fields) + 48 + after > MAX_PACKET:
        fields.pop(0)
    return NtpPacket(
        leap=draw(st.sampled_from(Leap)),
        version=version,
        mode=draw(st.sampled_from(Mode)),
        stratum=draw(st.integers(0, 255)),
        poll=draw(int8),
        precision=draw(int8),
        root_delay=draw(uint32),
        root_dispersion=draw(uint32),
        reference_id=draw(st.binary(min_size=4, max_size=4)),
        reference=draw(uint64),
        origin=draw(uint64),
        receive=draw(uint64),
        transmit=draw(uint64),
        extensions=tuple(fields),
        mac=mac,
    )


@given(packets())
def test_what_is_encoded_is_decoded(packet: NtpPacket) -> None:
    assert packet == decode(encode(packet))


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Octets that often are a packet: a header, then fields of honest and of lying lengths."""
    data = draw(st.binary(min_size=48, max_size=48))
    for _ in range(draw(st.integers(0, 4))):
        body = draw(st.binary(min_size=0, max_size=40).filter(lambda b: len(b) % 4 == 0))
        length = draw(st.sampled_from([len(body) + 4, len(body) + 4, len(body), 0, 28]))
        data += draw(st.binary(min_size=2, max_size=2)) + length.to_bytes(2, "big") + body
    return data + draw(st.sampled_from([b"", bytes(4), bytes(range(20)), bytes(range(24)), bytes(range(36))]))


@given(datagrams() | st.binary(max_size=200))
def test_what_is_decoded_is_encoded_to_the_same_octets(data: bytes) -> None:
    try:
        packet = decode(data)
    except WireError:
        return
    assert data == encode(packet)


# -- scapy

scapy_ntp: Any = pytest.importorskip("scapy.layers.ntp", reason="scapy, the second opinion, is not installed")


NAMES = ["leap", "version", "mode", "stratum", "poll", "precision", "delay", "dispersion"]
NAMES += ["ref", "orig", "recv", "sent"]


def scapy_fields(header: Any) -> tuple[Any, ...]:
    """Raw field values, timestamps and fixed points as the integers that they are on the wire."""
    return tuple(header.getfieldval(name) for name in NAMES)


def our_fields(packet: NtpPacket) -> tuple[Any, ...]:
    return (
        packet.leap.value,
        packet.version,
        packet.mode.value,
        packet.stratum,
        packet.poll,
        packet.precision,
        packet.root_delay,
        packet.root_dispersion,
        packet.reference,
        packet.origin,
        packet.receive,
        packet.transmit,
    )


headers = packets().map(lambda packet: replace(packet, version=4, extensions=(), mac=None))


@given(headers)
def test_scapy_reads_what_we_encode(packet: NtpPacket) -> None:
    assert scapy_fields(scapy_ntp.NTPHeader(encode(packet))) == our_fields(packet)


@given(headers)
def test_we_read_what_scapy_builds(packet: NtpPacket) -> None:
    built = scapy_ntp.NTPHeader()
    # Not through the constructor, which takes seconds and would convert.
    built.fields.update(zip(NAMES, our_fields(packet), strict=True))
    assert our_fields(packet) == our_fields(decode(bytes(built)[:48]))


def test_scapy_finds_the_same_mac_and_reference_id() -> None:
    mac = Mac(42, bytes(range(0xF0, 0x100)))
    theirs = scapy_ntp.NTPHeader(encode(replace(ANSWER_PACKET, extensions=(), mac=mac)))
    assert "192.0.2.1" == theirs.id
    authenticator = theirs.getlayer(scapy_ntp.NTPAuthenticator)
    assert 42 == authenticator.key_id
    assert mac.digest == bytes(authenticator.dgst)
