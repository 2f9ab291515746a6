"""``timesync simulate``: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from timesync.cli.main import cli

SHORT = """\
name: short
description: Two minutes on a LAN.
duration: 2min
settle: 1min
seeds: 1
world:
  clock: {offset: 1ms, frequency: 5ppm}
  servers: [{name: a.x, delay: 100us, jitter: {exponential: 10us}}]
config:
  sources: [{ntp: a.x, poll: [1s, 4s]}]
expect: {rms: 100us}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *arguments], prog_name="timesync")


@pytest.fixture
def short(tmp_path: Path) -> str:
    file = tmp_path / "short.yaml"
    file.write_text(SHORT)
    return str(file)


def test_without_a_file_the_shipped_ones_are_listed() -> None:
    content = json.loads(run("--json").stdout)

    assert 1 == content["schema"]
    assert {"lan", "wan", "outage"} <= set(content["shipped"])
    assert all(f"{name} " in run().stdout for name in content["shipped"])


def test_figures_as_a_table_and_as_json(short: str) -> None:
    result = run(short, "--seeds", "2")
    assert 0 == result.exit_code
    assert "short: Two minutes on a LAN." in result.stdout
    assert "median RMS of the true offset over 2 seeds: " in result.stdout

    content = json.loads(run(short, "--first-seed", "7", "--json").stdout)
    (scenario,) = content["scenarios"]
    (seed,) = scenario["seeds"]
    assert (1, "short", 7, []) == (content["schema"], scenario["name"], seed["seed"], seed["misses"])
    assert 0 < seed["rms_s"] <= seed["maximum_s"] < 1e-4


PULLED = """\
name: pulled
description: The card whose time is served is pulled out for half a minute.
duration: 3min
settle: 1min
seeds: 1
world:
  hardware:
    receivers:
      /dev/ttyAMA0: {language: nmea}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
    phcs:
      eth0: {frequency: -8ppm}
  events:
    - {at: 100s, fault: unplugged, device: eth0, lasting: 30s}
config:
  clocks:
    eth0: {phc: eth0, pair_interval: 1s}
  sources:
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: /dev/pps0, pairs_with: nmea}
  serve: {clock: eth0}
"""


def test_a_served_card_that_is_pulled_out_is_judged_to_the_end(tmp_path: Path) -> None:
    file, trace = tmp_path / "pulled.yaml", tmp_path / "trace.csv"
    file.write_text(PULLED)
    result = run(str(file), "--trace", str(trace))
    assert 0 == result.exit_code, result.exception
    assert 179 <= len(trace.read_text().splitlines()) - 1 <= 180


def test_a_missed_expectation_is_a_no(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(SHORT.replace("expect: {rms: 100us}", "expect: {rms: 1ns}"))
    result = run(str(file))

    assert 1 == result.exit_code
    assert "seed 1 MISSED: RMS true offset " in result.stdout


def test_the_trace_has_a_line_for_each_second(short: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"

    assert 0 == run(short, "--seeds", "2", "--trace", str(trace)).exit_code
    lines = trace.read_text().splitlines()
    assert "seed,second,true_offset_s,error_bound_s" == lines[0]
    rows = [line.split(",") for line in lines[1:]]
    assert {"1", "2"} == {row[0] for row in rows}
    assert {4} == {len(row) for row in rows}
    assert 119 <= sum(row[0] == "1" for row in rows) <= 120


def test_a_trace_of_several_scenarios_would_be_of_the_last_only(short: str, tmp_path: Path) -> None:
    result = run(short, short, "--trace", str(tmp_path / "t.csv"))

    assert 2 == result.exit_code
    assert "--trace goes with one scenario" in result.stderr


def test_a_wrong_file_and_a_missing_one_are_2(tmp_path: Path) -> None:
    missing = run(str(tmp_path / "none.yaml"))
    assert (2, "") == (missing.exit_code, missing.stdout)
    assert "the shipped scenarios are " in missing.stderr

    file = tmp_path / "t.yaml"
    file.write_text(SHORT.replace("settle: 1min", "settle: 2min"))
    wrong = run(str(file))
    assert 2 == wrong.exit_code
    assert f"{file}:4:9: error: settle: " in wrong.stderr


def test_a_file_that_may_not_be_read_is_3(short: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if str(path) == short:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert 3 == run(short).exit_code
