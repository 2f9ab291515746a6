"""The timer of an association by itself; ``test_ntp_client`` has it at work."""

from __future__ import annotations

from timesync.base.time import Duration, Instant, Mono
from timesync.ntp.poll import Pacing


class Middle:
    """No spread: the middle of the range."""

    def random(self) -> float:
        return 0.5


def at(seconds: float) -> Instant[Mono]:
    return Instant(0) + Duration.from_s(seconds)


def pacing(low: int = 4, high: int = 10, *, burst: bool = False) -> Pacing:
    return Pacing(low, high, Middle(), burst=burst)


def test_an_order_to_ask_soon_is_not_obeyed_where_the_server_refuses() -> None:
    timer = pacing()
    timer.sent(at(100))
    timer.refused(by_server=True)
    timer.soon(at(110))
    assert at(3700) == timer.next_at


def test_an_order_to_ask_soon_is_not_obeyed_where_the_server_limits_us() -> None:
    timer = pacing()
    timer.sent(at(100))
    assert timer.rate_limited(0)
    timer.soon(at(110))
    assert at(132) == timer.next_at


def test_many_steps_of_the_clock_do_not_become_a_flood() -> None:
    timer = pacing()
    timer.sent(at(100))
    for _ in range(10):
        timer.soon(at(100.5))
        assert at(102) == timer.next_at


def test_rate_at_the_longest_interval_changes_nothing_more() -> None:
    timer = pacing(4, 5)
    timer.sent(at(0))
    assert timer.rate_limited(0)
    assert not timer.rate_limited(0)
    assert 5 == timer.poll


def test_a_revived_server_that_limits_us_gets_no_burst() -> None:
    timer = pacing(burst=True)
    timer.sent(at(0))
    timer.rate_limited(0)
    timer.answered(revived=True)
    assert at(32) == timer.next_at


def test_the_refused_interval_is_the_longer_of_an_hour_and_the_usual_one() -> None:
    timer = pacing(17, 17)
    timer.refused(by_server=True)
    assert Duration.from_s(1 << 17) == timer.interval
    timer = pacing()
    timer.refused(by_server=True)
    assert Duration.from_s(3600) == timer.interval


def test_a_burst_is_not_slower_than_the_interval() -> None:
    timer = pacing(0, 0, burst=True)
    timer.sent(at(0))
    assert at(1) == timer.next_at
