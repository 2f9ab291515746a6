"""The states of a port and how it gets from one to another (IEEE 1588-2019, 9.2, figures 30 and 31, table 17)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class PortState(enum.Enum):
    """``portDS.portState``; the values are those of the wire (table 20), the names those of the 2022 amendment."""

    INITIALIZING = 1
    FAULTY = 2
    DISABLED = 3
    LISTENING = 4
    PRE_TIME_TRANSMITTER = 5
    TIME_TRANSMITTER = 6
    PASSIVE = 7
    UNCALIBRATED = 8
    TIME_RECEIVER = 9


class PortEvent(enum.Enum):
    """What can happen to a port (9.2.6).

    Attributes:
        INITIALIZE: Start again from the beginning; POWERUP is the same.
        INITIALIZED: The data sets and the sockets are ready; the figures draw it without a name.
        DESIGNATED_ENABLED: The operator switched the port on.
        DESIGNATED_DISABLED: The operator switched it off.
        FAULT_DETECTED: The port cannot work now, such as for a missing interface.
        FAULT_CLEARED: It can again.
        RECOMMENDED_TIME_TRANSMITTER: Decision M1, M2 or M3 (BMC_MASTER).
        RECOMMENDED_PASSIVE: Decision P1 or P2 (BMC_PASSIVE).
        RECOMMENDED_TIME_RECEIVER: Decision S1, and the parent is the one followed already (BMC_SLAVE).
        RECOMMENDED_NEW_TIME_TRANSMITTER: Decision S1 with another parent (BMC_SLAVE, new master).
        QUALIFICATION_TIMEOUT_EXPIRES: PRE_TIME_TRANSMITTER has lasted as long as ``Decision.qualification`` says.
        ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES: No Announce that could be followed came for too long (9.2.6.12).
        SYNCHRONIZATION_FAULT: The servo lost its lock.
        TIME_TRANSMITTER_CLOCK_SELECTED: The servo locked (MASTER_CLOCK_SELECTED).
    """

    INITIALIZE = enum.auto()
    INITIALIZED = enum.auto()
    DESIGNATED_ENABLED = enum.auto()
    DESIGNATED_DISABLED = enum.auto()
    FAULT_DETECTED = enum.auto()
    FAULT_CLEARED = enum.auto()
    RECOMMENDED_TIME_TRANSMITTER = enum.auto()
    RECOMMENDED_PASSIVE = enum.auto()
    RECOMMENDED_TIME_RECEIVER = enum.auto()
    RECOMMENDED_NEW_TIME_TRANSMITTER = enum.auto()
    QUALIFICATION_TIMEOUT_EXPIRES = enum.auto()
    ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES = enum.auto()
    SYNCHRONIZATION_FAULT = enum.auto()
    TIME_TRANSMITTER_CLOCK_SELECTED = enum.auto()


Transitions = Mapping[tuple[PortState, PortEvent], PortState]
"""The next state for every state and every event; a state that an event leaves alone leads to itself."""

_INIT = PortState.INITIALIZING
_FLTY = PortState.FAULTY
_OFF_ = PortState.DISABLED
_LIST = PortState.LISTENING
_PRE_ = PortState.PRE_TIME_TRANSMITTER
_SEND = PortState.TIME_TRANSMITTER
_PASS = PortState.PASSIVE
_UNCA = PortState.UNCALIBRATED
_RECV = PortState.TIME_RECEIVER
____ = None
_Rows = dict[PortEvent, tuple[PortState | None, ...]]

# One column for each state, in the order of PortState; ____ where the event changes nothing. The formatter would
# undo the columns.
# fmt: off
_COMMON: _Rows = {
    #                                              INIT   FLTY   OFF_   LIST   PRE_   SEND   PASS   UNCA   RECV
    PortEvent.INITIALIZE:                       (_INIT, _INIT, _INIT, _INIT, _INIT, _INIT, _INIT, _INIT, _INIT),
    PortEvent.INITIALIZED:                      (_LIST, ____,  ____,  ____,  ____,  ____,  ____,  ____,  ____),
    PortEvent.DESIGNATED_ENABLED:               (____,  ____,  _INIT, ____,  ____,  ____,  ____,  ____,  ____),
    PortEvent.DESIGNATED_DISABLED:              (_OFF_, _OFF_, _OFF_, _OFF_, _OFF_, _OFF_, _OFF_, _OFF_, _OFF_),
    PortEvent.FAULT_DETECTED:                   (_FLTY, _FLTY, ____,  _FLTY, _FLTY, _FLTY, _FLTY, _FLTY, _FLTY),
    PortEvent.FAULT_CLEARED:                    (____,  _INIT, ____,  ____,  ____,  ____,  ____,  ____,  ____),
    PortEvent.RECOMMENDED_TIME_RECEIVER:        (____,  ____,  ____,  _UNCA, _UNCA, _UNCA, _UNCA, ____,  ____),
    PortEvent.RECOMMENDED_NEW_TIME_TRANSMITTER: (____,  ____,  ____,  _UNCA, _UNCA, _UNCA, _UNCA, ____,  _UNCA),
    PortEvent.SYNCHRONIZATION_FAULT:            (____,  ____,  ____,  ____,  ____,  ____,  ____,  ____,  _UNCA),
    PortEvent.TIME_TRANSMITTER_CLOCK_SELECTED:  (____,  ____,  ____,  ____,  ____,  ____,  ____,  _RECV, ____),
}

_FIGURE_30: _Rows = _COMMON | {
    #                                              INIT   FLTY   OFF_   LIST   PRE_   SEND   PASS   UNCA   RECV
    PortEvent.RECOMMENDED_TIME_TRANSMITTER:     (____,  ____,  ____,  _PRE_, ____,  ____,  _PRE_, _PRE_, _PRE_),
    PortEvent.RECOMMENDED_PASSIVE:              (____,  ____,  ____,  _PASS, _PASS, _PASS, ____,  _PASS, _PASS),
    PortEvent.QUALIFICATION_TIMEOUT_EXPIRES:    (____,  ____,  ____,  ____,  _SEND, ____,  ____,  ____,  ____),
    PortEvent.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES: (____,  ____,  ____,  _SEND, ____,  ____,  _SEND, _SEND, _SEND),
}

# The states that figure 31 has not are left as soon as management makes a clock timeReceiver-only.
_FIGURE_31: _Rows = _COMMON | {
    #                                              INIT   FLTY   OFF_   LIST   PRE_   SEND   PASS   UNCA   RECV
    PortEvent.RECOMMENDED_TIME_TRANSMITTER:     (____,  ____,  ____,  ____,  _LIST, _LIST, _LIST, _LIST, _LIST),
    PortEvent.RECOMMENDED_PASSIVE:              (____,  ____,  ____,  ____,  _LIST, _LIST, _LIST, _LIST, _LIST),
    PortEvent.QUALIFICATION_TIMEOUT_EXPIRES:    (____,  ____,  ____,  ____,  _LIST, ____,  ____,  ____,  ____),
    PortEvent.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES: (____,  ____,  ____,  ____,  ____,  ____,  _LIST, _LIST, _LIST),
}
# fmt: on


def _table(rows: _Rows) -> Transitions:
    """The rows by state and event, where a blank leads back to its own column."""
    return MappingProxyType(
        {
            (state, event): state if after is None else after
            for event in PortEvent
            for state, after in zip(PortState, rows[event], strict=True)
        }
    )


TRANSITIONS = _table(_FIGURE_30)
"""The states of a port that may become timeTransmitter (figure 30)."""

RECEIVER_ONLY_TRANSITIONS = _table(_FIGURE_31)
"""The states of a port that may only receive (figure 31)."""


def transition(state: PortState, event: PortEvent, *, receiver_only: bool = False) -> PortState:
    """The state of a port after an event (9.2.5).

    Args:
        state: Its state before.
        event: What happened.
        receiver_only: The clock is timeReceiver-only, or the port's role is.
    """
    return (RECEIVER_ONLY_TRANSITIONS if receiver_only else TRANSITIONS)[state, event]
