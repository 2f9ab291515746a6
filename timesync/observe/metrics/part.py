"""The part of the observer that Prometheus asks."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from timesync.observe import stream
from timesync.observe.http import REQUEST_BURST, REQUEST_RATE, Bounds, GuardedServer, Shares, add_headers, is_local_name
from timesync.observe.hub import Message
from timesync.observe.metrics.table import Own, Scene
from timesync.observe.metrics.tables import Picture
from timesync.observe.metrics.trail import TrailKeeper
from timesync.observe.parts import Desk
from timesync.servo.view import ServoState
from timesync_drivers.usage import usage

_HEALTHY: Final = frozenset({ServoState.LOCKED.value, ServoState.HOLDOVER.value})
_KEPT_S: Final = 1.0
"""So long an answer is given again as long as no state comes: who scrapes often pays no more than others."""

_KEPT: Final = 8
"""Forms of the answer that are kept; more than there are, whatever is asked for."""

_BOUNDS: Final = Bounds(connections=32, each=12, lifetime_s=10.0)
_INDEX: Final = """<!doctype html>
<title>timesync</title>
<h1>timesync</h1>
<ul>
<li><a href="/metrics">metrics</a>, for Prometheus
<li><a href="/healthz">healthz</a>: 200 when locked or in holdover, 503 otherwise
</ul>
"""


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz``, to be read only."""

    def __init__(self, desk: Desk, now: Callable[[], float] = time.monotonic) -> None:
        """Nothing is served yet; ``now`` is in seconds, from anywhere."""
        assert desk.settings.observe.metrics is not None
        self._desk = desk
        self._now = now
        self._compat = desk.settings.observe.metrics.compat
        self._trail = TrailKeeper()
        self._arrived_s: float | None = None
        self._kept: dict[str, tuple[float, bytes]] = {}
        # Beyond loopback a scraper may know us by any name.
        local = ipaddress.ip_address(desk.settings.observe.metrics.listen.address).is_loopback
        guards = [_once, self._limited, *([_local_names] if local else [])]
        application = web.Application(client_max_size=1, middlewares=guards)
        application.on_response_prepare.append(add_headers)
        application.add_routes(
            [web.get("/", _index), web.get("/metrics", self._metrics), web.get("/healthz", self._healthz)]
        )
        self._requests = Shares(REQUEST_RATE, REQUEST_BURST, now)
        self._server = GuardedServer(application, _BOUNDS)

    async def start(self) -> None:
        """Begin to take states and to answer. Raises OSError."""
        listener = self._desk.listener("metrics")
        if listener is None:
            return
        self._desk.hub.on(stream.STATE, self._take)
        await self._server.start(listener)

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.stop()

    def _take(self, state: Message) -> None:
        self._arrived_s = self._now()
        self._kept.clear()
        self._trail.take(state)

    @web.middleware
    async def _limited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """So many requests of each address."""
        if self._requests.take(request.remote):
            return await handler(request)
        return web.Response(status=429, text="too many requests\n", headers={"Retry-After": "5"})

    def _own(self) -> Own:
        age_s = None if self._arrived_s is None else self._now() - self._arrived_s
        return Own(age_s, self._desk.hub.missed, usage())

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        made_s, body = self._kept.get(content_type, (-math.inf, b""))
        if self._now() - made_s >= _KEPT_S:
            body = encode(self._registry())
            if content_type in self._kept or len(self._kept) < _KEPT:
                self._kept[content_type] = self._now(), body
        return web.Response(body=body, headers={"Content-Type": content_type})

    def _registry(self) -> CollectorRegistry:
        hub = self._desk.hub
        registry = CollectorRegistry(auto_describe=False)
        scene = Scene(hub.hello or {}, hub.state or {}, self._trail.trail, self._own())
        registry.register(Picture(scene, self._compat))
        return registry

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        state, own = self._desk.hub.state, self._own()
        if state is None or own.age_s is None:
            return web.Response(status=503, text="the daemon has not told its state yet\n")
        if not own.fresh:
            return web.Response(status=503, text=f"the daemon has told nothing for {own.age_s:.0f} s\n")
        status = state["status"]
        code = 200 if status["state"] in _HEALTHY else 503
        return web.Response(status=code, text=f"{status['state']}: {status['reason']}\n")


async def _index(request: web.Request) -> web.Response:
    del request
    return web.Response(text=_INDEX, content_type="text/html")


@web.middleware
async def _local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On loopback nobody asks but by its name or a number; a browser that was led here does (DNS rebinding)."""
    if not is_local_name(request.headers.get("Host", "")):
        raise web.HTTPMisdirectedRequest(text="ask by localhost or by an address\n")
    return await handler(request)


@web.middleware
async def _once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One request a connection: one that is kept would only take a place from others until it is cut."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response
