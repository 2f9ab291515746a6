"""Management data at the ends of its fields, and what its readers refuse; what ptp4l sends is in tests/wire."""

from __future__ import annotations

import pytest

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.wire import ptp_management_data as data_sets
from timesync.wire import ptp_management_np as np
from timesync.wire.error import WireError
from timesync.wire.ptp_management import (
    DATA,
    ErrorId,
    ManagementData,
    ManagementError,
    ManagementId,
    ManagementTlv,
    read_data,
    with_data,
)
from timesync.wire.ptp_message import ClockQuality, Flags, Tlv
from timesync.wire.ptp_tlv_read import read

CLOCK = ClockIdentity(bytes(range(8)))
PORT = PortIdentity(CLOCK, 0x0102)
QUALITY = ClockQuality(6, 0x21, 0x4E5D)

LAID_OUT: list[tuple[ManagementId, ManagementData, str]] = [
    (ManagementId.LOG_SYNC_INTERVAL, data_sets.SignedOctet(-3), "fd 00"),
    (
        ManagementId.CURRENT_DATA_SET,
        data_sets.CurrentDataSet(2, Duration(-1), Duration(1)),
        "0002 ffffffffffffffff 0000000000000001",
    ),
    (
        ManagementId.TIME_PROPERTIES_DATA_SET,
        data_sets.TimePropertiesDataSet(-1, Flags.LEAP_61 | Flags.PTP_TIMESCALE, 0x20),
        "ffff 09 20",
    ),
    (
        ManagementId.TIME,
        data_sets.CurrentTime(Instant.from_ns(0x0102_0304_0506 * 1_000_000_000 + 7)),
        "010203040506 00000007",
    ),
    (ManagementId.UTC_PROPERTIES, data_sets.UtcProperties(37, Flags.UTC_OFFSET_VALID), "0025 04 00"),
    (ManagementId.TIMESCALE_PROPERTIES, data_sets.TimescaleProperties(Flags.PTP_TIMESCALE, 0x20), "08 20"),
    (ManagementId.PATH_TRACE_LIST, data_sets.PathTraceList((CLOCK, CLOCK)), "0001020304050607 0001020304050607"),
    (ManagementId.ALTERNATE_TIME_OFFSET_ENABLE, data_sets.AlternateTimeOffsetEnable(3, enable=True), "03 01"),
    (ManagementId.ALTERNATE_TIME_OFFSET_NAME, data_sets.AlternateTimeOffsetName(3, "CET"), "03 03 434554 00"),
    (
        ManagementId.ALTERNATE_TIME_OFFSET_PROPERTIES,
        data_sets.AlternateTimeOffsetProperties(3, 3563, -3600, 0x0001_0000_0002),
        "03 00000deb fffff1f0 000100000002 00",
    ),
    (
        ManagementId.TIME_STATUS_NP,
        np.TimeStatus(
            offset_ns=-1,
            ingress_ns=2,
            cumulative_scaled_rate_offset=-3,
            scaled_last_frequency_change=4,
            time_base_indicator=5,
            last_phase_change=Duration(-6),
            grandmaster_present=True,
            grandmaster=CLOCK,
        ),
        "ffffffffffffffff 0000000000000002 fffffffd 00000004 0005 fffffffffffffffffffffffa 00000001 0001020304050607",
    ),
    (
        ManagementId.GRANDMASTER_SETTINGS_NP,
        np.GrandmasterSettings(QUALITY, 37, Flags.TIME_TRACEABLE | Flags.FREQUENCY_TRACEABLE, 0x20),
        "06 21 4e5d 0025 30 20",
    ),
    (ManagementId.PORT_HWCLOCK_NP, np.PortHardwareClock(PORT, 1, virtual=True), "0001020304050607 0102 00000001 01 00"),
    (
        ManagementId.CMLDS_INFO_NP,
        np.CmldsInfo(Duration(65_536), -1, as_capable=True),
        "0000000000010000 ffffffff 00000001",
    ),
    (
        ManagementId.PORT_PROPERTIES_NP,
        np.PortProperties(PORT, 9, np.PortTimestamping.HARDWARE, "eth0"),
        "0001020304050607 0102 09 01 04 65746830 00",
    ),
]


@pytest.mark.parametrize(("id_", "data", "octets"), LAID_OUT, ids=lambda value: getattr(value, "name", ""))
def test_data_has_its_octets(id_: ManagementId, data: ManagementData, octets: str) -> None:
    tlv = ManagementTlv(id_, bytes.fromhex(octets))
    assert tlv == ManagementTlv.from_tlv(with_data(id_, data))
    assert data == read_data(tlv)


def test_an_id_that_nobody_reads_has_no_data() -> None:
    assert read_data(ManagementTlv(0xCFFF, b"\1\2")) is None


@pytest.mark.parametrize("id_", sorted(set(DATA) - {ManagementId.PATH_TRACE_LIST}))
def test_data_with_two_octets_too_many_is_refused(id_: int) -> None:
    """For all but a list, whose length is free."""
    kind = DATA[id_]
    size = next(size for size in range(400) if _reads(kind, bytes(size)))
    assert not _reads(kind, bytes(size + 2))


def _reads(kind: object, data: bytes) -> bool:
    try:
        kind.decode(data)  # type: ignore[attr-defined]  # all classes in DATA have it
    except WireError:
        return False
    return True


@pytest.mark.parametrize(
    ("id_", "octets", "words"),
    [
        (ManagementId.PRIORITY1, "", "0 octets instead of 2"),
        (ManagementId.DISABLE_PORT, "0000", "instead of none"),
        (ManagementId.USER_DESCRIPTION, "02c328 00", "UTF-8"),
        (ManagementId.USER_DESCRIPTION, "0561", "too early"),
        (ManagementId.TIME, "000000000000 ffffffff", "timestamp"),
        (ManagementId.PATH_TRACE_LIST, "00", "path trace of 1"),
        (ManagementId.UNICAST_MASTER_TABLE_NP, "ffff", "too early"),
    ],
)
def test_data_that_breaks_its_layout_is_refused(id_: ManagementId, octets: str, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read_data(ManagementTlv(id_, bytes.fromhex(octets)))


@pytest.mark.parametrize(
    "data",
    [
        data_sets.Octet(256),
        data_sets.Text("é" * 128),
        data_sets.PathTraceList((ClockIdentity(b""),)),
        data_sets.CurrentTime(Instant(-1)),
        np.SubscribeEvents(60, b""),
        np.PortStats(PORT, (0,) * 15, (0,) * 16),
        np.PortStats(PORT, (-1,) * 16, (0,) * 16),
        np.PortHardwareClock(PortIdentity(ClockIdentity(b""), 1), 0),
        np.TimeStatus(
            offset_ns=0, ingress_ns=0, last_phase_change=Duration(1 << 95), grandmaster_present=False, grandmaster=CLOCK
        ),
    ],
)
def test_what_does_not_fit_is_our_own_bug(data: ManagementData) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - only that it is no WireError matters here
        data.encode()
    assert not isinstance(caught.value, WireError)


def test_an_error_may_have_words_for_people() -> None:
    error = ManagementError(ErrorId.WRONG_VALUE, ManagementId.PRIORITY1, "not 300")
    tlv = error.to_tlv()
    assert Tlv(2, bytes.fromhex("0004 2005 00000000 07") + b"not 300") == tlv
    assert error == read(tlv)


def test_a_subscription_is_a_bitmap() -> None:
    subscription = np.SubscribeEvents.of(0xFFFF, np.Event.PARENT_DATA_SET, np.Event.PORT_STATE)
    assert bytes((5, *bytes(63))) == subscription.bitmap
    assert [True, False, True, False] == [subscription.wants(event) for event in np.Event]
