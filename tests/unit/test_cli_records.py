"""``timesync replay`` and ``timesync report`` as they are typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from record_support import WAN, record

from timesync.cli.main import cli
from timesync.config.observe import Measurements
from timesync.observe.records import rows
from timesync.observe.records.rows import Row
from timesync.observe.records.writer import Writer


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def recorded() -> list[Row]:
    return record(WAN)[0]


@pytest.fixture
def recording(tmp_path: Path, recorded: list[Row]) -> Path:
    return written(tmp_path / "records", recorded)


def written(directory: Path, recorded: list[Row]) -> Path:
    directory.mkdir()
    writer = Writer(Measurements(directory=str(directory)), lambda *_: None)
    writer.take(recorded)
    writer.close()
    return directory


def test_alternatives_stand_beside_the_recording(recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("sources:\n  - {ntp: near, noselect: true}\n  - {ntp: far}\nsteering: {max_slew: 50ppm}\n")
    result = typed("replay", recording, "--set", "steering.max_slew=100ppm, steering.panic=5s", "-c", other, "--json")
    assert 0 == result.exit_code, result.output
    said = json.loads(result.stdout)
    assert 1 == said["schema"]
    assert said["fidelity"]["same"] == said["fidelity"]["compared"] > 0
    names = [one["name"] for one in said["replays"]]
    assert ["recorded", "steering.max_slew=100ppm, steering.panic=5s", str(other)] == names
    first, second, third = said["replays"]
    assert 5e-3 == first["settings"]["steering"]["max_slew"]
    assert (1e-4, 5.0) == (second["settings"]["steering"]["max_slew"], second["settings"]["steering"]["panic_s"])
    assert second["locked_s"] > 10 * first["locked_s"]
    assert 5e-5 == third["settings"]["steering"]["max_slew"]
    assert 0 == third["selected"]["near"] < third["selected"]["far"]


def test_the_table_fits_eighty_columns(recording: Path) -> None:
    result = typed("replay", recording, "--set", "steering.max_slew=100ppm")
    assert 0 == result.exit_code
    table = result.stdout.split("selected,")[0].splitlines()
    assert all(len(line) <= 80 for line in table)
    assert "…" not in "".join(table)
    assert "1: steering.max_slew=100ppm" == table[-1]  # in one piece, for who searches for it
    assert "came out again" in result.stdout


def test_a_wide_terminal_has_the_settings_beside_their_figures(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = typed("replay", recording, "--set", "steering.max_slew=100ppm").stdout.splitlines()
    assert lines[2].startswith("steering.max_slew=100ppm ")
    assert lines[2].endswith(" 0")


@pytest.mark.parametrize(
    "setting",
    [
        "steering.step.threshold=1ms", "steering.step.updates=10", "steering.panic=1s", "steering.max_slew=1ppm",
        "steering.minimum_sources=2", "steering.holdover=1s", "serve.local_stratum=10",
    ],
)  # fmt: skip
def test_every_setting_reaches_the_core(recording: Path, setting: str) -> None:
    said = json.loads(typed("replay", recording, "--set", setting, "--json").stdout)
    first, second = (one["settings"] for one in said["replays"])
    assert first != second


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("steering.maxslew=1ppm", 'did you mean "steering.max_slew"?'),
        ("sources=1", "there are steering.step.threshold"),
        ("steering.max_slew", "write steering.max_slew=VALUE"),
        ("steering.max_slew=fast", "--set steering.max_slew:2:"),
    ],
)
def test_a_wrong_setting_is_refused_with_advice(recording: Path, setting: str, words: str) -> None:
    result = typed("replay", recording, "--set", setting)
    assert 2 == result.exit_code
    assert words in result.output


def test_decisions_that_do_not_come_out_again_are_an_error(tmp_path: Path, recorded: list[Row]) -> None:
    changed = [row._replace(rate=1e-6) if row.kind == rows.APPLIED else row for row in recorded]
    result = typed("replay", written(tmp_path / "wrong", changed))
    assert 1 == result.exit_code
    assert "307 recorded commands came out again" in result.stdout
    assert "307 of 307" not in result.stdout


def test_what_cannot_be_replayed_is_said(tmp_path: Path, recorded: list[Row]) -> None:
    for name in ("none.csv", "none"):
        assert f"{tmp_path / name}: No such file" in typed("replay", tmp_path / name).output
    result = typed("replay", written(tmp_path / "short", recorded[:3]))
    assert 2 == result.exit_code
    assert "too little is recorded" in result.output


def test_a_report_is_written_and_judged(recording: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    result = typed("report", "--measurements", recording, "--max-error", "100ms", "--title", "Lab", "-o", page)
    assert 0 == result.exit_code, result.output
    assert "was within 100 ms at" in result.stdout
    assert "<title>Lab</title>" in page.read_text()
    assert 1 == typed("report", "--measurements", recording, "--max-error", "1us", "-o", page).exit_code
    assert "Failed." in page.read_text()


def test_a_report_begins_and_ends_where_it_is_told(recording: Path, tmp_path: Path, recorded: list[Row]) -> None:
    page = tmp_path / "r.html"
    began = datetime.fromtimestamp(recorded[0].utc_ns // 10**9, UTC)
    since, until = (began + timedelta(minutes=minutes) for minutes in (10, 20))
    result = typed(
        "report", "--measurements", recording, "--from", since.strftime("%Y-%m-%dT%H:%M:%S"),
        "--to", until.isoformat(), "-o", page,
    )  # fmt: skip
    assert 0 == result.exit_code, result.output
    first, last = (datetime.fromisoformat(f"{text}+00:00") for text in result.stdout.split(": ")[1][:43].split(" to "))
    assert since <= first < last <= until
    result = typed("report", "--measurements", recording, "--from", "1h", "-o", page)
    assert 2 == result.exit_code  # an hour ago nothing was recorded
    assert "there is nothing in this time" in result.output


def test_the_history_is_where_the_configuration_has_its_state(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("sources: [{ntp: near}]\nobserve: {state: here}\n")
    result = typed("report", "-c", tmp_path / "lab.yaml", "-o", tmp_path / "r.html")
    assert 2 == result.exit_code
    assert f"{tmp_path}/here/observer/history.sqlite: unable to open database file" in result.output
    assert "choose one" in typed("report", "-c", tmp_path / "lab.yaml", "--history", "a").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "soon"), "neither a date"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from is not before --to"),
        (("--measurements", "a", "--history", "b"), "choose one"),
        (("--history", "/nowhere/h.sqlite"), "unable to open database file"),
        (("--measurements", "/nowhere"), "/nowhere: No such file"),
        (("--measurements", __file__), "the name must end with"),
        (("-c", "/nowhere.yaml"), "/nowhere.yaml"),
        (("--mask", "PRTC-C"), "PRTC-A"),
    ],
)
def test_a_wrong_report_is_refused_with_advice(arguments: tuple[str, ...], words: str) -> None:
    result = typed("report", *arguments)
    assert 2 == result.exit_code
    assert words in result.output
