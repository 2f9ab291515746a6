"""A short run of the Roughtime fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import fuzz_roughtime
from targets import fuzz


def test_the_valid_response_of_the_fuzzer_is_believed() -> None:
    """Else the runs below would prove nothing."""
    fuzz_roughtime.believed(fuzz_roughtime.VALID)


def test_the_codec_raises_wire_error_or_returns() -> None:
    count = 10_000
    assert count * 0.1 < fuzz(fuzz_roughtime.CODEC, count, seed=1) < count * 0.9, "both ways must be well trodden"


def test_a_mutated_response_tells_the_signed_time_or_none() -> None:
    count = 5_000
    assert count * 0.5 < fuzz(fuzz_roughtime.VERIFY, count, seed=1) < count


def test_a_mutated_report_proves_nothing() -> None:
    assert fuzz(fuzz_roughtime.REPORT, 5_000, seed=1) > 100
