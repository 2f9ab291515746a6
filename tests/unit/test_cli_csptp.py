"""What the commands say of CSPTP: `check` of a configuration, `status` of what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from silent_support import silent_snapshot

from timesync.cli import reading
from timesync.cli.main import cli
from timesync.observe.snapshot import CsptpFacts, Snapshot


def _snapshot(*csptp: CsptpFacts) -> Snapshot:
    return silent_snapshot({}, csptp=csptp)


SERVED = CsptpFacts(
    interface="eth0", transport="udp4", domain=128, timestamping="software", answered=12, drops={"rate": 3}
)


def test_status_tells_where_csptp_is_served_and_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    state = _snapshot(SERVED).status()
    told: dict[str, Any] = {
        "interface": "eth0",
        "transport": "udp4",
        "domain": 128,
        "timestamping": "software",
        "answered": 12,
        "drops": {"rate": 3},
    }
    assert [told] == state["serving"]["csptp"]
    monkeypatch.setattr(reading, "answer", lambda _, what: state if what == "status" else {"sources": []})
    said = CliRunner().invoke(cli, ["status", "--control", "none"], prog_name="timesync").stdout
    (line,) = (line for line in said.splitlines() if "CSPTP" in line)
    assert ["serves", "CSPTP", "eth0", "over", "udp4,", "domain", "128;", "12", "requests", "answered"] == line.split()


def test_status_says_nothing_of_csptp_where_none_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    state = _snapshot().status()
    assert [] == state["serving"]["csptp"]
    monkeypatch.setattr(reading, "answer", lambda _, what: state if what == "status" else {"sources": []})
    assert "CSPTP" not in CliRunner().invoke(cli, ["status", "--control", "none"], prog_name="timesync").stdout


def test_check_says_that_it_is_experimental(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("sources: [{csptp: a, interface: eth0}]\nserve: {csptp: {interfaces: [eth0, eth1]}}\n")
    file.chmod(0o644)
    result = CliRunner().invoke(cli, ["check", str(file)], prog_name="timesync")
    assert (0, "") == (result.exit_code, result.stderr)
    said = "steers system; 1 source; serves CSPTP (experimental) on eth0, eth1"
    assert f"{file}: fine: {said}\n" == result.stdout
