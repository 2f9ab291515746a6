"""``timesync gptp-check``: one look at the ports, then another, and a verdict for each requirement."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from timesync.cli import gptp_check
from timesync.cli.main import cli

FINE: dict[str, Any] = {
    "name": "eth0",
    "domain": 0,
    "state": "TIME_RECEIVER",
    "timestamping": "hardware",
    "as_capable": True,
    "reason": "",
    "mean_delay_s": 300e-9,
    "neighbor_rate_ratio": 1.00002,
    "offset_s": 12e-9,
    "received": {"sync": 100, "follow_up": 99, "pdelay_resp_follow_up": 20, "announce": 10},
    "sent": {"pdelay_req": 20},
    "drops": {"follow-up": 3},
    "lost_stamps": 2,
}


def later(**changes: Any) -> dict[str, Any]:
    port = copy.deepcopy(FINE)
    for kind, more in (("sync", 80), ("follow_up", 80), ("pdelay_resp_follow_up", 10), ("announce", 10)):
        port["received"][kind] += more
    port["sent"]["pdelay_req"] += 10
    for key, value in changes.items():
        port[key] = {**port[key], **value} if isinstance(value, dict) else value
    return port


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    def run(after: dict[str, Any], *options: str, before: dict[str, Any] = FINE) -> Result:
        looks = iter([before, after])
        moments = iter([0.0, 0.0, 10.0])
        monkeypatch.setattr(gptp_check, "answer", lambda path, what: {"ports": [next(looks)]})
        clock = SimpleNamespace(monotonic=lambda: next(moments), sleep=lambda span: None)
        monkeypatch.setattr(gptp_check, "time", clock)
        return CliRunner().invoke(cli, ["gptp-check", "--control", "x", *options], prog_name="timesync")

    return run


def failed(result: Result) -> list[str]:
    return [line["name"] for line in json.loads(result.stdout)["requirements"] if not line["passed"]]


def test_a_good_endpoint_passes(check: Callable[..., Result]) -> None:
    result = check(later())
    assert 0 == result.exit_code, result.output
    assert "FAIL" not in result.stdout
    assert "12 of 12 requirements are met" in result.stdout


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"timestamping": "software"}, "hardware timestamps"),
        ({"as_capable": False, "reason": "why"}, "asCapable"),
        ({"mean_delay_s": 801e-9}, "link delay up to 800 ns"),
        ({"mean_delay_s": None}, "link delay up to 800 ns"),
        ({"neighbor_rate_ratio": 1.0003}, "neighborRateRatio within 200 ppm"),
        ({"neighbor_rate_ratio": None}, "neighborRateRatio within 200 ppm"),
        ({"received": {"pdelay_resp_follow_up": 28}}, "Pdelay_Req answered"),
        ({"lost_stamps": 3}, "no transmit stamp lost"),
        ({"received": {"sync": 100, "follow_up": 99}}, "Sync comes"),
        ({"received": {"follow_up": 170}}, "each Sync has its Follow_Up"),
        ({"drops": {"follow-up": 4}}, "every Sync can be used"),
        ({"state": "UNCALIBRATED"}, "locked"),
        ({"offset_s": -2e-6}, "within 1.00 µs of the grandmaster"),
        ({"offset_s": None}, "within 1.00 µs of the grandmaster"),
        ({"received": {"announce": 10}}, "somebody announces"),
    ],
)
def test_what_is_missed_is_named(check: Callable[..., Result], changes: dict[str, Any], name: str) -> None:
    result = check(later(**changes), "--json")
    assert 1 == result.exit_code
    assert name in failed(result)
    assert not json.loads(result.stdout)["passed"]


def test_in_a_vehicle_nobody_announces(check: Callable[..., Result]) -> None:
    assert ["nobody announces"] == failed(check(later(), "--automotive", "--json"))
    assert 0 == check(later(received={"announce": 10}), "--automotive").exit_code


def test_a_port_that_gives_time_is_asked_for_what_it_sends(check: Callable[..., Result]) -> None:
    gives = later(state="TIME_TRANSMITTER", sent={"sync": 80, "follow_up": 79, "announce": 10})
    result = check(gives)
    assert 0 == result.exit_code, result.output
    silent = later(state="TIME_TRANSMITTER")
    assert ["Sync is sent", "each Sync has its Follow_Up"] == failed(check(silent, "--json"))


def test_without_a_gptp_port_there_is_nothing_to_check(check: Callable[..., Result]) -> None:
    other = {**FINE, "as_capable": None}
    result = check(other, before=other)
    assert 1 == result.exit_code
    assert "no gPTP port" in result.output
