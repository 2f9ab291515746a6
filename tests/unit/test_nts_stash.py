"""A client's cookies: each used once, eight at most, and asked for again."""

from __future__ import annotations

import pytest

from timesync.nts.stash import MAX_COOKIE_OCTETS, CookieStash


def cookies(count: int, size: int = 100, first: int = 1) -> list[bytes]:
    return [bytes([number]) * size for number in range(first, first + count)]


def test_each_cookie_is_given_out_once_and_the_oldest_first() -> None:
    stash = CookieStash(cookies(8))
    assert cookies(8) == [stash.take() for _ in range(8)]
    assert stash.take() is None


def test_no_more_than_eight_are_kept() -> None:
    stash = CookieStash()
    assert 8 == stash.add(cookies(12))
    assert 0 == stash.add(cookies(1, first=50))
    assert tuple(cookies(8)) == stash.content()


def test_the_same_cookie_twice_counts_once() -> None:
    assert 1 == CookieStash().add([b"abcd", b"abcd"])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 257, 260, 16_384])
def test_cookies_of_impossible_sizes_are_left_out(size: int) -> None:
    stash = CookieStash([b"x" * size, b"good"])
    assert (b"good",) == stash.content()


@pytest.mark.parametrize("size", [4, 256])
def test_the_shortest_and_the_longest_are_taken(size: int) -> None:
    assert 1 == CookieStash().add([b"x" * size])


def test_after_seven_lost_replies_seven_more_are_asked_for() -> None:
    stash = CookieStash(cookies(8))
    asked = []
    for _ in range(8):
        cookie = stash.take()
        assert cookie is not None
        asked.append(stash.placeholders(len(cookie)))
    assert [0, 1, 2, 3, 4, 5, 6, 7] == asked


@pytest.mark.parametrize(("size", "most"), [(68, 7), (100, 7), (104, 7), (108, 6), (132, 5), (164, 4), (256, 2)])
def test_a_request_with_long_cookies_asks_for_fewer(size: int, most: int) -> None:
    assert most == CookieStash().placeholders(size)
    assert (most + 1) * (size + 4) <= MAX_COOKIE_OCTETS


def test_clearing_forgets_all() -> None:
    stash = CookieStash(cookies(3))
    stash.clear()
    assert (0, None) == (len(stash), stash.take())
