"""What a PTP machine asks of whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.machine import Dropped, Measured, Noted, Status
from timesync.ptp.states import PortState


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEvent:
    """Send an event message and report its transmit stamp through ``Instance.on_sent``.

    Attributes:
        port: Number of the port it leaves by.
        data: The message.
        token: Comes back with the stamp; exactly once, with None when the stamp is lost.
        destination: Unicast address (numeric IP, or a MAC address); None: the multicast address of its type.
        peer: It goes to the peer-delay address.
    """

    port: int
    data: bytes
    token: int
    destination: str | None = None
    peer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendGeneral:
    """Send a general message; the attributes are those of ``SendEvent``."""

    port: int
    data: bytes
    destination: str | None = None
    peer: bool = False


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A port has another state.

    Attributes:
        port: Which.
        before: What it was.
        after: What it is.
        reason: Why, in words.
    """

    port: int
    before: PortState
    after: PortState
    reason: str


@dataclass(frozen=True, slots=True)
class ParentChanged:
    """Another clock is followed from now on, or none: what was learnt of the path to the old one is void.

    Attributes:
        port: The port in the timeReceiver state; None when this clock is its own grandmaster.
        text: Whom, in words.
    """

    port: int | None
    text: str


PtpEffect = SendEvent | SendGeneral | StateChanged | ParentChanged | Measured | Status | Dropped | Noted
"""Timers are not effects: a machine has one ``deadline()``."""
