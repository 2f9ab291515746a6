"""Rows of a recording: exact in every form, and readable by what others read tables with."""

from __future__ import annotations

import csv
import io
import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Leap, Measurement, Quality, SourceStatus, StampSource
from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration, Instant
from timesync.observe import stream
from timesync.observe.records import rows
from timesync.observe.records.pack import pack, unpack
from timesync.observe.records.rows import (
    COLUMNS,
    RecordError,
    Row,
    cells,
    json_line,
    row_of_cells,
    row_of_json,
    row_of_values,
    seconds_text,
    seconds_units,
)
from timesync.observe.records.taped import measurement_columns, status_columns
from timesync.observe.replay.told import measurement_of, status_of
from timesync.servo.command import ClockMemory, ClockSpec, CoreSettings, SourceSpec
from timesync.servo.steering import SteeringSettings

spans = st.integers(-(1 << 100), 1 << 100)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
ratios = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def any_row(draw: st.DrawFn) -> Row:
    def maybe(strategy: st.SearchStrategy[object]) -> object:
        return draw(st.none() | strategy)

    return Row(
        draw(st.integers(0, 1 << 62)),
        draw(st.sampled_from([rows.MEASUREMENT, rows.STATUS, rows.APPLIED])),
        source=maybe(names),  # type: ignore[arg-type]
        clock=maybe(names),  # type: ignore[arg-type]
        offset=maybe(spans),  # type: ignore[arg-type]
        delay=maybe(spans),  # type: ignore[arg-type]
        mono=draw(spans),
        at=maybe(spans),  # type: ignore[arg-type]
        epoch=maybe(st.integers(0, 1000)),  # type: ignore[arg-type]
        noise_s=maybe(ratios),  # type: ignore[arg-type]
        averaged=maybe(st.booleans()),  # type: ignore[arg-type]
        rate=maybe(ratios),  # type: ignore[arg-type]
        clocks=maybe(st.dictionaries(names.filter(lambda n: " " not in n), spans, min_size=1)),  # type: ignore[arg-type]
        details=maybe(st.dictionaries(names, st.integers() | names | st.none())),  # type: ignore[arg-type]
    )


@given(spans)
def test_seconds_are_exact(units: int) -> None:
    text = seconds_text(units)
    assert Fraction(text) == Fraction(units, UNITS_PER_S)
    assert seconds_units(text) == units


def test_seconds_that_others_wrote_are_rounded_to_the_nearest() -> None:
    assert seconds_units("0.0000000000000076293945312500") == 1  # half of a unit
    assert seconds_units("0.00000000000000762939453124") == 0
    assert seconds_units("-1.5") == -3 * UNITS_PER_S // 2
    for text in ("", "1e3", "nan", "+1", "1.2.3", " 1"):
        with pytest.raises(ValueError, match="is not a number of seconds"):
            seconds_units(text)


@given(any_row())
def test_a_row_survives_each_form(row: Row) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(cells(row))
    (line,) = csv.reader(io.StringIO(text.getvalue(), newline=""))
    assert row == row_of_cells(COLUMNS, line)
    assert row == row_of_json(json_line(row))
    sent = stream.decode(stream.encode(stream.measurement([row])).rstrip())
    assert [row] == [row_of_values(values) for values in sent["rows"]]
    assert list(Row._fields) == sent["columns"]


def measured() -> Measurement:
    return Measurement(
        link=LinkId("l"), local=ClockId("eth0"), remote=ClockId("ntp:192.0.2.1:123"), at=Instant(123456789 << 30),
        epoch=3, offset=Duration(-77), delay=Duration(99), noise_s=1e-7, averaged=True,
        quality=Quality(
            stratum=2, leap=Leap.INSERT, reference_id=b"GPS\0", root_delay=Duration(5), root_dispersion=Duration(6),
            precision_s=2**-20, authenticated=True,
        ),
    )  # fmt: skip


def test_a_measurement_and_a_status_come_back_as_they_were() -> None:
    m = measured()
    assert m == measurement_of(row_of_json(json_line(Row(0, rows.MEASUREMENT, source="s", **measurement_columns(m)))))
    status = SourceStatus(
        source=SourceId("s"), reach=0o377, poll_s=0.0625, sent=9, received=8, dropped=1, stratum=16, leap=Leap.UNKNOWN,
        reference_id=b"\x7f\0\0\1", authenticated=True, interleaved=True, timestamping=StampSource.HARDWARE,
        excluded="said DENY, so", stepped_back=True, keyed=True,
    )  # fmt: skip
    assert status == status_of(row_of_cells(COLUMNS, cells(Row(0, rows.STATUS, **status_columns(status)))))


def test_settings_and_specifications_come_back_as_they_were() -> None:
    settings = CoreSettings(served=ClockId("system"), steering=SteeringSettings(max_slew=1e-4), local_stratum=10)
    memory = ClockMemory(1e-6, 2e-9, 3e-10, slope_deviation=math.inf)
    clock = ClockSpec(clock=ClockId("c"), disciplined=True, max_frequency=0.1, memory=memory, rate=Rate(-1.25e-5))
    source = SourceSpec(
        source=SourceId("s"), name="n", link=LinkId("l"), clock=ClockId("c"), parent=ClockId("p"), poll=(-4, 10),
        reference_id=b"PPS\0", correction=Duration(-3),
    )  # fmt: skip
    fence = Fence(Instant(5), Instant(6), Instant(7), Instant(8), "three servers")
    for value in (settings, clock, source, fence):
        found = json.loads(json.dumps(pack(value), allow_nan=False))
        assert value == unpack(type(value), found)
    found = {**pack(clock), "of_tomorrow": 1}
    del found["epoch"]
    assert clock == unpack(ClockSpec, found)
    with pytest.raises(RecordError, match="not a ClockSpec"):
        unpack(ClockSpec, {**pack(clock), "clock": 3})


def test_numpy_and_the_csv_module_read_what_is_written() -> None:
    m = measured()
    table = [
        Row(1_700_000_000_500_000_000 + n, rows.MEASUREMENT, source="a,b", **measurement_columns(m)) for n in (1, 2)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(cells, [*table, Row(3, rows.STATUS)]))
    found = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert ["measurement", "measurement", "status"] == [line["kind"] for line in found]
    assert Decimal(found[0]["offset_s"]) == Decimal(-77) / Decimal(UNITS_PER_S)
    columns = [COLUMNS.index("unix_time"), COLUMNS.index("offset_s")]
    loaded = np.genfromtxt(
        io.StringIO(text.getvalue().replace('"a,b"', "ab")), delimiter=",", skip_header=1, usecols=columns
    )
    assert loaded[0, 0] == pytest.approx(1_700_000_000.5)
    assert loaded[0, 1] == pytest.approx(-77 / UNITS_PER_S)
    assert math.isnan(loaded[2, 1])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"kind":"status"}', "columns are missing"),
        ('{"unix_time":1,"kind":"status","mono_s":"x"}', "mono_s: 'x' is not a number of seconds"),
        ('{"unix_time":1,"kind":"status","averaged":2}', "averaged: '2' is neither 0 nor 1"),
        ('{"unix_time":1,"kind":"status","details":[]}', "is not an object"),
    ],
)
def test_what_is_no_row_is_refused_with_a_reason(line: str, words: str) -> None:
    with pytest.raises(RecordError, match=words.replace("[", r"\[")):
        row_of_json(line)


def test_a_line_with_a_cell_too_few_is_refused() -> None:
    with pytest.raises(RecordError, match="23 cells in place of 24"):
        row_of_cells(COLUMNS, cells(Row(1, rows.STATUS))[1:])
