"""A short run of the fuzz target of NTP over PTP; ``run.py`` runs it longer."""

from __future__ import annotations

from fuzz_ntp_over_ptp import OVER_PTP, counters
from targets import fuzz


def test_the_server_withstands_mutated_requests() -> None:
    before = counters()
    fuzz(OVER_PTP, 4_000, seed=3)
    after = counters()
    assert after.over_ptp - before.over_ptp > 400, "requests must be answered, else the run proves nothing"
    assert after.bad - before.bad > 400
