"""Prometheus' own tool reads our metrics, our rules and the dashboard's queries, and tries the rules on stories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from interop_support import REQUIRED, ROOT
from prometheus_client import CollectorRegistry, generate_latest

sys.path.append(str(ROOT / "tests" / "unit"))

from metrics_support import scene

from timesync.observe.metrics.tables import COMPAT, Picture

pytestmark = pytest.mark.promtool

GRAFANA = ROOT / "config" / "grafana"
CACHE = Path(
    os.environ.get("TIMESYNC_PROMTOOL")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timesync" / "promtool"
)
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=CACHE)

# What promtool's linter would have otherwise, in names that are others' or that are meant as they are.
LINTED = ("chrony_", "ntp_", "statime_", "openshift_")


def promtool(*arguments: str, given: bytes | None = None) -> str:
    """What it says. Fails when it is not content."""
    if PROMTOOL is None:
        reason = "promtool is not there: run tests/interop/install-promtool.sh, or bin/test promtool"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_the_linter_finds_nothing_in_our_own_metrics() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Picture(scene(), ()))
    assert "" == promtool("check", "metrics", given=generate_latest(registry))


def test_the_metrics_of_others_are_read() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Picture(scene(), tuple(COMPAT)))
    text = generate_latest(registry)
    assert PROMTOOL is not None or promtool("--version")
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
    # 3: it could be read, and there are remarks.
    assert done.returncode == 3, done.stderr
    remarks = (done.stdout + done.stderr).decode().splitlines()
    assert all(line.startswith(LINTED) for line in remarks), remarks


def test_the_rules_are_rules() -> None:
    count = sum(len(group["rules"]) for group in yaml.safe_load((GRAFANA / "alerts.yaml").read_text())["groups"])
    assert f"{count} rules found" in promtool("check", "rules", str(GRAFANA / "alerts.yaml"))


def test_the_queries_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    board = json.loads((GRAFANA / "timesync.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    rules = [
        {"record": f"board:query:{place}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for place, query in enumerate(queries)
    ]
    file = tmp_path / "board.yaml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


def story(name: str, after: str, series: dict[str, str], **labels: str) -> dict[str, Any]:
    """Whether an alert fires so long after the beginning; without labels it must not."""
    expected = [{"exp_labels": {"instance": "a", "job": "timesync", **labels}}] if labels else []
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": after, "alertname": name, "exp_alerts": expected}],
    }


def _state(state: str) -> str:
    return f'timesync_state{{instance="a",job="timesync",state="{state}"}}'


def _of(name: str, **labels: str) -> str:
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'{name}{{instance="a",job="timesync"{more}}}'


CLOCK = {"clock": "system", "kind": "system"}
SOURCE = {"source": "gps", "kind": "nmea"}
STORIES: dict[str, dict[str, Any]] = {
    "locked is no alert": story("TimesyncNotLocked", "10m", {_state("locked"): "1x20", _state("freerun"): "0x20"}),
    "holdover is not yet one": story("TimesyncNotLocked", "10m", {_state("holdover"): "1x20"}),
    "free running is": story("TimesyncNotLocked", "10m", {_state("freerun"): "1x20"}, state="freerun",
                             severity="critical"),
    "a short search is not": story("TimesyncNotLocked", "4m", {_state("acquiring"): "1x20"}),
    "a large bound": story("TimesyncErrorBoundLarge", "5m", {_of("timesync_error_bound_seconds"): "0.0011x10"},
                           severity="warning"),
    "a good bound": story("TimesyncErrorBoundLarge", "5m", {_of("timesync_error_bound_seconds"): "0.0009x10"}),
    "a daemon that is stuck": story("TimesyncDown", "5m", {_of("up"): "1x10", _of("timesync_up"): "0x10"},
                                    severity="critical"),
    "a machine that is gone": story("TimesyncDown", "5m", {_of("up"): "0x10"}, severity="critical"),
    "all is up": story("TimesyncDown", "5m", {_of("up"): "1x10", _of("timesync_up"): "1x10"}),
    "holdover that ends": story("TimesyncHoldoverEnding", "5m",
                                {_of("timesync_holdover_remaining_seconds"): "1000-60x10"}, severity="critical"),
    "a step at the start": story("TimesyncStepped", "5m", {
        _of("timesync_steps_total", **CLOCK): "0 1x10", _of("timesync_uptime_seconds"): "0+60x10"}),
    "a step later": story("TimesyncStepped", "30m", {
        _of("timesync_steps_total", **CLOCK): "1x25 2x10", _of("timesync_uptime_seconds"): "0+60x40"},
        severity="warning", **CLOCK),
    "no source is used": story("TimesyncFewSources", "15m", {
        _of("timesync_source_selected", **SOURCE): "0x20", _of("timesync_holdover_active"): "0x20"},
        severity="warning"),
    "one source is used": story("TimesyncFewSources", "15m", {
        _of("timesync_source_selected", **SOURCE): "0x20",
        _of("timesync_source_selected", source="b", kind="ntp"): "1x20", _of("timesync_holdover_active"): "0x20"}),
    "a leap table of a month": story("TimesyncLeapTableExpiring", "2h", {
        _of("timesync_leap_table_remaining_seconds"): "2500000x130"}, severity="warning"),
    "a pulse each second": story("TimesyncPulsesMissing", "20m", {
        _of("timesync_pps_pulses_total", source="pps0"): "0+60x30"}),
    "half of the pulses": story("TimesyncPulsesMissing", "20m", {
        _of("timesync_pps_pulses_total", source="pps0"): "0+30x30"}, severity="warning", source="pps0"),
    "a spoofer": story("TimesyncReceiverDisturbed", "5m", {
        _of("timesync_gnss_spoofing_state", source="gps", state="multiple"): "1x10"},
        severity="critical", source="gps", state="multiple"),
    "a quiet sky": story("TimesyncReceiverDisturbed", "5m", {
        _of("timesync_gnss_spoofing_state", source="gps", state="none"): "1x10",
        _of("timesync_gnss_jamming_state", source="gps", state="ok"): "1x10"}),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_an_alert_fires_when_it_should(name: str, tmp_path: Path) -> None:
    rules = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            # Words are for people; labels are what is compared.
            rule["annotations"] = {}
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [STORIES[name]]}
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", str(file))
