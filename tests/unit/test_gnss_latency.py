"""Latencies of messages: learnt robustly, remembered, and never claimed better than they are."""

from __future__ import annotations

import random
import re

import pytest

from timesync.base.time import Duration
from timesync.gnss.latency import ASSUMED_BOUND_S, ASSUMED_S, LatencyBook


def _learn(book: LatencyBook, rng: random.Random, mean_s: float, spread_s: float, count: int = 64) -> list[str]:
    said = [book.learn("RMC", mean_s + rng.gauss(0, spread_s), 1e-4) for _ in range(count)]
    return [text for text in said if text is not None]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("mean_s", "spread_s"), [(0.12, 0.03), (0.45, 0.002), (-0.1, 0.01), (0.3, 0.0)])
def test_the_claim_holds_and_is_much_better_than_the_assumption(seed: int, mean_s: float, spread_s: float) -> None:
    rng = random.Random(seed)
    book = LatencyBook()
    assert (ASSUMED_S, ASSUMED_BOUND_S, False) == (
        book.of("RMC").delay_s,
        book.of("RMC").bound_s,
        book.of("RMC").calibrated,
    )
    assert 1 == len(_learn(book, rng, mean_s, spread_s))
    found = book.of("RMC")
    assert found.calibrated
    assert found.delay_s == pytest.approx(mean_s, abs=0.6 * spread_s + 1e-9)
    assert found.bound_s < 10 * spread_s + 3e-3
    inside = sum(abs(mean_s + rng.gauss(0, spread_s) - found.delay_s) <= found.bound_s for _ in range(1000))
    assert inside >= 995
    assert (mean_s > 0.4) is found.late
    assert not book.of("GGA").calibrated


def test_nothing_is_learnt_from_a_clock_that_is_not_known_or_from_another_second() -> None:
    book = LatencyBook()
    for _ in range(64):
        book.learn("RMC", 0.12, 0.02)
        book.learn("RMC", 1.12, 1e-4)
        book.learn("RMC", -0.88, 1e-4)
    assert not book.of("RMC").calibrated


def test_outliers_do_not_move_the_latency() -> None:
    rng = random.Random(4)
    book = LatencyBook()
    for n in range(400):
        book.learn("RMC", 0.7 if n % 10 == 0 else rng.gauss(0.1, 0.005), 1e-4)
    assert book.of("RMC").delay_s == pytest.approx(0.1, abs=0.004)


def test_a_latency_that_moves_for_good_is_measured_anew() -> None:
    rng = random.Random(4)
    book = LatencyBook()
    _learn(book, rng, 0.1, 0.003)
    said = _learn(book, rng, 0.4, 0.003, 12)
    assert 1 == len(said)
    assert re.fullmatch(r"the latency of RMC has changed from (99|100)[.0-9]* ms; it is measured anew", said[0])
    assert not book.of("RMC").calibrated
    _learn(book, rng, 0.4, 0.003, 20)
    assert book.of("RMC").delay_s == pytest.approx(0.4, abs=0.003)


def test_a_fixed_delay_stays_and_its_claim_covers_what_is_seen() -> None:
    book = LatencyBook(Duration.from_s(0.2))
    assert (0.2, 0.1) == (book.of("RMC").delay_s, book.of("RMC").bound_s)
    _learn(book, random.Random(1), 0.3, 0.005)
    found = book.of("RMC")
    assert 0.2 == found.delay_s
    assert 0.12 < found.bound_s < 0.16


def test_what_was_learnt_survives_a_restart_with_some_doubt_and_nonsense_does_not() -> None:
    book = LatencyBook()
    _learn(book, random.Random(1), 0.3, 0.005)
    again = LatencyBook()
    again.restore({**book.memory(), "GGA.delay_s": 17.0, "GGA.spread_s": 0.1, "ZDA.delay_s": "x", "ZDA": {}, "": 3})
    assert again.of("RMC").delay_s == book.of("RMC").delay_s
    assert again.of("RMC").calibrated
    assert again.of("RMC").bound_s > 0.04
    assert not again.of("GGA").calibrated
    assert not again.of("ZDA").calibrated
    for bad in (float("nan"), float("inf")):
        again.restore({"VTG.delay_s": bad, "VTG.spread_s": 0.1})
        again.restore({"VTG.delay_s": 0.1, "VTG.spread_s": bad})
        assert not again.of("VTG").calibrated
