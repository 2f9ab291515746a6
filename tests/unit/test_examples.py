"""Every example runs, against servers of ours on loopback, and says what it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_support import server
from lib_support import ROOT, environment, example, papers, roughtime_servers

TRIED = {
    "sntp_query.py", "sntp_query_async.py", "follow.py", "server.py", "codec.py", "roughtime.py",
    "nts_query.py", "nts_session.py", "nts_server.py",
}  # fmt: skip


def test_every_example_is_tried() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == TRIED


def test_sntp_query(tmp_path: Path) -> None:
    with server(tmp_path, "--offset", "-2s") as where:
        done = example("sntp_query.py", where)
    assert (0, "") == (done.returncode, done.stderr)
    assert f" s ahead of {where}, give or take " in done.stdout
    assert done.stdout.startswith(("this clock is 2.", "this clock is 1.99"))


def test_sntp_query_of_a_server_that_is_silent(tmp_path: Path) -> None:
    with server(tmp_path, "--deny") as where:
        done = example("sntp_query.py", where)
    assert (1, f"{where}: it sent a kiss-o'-death DENY\n") == (done.returncode, done.stderr)


def test_sntp_query_async(tmp_path: Path) -> None:
    with server(tmp_path) as where, server(tmp_path, "--deny") as refusing:
        done = example("sntp_query_async.py", where, refusing)
    assert (0, "") == (done.returncode, done.stderr)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{where}: stratum 1, this clock minus it: ")
    assert second.startswith(f"{refusing}: no time (")


def test_follow(tmp_path: Path) -> None:
    with server(tmp_path, "--offset", "-2s") as where:
        done = example("follow.py", "2", where)
    assert (0, "") == (done.returncode, done.stderr)
    assert 2 == sum("this clock is +2.0" in line or "this clock is +1.9" in line for line in done.stdout.splitlines())


@contextmanager
def started(command: list[str]) -> Iterator[str]:
    """A program that goes on, and the first line that it wrote."""
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.kill()


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """``nts_server.py``: where it makes keys, where it answers, and the file of its authority."""
    made = papers(tmp_path)
    files = str(made.certificate.certificate), str(made.certificate.private_key)
    command = [sys.executable, str(ROOT / "examples" / "nts_server.py"), *files, "127.0.0.1:0", "127.0.0.1:0"]
    with started(command) as said:
        words = said.split()
        yield words[4], words[-1], str(made.trust.ca)


def test_nts_query_of_the_nts_server(keyed: tuple[str, str, str]) -> None:
    where, ntp, ca = keyed
    done, untrusted = example("nts_query.py", where, ca), example("nts_query.py", where)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith(f"this clock minus {ntp}: ")
    assert (1, "") == (untrusted.returncode, untrusted.stdout)
    assert untrusted.stderr.startswith("no keys (certificate): 127.0.0.1 ")


def test_nts_session_with_the_nts_server(keyed: tuple[str, str, str]) -> None:
    where, ntp, ca = keyed
    done = example("nts_session.py", "1", where, ca)
    assert (0, "") == (done.returncode, done.stderr)
    first, second = done.stdout.splitlines()
    assert f"keys for {ntp}, 8 cookies, TLSv1.3" == first
    assert second.startswith("this clock minus it: ")


def test_server_answers_a_query() -> None:
    command = [sys.executable, str(ROOT / "examples" / "server.py"), "127.0.0.1:0"]
    with started(command) as said:
        where = said.split()[-1]
        done = example("sntp_query_async.py", where)
    assert done.stdout.startswith(f"{where}: stratum 3, ")


@pytest.mark.parametrize("name", ["server.py", "nts_server.py"])
def test_the_server_has_ten_lines(name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    body = text[text.index("async def main") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 10


def test_codec() -> None:
    done = example("codec.py")
    assert (0, "") == (done.returncode, done.stderr)
    assert "request: 23" + "00" * 39 + "0123456789abcdef" == done.stdout.splitlines()[0]
    # 0xee6b2810 = 4000000016 s after 1900, which is 1791011216 after 1970 (RFC 5905, figure 4: 2208988800 between).
    assert "stratum 1 b'GPS\\x00' received at 1791011216.500000000" == done.stdout.splitlines()[1]
    assert "refused: 40 octets are too short for an NTP header" == done.stdout.splitlines()[2]


@pytest.mark.parametrize(("ahead", "code"), [((0, 0, 3600), 0), ((100, 100, 100), 1)])
def test_roughtime(ahead: tuple[int, int, int], code: int) -> None:
    with roughtime_servers(*ahead) as servers:
        done = example("roughtime.py", *(one.argument for one in servers))
    assert code == done.returncode, done.stderr
    assert ("the system clock is at least " in done.stderr) == bool(code)
    assert ("one of the servers has lied" in done.stdout) == (code == 0)
    assert "it is between " in done.stdout
