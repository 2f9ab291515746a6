"""What the log looks like, and that it cannot be flooded."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Literal

import pytest

from timesync.base.ids import SourceId
from timesync.base.machine import Noted
from timesync.observe import journal
from timesync.observe.journal import LOGGER, Journal, set_up


@pytest.fixture(autouse=True)
def logger() -> Iterator[None]:
    """The package's logger as it was, afterwards."""
    handlers, level, propagate = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers[:], LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


def test_text_is_one_line_with_its_level_and_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "text", stamped=False)
    made = Journal()
    made.note(Noted("info", "a", "all is well: 3 µs"))
    made.note(Noted("error", "b", "two\nlines \x1b[2J and 100%s"))
    assert "all is well: 3 µs\nerror: two\\nlines \\x1b[2J and 100%s\n" == capsys.readouterr().err


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "json", stamped=True)
    Journal().note(Noted("warning", "falseticker", "two\nlines", SourceId("ntp.example")))
    logging.getLogger("timesync.elsewhere").warning("cannot %s", "save")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())

    del first["time"], second["time"]
    assert {"level": "warning", "event": "falseticker", "source": "ntp.example", "text": "two\nlines"} == first
    assert {"level": "warning", "event": "log", "source": None, "text": "cannot save"} == second


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_is_told_how_important_a_line_is(
    form: Literal["text", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    # Syslog's numbers: err 3, warning 4, info 6, debug 7 (RFC 5424, table 2).
    set_up("debug", form, stamped=False)
    made = Journal()
    levels: tuple[Literal["error", "warning", "info", "debug"], ...] = ("error", "warning", "info", "debug")
    for level in levels:
        made.note(Noted(level, "a", level))
    plain = capsys.readouterr().err.splitlines()
    set_up("debug", form, stamped=False, prioritized=True)
    for level in levels:
        made.note(Noted(level, "a", level))
    told = capsys.readouterr().err.splitlines()
    assert ["<3>", "<4>", "<6>", "<7>"] == [line[:3] for line in told]
    if form == "text":
        assert plain == [line[3:] for line in told]
    else:
        assert list(levels) == [json.loads(line[3:])["level"] for line in told]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", "text", stamped=False)
    made = Journal()
    made.note(Noted("info", "a", "too small"))
    made.note(Noted("warning", "b", "large enough"))
    assert "warning: large enough\n" == capsys.readouterr().err


def test_a_flood_is_cut_and_what_was_left_out_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(journal, "time", SimpleNamespace(monotonic=lambda: now))
    set_up("info", "text", stamped=False)
    made = Journal()
    for number in range(80):
        made.note(Noted("info", "flood", f"{number}"))
    now += 1.0
    for number in range(80, 100):
        made.note(Noted("info", "flood", f"{number}"))
    said = capsys.readouterr().err.splitlines()

    # Fifty at once, five a second later; thirty were left out in between.
    assert [*map(str, range(50)), "warning: 30 lines were left out", *map(str, range(80, 85))] == said
