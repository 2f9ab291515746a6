"""What is learnt of a link by asking the neighbour."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from timesync.base.ids import ClockId, ClockIdentity, PortIdentity
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant
from timesync.ptp.peer_delay import PeerDelay
from timesync.wire.ptp_message import Header, PdelayResp

ME = PortIdentity(ClockIdentity(bytes.fromhex("020000fffe000001")), 1)
NEIGHBOUR = PortIdentity(ClockIdentity(bytes.fromhex("020000fffe000002")), 1)
START_NS = 1_800_000_000 * 10**9
NOISE_NS = 15


class Cable:
    """A cable to a neighbour that answers at once and says so in one step (IEEE 1588-2019, 11.4.2 c)."""

    def __init__(self, delay_ns: float) -> None:
        self.delay_ns = delay_ns
        self.peer = PeerDelay(ME, gptp=False)
        self._rng = random.Random(1)
        self._seconds = 0

    def ask(self, extra_ns: Iterable[float]) -> None:
        """One measurement for each of these, which are on top of the cable and its noise."""
        for extra in extra_ns:
            self._seconds += 1
            sent = START_NS + self._seconds * 10**9
            way = 2 * (self.delay_ns + extra) + self._rng.uniform(-NOISE_NS, NOISE_NS)
            sequence = self.peer.asks(Instant(Duration.from_s(self._seconds).scaled_ns))
            self.peer.on_sent(sequence, self._stamp(sent))
            answer = PdelayResp(Header(source=NEIGHBOUR, sequence_id=sequence), Instant.from_ns(0), ME)
            self.peer.on_answer(answer, self._stamp(sent + round(way)))

    @property
    def mean_ns(self) -> float:
        """What is believed of it."""
        assert self.peer.mean is not None
        return self.peer.mean.ns()

    @staticmethod
    def _stamp(ns: int) -> Stamp:
        return Stamp(ClockId("eth0"), 0, Instant.from_ns(ns))


def test_a_cable_that_became_longer_is_believed_after_five_answers() -> None:
    cable = Cable(500.0)
    cable.ask([0.0] * 40)
    assert cable.mean_ns == pytest.approx(500, abs=NOISE_NS)
    cable.delay_ns = 650.0
    cable.ask([0.0] * 4)
    assert cable.mean_ns == pytest.approx(500, abs=NOISE_NS)
    cable.ask([0.0])
    assert cable.mean_ns == pytest.approx(650, abs=NOISE_NS)
    assert cable.peer.count == 5


def test_a_cable_that_became_shorter_is_believed_as_soon() -> None:
    cable = Cable(500.0)
    cable.ask([0.0] * 40)
    cable.delay_ns = 400.0
    cable.ask([0.0] * 5)
    assert cable.mean_ns == pytest.approx(400, abs=NOISE_NS)


def test_answers_that_are_late_now_and_then_change_nothing() -> None:
    cable = Cable(500.0)
    cable.ask([0.0] * 40)
    cable.ask([5_000.0, 5_000.0, 0.0, 5_000.0, 5_000.0, 5_000.0, 5_000.0, 0.0])
    assert cable.mean_ns == pytest.approx(500, abs=NOISE_NS)
    assert cable.peer.count == 32


def test_noise_alone_never_passes_for_another_cable() -> None:
    cable = Cable(500.0)
    cable.ask([0.0] * 32)
    for _ in range(2_000):
        cable.ask([0.0])
        assert cable.peer.count == 32
