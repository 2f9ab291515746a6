"""Files, profiles, origins, secrets, and the values that come out."""

from __future__ import annotations

import errno
import ipaddress
import os
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from timesync.base.ids import Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.address import HostPort
from timesync.config.amounts import Poll
from timesync.config.explain import explain
from timesync.config.load import load, loads
from timesync.config.problem import ConfigError
from timesync.config.profiles import shipped
from timesync.config.schema import PTP_ALGORITHMS, Config, Key, Model, NtpSource, PoolSource
from timesync.config.source import Source
from timesync.config.tree import plain
from timesync.config.yaml import compose, decode
from timesync.ntp.auth import ALGORITHMS, MIN_SECRET, KeyFileError, SymmetricKey

ROOT = Path(__file__).parents[2]
FACES = ("stratum1-gps-pps.yaml", "automotive-gptp-endpoint.yaml", "lab-grandmaster.yaml")

CONTRACT = """\
clocks:
  system:
    discipline: true
  bench:
    virtual: {offset: 10ms, frequency: 20ppm, wander: 1e-9}
sources:
  - ntp: ntp1.example.org
    poll: [16s, 1024s]
    burst: true
    interleaved: auto
    key: 3
    clock: bench
    trust: false
    noselect: false
    offset: 0s
  - pool: pool.example.org
    count: 4
  - ntp: "[2001:DB8::1]:1123"
    poll: [62.5ms, 1s]
    version: 3
keys:
  3: {algorithm: AES128, secret: "HEX:000102030405060708090a0b0c0d0e0f"}
steering:
  step: {threshold: 100ms, updates: 3}
  panic: 1000s
  max_slew: 500ppm
  minimum_sources: 1
  holdover: 1h
serve:
  clock: system
  ntp:
    listen: [0.0.0.0:123, "[::]:123"]
    allow: [0.0.0.0/0, "::/0"]
    deny: []
    rate_limit: {interval: 1s, burst: 8, reply: kod}
    workers: auto
  local_stratum: 10
observe:
  control: /run/timesync/control.sock
  state: /var/lib/timesync
  log: {level: info, format: text}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


def problems(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [problem.headline() for problem in error.value.problems]


def library(**texts: str) -> dict[str, Source]:
    return {name.replace("_", "-"): Source(f"{name}.yaml", text) for name, text in texts.items()}


def test_the_example_of_the_contract_is_read_into_typed_values() -> None:
    loaded = loads(CONTRACT, "t.yaml")
    config = loaded.config

    assert () == loaded.warnings
    first, second, third = config.sources
    assert isinstance(first, NtpSource)
    assert HostPort("ntp1.example.org", 123) == first.ntp
    assert (Poll(4, 10), True, "auto", 3, "bench", 4) == (
        first.poll, first.burst, first.interleaved, first.key, first.clock, first.version,
    )  # fmt: skip
    assert isinstance(second, PoolSource)
    assert (HostPort("pool.example.org", 123), 4, Poll(4, 10)) == (second.pool, second.count, second.poll)
    assert isinstance(third, NtpSource)
    assert (HostPort("2001:db8::1", 1123, numeric=True), Poll(-4, 0), 3) == (
        third.ntp,
        third.poll,
        third.version,
    )
    virtual = config.clocks["bench"].virtual
    assert virtual is not None
    assert (Duration.from_ns(10_000_000), Rate(2e-5), 1e-9) == (
        virtual.offset,
        virtual.frequency,
        virtual.wander,
    )
    assert (Duration.from_ns(100_000_000), 3) == (
        config.steering.step.threshold,
        config.steering.step.updates,
    )
    assert Rate(5e-4) == config.steering.max_slew
    assert (Duration.from_s(1000), Duration.from_s(3600)) == (config.steering.panic, config.steering.holdover)
    serve = config.serve.ntp
    assert serve is not None
    assert (Endpoint("0.0.0.0", 123), Endpoint("::", 123)) == serve.listen
    assert (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")) == serve.allow
    assert serve.rate_limit is not None
    assert (Duration.from_s(1), 8, "kod") == (
        serve.rate_limit.interval, serve.rate_limit.burst, serve.rate_limit.reply,
    )  # fmt: skip
    assert serve.workers is None
    secret = config.keys[3].secret
    assert secret is not None
    assert bytes(range(16)) == secret.value


def test_defaults() -> None:
    config = loads("sources: [{ntp: a.example}]\n", "t.yaml").config

    assert ["system"] == list(config.clocks)
    assert config.clocks["system"].discipline
    assert Poll(4, 10) == config.sources[0].poll
    assert Rate(5e-3) == config.steering.max_slew
    assert 3 == config.steering.step.updates
    assert (None, None) == (config.serve.ntp, config.serve.local_stratum)
    assert ("/run/timesync/control.sock", "/var/lib/timesync") == (
        config.observe.control,
        config.observe.state,
    )
    assert ("started", "info", "text") == (
        config.observe.ready,
        config.observe.log.level,
        config.observe.log.format,
    )
    assert (None, {}) == (config.leap, config.keys)


def test_values_do_not_change_and_can_be_built_by_code() -> None:
    source = NtpSource(ntp=HostPort("127.0.0.1", 1123, numeric=True), poll=Poll(-4, 0))
    config = Config(sources=(source,))

    assert (source,) == config.sources
    with pytest.raises(ValueError, match="frozen"):
        source.burst = False  # type: ignore[misc]  # that it is read-only is the point


@pytest.mark.parametrize(
    ("clocks", "served"),
    [
        ("{}", "system"),
        ("{bench: {virtual: {}}}", "system"),
        ("{system: {discipline: false}, bench: {virtual: {}}}", "bench"),
        ("{system: {discipline: false}, bench: {virtual: {}, discipline: false}}", "system"),
        ("{system: {discipline: false}}", "system"),
    ],
)
def test_the_served_clock_is_the_one_that_alone_is_disciplined(clocks: str, served: str) -> None:
    config = loads(f"clocks: {clocks}\nsources: [{{ntp: a.example}}]\n", "t.yaml").config

    assert served == config.served_clock() == config.clock_of(config.sources[0])


def test_a_named_served_clock_and_source_clock_win() -> None:
    text = "clocks: {a: {virtual: {}}, b: {virtual: {}}, system: {discipline: false}}\nserve: {clock: b}\n"
    config = loads(f"{text}sources: [{{ntp: x, clock: a}}, {{ntp: y}}]\n", "t.yaml").config

    assert "b" == config.served_clock()
    assert ["a", "b"] == [config.clock_of(source) for source in config.sources]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("serve: {}\n", "sources", "no clock will be corrected"),
        (
            "clocks: {b: {virtual: {}, discipline: false}}\nsources: [{ntp: a}]\n",
            "clocks.b",
            "nothing steers",
        ),
        ("sources: [{pool: a.example, poll: [1s, 64s]}]\n", "sources[0].poll", "public servers refuse"),
        (
            "sources: [{ntp: a}]\nkeys: {1: {algorithm: MD5, secret: 'ascii:0123456789'}}\n",
            "keys.1.algorithm",
            "weak",
        ),
    ],
)
def test_doubtful_settings_are_warned_of(text: str, path: str, words: str) -> None:
    (warning,) = loads(text, "t.yaml").warnings

    assert path == warning.path
    assert words in warning.message
    assert ": warning: " in warning.render("warning")


# Profiles


def test_a_profile_gives_what_the_file_does_not_say() -> None:
    profiles = library(
        base="description: base\nsteering: {panic: 5s, max_slew: 10ppm}\nsources: [{ntp: a}, {ntp: b}]\n",
        middle="profile: base\ndescription: middle\nsteering: {panic: 6s, holdover: 2h}\n",
    )
    loaded = loads("profile: middle\nsteering: {holdover: 3h}\nsources: [{ntp: c}]\n", "t.yaml", library=profiles)
    config = loaded.config

    assert ("middle", None) == (config.profile, config.description)
    assert Rate(1e-5) == config.steering.max_slew
    assert (Duration.from_s(6), Duration.from_s(10_800)) == (config.steering.panic, config.steering.holdover)
    assert [HostPort("c", 123)] == [source.ntp for source in config.sources if isinstance(source, NtpSource)]
    assert {
        "profile": "t.yaml:1",
        "steering.max_slew": "base.yaml:2",
        "steering.panic": "middle.yaml:3",
        "steering.holdover": "t.yaml:2",
        "sources[0].ntp": "t.yaml:3",
    } == {path: str(mark) for path, mark in loaded.origins.items()}


def test_null_takes_back_what_a_profile_gives() -> None:
    profiles = library(base="serve: {local_stratum: 10, ntp: {rate_limit: {burst: 3}}}\n")
    config = loads(
        "profile: base\nserve: {local_stratum: null, ntp: {rate_limit: ~}}\n", "t.yaml", library=profiles
    ).config

    assert config.serve.local_stratum is None
    assert config.serve.ntp is not None
    assert config.serve.ntp.rate_limit is None


def test_an_error_in_an_inherited_value_points_into_the_profile() -> None:
    profiles = library(base="sources: [{ntp: a}]\nsteering:\n  panic: 5\n")
    with pytest.raises(ConfigError) as caught:
        loads("profile: base\n", "t.yaml", library=profiles)

    (line,) = problems(caught)
    assert line.startswith("base.yaml:3:10: error: steering.panic: 5 has no unit;")


def test_a_contradiction_with_a_profile_is_found() -> None:
    profiles = library(base="steering: {minimum_sources: 3}\n")
    with pytest.raises(ConfigError) as caught:
        loads("profile: base\nsources: [{ntp: a}]\n", "t.yaml", library=profiles)

    assert ["base.yaml:1:29: error: steering.minimum_sources: 3 must agree, but there are only 1"] == problems(caught)


def test_profiles_must_not_go_round() -> None:
    profiles = library(a="profile: b\n", b="profile: c\n", c="profile: b\n")
    with pytest.raises(ConfigError, match=r"c.yaml:1:10: error: profile: .*circle: b -> c -> b"):
        loads("profile: a\n", "t.yaml", library=profiles)
    with pytest.raises(ConfigError, match="circle: b -> c -> b"):
        loads("serve: {}\n", "t.yaml", profile="b", library=profiles)


def test_an_unknown_profile_does_not_hide_other_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("profile: xx\nserve: {clok: x}\n", "t.yaml", library=library(base=""))

    assert [
        't.yaml:1:10: error: profile: no profile "xx"; there are base',
        't.yaml:2:9: error: serve.clok: unknown key (did you mean "clock"?)',
    ] == problems(caught)


def test_the_option_takes_the_place_of_the_files_profile() -> None:
    profiles = library(one="steering: {panic: 1s}\n", two="steering: {panic: 2s}\nsources: [{ntp: a}]\n")
    loaded = loads("profile: one\n", "t.yaml", profile="two", library=profiles)

    assert (Duration.from_s(2), "two") == (loaded.config.steering.panic, loaded.config.profile)
    alone = load(None, "two", profiles)
    assert Duration.from_s(2) == alone.config.steering.panic
    with pytest.raises(ConfigError, match=r'--profile: error: no profile "tw"; .*did you mean "two"'):
        load(None, "tw", profiles)
    with pytest.raises(ConfigError, match="neither a file nor a profile"):
        load(None)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_each_shipped_profile_is_a_fine_configuration(name: str) -> None:
    loaded = load(None, name)

    assert name == loaded.config.profile
    assert [] == [warning for warning in loaded.warnings if name != "demo"]


@pytest.mark.parametrize("name", ["ntp-client.yaml", "ntp-server.yaml", *FACES])
def test_each_example_is_a_fine_configuration(name: str) -> None:
    assert () == load(ROOT / "config" / name).warnings


def test_the_commented_lines_of_the_client_example_are_fine_too(tmp_path: Path) -> None:
    text = (ROOT / "config" / "ntp-client.yaml").read_text()
    start, end = text.index("# sources:"), text.index("steering:")
    shown = "".join(f"{line.removeprefix('# ').removeprefix('#')}\n" for line in text[start:end].splitlines())
    write(tmp_path / "ntp-3.key", f"HEX:{'00' * 16}\n").chmod(0o600)
    loaded = load(write(tmp_path / "t.yaml", text[:start] + shown + text[end:]))

    assert 2 == len(loaded.config.sources)
    assert [3] == list(loaded.config.keys)


# Files


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    write(tmp_path / "k", "ascii:0123456789abcdef\n").chmod(0o640)
    path = write(
        tmp_path / "t.yaml",
        "sources: [{ntp: a, key: 7}]\nobserve: {control: run/c.sock, state: ../state}\nleap: {file: l}\n"
        "keys: {7: {algorithm: AES128, file: ./k}}\n",
    )
    config = load(path).config

    assert f"{tmp_path}/run/c.sock" == config.observe.control
    assert f"{tmp_path.parent}/state" == config.observe.state
    assert config.leap is not None
    assert f"{tmp_path}/l" == config.leap.file
    secret = config.keys[7].secret
    assert secret is not None
    assert b"0123456789abcdef" == secret.value


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")

    assert [f"{tmp_path}/none.yaml: error: cannot be read: No such file or directory"] == problems(caught)
    assert isinstance(caught.value.cause, FileNotFoundError)


def test_a_directory_and_a_fifo_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(ConfigError, match="is not a regular file"):
            load(path)


@pytest.mark.parametrize(
    ("mode", "foreign_owner", "words"),
    [
        (0o644, False, None),
        (0o600, False, None),
        (0o664, False, None),
        (0o644, True, None),
        (0o666, False, "everybody can write it"),
        (0o646, True, "everybody can write it"),
        (0o664, True, "others of its group can write it"),
    ],
)
def test_a_file_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, foreign_owner: bool, words: str | None
) -> None:
    path = write(tmp_path / "t.yaml", "sources: [{ntp: a}]\n")
    path.chmod(mode)
    if foreign_owner:
        owner = path.stat().st_uid
        monkeypatch.setattr("timesync.config.load.os.geteuid", lambda: owner + 1)
    if words is None:
        load(path)
        return
    with pytest.raises(ConfigError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("HEX:00", 0o600, "needs a secret of 16 octets, not 1"),
        ("0123456789abcdef", 0o600, "HEX: and hexadecimal digits"),
        ("ascii:0123456789abcdef\nmore", 0o600, "not printable ASCII"),
        ("ascii:0123456789abcdef", 0o644, "others can read or write it"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_bad_file_of_a_secret_is_said_at_the_key_and_not_shown(
    tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    if content is not None:
        write(tmp_path / "k", content).chmod(mode)
    path = write(tmp_path / "t.yaml", "sources: [{ntp: a}]\nkeys:\n  7: {algorithm: AES128, file: k}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)

    (line,) = problems(caught)
    assert line.startswith(f"{path}:3:32: error: keys.7.file: {tmp_path}/k: ")
    assert words in line
    assert content is None or content not in line


def test_a_forbidden_file_is_told_from_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write(tmp_path / "t.yaml", "sources: [{ntp: a}]\n")
    monkeypatch.setattr("timesync.config.load.os.open", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
        load(path)

    assert isinstance(caught.value.cause, PermissionError)


# Secrets


def test_a_secret_is_in_no_repr() -> None:
    loaded = loads(CONTRACT.replace("HEX:000102030405060708090a0b0c0d0e0f", "ascii:swordfish-swordf"), "t.yaml")

    assert b"swordfish-swordf" == loaded.config.keys[3].secret.value  # type: ignore[union-attr]  # it is there
    for text in (repr(loaded.config), str(loaded.config), repr(loaded.config.keys)):
        assert "swordfish" not in text
        assert "73776f7264" not in text


def test_keys_are_those_that_the_protocol_takes() -> None:
    algorithms = Key.model_json_schema()["properties"]["algorithm"]["enum"]
    assert {*ALGORITHMS, *PTP_ALGORITHMS} == set(algorithms)
    for algorithm in ALGORITHMS:  # those for PTP take any secret of some length
        for size in (MIN_SECRET - 1, MIN_SECRET, 16, 20, 32):
            text = f"keys: {{1: {{algorithm: {algorithm}, secret: 'HEX:{'5a' * size}'}}}}\n"
            assert taken_by_protocol(algorithm, size) == taken_by_config(text), (algorithm, size)


def taken_by_protocol(algorithm: str, size: int) -> bool:
    try:
        SymmetricKey(1, algorithm, b"\x5a" * size)
    except KeyFileError:
        return False
    return True


def taken_by_config(text: str) -> bool:
    try:
        loads(text, "t.yaml")
    except ConfigError:
        return False
    return True


def test_problems_of_another_model_get_its_own_suggestions() -> None:
    class Inner(Model):
        length: int = 0

    class Outer(Model):
        parts: tuple[Inner, ...] = ()
        names: dict[str, Inner | None] = Field(default_factory=dict)
        other: int = 0

    root = compose(decode(b"parts: [{lenght: 1}]\nnames: {a: {lengthh: 2}}\nothr: 1\n", "o.yaml"))
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(plain(root))

    assert [
        ("parts[0].lenght", "length"),
        ("names.a.lengthh", "length"),
        ("othr", "other"),
    ] == [(problem.path, problem.suggestion) for problem in explain(caught.value, root, Outer)]
    assert all(problem.suggestion is None for problem in explain(caught.value, root)[:2])
