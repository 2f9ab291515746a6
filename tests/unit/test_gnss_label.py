"""Which second is an edge: the grid, the number, and what is refused."""

from __future__ import annotations

import random

import pytest
from gnss_support import Local, edges, numberer_settings, second

from timesync.base.ids import SourceId
from timesync.base.measure import Coarse, Stamp
from timesync.base.time import Duration
from timesync.gnss.label import Labelled, Numberer, NumbererSettings, Refusal

NOISE_S = 1e-7


def _right(answer: Labelled | Refusal) -> Labelled:
    assert isinstance(answer, Labelled), answer
    return answer


def _numbered(local: Local, until: int, *, noise_s: float = NOISE_S, seed: int = 1) -> tuple[Numberer, random.Random]:
    """A numberer that has seen the pulses 0 to ``until`` - 1, with coarse time at hand."""
    rng = random.Random(seed)
    numberer = Numberer(numberer_settings())
    for n in range(until):
        answer = numberer.pulse(
            local.stamp(n, rng.gauss(0, noise_s)), n, Coarse(local.error_s(n) + rng.gauss(0, 0.05), 0.3, "gps")
        )
    assert _right(answer).second == second(until - 1)
    return numberer, rng


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("offset_s", [0.0, -1_795_000_000.25, 12.5, 1e-4])
def test_doubled_missing_and_wild_edges_change_no_number_and_let_no_lie_through(seed: int, offset_s: float) -> None:
    rng = random.Random(seed)
    local = Local(offset_s=offset_s, frequency=rng.uniform(-5e-4, 5e-4))
    numberer = Numberer(numberer_settings())
    used = wrong = real = 0
    for count, (at, number) in enumerate(edges(rng, 1200, doubled=0.01, missing=0.05, wild=0.2)):
        stamp = local.stamp(at, rng.gauss(0, NOISE_S))
        real += number is not None
        answer = numberer.pulse(stamp, count, Coarse(local.error_s(at) + rng.uniform(-0.3, 0.3), 0.35, "gps"))
        if isinstance(answer, Labelled):
            used += 1
            wrong += number is None or answer.second != second(number) or answer.at is not stamp
            assert answer.offset == stamp.at - answer.second
    figures = numberer.figures()
    assert wrong == 0
    assert used >= 0.97 * real
    assert figures.accepted >= used
    assert figures.jitter_s == pytest.approx(NOISE_S, rel=0.8)
    assert 2 <= figures.doubled <= 30
    assert 1 <= figures.wild <= 40
    assert figures.missed == pytest.approx(60, abs=25)
    assert figures.renumbered == 0
    assert figures.numbered_by == "gps"


@pytest.mark.parametrize("early", [True, False])
def test_which_of_a_doubled_pair_is_right_is_decided_by_the_grid(early: bool) -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    times = [29.95, 30.0] if early else [30.0, 30.05]
    answers = [numberer.pulse(local.stamp(at), 30 + n, None) for n, at in enumerate(times)]
    right = _right(answers[1 if early else 0])
    assert second(30) == right.second
    assert Duration(0) == right.offset
    assert (Refusal.WILD if early else Refusal.DOUBLED) is answers[0 if early else 1]
    _right(numberer.pulse(local.stamp(31.0), 32, None))
    assert (1, 0) == (numberer.figures().doubled, numberer.figures().wild)


def test_an_edge_that_bounces_within_the_jitter_is_a_doubled_one() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    _right(numberer.pulse(local.stamp(30.0), 30, None))
    assert Refusal.DOUBLED is numberer.pulse(local.stamp(30.0, 2e-6), 31, None)


def test_a_lone_wild_edge_counts_as_wild_and_its_second_as_missed() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    assert Refusal.WILD is numberer.pulse(local.stamp(30.2), 30, None)
    after = _right(numberer.pulse(local.stamp(31.0), 31, None))
    assert 1 == after.missed
    figures = numberer.figures()
    assert (1, 0, 1) == (figures.wild, figures.doubled, figures.missed)


def test_edges_that_nobody_read_are_not_missed_pulses() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    assert 0 == _right(numberer.pulse(local.stamp(33.0), 33, None)).missed
    assert (3, 0) == (numberer.figures().unread, numberer.figures().missed)
    assert Refusal.REPEATED is numberer.pulse(local.stamp(33.0), 33, None)


def test_the_count_goes_on_without_coarse_time_and_over_a_gap() -> None:
    local = Local(offset_s=0.2, frequency=4e-4)
    numberer, rng = _numbered(local, 30)
    for n in [*range(30, 600), *range(650, 700)]:
        assert second(n) == _right(numberer.pulse(local.stamp(n, rng.gauss(0, NOISE_S)), n, None)).second
    for n in (900, 901):
        assert Refusal.SEARCHING is numberer.pulse(local.stamp(n), n, None)
    assert Refusal.UNNUMBERED is numberer.pulse(local.stamp(902), 902, None)
    assert second(903) == _right(numberer.pulse(local.stamp(903), 903, Coarse(local.error_s(903), 0.3, "gps"))).second


def test_a_slew_that_is_told_costs_nothing() -> None:
    local = Local(frequency=2e-5, slews=[(40.3, 60.7, 5e-3), (80.2, 90.1, -2e-3)])
    numberer = Numberer(numberer_settings(), local.steered)
    for n in range(120):
        answer = numberer.pulse(local.stamp(n), n, Coarse(local.error_s(n), 0.01, "ntp"))
        if n >= 2:
            assert second(n) == _right(answer).second
    assert (0, 0) == (numberer.figures().wild, numberer.figures().doubled)


def test_a_slew_that_is_not_told_costs_a_few_pulses_and_never_a_wrong_number() -> None:
    local = Local(frequency=-5e-4, slews=[(40.3, 60.7, 5e-3), (80.2, 90.1, -2e-3)])
    numberer = Numberer(numberer_settings())
    lost = 0
    for n in range(120):
        answer = numberer.pulse(local.stamp(n, 1e-8), n, Coarse(local.error_s(n), 0.01, "ntp") if n < 30 else None)
        if isinstance(answer, Labelled):
            assert second(n) == answer.second
        else:
            lost += n >= 2
    assert lost <= 4 * 3


def test_a_step_restarts_the_grid_and_coarse_time_gives_the_number_again() -> None:
    local = Local(offset_s=3.25)
    numberer, _ = _numbered(local, 30)
    before = local.stamp(29.5)
    local.offset_s, local.epoch = 0.0, 1
    answers = [numberer.pulse(local.stamp(n), n, Coarse(0.0, 0.1, "gps")) for n in range(30, 34)]
    assert [Refusal.SEARCHING, Refusal.SEARCHING] == answers[:2]
    assert [second(32), second(33)] == [_right(answer).second for answer in answers[2:]]
    assert Duration(0) == _right(answers[3]).offset
    assert Refusal.OLD_EPOCH is numberer.pulse(before, 34, Coarse(0.0, 0.1, "gps"))


def test_a_clock_set_back_that_nobody_noticed_restarts_the_grid() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    local.offset_s = -7.3
    answers = [numberer.pulse(local.stamp(n), n, Coarse(-7.3, 0.1, "gps")) for n in range(30, 34)]
    assert [Refusal.SEARCHING, Refusal.SEARCHING] == answers[:2]
    assert second(33) == _right(answers[3]).second


def test_coarse_time_that_contradicts_several_times_in_a_row_renumbers() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    numberer.notes()
    numbers = []
    for n in range(30, 40):
        by = Coarse(1.02, 0.1, "ntp")
        numbers.append((_right(numberer.pulse(local.stamp(n), n, by)).second - second(n)).s())
    assert [0, 0, 0, 0, -1, -1, -1, -1, -1, -1] == numbers
    notes = numberer.notes()
    assert ["pulses-renumbered"] == [note.name for note in notes]
    assert "pps0: its pulses are renumbered by -1 s, since ntp said so 5 times in a row" == notes[0].text
    assert 1 == numberer.figures().renumbered
    assert "ntp" == numberer.figures().numbered_by


@pytest.mark.parametrize(
    "coarse",
    [
        lambda n: Coarse(1.0, 0.45, "poor"),
        lambda n: Coarse(1.0 if n % 4 else 0.0, 0.1, "fickle"),
        lambda n: Coarse(float(n % 7), 0.1, "wild"),
    ],
)
def test_coarse_time_that_is_poor_or_contradicts_itself_does_not_renumber(coarse) -> None:  # type: ignore[no-untyped-def]  # a lambda of one line
    local = Local()
    numberer, _ = _numbered(local, 30)
    for n in range(30, 80):
        assert second(n) == _right(numberer.pulse(local.stamp(n), n, coarse(n))).second


@pytest.mark.parametrize(
    ("offset_s", "bound_s", "answer"),
    [
        (0.0, 0.4, 3),
        (0.35, 0.35, 3),
        (-0.35, 0.35, 3),
        (0.0, 0.5, Refusal.AMBIGUOUS),
        (0.45, 0.45, Refusal.AMBIGUOUS),
        (0.3, 1e-3, Refusal.CONTRADICTED),
        (0.09, 1e-3, 3),
        (7.1, 0.2, -4),
    ],
)
def test_what_coarse_time_can_number(offset_s: float, bound_s: float, answer: int | Refusal) -> None:
    local = Local()
    numberer = Numberer(numberer_settings())
    assert "no pulse has come yet" == numberer.trouble
    for n in range(3):
        numberer.pulse(local.stamp(n), n, None)
    assert "pulses arrive, but nothing tells which second they mark: " not in (numberer.trouble or "")
    got = numberer.pulse(local.stamp(3), 3, Coarse(offset_s, bound_s, "gps"))
    if isinstance(answer, Refusal):
        assert answer is got
        assert f"pulses arrive, but {answer.value}" == numberer.trouble
    else:
        assert second(answer) == _right(got).second
        assert numberer.trouble is None


def test_the_offset_has_the_constants_and_the_sawtooth_taken_out() -> None:
    delay, sawtooth = Duration.from_ns(50), Duration.from_ns(-7)
    local = Local(offset_s=1e-3)
    numberer = Numberer(NumbererSettings(source=SourceId("pps0"), name="pps0", delay=delay))
    for n in range(4):
        true = second(n) + delay + sawtooth
        answer = numberer.pulse(Stamp(local.stamp(n).clock, 0, true + Duration.from_s(1e-3)), n, Coarse(0.0, 0.1, "x"))
    assert Duration.from_s(1e-3) == _right(answer).corrected(sawtooth).offset


def test_pulses_that_move_within_the_second_need_a_new_number() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    answers = [numberer.pulse(local.stamp(n + 0.4), n, None) for n in range(30, 34)]
    assert [Refusal.WILD, Refusal.WILD] == answers[:2]
    assert Refusal.UNNUMBERED is answers[3]
    assert "pulses-moved" in [note.name for note in numberer.notes()]


def test_both_edges_of_a_pulse_are_noticed() -> None:
    local = Local()
    numberer = Numberer(numberer_settings())
    for n in range(40):
        for width in (0.0, 0.1):
            numberer.pulse(local.stamp(n + width), int(2 * n + width * 10), Coarse(0.0, 0.05, "gps"))
    assert "two edges come in each second" in (numberer.trouble or "")


@pytest.mark.parametrize("jitter_s", [1e-8, 1e-6, 1e-4, 5e-4])
def test_the_jitter_is_learnt_and_few_right_edges_are_refused(jitter_s: float) -> None:
    rng = random.Random(5)
    local = Local(frequency=1e-5)
    numberer = Numberer(numberer_settings())
    used = sum(
        isinstance(numberer.pulse(local.stamp(n, rng.gauss(0, jitter_s)), n, Coarse(0.0, 0.1, "x")), Labelled)
        for n in range(600)
    )
    assert used >= 570
    assert numberer.figures().jitter_s == pytest.approx(jitter_s, rel=0.5)


def test_jitter_that_grows_a_thousandfold_is_followed() -> None:
    local = Local()
    numberer, rng = _numbered(local, 100)
    used = sum(
        isinstance(numberer.pulse(local.stamp(n, rng.gauss(0, 1e-4)), n, None), Labelled) for n in range(100, 400)
    )
    assert used >= 200


def test_a_device_that_was_opened_anew_is_numbered_anew() -> None:
    local = Local()
    numberer, _ = _numbered(local, 30)
    numberer.forget()
    answers = [numberer.pulse(local.stamp(n + 0.0), n - 200, Coarse(0.0, 0.1, "gps")) for n in range(200, 204)]
    assert [second(202), second(203)] == [_right(answer).second for answer in answers[2:]]
    assert 0 == numberer.figures().unread
