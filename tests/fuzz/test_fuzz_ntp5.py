"""A short run of the NTPv5 fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import random

import fuzz_ntp5
import pytest
from targets import Target, fuzz

from timesync.ntp.v5.server import Reply5, Server5


def test_the_codec_raises_wire_error_or_returns() -> None:
    count = 5_000
    refused = fuzz(fuzz_ntp5.CODEC, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


def test_the_server_withstands_mutated_requests() -> None:
    far = fuzz_ntp5.Far()
    fuzz(Target("ntp5 server", far.generate, far.target), 4_000, seed=1)


def test_the_requests_of_the_fuzzer_are_answered() -> None:
    """Else the run above would prove nothing."""
    rng = random.Random(3)
    server = Server5(keys=(fuzz_ntp5.KEY,))
    at_ns = fuzz_ntp5.NOW_NS
    replies = [server.respond(fuzz_ntp5.request(rng), at_ns, at_ns, 0) for _ in range(300)]
    assert sum(isinstance(one, Reply5) for one in replies) > 60


@pytest.mark.parametrize("session", fuzz_ntp5.client_sessions(), ids=lambda session: session.name)
def test_a_client_withstands_mutated_answers(session: fuzz_ntp5.Near) -> None:
    fuzz(Target(session.name, session.generate, session.target), 4_000, seed=1)
    assert session.accepted > 200, "answers must be believed, else the run proves nothing"
