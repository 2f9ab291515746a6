"""``timesync status`` and its like, against a daemon that runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from cli_support import configuration, eventually, running, server, status
from click.testing import CliRunner, Result

from timesync.base.time import Duration
from timesync.cli.main import cli
from timesync.cli.reading import objection_to, verdict
from timesync.observe.control import ask


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="timesync")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """A locked daemon with a good source and one that never answers: its file and both addresses."""
    folder = tmp_path_factory.mktemp("d")
    serve = "serve: {ntp: {listen: ['127.0.0.1:0'], workers: 0}}\n"
    with server(folder) as where, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        silent = "{}:{}".format(*mute.getsockname())
        file = configuration(folder, where, silent, rest=serve)
        with running(folder, "run", "-c", str(file)):
            status(folder / "c.sock", state="locked")

            def given_up() -> bool | None:
                sources = ask(str(folder / "c.sock"), "sources")["sources"]
                return True if sources[1]["state"] == "unreachable" else None

            eventually(given_up, "the mute server counts as unreachable")
            yield file, where, silent


def test_the_headline_of_status_is_the_bound_and_the_verdict(daemon: tuple[Path, str, str]) -> None:
    result = run("status", "-c", str(daemon[0]))

    assert (0, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Within ")
    assert lines[0].endswith(" of true time: clock bench is locked")
    assert lines[1].startswith(f"  Follows {daemon[1]}")
    facts = {line[:14].strip(): line[14:].strip() for line in lines[2:]}
    assert facts["sources"].startswith("1 of 2 used, last measurement ")
    assert facts["sources"].endswith(" ago")
    assert " ± " in facts["offset"]
    assert facts["frequency"].endswith(" ppm")
    assert facts["stratum"] == "2; reference 127.0.0.1; leap second none"
    assert facts["TAI - UTC"] == "37 s"
    assert facts["serves NTP"].startswith("127.0.0.1:")
    assert [] == [line for line in lines if len(line) > 80]


def test_status_as_json_has_what_the_contract_names(daemon: tuple[Path, str, str]) -> None:
    content = json.loads(run("status", "-c", str(daemon[0]), "--json").stdout)

    assert {
        "schema", "state", "reason", "stratum", "reference_id", "leap", "root_delay_s", "root_dispersion_s",
        "error_bound_s", "tai_utc_offset_s", "uptime_s", "clocks",
    } <= set(content)  # fmt: skip
    assert {
        "name", "kind", "offset_s", "offset_uncertainty_s", "frequency_ppm", "frequency_uncertainty_ppm",
        "disciplined", "steps",
    } <= set(content["clocks"][0])  # fmt: skip
    assert ("locked", 2, 1) == (content["state"], content["stratum"], content["schema"])


def test_requirements_decide_the_exit_code(daemon: tuple[Path, str, str]) -> None:
    file = str(daemon[0])
    good = run("status", "-c", file, "--require", "locked", "--max-error", "1s")
    assert (0, "") == (good.exit_code, good.stderr)

    bad = run("status", "-c", file, "--require", "locked", "--max-error", "1ns")
    assert 1 == bad.exit_code
    assert bad.stderr.startswith("timesync: an error of at most 1.00 ns is required, but the bound is ")

    assert 2 == run("status", "-c", file, "--max-error", "1").exit_code
    assert 2 == run("status", "-c", file, "--require", "perfect").exit_code


def test_sources_as_a_table_that_fits_and_reasons_below(daemon: tuple[Path, str, str]) -> None:
    result = run("sources", "-c", str(daemon[0]))
    lines = result.stdout.splitlines()

    assert 0 == result.exit_code
    assert ["source", "state", "offset", "±", "delay", "reach", "poll", "age"] == lines[0].split()
    assert [daemon[1], "selected"] == lines[1].split()[:2]
    assert [daemon[2], "unreachable", "-", "-", "-", "0/8"] == lines[2].split()[:6]
    assert lines[3].startswith(f"{daemon[2]}: none of the last ")
    assert "(" not in lines[3], "the network says nothing of one that is only mute"
    assert [] == [line for line in lines if len(line) > 80]


def test_sources_as_json_has_what_the_contract_names(daemon: tuple[Path, str, str]) -> None:
    content = json.loads(run("sources", "-c", str(daemon[0]), "--json").stdout)

    assert {
        "name", "kind", "clock", "state", "reason", "reach", "offset_s", "uncertainty_s", "delay_s", "jitter_s",
        "poll_s", "stratum", "authenticated", "last_sample_age_s",
    } <= set(content["sources"][0])  # fmt: skip
    good, mute = content["sources"]
    assert (8, True, 1) == (good["reach"], good["interleaved"], good["stratum"])
    assert (0, None, False) == (mute["reach"], mute["offset_s"], mute["authenticated"])


def test_clocks(daemon: tuple[Path, str, str]) -> None:
    result = run("clocks", "-c", str(daemon[0]))

    assert 0 == result.exit_code
    assert "system (system): " in result.stdout
    assert "bench (virtual): locked" in result.stdout
    assert "only measured" in result.stdout
    assert f"fed by       {daemon[1]}" in result.stdout
    content = json.loads(run("clocks", "-c", str(daemon[0]), "--json").stdout)
    assert ["bench", "system"] == sorted(clock["name"] for clock in content["clocks"])


def test_why(daemon: tuple[Path, str, str]) -> None:
    file, where, silent = daemon
    whole = run("why", "-c", str(file))
    assert whole.stdout.startswith("Clock bench is locked: ")

    one = run("why", silent, "-c", str(file))
    assert one.stdout.startswith(f"{silent} is unreachable: none of the last ")
    content = json.loads(run("why", where, "-c", str(file), "--json").stdout)
    assert (where, list) == (content["subject"], type(content["lines"]))

    wrong = run("why", where[:-1], "-c", str(file))
    assert 2 == wrong.exit_code
    assert f'there is no source "{where[:-1]}" (did you mean "' in wrong.stderr


def test_wait_returns_at_once_when_locked(daemon: tuple[Path, str, str]) -> None:
    result = run("wait", "-c", str(daemon[0]), "--max-error", "1s")

    assert 0 == result.exit_code
    assert result.stdout.startswith("locked after ")
    late = run("wait", "-c", str(daemon[0]), "--max-error", "1ns", "--timeout", "100ms")
    assert 1 == late.exit_code
    assert "an error of at most 1.00 ns is required" in late.stderr


@pytest.mark.parametrize("command", ["status", "sources", "clocks", "why"])
def test_no_daemon(tmp_path: Path, command: str) -> None:
    result = run(command, "--control", str(tmp_path / "c.sock"))

    assert 1 == result.exit_code
    assert f"timesync: no timesync runs here: there is no socket {tmp_path}/c.sock\n" == result.stderr


def test_a_bad_file_and_a_socket_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("sorces: []\n")
    file.chmod(0o644)
    bad = run("status", "-c", str(file))
    assert 2 == bad.exit_code
    assert 'unknown key (did you mean "sources"?)' in bad.stderr

    monkeypatch.setattr(socket, "socket", lambda *_: _Refusing())
    denied = run("status", "--control", "/x")
    assert (3, "timesync: the socket /x may not be opened by this user\n") == (denied.exit_code, denied.stderr)


class _Refusing:
    """A socket that root, too, may not connect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def settimeout(self, _: float) -> None:
        return None

    def connect(self, _: str) -> None:
        raise PermissionError(13, "Permission denied")


def _state(**changes: Any) -> dict[str, Any]:
    return {"state": "locked", "served_clock": "system", "reason": "all is well", "error_bound_s": 2e-3, **changes}


@pytest.mark.parametrize(
    ("state", "require", "most", "words"),
    [
        ({}, "locked", None, None),
        ({}, "holdover", None, None),
        ({"state": "holdover"}, "holdover", None, None),
        ({"state": "holdover"}, "locked", None, "locked is required, but clock system is holdover: all is well"),
        ({"state": "fault"}, "holdover", None, "holdover is required, but clock system is fault: all is well"),
        ({}, None, 3, None),
        ({}, None, 2, None),
        ({}, None, 1, "an error of at most 1.00 ms is required, but the bound is 2.00 ms"),
        ({"error_bound_s": None}, None, 1, "an error of at most 1.00 ms is required, but the bound is unknown"),
        ({}, None, None, None),
    ],
)
def test_objections(state: dict[str, Any], require: str | None, most: int | None, words: str | None) -> None:
    largest = None if most is None else Duration.from_ns(most * 1_000_000)

    assert words == objection_to(_state(**state), require, largest)


def test_the_verdict_without_a_bound() -> None:
    assert "Within 2.00 ms of true time: clock system is locked" == verdict(_state())
    assert "Error unknown: clock system is acquiring" == verdict(_state(state="acquiring", error_bound_s=None))
