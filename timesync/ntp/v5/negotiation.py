"""Which version to speak with a server (draft-ietf-ntp-ntpv5-07, "NTPv5 Negotiation in Previous NTP Versions").

A client that does not know begins in version 4 with a mark in the reference timestamp. Only an answer that passed all
tests can raise the version, and only silence lowers it: no message can talk us down.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from timesync.wire.ntp5 import UPGRADE_DRAFT

TRIES: Final = 8
"""Answers without the mark after which the server is taken to be an older one; as ntpd-rs has it."""

MAX_LOST: Final = 2
"""Requests in version 5 without an answer, after which a server that has never answered in it gets version 4 again."""

MAX_LOST_PROVED: Final = 8
"""The same for one that has: it is rather down than older, and version 4 would not find it either."""

PAUSE: Final = 256
"""Requests in version 4 until version 5 is tried again; the draft's figure."""


class SpeakV5(Enum):
    """Whether to speak NTPv5."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Negotiation:
    """The version for one server, and the draft of version 5.

    Args:
        speak: As configured.
        drafts: Names, the preferred one first; at least one.
    """

    def __init__(self, speak: SpeakV5, drafts: tuple[str, ...]) -> None:
        if not drafts:
            raise ValueError("NTPv5 without a draft")
        self._speak = speak
        self._drafts = drafts
        self._draft = 0
        self._version = 5 if speak is SpeakV5.ALWAYS else 4
        self._tries = TRIES if speak is SpeakV5.AUTO else 0
        self._lost = 0
        self._pause = 0
        self._proved = False

    @property
    def version(self) -> int:
        """Of the next request: 4 or 5."""
        return self._version

    @property
    def draft(self) -> str:
        """Which draft to name in a request of version 5."""
        return self._drafts[self._draft]

    @property
    def reference(self) -> int:
        """Reference timestamp of the next request in version 4: the mark while we ask, else 0."""
        return UPGRADE_DRAFT if self._version == 4 and self._tries else 0

    def answered(self, version: int, reference: int = 0) -> bool:
        """A valid answer came, no kiss. Returns whether the version of the next request changes by it.

        Args:
            version: In which the request had been sent.
            reference: Reference timestamp of the answer, in version 4.
        """
        if version != self._version:
            return False
        self._lost = 0
        if version == 5:
            self._proved = True
            return False
        if self._pause:
            self._pass()
        elif self._tries:
            if reference == UPGRADE_DRAFT:
                self._version = 5
                self._proved = False
                return True
            self._tries -= 1
            if not self._tries:
                self._pause = PAUSE
        return False

    def lost(self, version: int) -> bool:
        """A request of this version stayed without an answer. Returns whether the version of the next one changes.

        A server that does not know our draft is silent too. So while it has never answered, each request names
        another draft, and each is named once before we go back.
        """
        if version != self._version:
            return False
        if version == 4:
            if self._pause:
                self._pass()
            return False
        self._lost += 1
        if not self._proved:
            self._draft = (self._draft + 1) % len(self._drafts)
        patience = MAX_LOST_PROVED if self._proved else max(MAX_LOST, len(self._drafts))
        if self._speak is SpeakV5.ALWAYS:
            self._proved = self._proved and self._lost < MAX_LOST_PROVED
            return False
        if self._lost < patience:
            return False
        self._version, self._lost, self._tries, self._pause = 4, 0, 0, PAUSE
        self._proved = False
        return True

    def _pass(self) -> None:
        self._pause -= 1
        if not self._pause:
            self._tries = TRIES
