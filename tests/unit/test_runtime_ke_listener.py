"""The NTS-KE server on a loop: limits, stalls, and what it says to wrong requests."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from ke_socket_support import JAR, ask, closed, dial, eventually, hello, listener
from ke_support import NAME, SERVER, TRUST
from tls_support import NOW, pair

from timesync.nts.aead import AeadId
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.tls_client import ClientTls
from timesync.nts.tls_server import ServerContext
from timesync.runtime.ke_client import Established
from timesync.runtime.ke_listener import MAX_OCTETS, client_of
from timesync.runtime.ke_messages import (
    KeLimits,
    KeServiceSettings,
    PairFacts,
    Refused,
    decode_facts,
    decode_settings,
    encode_facts,
    encode_settings,
)

# --- limits -------------------------------------------------------------------------------------------------------


def test_a_client_is_served_over_tcp() -> None:
    async def main() -> None:
        async with listener() as (made, port):
            result = await ask(port)
            assert isinstance(result, Established)
            assert result.keys[0] == JAR.open(result.cookies[0])
            assert 1 == made.counters["established"]
            assert 1 == made.counters["post-quantum"] or not result.tls.post_quantum
            await eventually(lambda: not made.open_connections, "the connection is over")

    asyncio.run(main())


def test_without_a_certificate_everybody_is_turned_away() -> None:
    async def main() -> None:
        async with listener(ready=False) as (made, port):
            with await dial(port) as one:
                assert b"" == await closed(one)
            assert 1 == made.counters["refused-not-ready"]
            made.use(context=ServerContext((pair(SERVER),)), make_cookie=JAR.make)
            assert isinstance(await ask(port), Established)

    asyncio.run(main())


def test_one_client_has_eight_connections_at_most() -> None:
    async def main() -> None:
        async with listener() as (made, port):
            held = [await dial(port) for _ in range(8)]
            await eventually(lambda: made.open_connections == 8, "all are in")
            with await dial(port) as ninth:
                assert b"" == await closed(ninth)
            assert 1 == made.counters["refused-client"]
            assert [(1, 1)] == [(one.requests, one.dropped) for one in made.log.clients().records]
            with await dial(port, "127.0.0.2") as other:
                await eventually(lambda: made.open_connections == 9, "another client is in")
                del other
            held.pop().close()
            await eventually(lambda: made.open_connections == 7, "two have gone")
            assert isinstance(await ask(port), Established)
            for one in held:
                one.close()

    asyncio.run(main())


def test_all_clients_together_have_so_many_connections() -> None:
    async def main() -> None:
        async with listener(KeServiceSettings(limits=KeLimits(connections=3))) as (made, port):
            held = [await dial(port, f"127.0.0.{number}") for number in range(1, 4)]
            await eventually(lambda: made.open_connections == 3, "all are in")
            with await dial(port, "127.0.0.9") as fourth:
                assert b"" == await closed(fourth)
            assert 1 == made.counters["refused-full"]
            for one in held:
                one.close()

    asyncio.run(main())


@pytest.mark.parametrize("octets", [0, 1, 5, 100, -1])
def test_a_client_that_stalls_is_dropped_when_its_time_is_up(octets: int) -> None:
    """After nothing, after one octet, within the ClientHello, and after all of it."""

    async def main() -> None:
        async with listener(KeServiceSettings(limits=KeLimits(request_s=0.2, total_s=1))) as (made, port):
            with await dial(port) as one:
                flight = hello()
                await asyncio.get_running_loop().sock_sendall(one, flight if octets < 0 else flight[:octets])
                began = time.monotonic()
                await closed(one)
                assert 0.1 < time.monotonic() - began < 5
            assert 1 == made.counters["timeout"]
            await eventually(lambda: not made.open_connections, "its place is free")

    asyncio.run(main())


def test_a_client_that_sends_an_octet_now_and_then_has_no_more_time_than_others() -> None:
    async def main() -> None:
        async with listener(KeServiceSettings(limits=KeLimits(request_s=0.3, total_s=1))) as (made, port):
            loop = asyncio.get_running_loop()
            with await dial(port) as one:
                sent = 0
                with pytest.raises(ConnectionError):  # noqa: PT012 - which octet is the first that is refused is open
                    for octet in hello():
                        await loop.sock_sendall(one, bytes([octet]))
                        sent += 1
                        await asyncio.sleep(0.01)
                assert sent < len(hello())
            assert 1 == made.counters["timeout"]

    asyncio.run(main())


def test_a_client_that_does_not_close_is_closed() -> None:
    async def main() -> None:
        async with listener(KeServiceSettings(limits=KeLimits(request_s=0.3, total_s=0.6))) as (made, port):
            with await dial(port) as one:
                loop = asyncio.get_running_loop()
                tls = ClientTls(TRUST, NAME, NOW)
                await loop.sock_sendall(one, tls.outgoing())
                while not tls.established:
                    tls.receive(await loop.sock_recv(one, 65536))
                tls.send(bytes.fromhex("80010002000080040002000f80000000"))
                await loop.sock_sendall(one, tls.outgoing())
                said = tls.receive(await closed(one))
                # NextProtocol NTPv4, AEAD 15; the rest are cookies.
                assert said.startswith(bytes.fromhex("80010002000000040002000f00050064"[:12]))
                await eventually(lambda: not made.open_connections, "the server has closed by itself")
            assert 1 == made.counters["established"]
            assert 0 == made.counters["timeout"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "counter"),
    [(b"GET / HTTP/1.0\r\n\r\n", "tls-broken"), (bytes(4096), "tls-broken")],
)
def test_what_is_no_tls_is_counted_and_closed(data: bytes, counter: str) -> None:
    async def main() -> None:
        async with listener() as (made, port):
            with await dial(port) as one:
                await asyncio.get_running_loop().sock_sendall(one, data)
                one.shutdown(socket.SHUT_WR)
                await closed(one)
            assert 1 == made.counters[counter]

    asyncio.run(main())


def test_a_client_that_leaves_in_the_middle_is_counted() -> None:
    async def main() -> None:
        async with listener() as (made, port):
            with await dial(port) as one:
                await asyncio.get_running_loop().sock_sendall(one, hello()[:50])
            await eventually(lambda: made.counters["cut"] == 1, "it is counted")
            assert 0 == made.open_connections

    asyncio.run(main())


def test_a_client_that_goes_on_after_its_answer_is_not_read_for_ever() -> None:
    async def main() -> None:
        async with listener() as (made, port):
            with await dial(port) as one:
                loop = asyncio.get_running_loop()
                with pytest.raises(ConnectionError):  # noqa: PT012 - where the server stops reading is open
                    for _ in range(100 * MAX_OCTETS // 4096):
                        await loop.sock_sendall(one, b"x" * 4096)
            await eventually(lambda: not made.open_connections, "it is gone")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_hex", "error"),
    [
        # Cookie from a client; two NextProtocol; unknown critical; no AEAD.
        ("80010002000080040002000f" + "0005000401020304" + "80000000", "800200020001"),
        ("800100020000" * 2 + "80040002000f" + "80000000", "800200020001"),
        ("80010002000080040002000f" + "bfff0000" + "80000000", "800200020000"),
        ("800100020000" + "80000000", "800200020001"),
        # A record that promises 65535 octets is answered before they come.
        ("3fffffff", "800200020001"),
    ],
)
def test_a_wrong_request_is_told_so_inside_tls(request_hex: str, error: str) -> None:
    async def main() -> None:
        async with listener() as (_, port):
            loop = asyncio.get_running_loop()
            with await dial(port) as one:
                tls = ClientTls(TRUST, NAME, NOW)
                await loop.sock_sendall(one, tls.outgoing())
                while not tls.established:
                    tls.receive(await loop.sock_recv(one, 65536))
                tls.send(bytes.fromhex(request_hex))
                await loop.sock_sendall(one, tls.outgoing())
                assert bytes.fromhex(error + "80000000") == tls.receive(await closed(one))
                assert tls.ended

    asyncio.run(main())


def test_two_hundred_stalled_connections_do_not_delay_the_next() -> None:
    """From 25 addresses of 8 each: nothing, one octet, half a ClientHello, a whole one, by turns."""

    async def main() -> None:
        async with listener() as (made, port):
            flight = hello()
            held = []
            for number in range(200):
                one = await dial(port, f"127.0.1.{1 + number // 8}")
                held.append(one)
                await asyncio.get_running_loop().sock_sendall(one, (b"", flight[:1], flight[:300], flight)[number % 4])
            await eventually(lambda: made.open_connections == 200, "all are in")
            began = time.monotonic()
            assert isinstance(await ask(port), Established)
            assert time.monotonic() - began < 1
            for one in held:
                one.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::1", "20010db800010002"),
        ("fe80::1%eth0", "fe80000000000000"),
    ],
)
def test_whose_connections_are_counted_together(address: str, client: str) -> None:
    assert client == client_of(address)


# --- messages -----------------------------------------------------------------------------------------------------


def test_settings_cross_the_socket() -> None:
    settings = KeServiceSettings(
        offer=KeServerSettings(
            aeads=(AeadId.AES_SIV_CMAC_256,), server="ntp.example.org", port=1123, pool_tokens=frozenset({b"\x00tok"})
        ),
        limits=KeLimits(connections=7, per_client=3, request_s=0.5, total_s=1.5),
    )
    assert settings == decode_settings(encode_settings(settings)[1:])


def test_facts_cross_the_socket() -> None:
    facts = (PairFacts("cert.pem", (NAME, "192.0.2.1"), pair(SERVER).validity),)
    refused = (Refused("other.pem", "is empty"),)
    assert (facts, refused) == decode_facts(encode_facts(facts, refused)[1:])
