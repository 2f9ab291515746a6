"""``timesync query`` and ``timesync testserver``: what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from cli_support import running, server
from click.testing import CliRunner, Result
from lib_support import claim, papers

from timesync.cli.main import cli
from timesync.lib import serve


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="timesync")


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that is 50 ms ahead."""
    with server(tmp_path_factory.mktemp("s"), "--offset", "50ms", "--leap", "insert") as where:
        yield where


def test_one_answer_in_words(ahead: str) -> None:
    result = run("query", ahead)

    assert (0, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    said = re.fullmatch(f"{re.escape(ahead)} is ([0-9.]+) ms ahead of this clock, give or take .*", lines[0])
    assert said is not None
    # A busy machine may hold a packet up on its way.
    assert abs(float(said[1]) - 50) < 5
    assert "round trip " in lines[1]
    assert lines[1].endswith("kernel timestamps, basic mode")
    assert any("stratum 1, reference TEST, leap insert, version 4" in line for line in lines)
    assert any("root distance " in line for line in lines)


def test_several_answers_with_the_best_and_the_spread(ahead: str) -> None:
    result = run("query", ahead, "--count", "4", "--interval", "20ms", "--version", "3")

    assert 0 == result.exit_code
    lines = result.stdout.splitlines()
    assert ["  1:", "  2:", "  3:", "  4:"] == [line[:4] for line in lines[:4]]
    assert lines[4].startswith(f"{ahead} is ")
    assert lines[5].startswith("  best of 4 answers to 4 questions; the offsets spread over ")
    assert "version 3" in result.stdout


def test_interleaved_mode(ahead: str) -> None:
    content = json.loads(run("query", ahead, "--count", "4", "--interval", "20ms", "--interleaved", "--json").stdout)

    # The server keeps the stamp of an answer once it is asked in interleaved mode: with the second question.
    assert [False, False, True, True] == [answer["interleaved"] for answer in content["answers"]], content
    assert all(answer["usable"] for answer in content["answers"])


def test_json(ahead: str) -> None:
    content = json.loads(run("query", ahead, "--json").stdout)
    (answer,) = content["answers"]

    assert (1, ahead, ahead, True, 0, None) == tuple(
        content[key] for key in ("schema", "server", "address", "usable", "best", "spread_s")
    )
    assert answer["offset_s"] == pytest.approx(-0.05, abs=1e-3)
    assert answer["error_bound_s"] > answer["delay_s"] / 2
    assert ("insert", 1, "TEST", 4) == tuple(answer[key] for key in ("leap", "stratum", "reference_id", "version"))
    assert 0 <= answer["reference_age_s"] < 10


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--deny", "kiss-o'-death DENY: it refuses to serve this client"),
        ("--rate", "kiss-o'-death RATE: it is asked too often"),
        ("--silent", "no answer: no answer within 0.3 s"),
        ("--unsynchronized", "not fit for use: it says that it is not synchronised"),
    ],
)
def test_servers_that_will_not(tmp_path: Path, option: str, words: str) -> None:
    with server(tmp_path, option) as where:
        result = run("query", where, "--timeout", "300ms")
        as_json = run("query", where, "--timeout", "300ms", "--json")

    assert (1, 1) == (result.exit_code, as_json.exit_code)
    assert words in result.stdout
    assert json.loads(as_json.stdout)["usable"] is False


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a server with NTS, 50 ms ahead, establishes keys; and the file of its authority."""
    made = papers(tmp_path_factory.mktemp("nts"))
    loop, found, stopping = asyncio.new_event_loop(), Queue[str](), asyncio.Event()

    async def story() -> None:
        async with serve("127.0.0.1:0", claim=lambda: claim(0.05), nts=made.certificate) as running:
            found.put(str(running.nts_addresses[0]))
            await stopping.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(story()))
    thread.start()
    yield found.get(timeout=20), str(made.trust.ca)
    loop.call_soon_threadsafe(stopping.set)
    thread.join()
    loop.close()


def test_nts_in_words(keyed: tuple[str, str]) -> None:
    where, ca = keyed
    result = run("query", where, "--nts", "--ca", ca, "--count", "4", "--interval", "20ms", "--interleaved")

    assert (0, "") == (result.exit_code, result.stderr)
    said = re.search(f"^{re.escape(where)} is ([0-9.]+) ms ahead of this clock", result.stdout, re.MULTILINE)
    assert said is not None
    assert abs(float(said[1]) - 50) < 5
    assert "  authenticated by NTS (AES_" in result.stdout
    assert re.search(r"^  asked at 127\.0\.0\.1:\d+, 8 cookies left$", result.stdout, re.MULTILINE)
    assert ", interleaved" in result.stdout


def test_nts_as_json(keyed: tuple[str, str], ahead: str) -> None:
    where, ca = keyed
    content = json.loads(run("query", where, "--nts", "--ca", ca, "--json").stdout)

    assert (where, True, where, 8) == (
        content["server"],
        content["usable"],
        content["nts"]["ke_server"],
        content["nts"]["cookies"],
    )
    assert where != content["address"]
    assert json.loads(run("query", ahead, "--json").stdout)["nts"] is None


def test_nts_of_an_authority_that_is_not_trusted(keyed: tuple[str, str]) -> None:
    result = run("query", keyed[0], "--nts")

    assert (1, "") == (result.exit_code, result.stdout)
    assert '"Lab CA", which is neither trusted nor shown by the server' in result.stderr


def test_nts_with_a_file_that_holds_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("text")
    missing, text = (run("query", "127.0.0.1", "--nts", "--ca", str(tmp_path / f"{n}.pem")) for n in ("no", "text"))

    assert (2, 2) == (missing.exit_code, text.exit_code)
    assert "no.pem" in missing.stderr
    assert "text.pem" in text.stderr


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unheard:
        unheard.bind(("127.0.0.1", 0))
        closed = "{}:{}".format(*unheard.getsockname())
    result = run("query", closed)

    assert (1, f"{closed}: no answer: Connection refused\n") == (result.exit_code, result.stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a:b"], '"b" is not a port'),
        (["127.0.0.1", "--count", "0"], "0 is not in the range"),
        (["127.0.0.1", "--version", "2"], "2 is not in the range"),
        (["127.0.0.1", "--timeout", "3"], 'did you mean "3s"?'),
        (["127.0.0.1", "--timeout", "0s"], "must be longer than 0s"),
        (["127.0.0.1", "--interleaved"], "needs --count 3 or more"),
        (["127.0.0.1", "--nts", "--version", "3"], "from NTP version 4 on"),
        (["127.0.0.1", "--ca", "x.pem"], "only a server with --nts has"),
        (["127.0.0.1", "--interleaved", "--count", "3", "--version", "3"], "from NTP version 4 on"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    result = run("query", *arguments)

    assert 2 == result.exit_code
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--deny", "--silent"], "--deny and --silent exclude each other"),
        (["--deny", "--offset", "1s"], "tells no time that could be wrong"),
        (["--unsynchronized", "--leap", "insert"], "announces nothing else"),
        (["--offset", "1"], 'did you mean "1s"?'),
        (["--listen", "localhost"], "localhost"),
    ],
)
def test_wrong_usage_of_the_test_server(arguments: list[str], words: str) -> None:
    result = run("testserver", *arguments)

    assert 2 == result.exit_code
    assert words in result.stderr


def test_the_test_server_says_what_it_does_and_counts_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path, "testserver", "--listen", "127.0.0.1:0", "--drift", "-10ppm", "--offset", "-1s") as command:
        where = command.until("timesync query ").partition("timesync query ")[2].split()[0]
        assert f"NTP test server on {where}: serves the system clock's time, 1 s behind, drifting by -10 ppm." in (
            command.said()
        )
        assert "behind this clock" in run("query", where, "--count", "2", "--interval", "20ms").stdout
        command.until("answered (version 4)\n127.0.0.1 port ")
        assert 0 == command.end(signal.SIGINT)
        assert command.said().endswith("2 datagrams came: 2 answered (version 4)\n")


def test_the_test_server_on_a_port_that_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = "{}:{}".format(*taken.getsockname())
        result = run("testserver", "--listen", where)

    assert 1 == result.exit_code
    assert f"timesync: cannot serve NTP on {where}: Address already in use\n" == result.stderr
