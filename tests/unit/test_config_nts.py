"""NTS in a configuration: what may be written, what contradicts itself, and what is wrong with the files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tls_support import Identity, make_identity

from timesync.base.ids import Endpoint
from timesync.config.load import Loaded, load, loads
from timesync.config.problem import ConfigError
from timesync.config.schema import NtpSource, PoolSource

NOW_S = time.time()
"""The machine's clock is what a configuration is judged by."""


class Desk:
    """A directory with a configuration and the files that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, data: bytes, mode: int = 0o600) -> None:
        file = self.path / name
        file.write_bytes(data)
        file.chmod(mode)

    def identity(self, *names: str, days: tuple[float, float] = (-10, 100)) -> Identity:
        return make_identity("server", *(names or ("time.example.org",)), days=days, now_s=NOW_S)

    def pair(self, stem: str, identity: Identity) -> None:
        self.put(f"{stem}.pem", identity.pem)
        self.put(f"{stem}.key", identity.key_pem)

    def load(self, text: str) -> Loaded:
        self.put("t.yaml", text.encode())
        return load(self.path / "t.yaml")

    def problems(self, text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


SERVE = """\
sources: [{ntp: a.example.org}]
serve:
  ntp: {}
  nts:
    certificate: cert.pem
    private_key: cert.key
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_the_design_is_understood(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    desk.put("lab-ca.pem", make_identity("ca", authority=True, now_s=NOW_S).pem, 0o644)
    loaded = desk.load(
        SERVE.replace("[{ntp: a.example.org}]", "[{ntp: ntp1.example.org, nts: true, ca: lab-ca.pem}]")
        + "    listen: [0.0.0.0:4460]\n"
    )
    source, nts = loaded.config.sources[0], loaded.config.serve.nts
    assert isinstance(source, NtpSource)
    assert source.nts
    assert f"{desk.path}/lab-ca.pem" == source.ca
    assert nts is not None
    assert (Endpoint("0.0.0.0", 4460),) == nts.listen
    assert (f"{desk.path}/cert.pem", f"{desk.path}/cert.key") == (nts.certificate, nts.private_key)
    assert () == loaded.warnings


def test_listening_begins_at_4460_and_both_families_are_meant(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    nts = desk.load(SERVE).config.serve.nts
    assert nts is not None
    assert (Endpoint("0.0.0.0", 4460), Endpoint("::", 4460)) == nts.listen
    nts = desk.load(SERVE + "    listen: ['[::1]', '127.0.0.1:4461']\n").config.serve.nts
    assert nts is not None
    assert (Endpoint("::1", 4460), Endpoint("127.0.0.1", 4461)) == nts.listen


def test_a_pool_may_have_nts() -> None:
    (source,) = loads("sources: [{pool: pool.example.org, nts: true}]\n", "t.yaml").config.sources
    assert isinstance(source, PoolSource)
    assert source.nts


def test_several_certificates_keep_their_order(desk: Desk) -> None:
    for stem in ("cert", "b", "c"):
        desk.pair(stem, desk.identity(f"{stem}.example.org"))
    more = "    more: [{certificate: b.pem, private_key: b.key}, {certificate: c.pem, private_key: c.key}]\n"
    nts = desk.load(SERVE + more).config.serve.nts
    assert nts is not None
    assert [f"{desk.path}/{stem}.pem" for stem in ("cert", "b", "c")] == [pair.certificate for pair in nts.pairs]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{ntp: a, nts: true, key: 3}", "sources[0].key: nts and key are two kinds of authentication; one is used"),
        ("{ntp: a, nts: true, version: 3}", "sources[0].version: NTS exists from NTP version 4 on (RFC 8915)"),
        ("{ntp: a, ca: /ca.pem}", "sources[0].ca: only servers with nts: true have certificates"),
        ("{ntp: a, bootstrap: true}", "sources[0].bootstrap: only servers with nts: true have certificates"),
        (
            "{ntp: 'a:123', nts: true}",
            "sources[0].ntp: with nts the port is that of NTS-KE, TCP 4460; 123 is NTP's own",
        ),
    ],
)
def test_what_contradicts_itself_in_a_source_is_said(source: str, complaint: str) -> None:
    text = f"sources: [{source}]\nkeys: {{3: {{algorithm: SHA256, secret: 'ASCII:0123456789abcdef'}}}}\n"
    assert complaint in problems(text)


@pytest.mark.parametrize(("versions", "fine"), [("[3]", False), ("[4]", True), ("[5]", True), ("[1, 2]", False)])
def test_nts_needs_a_version_that_has_it(desk: Desk, versions: str, fine: bool) -> None:
    desk.pair("cert", desk.identity())
    text = SERVE.replace("ntp: {}", f"ntp: {{versions: {versions}}}")
    if fine:
        assert desk.load(text).config.serve.nts is not None
    else:
        complaint = "serve.nts: NTS needs NTP version 4 or 5, and serve.ntp.versions has neither"
        assert [complaint] == desk.problems(text)


def test_nts_without_an_ntp_server_is_refused(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    found = desk.problems(SERVE.replace("  ntp: {}\n", ""))
    assert 1 == len(found)
    assert found[0].startswith("serve.nts: there is no NTP server for its clients; serve.ntp: {} is one")


def test_another_ntp_server_needs_the_same_seed(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    text = SERVE.replace("  ntp: {}\n", "") + "    server: ntp.example.org\n"
    assert "serve.nts.server: another server opens our cookies only with the same seed" in desk.problems(text)[0]
    desk.put("seed", os.urandom(32))
    assert desk.load(text + "    seed: seed\n").config.serve.nts is not None


def test_a_short_seed_is_refused(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    desk.put("seed", bytes(31))
    (found,) = desk.problems(SERVE + "    seed: seed\n")
    assert found.endswith("has 31 octets; a seed has 32 random ones or more")


def test_two_listeners_cannot_share_a_port(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    (found,) = desk.problems(SERVE + "    listen: [0.0.0.0, 127.0.0.1]\n")
    assert "serve.nts.listen[1]: takes the same port as listen[0]" == found


# --- files --------------------------------------------------------------------------------------------------------


def test_files_that_are_not_there_are_all_said(desk: Desk) -> None:
    found = desk.problems(SERVE)
    assert [
        f"serve.nts.certificate: {desk.path}/cert.pem: No such file or directory",
        f"serve.nts.private_key: {desk.path}/cert.key: No such file or directory",
    ] == found


def test_a_key_of_another_certificate_is_said(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    desk.put("cert.key", desk.identity().key_pem)
    (found,) = desk.problems(SERVE)
    assert found.endswith("cert.key: the private key does not belong to the certificate")


def test_a_key_that_others_may_read_is_refused(desk: Desk) -> None:
    identity = desk.identity()
    desk.put("cert.pem", identity.pem, 0o644)
    desk.put("cert.key", identity.key_pem, 0o644)
    (found,) = desk.problems(SERVE)
    assert found.startswith("serve.nts.private_key: ")
    assert "others can read or write it; take that away with chmod o-rwx" in found


def test_files_that_are_something_else_are_said(desk: Desk) -> None:
    identity = desk.identity()
    desk.put("cert.pem", identity.key_pem)
    desk.put("cert.key", identity.pem)
    (found,) = desk.problems(SERVE)
    assert "serve.nts.certificate" in found
    assert "has no certificate in PEM form" in found
    desk.put("cert.pem", identity.pem)
    (found,) = desk.problems(SERVE)
    assert "serve.nts.private_key" in found
    assert "the key file has no private key in PEM form" in found


def test_a_certificate_without_names_is_refused(desk: Desk) -> None:
    desk.pair("cert", make_identity("time.example.org", now_s=NOW_S))
    (found,) = desk.problems(SERVE)
    assert f"serve.nts.certificate: {desk.path}/cert.pem: the certificate has no name" in found, "not the key's fault"
    assert "no name or address (subjectAltName)" in found


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ((-100, -1), "expired on"),
        ((-100, 5.5), "expires in 5 days"),
        ((1, 100), "is not valid before"),
    ],
)
def test_what_is_wrong_by_the_calendar_is_a_doubt_and_no_error(
    desk: Desk, days: tuple[float, float], words: str
) -> None:
    """A time server must start without a right clock."""
    desk.pair("cert", desk.identity(days=days))
    (warning,) = desk.load(SERVE).warnings
    assert "serve.nts.certificate" == warning.path
    assert words in warning.message


def test_an_authority_is_looked_at(desk: Desk) -> None:
    text = "sources: [{ntp: a.example.org, nts: true, ca: ca.pem}]\n"
    (found,) = desk.problems(text)
    assert f"sources[0].ca: {desk.path}/ca.pem: No such file or directory" == found
    desk.put("ca.pem", b"nothing")
    assert "has no certificate in PEM form" in desk.problems(text)[0]
    desk.put("ca.pem", make_identity("ca", authority=True, now_s=NOW_S).pem, 0o666)
    assert "everybody can write it" in desk.problems(text)[0]
    desk.put("ca.pem", make_identity("ca", authority=True, now_s=NOW_S, days=(-9, -1)).pem)
    (warning,) = desk.load(text).warnings
    assert "expired on" in warning.message


def test_a_message_shows_the_line_and_no_key(desk: Desk) -> None:
    desk.pair("cert", desk.identity())
    other = desk.identity()
    desk.put("cert.key", other.key_pem)
    with pytest.raises(ConfigError) as caught:
        desk.load(SERVE)
    (problem,) = caught.value.problems
    assert (6, 18) == (problem.line, problem.column)
    assert "BEGIN" not in problem.render("error")


def test_whoever_leaves_the_key_alone_does_not_open_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon: the process that serves with it says what is wrong with it."""
    opened: list[str] = []
    really = os.open

    def record(path: str | Path, *rest: int, **more: int) -> int:
        opened.append(Path(path).name)
        return really(path, *rest, **more)

    desk.pair("cert", desk.identity())
    desk.put("cert.key", b"of another certificate, or of none")
    monkeypatch.setattr(os, "open", record)
    desk.put("t.yaml", SERVE.encode())
    load(desk.path / "t.yaml", private_keys=False)
    assert "cert.pem" in opened
    assert "cert.key" not in opened
    with pytest.raises(ConfigError):
        load(desk.path / "t.yaml")
    assert "cert.key" in opened


def test_what_can_be_said_of_a_key_without_opening_it_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str:
        with pytest.raises(ConfigError) as caught:
            load(desk.path / "t.yaml", private_keys=False)
        (problem,) = caught.value.problems
        assert "serve.nts.private_key" == problem.path
        return problem.message

    desk.put("t.yaml", SERVE.encode())
    identity = desk.identity()
    desk.put("cert.pem", identity.pem)
    assert "No such file or directory" in found()
    desk.put("cert.key", identity.key_pem, 0o640 | 0o004)
    assert "others can read or write it" in found()
    desk.put("cert.key", identity.key_pem)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert "Permission denied" in found()
    (desk.path / "cert.key").unlink()
    (desk.path / "cert.key").mkdir()
    monkeypatch.undo()
    assert "is not a regular file" in found()
