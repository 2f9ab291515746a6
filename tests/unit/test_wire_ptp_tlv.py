"""TLVs laid out by hand, and what their readers refuse."""

from __future__ import annotations

import pytest

from timesync.base.ids import ClockIdentity
from timesync.base.time import Duration, Instant
from timesync.wire.csptp_tlv import CsptpRequest, CsptpResponse, CsptpStatus
from timesync.wire.error import WireError
from timesync.wire.gptp_tlv import (
    INTERVAL_INITIAL,
    FollowUpInformation,
    GptpCapable,
    GptpCapableIntervalRequest,
    IntervalFlags,
    MessageIntervalRequest,
)
from timesync.wire.ptp_message import ClockQuality, MessageType, Tlv
from timesync.wire.ptp_tlv import (
    AlternateTimeOffset,
    Authentication,
    Organization,
    Pad,
    PathTrace,
    SecurityIndicator,
    UnicastCancel,
    UnicastGrant,
    UnicastRequest,
    propagates,
)
from timesync.wire.ptp_tlv_profile import (
    DaylightSaving,
    InterfaceRate,
    PowerProfile2011,
    PowerProfile2017,
    SynchronizationMetadata,
    TimeAddressFlags,
)
from timesync.wire.ptp_tlv_read import TypedTlv, find, read

A = ClockIdentity(bytes.fromhex("001b19fffe000001"))
B = ClockIdentity(bytes.fromhex("001b19fffe000002"))

LAID_OUT: list[tuple[TypedTlv, int, str]] = [
    (PathTrace((A, B)), 0x0008, "001b19fffe000001 001b19fffe000002"),
    (Organization(0x8000, b"\x08\0\x30", 0xDEAD01, b"\1\2"), 0x8000, "080030 dead01 0102"),
    (UnicastRequest(MessageType.SYNC, -7, 300), 0x0004, "00 f9 0000012c"),
    (UnicastGrant(MessageType.ANNOUNCE, 1, 0, renewal_invited=False), 0x0005, "b0 01 00000000 00 00"),
    (UnicastCancel(MessageType.DELAY_RESP, maintain_request=True), 0x0006, "91 00"),
    (UnicastCancel(MessageType.PDELAY_RESP, maintain_grant=True, acknowledge=True), 0x0007, "32 00"),
    (
        AlternateTimeOffset(1, 3563, -3600, 0x0001_0203_0405, "CET"),
        0x0009,
        "01 00000deb fffff1f0 000102030405 03 434554",
    ),
    (AlternateTimeOffset(255, -1, 1, 0, "é!é"), 0x0009, "ff ffffffff 00000001 000000000000 05 c3a921c3a9"),
    (Authentication(7, 0x01020304, bytes(16)), 0x8009, "07 00 01020304" + "00" * 16),
    (
        Authentication(7, 1, b"\0\1" + bytes(16), SecurityIndicator.SEQUENCE_NO),
        0x8009,
        "07 02 00000001 0001" + "00" * 16,
    ),
    (Pad(4), 0x8008, "00000000"),
    (PowerProfile2011(3, 50, 0xFFFF_FFFF), 0x0003, "1c129d 000001 0003 00000032 ffffffff 0000"),
    (PowerProfile2017(254, 1000), 0x0003, "1c129d 000002 00fe 00000000 000003e8 0000"),
    (InterfaceRate(1_000_000_000, 64, 720), 0x0003, "0019a7 000002 000000003b9aca00 0040 02d0"),
    (
        SynchronizationMetadata(
            frame_rate=(30_000, 1001),
            locking_status=4,
            address_flags=TimeAddressFlags.DROP_FRAME,
            local_offset_s=-18_037,
            jump_s=3600,
            next_jump_s=0x0001_0000_0002,
            next_jam_s=3,
            previous_jam_s=4,
            previous_jam_offset_s=-5,
            daylight_saving=DaylightSaving.NEXT,
            leap_second_jump=True,
        ),
        0x0003,
        "6897e8 000001 00007530 000003e9 04 01 ffffb98b 00000e10 000100000002 000000000003 000000000004 fffffffb 02 01",
    ),
    (
        FollowUpInformation(-1, 2, Duration(-65_536), 3),
        0x0003,
        "0080c2 000001 ffffffff 0002 ffffffffffffffffffff0000 00000003",
    ),
    (
        MessageIntervalRequest(2, 0, INTERVAL_INITIAL, IntervalFlags.COMPUTE_MEAN_LINK_DELAY),
        0x0003,
        "0080c2 000002 02 00 7e 02 0000",
    ),
    (MessageIntervalRequest(), 0x0003, "0080c2 000002 80 80 80 03 0000"),
    (GptpCapable(-3), 0x8000, "0080c2 000004 fd 00 00000000"),
    (GptpCapableIntervalRequest(1), 0x8000, "0080c2 000005 01 000000"),
    (CsptpRequest(status=True, alternate_timescale=True), 0xFF00, "03 000000"),
    (CsptpResponse(Instant.from_ns(200_000_000_100), Duration(50)), 0xFF01, "0000000000c8 00000064 0000000000000032"),
    (
        CsptpStatus(
            priority1=15,
            quality=ClockQuality(248, 0x29, 0x8000),
            priority2=16,
            steps_removed=4,
            utc_offset=-2,
            grandmaster=A,
        ),
        0xF002,
        "0f f8 29 8000 10 0004 fffe 001b19fffe000001 00000000",
    ),
]


@pytest.mark.parametrize(("tlv", "kind", "octets"), LAID_OUT, ids=lambda value: type(value).__name__)
def test_a_tlv_has_its_type_and_its_octets(tlv: TypedTlv, kind: int, octets: str) -> None:
    raw = Tlv(kind, bytes.fromhex(octets))
    # A name of an odd length is filled up by one octet.
    raw = Tlv(kind, raw.value + bytes(len(raw.value) % 2))
    assert raw == tlv.to_tlv()
    assert tlv == read(raw)


@pytest.mark.parametrize(("tlv", "kind", "octets"), LAID_OUT, ids=lambda value: type(value).__name__)
def test_a_tlv_that_is_cut_is_refused_or_read_as_something_less(tlv: TypedTlv, kind: int, octets: str) -> None:
    """Never anything but WireError, and never the whole value."""
    value = bytes.fromhex(octets)
    least = {0xF002: 18, 0xFF00: 1}.get(kind, len(value))  # what the draft counts as optional or reserved at the end
    for size in range(len(value)):
        try:
            found = read(Tlv(kind, value[:size]))
        except WireError:
            continue
        assert found != tlv or size >= least


def test_a_type_that_nobody_reads_stays_as_it_is() -> None:
    assert Tlv(0x8001, b"\1\2") == read(Tlv(0x8001, b"\1\2"))


@pytest.mark.parametrize(
    ("tlv", "words"),
    [
        (Tlv(0x0008, bytes(7)), "path trace of 7"),
        (Tlv(0x0003, bytes(5)), "organization extension of 5"),
        (Tlv(0x0003, bytes.fromhex("0080c2000001") + bytes(20)), "length 26 instead of 28"),
        (Tlv(0x0003, bytes.fromhex("1c129d000001") + bytes(10)), "length 16 instead of 18"),
        (Tlv(0x0004, bytes.fromhex("f00000000000")), "type 0xf"),
        (Tlv(0x0004, bytes.fromhex("b000000000")), "length 5 instead of 6"),
        (Tlv(0x0005, bytes.fromhex("40000000000000") + b"\0"), "type 0x4"),
        (Tlv(0x0009, bytes(14)), "alternate time offset of 14"),
        (Tlv(0x0009, bytes(15) + b"\2"), "of 16 octets with a name of 2"),
        (Tlv(0x0009, bytes(15) + b"\4abc\0\0\0"), "of 22 octets with a name of 4"),
        (Tlv(0x8009, bytes(6)), "authentication of 6"),
        (Tlv(0x8009, b"\0\x08" + bytes(20)), "secParamIndicator 0x8"),
        (Tlv(0xFF00, b""), "without flags"),
        (Tlv(0xFF01, bytes(17)), "CSPTP response of 17"),
        (Tlv(0xFF01, bytes(6) + b"\xff" * 4 + bytes(8)), "timestamp"),
        (Tlv(0xF002, bytes(17)), "CSPTP status of 17"),
        (Tlv(0x0001, b"\0"), "without an id"),
        (Tlv(0x0002, bytes(7)), "management error of 7"),
    ],
)
def test_a_tlv_that_breaks_its_layout_is_refused(tlv: Tlv, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read(tlv)


def test_a_name_that_is_not_utf8_is_refused() -> None:
    good = AlternateTimeOffset(1, 2, 3, 4, "ab").to_tlv()
    with pytest.raises(WireError, match="UTF-8"):
        read(Tlv(good.kind, good.value.replace(b"ab", b"\xc3\x28")))


def test_a_reader_refuses_the_tlv_of_another() -> None:
    with pytest.raises(WireError, match="0x0008"):
        PathTrace.from_tlv(Tlv(0x0009, b""))
    with pytest.raises(WireError, match="1c129d000002"):
        PowerProfile2011.from_tlv(PowerProfile2017(3, 4).to_tlv())
    with pytest.raises(WireError, match="0x8000"):
        GptpCapable.from_tlv(Tlv(0x0003, GptpCapable().to_tlv().value))


def test_the_first_of_a_class_is_found_whatever_is_broken_before_it() -> None:
    tlvs = (Tlv(0x0008, bytes(7)), Tlv(0x8008, b""), PathTrace((A,)).to_tlv(), PathTrace((B,)).to_tlv())
    assert PathTrace((A,)) == find(tlvs, PathTrace)
    assert find(tlvs, FollowUpInformation) is None


@pytest.mark.parametrize(
    "tlv",
    [
        PathTrace((ClockIdentity(b"short"),)),
        Organization(0x0004, b"\0\0\0", 1, b""),
        Organization(0x0003, b"\0\0", 1, b""),
        Organization(0x0003, b"\0\0\0", 1 << 24, b""),
        UnicastRequest(MessageType.SYNC, 128, 300),
        UnicastGrant(MessageType.SYNC, 0, -1),
        AlternateTimeOffset(1, 1 << 31, 0, 0, ""),
        AlternateTimeOffset(1, 0, 0, 1 << 48, ""),
        AlternateTimeOffset(1, 0, 0, 0, "é" * 128),
        Authentication(256, 1, b"\0\0"),
        Authentication(1, 1, b""),
        PowerProfile2017(1 << 16, 0),
        FollowUpInformation(last_phase_change=Duration(1 << 95)),
        FollowUpInformation(cumulative_scaled_rate_offset=1 << 31),
        MessageIntervalRequest(time_sync=-129),
        CsptpResponse(Instant(-1), Duration(0)),
    ],
)
def test_what_does_not_fit_is_our_own_bug(tlv: TypedTlv) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - only that it is no WireError matters here
        tlv.to_tlv()
    assert not isinstance(caught.value, WireError)


def test_which_unread_tlvs_a_boundary_clock_passes_on() -> None:
    """Table 52: path trace, alternate time offset, and 0x4000 to 0x7FFF."""
    passed = {kind for kind in (1, 3, 4, 8, 9, 0x2004, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0x8009) if propagates(kind)}
    assert {8, 9, 0x4000, 0x7FFF} == passed


def test_a_rate_offset_is_in_units_of_two_to_the_minus_41() -> None:
    assert 1.0 + 2.0**-11 == FollowUpInformation(1 << 30).rate_ratio
