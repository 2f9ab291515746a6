"""The page's addresses: its files, the interface below ``/api/v1/``, the live feed, and two for machines that probe."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from timesync.observe.history.store import History
from timesync.observe.http import add_headers
from timesync.observe.hub import Message
from timesync.observe.web import answers, assets
from timesync.observe.web.feed import Feed
from timesync.observe.web.guard import Guard

KEPT_S: Final = 5.0
"""What was computed for one is given to others who ask the same so soon afterwards."""

_CACHE: Final = 64
_COMPRESS: Final = 1024
_ANSWER_S: Final = 30.0
_GUARDED: Final = ("host", "origin", "sec-fetch-site", "sec-fetch-mode")
_LOG: Final = logging.getLogger("aiohttp")
_FILES: Final = assets.load()
"""Read at import: afterwards this process may open hardly any file."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The application.

    Attributes:
        app: It, for aiohttp.
        present: The daemon's state.
    """

    def __init__(self, guard: Guard, feed: Feed, history: History, present: answers.Present) -> None:
        """Set it up; ``feed``, ``history`` and ``present`` are kept current by somebody else."""
        self._guard = guard
        self._feed = feed
        self._history = history
        self.present = present
        self._cache: dict[str, tuple[float, dict[str, Any]]] = {}
        self.app = web.Application(middlewares=[self._guarded], client_max_size=1024)
        self.app.on_response_prepare.append(add_headers)
        for path, asset in _FILES.items():
            self.app.router.add_get(path, partial(_asset, asset))
        self.app.router.add_get("/api/v1/status", self._status)
        self.app.router.add_get("/api/v1/sources", self._sources)
        self.app.router.add_get("/api/v1/ports", self._ports)
        self.app.router.add_get("/api/v1/clients", self._clients)
        self.app.router.add_get("/api/v1/series", self._series)
        self.app.router.add_get("/api/v1/history", self._past)
        self.app.router.add_get("/api/v1/stability", self._stability)
        self.app.router.add_get("/api/v1/events", self._events)
        self.app.router.add_get("/events", self._live)
        self.app.router.add_get("/healthz", self._health)
        self.app.router.add_get("/now", self._now)
        # What cannot be answered is told who asked; the library's own words would fill the log.
        _LOG.setLevel(logging.CRITICAL)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or answer; whatever goes wrong is an answer too."""
        headers = {name: request.headers.getall(name, []) for name in _GUARDED}
        refusal = self._guard.refuse(request.method, request.remote, headers)
        if refusal is not None:
            return web.Response(status=refusal.status, text=f"{refusal.text}\n", headers=refusal.headers)
        try:
            return await handler(request)
        except answers.AskedWronglyError as error:
            return _json(request, {"error": str(error)}, status=400)
        except answers.UnknownSeriesError as error:
            return _json(request, {"error": str(error), "series": list(error.known)}, status=404)
        except answers.NothingKnownError as error:
            return _json(request, {"error": str(error)}, status=503)
        except sqlite3.Error as error:
            return _json(request, {"error": f"history cannot be read: {error}"}, status=500)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.reason}\n")

    # -- the present

    def _state(self) -> Message:
        return self.present.state(time.monotonic())

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return _json(request, answers.status(self._state()))

    async def _sources(self, request: web.Request) -> web.StreamResponse:
        return _json(request, answers.sources(self._state()))

    async def _ports(self, request: web.Request) -> web.StreamResponse:
        return _json(request, answers.ports(self._state()))

    async def _clients(self, request: web.Request) -> web.StreamResponse:
        return _json(request, answers.clients(self.present.clients))

    async def _health(self, _: web.Request) -> web.StreamResponse:
        try:
            good, text = answers.health(self._state())
        except answers.NothingKnownError as error:
            good, text = False, f"{error}\n"
        return web.Response(status=200 if good else 503, text=text)

    async def _now(self, _: web.Request) -> web.StreamResponse:
        state = self._state()
        return web.Response(text=answers.now(state, time.time_ns()))

    # -- the past

    async def _series(self, request: web.Request) -> web.StreamResponse:
        return await self._looked_up(request, lambda: answers.series(self._history))

    async def _past(self, request: web.Request) -> web.StreamResponse:
        names = request.query.getall("series", [])
        if not 1 <= len(names) <= answers.SERIES_AT_ONCE:
            raise answers.AskedWronglyError(f"series is given once to {answers.SERIES_AT_ONCE} times")
        span = answers.span_of(_once(request), int(time.time()), 600)
        points = answers.whole(_once(request), "points", 600, 1, answers.POINTS)
        return await self._of_series(request, names, lambda: answers.past(self._history, names, span, points))

    async def _stability(self, request: web.Request) -> web.StreamResponse:
        asked = _once(request)
        span = answers.span_of(asked, int(time.time()), 3600)
        name, kind = asked.get("series", ""), asked.get("kind", "adev")
        return await self._of_series(request, [name], lambda: answers.stable(self._history, name, kind, span))

    async def _of_series(
        self, request: web.Request, names: list[str], look: Callable[[], dict[str, Any]]
    ) -> web.StreamResponse:
        """The answer, if there are such series; with ``unknown=null`` one that there is not has no values."""
        unknown = _once(request).get("unknown", "error")
        if unknown not in ("error", "null"):
            raise answers.AskedWronglyError("unknown is error or null")

        def of_known() -> dict[str, Any]:
            found = look()
            if unknown == "error":
                answers.must_be_known(self._history, names)
            return found

        return await self._looked_up(request, of_known)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        begin, end = answers.span_of(_once(request), int(time.time()), 7 * 86_400)
        most = answers.whole(_once(request), "most", 100, 1, answers.EVENTS)
        span_ns = begin * 10**9, end * 10**9
        return await self._looked_up(request, lambda: answers.events(self._history, span_ns, most))

    async def _looked_up(self, request: web.Request, look: Callable[[], dict[str, Any]]) -> web.StreamResponse:
        """The answer to a question about the past, which costs something; a fresh one is given again."""
        now_s = time.monotonic()
        kept = self._cache.get(request.path_qs)
        if kept is None or now_s - kept[0] > KEPT_S:
            if not self._guard.look_up(request.remote):
                return web.Response(status=429, text="too many questions\n", headers={"Retry-After": "2"})
            kept = now_s, look()
            self._cache.pop(request.path_qs, None)
            self._cache[request.path_qs] = kept
            if len(self._cache) > _CACHE:
                del self._cache[next(iter(self._cache))]
        return _json(request, kept[1])

    # -- the live feed

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if self._feed.full:
            return web.Response(status=503, text="too many listen already\n", headers={"Retry-After": "10"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        # Whatever stands between us and the browser must not wait for the end.
        response.headers["X-Accel-Buffering"] = "no"
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await self._feed.serve(response.write, request.headers.get("Last-Event-ID"))
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        return response


async def _asset(asset: assets.Asset, request: web.Request) -> web.StreamResponse:
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if any(tag.value == asset.etag.strip('"') or tag.value == "*" for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if not _packs(request):
        return web.Response(body=asset.plain, headers=headers)
    return web.Response(body=asset.packed, headers={**headers, "Content-Encoding": "gzip"})


def _packs(request: web.Request) -> bool:
    """Whether the peer takes gzip (RFC 9110, 12.5.3)."""
    for part in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, rest = part.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return rest.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _json(request: web.Request, value: dict[str, Any], status: int = 200) -> web.Response:
    body = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= _COMPRESS and _packs(request):
        body = gzip.compress(body, 3)
        headers["Content-Encoding"] = "gzip"
    return web.Response(status=status, body=body, headers=headers)


def _once(request: web.Request) -> dict[str, str]:
    """The words of a question, each given once but ``series``. Raises AskedWronglyError."""
    asked = {}
    for name in set(request.query):
        values = request.query.getall(name)
        if len(values) > 1 and not (name == "series" and request.path.endswith("/history")):
            raise answers.AskedWronglyError(f"{name} is given more than once")
        asked[name] = values[0]
    return asked
