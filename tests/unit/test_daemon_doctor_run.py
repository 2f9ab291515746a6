"""The doctor as a whole: order, time, exit codes, the running daemon, the page of the manual."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from cli_support import configuration, running, server, status
from click.testing import CliRunner
from doctor_support import case, machine, write

from timesync.cli.main import cli
from timesync.config.load import loads
from timesync.daemon.doctor import catalogue, run
from timesync.daemon.doctor.case import Background, UnfinishedError
from timesync.daemon.doctor.check import Cause, Finding, State, exit_code, fail, ok, warn

PACKAGE = Path(catalogue.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/how-to/doctor.md"
NOWHERE = """\
sources: [{nmea: /dev/ttyAMA0}, {pps: /dev/pps0}, {gpsd: 127.0.0.1:1}]
clocks: {nic: {phc: nosuch0}}
serve: {ntp: {listen: [127.0.0.1:0]}}
observe: {control: /run/t/c.sock, state: /var/lib/t}
"""


def _failed(cause: Cause) -> Finding:
    return fail("TS-SER-004", "x", "y", "z", cause=cause)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("TS-SER-004", "x", "y"), warn("TS-SER-003", "x", "y", "z")], 0),
        ([_failed(Cause.PERMISSION), _failed(Cause.PERMISSION)], 3),
        ([_failed(Cause.MISSING)], 4),
        ([_failed(Cause.MISSING), _failed(Cause.PERMISSION)], 1),
        ([_failed(Cause.OTHER), _failed(Cause.MISSING)], 1),
        ([_failed(Cause.CONFIG)], 2),
    ],
)
def test_exit_codes(findings: list[Finding], code: int) -> None:
    assert code == exit_code(findings)


def test_the_order_is_that_in_which_people_fail(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / "run").mkdir()
    began = time.monotonic()
    found = list(run.examine(loads(NOWHERE, "t.yaml"), "t.yaml", "-c t.yaml", machine(tmp_path)))
    assert time.monotonic() - began < 15
    groups = list(dict.fromkeys(finding.id.split("-")[1] for finding in found))
    assert ["CFG", "SER", "PPS", "GPD", "PHC", "CLK", "NET", "SYS", "RUN"] == groups
    failed = [finding.id for finding in found if finding.state is State.FAIL]
    assert ["TS-SER-004", "TS-PPS-003", "TS-GPD-001", "TS-PHC-001"] == failed
    assert all(finding.remedy for finding in found if finding.state in (State.WARN, State.FAIL))


def test_each_id_in_the_code_is_in_the_catalogue_and_each_of_the_catalogue_in_the_code() -> None:
    sources = [file.read_text() for file in PACKAGE.glob("*.py") if file.name != "catalogue.py"]
    used = {found for text in sources for found in re.findall(r"TS-[A-Z]{3}-\d{3}", text)}
    # The examples in docstrings are of the catalogue, too.
    assert set(catalogue.CATALOGUE) == used


def test_the_page_has_each_check_as_the_catalogue_does() -> None:
    page = PAGE.read_text("utf-8")
    assert "\n".join(catalogue.markdown()).rstrip() == page[page.index("## Configuration\n") :].rstrip()


def test_what_does_not_end_is_given_up_and_what_breaks_is_said(tmp_path: Path) -> None:
    asked = case(machine(tmp_path), NOWHERE)
    hurried = type(asked)(asked.config, "", asked.machine, asked.table, "", background=Background(0.0))
    (slow,) = run.bounded(hurried, "x", _never)
    assert ("TS-RUN-004", State.WARN) == (slow.id, slow.state)

    def breaks() -> list[Finding]:
        raise OSError(5, "Input/output error", "/dev/gps")

    (broken,) = run.bounded(hurried, "x", breaks)
    assert "/dev/gps: Input/output error" == broken.evidence


def test_a_check_that_breaks_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> list[Finding]:
        raise ValueError("a machine that nobody thought of")

    monkeypatch.setattr(run.serial, "begin", breaks)
    monkeypatch.setattr(run.pulses, "device", breaks)
    machine(tmp_path)
    # Readable for nobody, root included: it is a directory.
    (tmp_path / "etc/default/gpsd").mkdir(parents=True)
    found = list(run.examine(loads(NOWHERE, "t.yaml"), "t.yaml", "-c t.yaml", machine(tmp_path)))
    broken = [one for one in found if one.id == "TS-RUN-004"]
    assert ["/dev/ttyAMA0", "/dev/pps0"] == [one.subject for one in broken if "nobody thought of" in one.evidence]
    assert "TS-RUN-001" == found[-1].id


def _never() -> list[Finding]:
    threading.Event().wait(60)
    return []


def test_the_background_gives_up() -> None:
    background = Background(0.05)
    background.begin("x", "y", _never)
    with pytest.raises(UnfinishedError):
        background.result("x", "y", int)
    assert background.result("x", "z", int) is None


def _doctor(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["doctor", *arguments])
    return done.exit_code, done.output


def test_a_wrong_configuration_ends_it(tmp_path: Path) -> None:
    file = write(tmp_path, "t.yaml", "sources: [{ntq: x}]\nstering: {}\n")
    file.chmod(0o644)
    code, said = _doctor("-c", str(file))
    assert 2 == code
    assert said.startswith("[FAIL] TS-CFG-001")
    assert "stering" in said
    assert f"-> timesync check {file}" in said
    assert 2 == _doctor("-c", str(tmp_path / "absent.yaml"))[0]
    assert 2 == _doctor("--profile", "nosuch")[0]


def test_remedies_name_the_file_and_the_profile_over_which_it_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, "t.yaml", "sources: [{ntp: 127.0.0.1:9}]\nstering: {}\n")
    file.chmod(0o644)
    assert f"-> timesync check {file} --profile ntp-client" in _doctor("-c", str(file), "--profile", "ntp-client")[1]
    observed = f"observe: {{control: {tmp_path}/c.sock, state: {tmp_path}}}\n"
    file.write_text(f"sources: [{{ntp: 127.0.0.1:9}}, {{ntp: 127.0.0.1:19}}]\n{observed}")
    said = _doctor("-c", str(file), "--profile", "ntp-client")[1]
    assert f"-> sudo timesync run -c {file} --profile ntp-client" in said
    assert "-> timesync profiles show nosuch" in _doctor("--profile", "nosuch")[1]


def test_json_and_text_say_the_same(tmp_path: Path) -> None:
    file = configuration(tmp_path, "127.0.0.1:9")
    code, text = _doctor("-c", str(file))
    same, answer = _doctor("-c", str(file), "--json")
    found = json.loads(answer)
    assert 1 == code == same == found["exit_code"]
    assert {"TS-NET-003"} == {check["id"] for check in found["checks"] if check["state"] == "fail"}
    assert [check["id"] for check in found["checks"]] == re.findall(r"^\[.{4}\] (TS-\S+)", text, re.MULTILINE)
    assert "Begin with the first that failed: TS-NET-003" in text


def test_the_running_daemon_is_asked_and_left_alone(tmp_path: Path) -> None:
    with server(tmp_path) as good, server(tmp_path, "--silent") as silent:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        file = configuration(
            tmp_path, good, silent, rest=f"serve: {{ntp: {{listen: ['127.0.0.1:{port}'], workers: 1}}}}\n"
        )
        with running(tmp_path, "run", "-c", str(file)):
            status(tmp_path / "c.sock", state="locked")
            found = json.loads(_doctor("-c", str(file), "--json")[1])["checks"]
    said = [check for check in found if check["id"].startswith("TS-RUN")]
    assert said[0]["evidence"].startswith("locked: ")
    sources = {check["subject"]: check["state"] for check in said if check["id"] == "TS-RUN-002"}
    assert {good: "ok", silent: "warn"} == sources
    (served,) = [check for check in found if check["id"] == "TS-NET-001"]
    assert ("ok", True) == (served["state"], "running timesync" in served["evidence"])
    assert "the running daemon answers on it" in [check["evidence"] for check in found]
