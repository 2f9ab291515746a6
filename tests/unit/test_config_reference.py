"""JSON Schema and the generated reference."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from timesync.config.load import loads
from timesync.config.problem import ConfigError
from timesync.config.profiles import shipped
from timesync.config.reference import json_schema
from timesync.config.tree import plain
from timesync.config.yaml import compose, decode

ROOT = Path(__file__).parents[2]
FACES = ("stratum1-gps-pps.yaml", "automotive-gptp-endpoint.yaml", "lab-grandmaster.yaml")


def as_json(value: Any) -> Any:
    """Lists as JSON has them."""
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def valid(text: str | bytes) -> bool:
    data = text.encode() if isinstance(text, str) else text
    content = as_json(plain(compose(decode(data, "t.yaml"))))
    return jsonschema.Draft202012Validator(json_schema()).is_valid(content)


def test_the_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_json_schema_takes_the_shipped_profiles(name: str) -> None:
    assert valid(shipped()[name].text)


@pytest.mark.parametrize("name", ["ntp-client.yaml", "ntp-server.yaml", *FACES])
def test_the_json_schema_takes_the_examples(name: str) -> None:
    assert valid((ROOT / "config" / name).read_bytes())


@pytest.mark.parametrize(
    "text",
    [
        "sources: [{ntp: a, key: 3}]\nkeys: {3: {algorithm: SHA256, secret: 'ascii:0123456789'}}\n",
        "clocks: {b: {virtual: {offset: -10ms, frequency: 20ppm, wander: 1e-9}}}\n",
        "serve: {ntp: {workers: auto, rate_limit: null}, local_stratum: 3}\n",
        "steering: {step: {threshold: 1.5us, updates: 0}}\n",
        "clocks: {eth0: {phc: /dev/ptp0, timescale: utc, pulse_out: {pin: 1, width: 1ms}, pair_interval: 1s}}\n",
        "clocks: {eth0: {phc: eth0.100, pulse_out: {}, thermometer: /sys/t}}\n",
        "sources: [{gpsd: 'gpsd://[::1]:2947/dev/ttyAMA0', delay: auto, name: hat}]\n",
        "sources: [{nmea: /dev/ttyAMA0, baud: 38400, delay: 150ms, configure: true}]\n",
        "sources: [{nmea: /dev/ttyAMA0, baud: auto}, {pps: /dev/pps0, edge: clear, pairs_with: nmea}]\n",
        "clocks: {e: {phc: eth0}}\nsources: [{pps: e, channel: 1, pin: null}, {ntp: a, timestamping: hardware}]\n",
        "clocks: {e: {phc: eth0, discipline: false}}\nsources: [{phc: e, clock: system}]\n",
        "observe: {metrics: '127.0.0.1:9975', web: {listen: '[::1]:8080', hosts: [time.example]}, measurements: /m}\n",
        "observe: {mqtt: {broker: mqtts://b, username: a, name: c}, chronyc: {socket: /run/chrony/s}}\n",
        "sources: [{ntp: a, version: auto, drafts: [draft-ietf-ntp-ntpv5-08]}]\nserve: {ntp: {versions: [4, 5]}}\n",
        "sources: [{sock: /run/a.sock}, {shm: 255}]\nserve: {sock: /run/b.sock, shm: 0, ntp: {leap_smear: 24h}}\n",
    ],
)
def test_schema_and_loader_agree_on_what_is_right(text: str) -> None:
    assert valid(text)
    loads(text, "t.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "sorces: []\n",
        "sources: [{poll: [1s, 2s]}]\n",
        "sources: [{ntp: a, pool: b}]\n",
        "sources: [{ntp: a, nts: perhaps}]\n",
        "sources: [{ntp: a, poll: [1s]}]\n",
        "sources: [{ntp: a, poll: [1, 2]}]\n",
        "sources: [{ntp: a, burst: on}]\n",
        "sources: [{ntp: a, version: 6}]\n",
        "sources: [{ntp: a, version: 5, drafts: [ntpv5]}]\n",
        "sources: [{ntp: a, version: auto, drafts: []}]\n",
        "serve: {ntp: {versions: [4, 6]}}\n",
        "sources: [{pool: a, count: 17}]\n",
        "steering: {panic: 1000}\n",
        "steering: {max_slew: 1s}\n",
        "steering: {minimum_sources: 0}\n",
        "clocks: {b: {virtual: {wander: -1.0}}}\n",
        "keys: {3: {algorithm: SHA256, secret: hunter2}}\n",
        "keys: {x: {algorithm: SHA256, secret: 'ascii:0123456789'}}\n",
        "serve: {ntp: {listen: []}}\n",
        "serve: {ntp: {workers: 65}}\n",
        "observe: {metrics: [9975]}\n",
        "observe: {metrics: {compat: [chrony]}}\n",
        "observe: {mqtt: {broker: localhost}}\n",
        "observe: {log: {level: warn}}\n",
        "clocks: {eth0: {phc: eth 0}}\n",
        "clocks: {eth0: {phc: eth0, timescale: gps}}\n",
        "clocks: {eth0: {phc: eth0, pulse_out: {pin: -1}}}\n",
        "clocks: {eth0: {phc: eth0, pair_interval: 4}}\n",
        "sources: [{gpsd: localhost, pps: /dev/pps0}]\n",
        "sources: [{nmea: ttyAMA0}]\n",
        "sources: [{nmea: /dev/ttyAMA0, baud: 1234}]\n",
        "sources: [{nmea: /dev/ttyAMA0, delay: 150}]\n",
        "sources: [{pps: 0}, {ntp: a}]\n",
        "sources: [{pps: /dev/pps0, edge: both}, {ntp: a}]\n",
        "sources: [{shm: 256}]\n",
        "sources: [{sock: /run/a, poll: [1s, 2s]}]\n",
        "sources: [{ntp: a, timestamping: hw}]\n",
        "serve: {ntp: {leap_smear: 24}}\n",
        "serve: {shm: x}\n",
    ],
)
def test_schema_and_loader_agree_on_what_is_wrong(text: str) -> None:
    assert not valid(text)
    with pytest.raises(ConfigError):
        loads(text, "t.yaml")


def test_the_reference_page_is_up_to_date() -> None:
    module = runpy.run_path(str(ROOT / "docs" / "generate.py"))

    assert 0 == module["main"](["--check"])


def test_every_key_of_the_schema_has_a_meaning_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    models = [json_schema(), *json_schema()["$defs"].values()]
    for model in models:
        # One that may be written as a single value comes after that.
        for key in model.get("anyOf", [model])[-1]["properties"]:
            rows = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
            assert rows, key
            for row in rows:
                meaning = row.removesuffix(" |").rpartition(" | ")[2]
                assert meaning.endswith("."), row
