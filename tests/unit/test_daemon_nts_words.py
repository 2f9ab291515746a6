"""What the commands say of NTS: `check` of a configuration, `status` of what is served, `sources` and `why` of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from silent_support import ADDRESS, silent_snapshot, silent_status

from timesync.base.ids import SourceId
from timesync.base.time import Duration, Instant
from timesync.cli import reading
from timesync.cli.main import cli
from timesync.daemon.why import why
from timesync.host import RefusedCertificate, ServedCertificate, ServerCounters
from timesync.observe.snapshot import MasterKeyFacts, NtsFacts, Snapshot, SourceFacts

NAME = SourceId("time.example.org")
KEYS: dict[str, Any] = {
    "ke_server": "time.example.org:4460",
    "aead": "AES_128_GCM_SIV",
    "cookies": 8,
    "provisional": False,
    "starving": False,
    "trouble": None,
    "group": "X25519MLKEM768",
    "post_quantum": True,
}
DOUBT = "; provisional: its certificate cannot be judged before the time is known"


def _snapshot(keys: dict[str, Any] | None = None, *, nts: NtsFacts | None = None, **status: Any) -> Snapshot:
    facts = SourceFacts(
        kind="ntp",
        address=ADDRESS,
        status=silent_status(NAME, **{"keyed": True, **status}),
        drops={"nts-nak": 2},
        details={} if keys is None else {"nts": keys},
    )
    counters = ServerCounters(received=9, answered=7, nts=5, nts_nak=2)
    return silent_snapshot({NAME: facts}, served=("0.0.0.0:123",), counters=counters, nts=nts)


def _told(snapshot: Snapshot, command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    answers = {"status": snapshot.status(), "sources": snapshot.sources()}
    monkeypatch.setattr(reading, "answer", lambda _, what: answers[what])
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner().invoke(cli, [command, "--control", "none"], prog_name="timesync").stdout


def test_status_tells_where_keys_are_made_and_how_many_had_no_good_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _snapshot(
        nts=NtsFacts(
            listen=("0.0.0.0:4460", "[::]:4460"),
            master_key=MasterKeyFacts(
                age=Duration.from_s(21_600), changes_in=Duration.from_s(64_800), old=3, seeded=False
            ),
            certificates=(
                (ServedCertificate("/c.pem", ("a.example.org", "192.0.2.1"), Instant(0)), Duration.from_s(20 * 86_400)),
                (ServedCertificate("/d.pem", ("b.example.org",), Instant(0)), Duration.from_s(-3600)),
            ),
            refused=(RefusedCertificate("/e.pem", "is empty"),),
        )
    )
    assert ["0.0.0.0:4460", "[::]:4460"] == snapshot.status()["serving"]["nts"]
    lines = [" ".join(line.split()) for line in _told(snapshot, "status", monkeypatch).splitlines()]
    assert "serves NTS-KE 0.0.0.0:4460, [::]:4460" in lines
    assert "with NTS 5 answered, 2 had no good cookie" in lines
    assert "cookies under a key that is 6.00 h old; the next one in 18.0 h; 3 old ones still accepted" in lines
    assert "certificate a.example.org, 192.0.2.1: expires in 20.0 d" in lines
    assert "certificate b.example.org: expired 60.0 min ago" in lines


def test_the_object_of_an_nts_server_has_all_that_is_known() -> None:
    key = MasterKeyFacts(age=Duration.from_s(60), changes_in=Duration.from_s(30), old=7, seeded=True)
    served = ServedCertificate("/c.pem", ("a.example.org",), Instant(0))
    facts = NtsFacts(
        listen=("0.0.0.0:4460",),
        master_key=key,
        certificates=((served, Duration.from_s(5)),),
        refused=(RefusedCertificate("/e.pem", "is empty"),),
        counters={"connections": 9, "established": 4},
    )
    assert {
        "listen": ["0.0.0.0:4460"],
        "master_key": {"age_s": 60.0, "changes_in_s": 30.0, "old": 7, "seeded": True},
        "certificates": [{"file": "/c.pem", "names": ["a.example.org"], "expires_in_s": 5.0}],
        "refused": [{"file": "/e.pem", "why": "is empty"}],
        "counters": {"connections": 9, "established": 4},
    } == _snapshot(nts=facts).status()["nts"]
    assert _snapshot().status()["nts"] is None


def test_status_says_nothing_of_nts_where_none_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NTS" not in _told(_snapshot(), "status", monkeypatch)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "(AES_128_GCM_SIV, safe from a quantum computer), 8 cookies"),
        ({"cookies": 1, "post_quantum": False}, "(AES_128_GCM_SIV), 1 cookie"),
        ({"cookies": 0, "post_quantum": None}, "(AES_128_GCM_SIV), no cookie left"),
        (
            {"provisional": True},
            "(AES_128_GCM_SIV, safe from a quantum computer), 8 cookies" + DOUBT,
        ),
    ],
)
def test_sources_tell_by_whom_the_keys_are(changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = _told(_snapshot({**KEYS, **changes}), "sources", monkeypatch)
    assert f"time.example.org: NTS with keys by time.example.org:4460 {said}" in told.splitlines()


def test_why_tells_of_keys_of_naks_and_of_silence() -> None:
    lines = why(_snapshot(KEYS), NAME)["lines"]
    assert (
        "NTS: the keys are by time.example.org:4460 over X25519MLKEM768, safe from a quantum computer, for "
        "AES_128_GCM_SIV; 8 cookies left."
    ) in lines
    nak = "the server could not open our cookie; where that stays so, new keys are made."
    assert f"2 answers were refused (nts-nak): {nak}" in lines
    said = "\n".join(lines)
    assert "Keys were made, but NTP is silent: a firewall" in said
    assert "compare the keys" not in said, "nobody has typed these"
    assert "provisional" not in said
    assert "Keys were made, but" not in "\n".join(why(_snapshot(KEYS, received=1), NAME)["lines"])


def test_why_tells_what_is_in_doubt_and_why_there_are_no_keys() -> None:
    trouble = "time.example.org: no connection to port 4460: Connection refused"
    doubtful = {**KEYS, "provisional": True, "starving": True, "cookies": 0, "trouble": trouble, "group": None}
    said = "\n".join(why(_snapshot(doubtful), NAME)["lines"])
    assert "Until then it is provisional: it counts as unauthenticated" in said
    assert f"It cannot be asked before new keys are made; the last attempt failed: {trouble}." in said
    assert "0 cookies left." in said


def test_check_names_sources_and_servers_with_nts(tmp_path: Path) -> None:
    from tls_support import make_identity

    own = make_identity("server", "time.example.org", days=(-1, 365), now_s=_now_s())
    for name, data in (("cert.pem", own.pem), ("key.pem", own.key_pem)):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "t.yaml"
    file.write_text(
        "sources: [{ntp: a, nts: true}, {pool: b, nts: true}, {ntp: c}]\n"
        f"serve: {{ntp: {{}}, nts: {{certificate: {tmp_path}/cert.pem, private_key: {tmp_path}/key.pem}}}}\n"
    )
    file.chmod(0o644)
    result = CliRunner().invoke(cli, ["check", str(file)], prog_name="timesync")
    assert (0, "") == (result.exit_code, result.stderr)
    assert "; 3 sources, 2 with NTS; " in result.stdout
    assert result.stdout.endswith("; establishes keys for NTS on 0.0.0.0:4460, [::]:4460\n")


def _now_s() -> float:
    import time

    return time.time()
