"""Which stamps an interleaved answer completes (RFC 9769, 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Tai
from timesync.ntp.client_interleaved import Previous, pair_stamps
from timesync.ntp.exchange import DropReason


def tai(ms: int) -> Instant[Tai]:
    return Instant.from_ns(ms * 1_000_000)


def stamp(ms: int, epoch: int = 0) -> Stamp:
    return Stamp(ClockId("system"), epoch, tai(ms))


T2 = tai(16_005)
T4 = stamp(16_010)
BEFORE = Previous(
    receive=1, t1=stamp(0), t2=tai(5), t4=stamp(10), root_delay=Duration(0), root_dispersion=Duration(0), used=False
)


def test_the_exchange_before_is_completed() -> None:
    assert (stamp(0), tai(5), stamp(10)) == pair_stamps(BEFORE, stamp(16_000), T2, T4)


def test_that_needs_no_stamp_of_the_present_request() -> None:
    assert (stamp(0), tai(5), stamp(10)) == pair_stamps(BEFORE, None, T2, T4)


def test_the_present_request_is_taken_where_it_lies_nearer() -> None:
    assert (stamp(12), T2, stamp(10)) == pair_stamps(BEFORE, stamp(12), T2, stamp(22))
    assert (stamp(0), tai(5), stamp(10)) == pair_stamps(BEFORE, stamp(20), T2, stamp(30)), "as near: the older pair"


@pytest.mark.parametrize(
    ("previous", "t4", "expected"),
    [
        pytest.param(None, T4, DropReason.STAMP, id="nothing kept"),
        pytest.param(replace(BEFORE, t1=None), T4, DropReason.STAMP, id="transmit stamp lost"),
        pytest.param(BEFORE, stamp(16_010, epoch=1), DropReason.EPOCH, id="clock stepped since"),
        pytest.param(replace(BEFORE, used=True), T4, None, id="used in basic mode"),
    ],
)
def test_when_there_is_no_sample(previous: Previous | None, t4: Stamp, expected: DropReason | None) -> None:
    assert expected is pair_stamps(previous, stamp(16_000), T2, t4)
