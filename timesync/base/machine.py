"""What a pure machine is, and the effects that it returns.

A machine decides and does not act: it is given bytes, stamps and ``now``, and returns effects, which the
runtime performs. It holds a single deadline; whoever drives it calls ``on_deadline`` then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from timesync.base.ids import SourceId
from timesync.base.measure import Measurement, SourceStatus, Stamp
from timesync.base.time import Instant, Mono


class Rng(Protocol):
    """Randomness for spreading timers; ``random.Random`` fits."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


class Entropy(Protocol):
    """Unpredictable bytes for what an attacker must not guess; ``os.urandom`` fits."""

    def __call__(self, size: int, /) -> bytes:
        """So many bytes."""
        ...


@dataclass(frozen=True, slots=True)
class SendStamped:
    """Send a datagram from a fresh random port and report its transmit stamp through ``on_sent``.

    The runtime opens a socket connected to the remote for each, and closes it after ``Done`` with the same token.
    Once it is sent, ``on_sent`` is called once for the token, with None when no stamp came in time, unless ``Done``
    comes before. When it cannot be sent, ``on_sent`` is not called: who drives the machine tells it so as it tells of
    any refusal by the network (``RequestMachine.on_error``), after the effects have been performed.

    Attributes:
        data: The datagram.
        token: Comes back with the stamp and with the answer.
    """

    data: bytes
    token: int


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more is expected for this token; its socket can go."""

    token: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement for the core."""

    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of the remote has changed."""

    status: SourceStatus


@dataclass(frozen=True, slots=True)
class Dropped:
    """A datagram was refused; counted by reason, never logged line by line.

    Attributes:
        reason: A short fixed name, such as ``origin`` or ``mac``.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line in the log and in the event list.

    Attributes:
        level: ``info``, ``warning`` or ``error``.
        name: A short fixed name in kebab case, for filters and tests.
        text: One sentence for the operator.
        source: The source it is about, if any.
    """

    level: str
    name: str
    text: str
    source: SourceId | None = None


Effect = SendStamped | Done | Measured | Status | Dropped | Noted


class Machine(Protocol):
    """A protocol machine that speaks to one remote."""

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called next; None when only a packet can wake it."""
        ...

    def on_deadline(self, now: Instant[Mono]) -> Iterable[Effect]:
        """The deadline has passed."""
        ...

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> Iterable[Effect]:
        """A datagram came to the socket of ``token``; ``stamp`` is None when the kernel gave none."""
        ...

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterable[Effect]:
        """The transmit stamp of ``token``, or None when it is lost."""
        ...
