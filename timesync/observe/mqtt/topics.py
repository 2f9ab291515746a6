"""What is published, as JSON, and where.

Below ``TOPIC/NAME``: ``availability``, ``online`` or ``offline``, the last will of the connection; ``state``, the
object of ``timesync status --json`` with who speaks, when, and a summary for those who want one number of each kind;
``sources`` and ``ports``, the lists of the commands of these names; ``event``, things as they happen. All are retained
but events, so that a subscriber has the picture at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from timesync.observe.hub import Message
from timesync.observe.snapshot import SCHEMA

AVAILABILITY: Final = "availability"
STATE: Final = "state"
SOURCES: Final = "sources"
PORTS: Final = "ports"
EVENT: Final = "event"
ONLINE: Final = "online"
OFFLINE: Final = "offline"

_NOT_IN_A_LEVEL = re.compile(r"[\x00-\x1f\x7f+#/$]")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?( [a-zµ]+)?")
_QUIET: Final = frozenset({"debug"})


def level(name: str) -> str:
    """A name as one level of a topic: what has a meaning there is a hyphen."""
    return _NOT_IN_A_LEVEL.sub("-", name) or "timesync"


@dataclass(frozen=True, slots=True)
class Publication:
    """One message for the broker.

    Attributes:
        topic: Whole.
        payload: As sent.
        retain: The broker keeps it for those who come later.
    """

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class Topics:
    """Where an appliance publishes, and as whom.

    Attributes:
        root: The first part of all topics.
        name: The appliance's name, one level.
        interval_s: How often it publishes at least, in seconds.
    """

    root: str
    name: str
    interval_s: float

    def of(self, what: str) -> str:
        """The topic of one kind of message."""
        return f"{self.root}/{self.name}/{what}"

    def availability(self, word: str) -> Publication:
        """Whether there is anybody."""
        return Publication(self.of(AVAILABILITY), word.encode(), retain=True)

    def picture(self, hello: Message | None, state: Message, summary: Mapping[str, Any]) -> Iterator[Publication]:
        """The appliance at one moment: state, sources and ports.

        Args:
            hello: Who the daemon is.
            state: Its state.
            summary: Of ``Summarizer``.
        """
        who = {"schema": SCHEMA, "name": self.name, "utc_ns": state["utc_ns"]}
        daemon = {key: None if hello is None else hello[key] for key in ("host", "version")}
        status = {**who, **daemon, "interval_s": self.interval_s, **state["status"], "summary": summary}
        yield Publication(self.of(STATE), _json(status), retain=True)
        for kind in (SOURCES, PORTS):
            yield Publication(self.of(kind), _json({**who, kind: state[kind]}), retain=True)

    def event(self, event: Message) -> Publication | None:
        """Something that happened; None for what only a developer wants to know."""
        if event["level"] in _QUIET:
            return None
        fields = {key: event[key] for key in ("utc_ns", "level", "name", "source", "text")}
        return Publication(self.of(EVENT), _json({"schema": SCHEMA, "appliance": self.name, **fields}), retain=False)


def outline(state: Message) -> tuple[object, ...]:
    """What subscribers are told of at once when it changes; the numbers within a reason are no change."""
    status = state["status"]
    return (
        status["state"],
        _NUMBER.sub("#", status["reason"]),
        status["leap"],
        tuple(source["name"] for source in state["sources"] if source["state"] == "selected"),
        tuple((port["name"], port["domain"], port["state"]) for port in state["ports"]),
    )


class Summarizer:
    """Picks out of states one number or word of each kind; remembers the last one for what is counted."""

    def __init__(self) -> None:
        self._answered: tuple[int, int] | None = None

    def summary(self, state: Message) -> dict[str, Any]:
        """The numbers of a state; None for what is not known, or not there. Called for each state that is published."""
        status: Mapping[str, Any] = state["status"]
        served: Mapping[str, Any] = next(
            (clock for clock in status["clocks"] if clock["name"] == status["served_clock"]), {}
        )
        used = [source["name"] for source in state["sources"] if source["state"] == "selected"]
        return {
            "locked": status["state"] == "locked",
            "offset_s": served.get("offset_s"),
            "error_bound_s": status["error_bound_s"],
            "frequency_ppm": served.get("frequency_ppm"),
            "source": ", ".join(used) or None,
            "sources_used": len(used),
            "sources": len(state["sources"]),
            "holdover_s": status["holdover_s"] or 0.0,
            "celsius": served.get("celsius"),
            "requests_per_min": self._rate(state),
            **{key: _detail(state["sources"], key) for key in RECEIVER},
        }

    def _rate(self, state: Message) -> float | None:
        """Requests answered in a minute since the last state that was asked of; None when that cannot be told."""
        counters = state["status"]["serving"]["counters"]
        if counters is None:
            self._answered = None
            return None
        before, self._answered = self._answered, (state["utc_ns"], counters["answered"])
        if before is None:
            return None
        elapsed_ns, more = state["utc_ns"] - before[0], counters["answered"] - before[1]
        # Not after a step of the clock or a restart of the server.
        return more * 60e9 / elapsed_ns if elapsed_ns > 0 and more >= 0 else None


RECEIVER: Final = ("satellites_used", "satellites_seen", "antenna", "jamming", "spoofing")
"""What a satellite receiver says among a source's details."""


def _detail(sources: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Of the first source that has it."""
    values = (source["details"].get(key) for source in sources)
    return next((value for value in values if value is not None), None)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
