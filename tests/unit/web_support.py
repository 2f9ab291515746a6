"""The web page's part as it is in the observer, on a free port of loopback, with a stand-in for the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timesync.base.ids import Endpoint
from timesync.config.observe import Observe, Web
from timesync.observe.hub import Hub
from timesync.observe.parts import Desk, Settings
from timesync.observe.web.part import WebPage

HELLO = {"type": "hello", "schema": 1, "version": "0.1.0", "host": "bench", "pid": 7}


def clock(**changes: Any) -> dict[str, Any]:
    return {
        "name": "system", "kind": "system", "state": "locked", "offset_s": 1e-6, "offset_uncertainty_s": 1e-7,
        "error_bound_s": 2.5e-5, "frequency_ppm": 1.25, "frequency_uncertainty_ppm": 0.01, "steering_ppm": -1.25,
        "wander": 1e-9, "disciplined": True, "steps": 0, "fed_by": ["ntp1"], "links": [], **changes,
    }  # fmt: skip


def state(utc_ns: int, **status: Any) -> dict[str, Any]:
    """A message of the daemon's stream; ``status`` changes what it says of itself."""
    said = {
        "schema": 1, "state": "locked", "reason": "follows ntp1", "served_clock": "system", "stratum": 2,
        "reference_id": "192.0.2.1", "leap": "none", "root_delay_s": 1e-4, "root_dispersion_s": 1e-5,
        "error_bound_s": 2.5e-5, "tai_utc_offset_s": 37, "uptime_s": 12.0, "clocks": [clock()],
        "serving": {"ntp": [], "counters": None, "csptp": [], "nts": []}, "warnings": [], **status,
    }  # fmt: skip
    source = {"name": "ntp1", "kind": "ntp", "state": "selected", "offset_s": 1e-6, "delay_s": 1e-4, "jitter_s": 1e-7}
    return {"type": "state", "utc_ns": utc_ns, "status": said, "sources": [{**source, "details": {}}], "ports": []}


def event(text: str, utc_ns: int = 0) -> dict[str, Any]:
    return {"type": "event", "utc_ns": utc_ns, "level": "info", "name": "trial", "source": None, "text": text}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Bench:
    """The running part.

    Attributes:
        page: It.
        hub: What the daemon says goes in here.
        port: Where it listens.
        notes: What it said to the daemon, raw.
    """

    page: WebPage
    hub: Hub
    port: int
    notes: bytearray = field(default_factory=bytearray)

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    async def raw(self, request: bytes) -> Answer:
        """Send octets; the answer up to the end of the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(10):
            said = await reader.read()
        await closed(writer)
        head, _, body = said.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}, body)

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        lines = {"host": f"localhost:{self.port}", "connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return await self.raw(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode())

    def say(self, *seconds: int, **status: Any) -> None:
        """States of the last seconds: so many before now."""
        for ago in seconds:
            self.hub.take(state(time.time_ns() - ago * 10**9, **status))


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close, whatever the other side has done."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def bench(tmp_path: Path, *hosts: str) -> AsyncIterator[Bench]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    port = listening.getsockname()[1]
    ours, theirs = socket.socketpair()
    reader, other = await asyncio.open_connection(sock=ours)
    _, writer = await asyncio.open_connection(sock=theirs)
    observe = Observe(web=Web(listen=Endpoint("127.0.0.1", port), hosts=hosts))
    settings = Settings(observe, str(tmp_path), {"web": listening.detach()}, {})
    hub = Hub()
    page = WebPage(Desk(settings, hub, writer))
    await page.start()
    made = Bench(page, hub, port)
    try:
        yield made
    finally:
        await page.stop()
        await closed(writer)
        made.notes += await reader.read()
        await closed(other)
