"""``timesync clients`` against a daemon that serves with two workers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_support import PATIENCE_S, Running, configuration, eventually, running, status
from click.testing import CliRunner
from ntp_server_support import request
from test_daemon_watching import watching

from timesync.cli.main import cli

ASKED = {f"127.0.1.{number}": number % 3 + 1 for number in range(1, 13)} | {"127.0.0.66": 2}
"""Times by address; the last one is denied."""

EXTRA = "deny: [127.0.0.66/32], rate_limit: {interval: 1h, burst: 2, reply: drop}"


def port_of(folder: Path) -> int:
    address = str(status(folder / "c.sock")["serving"]["ntp"][0])
    return int(address.rpartition(":")[2])


def ask(port: int, source: str, times: int = 1, *, answered: bool = True) -> int:
    """Ask from an address of loopback; how many replies came."""
    replies = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((source, 0))
        made.connect(("127.0.0.1", port))
        made.settimeout(PATIENCE_S if answered else 0.2)
        for _ in range(times):
            made.send(request())
            try:
                replies += len(made.recv(1024)) == 48
            except TimeoutError:
                assert not answered
    return replies


def clients(folder: Path, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["clients", "-c", str(folder / "t.yaml"), "--json", *arguments])
    assert 0 == result.exit_code, result.output
    content = json.loads(result.stdout)
    assert isinstance(content, dict)
    return content


def requests(folder: Path) -> dict[str, int]:
    return {row["address"]: row["requests"] for row in clients(folder)["clients"]}


@contextmanager
def serving(folder: Path, extra: str) -> Iterator[Running]:
    rest = f"serve: {{ntp: {{listen: ['127.0.0.1:0'], workers: 2, {extra}}}}}\n"
    with running(folder, "run", "-c", str(configuration(folder, rest=rest))) as daemon:
        status(folder / "c.sock")
        yield daemon


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """That of a daemon that was asked as ``ASKED`` says, and once by each address more, which it does not answer."""
    made = tmp_path_factory.mktemp("d")
    with serving(made, EXTRA):
        port = port_of(made)
        for address, times in ASKED.items():
            ask(port, address, times, answered=False)
        yield made


def test_each_address_is_told_with_what_became_of_its_requests(folder: Path) -> None:
    def all_of_them() -> dict[str, Any] | None:
        content = clients(folder)
        return content if len(content["clients"]) == len(ASKED) else None

    content = eventually(all_of_them, "all who asked")
    assert (1, True, len(ASKED)) == (content["schema"], content["recorded"], content["known"])
    rows = {row["address"]: row for row in content["clients"]}
    assert ASKED == {address: row["requests"] for address, row in rows.items()}
    denied = rows.pop("127.0.0.66")
    assert (2, 0) == (denied["dropped"], denied["answered"])
    for row in rows.values():
        # A burst of two; of what is above, one in four is answered all the same.
        assert row["requests"] == row["answered"] + row["dropped"]
        assert row["answered"] >= min(row["requests"], 2)
        assert ("ntp", 4, 3, False, False) == tuple(
            row[key] for key in ("protocol", "version", "mode", "nts", "interleaved")
        )
        assert 0 <= row["last_s"] <= row["first_s"] < PATIENCE_S
        assert (row["interval_s"] is None) == (row["requests"] == 1)


def test_rows_are_sorted_counted_and_without_names_as_asked_for(folder: Path) -> None:
    eventually(lambda: len(clients(folder)["clients"]) == len(ASKED) or None, "all who asked")
    by_number = [row["address"] for row in clients(folder, "--sort", "address")["clients"]]
    assert sorted(ASKED, key=lambda address: [int(part) for part in address.split(".")]) == by_number
    most = [row["requests"] for row in clients(folder, "--sort", "requests")["clients"]]
    assert sorted(ASKED.values(), reverse=True) == most
    last = [row["last_s"] for row in clients(folder)["clients"]]
    assert sorted(last) == last
    assert 3 == len(clients(folder, "--count", "3")["clients"])
    assert {"127.0.0.0/24", "127.0.1.0/24"} == {row["address"] for row in clients(folder, "--anonymous")["clients"]}


def test_the_table_fits_a_terminal(folder: Path) -> None:
    eventually(lambda: len(clients(folder)["clients"]) == len(ASKED) or None, "all who asked")
    result = CliRunner().invoke(cli, ["clients", "-c", str(folder / "t.yaml"), "--sort", "address", "--count", "4"])
    lines = result.stdout.splitlines()
    assert ["client", "speaks", "requests", "answered", "dropped", "every", "last"] == lines[0].split()
    assert ["127.0.0.66", "NTPv4", "2", "0", "2"] == lines[1].split()[:5]
    assert f"4 of {len(ASKED)} clients shown." == lines[-1]
    assert [] == [line for line in lines if len(line) > 80]


def test_watchers_are_told_who_asks(folder: Path) -> None:
    with watching(folder, kinds=["clients"]) as stream:
        assert "hello" == stream.next()["type"]
        message = stream.next()
    assert "clients" == message["type"]
    assert {"utc_ns", "recorded", "known", "clients"} <= set(message)
    assert {row["address"] for row in message["clients"]} <= set(ASKED)


def test_a_reload_that_serves_anew_knows_the_clients_still(tmp_path: Path) -> None:
    with serving(tmp_path, "clients: 100") as daemon:
        assert 3 == ask(port_of(tmp_path), "127.0.1.1", 3)
        file = tmp_path / "t.yaml"
        file.write_text(file.read_text().replace("clients: 100", "clients: 50, workers: 1").replace("workers: 2, ", ""))
        daemon.hang_up()

        def again() -> bool | None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
                made.bind(("127.0.1.2", 0))
                made.connect(("127.0.0.1", port_of(tmp_path)))
                made.settimeout(0.5)
                try:
                    made.send(request())
                    return len(made.recv(1024)) == 48
                except OSError:
                    return None

        daemon.until("reload")
        eventually(again, "an answer of the new service")
        found = eventually(lambda: requests(tmp_path) or None, "the clients")
        assert 3 == found["127.0.1.1"]
        assert 0 == daemon.end()


def test_nothing_is_recorded_where_that_is_not_wanted(tmp_path: Path) -> None:
    with serving(tmp_path, "clients: 0"):
        assert 2 == ask(port_of(tmp_path), "127.0.1.1", 2)
        content = clients(tmp_path)
        assert (False, 0, []) == (content["recorded"], content["known"], content["clients"])
        result = CliRunner().invoke(cli, ["clients", "-c", str(tmp_path / "t.yaml")])
        assert "Nobody has asked, as far as is known." in result.stdout
        assert "Clients of NTP are not recorded" in result.stdout
