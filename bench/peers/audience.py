"""An audience for ``bench/observing.py`` and the interop tests, and what it does to measurements.

    bench/peers/audience.py look http://127.0.0.1:WEB http://127.0.0.1:METRICS    until SIGTERM; says then what it got
    bench/peers/audience.py serve WEB METRICS                                     until SIGTERM

``look`` is five browsers at the page, each with its stream of events, and ten scrapes a second. ``serve`` is what they
look at for comparison: a server that has nothing to do with clocks, and does next to nothing. What measurements scatter
more with an audience there is the price of programs on the same machine; what they scatter more with an audience at
timesync than there is the price of timesync's observer.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import selectors
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import aiohttp

BROWSERS = 5
SCRAPES_PER_S = 10.0
PAGE = bytes(52_000)
METRICS = bytes(30_000)
EVENT = b"data: " + b"x" * 3000 + b"\n\n"
"""About what ours are."""

TURNS = ("alone", "elsewhere", "here")
"""Nobody looks; the audience looks at the other server; it looks at timesync."""

T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t for 95 % between two limits, by degrees of freedom from 1; beyond, 2.1 is near enough."""


async def _browse(session: aiohttp.ClientSession, page: str, got: Counter[str]) -> None:
    """A browser: the page once, the stream all the time."""
    async with session.get(page) as answer:
        answer.raise_for_status()
        await answer.read()
    async with session.get(f"{page}/events") as stream:
        stream.raise_for_status()
        async for line in stream.content:
            got["events"] += line.startswith(b"data:")


async def _scrape(session: aiohttp.ClientSession, metrics: str, got: Counter[str]) -> None:
    """Ten times a second."""
    while True:
        async with session.get(metrics) as answer:
            answer.raise_for_status()
            await answer.read()
        got["scrapes"] += 1
        await asyncio.sleep(1 / SCRAPES_PER_S)


async def _opened(session: aiohttp.ClientSession, page: str) -> None:
    """Wait until somebody listens there. Raises aiohttp.ClientConnectorError after ten seconds."""
    until = time.monotonic() + 10
    while True:
        try:
            async with session.get(page):
                return
        except aiohttp.ClientConnectorError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def look(page: str, metrics: str) -> Counter[str]:
    """Everybody at once, until SIGTERM; how many events and scrapes came.

    Raises aiohttp.ClientError in a group where one of them is refused, and RuntimeError where a stream ends.
    """
    got: Counter[str] = Counter()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    # A scrape is a connection, as it is for Prometheus' many.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as session:
        await _opened(session, page)
        jobs = [_browse(session, page, got) for _ in range(BROWSERS)] + [_scrape(session, f"{metrics}/metrics", got)]
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(job) for job in jobs]
        end: asyncio.Task[Any] = asyncio.create_task(told.wait())
        done, _ = await asyncio.wait({*tasks, end}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if end not in done:
            for task in done:
                task.result()
            raise RuntimeError("a stream has ended")
    return got


def serve(web: int, metrics: int) -> None:
    """The other server: fixed octets, and an event a second; as nice as timesync's observer."""
    os.nice(10)
    doors = selectors.DefaultSelector()
    for port, body in ((web, PAGE), (metrics, METRICS)):
        doors.register(socket.create_server(("127.0.0.1", port)), selectors.EVENT_READ, body)
    streams: list[socket.socket] = []
    due = time.monotonic() + 1
    while True:
        for key, _ in doors.select(max(0.0, due - time.monotonic())):
            assert isinstance(key.fileobj, socket.socket)
            guest, _ = key.fileobj.accept()
            if guest.recv(4096).startswith(b"GET /events"):
                guest.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                streams.append(guest)
            else:
                size = len(key.data)
                guest.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size + key.data)
                guest.close()
        if time.monotonic() >= due:
            due += 1
            for stream in streams:
                with suppress(OSError):
                    stream.sendall(EVENT)


def scatter(offsets: Sequence[float]) -> float:
    """How much one offset differs from the next: a standard deviation, from the quartiles of the differences."""
    low, _, high = statistics.quantiles([after - before for before, after in pairwise(offsets)], n=4)
    return (high - low) / 1.349 / 2**0.5


def ratio(watched: Iterable[float], reference: Iterable[float]) -> tuple[float, float, float]:
    """How many times more, and the limits of its 95 % interval, by the rounds' own ratios; two rounds at least."""
    steps = [math.log(one / other) for one, other in zip(watched, reference, strict=True)]
    mean = statistics.fmean(steps)
    t = T_975[len(steps) - 2] if len(steps) - 2 < len(T_975) else 2.1
    half = t * statistics.stdev(steps) / math.sqrt(len(steps))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def told(scatters: Mapping[str, Sequence[float]]) -> str:
    """What came of rounds of ``TURNS``, in words; the scatters in nanoseconds."""
    lines = [f"{turn}: {statistics.median(all_):.0f} ns ({', '.join(f'{one:.0f}' for one in all_)})"
             for turn, all_ in scatters.items()]  # fmt: skip
    for other in ("alone", "elsewhere"):
        middle, low, high = ratio(scatters["here"], scatters[other])
        lines.append(f"here / {other}: {middle:.2f} ({low:.2f} to {high:.2f})")
    return "; ".join(lines)


def main(arguments: Sequence[str]) -> None:
    """One of the two."""
    what, *rest = arguments
    if what == "serve":
        serve(*map(int, rest))
    else:
        print(json.dumps(asyncio.run(look(*rest))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
