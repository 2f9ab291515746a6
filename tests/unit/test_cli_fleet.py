"""``timesync fleet``: its options, its page and its exit codes; a real broker is among the interop tests."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mqtt_support import HELLO, source, state

from timesync.cli.main import cli
from timesync.observe.mqtt import subscribe
from timesync.observe.mqtt.fleet import Fleet
from timesync.observe.mqtt.link import Access
from timesync.observe.mqtt.topics import Summarizer, Topics

BROKER = "mqtt://192.0.2.5"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["fleet", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a broker"),
        (("--broker", "localhost"), "expected the URL of a broker"),
        (("--broker", "mqtt://a:b@c"), "not part of the URL"),
        (("--broker", BROKER, "-c", "/nowhere"), "give those or -c"),
        (("--broker", BROKER, "--ca", "/nowhere"), "write --broker mqtts://"),
        (("--broker", "mqtts://b", "--certificate", "/nowhere"), "go together"),
        (("--broker", BROKER, "--password-file", "/nowhere"), "--username"),
        (("--broker", BROKER, "--username", "a", "--password-file", "/nowhere"), "No such file"),
        (("--broker", BROKER, "--topic", "a/+"), "--topic is text without"),
        (("-c", "/nowhere.yaml"), "/nowhere.yaml"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments: tuple[str, ...], words: str) -> None:
    result = invoke(*arguments)
    assert (2, True) == (result.exit_code, words in result.output), result.output


def test_a_configuration_without_a_broker_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("sources: [{ntp: 192.0.2.1}]\n")
    file.chmod(0o644)
    result = invoke("-c", str(file))
    assert (2, True) == (result.exit_code, "has no observe.mqtt" in result.output)


def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = f"mqtt://127.0.0.1:{free.getsockname()[1]}"
    result = invoke("--broker", where)
    assert (1, f"timesync: the broker {where} cannot be reached: Connection refused\n") == (
        result.exit_code,
        result.output,
    )


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[dict[str, Any], str]]:
    """What a broker has, by appliance: its state and availability; ``asked`` says under which topic."""
    kept: dict[str, tuple[dict[str, Any], str]] = {}

    async def listen(access: Access, root: str, fleet: Fleet, seconds: float) -> None:
        assert ("mqtt://192.0.2.5:1883", "site/clocks", 1.0) == (str(access.broker), root, seconds)
        for name, (said, availability) in kept.items():
            topics = Topics(root, name, 10.0)
            everything = [topics.availability(availability), *topics.picture(HELLO, said, Summarizer().summary(said))]
            for one in everything:
                fleet.take(name, one.topic.rpartition("/")[2], one.payload, retained=False)

    monkeypatch.setattr(subscribe, "listen", listen)
    return kept


def test_a_fleet_that_is_well_ends_with_0(published: dict[str, tuple[dict[str, Any], str]]) -> None:
    published["rack-1"] = state(source("x", "192.0.2.9:123"), error_bound_s=2e-6), "online"
    published["rack-2"] = state(source("x", "192.0.2.9:123"), error_bound_s=5e-5), "online"
    result = invoke("--broker", BROKER, "--topic", "site/clocks")
    assert 0 == result.exit_code, result.output
    lines = result.output.splitlines()
    assert ["name", "state", "error", "offset", "stratum", "reference", "agrees", "age"] == lines[0].split()
    assert ["rack-1", "locked", "2.00", "µs", "+2.00", "µs", "2", "192.0.2.1", "1", "of", "1"] == lines[1].split()[:11]
    assert "The worst error bound is 50.0 µs, that of rack-2." in lines
    assert "1 of 1 pairs that can be compared agree within their error bounds." in lines


def test_what_is_wrong_is_said_and_ends_with_1(published: dict[str, tuple[dict[str, Any], str]]) -> None:
    published["a"] = state(source("x", "192.0.2.9:123", offset_s=1.5)), "online"
    published["b"] = (
        state(source("x", "192.0.2.9:123"), state="holdover", holdover_s=90.0, reason="no source"),
        "online",
    )
    published["c"] = state(warnings=["the leap seconds are old"]), "offline"
    published["d"] = state(stratum=16, state="acquiring", reason="comparing", warnings=["no card"]), "online"
    result = invoke("--broker", BROKER, "--topic", "site/clocks")
    assert 1 == result.exit_code
    said = " ".join(result.output.split())
    assert "a and b contradict each other: 1.50 s apart" in said
    assert "b is in holdover for 90.0 s: no source." in said
    assert "c is silent: offline" in said
    assert "d is acquiring: comparing." in said
    assert "d: warning: no card" in said
    assert "leap seconds are old" not in said, "what somebody silent said is old"

    whole = json.loads(invoke("--broker", BROKER, "--topic", "site/clocks", "--json").stdout)
    assert (1, False, ["c"], ["b"], [["a", "b"]]) == tuple(
        whole[key] for key in ("schema", "well", "silent", "holdover", "contradictions")
    )
    assert ["c", "d"] == whole["not_synchronised"]


def test_nobody_who_publishes_is_not_well(published: dict[str, tuple[dict[str, Any], str]]) -> None:
    del published
    result = CliRunner().invoke(cli, ["fleet", "--broker", BROKER, "--topic", "site/clocks"])
    assert (1, "Nobody has published anything under site/clocks.\n") == (result.exit_code, result.output)
