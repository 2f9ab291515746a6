"""Prometheus itself: it scrapes a running daemon, evaluates our rules, and answers the dashboard's queries."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from interop_mqtt import daemon_pid
from interop_support import OURS, REQUIRED, VIRTUAL, Node, lan, our_environment, running, timesync, wait_until
from test_interop_promtool import CACHE, GRAFANA

pytestmark = pytest.mark.promtool

PROMETHEUS = shutil.which("prometheus") or shutil.which("prometheus", path=CACHE)
API, METRICS, SERVER = 9090, 9975, 11123
CONFIGURATION = f"""{VIRTUAL}
sources: [{{ntp: "127.0.0.1:{SERVER}", poll: [125ms, 125ms], burst: false}}]
steering: {{minimum_sources: 1}}
serve: {{clock: bench, ntp: {{listen: ["127.0.0.1:123"], allow: [127.0.0.0/8]}}}}
"""
SCRAPING = {
    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
    "rule_files": [str(GRAFANA / "alerts.yaml")],
    "scrape_configs": [{"job_name": "timesync", "static_configs": [{"targets": [f"127.0.0.1:{METRICS}"]}]}],
}
# Of what this daemon does not have: a temperature, a receiver with its pulse, PTP, NTS, answers that it refused.
ABSENT = (
    "timesync_clock_temperature", "timesync_pps_", "timesync_gnss_", "timesync_ptp_", "timesync_nts_",
    "timesync_certificate_", "timesync_holdover_remaining", "timesync_source_drops",
)  # fmt: skip


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    node: Node
    log: Path

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of its HTTP API."""
        url = f"http://127.0.0.1:{API}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with self.node.entered(), urllib.request.urlopen(url, timeout=10) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        assert not said.get("warnings"), said
        return said["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def target(self) -> dict[str, Any]:
        """What it says of its only target."""
        (one,) = self.ask("targets")["activeTargets"]
        assert isinstance(one, dict)
        return one

    def rules(self) -> list[dict[str, Any]]:
        """All rules, as they were evaluated last."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self.ask("status/buildinfo")
        except OSError:
            return False
        return True

    def complaints(self) -> list[str]:
        """Warnings and errors in its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "level=warn" in line or "level=error" in line]


@contextmanager
def prometheus(node: Node, directory: Path) -> Iterator[Prometheus]:
    """One that scrapes the daemon of this namespace each second."""
    if PROMETHEUS is None:
        reason = "prometheus is not there: run tests/interop/install-promtool.sh, or bin/test promtool"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    directory.mkdir()
    file = directory / "prometheus.yml"
    file.write_text(json.dumps(SCRAPING))
    command = node.command(
        [
            PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{API}", "--log.level=info",
        ]
    )  # fmt: skip
    with running(command, directory / "prometheus.log", dict(os.environ)) as process:
        one = Prometheus(node, directory / "prometheus.log")

        def ready() -> bool:
            assert process.poll() is None, one.log.read_text()
            return one.ready()

        wait_until(ready, 30, "Prometheus answers", one.log.read_text)
        yield one


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Path]]:
    """A daemon that is locked and has been scraped a few times, with the names of other exporters too."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    directory = tmp_path_factory.mktemp("prometheus")
    observe = f"metrics: {{listen: '127.0.0.1:{METRICS}', compat: [chrony, ntpd-rs, ptp]}}, "
    with lan(1) as (node,):
        server = node.command([*OURS, "testserver", "--listen", f"127.0.0.1:{SERVER}"])
        with (
            running(server, directory / "server.log", our_environment()),
            timesync(node, directory / "us", CONFIGURATION, observe=observe) as us,
            prometheus(node, directory / "peer") as peer,
        ):
            wait_until(us.locked, 30, "locked", us.log)
            asked = node.command([*OURS, "query", "127.0.0.1"])
            subprocess.run(asked, env=our_environment(), check=True, capture_output=True, timeout=30)
            enough = (
                "count_over_time(timesync_state{state='locked'}[1m:1s]) > 5 and timesync_state{state='locked'} == 1"
            )
            wait_until(lambda: peer.query(enough), 30, "it was seen locked for a while", peer.log.read_text)
            yield peer, directory / "us" / "control.sock"
            assert not peer.complaints()


def test_the_target_is_up_and_all_samples_are_taken(scene: tuple[Prometheus, Path]) -> None:
    peer, _ = scene
    target = peer.target()
    assert ("up", "") == (target["health"], target["lastError"])
    (scraped,), (taken,) = (peer.query(f"scrape_samples_{what}") for what in ("scraped", "post_metric_relabeling"))
    assert float(scraped["value"][1]) == float(taken["value"][1]) > 100
    (seconds,) = peer.query("max_over_time(scrape_duration_seconds[1m])")
    assert float(seconds["value"][1]) < 1.0
    (described,) = peer.ask("metadata", metric="timesync_error_bound_seconds")["timesync_error_bound_seconds"]
    assert described["type"] == "gauge"
    (state,) = peer.query("timesync_state == 1")
    assert "locked" == state["metric"]["state"]
    for theirs in ("chrony_tracking_info", "ntp_system_accumulated_steps_seconds"):
        assert peer.query(theirs), theirs


def test_all_rules_are_evaluated_and_none_alerts(scene: tuple[Prometheus, Path]) -> None:
    peer, _ = scene
    groups = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())["groups"]
    wait_until(lambda: all(rule["health"] != "unknown" for rule in peer.rules()), 30, "the rules are evaluated")
    rules = peer.rules()
    assert sorted(rule["alert"] for group in groups for rule in group["rules"]) == sorted(
        rule["name"] for rule in rules
    )
    assert {("ok", "")} == {(rule["health"], rule.get("lastError", "")) for rule in rules}
    # The shipped leap second list may be near its end, which is no fault of this machine.
    assert {"TimesyncLeapTableExpiring"} >= {rule["name"] for rule in rules if rule["state"] != "inactive"}


def test_the_dashboard_has_data_in_every_panel_that_this_machine_can_fill(scene: tuple[Prometheus, Path]) -> None:
    peer, _ = scene
    board = json.loads((GRAFANA / "timesync.json").read_text())
    assert ["127.0.0.1:9975"] == peer.ask("label/instance/values", **{"match[]": "timesync_up"})
    filled, empty = 0, []
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            if peer.query(query):
                filled += 1
            elif not any(name in query for name in ABSENT):
                empty.append(f"{panel['title']}: {query}")
    assert not empty
    assert filled > 20


def test_a_daemon_that_hangs_is_noticed(scene: tuple[Prometheus, Path]) -> None:
    peer, control = scene

    def alert() -> str:
        (rule,) = (rule for rule in peer.rules() if rule["name"] == "TimesyncDown")
        return str(rule["state"])

    assert alert() == "inactive"
    daemon = daemon_pid(control)
    os.kill(daemon, signal.SIGSTOP)
    try:
        wait_until(lambda: peer.query("timesync_up == 0"), 20, "timesync_up is 0", peer.log.read_text)
        wait_until(lambda: alert() != "inactive", 5, "an alert", peer.log.read_text)
        assert not peer.query("timesync_state"), "nothing else is told of it"
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_until(lambda: peer.query("timesync_up == 1"), 10, "timesync_up is 1 again", peer.log.read_text)
    wait_until(lambda: alert() == "inactive", 5, "no alert", peer.log.read_text)
