"""NTPv5 between real daemons on loopback, by real sockets and worker processes; and what of it the daemon tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_support import eventually, running, server, status
from click.testing import CliRunner
from ntp5_support import entropy
from tls_support import make_identity

from timesync.base.ids import SourceId
from timesync.cli.main import cli
from timesync.daemon.references import References, filter_of_server
from timesync.ntp.v5.bloom import ReferenceId, filter_of, served_filter
from timesync.observe.control import ask

FIRST, OLDER = "draft-ietf-ntp-ntpv5-08", "draft-ietf-ntp-ntpv5-07"


def daemon_file(path: Path, sources: str, serve: str) -> Path:
    """A daemon that steers a clock in software, right from the start."""
    path.mkdir()
    file = path / "t.yaml"
    file.write_text(
        "clocks: {system: {discipline: false}, bench: {virtual: {offset: 1ms, frequency: 5ppm}}}\n"
        f"observe: {{control: c.sock, state: state}}\nsources: [{sources}]\nserve: {serve}\n"
    )
    return file


def source_of(control: Path) -> dict[str, Any]:
    (found,) = ask(str(control), "sources")["sources"]
    return dict(found)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_daemon_follows_another_by_version_5(tmp_path: Path, workers: int) -> None:
    far = daemon_file(
        tmp_path / "far",
        "",
        f"{{local_stratum: 5, ntp: {{listen: ['127.0.0.1:0'], versions: [4, 5], workers: {workers}}}}}",
    )
    with running(tmp_path, "run", "-c", str(far)):
        (where,) = status(tmp_path / "far" / "c.sock")["serving"]["ntp"]
        entry = f"{{ntp: '{where}', version: auto, drafts: [{OLDER}], poll: [62.5ms, 62.5ms], burst: false}}"
        near = daemon_file(tmp_path / "near", entry, "{ntp: {listen: ['127.0.0.1:0'], workers: 0}}")
        with running(tmp_path, "run", "-c", str(near)):
            control = tmp_path / "near" / "c.sock"
            said = status(control, state="locked")
            assert 6 == said["stratum"]

            def spoken() -> dict[str, Any] | None:
                found = source_of(control)
                return found if found["interleaved"] and found["version"] == 5 else None

            found = eventually(spoken, "interleaved mode in version 5")
            assert (OLDER, "selected") == (found["draft"], found["state"])
            assert found["reach"] >= 7, "one request may be under way"
            lines = ask(str(control), "why", source=found["name"])["lines"]
            assert f"It speaks NTP version 5, which is experimental: {OLDER}." in lines
            shown = CliRunner().invoke(cli, ["sources", "--control", str(control)])
            assert f"speaks NTP version 5, {OLDER} (experimental)" in shown.output.replace("\n", " ")
        counted = status(tmp_path / "far" / "c.sock")["serving"]["counters"]
        assert 1 <= counted["version_4"] <= 8, "until it was told"
        assert counted["version_5"] > 4
        assert counted["bad"] == 0


def test_keys_of_nts_are_for_version_5_where_both_want_it(tmp_path: Path) -> None:
    identity = make_identity("time", "localhost", "127.0.0.1")
    for name, pem in (("cert.pem", identity.pem), ("key.pem", identity.key_pem)):
        (tmp_path / name).write_bytes(pem)
        (tmp_path / name).chmod(0o600)
    nts = f"{{listen: ['127.0.0.1:0'], certificate: {tmp_path}/cert.pem, private_key: {tmp_path}/key.pem}}"
    # NTS-KE tells a client the port of NTP, which must therefore be known.
    ntp = "{listen: ['127.0.0.1:24123'], versions: [4, 5], workers: 1}"
    far = daemon_file(tmp_path / "far", "", f"{{local_stratum: 5, ntp: {ntp}, nts: {nts}}}")
    with running(tmp_path, "run", "-c", str(far)):
        (ke,) = status(tmp_path / "far" / "c.sock")["serving"]["nts"]
        for version, expected in (("auto", 5), ("4", 4)):
            entry = (
                f"{{ntp: '{ke}', nts: true, ca: {tmp_path}/cert.pem, version: {version}, poll: [62.5ms, 62.5ms], "
                "burst: false}"
            )
            near = daemon_file(tmp_path / f"near{version}", entry, "{}")
            with running(tmp_path, "run", "-c", str(near)):
                control = near.parent / "c.sock"
                status(control, state="locked")
                found = source_of(control)
                assert (expected, True) == (found["version"], found["authenticated"])
                assert expected == found["details"]["nts"]["ntp_version"]
        secured = ["query", ke, "--nts", "--ca", str(tmp_path / "cert.pem"), "--version", "5", "--json"]
        done = CliRunner().invoke(cli, secured)
        assert 0 == done.exit_code, done.output
        (one,) = json.loads(done.output)["answers"]
        assert (5, FIRST) == (one["version"], one["draft"])
        counted = status(tmp_path / "far" / "c.sock")["serving"]["counters"]
        assert counted["nts"] == counted["version_4"] + counted["version_5"]


@pytest.mark.parametrize(("option", "reason"), [("--deny", "DENY"), ("--rate", "RATE")])
def test_a_query_in_version_5_shows_what_it_is_told(tmp_path: Path, option: str, reason: str) -> None:
    with server(tmp_path, "--ntpv5") as where:
        arguments = ["query", where, "--version", "5", "--count", "3", "--interval", "100ms", "--interleaved", "--json"]
        done = CliRunner().invoke(cli, arguments)
        assert 0 == done.exit_code, done.output
        answers = json.loads(done.output)["answers"]
        assert [(5, FIRST, True)] * 3 == [(one["version"], one["draft"], one["usable"]) for one in answers]
        assert [False, True, True] == [one["interleaved"] for one in answers]
        assert all(abs(one["offset_s"]) < 0.01 for one in answers)
        words = CliRunner().invoke(cli, ["query", where, "--version", "5", "--draft", OLDER]).output
        assert f"version 5 ({OLDER})" in words
        unknown = ["query", where, "--version", "5", "--draft", "draft-ietf-ntp-ntpv5-06", "--timeout", "300ms"]
        assert 1 == CliRunner().invoke(cli, unknown).exit_code
    with server(tmp_path, "--ntpv5", option) as where:
        done = CliRunner().invoke(cli, ["query", where, "--version", "5"])
        assert 1 == done.exit_code
        assert f"kiss-o'-death {reason}" in done.output
    with server(tmp_path) as where:
        done = CliRunner().invoke(cli, ["query", where, "--version", "5", "--timeout", "100ms"])
        assert (1, True) == (done.exit_code, "no answer" in done.output)


def test_a_query_asks_in_one_draft_after_the_other(tmp_path: Path) -> None:
    with server(tmp_path, "--ntpv5") as where:
        drafts = ["--draft", "draft-ietf-ntp-ntpv5-06", "--draft", OLDER]
        done = CliRunner().invoke(
            cli, ["query", where, "--version", "5", *drafts, "--count", "2", "--timeout", "300ms", "--json"]
        )
        assert [OLDER, OLDER] == [one["draft"] for one in json.loads(done.output)["answers"]]


def test_only_version_5_has_drafts() -> None:
    done = CliRunner().invoke(cli, ["query", "127.0.0.1", "--draft", FIRST])
    assert 2 == done.exit_code
    assert "needs --version 5" in done.output


# -- reference ids


def test_clients_are_told_of_all_selected_sources_and_of_us() -> None:
    made, random = References(), entropy(3)
    known = served_filter(ReferenceId.random(entropy(4)), [])
    made.follow(SourceId("five"), lambda: known)
    made.follow(SourceId("four"), lambda: filter_of_server("192.0.2.4", None))
    made.follow(SourceId("idle"), lambda: filter_of_server("192.0.2.5", None))
    selected = [(SourceId("five"), bytes(4)), (SourceId("four"), bytes(4)), (SourceId("gps"), b"GPS\0")]
    told = made.served(random, [*selected, (SourceId("odd"), bytes(4))])
    own = made.own(random)
    clock = ReferenceId.of_clock(b"GPS")
    assert told == known | filter_of(ReferenceId.of_address("192.0.2.4")) | filter_of(clock) | filter_of(own)
    assert ReferenceId.of_address("192.0.2.5") not in told
    assert own == made.own(random), "the same until the end"
    made.leave(SourceId("five"))
    assert filter_of(own) == made.served(random, selected[:1])


def test_we_are_known_by_our_id_and_by_addresses_that_nobody_else_has() -> None:
    made, random = References(), entropy(3)
    names = made.names(random, ["127.0.0.1", "192.168.1.1", "10.0.0.1", "fe80::1%eth0", "8.8.8.8", "2a00::1"])
    addresses = {ReferenceId.of_address("8.8.8.8"), ReferenceId.of_address("2a00::1")}
    assert {made.own(random), *addresses} == names


def test_a_server_is_known_by_its_reference_ids_else_by_its_address() -> None:
    ids = filter_of(ReferenceId.random(entropy(9)))
    assert ids == filter_of_server("192.0.2.4", ids)
    assert filter_of(ReferenceId.of_address("fe80::1")) == filter_of_server("fe80::1%eth0", None)
