"""Telling watchers: who asked for what, and who does not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from timesync.base.machine import Noted
from timesync.observe import stream
from timesync.observe.broadcast import MAX_WAITING, Broadcaster, Watcher


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamWriter]]:
    """The watcher's reader, the daemon's writer, the watcher's writer."""
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    reader, other = await asyncio.open_connection(sock=theirs, limit=stream.LONGEST)
    try:
        yield reader, writer, other
    finally:
        writer.transport.abort()
        other.transport.abort()


async def heard(reader: asyncio.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return stream.decode(await reader.readline())


def test_a_watcher_hears_what_it_asked_for_and_nothing_else() -> None:
    async def main() -> None:
        async with pair() as (reader, writer, _):
            broadcaster = Broadcaster()
            assert not broadcaster.wanted(stream.EVENT)
            watcher = Watcher(writer, [stream.EVENT])
            broadcaster.add(watcher)
            assert broadcaster.wanted(stream.EVENT)
            assert not broadcaster.wanted(stream.STATE)
            broadcaster.tell({"type": stream.STATE, "n": 1})
            broadcaster.tell(stream.event(Noted("info", "locked", "it follows", source=None), 5))
            got = await heard(reader)
            assert ("event", "locked", "it follows", 5) == (got["type"], got["name"], got["text"], got["utc_ns"])
            broadcaster.remove(watcher)
            assert 0 == len(broadcaster)

    asyncio.run(main())


def test_who_does_not_read_misses_whole_messages_and_is_told_how_many() -> None:
    async def main() -> None:
        async with pair() as (reader, writer, _):
            watcher = Watcher(writer, [stream.STATE])
            broadcaster = Broadcaster()
            broadcaster.add(watcher)
            filler = "x" * 100_000
            sent = 60
            for number in range(sent):
                broadcaster.tell({"type": stream.STATE, "n": number, "filler": filler})
            missed = watcher.missed
            assert 0 < missed < sent
            assert writer.transport.get_write_buffer_size() <= MAX_WAITING
            got = [await heard(reader) for _ in range(sent - missed)]
            assert list(range(sent - missed)) == [message["n"] for message in got]
            broadcaster.tell({"type": stream.STATE, "n": "last"})
            assert {"missed": missed, "type": "state", "n": "last"} == await heard(reader)

    asyncio.run(main())


def test_a_watcher_that_has_gone_is_no_trouble() -> None:
    async def main() -> None:
        async with pair() as (_, writer, other):
            watcher = Watcher(writer, [stream.STATE])
            other.transport.abort()
            for _ in range(5):
                watcher.tell(stream.encode({"type": stream.STATE}))
                await asyncio.sleep(0)

    asyncio.run(main())


def test_lines_are_put_together_again_however_they_are_cut() -> None:
    messages = [{"type": "state", "n": number, "text": "ü\n" * number} for number in range(5)]
    data = b"".join(map(stream.encode, messages))
    for size in (1, 2, 7, len(data)):
        lines = stream.Lines()
        got = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
        assert messages == [stream.decode(line) for line in got]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"a": 1}', b'{"type": 3}', b"[" * 100_000, b"\xff"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(stream.StreamError):
        stream.decode(line)


def test_a_line_without_end_is_refused() -> None:
    lines = stream.Lines()
    with pytest.raises(stream.StreamError):
        list(lines.feed(b"x" * (stream.LONGEST + 1)))


def test_numbers_that_json_does_not_know_are_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        stream.encode({"type": "state", "value": float("nan")})
    assert {"type": "state"} == json.loads(stream.encode({"type": "state"}))
