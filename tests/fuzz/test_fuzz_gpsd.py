"""A short run of the gpsd fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import json
import random

import fuzz_gpsd
import pytest
from targets import FindingError, Target, fuzz

from timesync.gnss.event import FixReport, PulseMark, TimeMark
from timesync.wire.gpsd import Report, decode


def test_a_line_is_read_or_refused() -> None:
    count = 10_000
    refused = fuzz(fuzz_gpsd.LINES, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


def test_a_session_withstands_what_comes() -> None:
    fuzz(fuzz_gpsd.conversation(), 1_500, seed=1)


def test_the_reports_of_the_fuzzer_are_understood() -> None:
    """Else the runs above would prove nothing."""
    talk = fuzz_gpsd.Conversation()
    heard: list[object] = []
    talk._check = lambda _data, events: heard.extend(events)  # type: ignore[method-assign]  # to see the events
    talk.target(fuzz_gpsd.VERSION + b"".join(json.dumps(one).encode() + b"\r\n" for one in fuzz_gpsd.REPORTS))
    kinds = [event.kind for event in heard if isinstance(event, TimeMark)]
    assert ["TPV", "TPV", "TOFF"] == kinds
    assert sum(isinstance(event, PulseMark) for event in heard) == 1
    assert sum(isinstance(event, FixReport) for event in heard) == 5


def test_a_line_of_control_characters_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself can fail."""

    def careless(data: bytes) -> Report:
        report = decode(data)
        if hasattr(report, "device"):
            object.__setattr__(report, "device", "\x1b")
        return report

    monkeypatch.setattr(fuzz_gpsd, "decode", careless)
    broken = Target("broken", fuzz_gpsd.line, fuzz_gpsd.read, fuzz_gpsd.LINES.allowed)
    with pytest.raises(FindingError, match="not printable"):
        fuzz(broken, 1_000, seed=1)


def test_the_same_seed_gives_the_same_streams() -> None:
    runs = [[fuzz_gpsd.stream(random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert runs[0] == runs[1]
