"""Configurations of other programs, as those of distributions: what becomes of them, and that no line is lost."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from tls_support import make_identity

from timesync.cli.import_config import Files
from timesync.cli.main import cli
from timesync.config.importing.draft import Draft, Kind
from timesync.config.importing.numbers import UnreadableError
from timesync.config.importing.translate import FORMATS, guess, translate
from timesync.config.load import load
from timesync.config.ptp import Interval
from timesync.config.schema import Config
from timesync.config.source import Source
from timesync.config.tree import leaves

CORPUS = Path(__file__).parent / "import_corpus"
IDENTITY = make_identity("time", "time.example.org")
EXPECTED = {
    "debian-chrony.conf": "chrony", "fedora-chrony.conf": "chrony", "ubuntu-chrony.conf": "chrony",
    "pi-gps-chrony.conf": "chrony", "nts-server-chrony.conf": "chrony", "cloud-chrony.conf": "chrony",
    "default-ptp4l.cfg": "ptp4l", "gptp.cfg": "ptp4l", "automotive-endpoint.cfg": "ptp4l",
    "automotive-gm.cfg": "ptp4l", "g8275-1.cfg": "ptp4l", "g8275-2.cfg": "ptp4l", "signed-ptp4l.cfg": "ptp4l",
    "timemaster.conf": "timemaster", "ts2phc.cfg": "ts2phc", "ntp.toml": "ntp-toml", "nts-gps-ntp.toml": "ntp-toml",
    "debian-ntp.conf": "ntp.conf", "gps-ntp.conf": "ntp.conf", "timesyncd.conf": "timesyncd",
}  # fmt: skip


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["import", *map(str, arguments)], prog_name="timesync")


def corpus(tmp_path: Path) -> Path:
    """The corpus with certificates that are there."""
    for name in ("lab-ca.pem", "time.pem", "clock.pem", "time.key", "clock.key"):
        file = tmp_path / name
        file.write_bytes(IDENTITY.key_pem if name.endswith(".key") else IDENTITY.pem)
        file.chmod(0o600)
    copy = tmp_path / "corpus"
    shutil.copytree(CORPUS, copy)
    for file in copy.iterdir():
        if file.is_file():
            file.write_text(file.read_text().replace("/etc/ssl/", f"{tmp_path}/"))
    return copy


def imported(tmp_path: Path, *names: str, options: tuple[str, ...] = ()) -> Config:
    """What these files of the corpus become, read back from what was written."""
    where, out = corpus(tmp_path), tmp_path / "out" / "timesync.yaml"
    out.parent.mkdir()
    result = run(*(where / name for name in names), "--root", where / "root", "-o", out, *options)
    assert 0 == result.exit_code, result.output
    return load(out).config


def drafted(name: str, text: str, form: str | None = None, interfaces: tuple[str, ...] = ()) -> Draft:
    """The draft of a text, whose files are those of the corpus."""
    source = Source(name, text)
    return translate([(source, form or guess(source) or "none")], Files(str(CORPUS / "root")), interfaces)


def accounted(draft: Draft, name: str) -> set[int]:
    """The lines of a file of which something became: a value, a key, or words."""
    marks = [scalar.mark for _, scalar in leaves(draft.tree())]
    marks += [finding.mark for finding in draft.findings]
    marks += [key.mark for key in draft.keys.values()]
    return {mark.line for mark in marks if mark.source.name == name}


def said(draft: Draft, word: str) -> list[tuple[Kind, int, str]]:
    return [(each.kind, each.mark.line, each.reason) for each in draft.findings if each.word.startswith(word)]


def show(source: Any) -> dict[str, Any]:
    """What was written of a source, in the words of the schema's objects."""
    return {key: str(getattr(source, key)) for key in source.model_fields_set}


@pytest.mark.parametrize(("name", "form"), EXPECTED.items())
def test_each_file_is_known_by_what_it_says(name: str, form: str) -> None:
    assert form == guess(Source(f"/etc/{name}", (CORPUS / name).read_text()))


def test_the_corpus_has_no_file_without_a_test() -> None:
    assert sorted(EXPECTED) == sorted(file.name for file in CORPUS.iterdir() if file.is_file())
    assert set(FORMATS) == set(EXPECTED.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_result_passes_check(name: str, tmp_path: Path) -> None:
    imported(tmp_path, name)
    result = CliRunner().invoke(cli, ["check", str(tmp_path / "out" / "timesync.yaml")])
    assert 0 == result.exit_code, result.output


@pytest.mark.parametrize("name", EXPECTED)
def test_every_line_becomes_a_value_or_a_comment(name: str) -> None:
    text = (CORPUS / name).read_text()
    draft = drafted(name, text)
    marks = accounted(draft, name)
    lines = [
        number for number, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] not in "#!;%"
    ]
    assert [] == [f"{number}: {text.splitlines()[number - 1]}" for number in lines if number not in marks]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_line_is_named_in_the_text(name: str, tmp_path: Path) -> None:
    shown = run(CORPUS / name, "--root", CORPUS / "root", "-i", "eth0", "-o", tmp_path / "x.yaml").output
    assert "x.yaml" in shown
    text = (tmp_path / "x.yaml").read_text()
    draft = drafted(name, (CORPUS / name).read_text(), interfaces=("eth0",))
    joined = " ".join(line.removeprefix("#").strip() for line in text.splitlines())
    for each in draft.findings:
        assert f"{each.mark.source.name.rpartition('/')[2]}:{each.mark.line}: {each.word}: " in joined or (
            f"{each.word} ({each.mark.line})" in joined
        ), each


def test_debian_chrony_with_the_files_that_it_includes(tmp_path: Path) -> None:
    config = imported(tmp_path, "debian-chrony.conf")

    assert [
        {"pool": "2.debian.pool.ntp.org:123", "poll": str(config.sources[0].poll)},  # type: ignore[union-attr]
    ] == [show(config.sources[0])]
    assert ["10.0.0.2:123", "10.0.0.1:123"] == [str(source.ntp) for source in config.sources[1:]]  # type: ignore[union-attr]
    assert (6, 10) == (config.sources[0].poll.least, config.sources[0].poll.most)  # type: ignore[union-attr]
    assert (1.0, 3) == (config.steering.step.threshold.s(), config.steering.step.updates)
    assert config.serve.ntp is not None
    assert ["10.0.0.0/8"] == [str(network) for network in config.serve.ntp.allow]
    assert {7: "SHA256", 12: "AES128", 15: "MD5"} == {number: key.algorithm for number, key in config.keys.items()}


@pytest.mark.parametrize(
    ("lines", "clients"),
    [
        ("clientloglimit 524288", 1278),
        ("clientloglimit 100000000", 65_536),
        ("clientloglimit 1", 1),
        ("noclientlog", 0),
        ("clientloglimit 524288\nnoclientlog", 0),
    ],
)
def test_the_log_of_clients_is_taken_over(lines: str, clients: int, tmp_path: Path) -> None:
    file = tmp_path / "chrony.conf"
    file.write_text(f"pool a.example.net iburst\nallow 10.0.0.0/8\n{lines}\n")
    result = run(file, "-o", tmp_path / "x.yaml")
    assert 0 == result.exit_code, result.output
    serving = load(tmp_path / "x.yaml").config.serve.ntp
    assert serving is not None
    assert clients == serving.clients


def test_without_a_server_there_is_no_log_of_clients() -> None:
    draft = drafted("chrony.conf", "pool a.example.net iburst\nnoclientlog\nclientloglimit 524288\n")
    assert not draft.has("serve", "ntp")
    assert {Kind.NEEDLESS} == {kind for word in ("noclientlog", "clientloglimit") for kind, _, _ in said(draft, word)}


@pytest.mark.parametrize(("line", "count"), [("", 1), ("makestep 1 3", 0), ("initstepslew 10 a.example.net", 0)])
def test_where_chronyd_never_steps_that_is_said(line: str, count: int) -> None:
    findings = said(drafted("chrony.conf", f"driftfile /d\npool a.example.net\n{line}\n"), "no makestep")
    assert [(Kind.DIFFERS, 2)] * count == [(kind, at) for kind, at, _ in findings]
    assert all("steering.step.updates: 0" in reason for *_, reason in findings)


def _named(text: str, word: str) -> list[tuple[Kind, str]]:
    """What is said of words that begin so, with these words."""
    return [(each.kind, each.word) for each in drafted("chrony.conf", text).findings if each.word.startswith(word)]


def test_who_may_ask_for_chronyc_is_taken_over(tmp_path: Path) -> None:
    """This machine always may; others at one address, which a line must name."""
    start = "pool a.example.net iburst\nmakestep 1 3\n"
    assert [(Kind.NEEDLESS, "cmdallow 127.0.0.1"), (Kind.NEEDLESS, "cmdallow ::1")] == _named(
        f"{start}cmdallow 127.0.0.1\ncmdallow ::1\n", "cmd"
    )

    file, out = tmp_path / "chrony.conf", tmp_path / "t.yaml"
    file.write_text(f"{start}cmdallow 127/8\ncmdallow 192.0.2\nbindcmdaddress 192.0.2.1\nbindcmdaddress ::1\n")
    assert 0 == run(file, "-o", out).exit_code
    chronyc = load(out).config.observe.chronyc
    assert chronyc is not None
    assert ("192.0.2.1:323", ["192.0.2.0/24"]) == (str(chronyc.listen), list(map(str, chronyc.allow)))
    assert [(Kind.MISSING, "bindcmdaddress ::1")] == _named(file.read_text(), "bindcmd")

    for anywhere in ("", "bindcmdaddress 0.0.0.0\n"):
        text = f"{start}{anywhere}cmdallow 192.0.2.0/24\ncmdallow all\n"
        found = [(Kind.DIFFERS, f"cmdallow {each}") for each in ("192.0.2.0/24", "0.0.0.0/0", "::/0")]
        assert found == _named(text, "cmdallow")
        assert not drafted("chrony.conf", text).has("observe", "chronyc")
    assert [(Kind.NEEDLESS, "cmddeny")] == _named(f"{start}cmddeny all\n", "cmddeny")
    assert {Kind.NEEDLESS} == {kind for kind, _ in _named(f"{start}cmdport 0\ncmdallow all\ncmddeny 1.2.3.4\n", "cmd")}


def test_chronyd_takes_the_last_address_of_each_version() -> None:
    """As chronyd 4.3 does: who was shut out by that stays shut out."""
    lines = ("cmdallow 192.0.2", "bindcmdaddress 127.0.0.1", "bindcmdaddress 192.0.2.1")
    draft = drafted("chrony.conf", "\n".join(["pool a.example.net", *lines, ""]))
    assert draft.has("observe", "chronyc", "allow")
    assert [(Kind.NEEDLESS, 3)] == [(kind, at) for kind, at, _ in said(draft, "bindcmdaddress 127.0.0.1")]

    draft = drafted("chrony.conf", "\n".join(["pool a.example.net", *reversed(lines), ""]))
    assert not draft.has("observe", "chronyc", "allow")
    assert [(Kind.NEEDLESS, 2)] == [(kind, at) for kind, at, _ in said(draft, "bindcmdaddress 192.0.2.1")]


@pytest.mark.parametrize(("line", "silent"), [("", False), ("tinker panic 0", False), ("tinker step 0.5", True)])
def test_where_ntpd_steps_at_any_time_that_is_said(line: str, silent: bool) -> None:
    draft = drafted("ntp.conf", f"driftfile /d\nserver a.example.net iburst\nrestrict default kod\n{line}\n")
    found = said(draft, "no tinker step")
    assert [] == found if silent else [(Kind.DIFFERS, 2)] == [(kind, at) for kind, at, _ in found]
    assert all("128 ms off for 300 s" in reason and "updates: 1000000" in reason for *_, reason in found)
    assert silent == any("tinker stepout" in reason for *_, reason in said(draft, "tinker step 0.5"))
    assert ("panic" in line) == ([] == said(draft, "no tinker panic"))
    assert not any("1000 s" in reason for *_, reason in found)


@pytest.mark.parametrize(("word", "ppm"), [("1.0", 1.0), ("0.25", 0.25), ("15", 15.0), ("90000", 500.0)])
def test_what_chronyd_allows_the_clock_to_gain_by_itself_is_taken_over(word: str, ppm: float, tmp_path: Path) -> None:
    file = tmp_path / "chrony.conf"
    file.write_text(f"pool a.example.net iburst\nmaxclockerror {word}\n")
    result = run(file, "-o", tmp_path / "x.yaml")
    assert 0 == result.exit_code, result.output
    config = load(tmp_path / "x.yaml").config
    assert ppm == pytest.approx(config.clocks["system"].frequency_tolerance.ppm())
    assert config.clocks["system"].discipline


def test_rtcsync_is_said_with_its_line() -> None:
    draft = drafted("chrony.conf", "pool a.example.net iburst\n\nrtcsync\n")
    ((kind, line, reason),) = said(draft, "rtcsync")
    assert (Kind.NEEDLESS, 3) == (kind, line)
    assert reason.startswith("not needed here: the kernel's 11-minute mode")


def test_a_pi_with_gps(tmp_path: Path) -> None:
    config = imported(tmp_path, "pi-gps-chrony.conf")
    shm, pps, sock, first, keyed, old, peer = config.sources

    # chrony adds its offset to what is measured; ours is by how much the source is ahead.
    assert (0, "NMEA", -0.135, True) == (shm.shm, shm.name, shm.offset.s(), shm.noselect)  # type: ignore[union-attr]
    assert ("/dev/pps0", "PPS", "NMEA", True) == (pps.pps, pps.name, pps.pairs_with, pps.trust)  # type: ignore[union-attr]
    assert "/run/chrony.ttyAMA0.sock" == sock.sock  # type: ignore[union-attr]
    assert (4, 6, True) == (first.poll.least, first.poll.most, first.burst)  # type: ignore[union-attr]
    assert (7, True, False) == (keyed.key, keyed.noselect, keyed.burst)  # type: ignore[union-attr]
    assert (3, 1e-4) == (old.version, old.offset.s())  # type: ignore[union-attr]
    assert "friend.example.net:123" == str(peer.ntp)  # type: ignore[union-attr]
    serve = config.serve
    assert serve.ntp is not None
    assert serve.ntp.rate_limit is not None
    assert ["192.168.0.0/16", "10.0.0.0/8", "2001:db8:1::/48"] == list(map(str, serve.ntp.allow))
    assert ["192.168.66.0/24"] == list(map(str, serve.ntp.deny))
    assert (2.0, 16, "drop") == (
        serve.ntp.rate_limit.interval.s(),
        serve.ntp.rate_limit.burst,
        serve.ntp.rate_limit.reply,
    )
    assert 8 == serve.local_stratum
    assert (0.1, 100.0) == (config.steering.step.threshold.s(), config.steering.panic.s())
    assert 500 == round(config.steering.max_slew.ppm())
    assert config.observe.chronyc is not None
    assert ("127.0.0.1:323", "/run/chrony/chronyd.sock") == (
        str(config.observe.chronyc.listen),
        config.observe.chronyc.socket,
    )


def test_an_nts_server(tmp_path: Path) -> None:
    config = imported(tmp_path, "nts-server-chrony.conf")
    first, second, third = config.sources

    assert (True, None) == (first.nts, first.ca)  # type: ignore[union-attr]
    assert ("nts2.example.net:4461", f"{tmp_path}/lab-ca.pem") == (str(second.ntp), second.ca)  # type: ignore[union-attr]
    assert "nts3.example.net:123" == str(third.ntp)  # type: ignore[union-attr]  # the port of NTP is for NTS-KE to say
    assert config.serve.ntp is not None
    assert config.serve.nts is not None
    assert ["192.0.2.1:1123", "[::]:1123"] == list(map(str, config.serve.ntp.listen))
    assert config.serve.ntp.leap_smear is not None
    assert 62500 == config.serve.ntp.leap_smear.s()  # so says chrony.conf(5) of this very line
    assert (f"{tmp_path}/time.pem", 100) == (config.serve.nts.certificate, config.serve.nts.connections)
    assert [f"{tmp_path}/clock.key"] == [pair.private_key for pair in config.serve.nts.more]


def test_clocks_of_clouds(tmp_path: Path) -> None:
    config = imported(tmp_path, "cloud-chrony.conf", options=("-i", "ens5", "-i", "ens6"))

    scales = {name: clock.timescale for name, clock in config.clocks.items() if clock.phc}
    assert {"ptp_hyperv": "utc", "ptp0": "tai", "ptp1": "tai", "ptp2": "tai", "ens5": "tai", "ens6": "tai"} == scales
    assert not any(clock.discipline for clock in config.clocks.values() if clock.phc)
    external = config.sources[3]
    assert ("ptp2", 1, 1, "clear") == (external.pps, external.channel, external.pin, external.edge)  # type: ignore[union-attr]
    assert 0 == config.sources[2].offset.s()  # 37 s are TAI - UTC, which the table has


def test_ptp4l_said_in_full(tmp_path: Path) -> None:
    config = imported(tmp_path, "default-ptp4l.cfg")
    (instance,) = config.ptp_instances
    (port,) = instance.ports

    assert ("default-e2e", 7, 120, True) == (instance.profile, instance.domain, instance.priority1, instance.path_trace)
    assert ("timeReceiver", "/var/run/ptp4l") == (instance.role, instance.management)
    assert ("eno1", "udp6", "hardware", 46, 4) == (
        port.interface,
        port.transport,
        port.timestamping,
        port.dscp,
        port.hop_limit,
    )
    assert (-40, 120, 30) == tuple(
        round(span.s() * 1e9) for span in (port.asymmetry, port.egress_latency, port.ingress_latency)
    )
    assert port.announce_interval is not None
    assert port.delay_interval is not None
    assert (0, 2) == (port.announce_interval.log2, port.delay_interval.log2)
    assert port.sync_interval == Interval(-3)  # beyond the range of the profile, as ptp4l takes it
    assert ("eno1", "debug") == (config.clocks["eno1"].phc, config.observe.log.level)


def test_intervals_of_a_default_profile_are_kept_with_a_warning(tmp_path: Path) -> None:
    """Which ptp4l takes, whatever they are."""
    file, out = tmp_path / "ptp4l.conf", tmp_path / "t.yaml"
    for mechanism in ("E2E", "P2P"):
        file.write_text(f"[global]\ndelay_mechanism {mechanism}\nlogSyncInterval -3\nlogAnnounceInterval -2\n[eth0]\n")
        done = run(file, "-o", out, "--force")
        assert 0 == done.exit_code, done.output
        (port,) = load(out).config.ptp_instances[0].ports
        assert (-3, -2) == (port.sync_interval.log2, port.announce_interval.log2)  # type: ignore[union-attr]
        assert [] == said(drafted("ptp4l.conf", file.read_text()), "log")
        assert 2 == sum("outside the range of the profile default-" in one.message for one in load(out).warnings)


def test_what_a_profile_does_not_allow_is_said_with_those_that_do() -> None:
    draft = drafted(
        "ptp4l.conf", "[global]\ndataset_comparison G.8275.x\nnetwork_transport L2\nlogSyncInterval -3\n[eth0]\n"
    )
    ((kind, line, reason),) = said(draft, "logSyncInterval")
    assert (Kind.MISSING, 4) == (kind, line)
    assert "fixed at 62.5ms" in reason
    assert "; default-e2e, default-p2p" in reason
    assert reason.endswith("would take it")


@pytest.mark.parametrize(
    ("name", "profile", "domain", "role"),
    [
        ("gptp.cfg", "gptp", None, "timeReceiver"),
        ("automotive-endpoint.cfg", "automotive-endpoint", None, None),
        ("automotive-gm.cfg", "automotive-gm", None, None),
        ("g8275-1.cfg", "g8275.1", 25, None),
        ("g8275-2.cfg", "g8275.2", None, "timeReceiver"),
        ("signed-ptp4l.cfg", "default-e2e", None, "timeReceiver"),
    ],
)
def test_profiles_are_known_by_what_only_they_have(
    name: str, profile: str, domain: int | None, role: str | None, tmp_path: Path
) -> None:
    (instance,) = imported(tmp_path, name, options=("-i", "eth0")).ptp_instances
    assert (profile, domain, role) == (instance.profile, instance.domain, instance.role)
    assert "eth0" == instance.ports[0].interface


def test_unicast_and_telecom_ports(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (telecom,) = imported(tmp_path / "a", "g8275-2.cfg").ptp_instances
    unicast = telecom.ports[0].unicast
    assert unicast is not None
    assert (("192.0.2.11", "192.0.2.12"), 60.0) == (unicast.servers, unicast.duration.s())
    (tmp_path / "b").mkdir()
    (boundary,) = imported(tmp_path / "b", "g8275-1.cfg").ptp_instances
    assert 100 == boundary.local_priority
    assert [(120, None), (None, "timeTransmitter")] == [(port.local_priority, port.role) for port in boundary.ports]


def test_a_domain_that_is_only_implied_is_said_where_the_profile_has_another() -> None:
    draft = drafted("G.8275.1.cfg", "[global]\ndataset_comparison G.8275.x\nnetwork_transport L2\n[eth0]\n")
    ((kind, _, reason),) = said(draft, "domainNumber 0")
    assert Kind.DIFFERS is kind
    assert "24 to 43" in reason
    assert reason.endswith("24 is used")


def test_signed_messages(tmp_path: Path) -> None:
    config = imported(tmp_path, "signed-ptp4l.cfg")
    signed = config.ptp_instances[0].authentication
    assert signed is not None
    assert ((2, 1), 1, "accept") == (signed.keys, signed.spp, signed.unsigned)
    assert {1: "AES128", 2: "HMAC-SHA256-128"} == {number: key.algorithm for number, key in config.keys.items()}
    assert config.keys[2].secret is not None
    assert bytes(range(32)) == config.keys[2].secret.value  # B64: in the file
    assert not config.clocks["system"].discipline  # free_running, with software timestamps


def test_timemaster_and_ts2phc(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    config = imported(tmp_path / "a", "timemaster.conf")
    assert [(("eth0", "eth1"), "default-p2p", None), (("eth0",), "default-e2e", 20)] == [
        (tuple(port.interface for port in one.ports), one.profile, one.domain) for one in config.ptp_instances
    ]
    assert config.serve.ntp is not None
    assert ["192.0.2.0/24"] == list(map(str, config.serve.ntp.allow))  # from the file that is included
    (server,) = config.sources
    assert (3, 4, 12, True, True) == (server.poll.least, server.poll.most, server.key, server.trust, server.burst)  # type: ignore[union-attr]
    card = imported(tmp_path / "b", "ts2phc.cfg")
    receiver, pulse = card.sources
    assert ("/dev/ttyS1", 115200, 0.05) == (receiver.nmea, receiver.baud, receiver.delay.s())  # type: ignore[union-attr]
    assert ("eth6", 1, 2, "clear", -50) == (
        pulse.pps, pulse.channel, pulse.pin, pulse.edge, round(pulse.offset.s() * 1e9)  # type: ignore[union-attr]
    )  # fmt: skip


def test_ntpd_rs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = imported(tmp_path / "a", "ntp.toml")
    assert (4, 3, 1800.0, "info") == (
        plain.sources[0].count, plain.steering.minimum_sources, plain.steering.panic.s(), plain.observe.log.level  # type: ignore[union-attr]
    )  # fmt: skip
    config = imported(tmp_path / "b", "nts-gps-ntp.toml")
    nts, server, sock, pps = config.sources
    assert ("nts.example.net:4461", 5, 9) == (str(nts.ntp), nts.poll.least, nts.poll.most)  # type: ignore[union-attr]
    assert ("[2001:db8::1]:1123", 4, 6) == (str(server.ntp), server.poll.least, server.poll.most)  # type: ignore[union-attr]
    assert ("/run/chrony.ttyAMA0.sock", "/dev/pps0") == (sock.sock, pps.pps)  # type: ignore[union-attr]
    assert config.serve.ntp is not None
    assert config.serve.nts is not None
    assert config.serve.ntp.rate_limit is not None
    assert ["192.0.2.0/24", "10.0.0.0/8"] == list(map(str, config.serve.ntp.allow))
    assert (0.5, 256, 12) == (
        config.serve.ntp.rate_limit.interval.s(), config.serve.nts.connections, config.serve.local_stratum
    )  # fmt: skip
    assert (2, "warning") == (config.steering.minimum_sources, config.observe.log.level)
    assert config.observe.metrics is not None
    assert ("127.0.0.1:9976", ("ntpd-rs",)) == (
        str(config.observe.metrics.listen),
        tuple(config.observe.metrics.compat),
    )


def test_ntpd_with_reference_clocks(tmp_path: Path) -> None:
    config = imported(tmp_path, "gps-ntp.conf")
    shm, pps, nmea, its_pulse, server, nts = config.sources

    assert (0, "GPS", -0.42) == (shm.shm, shm.name, shm.offset.s())  # type: ignore[union-attr]
    assert ("/dev/pps0", "clear") == (pps.pps, pps.edge)  # type: ignore[union-attr]
    assert ("/dev/ttyS1", 115200, 0.4) == (nmea.nmea, nmea.baud, nmea.delay.s())  # type: ignore[union-attr]
    assert ("/dev/pps1", "/dev/ttyS1") == (its_pulse.pps, its_pulse.pairs_with)  # type: ignore[union-attr]
    assert (5, 5, 8) == (server.key, server.poll.least, server.poll.most)  # type: ignore[union-attr]
    assert nts.nts  # type: ignore[union-attr]
    assert {1: "SHA1", 5: "AES128"} == {number: key.algorithm for number, key in config.keys.items()}
    assert config.keys[5].secret is not None
    assert b"short-key-of-5\0\0" == config.keys[5].secret.value  # as ntpd fills it up
    assert config.serve.ntp is not None
    assert (["192.0.2.0/24"], ["0.0.0.0/0", "::/0"]) == (
        list(map(str, config.serve.ntp.allow)), list(map(str, config.serve.ntp.deny))
    )  # fmt: skip
    assert ["192.0.2.1:123"] == list(map(str, config.serve.ntp.listen))
    assert (12, 0.5) == (config.serve.local_stratum, config.steering.step.threshold.s())


def test_debian_ntpd_and_timesyncd(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    config = imported(tmp_path / "a", "debian-ntp.conf")
    assert (3, "/usr/share/zoneinfo/leap-seconds.list") == (
        config.steering.minimum_sources,
        config.leap and config.leap.file,
    )
    assert config.serve.ntp is not None
    assert config.serve.ntp.rate_limit is not None
    assert (8.0, "kod") == (config.serve.ntp.rate_limit.interval.s(), config.serve.ntp.rate_limit.reply)
    sources = imported(tmp_path / "b", "timesyncd.conf").sources
    assert ["ntp1.example.net:123", "192.0.2.5:123", "[2001:db8::5]:123"] == [str(source.ntp) for source in sources]  # type: ignore[union-attr]
    assert {(6, 10)} == {(source.poll.least, source.poll.most) for source in sources}  # type: ignore[union-attr]


def test_two_programs_of_one_machine(tmp_path: Path) -> None:
    where = tmp_path / "both"
    where.mkdir()
    chrony, ptp = where / "chrony.conf", where / "ptp4l.conf"
    chrony.write_text("server ntp.example.net iburst\nhwtimestamp eth0\n")
    ptp.write_text("[global]\nclientOnly 1\n[eth0]\n")
    out = where / "t.yaml"
    assert 0 == run(chrony, ptp, "-o", out).exit_code
    config = load(out).config
    assert config.clocks["eth0"].discipline  # chronyd lets it run free, PTP steers it
    assert (1, 1) == (len(config.sources), len(config.ptp_instances))


def test_secrets_are_in_files_of_their_own_or_shown_on_request(tmp_path: Path) -> None:
    where = corpus(tmp_path)
    secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    arguments = (where / "debian-chrony.conf", "--root", where / "root")
    plain = run(*arguments)
    assert secret not in plain.output.lower()
    assert "file: ntp-7.key" in plain.stdout
    assert 1 == plain.exit_code  # the files are not there
    shown = run(*arguments, "--show-secrets")
    assert 0 == shown.exit_code
    assert secret in shown.stdout
    out = tmp_path / "new.yaml"
    assert 0 == run(*arguments, "-o", out).exit_code
    assert secret not in out.read_text()
    key = tmp_path / "ntp-7.key"
    assert (f"HEX:{secret}\n", 0o600) == (key.read_text(), key.stat().st_mode & 0o777)


def test_a_key_that_cannot_be_had_fails_rather_than_going_without(tmp_path: Path) -> None:
    file = tmp_path / "chrony.conf"
    file.write_text("server a.example.net key 3\nkeyfile /nowhere/chrony.keys\n")
    result = run(file)
    assert 1 == result.exit_code
    assert "sources[0].key: no key 3" in result.stderr
    assert "chrony.conf:2: keyfile: /nowhere/chrony.keys is not there to be read" in result.stdout


def test_nothing_is_written_over_unless_forced(tmp_path: Path) -> None:
    file, out = tmp_path / "chrony.conf", tmp_path / "t.yaml"
    file.write_text("server a.example.net\n")
    out.write_text("mine\n")
    result = run(file, "-o", out)
    assert (2, "mine\n") == (result.exit_code, out.read_text())
    assert "--force writes over it" in result.stderr
    assert 0 == run(file, "-o", out, "--force").exit_code
    assert "ntp: a.example.net" in out.read_text()


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("hello world\n", (), "of which program is it? say --format"),
        ("[[source]\n", ("--format", "ntp-toml"), "not TOML"),
        (None, (), "No such file"),
    ],
)
def test_what_cannot_be_read_is_2(text: str | None, options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    if text is not None:
        file.write_text(text)
    result = run(file, *options)
    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_files_beside_the_file_are_found_below_another_root_too(tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "etc"
    disk.mkdir(parents=True)
    (disk / "chrony.conf").write_text("include more.conf\ninclude /etc/third.conf\n")
    (disk / "more.conf").write_text("server a.example.net iburst\n")
    (disk / "third.conf").write_text("server b.example.net iburst\n")
    result = run(disk / "chrony.conf", "--format", "chrony", "--root", tmp_path / "disk")
    assert 0 == result.exit_code
    assert ["a.example.net", "b.example.net"] == re.findall(r"- ntp: (\S+)", result.stdout)


def test_a_file_that_configures_nothing_passes_check(tmp_path: Path) -> None:
    file = tmp_path / "timemaster.conf"
    file.write_text("[timemaster]\nntp_program chronyd\n")
    result = run(file)
    assert (0, "") == (result.exit_code, result.stderr)
    assert "sources: []" in result.stdout


def test_it_says_what_to_do_next(tmp_path: Path) -> None:
    file, out = tmp_path / "chrony.conf", tmp_path / "t.yaml"
    file.write_text("pool pool.example.net iburst\n")
    run(file, "-o", out)
    last = out.read_text().splitlines()[-4:]
    assert f"check {out}" in last[0]
    assert f"doctor -c {out}" in last[1]
    assert "systemctl disable --now chrony chronyd" in last[2]
    columns = {
        line.index(why) for line, why in zip(last, ("finds every", "what this", "those of", "has it"), strict=True)
    }
    assert 1 == len(columns)


def test_what_is_said_of_lines_is_in_their_order(tmp_path: Path) -> None:
    file, out = tmp_path / "chrony.conf", tmp_path / "t.yaml"
    file.write_text("pool a.example.net iburst\nmakestep 1 3\ndriftfile /d\nrtcsync\nlogdir /l\ndumpdir /d\n")
    run(file, "-o", out)
    found = re.findall(r"(?m)^# chrony\.conf:(\d+):", out.read_text())
    assert ["3", "4", "5", "6"] == found


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("server a.example.net minpoll abc", Kind.MISSING, "is not a whole number"),
        ("server fe80::1%eth0", Kind.MISSING, "zone"),
        ("refclock RTC /dev/rtc0", Kind.MISSING, "there is no driver RTC"),
        ("allow time.example.net", Kind.MISSING, "must be written as its addresses"),
        ("makestep 1", Kind.MISSING, "a number of updates"),
        ("include /etc/nothing/*.conf", Kind.NEEDLESS, "no such file"),
        ("local stratum x", Kind.MISSING, "is not a whole number"),
        ("server a.example.net minpoll -6 maxpoll -6", Kind.DIFFERS, "62.5ms"),
    ],
)
def test_lines_of_chrony_that_cannot_be_taken_as_they_are(line: str, kind: Kind, words: str) -> None:
    draft = drafted("chrony.conf", f"server b.example.net iburst\n{line}\n", "chrony")
    found = [each for each in draft.findings if each.mark.line == 2]
    assert any(each.kind is kind and words in each.reason for each in found), found


def test_the_last_line_of_two_counts_and_the_same_server_only_once() -> None:
    draft = drafted("chrony.conf", "server a.example.net\nmakestep 1 3\nserver a.example.net\nmakestep 2 5\n", "chrony")
    assert 1 == len(list(draft.sources()))
    assert [(Kind.NEEDLESS, 3)] == [(kind, line) for kind, line, _ in said(draft, "a.example.net")]
    assert [(Kind.NEEDLESS, 2)] == [(kind, line) for kind, line, _ in said(draft, "makestep")]


WORDS = sorted(
    {word for name in EXPECTED for word in re.split(r"\s+", (CORPUS / name).read_text()) if word}
    | {"-1", "99999999999999999999", "1e99", "٣", "[", "]", "{", "\u2028", "=", "'", '"', "::", "127.127.99.1"}
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), max_size=12).map("\n".join),
)
def test_whatever_a_file_says_each_line_is_accounted_for(form: str, text: str) -> None:
    try:
        draft = drafted("x", text, form)
    except UnreadableError:
        assert form == "ntp-toml"
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
        return
    draft.tree()
    if form in ("chrony", "ptp4l", "ts2phc"):
        marks = accounted(draft, "x")
        lines = [number for number, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line.strip()]
        spoken = [number for number in lines if text.split("\n")[number - 1].strip()[0] not in "#!;%"]
        assert [] == [number for number in spoken if number not in marks]
