"""The terminal of ``timesync top``; what it shows is made in ``timesync.cli.top_view``."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, RichLog, Static, TabbedContent, TabPane

from timesync.cli.top_view import (
    CLOCK_COLUMNS,
    GLOSSARY,
    PORT_COLUMNS,
    SOURCE_COLUMNS,
    Message,
    View,
    clock_row,
    event_line,
    port_row,
    receiver_lines,
    sorted_sources,
    source_row,
)
from timesync.observe.control import RefusedError
from timesync.observe.stream import EVENT
from timesync.observe.watch import follow

_EVENTS: Final = 500


class Cells(DataTable[str | Text]):
    """A table of short texts."""


class Glossary(ModalScreen[None]):
    """What the words mean."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        """One line a word."""
        with VerticalScroll(id="glossary"):
            for word, meaning in GLOSSARY:
                yield Static(Text.assemble((f"{word}: ", "bold"), meaning))
            yield Footer()


class Shown:
    """The widgets that change; held by hand, because a search finds nothing while another screen is in front."""

    def __init__(self) -> None:
        self.headline = Static(id="headline")
        self.curve = Static(id="curve")
        self.sources = Cells(id="sources", cursor_type="row", zebra_stripes=True)
        self.reason = Static(id="reason")
        self.clocks = Cells(id="clocks", cursor_type="row", zebra_stripes=True)
        self.ports = Cells(id="ports", cursor_type="row", zebra_stripes=True)
        self.receiver = Static(id="receiver")
        self.events = RichLog(id="events", wrap=True, max_lines=_EVENTS)


class TopApp(App[str]):
    """The application; it returns why it had to end, or nothing."""

    TITLE = "timesync top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #headline { height: 3; padding: 0 1; }
    #curve { height: 1; padding: 0 1; }
    #reason { height: 2; padding: 0 1; color: $text-muted; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    #glossary { margin: 1 4; padding: 1 2; border: round $primary; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("s", "sort", "Sort"),
        Binding("p", "pause", "Pause"),
        Binding("l", "light", "Light/dark"),
        Binding("question_mark", "explain", "Explain", key_display="?"),
    ]

    def __init__(self, path: str) -> None:
        """``path``: the daemon's control socket."""
        super().__init__()
        self.view = View()
        self._path = path
        self._paused = False
        self._order: int | None = None
        self._shown = Shown()

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        shown = self._shown
        yield shown.headline
        yield shown.curve
        with TabbedContent():
            with TabPane("Sources", id="tab-sources"):
                yield shown.sources
                yield shown.reason
            with TabPane("Clocks", id="tab-clocks"):
                yield shown.clocks
            with TabPane("PTP ports", id="tab-ports"):
                yield shown.ports
            with TabPane("Receiver", id="tab-receiver"), VerticalScroll():
                yield shown.receiver
            with TabPane("Events", id="tab-events"):
                yield shown.events
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow the daemon."""
        shown = self._shown
        for table, columns in (
            (shown.sources, SOURCE_COLUMNS),
            (shown.clocks, CLOCK_COLUMNS),
            (shown.ports, PORT_COLUMNS),
        ):
            for column in columns:
                table.add_column(column, key=column)
        shown.sources.focus()
        self.run_worker(self._follow(), exclusive=True)
        self._show()

    async def _follow(self) -> None:
        try:
            async for message in follow(self._path):
                if message["type"] == EVENT:
                    self._shown.events.write(event_line(message))
                    continue
                self.view.take(message)
                if not self._paused:
                    self._show()
        except RefusedError as error:
            self.exit(str(error))

    def _show(self) -> None:
        headline = self.view.headline()
        if self._paused:
            headline = Text.assemble(("paused  ", "bold reverse"), headline)
        self._shown.headline.update(headline)
        self._shown.curve.update(self.view.curve_line(max(self.size.width - 2, 20)))
        state = self.view.state
        if state is None:
            return
        column = None if self._order is None else SOURCE_COLUMNS[self._order]
        sources = sorted_sources(state["sources"], column)
        _fill(self._shown.sources, {one["name"]: source_row(one) for one in sources}, SOURCE_COLUMNS)
        clocks = state["status"]["clocks"]
        _fill(self._shown.clocks, {one["name"]: clock_row(one) for one in clocks}, CLOCK_COLUMNS)
        ports = {f"{one['name']}/{one['domain']}": port_row(one) for one in state["ports"]}
        _fill(self._shown.ports, ports, PORT_COLUMNS)
        self._shown.receiver.update(Text("\n".join(receiver_lines(state["sources"]))))
        self._explain_source()

    def on_data_table_row_highlighted(self) -> None:
        """Another source is looked at."""
        self._explain_source()

    def _explain_source(self) -> None:
        table = self._shown.sources
        name = None
        if table.row_count and table.is_valid_row_index(table.cursor_row):
            name = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        known: dict[str, Message] = {one["name"]: one for one in (self.view.state or {}).get("sources", ())}
        source = known.get(name or "")
        text = "" if source is None else f"{source['name']} ({source['kind']}): {source['state']}, {source['reason']}"
        self._shown.reason.update(Text(text))

    def action_sort(self) -> None:
        """Put the sources in order of the next column, or back as they are configured."""
        following = 0 if self._order is None else self._order + 1
        self._order = following if following < len(SOURCE_COLUMNS) else None
        table = self._shown.sources
        for number, column in enumerate(SOURCE_COLUMNS):
            mark = " ▼" if number == self._order else ""
            table.columns[next(key for key in table.columns if key.value == column)].label = Text(f"{column}{mark}")
        table.clear()
        self._show()

    def action_pause(self) -> None:
        """Keep what is shown, or go on."""
        self._paused = not self._paused
        self._show()

    def action_light(self) -> None:
        """Change between light and dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def action_explain(self) -> None:
        """Show what the words mean."""
        self.push_screen(Glossary())


def _fill(table: Cells, rows: dict[str, list[str | Text]], columns: tuple[str, ...]) -> None:
    """Bring a table up to date; only cells that changed are drawn again, and the cursor stays where it is."""
    if [key.value for key in table.rows] != list(rows):
        row = table.cursor_row
        table.clear()
        for name, cells in rows.items():
            table.add_row(*cells, key=name)
        if rows:
            table.move_cursor(row=min(row, len(rows) - 1))
        return
    for name, cells in rows.items():
        for column, value in zip(columns, cells, strict=True):
            if table.get_cell(name, column) != value:
                table.update_cell(name, column, value, update_width=True)
