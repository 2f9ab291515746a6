"""PTP over the whole daemon in virtual time: what no figure of a scenario shows."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from timesync.config.scenario import Scenario, read_scenario
from timesync.config.schema import Config
from timesync.daemon.leap import load_leap_table
from timesync.daemon.simulate import Result, simulate
from timesync.sim.host import SimHost

LEAPS = load_leap_table()[0]


def shipped(name: str, *changes: tuple[str, str]) -> tuple[Scenario, Config]:
    text = resources.files("timesync.sim").joinpath("scenarios", f"{name}.yaml").read_text()
    for old, new in changes:
        assert 1 == text.count(old), old
        text = text.replace(old, new)
    scenario, loaded = read_scenario(text.encode(), f"{name}.yaml")
    return scenario, loaded.config


def play(name: str, *changes: tuple[str, str], seed: int = 5) -> Result:
    return simulate(*shipped(name, *changes), LEAPS, seed, keep=True)


def said(result: Result, name: str) -> list[float]:
    return [at for at, note in result.notes if note.name == name]


def test_loss_and_disorder_change_nothing_visible() -> None:
    short = ("duration: 3min", "duration: 90s")
    lossy = play("ptp-lossy", short)
    clean = play("ptp-lossy", short, (", disorder: 500us, lost_stamps: 0.01", ""), (", loss: 0.1", ""))
    # Of about sixty looks that hang together; both are far within the 20 ns of one stamp.
    assert max(lossy.rms_s, clean.rms_s) < 8e-9
    assert len(said(lossy, "locked")) == len(said(clean, "locked")) == 2  # the card, then the system clock
    assert len(said(lossy, "ptp-parent")) == len(said(clean, "ptp-parent"))
    assert [] == said(lossy, "sync-lost")


def test_the_bound_grows_while_no_sync_comes_and_holds() -> None:
    result = play("ptp-outage")
    bounds = [bound for _, bound in result.trace]
    before, during, after = bounds[115], bounds[178], bounds[220]
    assert before is not None
    assert during is not None
    assert after is not None
    assert before < during
    assert after < during
    assert all(abs(true) <= bound for true, bound in result.trace if bound is not None)


def test_a_grandmaster_that_jumps_by_a_microsecond_is_followed_without_overshoot() -> None:
    result = play(
        "ptp-hardware",
        ("config:\n", "  events:\n    - {at: 60s, peer_step: 1us, device: gm}\nconfig:\n"),
        ("duration: 3min", "duration: 2min"),
    )
    trace = [true for true, _ in result.trace]
    assert max(map(abs, trace[30:])) < 1.2e-6
    assert all(abs(true - 1e-6) < 60e-9 for true in trace[75:])
    assert 1 == result.steps


def test_a_gptp_endpoint_turns_to_the_next_grandmaster_within_a_second() -> None:
    result = play("gptp-grandmasters")
    (lost,) = [at for at in said(result, "sync-lost") if 80 < at < 85]
    assert lost < 80.6
    changes = [at for at, note in result.notes if note.name == "ptp-parent" and 80 < at < 130]
    assert [] != changes
    assert max(changes) < 81
    back = [at for at, note in result.notes if note.name == "ptp-parent" and at > 140]
    assert [] != back


def test_a_link_delay_is_kept_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[bytes] = []
    keep = SimHost.save

    def save(host: SimHost, name: str, data: bytes) -> None:
        if name == "calibration.json":
            saved.append(data)
        keep(host, name, data)

    monkeypatch.setattr(SimHost, "save", save)
    result = play(
        "gptp-endpoint",
        ("config:\n", "  events:\n    - {at: 60s, restart: true}\nconfig:\n"),
        ("duration: 3min", "duration: 2min"),
    )
    kept = json.loads(saved[0])["ptp eth0"]["eth0"]
    assert 500 == pytest.approx(kept["link_delay_ns"], abs=30)
    assert 0 == pytest.approx(kept["neighbor_rate_ppm"], abs=1)
    after = [abs(true) for true, _ in result.trace[60:]]
    assert max(after) < 1e-6


def test_both_domains_of_a_port_feed_its_clock() -> None:
    result = play("gptp-domains", ("duration: 2min", "duration: 40s"))
    followed = {note.text.split(":")[0] for _, note in result.notes if note.name == "ptp-parent"}
    assert {"ptp eth0, domain 0", "ptp eth0, domain 1"} == followed
