"""Messages that real receivers sent, as pyubx2 1.4 (BSD-3) and gpsd keep them among their tests.

What they say was read from the octets by the layouts of the u-blox interface descriptions, pyubx2 being the second
opinion.
"""

from __future__ import annotations

import pytest

from timesync.wire.ubx import decode, poll, set_rate, set_value
from timesync.wire.ubx_message import (
    MON_VER,
    TIM_TP,
    Message,
    MonRf,
    MonVer,
    NavDop,
    NavPvt,
    NavStatus,
    NavTimeGps,
    NavTimeLs,
    NavTimeUtc,
    RawUtc,
    RfBlock,
    SecSig,
    TimTp,
)

MESSAGES: dict[str, tuple[str, Message]] = {
    "NAV-PVT of a NEO-M9N": (
        (
            "b56201075c0080495f1de5070b0c10342e372000000007c3fbff0301ea143d2aaafecdeddb1fd44f010070920000d0120000ff140000"
            "caffffff3a0000003900000050000000346f7300340200003e1be50075000000ee134f2f00000000000000002169"
        ),
        NavPvt(
            tow_ms=492_784_000,
            utc=RawUtc(2021, 11, 12, 16, 52, 46, -277_753),
            date_valid=True,
            time_valid=True,
            resolved=True,
            accuracy_ns=32,
            fix=3,
            fix_ok=True,
            used=20,
        ),
    ),
    "NAV-STATUS": (
        "b56201031000f0605f1d03dd00086f8502007e699f00443b",
        NavStatus(tow_ms=492_790_000, fix=3, fix_ok=True, spoofing=1),
    ),
    "NAV-DOP": (
        "b56201041200402a5f1d830073003f0063003b002a0029002337",
        NavDop(tow_ms=492_776_000, time=63, horizontal=59),
    ),
    "NAV-TIMELS, none scheduled": (
        "b5620126180078745f1d0000000002120200982a140089080700000000032e72",
        NavTimeLs(
            tow_ms=492_795_000, source=2, current=18, change_source=2, change=0, until_s=1_321_624, week=2185, day=7
        ),
    ),
    "NAV-TIMELS of a ZED-X20P, years later": (
        "b56201261800486a5d090000000002120200d50af6f88908070000000003d544",
        NavTimeLs(
            tow_ms=157_117_000, source=2, current=18, change_source=2, change=0, until_s=-118_093_099, week=2185, day=7
        ),
    ),
    "NAV-TIMEUTC": (
        "b56201211400487c5f1d20000000e8c5fbffe5070b0c10343b37f6b2",
        NavTimeUtc(
            tow_ms=492_797_000,
            utc=RawUtc(2021, 11, 12, 16, 52, 59, -277_016),
            accuracy_ns=32,
            valid=True,
            standard=3,
        ),
    ),
    "NAV-TIMEGPS": (
        "b5620120100008b562213c7bfaff8a08120706000000d2bb",
        NavTimeGps(tow_ms=560_117_000, nano=-361_668, week=2186, leap=18, valid=True, accuracy_ns=6),
    ),
    "TIM-TP without an error known": (
        "b5620d011000d8645f1d000000000000000087081b3fbfe7",
        TimTp(
            tow_ms=492_791_000,
            tow_sub=0,
            quantization_ps=0,
            quantization_valid=False,
            week=2183,
            utc_base=True,
            utc_known=True,
            reference=15,
            locked=True,
        ),
    ),
    "TIM-TP of a NEO-M8T": (
        "b5620d011000b09b2d0e0000000015efffff62080b0f2a63",
        TimTp(
            tow_ms=237_870_000,
            tow_sub=0,
            quantization_ps=-4331,
            quantization_valid=True,
            week=2146,
            utc_base=True,
            utc_known=True,
            reference=15,
            locked=True,
        ),
    ),
    "MON-RF": (
        "b5620a381c00000100000000020100000000000000005c007c05071aa317a3000000bdc0",
        MonRf((RfBlock(jamming=0, antenna=2),)),
    ),
    "MON-HW": (
        (
            "b5620a093c00c18101000000000000000100dfe7010061007c0502010185be7f0100ff0001030210ff121314150e0a0b0fff350cee5a"
            "00000000dbfb000000000000f539"
        ),
        MonRf((RfBlock(jamming=0, antenna=2),)),
    ),
    "SEC-SIG, version 2": (
        "b56227091c00029b0006fc0918000ad21700d071180050bb1200646b1200300313009cb5",
        SecSig(jamming=1, spoofing=1),
    ),
    "MON-VER": (
        (
            "b5620a04dc0045585420434f524520312e3030202866313730363729000000000000000030303139303030300000524f4d20"
            "424153452030783131384232303630000000000000000000000046575645523d48504720312e353000000000000000000000"
            "00000000000050524f545645523d32372e353000000000000000000000000000000000004d4f443d5a45442d463950000000"
            "000000000000000000000000000000004750533b474c4f3b47414c3b42445300000000000000000000000000000053424153"
            "3b515a5353000000000000000000000000000000000000000000ce8b"
        ),
        MonVer(
            "EXT CORE 1.00 (f17067)",
            "00190000",
            (
                "ROM BASE 0x118B2060",
                "FWVER=HPG 1.50",
                "PROTVER=27.50",
                "MOD=ZED-F9P",
                "GPS;GLO;GAL;BDS",
                "SBAS;QZSS",
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_says_what_its_maker_says(name: str) -> None:
    data, expected = MESSAGES[name]
    assert expected == decode(bytes.fromhex(data))


def test_a_poll_is_the_header_alone() -> None:
    """As u-center sends it: B5 62 0A 04 00 00 0E 34."""
    assert bytes.fromhex("b5620a0400000e34") == poll(MON_VER)


def test_the_rate_of_a_message_on_this_port() -> None:
    """CFG-MSG in its form of three octets; the checksum by hand: 06+01+03+00+0D+01+01 = 19, and its running sum."""
    sums = 0
    running = 0
    for octet in (0x06, 0x01, 0x03, 0x00, 0x0D, 0x01, 0x01):
        running = (running + octet) & 0xFF
        sums = (sums + running) & 0xFF
    assert running == 0x19
    assert bytes.fromhex("b56206010300" + "0d0101") + bytes((0x19, sums)) == set_rate(TIM_TP, 1)


def test_one_key_is_set_in_ram_only() -> None:
    """Version 0, layers 1 (RAM), reserved, the key of CFG-MSGOUT-UBX_TIM_TP_UART1, one octet."""
    data = set_value(0x2091017E, 1)
    assert bytes.fromhex("b562068a0900" + "00010000" + "7e019120" + "01") == data[:-2]
