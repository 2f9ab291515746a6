"""What is refused, and sentences there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.wire.civil import Date, TimeOfDay
from timesync.wire.error import WireError
from timesync.wire.nmea import MAX_SENTENCE, Gga, Gsa, Gsv, InView, Rmc, ShortDate, Zda, decode, encode, frame, split

TALKERS = st.sampled_from(["GP", "GN", "GL", "GA", "GB", "BD", "GQ", "QZ", "GI"])
TIMES = st.none() | st.builds(
    TimeOfDay,
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.integers(0, 99).map(lambda hundredths: hundredths * 10_000_000) | st.integers(0, 999_999_999),
)
DOPS = st.none() | st.integers(0, 99_99).map(lambda hundredths: hundredths / 100)
SATELLITES = st.integers(1, 999)
IDS = st.none() | st.integers(0, 15)
SENTENCES = st.one_of(
    st.builds(
        Rmc,
        talker=TALKERS,
        time=TIMES,
        date=st.none() | st.builds(ShortDate, st.integers(0, 99), st.integers(1, 12), st.integers(1, 28)),
        active=st.booleans(),
        mode=st.none() | st.sampled_from("ADEFMNPRS"),
        status=st.none() | st.sampled_from("SCUV"),
    ),
    st.builds(Zda, talker=TALKERS, time=TIMES, date=st.none() | st.dates().map(lambda d: Date(d.year, d.month, d.day))),
    st.builds(
        Gga,
        talker=TALKERS,
        time=TIMES,
        quality=st.none() | st.integers(0, 9),
        used=st.none() | st.integers(0, 99),
        hdop=DOPS,
    ),
    st.builds(
        Gsa,
        talker=TALKERS,
        fix=st.none() | st.integers(1, 3),
        satellites=st.lists(SATELLITES, max_size=24).map(tuple),
        pdop=DOPS,
        hdop=DOPS,
        vdop=DOPS,
        system=IDS,
    ),
    st.builds(
        Gsv,
        talker=TALKERS,
        total=st.just(9),
        number=st.integers(1, 9),
        seen=st.integers(0, 99),
        satellites=st.lists(
            st.builds(
                InView,
                SATELLITES,
                st.none() | st.integers(-90, 90),
                st.none() | st.integers(0, 360),
                st.none() | st.integers(0, 99),
            ),
            max_size=4,
        ).map(tuple),
        signal=IDS,
    ),
)


@given(SENTENCES)
def test_what_is_encoded_decodes_to_the_same(sentence: Rmc | Zda | Gga | Gsa | Gsv) -> None:
    data = encode(sentence)
    assert data.startswith(b"$")
    assert data.endswith(b"\r\n")
    assert sentence == decode(data)


@given(SENTENCES, st.data())
def test_no_single_octet_can_change_unnoticed(sentence: Rmc | Zda | Gga | Gsa | Gsv, data: st.DataObject) -> None:
    good = encode(sentence)
    at = data.draw(st.integers(1, len(good) - 3))
    bad = bytearray(good)
    bad[at] = data.draw(st.integers(0, 255).filter(lambda octet: chr(octet).upper() != chr(good[at])))
    with pytest.raises(WireError):
        split(bytes(bad))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"$",
        b"$*00",
        b"GPZDA,193223.00,23,12,2007,00,00*69",
        b"$GPZDA,193223.00,23,12,2007,00,00",
        b"$GPZDA,193223.00,23,12,2007,00,00*",
        b"$GPZDA,193223.00,23,12,2007,00,00*6",
        b"$GPZDA,193223.00,23,12,2007,00,00*68",
        b"$GPZDA,193223.00,23,12,2007,00,00*69\r\n\r\n",
        b"$GPZDA,193223.00,23,12,2007,00,00*69 ",
        b"$GPZDA,193223.00,23,12,2007,00,00\xb5*DC",
        b"$GPZDA,19$3223.00,23,12,2007,00,00*4D",
    ],
)
def test_what_is_no_sentence_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        split(data)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("digits", [b"6A", b"6a"])
def test_the_line_end_and_the_case_of_the_checksum_are_free(end: bytes, digits: bytes) -> None:
    assert decode(b"$GPZDA,193220.00,23,12,2007,00,00*" + digits + end)


def test_a_sentence_may_be_longer_than_82_octets_but_not_endless() -> None:
    longest = MAX_SENTENCE - 6
    assert len(frame("P" * longest)) == MAX_SENTENCE
    with pytest.raises(WireError):
        frame("P" * (longest + 1))


BAD = [
    "GPRMC,245959,A,,,,,,,010126,,",
    "GPRMC,236000,A,,,,,,,010126,,",
    "GPRMC,120060,A,,,,,,,010126,,",
    "GPRMC,12:00,A,,,,,,,010126,,",
    "GPRMC,120000.1234567890,A,,,,,,,010126,,",
    "GPRMC,120000,A,,,,,,,000126,,",
    "GPRMC,120000,A,,,,,,,320126,,",
    "GPRMC,120000,A,,,,,,,011326,,",
    "GPRMC,120000,A,,,,,,,1126,,",
    "GPRMC,120000,A,,,,,,,0101-6,,",
    "GPRMC,120000,X,,,,,,,010126,,",
    "GPRMC,120000,A,,,,,,,010126,,,1",
    "GPRMC,120000,A",
    "GPRMC,120000,A,,,,,,,010126,,,A,V,",
    "GPZDA,120000,01,01,26",
    "GPZDA,120000,01,,2026",
    "GPZDA,120000,01",
    "GPZDA,120000,29,02,2026",
    "GPGGA,120000,,,,,x,08,1.0,,M,,M,,",
    "GPGGA,120000,,,,,1,08,nan,,M,,M,,",
    "GPGGA,120000,,,,,1,08,1e9,,M,,M,,",
    "GPGGA,120000,,,,,1,-1,1.0,,M,,M,,",
    "GPGSA,A,4,,,,,,,,,,,,,,,",
    "GPGSA,A,3,,,,,,,,,,,,,,",
    "GPGSA,A,3,,,,,,,,,,,,,,,,G",
    "GPGSV,0,0,00",
    "GPGSV,1,2,00",
    "GPGSV,3,1",
    "GPGSV,3,1,12,01,,,,02,",
    "GPGSV,3,1,12,01,,,,x",
]


@pytest.mark.parametrize("body", BAD)
def test_a_sentence_against_its_form_is_refused(body: str) -> None:
    data = frame(body)
    with pytest.raises(WireError):
        decode(data)


def test_what_cannot_be_of_a_satellite_in_view_costs_neither_it_nor_the_sentence() -> None:
    sentence = decode(frame("GPGSV,1,1,03,01,91,361,100,02,-05,000,00,03,4.5,x,+9"))
    assert isinstance(sentence, Gsv)
    assert (InView(1), InView(2, -5, 0, 0), InView(3)) == sentence.satellites


@pytest.mark.parametrize(("year", "expected"), [(80, 1980), (99, 1999), (0, 2000), (26, 2026), (79, 2079)])
def test_two_digits_of_a_year_belong_to_the_century_that_is_asked_for(year: int, expected: int) -> None:
    assert Date(expected, 6, 1) == ShortDate(year, 6, 1).in_century_of(1980)


def test_a_leap_day_needs_a_leap_year() -> None:
    sentence = decode(frame("GPRMC,000000,A,,,,,,,290225,,"))
    assert isinstance(sentence, Rmc)
    assert sentence.date is not None
    with pytest.raises(WireError):
        sentence.date.in_century_of(1980)


def test_a_leap_second_is_a_time_of_day() -> None:
    sentence = decode(frame("GPRMC,235960.50,A,,,,,,,311216,,,A"))
    assert isinstance(sentence, Rmc)
    assert TimeOfDay(23, 59, 60, 500_000_000) == sentence.time
