"""What is served over HTTP: formats, health, limits, and a real daemon."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import pytest
from aiohttp import web
from cli_support import configuration, eventually, running, server, status
from metrics_support import HELLO, scene
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from snapshot_support import holding, snapshot

from timesync.base.ids import Endpoint
from timesync.config.observe import Metrics, Observe
from timesync.observe.http import REQUEST_BURST, Bounds, GuardedServer
from timesync.observe.hub import Hub
from timesync.observe.metrics.part import MetricsServer
from timesync.observe.parts import Desk, Settings

OPEN = "application/openmetrics-text; version=1.0.0"
Client = aiohttp.ClientSession


class Bench:
    """The part, its hub and its clock."""

    def __init__(self, compat: tuple[str, ...]) -> None:
        observe = Observe(metrics=Metrics.model_validate({"listen": "127.0.0.1:0", "compat": compat}))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.url = "http://{}:{}".format(*self.listener.getsockname())
        self.now_s = 1000.0
        self.hub = Hub()
        settings = Settings(observe, None, {"metrics": self.listener.detach()}, {})
        ours, self.theirs = socket.socketpair()
        self.ours = ours
        self.settings = settings
        self.part: MetricsServer | None = None

    async def start(self) -> None:
        _, writer = await asyncio.open_connection(sock=self.ours)
        self.part = MetricsServer(Desk(self.settings, self.hub, writer), lambda: self.now_s)
        await self.part.start()

    def tell(self, **changes: Any) -> None:
        """The daemon says hello, and its state."""
        self.hub.take(HELLO)
        self.hub.take({**scene().state, **changes})

    async def stop(self) -> None:
        assert self.part is not None
        await self.part.stop()
        self.theirs.close()
        self.ours.close()


@asynccontextmanager
async def serving(*compat: str) -> AsyncIterator[tuple[Bench, Client]]:
    bench = Bench(compat)
    await bench.start()
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession(bench.url) as client:
            yield bench, client
    finally:
        await bench.stop()


def run(story: Callable[[Bench, Client], Awaitable[None]], *compat: str) -> None:
    async def main() -> None:
        async with serving(*compat) as (bench, client):
            await story(bench, client)

    asyncio.run(main())


async def asked(client: Client, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    async with client.get(path, headers={"Accept": accept}) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and values of the labels, in the order of their names."""
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in plain_text(text)
        for sample in family.samples
    }


def test_both_formats_say_the_same_and_the_official_parsers_take_them() -> None:
    async def story(bench: Bench, client: Client) -> None:
        bench.tell()
        code, kind, text = await asked(client, "/metrics")
        assert (200, "text/plain; version=0.0.4; charset=utf-8") == (code, kind)
        found = values(text)
        assert 35e-6 == found["timesync_error_bound_seconds", ()]
        code, kind, opened = await asked(client, "/metrics", OPEN)
        assert 200 == code
        assert kind.startswith(OPEN)
        assert opened.endswith("# EOF\n")
        again = {
            (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in open_metrics(opened)
            for sample in family.samples
        }
        changing = {"timesync_observer_cpu_seconds_total", "timesync_observer_resident_memory_bytes"}
        same = {key: value for key, value in again.items() if key[0] not in changing}
        assert same == {key: value for key, value in found.items() if key[0] not in changing}
        assert "# UNIT timesync_error_bound_seconds seconds\n" in opened

    run(story, "chrony", "ntpd-rs", "ptp")


@pytest.mark.parametrize("accept", [f"{OPEN[:-5]}nonsense", "text/plain; version=x.y", ";;;,,", "application/json"])
def test_who_accepts_something_odd_gets_text(accept: str) -> None:
    async def story(bench: Bench, client: Client) -> None:
        bench.tell()
        code, kind, text = await asked(client, "/metrics", accept)
        assert 200 == code
        assert kind.startswith("text/plain")
        assert ("timesync_up", ()) in values(text)

    run(story)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:9975", 200), ("LOCALHOST", 200), ("127.0.0.1:9975", 200), ("[::1]:9975", 200),
        ("evil.example:9975", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("localhost.evil.example", 421),
    ],
)  # fmt: skip
def test_on_loopback_only_its_own_names_are_answered(host: str, code: int) -> None:
    async def story(bench: Bench, client: Client) -> None:
        bench.tell()
        for path in ("/metrics", "/healthz", "/"):
            async with client.get(path, headers={"Host": host}) as answer:
                assert code == answer.status

    run(story)


def test_scrapes_between_two_states_share_one_answer() -> None:
    async def story(bench: Bench, client: Client) -> None:
        made = 0
        assert bench.part is not None
        usual = bench.part._registry

        def counted() -> Any:
            nonlocal made
            made += 1
            return usual()

        bench.part._registry = counted  # type: ignore[method-assign]
        bench.tell()
        first = await asked(client, "/metrics")
        bench.now_s += 0.9
        assert first == await asked(client, "/metrics")
        assert 1 == made
        await asked(client, "/metrics", OPEN)
        assert 2 == made
        bench.tell()
        assert "timesync_up 1.0" in (await asked(client, "/metrics"))[2]
        assert 3 == made
        # A daemon that says nothing more grows silent all the same.
        bench.now_s += 60
        assert "timesync_up 0.0" in (await asked(client, "/metrics"))[2]

    run(story)


@pytest.mark.parametrize(
    ("compat", "given"),
    [(("chrony",), {"chrony"}), (("ntpd-rs",), {"ntp"}), (("ptp",), {"statime", "openshift"}), ((), set())],
)
def test_other_names_are_there_only_when_they_are_wanted(compat: tuple[str, ...], given: set[str]) -> None:
    async def story(bench: Bench, client: Client) -> None:
        bench.tell()
        _, _, text = await asked(client, "/metrics")
        assert given | {"timesync"} == {name.partition("_")[0] for name, _ in values(text)}

    run(story, *compat)


ODD = 'weird "quoted" \\back\\\nnew\r\n\t\x00\u2028line ☃ {a="b"} # EOF'


@pytest.mark.parametrize("name", [ODD, "\ud800half", "", "a" * 5000])
def test_odd_names_are_labels_like_others(name: str) -> None:
    shown = name.encode("utf-8", "replace").decode()

    async def story(bench: Bench, client: Client) -> None:
        bench.hub.take(HELLO)
        bench.hub.take(scene(snapshot(name=name)).state)
        _, _, text = await asked(client, "/metrics")
        assert 3e-6 == values(text)["timesync_source_offset_seconds", ("ntp", shown)]
        _, _, opened = await asked(client, "/metrics", OPEN)
        assert shown in {sample.labels.get("source") for family in open_metrics(opened) for sample in family.samples}

    run(story, "chrony", "ntpd-rs", "ptp")


def test_two_objects_with_the_same_labels_do_not_spoil_all() -> None:
    async def story(bench: Bench, client: Client) -> None:
        state = scene().state
        bench.tell(sources=[*state["sources"], {**state["sources"][0], "offset_s": 99.0}])
        _, _, text = await asked(client, "/metrics")
        lines = [line for line in text.splitlines() if line.startswith('timesync_source_offset_seconds{kind="ntp"')]
        assert ['timesync_source_offset_seconds{kind="ntp",source="ntp.example"} 3e-06'] == lines

    run(story)


def test_a_daemon_that_has_fallen_silent_shows_and_its_last_words_do_not() -> None:
    async def story(bench: Bench, client: Client) -> None:
        _, _, text = await asked(client, "/metrics")
        assert 0 == values(text)["timesync_up", ()]
        assert (503, "the daemon has not told its state yet\n") == (await asked(client, "/healthz"))[::2]
        bench.tell(missed=3)
        bench.now_s += 10
        _, _, text = await asked(client, "/metrics")
        found = values(text)
        assert (1, 10, 3, 1) == tuple(
            found[f"{name}", ()]
            for name in ("timesync_up", "timesync_state_age_seconds", "timesync_observer_missed_messages_total",
                         "chrony_up")
        )  # fmt: skip
        bench.now_s += 1
        _, _, text = await asked(client, "/metrics")
        found = values(text)
        assert (0, 11, 0) == tuple(
            found[name, ()] for name in ("timesync_up", "timesync_state_age_seconds", "chrony_up")
        )
        assert not any(name == "timesync_state" for name, _ in found)
        assert (503, "the daemon has told nothing for 11 s\n") == (await asked(client, "/healthz"))[::2]

    run(story, "chrony")


@pytest.mark.parametrize(
    ("state", "code"), [("locked", 200), ("holdover", 200), ("acquiring", 503), ("freerun", 503), ("fault", 503)]
)
def test_health_is_being_locked_or_in_holdover(state: str, code: int) -> None:
    async def story(bench: Bench, client: Client) -> None:
        bench.tell(status={**scene(holding(snapshot())).status, "state": state, "reason": "so it is"})
        assert (code, f"{state}: so it is\n") == (await asked(client, "/healthz"))[::2]
        async with client.head("/healthz") as answer:
            assert (code, b"") == (answer.status, await answer.read())

    run(story)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_reading_is_possible(method: str) -> None:
    async def story(bench: Bench, client: Client) -> None:
        for path in ("/", "/metrics", "/healthz"):
            async with client.request(method, path, data=b"x" * 100) as answer:
                assert 405 == answer.status
        async with client.get("/other") as answer:
            assert 404 == answer.status
        async with client.get("/") as answer:
            assert ("text/html", "close") == (answer.content_type, answer.headers["Connection"])
            assert 'href="/metrics"' in await answer.text()

    run(story)


def test_who_asks_too_often_waits() -> None:
    async def story(bench: Bench, client: Client) -> None:
        async def status_of(path: str) -> int:
            async with client.get(path) as answer:
                assert "timesync" == answer.headers["Server"]
                assert "nosniff" == answer.headers["X-Content-Type-Options"]
                return answer.status

        found = [await status_of("/") for _ in range(int(REQUEST_BURST) + 1)]
        assert [200] * int(REQUEST_BURST) + [429] == found
        assert 429 == await status_of("/metrics")
        bench.now_s += 1.0
        assert 404 == await status_of("/other")

    run(story)


def test_who_says_nothing_is_cut_and_there_is_a_bound_on_connections() -> None:
    async def main() -> None:
        async def hello(request: web.Request) -> web.Response:
            del request
            return web.Response(text="hello")

        application = web.Application()
        application.add_routes([web.get("/", hello)])
        guarded = GuardedServer(application, Bounds(connections=2, lifetime_s=0.5))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        host, port = listener.getsockname()
        await guarded.start(listener)
        async with asyncio.timeout(20):
            silent = [await asyncio.open_connection(host, port) for _ in range(2)]
            for _, writer in silent:
                writer.write(b"GET / HT")
            # The third is refused while the others may still say something, and they are cut.
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert b"" == await _all(reader)
            writer.close()
            for reader, writer in silent:
                assert b"" == await _all(reader)
                writer.close()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await _all(reader)).endswith(b"hello")
            writer.close()
        await guarded.stop()

    asyncio.run(main())


async def _all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, however it ends."""
    try:
        return await reader.read(-1)
    except ConnectionResetError:
        return b""


def free_port() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Endpoint("127.0.0.1", taken.getsockname()[1])


def test_a_real_daemon_is_scraped(tmp_path: Path) -> None:
    port = free_port().port
    rest = (
        "observe: {control: c.sock, state: state, metrics: "
        f"{{listen: '127.0.0.1:{port}', compat: [chrony, ntpd-rs, ptp]}}}}\n"
    )
    url = f"http://127.0.0.1:{port}"

    def scraped() -> dict[tuple[str, tuple[str, ...]], float] | None:
        try:
            with urlopen(f"{url}/metrics", timeout=5) as answer:
                found = values(answer.read().decode())
        except OSError:
            return None
        return found if found.get(("timesync_state", ("locked",))) == 1 else None

    with server(tmp_path) as where:
        file = configuration(tmp_path, where, rest=rest)
        with running(tmp_path, "run", "-c", str(file)):
            found = eventually(scraped, "a locked state in the metrics")
            now = status(tmp_path / "c.sock", state="locked")
            with urlopen(f"{url}/healthz", timeout=5) as answer:
                assert answer.read().startswith(b"locked: ")
    # A clock in software that is 5 ppm fast, and was 1 ms ahead.
    frequency, deviation = (
        found[f"timesync_clock_frequency_{name}ratio", ("bench", "virtual")] for name in ("", "uncertainty_")
    )
    assert abs(frequency - 5e-6) < 6 * deviation < 1e-3
    assert 0 < found["timesync_error_bound_seconds", ()] < 0.1
    assert abs(found["timesync_clock_offset_seconds", ("bench", "virtual")]) < found["timesync_error_bound_seconds", ()]
    assert now["stratum"] == found["timesync_stratum", ()] == found["chrony_tracking_stratum", ()]
    assert found["timesync_leap_table_remaining_seconds", ()] == pytest.approx(now["leap_table_left_s"], abs=60)
    assert found["timesync_daemon_cpu_seconds_total", ()] > 0.1
    assert found["timesync_daemon_resident_memory_bytes", ()] > 10_000_000
    assert found["timesync_observer_resident_memory_bytes", ()] > 10_000_000
    assert found["timesync_state_age_seconds", ()] < 10
    assert found["timesync_source_answers_total", ("ntp", where)] >= 3
    assert (found["ntp_source_poll_interval_seconds", (where, "0", where)]) == 0.0625


def test_a_real_daemon_without_time_is_unhealthy(tmp_path: Path) -> None:
    port = free_port().port
    rest = f"observe: {{control: c.sock, state: state, metrics: '127.0.0.1:{port}'}}\n"

    def said() -> str | None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                raise AssertionError("healthy without any source")
        except HTTPError as error:
            text = error.read().decode()
            return text if error.code == 503 and text.startswith("acquiring: ") else None
        except OSError:
            return None

    with running(tmp_path, "run", "-c", str(configuration(tmp_path, rest=rest))):
        assert eventually(said, "a verdict")
