"""The best timeTransmitter clock algorithm: who is better, and what each port becomes (IEEE 1588-2019, 9.3).

Five variants: the default one (9.3.3 and 9.3.4), the alternate one of ITU-T G.8275.1 and G.8275.2 (6.3 there), the
selection of ITU-T G.8265.1 (6.7), that of IEEE 802.1AS-2020 (10.3), and none, where roles are fixed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from timesync.base.ids import PortIdentity, identity_text
from timesync.ptp.datasets import DefaultDS
from timesync.ptp.settings import Bmca, Role
from timesync.ptp.states import PortEvent, PortState
from timesync.wire.ptp_message import Announce, Header

LAST_ACTIVE_CLASS = 127
"""Up to this ``clockClass`` a clock never follows another (table 4, figure 33)."""


class Comparison(enum.Enum):
    """What the comparison of A with B says (figures 34 and 35)."""

    BETTER = "A is better than B"
    BETTER_BY_TOPOLOGY = "A is better by topology than B"
    WORSE_BY_TOPOLOGY = "B is better by topology than A"
    WORSE = "B is better than A"
    ERROR_1 = "one of them was received by the port that sent it"
    ERROR_2 = "they are the same message"

    @property
    def prefers_first(self) -> bool:
        """A is better, be it by topology alone."""
        return self in {Comparison.BETTER, Comparison.BETTER_BY_TOPOLOGY}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clock that could be followed, as one port knows it: a row of table 12.

    Attributes:
        announce: Its latest Announce.
        receiver: The port that heard it.
        local_priority: ``localPriority`` of that port (G.8275), of the clock itself for its own candidate; the place
            in the order of preference of its sender (G.8265.1).
    """

    announce: Announce
    receiver: PortIdentity
    local_priority: int = 128

    @property
    def sender(self) -> PortIdentity:
        """The port that sent it."""
        return self.announce.header.source


def own_candidate(default: DefaultDS) -> Candidate:
    """D0, the clock's own data set: sender and receiver are its port 0, and it has removed no step (table 12)."""
    port = PortIdentity(default.clock_identity, 0)
    announce = Announce(
        header=Header(source=port, sequence_id=0, domain=default.domain, sdo_id=default.sdo_id),
        priority1=default.priority1,
        quality=default.quality,
        priority2=default.priority2,
        grandmaster=default.clock_identity,
    )
    return Candidate(announce, port, default.local_priority)


def compare(a: Candidate, b: Candidate, variant: Bmca) -> Comparison:
    """Which of two data sets is the better one (9.3.4)."""
    match variant:
        case Bmca.DEFAULT | Bmca.NONE:
            return _compare_default(a, b)
        case Bmca.G8275:
            return _compare_telecom(a, b)
        case Bmca.G8265:
            return _compare_quality_level(a, b)
        case Bmca.GPTP:
            return _compare_gptp(a, b)
        case _:
            assert_never(variant)


def elect(candidates: Iterable[Candidate], variant: Bmca) -> Candidate | None:
    """The best of them: Erbest of one port's, Ebest of all ports' (9.3.2.2)."""
    best: Candidate | None = None
    for candidate in candidates:
        if best is None or compare(candidate, best, variant).prefers_first:
            best = candidate
    return best


def _compare_default(a: Candidate, b: Candidate) -> Comparison:
    """Figure 34: the grandmasters, and the ways to them when they are the same."""
    if a.announce.grandmaster == b.announce.grandmaster:
        return _compare_paths(a, b)
    return Comparison.BETTER if _default_rank(a.announce) < _default_rank(b.announce) else Comparison.WORSE


def _default_rank(announce: Announce) -> tuple[int, int, int, int, int, bytes]:
    """The order of figure 34, which is also that of ``systemIdentity`` in 802.1AS (10.3.2); the lower is the better."""
    quality = announce.quality
    return (
        announce.priority1,
        quality.clock_class,
        quality.accuracy,
        quality.variance,
        announce.priority2,
        announce.grandmaster,
    )


def _compare_paths(a: Candidate, b: Candidate) -> Comparison:
    """Figure 35: two ways to one grandmaster, or (G.8275) to two that are equally good."""
    steps_a, steps_b = a.announce.steps_removed, b.announce.steps_removed
    if steps_a + 1 < steps_b:
        return Comparison.BETTER
    if steps_b + 1 < steps_a:
        return Comparison.WORSE
    if steps_a < steps_b:
        return _longer(b, Comparison.BETTER, Comparison.BETTER_BY_TOPOLOGY)
    if steps_a > steps_b:
        return _longer(a, Comparison.WORSE, Comparison.WORSE_BY_TOPOLOGY)
    near, far = (a.sender, a.receiver.port), (b.sender, b.receiver.port)
    if near == far:
        return Comparison.ERROR_2
    return Comparison.BETTER_BY_TOPOLOGY if near < far else Comparison.WORSE_BY_TOPOLOGY


def _longer(longer: Candidate, outright: Comparison, by_topology: Comparison) -> Comparison:
    """Figure 35 where one way is longer by one step: the two clocks at its last link compare themselves."""
    if longer.receiver == longer.sender:
        return Comparison.ERROR_1
    return outright if longer.receiver < longer.sender else by_topology


def _compare_telecom(a: Candidate, b: Candidate) -> Comparison:
    """G.8275.1, figure 2: priority1 does not count, localPriority does, and primary clocks of one rank are equal."""
    rank_a, rank_b = _telecom_rank(a), _telecom_rank(b)
    if rank_a != rank_b:
        return Comparison.BETTER if rank_a < rank_b else Comparison.WORSE
    grandmaster_a, grandmaster_b = a.announce.grandmaster, b.announce.grandmaster
    if a.announce.quality.clock_class <= LAST_ACTIVE_CLASS or grandmaster_a == grandmaster_b:
        return _compare_paths(a, b)
    return Comparison.BETTER if grandmaster_a < grandmaster_b else Comparison.WORSE


def _telecom_rank(candidate: Candidate) -> tuple[int, int, int, int, int]:
    quality = candidate.announce.quality
    return (
        quality.clock_class,
        quality.accuracy,
        quality.variance,
        candidate.announce.priority2,
        candidate.local_priority,
    )


def _compare_quality_level(a: Candidate, b: Candidate) -> Comparison:
    """G.8265.1, 6.7: the quality level that ``clockClass`` stands for, and among equals the order of preference."""
    rank_a = a.announce.quality.clock_class, a.local_priority, a.sender
    rank_b = b.announce.quality.clock_class, b.local_priority, b.sender
    return Comparison.BETTER if rank_a < rank_b else Comparison.WORSE


def _compare_gptp(a: Candidate, b: Candidate) -> Comparison:
    """802.1AS, 10.3.5: priority vectors, compared component by component."""
    rank_a, rank_b = _default_rank(a.announce), _default_rank(b.announce)
    if rank_a != rank_b:
        return Comparison.BETTER if rank_a < rank_b else Comparison.WORSE
    way_a, way_b = _gptp_way(a), _gptp_way(b)
    if way_a == way_b:
        return Comparison.ERROR_2
    return Comparison.BETTER_BY_TOPOLOGY if way_a < way_b else Comparison.WORSE_BY_TOPOLOGY


def _gptp_way(candidate: Candidate) -> tuple[int, PortIdentity, int]:
    """The second half of a message priority vector."""
    return candidate.announce.steps_removed, candidate.sender, candidate.receiver.port


class DecisionCode(enum.Enum):
    """The decision codes of figure 33 and tables 30 to 33."""

    M1 = "this clock never follows, and is the best heard on this port"
    M2 = "this clock is the best known"
    M3 = "the time that this clock follows is passed on"
    P1 = "this clock never follows, and a better one is heard on this port"
    P2 = "the time that this clock follows comes to this network on another way"
    S1 = "the best time known comes to this port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the state decision recommends for one port.

    Attributes:
        code: The decision code; 802.1AS port roles are told in the same words (MasterPort is M2 or M3, PassivePort P2,
            SlavePort S1).
        state: Recommended: TIME_TRANSMITTER, PASSIVE or TIME_RECEIVER; LISTENING for a port that may only receive
            and has nothing to.
        parent: Whom to follow; None but for S1, and there where no Announce is needed.
        qualification: Announce intervals to be spent in PRE_TIME_TRANSMITTER (9.2.6.11).
        reason: Why, in words.
    """

    code: DecisionCode
    state: PortState
    parent: Candidate | None = None
    qualification: int = 0
    reason: str

    def event(self, followed: PortIdentity | None) -> PortEvent:
        """What happens to the port.

        Args:
            followed: The parent that this port follows already; None when it follows none.
        """
        match self.code:
            case DecisionCode.M1 | DecisionCode.M2 | DecisionCode.M3:
                return PortEvent.RECOMMENDED_TIME_TRANSMITTER
            case DecisionCode.P1 | DecisionCode.P2:
                return PortEvent.RECOMMENDED_PASSIVE
            case DecisionCode.S1:
                if self.parent is None or self.parent.sender == followed:
                    return PortEvent.RECOMMENDED_TIME_RECEIVER
                return PortEvent.RECOMMENDED_NEW_TIME_TRANSMITTER
            case _:
                assert_never(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the state decision of one port depends on.

    Attributes:
        port: The port.
        state: Its present state.
        own: D0; None for a timeReceiver-only clock, which is never better than anything.
        best: Ebest, of all ports; None when there is none.
        port_best: Erbest, of this port; None when there is none.
        role: What the port may become. A port that may only send hears nobody: its table has no Erbest.
        shadowed: A port of this clock with a lower number serves the same network.
    """

    port: PortIdentity
    state: PortState
    own: Candidate | None
    best: Candidate | None
    port_best: Candidate | None
    role: Role = Role.AUTO
    shadowed: bool = False


def decide(question: Question, variant: Bmca) -> Decision | None:
    """The recommended state of a port (figure 33; 802.1AS, 10.3.13); None: it listens on.

    Raises:
        ValueError: No algorithm is used and the role is not fixed.
    """
    if variant is Bmca.NONE:
        return _fixed(question)
    sends_only = question.role is Role.TIME_TRANSMITTER
    if question.port_best is None and question.state is PortState.LISTENING and not sends_only:
        # 2019: a port that just came up listens, even where another port knows whom to follow. One that may only
        # send has nothing to listen for.
        return None
    code = _gptp_code(question) if variant is Bmca.GPTP else _code(question, variant)
    if code in _SENDS and question.shadowed and not sends_only:
        return _shadow(question)
    return _decision(code, question, variant)


_SENDS = frozenset({DecisionCode.M1, DecisionCode.M2, DecisionCode.M3})


def _code(question: Question, variant: Bmca) -> DecisionCode:
    """Figure 33."""
    own, best, port_best = question.own, question.best, question.port_best
    if own is not None and own.announce.quality.clock_class <= LAST_ACTIVE_CLASS:
        return DecisionCode.M1 if _is_better(own, port_best, variant) else DecisionCode.P1
    if best is None or _is_better(own, best, variant):
        return DecisionCode.M2
    if port_best is None:
        return DecisionCode.M3
    if port_best.receiver == best.receiver:
        return DecisionCode.S1
    if compare(best, port_best, variant) is Comparison.BETTER_BY_TOPOLOGY:
        return DecisionCode.P2
    return DecisionCode.M3


def _gptp_code(question: Question) -> DecisionCode:
    """802.1AS, 10.3.13.2.4 (updtStatesTree): a port passes time on unless its network has it on a better way.

    There is no P1: a clock that loses follows, whatever its class.
    """
    own, best, port_best = question.own, question.best, question.port_best
    if best is None or _is_better(own, best, Bmca.GPTP):
        return DecisionCode.M2
    if port_best is None:
        return DecisionCode.M3
    if port_best.receiver == best.receiver:
        return DecisionCode.S1
    # masterPriorityVector: what this port would announce, as the other side would see it.
    ours = (_default_rank(best.announce), best.announce.steps_removed + 1, question.port)
    theirs = (_default_rank(port_best.announce), port_best.announce.steps_removed, port_best.sender)
    return DecisionCode.M3 if ours < theirs else DecisionCode.P2


def _is_better(own: Candidate | None, other: Candidate | None, variant: Bmca) -> bool:
    """D0 is better than another, be it by topology alone; everything is better than nothing."""
    if other is None:
        return True
    return own is not None and compare(own, other, variant).prefers_first


def _fixed(question: Question) -> Decision:
    """The state of a port whose role is fixed by configuration (17.6; Avnu automotive)."""
    own = question.own
    match question.role:
        case Role.TIME_TRANSMITTER:
            active = own is not None and own.announce.quality.clock_class <= LAST_ACTIVE_CLASS
            return Decision(
                code=DecisionCode.M1 if active else DecisionCode.M2,
                state=PortState.TIME_TRANSMITTER,
                reason="the role of this port is fixed: timeTransmitter",
            )
        case Role.TIME_RECEIVER:
            return Decision(
                code=DecisionCode.S1,
                state=PortState.TIME_RECEIVER,
                parent=question.port_best,
                reason="the role of this port is fixed: timeReceiver",
            )
        case Role.AUTO:
            raise ValueError("without a best timeTransmitter algorithm the role of a port must be fixed")
        case _:
            assert_never(question.role)


def _shadow(question: Question) -> Decision:
    """Of two ports of one clock in one network, only that with the lower number sends (9.5.2)."""
    return Decision(
        code=DecisionCode.P2,
        state=PortState.LISTENING if _receives_only(question) else PortState.PASSIVE,
        reason="another port of this clock serves the same network",
    )


def _receives_only(question: Question) -> bool:
    return question.own is None or question.role is Role.TIME_RECEIVER


def _decision(code: DecisionCode, question: Question, variant: Bmca) -> Decision:
    """The decision with its consequences and its reason."""
    best = question.best
    if code is DecisionCode.S1:
        assert best is not None
        return Decision(code=code, state=PortState.TIME_RECEIVER, parent=best, reason=_why(code, question))
    if _receives_only(question):
        return Decision(code=code, state=PortState.LISTENING, reason="nobody to follow is heard on this port")
    if code not in _SENDS:
        return Decision(code=code, state=PortState.PASSIVE, reason=_why(code, question))
    # M3 waits until the decisions of the clocks between here and the grandmaster are made: N is 1 + stepsRemoved, and
    # stepsRemoved is one more than Ebest's. 802.1AS has no such wait.
    waits = code is DecisionCode.M3 and best is not None and variant is not Bmca.GPTP
    return Decision(
        code=code,
        state=PortState.TIME_TRANSMITTER,
        qualification=best.announce.steps_removed + 2 if waits and best is not None else 0,
        reason=_why(code, question),
    )


def _why(code: DecisionCode, question: Question) -> str:
    """The reason for a decision, with names."""
    match code:
        case DecisionCode.M1 | DecisionCode.M2:
            return str(code.value)
        case DecisionCode.M3 | DecisionCode.S1:
            return f"{code.value}{_named(question.best)}"
        case DecisionCode.P1 | DecisionCode.P2:
            return f"{code.value}{_named(question.port_best)}"
        case _:
            assert_never(code)


def _named(candidate: Candidate | None) -> str:
    if candidate is None:
        return ""
    return f": grandmaster {identity_text(candidate.announce.grandmaster)}, announced by {candidate.sender}"
