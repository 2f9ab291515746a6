"""``timesync top``: its text, its screen, and a daemon that goes and comes back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cli_support import PATIENCE_S, configuration, running, server, status
from click.testing import CliRunner
from rich.text import Text
from textual.widgets import DataTable, RichLog, Static, TabbedContent

from timesync.base.machine import Noted
from timesync.cli import top_view
from timesync.cli.main import cli
from timesync.cli.top_app import TopApp
from timesync.cli.top_view import View
from timesync.observe import stream
from timesync.observe.control import ControlServer
from timesync.observe.watch import LOST, follow, watch


def source(name: str, **fields: Any) -> dict[str, Any]:
    made = {
        "name": name, "kind": "ntp", "state": "selected", "reason": "agrees with 2 others", "offset_s": 1e-6,
        "uncertainty_s": 2e-7, "delay_s": 3e-3, "jitter_s": 1e-5, "reach": 8, "poll_s": 16.0, "last_sample_age_s": 3.0,
        "details": {},
    }  # fmt: skip
    return {**made, **fields}


def state(number: int = 0) -> dict[str, Any]:
    clock = {
        "name": "system", "state": "locked", "offset_s": (number - 2) * 1e-6, "offset_uncertainty_s": 1e-7,
        "error_bound_s": 4.5e-6, "frequency_ppm": -12.5, "frequency_uncertainty_ppm": 0.01, "steering_ppm": 12.5,
        "steps": 1, "fed_by": ["ntp1"],
    }  # fmt: skip
    said = {
        "state": "locked", "reason": "follows ntp1 and 2 others", "served_clock": "system", "stratum": 2,
        "reference_id": "192.0.2.1", "error_bound_s": 4.5e-6, "uptime_s": 7300.0, "clocks": [clock],
    }  # fmt: skip
    port = {
        "name": "eth0", "domain": 24, "state": "TIME_RECEIVER", "offset_s": 5e-9, "mean_delay_s": 3e-7,
        "parent": "aabbcc.fffe.ddeeff-1", "grandmaster": "aabbcc.fffe.ddeeff", "timestamping": "hardware",
    }  # fmt: skip
    sources = [
        source("ntp1"),
        source("ntp2", offset_s=None, state="unreachable", reason="never answered", reach=0, delay_s=None),
        source("ntp3", offset_s=-5e-3, state="falseticker", reason="3 others contradict it by 5 ms"),
    ]
    return {
        "type": "state", "utc_ns": number * 1_000_000_000, "status": said, "sources": sources, "ports": [port],
    }  # fmt: skip


class Told:
    """A control socket whose watchers hear what the test says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: list[asyncio.StreamWriter] = []
        self._server = ControlServer(str(path), {}, {"watch": self._watch})

    def _watch(self, request: Any, writer: asyncio.StreamWriter) -> Callable[[], None]:
        self._writers.append(writer)
        writer.write(stream.encode(stream.hello("1", "host", 1)))
        return lambda: self._writers.remove(writer)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    def say(self, message: dict[str, Any]) -> None:
        for writer in self._writers:
            writer.write(stream.encode(message))

    @property
    def watched(self) -> bool:
        return bool(self._writers)


async def until(look: Callable[[], object], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not look():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.01)


def shown(app: TopApp, name: str) -> str:
    content = app.query_one(name, Static).render()
    return str(content)


def screen(
    tmp_path: Path, story: Callable[[TopApp, Told, Any], Awaitable[None]], size: tuple[int, int] = (80, 24)
) -> None:
    async def main() -> None:
        told = Told(tmp_path / "c.sock")
        await told.start()
        app = TopApp(str(told.path))
        try:
            async with app.run_test(size=size) as pilot:
                await until(lambda: told.watched, "a watcher")
                await story(app, told, pilot)
        finally:
            await told.stop()

    asyncio.run(main())


def test_it_shows_the_verdict_the_sources_and_why_one_is_not_used(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        told.say(state())
        await until(lambda: "Within 4.50 µs" in shown(app, "#headline"), "the verdict")
        assert "follows ntp1 and 2 others" in shown(app, "#headline")
        table = app.query_one("#sources", DataTable)
        assert 3 == table.row_count
        assert ["ntp1", "ntp2", "ntp3"] == [table.get_row_at(row)[0] for row in range(3)]
        assert "-" == table.get_row_at(1)[2]
        await pilot.press("down", "down")
        await until(lambda: "3 others contradict it" in shown(app, "#reason"), "the reason")
        # A new state leaves the cursor where it is.
        told.say(state(1))
        await until(lambda: len(app.view.offsets) == 2, "another state")
        assert 2 == table.cursor_row
        clocks, ports = app.query_one("#clocks", DataTable), app.query_one("#ports", DataTable)
        assert "-12.5000 ppm" == clocks.get_row_at(0)[4]
        assert ["eth0/24", "time receiver"] == [str(cell) for cell in ports.get_row_at(0)[:2]]

    screen(tmp_path, story)


def test_sources_are_sorted_by_one_column_after_the_other(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        told.say(state())
        table = app.query_one("#sources", DataTable)
        await until(lambda: table.row_count == 3, "sources")
        orders = []
        for _ in range(3):
            await pilot.press("s")
            orders.append([table.get_row_at(row)[0] for row in range(3)])
        assert [["ntp1", "ntp2", "ntp3"], ["ntp1", "ntp3", "ntp2"], ["ntp1", "ntp3", "ntp2"]] == orders
        assert "offset ▼" in [str(column.label) for column in table.columns.values()]

    screen(tmp_path, story)


def test_a_pause_keeps_what_is_shown(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        told.say(state())
        await until(lambda: "Within" in shown(app, "#headline"), "the verdict")
        await pilot.press("p")
        changed = state(1)
        changed["status"]["reason"] = "something else"
        told.say(changed)
        await until(lambda: len(app.view.offsets) == 2, "another state")
        assert "paused" in shown(app, "#headline")
        assert "something else" not in shown(app, "#headline")
        await pilot.press("p")
        assert "something else" in shown(app, "#headline")

    screen(tmp_path, story)


def test_events_are_listed_and_words_explained(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        told.say(stream.event(Noted("warning", "step", "clock system was stepped\x1b[2J"), 3_723_000_000_000))
        app.query_one(TabbedContent).active = "tab-events"
        log = app.query_one("#events", RichLog)
        await until(lambda: log.lines, "an event")
        assert "01:02:03 clock system was stepped?[2J" == log.lines[0].text.rstrip()
        await pilot.press("question_mark")
        await pilot.pause()
        assert "falseticker" in " ".join(str(one.render()) for one in app.screen.query(Static))
        # What comes meanwhile is shown behind it.
        told.say(state())
        await until(lambda: app.view.state is not None, "a state")
        await pilot.pause()
        await pilot.press("escape")
        assert "Within 4.50 µs" in shown(app, "#headline")

    screen(tmp_path, story)


def test_it_says_that_the_daemon_has_gone_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        told.say(state())
        await until(lambda: "Within" in shown(app, "#headline"), "the verdict")
        await told.stop()
        await until(lambda: "No longer known" in shown(app, "#headline"), "the loss")
        await told.start()
        await until(lambda: told.watched, "a watcher")
        told.say(state(5))
        await until(lambda: "Within" in shown(app, "#headline"), "the verdict")
        assert None in app.view.offsets

    screen(tmp_path, story)


def test_it_goes_on_where_it_had_to_give_way(tmp_path: Path) -> None:
    said = [b'{"busy": "this had to give way to another connection; try again"}\n', stream.encode(state())]

    def watch(request: Any, writer: asyncio.StreamWriter) -> Callable[[], None]:
        writer.write(stream.encode(stream.hello("1", "host", 1)) + said.pop(0))
        return lambda: None

    async def main() -> None:
        control = ControlServer(str(tmp_path / "c.sock"), {}, {"watch": watch})
        await control.start()
        heard = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for message in follow(str(tmp_path / "c.sock")):
                    heard.append(message.get("text") if message["type"] == LOST else message["type"])
                    if message["type"] == stream.STATE:
                        break
        finally:
            await control.stop()
        why = "this had to give way to another connection; try again"
        assert [stream.HELLO, why, stream.HELLO, stream.STATE] == heard

    asyncio.run(main())


def test_q_ends_it(tmp_path: Path) -> None:
    async def story(app: TopApp, told: Told, pilot: Any) -> None:
        await pilot.press("q")
        await until(lambda: not app.is_running, "the end")

    screen(tmp_path, story)


def test_a_real_daemon_is_watched(tmp_path: Path) -> None:
    async def main() -> None:
        app = TopApp(str(tmp_path / "c.sock"))
        async with app.run_test(size=(120, 40)):
            await until(lambda: app.view.state is not None, "a state")
            assert 1 == app.query_one("#sources", DataTable).row_count

    with server(tmp_path) as where:
        file = configuration(tmp_path, where)
        with running(tmp_path, "run", "-c", str(file)):
            status(tmp_path / "c.sock")
            asyncio.run(main())


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.delitem(sys.modules, "timesync.cli.top_app")
    for name in [name for name in sys.modules if name.startswith("textual.")]:
        monkeypatch.setitem(sys.modules, name, None)
    found = CliRunner().invoke(cli, ["top"])
    assert (2, "timesync: this needs the package textual: pip install 'timesync[top]'\n") == (
        found.exit_code,
        found.stderr,
    )


def test_a_refusal_ends_the_watch(tmp_path: Path) -> None:
    def refuse(request: Any, writer: Any) -> Callable[[], None]:
        from timesync.observe.control import ControlError

        raise ControlError("not today")

    async def main() -> None:
        control = ControlServer(str(tmp_path / "c.sock"), {}, {"watch": refuse})
        await control.start()
        with pytest.raises(Exception, match="not today"):
            async for _ in follow(str(tmp_path / "c.sock")):
                pass
        await control.stop()
        with pytest.raises(Exception, match="nobody answers"):
            async for _ in watch(str(tmp_path / "c.sock")):
                pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("offsets", "width", "expected"),
    [
        ([], 5, ""),
        ([None, None], 5, "  "),
        ([1.0], 5, "▄"),
        ([0.0, None, 7.0, 3.0], 5, "▁ █▄"),
        ([9.0, 0.0, 1.0], 2, "▁█"),
    ],
)
def test_the_curve(offsets: list[float | None], width: int, expected: str) -> None:
    assert expected == top_view.curve(offsets, width)


def test_receivers_and_pulses_are_told() -> None:
    sky = [
        {"gnss": "GPS", "id": 7, "cn0_db_hz": 44.0, "used": True},
        {"gnss": "Galileo", "id": 12, "cn0_db_hz": None, "used": False},
    ]
    details = {"fix": "3D", "satellites_used": 9, "satellites_seen": 12, "receiver": "NMEA", "trouble": None}
    gps = source("gps", details={**details, "latency_s": 0.15, "sky": sky})
    pps = source("pps", details={"pulses": 17, "missed": 1, "pulse_jitter_s": 1e-6, "numbered_by": "gps"})
    lines = top_view.receiver_lines([source("ntp1"), gps, pps])
    assert "  fix 3D, 9 of 12 satellites used" in lines
    assert any("GPS   7 ████████████████" in line and line.endswith("44 dBHz used") for line in lines)
    assert "pps: 17 pulses, 1 missed" in lines
    assert ["There is no receiver and no pulse."] == top_view.receiver_lines([source("ntp1")])


def test_what_was_never_known_is_said_so() -> None:
    view = View()
    assert "asking" in view.headline().plain
    view.take({"type": "lost", "text": "nobody answers"})
    assert "nobody answers" in view.headline().plain
    assert Text("") == view.curve_line(40)
