"""When key establishment may be tried again."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.nts.retry import MAX_SERVERS, KeFailure, KeRetries, KeRetry

START: Instant[Mono] = Instant.from_ns(1_000_000_000_000)
FIVE_DAYS = Duration.from_s(5 * 86_400)
WEEK = Duration.from_s(7 * 86_400)


def waits(failure: KeFailure, count: int, seed: int = 1) -> list[Duration]:
    """The waits of a server that never works, each tried as soon as it may be."""
    retry, now, found = KeRetry(random.Random(seed)), START, []
    for _ in range(count):
        assert retry.allowed(now)
        retry.failed(now, failure)
        allowed_at = retry.state.allowed_at
        assert allowed_at is not None
        assert not retry.allowed(allowed_at - Duration(1))
        found.append(allowed_at - now)
        now = allowed_at
    return found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("failure", list(KeFailure))
def test_waits_begin_at_ten_seconds_grow_by_half_and_end_at_five_days(failure: KeFailure, seed: int) -> None:
    """RFC 8915's limits, for each of them."""
    found = waits(failure, 60, seed)
    assert Duration.from_s(10) <= min(found)
    assert max(found) <= FIVE_DAYS
    growing = [(one, other) for one, other in pairwise(found) if other < FIVE_DAYS * 8 // 10]
    assert growing
    assert all(other.scaled_ns >= one.scaled_ns * 1.5 for one, other in growing)
    assert all(wait >= FIVE_DAYS * 8 // 10 for wait in found[-20:])


def test_a_server_that_refuses_tcp_is_tried_again_sooner_than_one_whose_tls_fails() -> None:
    refused, failed = waits(KeFailure.UNREACHED, 5), waits(KeFailure.REACHED, 5)
    assert all(one.scaled_ns * 5 < other.scaled_ns for one, other in zip(refused, failed, strict=True))


def test_when_it_gets_further_and_fails_then_the_wait_is_that_of_the_later_failure() -> None:
    retry = KeRetry(random.Random(1))
    retry.failed(START, KeFailure.UNREACHED)
    retry.failed(START, KeFailure.REACHED)
    assert retry.state.wait >= Duration.from_s(100)


def test_clients_that_fail_together_do_not_come_back_together() -> None:
    assert 20 == len({waits(KeFailure.REACHED, 1, seed)[0] for seed in range(20)})
    assert 20 == len({waits(KeFailure.REACHED, 40, seed)[-1] for seed in range(20)})


def test_keys_that_only_bring_naks_are_not_asked_for_without_end() -> None:
    """NTS NAK, new keys, NTS NAK, and so on: the waits grow as if the attempts had failed."""
    retry, now, found = KeRetry(random.Random(1)), START, []
    for _ in range(10):
        retry.established(now)
        assert not retry.allowed(now)
        allowed_at = retry.state.allowed_at
        assert allowed_at is not None
        found.append(allowed_at - now)
        now = allowed_at
    assert found[0] >= Duration.from_s(10)
    assert all(other.scaled_ns >= one.scaled_ns * 1.5 for one, other in pairwise(found))


def test_a_valid_answer_ends_the_waits() -> None:
    retry = KeRetry(random.Random(1))
    for _ in range(5):
        retry.failed(START, KeFailure.REACHED)
    retry.established(START)
    assert 6 == retry.state.attempts
    retry.verified()
    assert (0, ZERO, None) == (retry.state.attempts, retry.state.wait, retry.state.allowed_at)
    assert retry.allowed(START)
    retry.failed(START, KeFailure.UNREACHED)
    assert retry.state.wait <= Duration.from_s(12)


def test_keys_are_made_anew_after_four_weeks() -> None:
    retry = KeRetry(random.Random(1))
    assert not retry.refresh_due(START + WEEK * 100)
    retry.established(START)
    retry.verified()
    assert not retry.refresh_due(START + WEEK * 4 - Duration(1))
    assert retry.refresh_due(START + WEEK * 4)
    retry.established(START + WEEK * 4)
    assert not retry.refresh_due(START + WEEK * 5)


def test_stored_keys_bring_their_age() -> None:
    retry = KeRetry(random.Random(1))
    retry.established(START, age=WEEK * 3)
    assert not retry.refresh_due(START + WEEK - Duration(1))
    assert retry.refresh_due(START + WEEK)


# -- the servers of a pool


def test_each_server_of_a_pool_waits_by_itself() -> None:
    servers = KeRetries(random.Random(1))
    bad, good = servers.of("192.0.2.1", START), servers.of("192.0.2.2", START)
    assert ZERO == servers.wait(START)
    bad.failed(START, KeFailure.REACHED)
    assert not servers.of("192.0.2.1", START).allowed(START)
    assert good.allowed(START)
    assert servers.wait(START) == bad.state.wait
    assert not bad.dead
    bad.established(START)
    assert bad.dead, "keys that nobody answers to are no better than none"
    bad.verified()
    assert not bad.dead


def test_whatever_a_pool_names_there_are_not_ever_more_waits() -> None:
    servers = KeRetries(random.Random(1))
    waiting = servers.of("192.0.2.1", START)
    waiting.failed(START, KeFailure.REACHED)
    for number in range(10 * MAX_SERVERS):
        servers.of(f"2001:db8::{number:x}", START)
    assert waiting is servers.of("192.0.2.1", START), "those that wait are kept, as long as there are others"
    for number in range(MAX_SERVERS):
        servers.of(f"198.51.100.{number}", START).failed(START, KeFailure.REACHED)
    assert waiting is not servers.of("192.0.2.1", START)
