"""The state machine of a port, against figures 30 and 31 of IEEE 1588-2019."""

from __future__ import annotations

import re

import pytest

from timesync.ptp.states import RECEIVER_ONLY_TRANSITIONS, TRANSITIONS, PortEvent, PortState, Transitions, transition
from timesync.ptp.states_page import drawing, markdown, reachable

S = PortState
E = PortEvent
EVERY = set(PortState)
RUNNING = EVERY - {S.INITIALIZING, S.FAULTY, S.DISABLED}

# Every arrow of figure 30: from these states, at this event, to that state.
FIGURE_30: list[tuple[set[PortState], PortEvent, PortState]] = [
    (EVERY, E.INITIALIZE, S.INITIALIZING),
    ({S.INITIALIZING}, E.INITIALIZED, S.LISTENING),
    ({S.DISABLED}, E.DESIGNATED_ENABLED, S.INITIALIZING),
    (EVERY, E.DESIGNATED_DISABLED, S.DISABLED),
    (EVERY - {S.DISABLED}, E.FAULT_DETECTED, S.FAULTY),
    ({S.FAULTY}, E.FAULT_CLEARED, S.INITIALIZING),
    (
        {S.LISTENING, S.PASSIVE, S.UNCALIBRATED, S.TIME_RECEIVER},
        E.RECOMMENDED_TIME_TRANSMITTER,
        S.PRE_TIME_TRANSMITTER,
    ),
    (RUNNING, E.RECOMMENDED_PASSIVE, S.PASSIVE),
    (RUNNING - {S.TIME_RECEIVER}, E.RECOMMENDED_TIME_RECEIVER, S.UNCALIBRATED),
    (RUNNING, E.RECOMMENDED_NEW_TIME_TRANSMITTER, S.UNCALIBRATED),
    ({S.PRE_TIME_TRANSMITTER}, E.QUALIFICATION_TIMEOUT_EXPIRES, S.TIME_TRANSMITTER),
    (
        {S.LISTENING, S.PASSIVE, S.UNCALIBRATED, S.TIME_RECEIVER},
        E.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES,
        S.TIME_TRANSMITTER,
    ),
    ({S.TIME_RECEIVER}, E.SYNCHRONIZATION_FAULT, S.UNCALIBRATED),
    ({S.UNCALIBRATED}, E.TIME_TRANSMITTER_CLOCK_SELECTED, S.TIME_RECEIVER),
]

# Figure 31, for the states that it has.
FOLLOWING = {S.LISTENING, S.UNCALIBRATED, S.TIME_RECEIVER}
FIGURE_31: list[tuple[set[PortState], PortEvent, PortState]] = [
    *((states, event, to) for states, event, to in FIGURE_30[:6]),
    (FOLLOWING, E.RECOMMENDED_TIME_TRANSMITTER, S.LISTENING),
    (FOLLOWING, E.RECOMMENDED_PASSIVE, S.LISTENING),
    (FOLLOWING - {S.TIME_RECEIVER}, E.RECOMMENDED_TIME_RECEIVER, S.UNCALIBRATED),
    (FOLLOWING, E.RECOMMENDED_NEW_TIME_TRANSMITTER, S.UNCALIBRATED),
    (FOLLOWING, E.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES, S.LISTENING),
    ({S.TIME_RECEIVER}, E.SYNCHRONIZATION_FAULT, S.UNCALIBRATED),
    ({S.UNCALIBRATED}, E.TIME_TRANSMITTER_CLOCK_SELECTED, S.TIME_RECEIVER),
]


def drawn(
    figure: list[tuple[set[PortState], PortEvent, PortState]], states: set[PortState]
) -> list[tuple[PortState, PortEvent, PortState]]:
    """Every pair of a state and an event; where the figure has no arrow, the state stays."""
    arrows = {(state, event): to for froms, event, to in figure for state in froms}
    return [(state, event, arrows.get((state, event), state)) for state in PortState if state in states for event in E]


@pytest.mark.parametrize(
    ("state", "event", "after"),
    drawn(FIGURE_30, EVERY),
    ids=lambda value: value.name,
)
def test_figure_30(state: PortState, event: PortEvent, after: PortState) -> None:
    assert after is transition(state, event)


@pytest.mark.parametrize(
    ("state", "event", "after"),
    drawn(FIGURE_31, FOLLOWING | {S.INITIALIZING, S.FAULTY, S.DISABLED}),
    ids=lambda value: value.name,
)
def test_figure_31(state: PortState, event: PortEvent, after: PortState) -> None:
    assert after is transition(state, event, receiver_only=True)


@pytest.mark.parametrize("table", [TRANSITIONS, RECEIVER_ONLY_TRANSITIONS])
def test_there_is_an_entry_for_every_state_and_event(table: Transitions) -> None:
    assert {(state, event) for state in PortState for event in PortEvent} == set(table)


def test_every_state_can_be_reached_and_left() -> None:
    assert EVERY == reachable(TRANSITIONS)
    for state in PortState:
        assert {TRANSITIONS[state, event] for event in PortEvent} - {state}


def test_a_port_that_may_only_receive_never_sends() -> None:
    assert FOLLOWING | {S.INITIALIZING, S.FAULTY, S.DISABLED} == reachable(RECEIVER_ONLY_TRANSITIONS)


@pytest.mark.parametrize("state", [S.PRE_TIME_TRANSMITTER, S.TIME_TRANSMITTER, S.PASSIVE])
def test_a_port_stops_sending_at_the_first_decision_after_it_was_made_receiver_only(state: PortState) -> None:
    decisions = [event for event in PortEvent if event.name.startswith("RECOMMENDED_")]

    assert 4 == len(decisions)
    for event in decisions:
        assert transition(state, event, receiver_only=True) in FOLLOWING


def read_back(text: str) -> set[tuple[PortState, PortEvent, PortState]]:
    """The arrows of a mermaid drawing; one from the box stands for all states in it."""
    arrows = re.findall(r"^ +(\w+) --> (\w+): (\S+)$", text, re.MULTILINE)
    box = text[text.index("state ENABLED {") : text.index("}")]
    inside = [state for state in PortState if re.search(rf"\b{state.name}\b", box)]
    return {
        (state, PortEvent[event], PortState[to])
        for name, to, events in arrows
        for event in events.split("<br>")
        for state in (inside if name == "ENABLED" else [PortState[name]])
    }


@pytest.mark.parametrize("table", [TRANSITIONS, RECEIVER_ONLY_TRANSITIONS])
def test_the_drawing_has_every_transition_and_no_other(table: Transitions) -> None:
    moves = {(before, event, after) for (before, event), after in table.items() if after is not before}

    assert {move for move in moves if move[0] in reachable(table)} == read_back(drawing(table))


def test_mermaid_is_given_no_arrow_from_a_box_into_itself() -> None:
    for table in (TRANSITIONS, RECEIVER_ONLY_TRANSITIONS):
        targets = re.findall(r"ENABLED --> (\w+)", drawing(table))
        assert {"INITIALIZING", "FAULTY", "DISABLED"} == set(targets)


def test_the_page_has_both_figures_and_both_tables() -> None:
    page = markdown()

    assert 2 == page.count("```mermaid\nstateDiagram-v2\n")
    assert 2 * len(PortEvent) == sum(line.startswith("| `") for line in page.splitlines())
    assert "| `FAULT_CLEARED` |  | INITIALIZING |  |" in page
