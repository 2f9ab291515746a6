from __future__ import annotations

from timesync.ntp.interleave import Pairs


def test_a_pair_is_given_once() -> None:
    pairs = Pairs()
    key = pairs.reserve(101)
    pairs.complete(key, 200)

    assert key == 101
    assert pairs.take(101) == 200
    assert pairs.take(101) is None


def test_a_reply_that_is_not_stamped_yet_has_no_pair() -> None:
    pairs = Pairs()
    pairs.reserve(101)

    assert pairs.take(101) is None


def test_receive_timestamps_are_made_unique_and_stay_odd() -> None:
    pairs = Pairs()

    assert [pairs.reserve(101) for _ in range(3)] == [101, 103, 105]
    assert [pairs.reserve(2**64 - 1) for _ in range(2)] == [2**64 - 1, 1]


def test_the_oldest_goes_first_and_a_late_stamp_of_it_is_ignored() -> None:
    pairs = Pairs(capacity=4)
    for receive in range(1, 21, 2):
        pairs.reserve(receive)
        pairs.complete(receive, receive + 100)
    pairs.complete(1, 999)

    assert len(pairs) == 4
    assert pairs.take(1) is None
    assert [pairs.take(receive) for receive in (13, 15, 17, 19)] == [113, 115, 117, 119]


def test_clear() -> None:
    pairs = Pairs()
    pairs.complete(pairs.reserve(101), 200)
    pairs.clear()

    assert pairs.take(101) is None
    assert len(pairs) == 0
