"""The commands about configurations, through the real command line."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from timesync import __version__
from timesync.cli.main import COMMANDS, cli
from timesync.config.profiles import shipped
from timesync.config.ptp_profiles import PTP_PROFILES
from timesync.config.reference import json_schema


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="timesync")


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def test_a_fine_file(tmp_path: Path) -> None:
    file = config(tmp_path, "profile: ntp-server\nserve: {ntp: {listen: [127.0.0.1:1123]}}\n")
    result = run("check", file)

    assert (0, "") == (result.exit_code, result.stderr)
    said = "profile ntp-server; steers system; 1 source; serves system over NTP on 127.0.0.1:1123"
    assert f"{file}: fine: {said}\n" == result.stdout


def test_errors_go_to_standard_error_with_a_caret(tmp_path: Path) -> None:
    file = config(tmp_path, "sources:\n  - ntp: a\n    pol: [1s, 2s]\nsteering: {panic: 7}\n")
    result = run("check", file)

    assert (2, "") == (result.exit_code, result.stdout)
    assert (
        f'{file}:3:5: error: sources[0].pol: unknown key (did you mean "poll"?)\n'
        "      pol: [1s, 2s]\n"
        "      ^\n"
        f"{file}:4:19: error: steering.panic: 7 has no unit; expected a duration such as 16s "
        '(did you mean "7s"?)\n'
        "  steering: {panic: 7}\n"
        "                    ^\n"
    ) == result.stderr


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    file = config(tmp_path, "serve: {}\n")
    result = run("check", file)

    assert 0 == result.exit_code
    assert result.stderr.startswith(f"{file}:1:1: warning: sources: there are none")
    assert "fine" in result.stdout


def test_json_of_errors_and_of_a_fine_file(tmp_path: Path) -> None:
    file = config(tmp_path, "steering: {panic: 7}\n")
    result = run("check", file, "--json")

    assert 2 == result.exit_code
    assert {
        "schema": 1,
        "file": file,
        "ok": False,
        "problems": [
            {
                "severity": "error",
                "path": "steering.panic",
                "file": file,
                "line": 1,
                "column": 19,
                "message": "7 has no unit; expected a duration such as 16s",
                "suggestion": "7s",
            }
        ],
    } == json.loads(result.stdout)
    fine = run("check", config(tmp_path, "sources: [{ntp: a}]\n"), "--json")
    assert (0, True, []) == (
        fine.exit_code,
        json.loads(fine.stdout)["ok"],
        json.loads(fine.stdout)["problems"],
    )


def test_a_profile_given_on_the_command_line(tmp_path: Path) -> None:
    file = config(tmp_path, "steering: {panic: 7s}\n")

    assert "profile ntp-client" in run("check", file, "--profile", "ntp-client").stdout
    result = run("check", file, "--profile", "ntp-cliant")
    assert 2 == result.exit_code
    assert 'did you mean "ntp-client"?' in result.stderr


def test_a_file_that_may_not_be_read_is_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = config(tmp_path, "serve: {}\n")
    monkeypatch.setattr("timesync.config.load.os.open", refuse)

    assert 3 == run("check", file).exit_code
    assert 3 == run("check", file, "--json").exit_code


def test_schema_prints_the_json_schema() -> None:
    result = run("check", "--schema")

    assert 0 == result.exit_code
    assert json_schema() == json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "which FILE?"),
        (["check", "--schema", "x.yaml"], "--schema goes without FILE"),
        (["check", "none.yaml"], "none.yaml: error: cannot be read: No such file"),
        (["chekc"], 'no command "chekc" (did you mean "check"?)'),
        (["zzz"], 'no command "zzz"'),
        (["--zzz"], "--zzz"),
        (["profiles", "show"], "NAME"),
        (["profiles", "show", "dema"], 'no profile "dema"; did you mean "demo"?'),
        (
            ["profiles", "show", "zzz"],
            "there are automotive-gptp-endpoint, demo, lab-grandmaster, ntp-client, ntp-server",
        ),
    ],
)
def test_bad_usage_is_2(arguments: list[str], words: str) -> None:
    result = run(*arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_profiles_are_listed_with_what_they_are_for() -> None:
    lines = run("profiles").stdout.splitlines()

    count = len(shipped())
    assert ["", "PTP profiles, for `ptp.profile`:"] == lines[count : count + 2]
    listed_lines = [*lines[:count], *lines[count + 2 :]]
    assert [*shipped(), *PTP_PROFILES] == [line.split()[0] for line in listed_lines]
    assert all(line.endswith(".") and len(line.split()) > 4 for line in listed_lines)
    listed = json.loads(run("profiles", "--json").stdout)
    assert 1 == listed["schema"]
    assert list(shipped()) == [profile["name"] for profile in listed["profiles"]]
    assert list(PTP_PROFILES) == [profile["name"] for profile in listed["ptp_profiles"]]


def test_show_gives_the_clauses_of_a_ptp_profile() -> None:
    lines = run("profiles", "show", "gptp").stdout.splitlines()

    (sync,) = [line for line in lines if line.startswith("sync_interval:")]
    assert ["sync_interval:", "125ms"] == sync.split("#")[0].split()
    assert "# IEEE 802.1AS-2020, 10.7.2.3;" in sync
    (identity,) = [line for line in lines if line.startswith("identity:")]
    assert "(?)" in identity
    assert any(line.startswith("# not done: ports whose cards have clocks of their own") for line in lines)
    (tlvs,) = [line for line in run("profiles", "show", "power").stdout.splitlines() if line.startswith("tlvs:")]
    assert "power-2017, alternate-time-offset" in tlvs
    content = json.loads(run("profiles", "show", "g8275.1", "--json").stdout)
    domain = content["values"]["domain"]
    assert ("ITU-T G.8275.1", "24", "24 to 43") == (content["standard"], domain["value"], domain["range"])
    assert (True, False) == (domain["checked"], domain["range_checked"])


def test_show_resolves_inheritance_and_gives_origins() -> None:
    lines = run("profiles", "show", "ntp-server").stdout.splitlines()

    (count,) = [line for line in lines if "count: 4" in line]
    assert count.endswith("# ntp-client.yaml:5")
    (burst,) = [line for line in lines if "burst: 16" in line]
    assert "# ntp-server.yaml:" in burst
    assert not any(line.startswith("profile:") for line in lines)
    first, second = (run("profiles", *arguments) for arguments in
                     (("show", "ntp-server", "--json"), ("--json", "show", "ntp-server")))  # fmt: skip
    assert first.stdout == second.stdout
    content = json.loads(first.stdout)
    assert "ntp-client.yaml:5" == content["origins"]["sources[0].count"]
    assert 16 == content["config"]["serve"]["ntp"]["rate_limit"]["burst"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_loads_and_has_help(name: str) -> None:
    result = run(name, "--help")

    assert 0 == result.exit_code
    assert "Usage: timesync" in result.stdout


def test_the_list_of_commands_is_the_table() -> None:
    result = run("--help")

    assert 0 == result.exit_code
    for name, entry in COMMANDS.items():
        assert name in result.stdout
        assert entry.help.split()[0] in result.stdout
    assert f"timesync {__version__}\n" == run("--version").stdout


def test_help_loads_neither_the_schema_nor_a_command() -> None:
    code = (
        "import sys; from timesync.cli.main import cli\n"
        "try: cli(['--help'], prog_name='timesync')\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'yaml', 'rich', 'asyncio')\n"
        "       or m.startswith('timesync.config')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.splitlines()[-1]
