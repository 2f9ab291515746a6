"""What a client says to one server, and how it reads the answers: NTP versions 1 to 4 here, 5 in ``v5.speech``.

A client paces, measures and judges in one way for all versions; only requests and the form of answers differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from timesync.base.machine import Entropy
from timesync.base.measure import Stamp
from timesync.ntp.authenticator import Authenticator
from timesync.ntp.exchange import Answered, DropReason, Request, parse_answer
from timesync.wire.ntp import Mode, NtpPacket, encode, short_to_duration
from timesync.wire.ntp_over_ptp import decode_correction, encode_correction

HIDDEN_PRECISION: Final = 32
"""Said in requests, as chrony does: the field tells nothing of our clock."""

MAX_UNTOLD: Final = 4
"""Answers in a row without what transparent clocks say of requests, after which that is not asked any more: requests
that are longer than their answers take longer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request is to ask for.

    Attributes:
        poll: Our interval, log2 s.
        origin: In interleaved mode the receive timestamp of the answer before, as ``Answered.packet`` has it; 0: basic
            mode.
        keep: Ask for interleaved mode from the next answer on, where that must be said before.
    """

    poll: int
    origin: int = 0
    keep: bool = False


class Speech(Protocol):
    """Requests to one server, and its answers."""

    @property
    def draft(self) -> str | None:
        """The draft of NTPv5 in which the server last answered; None in a version that is a standard."""
        ...

    @property
    def excluded(self) -> str | None:
        """Why the server may not be selected, in words; None: it may."""
        ...

    @property
    def loop(self) -> bool:
        """The server takes its time from this machine."""
        ...

    def request(self, ask: Ask) -> Request | None:
        """The next request; None when it cannot be authenticated now."""
        ...

    def read(self, data: bytes, asked: Request, stamp: Stamp | None) -> Answered | DropReason:
        """The answer to ``asked`` in a datagram that came at ``stamp``, or why it is none. Changes nothing here."""
        ...

    def accepted(self, asked: Request, answered: Answered) -> str | None:
        """That answer has passed all tests. Returns news, in words, as the end of a sentence about the server."""
        ...

    def lost(self, asked: Request) -> str | None:
        """No answer came. Returns news, likewise."""
        ...

    def forget(self) -> None:
        """Our clock was stepped: what was kept of earlier answers is worth nothing."""
        ...


class Speech4:
    """Versions 1 to 4 (RFC 5905).

    Args:
        version: Of requests.
        authenticator: Signs requests and verifies answers.
        entropy: For the random timestamps of requests.
        corrections: Ask what transparent clocks say of the way of requests, in version 4 over PTP.
    """

    draft: str | None = None
    excluded: str | None = None
    loop: bool = False

    def __init__(
        self, version: int, authenticator: Authenticator, entropy: Entropy, *, corrections: bool = False
    ) -> None:
        self._version = version
        self._authenticator = authenticator
        self._entropy = entropy
        self._fields = (encode_correction(),) if corrections else ()
        self._untold = 0

    def request(self, ask: Ask, reference: int = 0) -> Request | None:
        """See ``Speech``; ``reference`` is the reference timestamp, which tells the server nothing of our clock."""
        receive = self._random_stamp(ask.origin) if ask.origin else 0
        transmit = self._random_stamp(ask.origin, receive)
        # All that the protocol does not need is constant, so that the request tells nothing of us.
        header = encode(
            NtpPacket(
                version=self._version,
                mode=Mode.CLIENT,
                poll=ask.poll,
                precision=HIDDEN_PRECISION,
                reference=reference,
                origin=ask.origin,
                receive=receive,
                transmit=transmit,
                extensions=self._fields,
            )
        )
        data = self._authenticator.sign(header)
        return None if data is None else Request(data, self._version, transmit, receive)

    def read(self, data: bytes, asked: Request, stamp: Stamp | None) -> Answered | DropReason:
        """See ``Speech``."""
        del stamp
        packet = parse_answer(data, asked.version)
        if isinstance(packet, DropReason):
            return packet
        if not asked.matches(packet.origin):
            return DropReason.ORIGIN
        forged = self._authenticator.verify(data, packet)
        if forged is not None:
            return forged
        return Answered(
            packet,
            short_to_duration(packet.root_delay),
            short_to_duration(packet.root_dispersion),
            residence=decode_correction(packet.extensions) if self._fields else None,
        )

    def accepted(self, asked: Request, answered: Answered) -> str | None:
        """See ``Speech``: whether it told what it was asked for."""
        del asked
        self._untold = self._untold + 1 if answered.residence is None else 0
        if self._untold >= MAX_UNTOLD:
            self._fields = ()
        return None

    def lost(self, asked: Request) -> str | None:
        """See ``Speech``: nothing follows from it."""
        del asked
        return None

    def forget(self) -> None:
        """See ``Speech``: nothing is kept."""

    def _random_stamp(self, *others: int) -> int:
        """64 bits that nobody can guess, not 0 and none of the others (RFC 9769, 2.2: they must differ)."""
        while True:
            stamp = int.from_bytes(self._entropy(8), "big")
            if stamp != 0 and stamp not in others:
                return stamp
