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

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Static(id="headline")
        yield Static(id="curve")
        with TabbedContent():
            with TabPane("Sources", id="tab-sources"):
                yield Cells(id="sources", cursor_type="row", zebra_stripes=True)
                yield Static(id="reason")
            with TabPane("Clocks", id="tab-clocks"):
                yield Cells(id="clocks", cursor_type="row", zebra_stripes=True)
            with TabPane("PTP ports", id="tab-ports"):
                yield Cells(id="ports", cursor_type="row", zebra_stripes=True)
            with TabPane("Receiver", id="tab-receiver"), VerticalScroll():
                yield Static(id="receiver")
            with TabPane("Events", id="tab-events"):
                yield RichLog(id="events", wrap=True, max_lines=_EVENTS)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow the daemon."""
        for name, columns in (("sources", SOURCE_COLUMNS), ("clocks", CLOCK_COLUMNS), ("ports", PORT_COLUMNS)):
            table = self.query_one(f"#{name}", Cells)
            for column in columns:
                table.add_column(column, key=column)
        self.query_one("#sources").focus()
        self.run_worker(self._follow(), exclusive=True)
        self._show()

    async def _follow(self) -> None:
        try:
            async for message in follow(self._path):
                if message["type"] == EVENT:
                    self.query_one("#events", RichLog).write(event_line(message))
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
        self.query_one("#headline", Static).update(headline)
        self.query_one("#curve", Static).update(self.view.curve_line(max(self.size.width - 2, 20)))
        state = self.view.state
        if state is None:
            return
        column = None if self._order is None else SOURCE_COLUMNS[self._order]
        sources = sorted_sources(state["sources"], column)
        _fill(self.query_one("#sources", Cells), {one["name"]: source_row(one) for one in sources}, SOURCE_COLUMNS)
        clocks = state["status"]["clocks"]
        _fill(self.query_one("#clocks", Cells), {one["name"]: clock_row(one) for one in clocks}, CLOCK_COLUMNS)
        ports = {f"{one['name']}/{one['domain']}": port_row(one) for one in state["ports"]}
        _fill(self.query_one("#ports", Cells), ports, PORT_COLUMNS)
        self.query_one("#receiver", Static).update(Text("\n".join(receiver_lines(state["sources"]))))
        self._explain_source()

    def on_data_table_row_highlighted(self) -> None:
        """Another source is looked at."""
        self._explain_source()

    def _explain_source(self) -> None:
        table = self.query_one("#sources", Cells)
        name = None
        if table.row_count and table.is_valid_row_index(table.cursor_row):
            name = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        known: dict[str, Message] = {one["name"]: one for one in (self.view.state or {}).get("sources", ())}
        source = known.get(name or "")
        text = "" if source is None else f"{source['name']} ({source['kind']}): {source['state']}, {source['reason']}"
        self.query_one("#reason", Static).update(Text(text))

    def action_sort(self) -> None:
        """Put the sources in order of the next column, or back as they are configured."""
        following = 0 if self._order is None else self._order + 1
        self._order = following if following < len(SOURCE_COLUMNS) else None
        table = self.query_one("#sources", Cells)
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
