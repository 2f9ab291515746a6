"""What makes a server's answers its own: nothing, a symmetric key, or NTS."""

from __future__ import annotations

from typing import Protocol

from timesync.ntp.auth import SymmetricKey
from timesync.ntp.exchange import DropReason, authenticate
from timesync.nts.session import NtsRefusal, NtsSession
from timesync.wire.ntp import Extension, NtpPacket
from timesync.wire.nts_ke import NextProtocol


class Authenticator(Protocol):
    """Signs the requests to one server, and verifies its answers."""

    @property
    def authentic(self) -> bool:
        """An answer that is verified is surely the server's."""
        ...

    @property
    def provisional(self) -> bool:
        """Whether that it is the server's cannot be said before the time is known."""
        ...

    @property
    def version(self) -> int | None:
        """The NTP version that its keys are good for, 4 or 5; None: any."""
        ...

    def sign(self, packet: bytes) -> bytes | None:
        """The request to send for a header; None when none can be sent now (see ``starving``)."""
        ...

    def verify(self, data: bytes, packet: NtpPacket) -> DropReason | None:
        """Why an answer is not believed; None when it is."""
        ...

    def protect(self, message: bytes) -> bytes | None:
        """As ``sign``, for a request of NTPv5, which has its MAC, if any, already."""
        ...

    def opened(self, data: bytes) -> tuple[Extension, ...] | DropReason | None:
        """The fields of an answer of NTPv5 that are authenticated; why it is not believed; None: it is not NTS's."""
        ...


class KeyAuthenticator:
    """A symmetric key, or none (RFC 5905, 7.3)."""

    version: int | None = None

    def __init__(self, key: SymmetricKey | None) -> None:
        """Without a key nothing is signed, and a MAC of the server means nothing."""
        self._key = key

    @property
    def authentic(self) -> bool:
        """There is a key."""
        return self._key is not None

    @property
    def provisional(self) -> bool:
        """Never: a key needs no date."""
        return False

    def sign(self, packet: bytes) -> bytes | None:
        """See ``Authenticator``."""
        return packet if self._key is None else self._key.sign(packet)

    def verify(self, data: bytes, packet: NtpPacket) -> DropReason | None:
        """See ``Authenticator``: test 5."""
        return authenticate(data, packet, self._key)

    def protect(self, message: bytes) -> bytes | None:
        """See ``Authenticator``: in NTPv5 the MAC is a field of the message."""
        return message

    def opened(self, data: bytes) -> tuple[Extension, ...] | DropReason | None:
        """See ``Authenticator``."""
        del data
        return None


class NtsAuthenticator:
    """Keys and cookies of a key establishment (RFC 8915, 5.7).

    Attributes:
        session: The present ones; others take their place after another key establishment.
        provisional: The certificate's dates could not be judged yet: its word is not authentic until they are.
        starving: The last request could not be made: there are no keys or cookies left that can be of use.
    """

    def __init__(self, session: NtsSession, *, provisional: bool = False) -> None:
        self.session = session
        self.provisional = provisional
        self.starving = False

    @property
    def authentic(self) -> bool:
        """Unless it is provisional."""
        return not self.provisional

    @property
    def version(self) -> int | None:
        """That which key establishment agreed on."""
        return 5 if self.session.protocol == NextProtocol.NTPV5_DRAFT else 4

    def renew(self, session: NtsSession, *, provisional: bool = False) -> None:
        """Keys and cookies of another key establishment with the same server."""
        self.session, self.provisional, self.starving = session, provisional, False

    def sign(self, packet: bytes) -> bytes | None:
        """See ``Authenticator``."""
        data = self.session.protect(packet)
        self.starving = data is None
        return data

    def verify(self, data: bytes, packet: NtpPacket) -> DropReason | None:
        """See ``Authenticator``."""
        del packet
        found = self.session.judge(data)
        return DropReason(found.value) if isinstance(found, NtsRefusal) else None

    def protect(self, message: bytes) -> bytes | None:
        """See ``Authenticator``."""
        return self.sign(message)

    def opened(self, data: bytes) -> tuple[Extension, ...] | DropReason | None:
        """See ``Authenticator``."""
        found = self.session.judge(data)
        return DropReason(found.value) if isinstance(found, NtsRefusal) else found.fields
