"""A short run of the fuzz targets of chronyc's protocol; ``run.py`` runs them longer."""

from __future__ import annotations

import fuzz_chronyc
from targets import fuzz

from timesync.observe.chronyc_answers import Asker
from timesync.wire.candm import encode_request
from timesync.wire.candm_reply import decode_reply


def test_the_state_of_the_fuzzer_is_told() -> None:
    """Else the runs below would prove little."""
    told = fuzz_chronyc.ANSWERS.answer(encode_request(33, 1, size=104), Asker.LOCAL)
    assert told is not None
    assert 0 == decode_reply(told).status


def test_every_request_gets_an_answer_that_is_no_longer_or_is_none() -> None:
    count = 10_000
    assert 0 < fuzz(fuzz_chronyc.REQUESTS, count, seed=1) < count * 0.6, "most must reach what answers"


def test_the_codec_of_replies_raises_wire_error_or_returns() -> None:
    count = 5_000
    assert count * 0.1 < fuzz(fuzz_chronyc.REPLIES, count, seed=1) < count * 0.9, "both ways must be well trodden"
