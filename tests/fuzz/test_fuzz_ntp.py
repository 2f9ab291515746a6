"""A short run of the NTP fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import random

import fuzz_ntp
import pytest
from targets import FindingError, Target, fuzz

from timesync.wire.error import WireError
from timesync.wire.ntp import decode


def test_the_codec_raises_wire_error_or_returns() -> None:
    count = 20_000
    refused = fuzz(fuzz_ntp.CODEC, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


def test_noise_does_no_harm() -> None:
    assert fuzz(fuzz_ntp.NOISE, 5_000, seed=1) > 0


@pytest.mark.parametrize("target", fuzz_ntp.client_targets(), ids=lambda target: target.name)
def test_a_client_withstands_mutated_answers(target: Target) -> None:
    fuzz(target, 5_000, seed=1)


@pytest.mark.parametrize("target", fuzz_ntp.query_targets(), ids=lambda target: target.name)
def test_a_query_withstands_mutated_answers(target: Target) -> None:
    fuzz(target, 3_000, seed=1)


@pytest.mark.parametrize("interleaved", [False, True])
def test_the_valid_answers_of_the_fuzzer_are_an_outcome_of_a_query(interleaved: bool) -> None:
    session = fuzz_ntp.Questions("x", interleaved)
    session.answer(session.valid())
    outcome = session.query.outcomes[-1]
    assert (True, interleaved) == (outcome.usable, outcome.interleaved)


def test_the_valid_answers_of_the_fuzzer_are_measured() -> None:
    """Else the run above would prove nothing."""
    session = fuzz_ntp.Answers("x", None, fuzz_ntp.Interleaved.ALWAYS, fuzz_ntp.ORIGIN)
    for _ in range(10):
        session.target(session.valid())
    status = session.client.status()
    assert (10, 0, True) == (status.received, status.dropped, status.interleaved)


def test_a_finding_tells_how_to_see_it_again() -> None:
    def target(data: bytes) -> None:
        if len(data) > 2:
            raise IndexError("boom")

    broken = Target("broken", lambda rng: rng.randbytes(rng.randrange(5)), target, (WireError,))
    with pytest.raises(FindingError, match=r"broken, seed 3, input \d+: IndexError\('boom'\)\n[0-9a-f]{6,8}$"):
        fuzz(broken, 100, seed=3)


def test_the_same_seed_gives_the_same_inputs() -> None:
    runs = [[fuzz_ntp.datagram(random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_every_truncation_of_a_packet_is_a_packet_or_refused() -> None:
    data = fuzz_ntp.header(random.Random(0)) + b"\1\4\0\x28" + bytes(36) + bytes(20)
    for size in range(len(data) + 1):
        try:
            decode(data[:size])
        except WireError:
            assert size not in (48, len(data))
