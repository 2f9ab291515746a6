"""Sentences that real receivers sent, from the test logs of gpsd, and what they say by the makers' descriptions."""

from __future__ import annotations

import pytest

from timesync.wire.civil import Date, TimeOfDay
from timesync.wire.nmea import Gga, Gsa, Gsv, InView, Other, Rmc, Sentence, ShortDate, Zda, decode

SENTENCES: list[tuple[bytes, Sentence]] = [
    (  # version 2.0: no mode
        b"$GPRMC,094913,A,5250.9186,N,00518.6125,E,5.7,231.6,200818,1.4,E*7A",
        Rmc(talker="GP", time=TimeOfDay(9, 49, 13), date=ShortDate(18, 8, 20), active=True),
    ),
    (  # version 2.3
        b"$GPRMC,094913,A,5250.9186,N,00518.6125,E,5.7,231.6,200818,1.4,E,A*17\r\n",
        Rmc(talker="GP", time=TimeOfDay(9, 49, 13), date=ShortDate(18, 8, 20), active=True, mode="A"),
    ),
    (  # version 4.1
        b"$GNRMC,223810.00,A,3806.62997,N,12237.61483,W,0.023,,110720,,,D,V*0E",
        Rmc(talker="GN", time=TimeOfDay(22, 38, 10), date=ShortDate(20, 7, 11), active=True, mode="D", status="V"),
    ),
    (  # no fix
        b"$GPRMC,212610.879,V,,,,,,,181207,0,N*5C",
        Rmc(talker="GP", time=TimeOfDay(21, 26, 10, 879_000_000), date=ShortDate(7, 12, 18), active=False),
    ),
    (
        b"$INRMC,194119,A,4426.1219,N,07140.4965,W,5.1,85.4,160906,15.8,W*69",
        Rmc(talker="IN", time=TimeOfDay(19, 41, 19), date=ShortDate(6, 9, 16), active=True),
    ),
    (
        b"$GPZDA,193223.00,23,12,2007,00,00*69",
        Zda(talker="GP", time=TimeOfDay(19, 32, 23), date=Date(2007, 12, 23)),
    ),
    (
        b"$GNGGA,074150.799,,,,,0,00,,,M,0.0,M,,0000,*64",
        Gga(talker="GN", time=TimeOfDay(7, 41, 50, 799_000_000), quality=0, used=0, hdop=None),
    ),
]


@pytest.mark.parametrize(("data", "expected"), SENTENCES)
def test_a_sentence_says_what_its_maker_says(data: bytes, expected: Sentence) -> None:
    assert expected == decode(data)


def test_the_first_of_them_is_the_second_without_its_mode() -> None:
    """Its checksum was made by hand: that of the second, less ``,A``: 0x17 ^ 0x2C ^ 0x41."""
    assert SENTENCES[0][0].endswith(b"*%02X" % (0x17 ^ 0x2C ^ 0x41))


# The three below are the examples of u-blox 8 / M8 Receiver Description (UBX-13003221), 31.2.4, 31.2.5 and 31.2.11.


def test_gga_of_the_receiver_description() -> None:
    data = b"$GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*5B"
    assert Gga(talker="GP", time=TimeOfDay(9, 27, 25), quality=1, used=8, hdop=1.01) == decode(data)


def test_gsa_of_the_receiver_description() -> None:
    data = b"$GPGSA,A,3,23,29,07,08,09,18,26,28,,,,,1.94,1.18,1.54*0D"
    expected = Gsa(talker="GP", fix=3, satellites=(23, 29, 7, 8, 9, 18, 26, 28), pdop=1.94, hdop=1.18, vdop=1.54)
    assert expected == decode(data)


def test_gsv_of_the_receiver_description() -> None:
    heard = tuple(InView(number, None, None, signal) for number, signal in ((9, 17), (10, 40), (12, 49), (13, 35)))
    data = b"$GPGSV,3,1,09,09,,,17,10,,,40,12,,,49,13,,,35,1*6F"
    assert Gsv(talker="GP", total=3, number=1, seen=9, satellites=heard, signal=1) == decode(data)


@pytest.mark.parametrize("data", [b"$PUBX,00,1*2D", b"$GNTXT,01,01,02,ANTSTATUS=OK*25", b"$GYOACC,090624*00"])
def test_other_sentences_only_need_their_checksum(data: bytes) -> None:
    body = data[1:-3]
    value = 0
    for octet in body:
        value ^= octet
    assert Other(body.split(b",")[0].decode()) == decode(b"$%s*%02x" % (body, value))


def test_a_gsa_of_a_neo_m9n_names_its_system() -> None:
    data = b"$GNGSA,A,3,29,20,18,16,51,13,44,26,,,,,0.99,0.54,0.83,1*0E"
    expected = Gsa(
        talker="GN", fix=3, satellites=(29, 20, 18, 16, 51, 13, 44, 26), pdop=0.99, hdop=0.54, vdop=0.83, system=1
    )
    assert expected == decode(data)
