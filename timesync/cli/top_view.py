"""What ``timesync top`` shows, as text: from the daemon's messages to lines and cells, without a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from timesync.cli.reading import COLOURS, verdict
from timesync.cli.show import UNKNOWN, ppm, signed, span, with_uncertainty

Message = Mapping[str, Any]

KEPT: Final = 600
"""Seconds of offsets that are remembered for the curve."""

STALE_S: Final = 5.0
_BARS: Final = "▁▂▃▄▅▆▇█"
_CN0_BEST: Final = 55.0

SOURCE_COLUMNS: Final = ("source", "state", "offset", "±", "delay", "jitter", "reach", "poll", "age")
CLOCK_COLUMNS: Final = ("clock", "state", "offset", "bound", "frequency", "steering", "steps", "fed by")
PORT_COLUMNS: Final = ("port", "state", "offset", "delay", "follows", "grandmaster", "stamps")

_ORDER: Final = ("selected", "candidate", "waiting", "excluded", "falseticker", "unreachable")

_KEYS: Final[Mapping[str, Callable[[Message], Any]]] = {
    "source": lambda source: source["name"],
    "state": lambda source: _ORDER.index(source["state"]),
    "offset": lambda source: _size(source["offset_s"]),
    "±": lambda source: _size(source["uncertainty_s"]),
    "delay": lambda source: _size(source["delay_s"]),
    "jitter": lambda source: _size(source["jitter_s"]),
    "reach": lambda source: -source["reach"],
    "poll": lambda source: _size(source["poll_s"]),
    "age": lambda source: _size(source["last_sample_age_s"]),
}
"""By what sources are put in order, for each column; unknown values come last."""

GLOSSARY: Final = (
    ("within", "the true time is not further away than this: the estimate's error, the sources' and their paths'"),
    ("offset", "the clock minus the true time, or minus the source's; positive is ahead"),
    ("±", "one standard deviation of the offset beside it"),
    ("selected", "the clock follows it"),
    ("candidate", "it agrees, but is not needed or not as good as others"),
    ("falseticker", "most other sources contradict it"),
    ("excluded", "it may not be used; the line below says why"),
    ("reach", "answers to the last eight requests"),
    ("jitter", "how much single measurements scatter"),
    ("frequency", "how fast the clock would run alone; positive is fast"),
    ("steering", "what is done about that, and to take an offset out"),
    ("holdover", "nothing to follow: the clock goes on by what was learnt of it, and the bound grows"),
)


def _size(value: float | None) -> tuple[bool, float]:
    return value is None, abs(value or 0.0)


def _cell(form: Callable[[float | None], str], value: float | None) -> str:
    text = form(value)
    return "-" if text == UNKNOWN else text


def _state(word: str) -> Text:
    return Text(word.lower().replace("_", " "), style=COLOURS.get(word, ""))


def sorted_sources(sources: Sequence[Message], column: str | None) -> list[Message]:
    """In the order of a column; None: as configured."""
    return list(sources) if column is None else sorted(sources, key=_KEYS[column])


def source_row(source: Message) -> list[str | Text]:
    """The cells of ``SOURCE_COLUMNS``."""
    return [
        source["name"],
        _state(source["state"]),
        _cell(signed, source["offset_s"]),
        _cell(span, source["uncertainty_s"]),
        _cell(span, source["delay_s"]),
        _cell(span, source["jitter_s"]),
        f"{source['reach']}/8",
        _cell(span, source["poll_s"]),
        _cell(span, source["last_sample_age_s"]),
    ]


def clock_row(clock: Message) -> list[str | Text]:
    """The cells of ``CLOCK_COLUMNS``."""
    known = clock["frequency_uncertainty_ppm"] is not None
    return [
        clock["name"],
        _state(clock["state"]),
        with_uncertainty(clock["offset_s"], clock["offset_uncertainty_s"]),
        span(clock["error_bound_s"]),
        ppm(clock["frequency_ppm"]) if known else UNKNOWN,
        ppm(clock["steering_ppm"]),
        str(clock["steps"]),
        ", ".join(clock["fed_by"]) or "-",
    ]


def port_row(port: Message) -> list[str | Text]:
    """The cells of ``PORT_COLUMNS``."""
    return [
        f"{port['name']}/{port['domain']}",
        _state(port["state"]),
        _cell(signed, port["offset_s"]),
        _cell(span, port["mean_delay_s"]),
        port["parent"] or "-",
        port["grandmaster"] or "-",
        port["timestamping"] or "-",
    ]


def receiver_lines(sources: Sequence[Message]) -> list[str]:
    """What satellite receivers and pulses say of themselves."""
    lines = []
    for source in sources:
        details = source["details"]
        if "fix" in details:
            used, seen = details.get("satellites_used"), details.get("satellites_seen")
            lines.append(f"{source['name']}: {details.get('receiver') or source['kind']}")
            lines.append(f"  fix {details['fix'] or 'none'}, {used or 0} of {seen or 0} satellites used")
            if details.get("latency_s") is not None:
                lines.append(f"  its messages come {span(details['latency_s'])} after the second")
            lines += [f"  {details[key]}" for key in ("trouble", "pulse_trouble") if details.get(key)]
            lines += satellite_lines(details.get("sky") or ())
        elif "pulses" in details:
            lines.append(f"{source['name']}: {details['pulses']} pulses, {details['missed']} missed")
            jitter = details.get("pulse_jitter_s")
            lines.append(f"  jitter {span(jitter)}, numbered by {details.get('numbered_by') or 'nobody'}")
    return lines or ["There is no receiver and no pulse."]


def satellite_lines(sky: Sequence[Message]) -> list[str]:
    """A bar for each satellite: how strong it is heard."""
    lines = []
    for satellite in sorted(sky, key=lambda one: -(one.get("cn0_db_hz") or 0)):
        strength = satellite.get("cn0_db_hz") or 0.0
        bar = "█" * round(20 * min(strength / _CN0_BEST, 1.0))
        used = "used" if satellite.get("used") else ""
        lines.append(f"  {satellite['gnss']} {satellite['id']:>3} {bar:<20} {strength:3.0f} dBHz {used}".rstrip())
    return lines


def event_line(event: Message) -> Text:
    """One event, with its time of day in UTC."""
    at = datetime.fromtimestamp(event["utc_ns"] // 1_000_000_000, UTC).strftime("%H:%M:%S")
    style = {"warning": "yellow", "error": "red"}.get(event["level"], "")
    printable = "".join(c if c.isprintable() else "?" for c in event["text"])
    return Text.assemble((f"{at} ", "dim"), (printable, style))


def curve(offsets: Sequence[float | None], width: int) -> str:
    """Offsets as bars around their middle, the newest on the right; a space where none is known."""
    shown = list(offsets)[-width:]
    known = [value for value in shown if value is not None]
    if not known:
        return " " * len(shown)
    low, high = min(known), max(known)
    steps = len(_BARS) - 1
    scale = steps / (high - low) if high > low else 0.0
    middle = 0 if scale else steps // 2
    return "".join(" " if value is None else _BARS[round((value - low) * scale) + middle] for value in shown)


class View:
    """All that is known, from message to message.

    Attributes:
        state: The last state of the daemon; None before the first.
        lost: Why there is no daemon now; None while there is.
        offsets: Of the served clock in seconds, one for each state; None where it was unknown, or the daemon away.
    """

    def __init__(self) -> None:
        self.state: Message | None = None
        self.lost: str | None = None
        self.offsets: deque[float | None] = deque(maxlen=KEPT)

    def take(self, message: Message) -> None:
        """A state or a loss."""
        if message["type"] == "lost":
            if self.lost is None:
                self.offsets.append(None)
            self.lost = message["text"]
        elif message["type"] == "state":
            self.state, self.lost = message, None
            self.offsets.append(self.served["offset_s"])

    @property
    def served(self) -> Message:
        """The clock whose state is the appliance's."""
        assert self.state is not None
        status = self.state["status"]
        clock: Message = next(clock for clock in status["clocks"] if clock["name"] == status["served_clock"])
        return clock

    def headline(self) -> Text:
        """The verdict, why, and the figures below it: three lines."""
        if self.state is None:
            return Text(self.lost or "asking the daemon …", style="bold yellow")
        status = self.state["status"]
        first = Text(verdict(status), style=COLOURS.get(status["state"], ""))
        if self.lost is not None:
            first = Text(f"No longer known: {self.lost}", style="bold red")
        stratum = "not synchronised" if status["stratum"] >= 16 else f"stratum {status['stratum']}"
        known = self.served["frequency_uncertainty_ppm"] is not None
        frequency = ppm(self.served["frequency_ppm"]) if known else UNKNOWN
        figures = (
            f"offset {with_uncertainty(self.served['offset_s'], self.served['offset_uncertainty_s'])}, "
            f"frequency {frequency}, {stratum} by {status['reference_id']}, running {span(status['uptime_s'])}"
        )
        reason = Text(status["reason"], overflow="ellipsis", no_wrap=True)
        return Text("\n").join([first, reason, Text(figures, style="dim", overflow="ellipsis", no_wrap=True)])

    def curve_line(self, width: int) -> Text:
        """The last offsets, and between what they lie."""
        known = [value for value in self.offsets if value is not None]
        if not known:
            return Text("")
        legend = f" {signed(min(known))} to {signed(max(known))} "
        room = max(width - len(legend), 10)
        return Text.assemble((curve(list(self.offsets), room), "cyan"), (legend, "dim"))
