"""The page of the documentation that draws the states of a port from their tables."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.ptp.states import RECEIVER_ONLY_TRANSITIONS, TRANSITIONS, PortEvent, PortState, Transitions

_ENABLED = "ENABLED"
"""The composite state of the drawing: every state in which the protocol runs."""

_NOT_ENABLED = (PortState.INITIALIZING, PortState.FAULTY, PortState.DISABLED)

_HEAD = """\
# The states of a PTP port

Written by `docs/generate.py` from the tables in `timesync/ptp/states.py`; do not edit.

States and events are those of IEEE 1588-2019, 9.2, with the words of the 2022 amendment: timeTransmitter was master,
timeReceiver was slave. The decision codes M1 to S1 become the events `RECOMMENDED_...` (9.3.3, figure 33):
M1, M2 and M3 recommend TIME_TRANSMITTER, P1 and P2 PASSIVE, S1 TIME_RECEIVER. With M1 and M2, and always in 802.1AS,
the qualification time-out is zero.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join(
        [
            _HEAD,
            *_section("Any port that may become timeTransmitter (figure 30)", TRANSITIONS),
            *_section("A port that may only receive (figure 31)", RECEIVER_ONLY_TRANSITIONS),
        ]
    )


def reachable(table: Transitions) -> frozenset[PortState]:
    """The states that a port can come into from INITIALIZING."""
    found = {PortState.INITIALIZING}
    while True:
        more = {table[state, event] for state in found for event in PortEvent} - found
        if not more:
            return frozenset(found)
        found |= more


def drawing(table: Transitions) -> str:
    """A mermaid state diagram.

    What leads from every state in which the protocol runs to one and the same outside is drawn once, from the box
    around them. Mermaid cannot draw an arrow from a box to what is in it.
    """
    states = [state for state in PortState if state in reachable(table)]
    enabled = [state for state in states if state not in _NOT_ENABLED]
    shared = {
        event: to for event in PortEvent for to in _NOT_ENABLED if all(table[state, event] is to for state in enabled)
    }
    inside = {
        (state, event): table[state, event]
        for state in enabled
        for event in PortEvent
        if event not in shared and table[state, event] is not state
    }
    outside = {
        (state.name, event): table[state, event]
        for state in states
        if state in _NOT_ENABLED
        for event in PortEvent
        if table[state, event] is not state
    } | {(_ENABLED, event): to for event, to in shared.items()}
    lines = ["stateDiagram-v2", "    [*] --> INITIALIZING", f"    state {_ENABLED} {{"]
    lines += ["    " + line for line in _arrows({(a.name, event): b for (a, event), b in inside.items()})]
    lines += ["    }", *_arrows(outside)]
    return "\n".join(lines)


def _arrows(edges: dict[tuple[str, PortEvent], PortState]) -> Iterator[str]:
    """One arrow for each pair of states, with all the events that take it."""
    together: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in edges.items():
        together.setdefault((before, after.name), []).append(event.name)
    for (before, to), events in together.items():
        yield f"    {before} --> {to}: {'<br>'.join(events)}"


def _section(title: str, table: Transitions) -> Iterator[str]:
    states = [state for state in PortState if state in reachable(table)]
    yield f"## {title}\n"
    yield f"```mermaid\n{drawing(table)}\n```\n"
    yield "An empty cell: the event changes nothing.\n"
    yield f"| Event | {' | '.join(state.name for state in states)} |"
    yield f"| --- |{' --- |' * len(states)}"
    for event in PortEvent:
        cells = ("" if table[state, event] is state else table[state, event].name for state in states)
        yield f"| `{event.name}` | {' | '.join(cells)} |"
    yield ""
