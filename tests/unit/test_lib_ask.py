"""timesync as a library: questions."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

import pytest
from lib_support import roughtime_servers

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.config.address import AddressError
from timesync.daemon.testserver import Misbehaviour, TrialServer
from timesync.lib import QueryError, Reply, RoughtimeServerAddress, query, query_blocking, roughtime, roughtime_blocking
from timesync.ntp.roughtime import proves_malfeasance

LONELY = "127.83.7.2"
"""No other test takes a port of this address, not even for a moment."""


async def ask(wrong: Misbehaviour, count: int = 1, timeout_s: float = 3.0) -> Reply | QueryError:
    server = TrialServer([Endpoint("127.0.0.1", 0)], wrong)
    try:
        return await query(str(server.addresses[0]), count=count, interval_s=0.02, timeout_s=timeout_s)
    except QueryError as error:
        return error
    finally:
        server.close()


def test_the_offset_is_this_clock_minus_the_server() -> None:
    reply = asyncio.run(ask(Misbehaviour(offset=Duration.from_s(7), stratum=2, leap=Leap.DELETE), count=3))
    assert not isinstance(reply, QueryError)
    assert -7.0 == pytest.approx(reply.offset.s(), abs=0.01)
    assert 7_000_000_100 == pytest.approx(reply.right_ns(100), abs=10_000_000)
    assert (2, Leap.DELETE, b"TEST", 3) == (reply.stratum, reply.leap, reply.reference_id, len(reply.outcomes))
    assert abs(reply.offset.s() + 7) <= reply.error_bound.s()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Misbehaviour(reply="deny"), "it sent a kiss-o'-death DENY"),
        (Misbehaviour(reply="silent"), "no answer within 0.2 s"),
        (Misbehaviour(unsynchronized=True), "it says that it is not synchronised"),
    ],
)
def test_no_time_is_an_error_that_says_why(wrong: Misbehaviour, words: str) -> None:
    error = asyncio.run(ask(wrong, timeout_s=0.2))
    assert isinstance(error, QueryError)
    assert str(error).endswith(words)
    assert 1 == len(error.outcomes)


def test_a_closed_port_is_said_without_waiting_for_the_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind((LONELY, 0))
        port = unused.getsockname()[1]
    with pytest.raises(QueryError, match="refused"):
        query_blocking(f"{LONELY}:{port}", timeout_s=30)


@pytest.mark.parametrize("server", ["", "a b", "127.0.0.1:0", "[::1", "1.2.3"])
def test_what_is_no_address_is_refused_before_anything_is_sent(server: str) -> None:
    with pytest.raises(AddressError):
        query_blocking(server)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_questions_leave_no_socket_open() -> None:
    async def story() -> None:
        server = TrialServer([Endpoint("127.0.0.1", 0)], Misbehaviour())
        try:
            gc.collect()
            before = descriptors()
            for _ in range(20):
                await query(str(server.addresses[0]))
            gc.collect()
            assert before >= descriptors()
        finally:
            server.close()

    asyncio.run(story())


def test_blocking_inside_a_loop_is_refused() -> None:
    async def inside() -> None:
        with pytest.raises(RuntimeError, match="await the function without _blocking"):
            query_blocking("127.0.0.1")
        with pytest.raises(RuntimeError, match="await the function without _blocking"):
            roughtime_blocking([])

    asyncio.run(inside())


def test_roughtime_servers_that_agree_with_the_system_clock() -> None:
    with roughtime_servers(0, 0, 0) as servers:
        answer = roughtime_blocking([one.address for one in servers])
    assert answer.agreement is not None
    assert 3 == len(answer.agreement.servers)
    assert (None, None, {}, 6) == (answer.contradiction, answer.malfeasance, answer.troubles, len(answer.probes))


def test_roughtime_servers_that_contradict_the_system_clock() -> None:
    with roughtime_servers(100, 100, 100) as servers:
        answer = roughtime_blocking([one.address for one in servers])
    assert answer.contradiction is not None
    assert "s behind what 3 of 3 Roughtime servers allow" in answer.contradiction
    assert answer.malfeasance is None


def test_one_liar_among_three_roughtime_servers_is_outvoted_and_proved() -> None:
    with roughtime_servers(0, 3600, 0) as servers:
        answer = roughtime_blocking([one.address for one in servers])
        liar = servers[1].address.address
    assert answer.agreement is not None
    assert liar not in answer.agreement.servers
    assert answer.contradiction is None
    assert answer.malfeasance is not None
    assert proves_malfeasance(answer.malfeasance)


def test_a_roughtime_server_with_another_key_and_one_that_is_away() -> None:
    async def story() -> None:
        with roughtime_servers(0) as servers, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away:
            away.bind(("127.0.0.1", 0))
            silent = RoughtimeServerAddress(f"127.0.0.1:{away.getsockname()[1]}", bytes([1]) * 32)
            other = RoughtimeServerAddress(servers[0].address.address, bytes(32))
            answer = await roughtime([other, silent], timeout_s=0.1)
        assert answer.agreement is None
        assert () == answer.probes
        assert "its key is not signed by the server's long-term key" in answer.troubles[other.address]
        assert "no response within 0.1 s" == answer.troubles[silent.address]

    asyncio.run(story())


@pytest.mark.parametrize("version", [2, 5])
def test_no_version_is_asked_in_that_is_no_standard_or_too_old(version: int) -> None:
    with pytest.raises(ValueError, match=f"version {version} is not 3 or 4"):
        query_blocking("127.0.0.1:9", version=version, timeout_s=0.1)
