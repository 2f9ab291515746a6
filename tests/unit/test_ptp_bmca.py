"""Data set comparison and state decision, case by case from the figures of the standards."""

from __future__ import annotations

from typing import Any

import pytest
from bmca_support import OWN, announce, heard, own, port_of

from timesync.ptp.bmca import Candidate, Comparison, DecisionCode, Question, compare, decide, elect
from timesync.ptp.settings import Bmca, Role
from timesync.ptp.states import PortEvent, PortState

C = Comparison
TURNED = {
    C.BETTER: C.WORSE,
    C.WORSE: C.BETTER,
    C.BETTER_BY_TOPOLOGY: C.WORSE_BY_TOPOLOGY,
    C.WORSE_BY_TOPOLOGY: C.BETTER_BY_TOPOLOGY,
    C.ERROR_1: C.ERROR_1,
    C.ERROR_2: C.ERROR_2,
}


def both_ways(expected: Comparison, a: Candidate, b: Candidate, variant: Bmca) -> None:
    assert expected is compare(a, b, variant)
    assert TURNED[expected] is compare(b, a, variant)


# Figure 34: each row wins by one field, and loses by all the later ones.
WORSE_LATER: list[tuple[str, int, int]] = [
    ("priority1", 127, 128),
    ("clock_class", 6, 248),
    ("accuracy", 0x21, 0xFE),
    ("variance", 0x4E5D, 0xFFFF),
    ("priority2", 127, 128),
]


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.NONE, Bmca.GPTP])
@pytest.mark.parametrize("field", range(len(WORSE_LATER)))
def test_an_earlier_field_decides_against_all_the_later_ones(field: int, variant: Bmca) -> None:
    name, good, bad = WORSE_LATER[field]
    later = WORSE_LATER[field + 1 :]
    winner: dict[str, Any] = {name: good} | {key: high for key, _, high in later}
    loser: dict[str, Any] = {name: bad} | {key: low for key, low, _ in later}

    both_ways(C.BETTER, heard(announce(0x90, steps=9, **winner)), heard(announce(0x10, **loser)), variant)


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.G8275, Bmca.GPTP])
def test_of_equals_the_lower_grandmaster_identity_wins_as_unsigned_octets(variant: Bmca) -> None:
    high = heard(announce(0xF0 << 56))
    low = heard(announce(0x70 << 56, steps=9))

    both_ways(C.BETTER, low, high, variant)


# Figure 35, the same grandmaster: (steps, sender, receiver port) of A and of B. The receiver is clock 0x50.
FIGURE_35: list[tuple[str, Candidate, Candidate, Comparison]] = [
    (
        "two steps shorter",
        heard(announce(0x90, grandmaster=1, steps=1)),
        heard(announce(0x10, grandmaster=1, steps=3)),
        C.BETTER,
    ),
    (
        "one step shorter, the receiver is below the sender of the longer way",
        heard(announce(0x90, grandmaster=1, steps=1)),
        heard(announce(0x91, grandmaster=1, steps=2)),
        C.BETTER,
    ),
    (
        "one step shorter, the receiver is above the sender of the longer way",
        heard(announce(0x90, grandmaster=1, steps=1)),
        heard(announce(0x10, grandmaster=1, steps=2)),
        C.BETTER_BY_TOPOLOGY,
    ),
    (
        "one step shorter, the longer way was sent by its receiver",
        heard(announce(0x90, grandmaster=1, steps=1)),
        heard(announce(port_of(OWN, 1), grandmaster=1, steps=2), 1),
        C.ERROR_1,
    ),
    (
        "the same length, another sender",
        heard(announce(0x10, grandmaster=1, steps=2), 2),
        heard(announce(0x11, grandmaster=1, steps=2), 1),
        C.BETTER_BY_TOPOLOGY,
    ),
    (
        "the same length, another port of one sender",
        heard(announce(port_of(0x10, 1), grandmaster=1, steps=2), 2),
        heard(announce(port_of(0x10, 2), grandmaster=1, steps=2), 1),
        C.BETTER_BY_TOPOLOGY,
    ),
    (
        "the same message, at two ports",
        heard(announce(0x10, grandmaster=1, steps=2), 1),
        heard(announce(0x10, grandmaster=1, steps=2), 2),
        C.BETTER_BY_TOPOLOGY,
    ),
    (
        "the same message",
        heard(announce(0x10, grandmaster=1, steps=2), 1),
        heard(announce(0x10, grandmaster=1, steps=2), 1),
        C.ERROR_2,
    ),
]


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.G8275])
@pytest.mark.parametrize(("a", "b", "expected"), [row[1:] for row in FIGURE_35], ids=[row[0] for row in FIGURE_35])
def test_figure_35(a: Candidate, b: Candidate, expected: Comparison, variant: Bmca) -> None:
    both_ways(expected, a, b, variant)


def test_the_same_grandmaster_is_compared_by_the_way_even_when_its_qualities_just_changed() -> None:
    a = heard(announce(0x10, grandmaster=1, steps=1, clock_class=248))
    b = heard(announce(0x11, grandmaster=1, steps=3, clock_class=6))

    both_ways(C.BETTER, a, b, Bmca.DEFAULT)


def test_the_own_data_set_is_better_than_what_comes_back_of_it() -> None:
    both_ways(C.BETTER, own(), heard(announce(0x10, grandmaster=OWN, steps=2)), Bmca.DEFAULT)


TELECOM_FIELDS: list[tuple[str, int, int]] = WORSE_LATER[1:]


@pytest.mark.parametrize("field", range(len(TELECOM_FIELDS)))
def test_telecom_fields_decide_in_their_order_and_local_priority_after_them(field: int) -> None:
    name, good, bad = TELECOM_FIELDS[field]
    later = TELECOM_FIELDS[field + 1 :]
    winner: dict[str, Any] = {name: good} | {key: high for key, _, high in later}
    loser: dict[str, Any] = {name: bad} | {key: low for key, low, _ in later}
    a = heard(announce(0x90, steps=9, priority1=255, **winner), local_priority=200)
    b = heard(announce(0x10, priority1=1, **loser), local_priority=1)

    both_ways(C.BETTER, a, b, Bmca.G8275)


def test_telecom_ignores_priority1_and_asks_local_priority_before_identity() -> None:
    a = heard(announce(0x90, priority1=255), local_priority=1)
    b = heard(announce(0x10, priority1=1), local_priority=2)

    both_ways(C.BETTER, a, b, Bmca.G8275)


def test_the_telecom_clock_uses_its_own_local_priority_for_itself() -> None:
    both_ways(C.BETTER, own(local_priority=1), heard(announce(0x10), local_priority=2), Bmca.G8275)
    both_ways(C.WORSE, own(local_priority=3), heard(announce(0x90), local_priority=2), Bmca.G8275)


def test_telecom_takes_the_nearest_of_equally_good_primary_clocks() -> None:
    near = heard(announce(0x90, clock_class=6, steps=1))
    far = heard(announce(0x10, clock_class=6, steps=3))

    both_ways(C.BETTER, near, far, Bmca.G8275)
    both_ways(
        C.BETTER, heard(announce(0x10, clock_class=135, steps=3)), heard(announce(0x90, clock_class=135)), Bmca.G8275
    )


GPTP_WAYS: list[tuple[Candidate, Candidate]] = [
    (heard(announce(0x90, grandmaster=1, steps=1), 2), heard(announce(0x10, grandmaster=1, steps=2), 1)),
    (heard(announce(0x10, grandmaster=1, steps=1), 2), heard(announce(0x11, grandmaster=1, steps=1), 1)),
    (
        heard(announce(port_of(0x10, 1), grandmaster=1, steps=1), 2),
        heard(announce(port_of(0x10, 2), grandmaster=1, steps=1), 1),
    ),
    (heard(announce(0x10, grandmaster=1, steps=1), 1), heard(announce(0x10, grandmaster=1, steps=1), 2)),
]


@pytest.mark.parametrize(("a", "b"), GPTP_WAYS, ids=["steps", "sender", "sender port", "receiver"])
def test_the_second_half_of_a_priority_vector(a: Candidate, b: Candidate) -> None:
    both_ways(C.BETTER_BY_TOPOLOGY, a, b, Bmca.GPTP)
    both_ways(C.ERROR_2, a, a, Bmca.GPTP)


def test_gptp_judges_the_root_even_of_the_same_grandmaster() -> None:
    """A priority vector has no exception for the same identity, as figure 34 has."""
    old = heard(announce(0x10, grandmaster=1, steps=0, priority1=200))
    new = heard(announce(0x11, grandmaster=1, steps=5, priority1=100))

    both_ways(C.BETTER, new, old, Bmca.GPTP)


def test_the_best_of_many_is_found_in_any_order() -> None:
    best = heard(announce(0x90, priority1=1))
    others = [heard(announce(number)) for number in range(1, 9)]

    assert best is elect([*others, best], Bmca.DEFAULT)
    assert best is elect([best, *others], Bmca.DEFAULT)
    assert elect([], Bmca.DEFAULT) is None


# The state decision. Port 1 of clock 0x50 decides; A is a better clock than the own one, Z a worse one.
A = announce(0x10, grandmaster=0x10)
A_FAR = announce(0x20, grandmaster=0x10, steps=1)
"""The same grandmaster, from a clock with a lower identity than ours: that clock may serve its network."""
A_BACK = announce(0x90, grandmaster=0x10, steps=1)
"""The same grandmaster, from a clock with a higher identity than ours."""
A_FARTHER = announce(0x20, grandmaster=0x10, steps=3)
Z = announce(0x99)

Case = tuple[Candidate | None, Candidate | None, Candidate | None, DecisionCode, PortState]
D = DecisionCode
P = PortState
DECISIONS: dict[str, Case] = {
    # name: D0, Ebest, Erbest -> code, recommended state
    "primary, nothing heard": (own(6), None, None, D.M1, P.TIME_TRANSMITTER),
    "primary, worse heard": (own(6), heard(Z), heard(Z), D.M1, P.TIME_TRANSMITTER),
    "primary, better only elsewhere": (
        own(6),
        heard(announce(1, clock_class=6), 2),
        heard(Z),
        D.M1,
        P.TIME_TRANSMITTER,
    ),
    "class 127 is still primary": (own(127), heard(Z), heard(Z), D.M1, P.TIME_TRANSMITTER),
    "primary, better heard": (
        own(6),
        heard(announce(1, clock_class=6)),
        heard(announce(1, clock_class=6)),
        D.P1,
        P.PASSIVE,
    ),
    "class 128 follows": (
        own(128),
        heard(announce(1, clock_class=6)),
        heard(announce(1, clock_class=6)),
        D.S1,
        P.TIME_RECEIVER,
    ),
    "nothing heard": (own(), None, None, D.M2, P.TIME_TRANSMITTER),
    "worse heard": (own(), heard(Z), heard(Z), D.M2, P.TIME_TRANSMITTER),
    "worse heard elsewhere": (own(), heard(Z, 2), None, D.M2, P.TIME_TRANSMITTER),
    "best heard here": (own(), heard(A), heard(A), D.S1, P.TIME_RECEIVER),
    "best elsewhere, nothing here": (own(), heard(A, 2), None, D.M3, P.TIME_TRANSMITTER),
    "best elsewhere, worse here": (own(), heard(A, 2), heard(Z), D.M3, P.TIME_TRANSMITTER),
    "best elsewhere, another worse grandmaster better than us here": (
        own(),
        heard(announce(5), 2),
        heard(A),
        D.M3,
        P.TIME_TRANSMITTER,
    ),
    "same grandmaster here, two steps farther": (own(), heard(A, 2), heard(A_FARTHER), D.M3, P.TIME_TRANSMITTER),
    "same grandmaster here, one step farther, its sender yields": (
        own(),
        heard(A, 2),
        heard(A_BACK),
        D.M3,
        P.TIME_TRANSMITTER,
    ),
    "same grandmaster here, one step farther, its sender serves": (own(), heard(A, 2), heard(A_FAR), D.P2, P.PASSIVE),
    "same sender at both ports": (own(), heard(A, 1), heard(A, 2), D.P2, P.PASSIVE),
    "receiver-only, best here": (None, heard(Z), heard(Z), D.S1, P.TIME_RECEIVER),
    "receiver-only, best elsewhere": (None, heard(A, 2), heard(Z), D.M3, P.LISTENING),
    "receiver-only, same elsewhere": (None, heard(A, 2), heard(A_FAR), D.P2, P.LISTENING),
    "receiver-only, nothing heard": (None, None, None, D.M2, P.LISTENING),
}
QUALIFICATION = {D.M1: 0, D.M2: 0, D.M3: 2, D.P1: 0, D.P2: 0, D.S1: 0}
EVENTS = {
    D.M1: PortEvent.RECOMMENDED_TIME_TRANSMITTER,
    D.M2: PortEvent.RECOMMENDED_TIME_TRANSMITTER,
    D.M3: PortEvent.RECOMMENDED_TIME_TRANSMITTER,
    D.P1: PortEvent.RECOMMENDED_PASSIVE,
    D.P2: PortEvent.RECOMMENDED_PASSIVE,
    D.S1: PortEvent.RECOMMENDED_NEW_TIME_TRANSMITTER,
}


def question(
    d0: Candidate | None,
    best: Candidate | None,
    port_best: Candidate | None,
    *,
    state: PortState = P.PASSIVE,
    role: Role = Role.AUTO,
    shadowed: bool = False,
) -> Question:
    number = 1 if port_best is None else port_best.receiver.port
    return Question(
        port=port_of(OWN, number), state=state, own=d0, best=best, port_best=port_best, role=role, shadowed=shadowed
    )


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.G8275])
@pytest.mark.parametrize("case", DECISIONS.values(), ids=DECISIONS.keys())
def test_figure_33(case: Case, variant: Bmca) -> None:
    d0, best, port_best, code, state = case
    decision = decide(question(d0, best, port_best), variant)

    assert decision is not None
    assert (code, state) == (decision.code, decision.state)
    assert (QUALIFICATION[code] if state is P.TIME_TRANSMITTER else 0) == decision.qualification
    assert (best if code is D.S1 else None) is decision.parent
    assert EVENTS[code] is decision.event(None)
    assert decision.reason


@pytest.mark.parametrize(("other", "code"), [(0x90, D.M1), (0x10, D.P1)])
def test_of_two_equal_primary_telecom_clocks_side_by_side_topology_alone_decides(
    other: int, code: DecisionCode
) -> None:
    """Figure 33 asks for "better or better by topology"."""
    neighbour = heard(announce(other, clock_class=6))

    decision = decide(question(own(6), neighbour, neighbour), Bmca.G8275)

    assert decision is not None
    assert code is decision.code


def test_m3_waits_one_announce_interval_more_than_there_are_steps_to_the_grandmaster() -> None:
    """9.2.6.11: N is stepsRemoved + 1, where the clock's stepsRemoved is one more than the parent's."""
    decision = decide(question(own(), heard(announce(0x20, grandmaster=0x10, steps=4), 2), None), Bmca.DEFAULT)

    assert decision is not None
    assert 6 == decision.qualification


def test_the_reason_names_the_grandmaster_and_who_announces_it() -> None:
    decision = decide(question(own(), heard(A_FAR), heard(A_FAR)), Bmca.DEFAULT)

    assert decision is not None
    assert "000000.0000.000010" in decision.reason
    assert "000000.0000.000020-1" in decision.reason


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.G8275, Bmca.GPTP])
def test_a_port_that_hears_nothing_listens_on_whatever_others_hear(variant: Bmca) -> None:
    assert decide(question(own(6), None, None, state=P.LISTENING), variant) is None
    assert decide(question(own(), heard(A, 2), None, state=P.LISTENING), variant) is None
    assert decide(question(own(), heard(A), heard(A), state=P.LISTENING), variant) is not None


@pytest.mark.parametrize("variant", [Bmca.DEFAULT, Bmca.G8275, Bmca.GPTP])
def test_a_port_that_may_only_send_does_not_listen(variant: Bmca) -> None:
    decision = decide(question(own(), heard(A, 2), None, state=P.LISTENING, role=Role.TIME_TRANSMITTER), variant)

    assert decision is not None
    assert (D.M3, P.TIME_TRANSMITTER) == (decision.code, decision.state)


def test_a_port_that_may_only_receive_waits_while_the_own_clock_is_the_best() -> None:
    decision = decide(question(own(), heard(Z), heard(Z), role=Role.TIME_RECEIVER), Bmca.DEFAULT)

    assert decision is not None
    assert P.LISTENING is decision.state


def test_the_parent_followed_already_is_no_new_one() -> None:
    decision = decide(question(own(), heard(A), heard(A)), Bmca.DEFAULT)

    assert decision is not None
    assert PortEvent.RECOMMENDED_TIME_RECEIVER is decision.event(A.header.source)
    assert PortEvent.RECOMMENDED_NEW_TIME_TRANSMITTER is decision.event(port_of(0x10, 2))


@pytest.mark.parametrize("d0", [own(6), own()], ids=["M1", "M2"])
def test_of_two_own_ports_in_one_network_the_higher_is_passive(d0: Candidate) -> None:
    decision = decide(question(d0, None, None, shadowed=True), Bmca.DEFAULT)

    assert decision is not None
    assert (D.P2, P.PASSIVE) == (decision.code, decision.state)


def test_of_two_own_ports_in_one_network_either_may_follow_and_a_fixed_one_sends() -> None:
    follows = decide(question(own(), heard(A), heard(A), shadowed=True), Bmca.DEFAULT)
    sends = decide(question(own(), None, None, shadowed=True, role=Role.TIME_TRANSMITTER), Bmca.DEFAULT)
    waits = decide(question(None, None, None, shadowed=True), Bmca.DEFAULT)

    assert follows is not None
    assert sends is not None
    assert waits is not None
    assert (P.TIME_RECEIVER, P.TIME_TRANSMITTER, P.LISTENING) == (follows.state, sends.state, waits.state)


GPTP_DECISIONS: dict[str, Case] = {
    "the best": (own(), heard(Z), heard(Z), D.M2, P.TIME_TRANSMITTER),
    "nothing heard": (own(), None, None, D.M2, P.TIME_TRANSMITTER),
    "a primary clock that loses follows": (
        own(6),
        heard(announce(1, clock_class=6)),
        heard(announce(1, clock_class=6)),
        D.S1,
        P.TIME_RECEIVER,
    ),
    "best here": (own(), heard(A), heard(A), D.S1, P.TIME_RECEIVER),
    "nothing here": (own(), heard(A, 2), None, D.M3, P.TIME_TRANSMITTER),
    "another root here": (own(), heard(A, 2), heard(Z), D.M3, P.TIME_TRANSMITTER),
    "longer than ours will be": (
        own(),
        heard(A, 2),
        heard(announce(1, grandmaster=0x10, steps=2)),
        D.M3,
        P.TIME_TRANSMITTER,
    ),
    "as long as ours, its sender is above": (own(), heard(A, 2), heard(A_BACK), D.M3, P.TIME_TRANSMITTER),
    "as long as ours, its sender is below": (own(), heard(A, 2), heard(A_FAR), D.P2, P.PASSIVE),
    "shorter than ours": (own(), heard(announce(0x10), 2), heard(announce(port_of(0x10, 2))), D.P2, P.PASSIVE),
    "receiver-only, best here": (None, heard(Z), heard(Z), D.S1, P.TIME_RECEIVER),
    "receiver-only, best elsewhere": (None, heard(A, 2), heard(A_FAR), D.P2, P.LISTENING),
}


@pytest.mark.parametrize("case", GPTP_DECISIONS.values(), ids=GPTP_DECISIONS.keys())
def test_the_port_roles_of_802_1as(case: Case) -> None:
    d0, best, port_best, code, state = case

    decision = decide(question(d0, best, port_best), Bmca.GPTP)

    assert decision is not None
    assert (code, state, 0) == (decision.code, decision.state, decision.qualification)


@pytest.mark.parametrize("state", list(PortState))
def test_fixed_roles_need_no_announce(state: PortState) -> None:
    sender = decide(question(own(6), None, None, state=state, role=Role.TIME_TRANSMITTER), Bmca.NONE)
    default = decide(question(own(), heard(A), heard(A), state=state, role=Role.TIME_TRANSMITTER), Bmca.NONE)
    receiver = decide(question(own(6), None, None, state=state, role=Role.TIME_RECEIVER), Bmca.NONE)

    assert sender is not None
    assert default is not None
    assert receiver is not None
    assert (D.M1, P.TIME_TRANSMITTER) == (sender.code, sender.state)
    assert (D.M2, P.TIME_TRANSMITTER) == (default.code, default.state)
    assert (D.S1, P.TIME_RECEIVER, None) == (receiver.code, receiver.state, receiver.parent)
    assert PortEvent.RECOMMENDED_TIME_RECEIVER is receiver.event(None)


def test_without_an_algorithm_a_role_must_be_fixed() -> None:
    with pytest.raises(ValueError, match="must be fixed"):
        decide(question(own(), None, None), Bmca.NONE)
