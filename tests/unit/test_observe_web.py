"""The web page over HTTP: what it answers, with which headers, and what a slow reader gets."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import gzip
import json
import re
import socket
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from web_support import HELLO, Bench, bench, clock, closed, event, state

from timesync.observe import http
from timesync.observe.web import feed as feeds
from timesync.observe.web import part
from timesync.observe.web.answers import STALE_S, UnknownSeriesError


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 50))


def test_every_answer_has_the_headers_that_keep_others_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            page.say(0)
            for path, method, status in (
                ("/", "GET", 200), ("/style.css", "GET", 200), ("/api/v1/status", "GET", 200), ("/nothing", "GET", 404),
                ("/", "POST", 405), ("/api/v1/history", "GET", 400), ("/events", "HEAD", 200), ("/../etc", "GET", 404),
                ("/js/../../guard.py", "GET", 404), ("/static/index.html", "GET", 404),
                ("/vendor/SHA256SUMS", "GET", 404),
            ):  # fmt: skip
                answer = await page.get(path, method)
                assert status == answer.status, path
                policy = answer.headers["content-security-policy"]
                assert policy.startswith("default-src 'self';")
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert ("nosniff", "no-referrer", "timesync") == tuple(
                    answer.headers[name] for name in ("x-content-type-options", "referrer-policy", "server")
                )
                assert "access-control-allow-origin" not in answer.headers
            assert (await page.get("/", host="evil.example")).status == 421
            assert (await page.get("/api/v1/status", origin="https://evil.example")).status == 403

    run(story())


def test_a_configured_name_is_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path, "time.example.org") as page:
            assert (await page.get("/", host="time.example.org")).status == 200
            assert (await page.get("/", host="other.example.org")).status == 421

    run(story())


def test_files_are_compressed_and_asked_for_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            plain = await page.get("/js/main.js")
            packed = await page.get("/js/main.js", accept_encoding="br, gzip;q=0.8")
            assert "text/javascript; charset=utf-8" == plain.headers["content-type"]
            assert "content-encoding" not in plain.headers
            assert "gzip" == packed.headers["content-encoding"]
            assert plain.body == gzip.decompress(packed.body)
            assert (await page.get("/js/main.js", accept_encoding="gzip;q=0")).body == plain.body
            again = await page.get("/js/main.js", if_none_match=plain.headers["etag"])
            assert (304, b"") == (again.status, again.body)
            assert (await page.get("/js/main.js", if_none_match='"other"')).status == 200

    run(story())


def test_the_interface_gives_what_the_commands_give(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            early = await page.get("/api/v1/status")
            assert (503, "the daemon has said nothing yet") == (early.status, early.json()["error"])
            assert (503, b"the daemon has said nothing yet\n") == (
                (await page.get("/healthz")).status,
                (await page.get("/healthz")).body,
            )
            said = state(time.time_ns())
            page.hub.take(said)
            assert said["status"] == (await page.get("/api/v1/status")).json()
            assert {"schema": 1, "sources": said["sources"]} == (await page.get("/api/v1/sources")).json()
            assert {"schema": 1, "ports": []} == (await page.get("/api/v1/ports")).json()
            good = await page.get("/healthz")
            assert (200, b"locked: follows ntp1\n") == (good.status, good.body)
            now = (await page.get("/now")).body.decode()
            assert re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\nerror bound 0\.000025000 s\nTAI - UTC 37 s\n", now
            )
            page.say(0, state="acquiring", reason="two sources disagree", clocks=[])
            bad = await page.get("/healthz")
            assert (503, b"acquiring: two sources disagree\n") == (bad.status, bad.body)
            assert "error bound unknown" in (await page.get("/now")).body.decode()

    run(story())


def test_an_old_state_is_not_given_as_that_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            page.say(0)
            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + STALE_S + 1)
            answer = await page.get("/api/v1/status")
            assert (503, "the daemon has said nothing for 11 s") == (answer.status, answer.json()["error"])
            assert (await page.get("/healthz")).status == 503
            assert (await page.get("/")).status == 200

    run(story())


def test_history_comes_in_columns(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            now_s = int(time.time())
            for ago in (4, 3, 1):
                page.hub.take(state((now_s - ago) * 10**9))
            query = f"series=clock/system/offset_s&series=source/ntp1/delay_s&from={now_s - 4}&to={now_s}"
            found = (await page.get(f"/api/v1/history?{query}")).json()
            assert (1, [now_s - 4, now_s - 3, now_s - 2, now_s - 1]) == (found["step_s"], found["at_s"])
            assert {
                "clock/system/offset_s": {"mean": [1e-6, 1e-6, None, 1e-6]},
                "source/ntp1/delay_s": {"mean": [1e-4, 1e-4, None, 1e-4]},
            } == found["series"]
            coarse = (await page.get(f"/api/v1/history?{query}&points=2")).json()
            assert coarse["step_s"] == 2
            assert {"mean", "low", "high"} == set(coarse["series"]["clock/system/offset_s"])
            names = (await page.get("/api/v1/series")).json()["series"]
            assert {"clock/system/error_bound_s", "source/ntp1/offset_s"} < set(names)

    run(story())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/v1/history", "series is given once to 12 times"),
        ("/api/v1/history?" + "&".join(["series=x"] * 13), "series is given once to 12 times"),
        ("/api/v1/history?series=x&points=2001", "points is an integer from 1 to 2000"),
        ("/api/v1/history?series=x&points=", "points is an integer from 1 to 2000"),
        ("/api/v1/history?series=x&points=1&points=2", "points is given more than once"),
        ("/api/v1/history?series=x&unknown=0", "unknown is error or null"),
        ("/api/v1/history?series=x&from=99&to=98", "from is before to"),
        ("/api/v1/history?series=x&from=1e9", "from is an integer from -3162240000 to 8589934592"),
        ("/api/v1/history?series=x&to=" + "9" * 4000, None),
        ("/api/v1/stability?series=x/offset_s&kind=hdev", "kind is one of adev, mdev, tdev, mtie"),
        (
            "/api/v1/stability?series=x/delay_s",
            "only series of offsets have a stability; their names end with /offset_s",
        ),
        ("/api/v1/events?most=0", "most is an integer from 1 to 500"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_told_why(tmp_path: Path, path: str, says: str | None) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            answer = await page.get(path)
            assert answer.status == 400
            if says is not None:
                assert {"error": says} == answer.json()

    run(story())


def test_a_series_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            page.say(0)
            names = (await page.get("/api/v1/series")).json()["series"]
            for path in ("history?series=clock/system/offset_s&series=clock/sistem/offset_s", "history?series=nope"):
                answer = await page.get(f"/api/v1/{path}")
                assert (404, names) == (answer.status, answer.json()["series"])
                hint = "; did you mean clock/system/offset_s?" if "sistem" in path else ""
                assert f"there is no series {path.rpartition('=')[2]}{hint}" == answer.json()["error"]
            answer = await page.get("/api/v1/stability?series=nope/offset_s")
            assert (404, names) == (answer.status, answer.json()["series"])

            # The page asks for what has no value yet, such as a source that has not answered.
            answer = await page.get("/api/v1/history?series=nope&from=-2&unknown=null")
            assert (200, {"nope": {"mean": [None, None]}}) == (answer.status, answer.json()["series"])
            answer = await page.get("/api/v1/stability?series=nope/offset_s&unknown=null")
            assert (200, []) == (answer.status, answer.json()["points"])

    run(story())


def test_an_unknown_series_is_compared_with_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a thousand that are much alike, and a comparison takes its time."""
    compared: list[int] = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda _, names, n: compared.append(len(names)) or [])
    known = tuple(f"source/{number}/offset_s" for number in range(1000))
    error = UnknownSeriesError("source/x/offset_s", known)
    assert known == error.known
    assert [100] == compared


def test_stability_is_held_against_masks(tmp_path: Path) -> None:
    """A clock that runs 1e-6 fast: MTIE over tau is a millionth of tau, far beyond what a PRTC may have."""

    async def story() -> None:
        async with bench(tmp_path) as page:
            now_s = int(time.time())
            for ago in range(64, 0, -1):
                said = state((now_s - ago) * 10**9)
                said["sources"][0]["offset_s"] = -ago * 1e-6
                page.hub.take(said)
            query = f"series=source/ntp1/offset_s&from={now_s - 64}&to={now_s}"
            found = (await page.get(f"/api/v1/stability?{query}&kind=mtie")).json()
            assert (1.0, 64, True, False, "s") == tuple(
                found[name] for name in ("tau0_s", "values", "whole", "averaged", "unit")
            )
            assert [1, 2, 4, 8, 16, 32] == [one["tau_s"] for one in found["points"]]
            for one in found["points"]:
                assert one["value"] == pytest.approx(one["tau_s"] * 1e-6, rel=1e-3)
            masks = {one["name"]: one for one in found["masks"]}
            assert {"PRTC-A", "PRTC-B", "ePRTC", "PRC"} == set(masks)
            assert [1, 2, 4, 8, 16, 32] == masks["PRTC-A"]["broken_at_s"]
            # G.8272: 0.275e-9 tau + 25e-9 up to 273 s.
            first = masks["PRTC-A"]["curve"][0]
            assert (1.0, pytest.approx(25.275e-9)) == (first["tau_s"], first["limit_s"])
            steady = (await page.get(f"/api/v1/stability?{query}&kind=adev")).json()
            assert ("ratio", []) == (steady["unit"], steady["masks"])
            # A constant frequency is no instability.
            assert all(one["value"] < 1e-12 for one in steady["points"])

    run(story())


async def frames(reader: asyncio.StreamReader, many: int) -> list[dict[str, str]]:
    """So many events of a feed, each a chunk of HTTP or several of them in one; comments are passed over."""
    found: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while len(found) < many:
            size = int(await reader.readline(), 16)
            chunk = (await reader.readexactly(size + 2)).decode()
            for block in chunk.strip().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                if "event" in fields:
                    found.append(fields)
    return found


async def listen(page: Bench, last: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A feed, its head read."""
    reader, writer = await page.connect()
    mark = "" if last is None else f"Last-Event-ID: {last}\r\n"
    writer.write(f"GET /events HTTP/1.1\r\nHost: localhost\r\n{mark}\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert b"Content-Type: text/event-stream" in head
    return reader, writer


async def only_one(page: Bench) -> None:
    """Until the others that listened are let go: a write to them shows that they are gone."""
    for _ in range(1000):
        if page.page._feed.listeners <= 1:
            return
        page.say(0)
        await asyncio.sleep(0.02)
    raise AssertionError("somebody listens still")


def test_the_feed_greets_tells_the_state_and_events_and_resumes(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            page.hub.take(HELLO)
            page.hub.take(event("long ago"))
            page.say(0)
            reader, writer = await listen(page)
            hello, first = await frames(reader, 2)
            assert ("hello", HELLO) == (hello["event"], json.loads(hello["data"]))
            assert ("state", "locked") == (first["event"], json.loads(first["data"])["status"]["state"])
            page.hub.take(event("one"))
            (one,) = await frames(reader, 1)
            assert ("event", "one") == (one["event"], json.loads(one["data"])["text"])
            await closed(writer)
            page.hub.take(event("two"))
            page.hub.take(event("three"))
            again, writer = await listen(page, one["id"])
            told = await frames(again, 4)
            assert ["hello", "event", "event", "state"] == [frame["event"] for frame in told]
            assert ["two", "three"] == [json.loads(frame["data"])["text"] for frame in told[1:3]]
            await closed(writer)
            # Numbers of another run mean nothing here.
            other, writer = await listen(page, "0123abcd-1")
            assert ["hello", "state"] == [frame["event"] for frame in await frames(other, 2)]
            await closed(writer)

    run(story())


def test_clients_that_ask_most_are_told_and_all_can_be_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            assert (await page.get("/api/v1/clients")).status == 503
            reader, writer = await listen(page)
            rows = [{"address": f"10.0.0.{number}", "requests": number or None} for number in range(200)]
            said = {"schema": 1, "recorded": True, "known": 200, "clients": rows}
            page.hub.take({"type": "clients", "utc_ns": 5, **said})
            (told,) = await frames(reader, 1)
            assert "clients" == told["event"]
            assert list(range(199, 149, -1)) == [one["requests"] for one in json.loads(told["data"])["clients"]]
            assert said == (await page.get("/api/v1/clients")).json()
            await closed(writer)
            # Who comes later is told at once.
            later, writer = await listen(page)
            assert "clients" == (await frames(later, 1))[0]["event"]
            await closed(writer)

    run(story())


def test_a_silent_feed_has_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HEARTBEAT_S", 0.05)

    async def story() -> None:
        async with bench(tmp_path) as page:
            reader, writer = await listen(page)
            async with asyncio.timeout(10):
                await reader.readuntil(b": still here\n\n")
                await reader.readuntil(b": still here\n\n")
            await closed(writer)

    run(story())


def test_who_does_not_read_misses_states_costs_no_memory_and_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PATIENCE_S", 0.5)

    async def story() -> None:
        async with bench(tmp_path) as page:
            page.hub.take(HELLO)
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", page.port))
            deaf.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reader, writer = await listen(page)
            await frames(reader, 1)

            async def read_on() -> None:
                while "the last one" not in (await frames(reader, 1))[-1]["data"]:
                    pass

            reading = asyncio.create_task(read_on())
            # More than all buffers between the two hold.
            for number in range(40):
                page.say(0, reason=f"{number} " + "x" * 400_000)
                await asyncio.sleep(0.02)
            await only_one(page)
            page.say(0, reason="the last one")
            async with asyncio.timeout(20):
                await reading
            deaf.close()
            await closed(writer)

    run(story())


def test_so_many_may_listen_and_so_many_may_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LISTENERS", 2)
    monkeypatch.setattr(part, "CONNECTIONS", 4)

    async def story() -> None:
        async with bench(tmp_path) as page:
            first, second = await listen(page), await listen(page)
            late = await page.get("/events")
            assert (503, "10") == (late.status, late.headers["retry-after"])
            await closed(first[1])
            async with asyncio.timeout(10):
                await only_one(page)
            third = await listen(page)
            idle = [await page.connect() for _ in range(2)]
            await asyncio.sleep(0.1)
            reader, writer = await page.connect()
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await reader.read() == b""
            for _, one in (*idle, second, third):
                await closed(one)
            await closed(writer)

    run(story())


def test_one_address_cannot_take_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "CONNECTIONS_EACH", 3)
    monkeypatch.setattr(http, "is_local", lambda peer: peer == "127.0.0.1")

    async def story() -> None:
        async with bench(tmp_path) as page:
            there = [await page.connect(local_addr=("127.0.0.2", 0)) for _ in range(3)]
            await asyncio.sleep(0.1)
            reader, late = await page.connect(local_addr=("127.0.0.2", 0))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            there.append(await page.connect(local_addr=("127.0.0.3", 0)))
            there += [await page.connect() for _ in range(4)]
            for reader, writer in there:
                writer.write(b"GET /js/dom.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
            for writer in (late, *(one for _, one in there)):
                await closed(writer)

    run(story())


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local"])
def test_a_connection_that_asks_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(part, "KEEPALIVE_S", 0.3)

    async def story() -> None:
        async with bench(tmp_path) as page:
            reader, writer = await page.connect()
            writer.write(begun)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            await closed(writer)

    run(story())


def test_what_is_no_request_is_answered_and_said_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            for request in (b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /" + b"x" * 9000):
                answer = await page.raw(request)
                assert answer.status in (400, 414)
                assert {name.lower(): value for name, value in http.HEADERS.items()}.items() <= answer.headers.items()
            assert (await page.get("/", method="PROPFIND")).status == 405

    run(story())
    assert ("", "") == tuple(capfd.readouterr())


def test_events_are_kept_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with bench(tmp_path) as page:
            page.say(0)
            page.hub.take(event("before", time.time_ns()))
        async with bench(tmp_path) as page:
            page.hub.take(event("after", time.time_ns()))
            await asyncio.sleep(1.1)
            found = (await page.get("/api/v1/events?from=-60&most=10")).json()["events"]
            assert ["before", "after"] == [one["text"] for one in found]
            assert {"utc_ns", "level", "name", "source", "text"} == set(found[0])

    run(story())


def test_a_machine_that_starts_long_ago_keeps_its_history(tmp_path: Path) -> None:
    long_ago_ns = (int(time.time()) - 100 * 86_400) * 10**9

    async def story() -> None:
        async with bench(tmp_path) as page:
            page.say(3, 2, 1)
        async with bench(tmp_path) as page:
            page.hub.take(state(long_ago_ns, clocks=[clock(state="acquiring")]))
        async with bench(tmp_path) as page:
            page.say(0)
            columns = (await page.get("/api/v1/history?series=clock/system/offset_s&from=-10")).json()
            values = columns["series"]["clock/system/offset_s"]["mean"]
            assert 3 <= sum(value is not None for value in values)

    run(story())
