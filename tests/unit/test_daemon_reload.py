"""What a running daemon takes over of another configuration: nothing that was only checked against other clocks."""

from __future__ import annotations

import pytest

from timesync.config.load import loads
from timesync.config.schema import Config
from timesync.daemon.reload import adoptable

STEERED = "eth0: {phc: eth0}"
WATCHED = "eth0: {phc: eth0, discipline: false}"
OLD, NEW = "HEX:" + "0a" * 32, "HEX:" + "0b" * 32
SIGNED = "ptp: {ports: [{interface: eth1}], authentication: {keys: [1, 2]}}\n"


def _config(*sources: str, clocks: str = "", rest: str = "") -> Config:
    entries = "".join(f"  - {source}\n" for source in ("ntp: a", *sources))
    return loads(f"clocks: {{{clocks}}}\nsources:\n{entries}{rest}", "reload.yaml").config


def _signed(*secrets: str) -> Config:
    keys = "".join(
        f"  {number}: {{algorithm: HMAC-SHA256, secret: {text}}}\n" for number, text in enumerate(secrets, 1)
    )
    return _config(clocks=STEERED, rest=f"{SIGNED}keys:\n{keys}")


def _titles(config: Config) -> list[str]:
    return [source.title for source in config.sources]


def test_a_card_that_we_still_steer_ourselves_becomes_no_reference() -> None:
    """Its own time would come back as a stratum 0 source."""
    able, late = adoptable(_config("phc: eth0", clocks=WATCHED), _config(clocks=STEERED))
    assert ["clocks", "phc:eth0"] == late
    assert ["a"] == _titles(able)
    again, late = adoptable(_config("phc: eth0", clocks=WATCHED), able)
    assert ["clocks", "phc:eth0"] == late
    assert ["a"] == _titles(again)


def test_pulses_are_not_taken_from_a_pin_that_still_gives_some_out() -> None:
    giving = "eth0: {phc: eth0, pulse_out: {pin: 0}}"
    able, late = adoptable(_config("{pps: eth0, pin: 0}", clocks=STEERED), _config(clocks=giving))
    assert ["clocks", "pps:eth0"] == late
    assert ["a"] == _titles(able)


@pytest.mark.parametrize(
    "source", ["{ntp: b, clock: eth0}", "{phc: eth0, clock: system}", "{csptp: c.example, interface: eth1}"]
)
def test_a_new_source_on_a_card_that_is_another_one_in_the_new_file_waits(source: str) -> None:
    other = WATCHED.replace("phc: eth0", "phc: eth1")
    new = _config(source, clocks=other)
    able, late = adoptable(new, _config(clocks=WATCHED))
    assert ["clocks", new.sources[1].title] == late
    assert ["a"] == _titles(able)


def test_who_runs_already_goes_on_when_its_card_is_described_differently() -> None:
    both = ("{pps: eth0, pin: 0}", "{phc: eth0, noselect: true}")
    new = WATCHED.replace("discipline", "pair_interval: 1s, discipline")
    able, late = adoptable(_config(*both, "ntp: b", clocks=new), _config(*both, clocks=WATCHED))
    assert ["clocks"] == late
    assert ["a", "pps:eth0", "phc:eth0", "b"] == _titles(able)


def test_another_thermometer_of_the_system_clock_keeps_no_server_waiting() -> None:
    warm = "system: {thermometer: /sys/class/hwmon/hwmon0/temp1_input}"
    able, late = adoptable(_config("ntp: b", clocks=warm), _config())
    assert ["clocks"] == late
    assert ["a", "b"] == _titles(able)


def test_another_secret_of_ptp_waits_for_a_restart_and_that_is_said_at_every_reload() -> None:
    """Also the second key: what it signs is verified with it."""
    running = _signed(OLD, OLD)
    for _ in range(2):
        running, late = adoptable(_signed(OLD, NEW), running)
        assert ["ptp"] == late
    _, late = adoptable(_signed(OLD, OLD), running)
    assert [] == late


def test_a_secret_that_ptp_does_not_use_is_taken_over() -> None:
    able, late = adoptable(_signed(OLD, OLD, NEW), _signed(OLD, OLD, OLD))
    assert [] == late
    assert able.keys == _signed(OLD, OLD, NEW).keys
