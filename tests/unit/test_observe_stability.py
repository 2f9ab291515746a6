"""Stability statistics against allantools, against their definitions, and against noise whose statistics are known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import allantools
import numpy as np
import pytest
from record_support import record

from timesync.base.time import UNITS_PER_S
from timesync.observe import stability
from timesync.observe.records import rows
from timesync.observe.stability import MASKS, Point, longest_run

SECOND = 1_000_000_000


def recording(seed: int, size: int) -> list[float]:
    """Phase of a clock with white phase noise, a random walk of frequency, and a drift."""
    rng = random.Random(seed)
    phase, rate, out = 1e-6, 3e-9, []
    for _ in range(size):
        rate += rng.gauss(0, 1e-11) + 1e-13
        phase += rate
        out.append(phase + rng.gauss(0, 5e-9))
    return out


def theirs(name: str, phase: Sequence[float], tau0: float) -> dict[float, float]:
    function = getattr(allantools, {"adev": "oadev"}.get(name, name))
    taus, values, _, _ = function(np.array(phase), rate=1 / tau0, data_type="phase", taus="octave")
    return dict(zip((round(tau, 9) for tau in taus), values, strict=True))


@pytest.mark.parametrize("name", list(stability.STATISTICS))
@pytest.mark.parametrize(("size", "tau0"), [(4, 1.0), (50, 0.125), (1000, 1.0), (5000, 16.0)])
def test_they_agree_with_allantools(name: str, size: int, tau0: float) -> None:
    phase = recording(7, size)
    ours = stability.STATISTICS[name](phase, tau0)
    expected = theirs(name, phase, tau0)
    compared = 0
    for point in ours:
        other = expected.get(round(point.tau_s, 9))
        if other is not None:
            compared += 1
            assert math.isclose(point.value, other, rel_tol=1e-6), (point, other)
    assert compared >= min(len(ours), 1)
    # allantools leaves out the longest times, of which there are but a few terms.
    assert len(expected) <= len(ours) <= len(expected) + 2


PULSES = """
name: recorded
description: A receiver and its pulse, once a second.
duration: 20min
settle: 5min
world:
  clock: {offset: 1ms, frequency: -12ppm, wander: 1e-9}
  hardware:
    receivers: {/dev/ttyAMA0: {language: nmea, latency: {mean: 120ms, deviation: 30ms}}}
    pps: {/dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}}
config:
  sources:
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: /dev/pps0, pairs_with: nmea}
"""


def test_they_agree_with_allantools_on_what_a_daemon_recorded() -> None:
    recorded, _ = record(PULSES)
    pulses = [row for row in recorded if row.kind == rows.MEASUREMENT and row.source == "/dev/pps0"]
    times = [(row.at or 0) >> 16 for row in pulses]
    offsets = [(row.offset or 0) / UNITS_PER_S for row in pulses]
    run = longest_run(times, offsets, SECOND)
    assert len(run.phase_s) > 1000
    for name, statistic in stability.STATISTICS.items():
        expected = theirs(name, run.phase_s, 1.0)
        found = {round(point.tau_s, 9): point.value for point in statistic(run.phase_s, 1.0)}
        assert len(expected) >= 8
        for tau, value in expected.items():
            assert math.isclose(found[tau], value, rel_tol=0.01), (name, tau)


def test_mtie_is_what_its_definition_says() -> None:
    phase = recording(3, 200)
    for point in stability.mtie(phase, 1.0):
        m = round(point.tau_s)
        windows = [phase[i : i + m + 1] for i in range(len(phase) - m)]
        assert point == Point(float(m), max(max(window) - min(window) for window in windows), len(windows))


def test_a_constant_rate_is_no_instability_and_is_all_of_mtie() -> None:
    phase = [1e-7 * i for i in range(1000)]
    assert all(point.value < 1e-18 for point in stability.adev(phase, 1.0))
    assert all(math.isclose(point.value, 1e-7 * point.tau_s, rel_tol=1e-9) for point in stability.mtie(phase, 1.0))


def test_white_phase_noise_falls_as_it_should() -> None:
    rng = random.Random(1)
    phase = [rng.gauss(0, 1e-8) for _ in range(20_000)]
    # NIST SP 1065, table 3: ADEV falls with tau, TDEV with its square root; at tau0 they are sqrt(3) sigma, and sigma.
    assert math.isclose(stability.adev(phase, 1.0)[0].value, math.sqrt(3) * 1e-8, rel_tol=0.03)
    tdev = stability.tdev(phase, 1.0)
    assert math.isclose(tdev[0].value, 1e-8, rel_tol=0.03)
    assert math.isclose(tdev[6].value, 1e-8 / 8, rel_tol=0.15)


@pytest.mark.parametrize("name", list(stability.STATISTICS))
def test_too_little_data_gives_no_points(name: str) -> None:
    assert [] == stability.STATISTICS[name]([], 1.0)
    assert [] == stability.STATISTICS[name]([1.0], 1.0)


def test_the_longest_stretch_without_a_gap_is_found() -> None:
    times = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    phase: list[float | None] = [0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    run = longest_run([t * SECOND for t in times], phase, SECOND)
    assert ((4, [5.0, 6.0, 7.0, 8.0, 9.0], False)) == (run.start, run.phase_s, run.whole)
    phase[6] = None
    run = longest_run([t * SECOND for t in times], phase, SECOND)
    assert ((0, [0.0, 1.0, 2.0, 3.0])) == (run.start, run.phase_s)
    assert longest_run([0, SECOND], [1.0, 2.0], SECOND).whole
    assert longest_run([], [], SECOND) == stability.Run(0, [], 1.0, True)


def test_times_that_jitter_are_no_gap() -> None:
    times = [t * SECOND + (t % 3) * 100_000_000 for t in range(100)]
    assert 100 == len(longest_run(times, [0.0] * 100, SECOND).phase_s)


# ITU-T G.811 table 1 and 2, G.8272 tables 1 to 4: limits in seconds at some times.
@pytest.mark.parametrize(
    ("name", "statistic", "tau", "limit"),
    [
        ("PRTC-A", "mtie", 100, 52.5e-9), ("PRTC-A", "mtie", 300, 100e-9), ("PRTC-A", "tdev", 100, 3e-9),
        ("PRTC-A", "tdev", 150, 4.5e-9), ("PRTC-A", "tdev", 5000, 30e-9), ("PRTC-B", "mtie", 300, 40e-9),
        ("PRTC-B", "mtie", 20, 30.5e-9), ("PRTC-B", "tdev", 50, 1e-9), ("PRTC-B", "tdev", 1000, 5e-9),
        ("PRC", "mtie", 1000, 300e-9), ("PRC", "mtie", 10_000, 390e-9), ("PRC", "tdev", 20_000, None),
    ],
)  # fmt: skip
def test_masks(name: str, statistic: str, tau: float, limit: float | None) -> None:
    mask = next(mask for mask in MASKS if (mask.name, mask.statistic) == (name, statistic))
    got = mask.limit(tau)
    assert got is None if limit is None else got is not None and math.isclose(got, limit, rel_tol=2e-3)


def test_masks_have_no_jumps_and_agree_with_those_of_allantools() -> None:
    from allantools import mask as known

    names = {"PRC": "prc", "PRTC-A": "prtcA", "PRTC-B": "prtcB", "ePRTC": "eprtc"}
    for mask in MASKS:
        for piece, following in zip(mask.pieces, mask.pieces[1:], strict=False):
            left, right = (one.offset_s + one.slope * piece.until_s for one in (piece, following))
            assert math.isclose(left, right, rel_tol=5e-3)
        for tau in (0.5, 10, 200, 900, 5000, 50_000, 350_000, 500_000):
            ours = mask.limit(tau)
            theirs = getattr(known, f"{names[mask.name]}_{mask.statistic}")(tau)
            assert ours is None or math.isclose(ours, theirs, rel_tol=2e-3)


def test_a_point_above_its_mask_is_named() -> None:
    mask = MASKS[0]
    good, bad = Point(10, 20e-9, 5), Point(300, 101e-9, 2)
    assert [bad] == mask.broken([good, bad, Point(0.05, 1.0, 3)])
