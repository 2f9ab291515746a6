"""What keeps a web server of ours from being filled up, by the address at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web

from timesync.observe import http
from timesync.observe.http import ADDRESSES, HEADERS, Bounds, GuardedServer, Shares, has_its_share, is_local


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_this_machine_may_have_all_places(peer: str, local: bool) -> None:
    assert local == is_local(peer)
    assert local != has_its_share(peer, [peer] * 3, 3)
    assert not has_its_share(peer, [peer] * 2, 3)


def test_neighbours_in_a_64_have_one_share() -> None:
    there = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1"]
    assert has_its_share("2001:db8::3", there, 2)
    assert not has_its_share("192.0.2.1", there, 2)


def test_addresses_are_remembered_in_bounded_memory() -> None:
    now = Time()
    shares = Shares(1.0, 2.0, now)
    assert [True, True, False] == [shares.take("192.0.2.1") for _ in range(3)]
    assert shares.take("192.0.2.2")
    now.now_s += 1.0
    assert [True, False] == [shares.take("192.0.2.1") for _ in range(2)]
    for number in range(2 * ADDRESSES):
        shares.take(f"10.0.{number // 256}.{number % 256}")
    assert ADDRESSES == len(shares)


async def _asked(port: int, octets: bytes, local: str = "127.0.0.1") -> bytes:
    """Everything that comes until the end."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
        writer.write(octets)
        said = await reader.read(-1)
        writer.close()
        return said
    return b""


def test_one_address_cannot_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "is_local", lambda peer: peer == "127.0.0.1")

    async def hello(request: web.Request) -> web.Response:
        del request
        return web.Response(text="hello")

    async def main() -> None:
        application = web.Application()
        application.add_routes([web.get("/", hello)])
        guarded = GuardedServer(application, Bounds(connections=8, each=2, lifetime_s=10.0))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        port = listener.getsockname()[1]
        await guarded.start(listener)
        there = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(2)]
        request = b"GET / HTTP/1.0\r\n\r\n"
        async with asyncio.timeout(20):
            assert b"" == await _asked(port, request, "127.0.0.2")
            assert (await _asked(port, request, "127.0.0.3")).endswith(b"hello")
            there += [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            assert (await _asked(port, request)).endswith(b"hello")
        for _, writer in there:
            writer.close()
        await guarded.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    "octets", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / XTTP/9\r\n\r\n"]
)
def test_what_the_library_answers_has_our_headers_and_no_words_of_its_own(
    octets: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> bytes:
        guarded = GuardedServer(web.Application(), Bounds())
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        await guarded.start(listener)
        async with asyncio.timeout(20):
            said = await _asked(listener.getsockname()[1], octets)
        await guarded.stop()
        return said

    head, _, body = asyncio.run(main()).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1.1 400") or lines[0].startswith("HTTP/1.0 400")
    assert b"Bad Request\n" == body
    found = dict(line.split(": ", 1) for line in lines[1:])
    assert dict(HEADERS).items() <= found.items()
    assert "no-store" == found["Cache-Control"]
    assert ("", "") == capfd.readouterr()
