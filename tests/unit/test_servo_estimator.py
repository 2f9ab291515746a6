"""The estimator against a Kalman filter in matrices, written from the textbook."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from servo_support import START, tai

from timesync.servo.estimator import Estimator, Prediction

Matrix = np.ndarray[Any, np.dtype[np.float64]]


class Oracle:
    """x = (offset, frequency, drift), white noise in frequency (q) and in drift (r), integrated exactly."""

    def __init__(self, offset: float, variance: float, frequency: float, deviation: float) -> None:
        self.x: Matrix = np.array([offset, frequency, 0.0])
        self.p: Matrix = np.diag([variance, deviation**2, 0.0])

    def ahead(self, t: float, wander: float, drift: float) -> tuple[Matrix, Matrix]:
        f = np.array([[1, t, t * t / 2], [0, 1, t], [0, 0, 1]])
        q = wander**2 * np.array([[t**3 / 3, t**2 / 2, 0], [t**2 / 2, t, 0], [0, 0, 0]])
        r = drift**2 * np.array(
            [[t**5 / 20, t**4 / 8, t**3 / 6], [t**4 / 8, t**3 / 3, t**2 / 2], [t**3 / 6, t**2 / 2, t]]
        )
        return f @ self.x, f @ self.p @ f.T + q + r

    def advance(self, t: float, wander: float, drift: float) -> None:
        self.x, self.p = self.ahead(t, wander, drift)

    def update(self, innovation: float, variance: float) -> None:
        """Joseph's form: symmetric and positive by construction."""
        h = np.array([[1.0, 0.0, 0.0]])
        k = self.p @ h.T / (self.p[0, 0] + variance)
        left = np.eye(3) - k @ h
        self.x = self.x + k[:, 0] * innovation
        self.p = left @ self.p @ left.T + variance * (k @ k.T)


def _state(e: Estimator) -> tuple[Matrix, Matrix]:
    p = np.array([[e._pxx, e._pxf, e._pxd], [e._pxf, e._pff, e._pfd], [e._pxd, e._pfd, e._pdd]])
    return np.array([e._x, e._f, e._d]), p


def _close(expected: tuple[Matrix, Matrix], actual: tuple[Matrix, Matrix]) -> None:
    scale = np.sqrt(np.diag(expected[1]))
    assert np.all(np.abs(expected[0] - actual[0]) <= 1e-9 * (np.abs(expected[0]) + scale))
    # Relative to what a covariance of these variances can be: single entries may pass through zero.
    assert np.all(np.abs(expected[1] - actual[1]) <= 1e-9 * np.outer(scale, scale))


@pytest.mark.parametrize("seed", range(6))
def test_random_sequences_agree_with_matrices(seed: int) -> None:
    rng = random.Random(seed)
    wander, drift = 10 ** rng.uniform(-9, -6), 10 ** rng.uniform(-12, -9)
    noise = 10 ** rng.uniform(-6, -3)
    ours = Estimator(START, 0.1, noise**2, 1e-6, 1e-5)
    oracle = Oracle(0.1, noise**2, 1e-6, 1e-5)
    t = 0.0
    for _ in range(200):
        passed = rng.randrange(1, 1024) / 16
        t += passed
        _close_prediction(oracle.ahead(passed, wander, drift), ours.predict(tai(t), wander, drift))
        ours.advance(tai(t), wander, drift)
        oracle.advance(passed, wander, drift)
        _close((oracle.x, oracle.p), _state(ours))
        innovation = rng.gauss(0.0, noise)
        ours.update(innovation, noise**2)
        oracle.update(innovation, noise**2)
        _close((oracle.x, oracle.p), _state(ours))


def _close_prediction(expected: tuple[Matrix, Matrix], actual: Prediction) -> None:
    x, p = expected
    assert p[0, 0] == pytest.approx(actual.offset_variance, rel=1e-9)
    assert p[1, 1] == pytest.approx(actual.frequency_variance, rel=1e-9)
    assert abs(p[0, 1] - actual.covariance) <= 1e-9 * (p[0, 0] * p[1, 1]) ** 0.5
    assert abs(x[0] - actual.offset_s) <= 1e-9 * (abs(x[0]) + p[0, 0] ** 0.5)
    assert abs(x[1] - actual.frequency) <= 1e-9 * (abs(x[1]) + p[1, 1] ** 0.5)


def test_a_prediction_changes_nothing() -> None:
    e = Estimator(START, 1.0, 1e-6, 1e-6, 1e-7)
    before = _state(e)
    e.predict(tai(1000), 1e-9, 1e-12)
    _close(before, _state(e))
    assert e.at == START


def test_the_past_is_uncertain_too() -> None:
    e = Estimator(START, 1.0, 1e-12, 1e-6, 1e-9)
    past = e.predict(tai(-10), 1e-9)
    assert 1.0 - 1e-5 == pytest.approx(past.offset_s, abs=1e-12)
    # p + t^2 f + q^2 t^3 / 3: as much as the future.
    assert 1e-12 + 100e-18 + 1e-18 * 1000 / 3 == pytest.approx(past.offset_variance, rel=1e-12)
    e.advance(tai(-10), 1e-9)
    assert e.at == START


def test_covariance_stays_positive_over_a_million_updates() -> None:
    rng = random.Random(9)
    e = Estimator(START, 0.0, 1e-12, 0.0, 1e-4)
    at, step = START, tai(1) - START
    for n in range(1_000_000):
        at = at + step
        e.advance(at, 1e-12, 2e-13)
        # Variances eight orders of magnitude apart are the hard case for round-off.
        e.update(1e-6 * (rng.random() - 0.5), 1e-18 if n % 7 == 0 else 1e-10)
        if n % 50_000 == 0:
            _positive(e)
    _positive(e)


def _positive(e: Estimator) -> None:
    _, p = _state(e)
    scale = np.sqrt(np.diag(p))
    assert np.all(scale > 0)
    assert np.linalg.eigvalsh(p / np.outer(scale, scale)).min() > -1e-6


def test_who_was_set_by_others_keeps_its_frequency_only() -> None:
    e = Estimator(START, 5.0, 1e-12, 3e-6, 1e-9, 1e-22)
    e.moved(tai(-1e6), 1e18)
    after = e.predict(tai(-1e6), 0.0)
    assert (0.0, 3e-6, 1e18, 0.0) == (after.offset_s, after.frequency, after.offset_variance, after.covariance)
    assert 1e-18 == pytest.approx(after.frequency_variance)
    e.update(123.0, 1e-12)
    assert 123.0 == e.predict(tai(-1e6), 0.0).offset_s
