from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.quantity import (
    DURATION_PATTERN,
    QuantityError,
    format_duration,
    format_frequency,
    parse_duration,
    parse_frequency,
    parse_ratio,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("100ns", 100),
        ("1.5us", 1_500),
        ("62.5ms", 62_500_000),
        ("16s", 16_000_000_000),
        ("+16 s", 16_000_000_000),
        ("2min", 120_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("-10ms", -10_000_000),
        ("0s", 0),
        ("0.000000001s", 1),
        ("123456789.987654321s", 123_456_789_987_654_321),
    ],
)
def test_durations_are_exact(text: str, nanoseconds: int) -> None:
    assert Duration.from_ns(nanoseconds) == parse_duration(text)


def test_below_a_nanosecond_the_nearest_unit_is_taken() -> None:
    assert Duration(32768) == parse_duration("0.5ns")
    assert Duration(6554) == parse_duration("0.1ns")  # 6553.6


@pytest.mark.parametrize(
    ("text", "ppb"), [("20ppm", 20_000), ("3ppb", 3), ("-0.5ppm", -500), ("100000ppm", 100_000_000)]
)
def test_frequencies(text: str, ppb: int) -> None:
    assert parse_frequency(text).ratio == pytest.approx(ppb * 1e-9, rel=1e-15)


def test_a_frequency_is_rounded_once() -> None:
    assert Rate(2e-5) == parse_frequency("20ppm")
    assert Rate(3e-9) == parse_frequency("3ppb")


def test_a_ratio_is_a_number_or_a_frequency() -> None:
    assert 1e-9 == parse_ratio(1e-9) == parse_ratio("1ppb")
    assert 0.0 == parse_ratio(0)
    for wrong in (True, None, "1e-9", "1s", ()):
        with pytest.raises(QuantityError):
            parse_ratio(wrong)


@pytest.mark.parametrize("text", ["", "s", "1", "1,5s", "1e3s", "1 2s", "1s 2s", "٣s", "1s\n", "--1s", ".5s", "1.s"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        (16, "16s"),
        ("16", "16s"),
        (0.5, "0.5s"),
        ("5m", "5min"),
        ("5µs", "5us"),
        ("5 seconds", "5s"),
        ("5MS", "5ms"),
    ],
)
def test_the_message_says_what_to_write(value: object, suggestion: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_duration(value)

    assert suggestion == caught.value.suggestion
    parse_duration(suggestion)


@pytest.mark.parametrize("value", [True, None, (), b"1s"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(QuantityError):
        parse_duration(value)
    with pytest.raises(QuantityError):
        parse_frequency(value)


@given(st.integers(-(10**24), 10**24))
def test_a_formatted_duration_reads_back(scaled_ns: int) -> None:
    span = Duration(scaled_ns)

    assert span == parse_duration(format_duration(span))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("90s", "90s"), ("120s", "2min"), ("3600s", "1h"), ("1500us", "1500us"), ("0ms", "0s"), ("-1s", "-1s")],
)
def test_durations_are_shown_in_the_largest_whole_unit(text: str, shown: str) -> None:
    assert shown == format_duration(parse_duration(text))


def test_frequencies_are_shown_in_the_unit_that_fits() -> None:
    assert "20ppm" == format_frequency(Rate.from_ppm(20))
    assert "3ppb" == format_frequency(Rate.from_ppb(3))
    assert "0ppm" == format_frequency(Rate(0.0))


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_the_pattern_of_the_json_schema_allows_only_what_is_read(text: str) -> None:
    parse_duration(text)
