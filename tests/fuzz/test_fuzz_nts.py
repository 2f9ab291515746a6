"""A short run of the NTS fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import fuzz_nts
import pytest
from targets import Target, fuzz

PARSERS = [fuzz_nts.KE_SERVER, fuzz_nts.KE_CLIENT, fuzz_nts.FIELDS, fuzz_nts.COOKIE]
FILES = [fuzz_nts.SAVED_FILE, fuzz_nts.KEY_FILE]


@pytest.mark.parametrize("target", PARSERS, ids=lambda target: target.name)
def test_parsers_refuse_or_return(target: Target) -> None:
    count = 4_000
    assert count * 0.01 < fuzz(target, count, seed=1) < count * 0.99, "both ways must be trodden"


@pytest.mark.parametrize("target", FILES, ids=lambda target: target.name)
def test_files_are_refused_or_come_back_as_they_were(target: Target) -> None:
    count = 3_000
    assert count * 0.1 < fuzz(target, count, seed=1) < count


@pytest.mark.parametrize("target", fuzz_nts.packet_targets(), ids=lambda target: target.name)
def test_only_what_the_other_side_has_made_is_believed(target: Target) -> None:
    count = 4_000
    refused = fuzz(target, count, seed=1)
    assert count * 0.5 < refused < count * 0.95, "the good ones must have been believed"
