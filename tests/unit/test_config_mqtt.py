"""A connection to an MQTT broker in a configuration: its URL, its names, its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from timesync.config.load import load
from timesync.config.observe import parse_broker
from timesync.config.problem import ConfigError

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def written(tmp_path: Path, mqtt: str) -> Path:
    file = tmp_path / "t.yaml"
    file.write_text(f"sources: [{{ntp: 192.0.2.1}}]\nobserve: {{mqtt: {{{mqtt}}}}}\n")
    file.chmod(0o644)
    return file


def complaints(tmp_path: Path, mqtt: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, mqtt))
    return [(problem.path.removeprefix("observe.mqtt."), problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtts://broker", "mqtts://broker:8883"),
        ("mqtts://[2001:db8::1]:1000/", "mqtts://[2001:db8::1]:1000"),
    ],
)
def test_the_port_follows_from_the_scheme(text: str, expected: str) -> None:
    assert expected == str(parse_broker(text))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("topic", "'$SYS/a'", "without $ in front"),
        ("topic", "'a/#'", "without + and #"),
        ("topic", "'a/'", "without / at its ends"),
        ("name", "'a/b'", "one level of a topic"),
        ("name", "'a+b'", "without + and #"),
        ("interval", "500ms", "1s"),
        ("password_file", "/nowhere", "needs a username"),
        ("ca", "/nowhere", "write mqtts://"),
    ],
)
def test_what_no_broker_could_take_is_refused(tmp_path: Path, key: str, value: str, words: str) -> None:
    ((path, message),) = complaints(tmp_path, f"broker: mqtt://localhost, {key}: {value}")
    assert (key, True) == (path, words in message), message


def test_files_are_read_before_they_are_needed(tmp_path: Path) -> None:
    for name, text in (("secret", "\n"), ("ca", KEY), ("certificate", PEM), ("key", KEY)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    found = complaints(
        tmp_path,
        "broker: mqtts://b, username: a, password_file: secret, ca: ca, certificate: nowhere, private_key: key",
    )
    words = {path: message.removeprefix(f"{tmp_path}/") for path, message in found}
    assert "secret: others can read or write it; take that away with chmod o-rwx" == words["password_file"]
    assert "ca: there is no certificate in PEM form in it" == words["ca"]
    assert "nowhere: No such file or directory" == words["certificate"]
    assert "key: others can read or write it; take that away with chmod o-rwx" == words["private_key"]

    (tmp_path / "secret").chmod(0o600)
    assert ("password_file", f"{tmp_path}/secret: its first line is no password in UTF-8") in complaints(
        tmp_path, "broker: mqtts://b, username: a, password_file: secret, ca: ca"
    )


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "certificate").write_text(PEM)
    (tmp_path / "key").write_text(KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"))
    (tmp_path / "key").chmod(0o600)
    ((path, message),) = complaints(tmp_path, "broker: mqtts://b, certificate: certificate, private_key: key")
    assert ("private_key", True) == (path, "passphrase" in message)


@pytest.mark.parametrize(
    ("broker", "doubted"),
    [("mqtt://broker", True), ("mqtt://localhost", False), ("mqtt://[::1]", False), ("mqtts://broker", False)],
)
def test_a_password_that_everybody_can_read_is_doubted(tmp_path: Path, broker: str, doubted: bool) -> None:
    (tmp_path / "secret").write_text("word\n")
    (tmp_path / "secret").chmod(0o600)
    loaded = load(written(tmp_path, f"broker: '{broker}', username: a, password_file: secret"))
    assert doubted is any("where all can read it" in warning.message for warning in loaded.warnings)
