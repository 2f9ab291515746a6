"""Which sources are believed, and why not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from servo_support import candidate

from timesync.base.ids import SourceId
from timesync.servo.select import Candidate, Ruling, Selector, intersection
from timesync.servo.view import SourceState


def _brute(claims: Sequence[Candidate]) -> tuple[float, float] | None:
    """RFC 5905, 11.2.1, by trying every edge; then the widest deepest overlap of a majority."""
    spans = [(c.offset_s - c.bound_s, c.offset_s + c.bound_s) for c in claims]
    points = sorted({x for span in spans for x in span})

    def depth(x: float) -> int:
        return sum(low <= x <= high for low, high in spans)

    n = len(claims)
    for f in range(n):
        if 2 * f >= n:
            break
        covered = [x for x in points if depth(x) >= n - f]
        if covered:
            low, high = covered[0], covered[-1]
            if sum(not low <= c.offset_s <= high for c in claims) <= f:
                return low, high
    most = max(depth(x) for x in points)
    if 2 * most <= n:
        return None
    runs = [(a, b) for a, b in itertools.pairwise(points) if depth((a + b) / 2) == most]
    return max(runs, key=lambda run: run[1] - run[0]) if runs else None


@pytest.mark.parametrize("seed", range(5))
def test_the_intersection_is_that_of_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    found = 0
    for _ in range(400):
        claims = [candidate(str(n), rng.uniform(-1, 1), rng.uniform(0.05, 0.8)) for n in range(rng.randrange(1, 8))]
        expected = _brute(claims)
        found += expected is not None
        assert expected == intersection(claims)
    assert 100 < found < 400


def _states(rulings: dict[SourceId, Ruling]) -> dict[str, str]:
    return {source: ruling.state.value for source, ruling in rulings.items()}


def test_a_falseticker_is_named_with_its_reason() -> None:
    rulings = Selector(1).select([candidate("a", 0.0, 1e-3), candidate("b", 1e-4, 1e-3), candidate("c", 0.5, 1e-3)])
    assert {"a": "selected", "b": "selected", "c": "falseticker"} == _states(rulings)
    assert "disagrees with 2 others by 500 ms" in rulings[SourceId("c")].reason


def test_a_drifting_source_is_found_by_its_frequency() -> None:
    good = [candidate(n, 0.0, 1e-2, frequency=1e-6) for n in "abc"]
    rulings = Selector(1).select([*good, candidate("d", 0.0, 1e-2, frequency=3e-6)])
    assert "falseticker" == _states(rulings)["d"]
    assert "differs from that of 3 others by 2 ppm" in rulings[SourceId("d")].reason
    young = Selector(1).select([*good, candidate("d", 0.0, 1e-2, frequency=3e-6, samples=5)])
    assert "selected" == _states(young)["d"]


def test_two_that_disagree_are_both_refused() -> None:
    rulings = Selector(1).select([candidate("a", 0.0, 1e-3), candidate("b", 1.0, 1e-3)])
    assert {"a": "falseticker", "b": "falseticker"} == _states(rulings)
    assert all("no majority" in r.reason for r in rulings.values())


def test_a_trusted_source_is_not_outvoted() -> None:
    liars = [candidate(n, 1.0, 1e-3) for n in "bcd"]
    rulings = Selector(2).select([candidate("a", 0.0, 1e-3, trusted=True), *liars])
    assert {"a": "selected", "b": "falseticker", "c": "falseticker", "d": "falseticker"} == _states(rulings)


def test_fewer_than_the_minimum_do_not_steer() -> None:
    two = [candidate("a", 0.0, 1e-3), candidate("b", 0.0, 1e-3)]
    rulings = Selector(3).select(two)
    assert {"a": "candidate", "b": "candidate"} == _states(rulings)
    assert "2 agree of the 3" in rulings[SourceId("a")].reason
    assert {"a": "selected", "b": "selected", "c": "selected"} == _states(
        Selector(3).select([*two, candidate("c", 0.0, 1e-3)])
    )


def test_a_selected_source_stays_in_where_it_would_not_come_in() -> None:
    selector = Selector(1)

    def worse(ratio: float) -> str:
        return _states(selector.select([candidate("a", 0.0, 1e-3), candidate("b", 0.0, ratio * 1e-3)]))["b"]

    assert ["candidate", "selected", "selected", "candidate", "candidate", "selected"] == [
        worse(ratio) for ratio in (4.0, 2.9, 4.9, 5.1, 4.0, 2.9)
    ]


def test_a_refused_source_is_used_again_after_four_samples_that_agree() -> None:
    selector = Selector(1)
    pair = [candidate("a", 0.0, 1e-3), candidate("b", 0.0, 1e-3)]
    selector.select([*pair, candidate("c", 1.0, 1e-3, samples=50)])
    back = [selector.select([*pair, candidate("c", 0.0, 1e-3, samples=n)])[SourceId("c")] for n in range(51, 56)]
    assert [SourceState.CANDIDATE] * 3 + [SourceState.SELECTED] * 2 == [ruling.state for ruling in back]
    assert "after 3 more" in back[0].reason
