"""What a client says to a server that may speak NTPv5: in which version, in which draft, and whether it is a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.machine import Entropy, Rng
from timesync.base.measure import Stamp
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.authenticator import Authenticator
from timesync.ntp.exchange import Answered, DropReason, Request, Timescales
from timesync.ntp.speech import Ask, Speech4
from timesync.ntp.v5.bloom import BloomFilter, ReferenceId
from timesync.ntp.v5.client import Answer5, Asked5, Session5, Settings5
from timesync.ntp.v5.loops import LoopGuard, Standing
from timesync.ntp.v5.negotiation import Negotiation, SpeakV5
from timesync.wire.ntp5 import VERSION
from timesync.wire.ntp5_ext import DRAFTS

CHUNK: Final = 128
"""Octets of a server's reference ids in each answer: the first burst of four brings them all."""

LOOP_TEXT: Final = "it takes its own time from this machine, by itself or over other servers"

_EXCLUDED: Final = {
    Standing.FETCHING: "its reference ids, which would show a loop, are not all here yet",
    Standing.LOOP: LOOP_TEXT,
    Standing.WAITING: "it took its time from this machine a moment ago, and is left alone for some more answers",
    Standing.CROWDED: "it names so many reference ids that its clients would see loops where there are none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak5:
    """How to speak NTPv5 to one server. Raises ValueError for no draft at all.

    Attributes:
        speak: Whether it is to be spoken: AUTO asks the server in version 4 first.
        drafts: Names of the drafts, the preferred one first.
        interleaved: Whether interleaved mode may be asked for.
        key: For the MAC; None: none.
    """

    speak: SpeakV5
    drafts: tuple[str, ...] = DRAFTS
    interleaved: bool = False
    key: SymmetricKey | None = None

    def __post_init__(self) -> None:
        if not self.drafts:
            raise ValueError("NTPv5 without a draft")


@dataclass(frozen=True, slots=True)
class Loops:
    """How loops are found.

    Attributes:
        own: Reference ids of this machine now; ``Speech5.set_own`` says what they are later.
        rng: For the wait after a loop is gone.
    """

    own: frozenset[ReferenceId]
    rng: Rng


class Speech5:
    """A server that is asked in version 5, or about it.

    Args:
        settings: How.
        authenticator: Signs requests and verifies answers; where NTS is used it says the version, too.
        scales: The leap table.
        entropy: For the cookies of requests.
        loops: Ask for the server's reference ids, and exclude it while they hold ours; None: nobody follows us.
    """

    def __init__(
        self,
        settings: Speak5,
        authenticator: Authenticator,
        scales: Timescales,
        entropy: Entropy,
        loops: Loops | None = None,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._scales = scales
        self._entropy = entropy
        self._own = frozenset[ReferenceId]() if loops is None else loops.own
        self._guard = None if loops is None else LoopGuard(loops.rng)
        self._negotiation = Negotiation(_speak(settings.speak, authenticator), settings.drafts)
        self._agreed = authenticator.version
        self._session = Session5(
            Settings5(chunk=0 if loops is None else CHUNK, interleaved=settings.interleaved, key=settings.key)
        )
        self._older = Speech4(4, authenticator, entropy)
        self._draft: str | None = None
        self._standing: Standing | None = None

    @property
    def draft(self) -> str | None:
        """See ``Speech``."""
        return self._draft

    @property
    def excluded(self) -> str | None:
        """See ``Speech``."""
        return None if self._standing is None else _EXCLUDED.get(self._standing)

    @property
    def loop(self) -> bool:
        """See ``Speech``."""
        return self._standing is Standing.LOOP

    @property
    def references(self) -> BloomFilter | None:
        """The server's reference ids; None while they are not all here, and of one that is asked in version 4."""
        return None if self._draft is None else self._session.references

    def request(self, ask: Ask) -> Request | None:
        """See ``Speech``."""
        if self._authenticator.version != self._agreed:
            # Key establishment was made again, and has agreed on another version.
            self._agreed = self._authenticator.version
            self._negotiation = Negotiation(_speak(self._settings.speak, self._authenticator), self._settings.drafts)
        if self._negotiation.version != VERSION:
            return self._older.request(ask, self._negotiation.reference)
        asked = self._session.request(
            self._negotiation.draft, ask.poll, self._entropy, keep=ask.keep, interleaved=ask.origin != 0
        )
        data = self._authenticator.protect(asked.data)
        if data is None:
            return None
        return Request(data, VERSION, asked.cookie, asked.server_cookie, asked)

    def read(self, data: bytes, asked: Request, stamp: Stamp | None) -> Answered | DropReason:
        """See ``Speech``."""
        if not isinstance(asked.detail, Asked5):
            return self._older.read(data, asked, stamp)
        trusted = self._authenticator.opened(data)
        if isinstance(trusted, DropReason):
            return trusted
        answer = self._session.judge(data, asked.detail, stamp, self._scales, trusted)
        if isinstance(answer, DropReason):
            return answer
        return Answered(
            answer.packet, answer.root_delay, answer.root_dispersion, answer.pivot, answer.least_poll, answer
        )

    def accepted(self, asked: Request, answered: Answered) -> str | None:
        """See ``Speech``."""
        answer = answered.detail
        turns = self._negotiation.answered(asked.version, answered.packet.reference)
        if not isinstance(asked.detail, Asked5) or not isinstance(answer, Answer5):
            self._draft = self._standing = None
            return "says that it speaks NTPv5, and is asked in that from now on" if turns else None
        fresh = self._draft != asked.detail.draft
        self._draft = asked.detail.draft
        self._session.accepted(asked.detail, answer)
        if self._guard is not None:
            references = self._session.references
            # Who hands out no reference ids has told all that can be known of it.
            known = references is not None or answer.references is not None
            self._standing = self._guard.update(self._own, references) if known else None
        return f"speaks NTPv5, {self._draft}" if fresh else None

    def set_own(self, own: frozenset[ReferenceId]) -> None:
        """The reference ids of this machine from now on; of use where there are ``Loops``."""
        self._own = own

    def lost(self, asked: Request) -> str | None:
        """See ``Speech``."""
        if isinstance(asked.detail, Asked5):
            self._session.lost()
        if not self._negotiation.lost(asked.version):
            return None
        self._draft = self._standing = None
        self._session.forget_references()
        return "does not answer in NTPv5, and is asked in version 4 again"

    def forget(self) -> None:
        """See ``Speech``."""
        self._session.forget()


def _speak(wanted: SpeakV5, authenticator: Authenticator) -> SpeakV5:
    """As configured, unless keys are good for one version only."""
    if authenticator.version is None:
        return wanted
    return SpeakV5.ALWAYS if authenticator.version == VERSION else SpeakV5.NEVER
