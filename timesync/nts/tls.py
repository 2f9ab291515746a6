"""TLS 1.3 for NTS-KE (RFC 8446; RFC 8915, 3 and 4), without sockets: octets in, octets out; what both ends share.

pyOpenSSL, because Python's own ``ssl`` has no exporter. Sessions are driven by whoever has the network: ``receive``
takes what came, ``outgoing`` gives what is to be sent. The key exchange prefers X25519MLKEM768 wherever OpenSSL has
it (3.5 and later offer it first by themselves); ``TlsFacts.group`` says what was agreed. The two ends are
``tls_client.ClientTls`` and ``tls_server.ServerTls``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from OpenSSL import SSL, crypto

from timesync.nts.certificates import MALFORMED, Validity, clean

ALPN: Final = b"ntske/1"
POST_QUANTUM_GROUPS: Final = frozenset({"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"})
"""Hybrids that stay secret when either half does (draft-ietf-tls-ecdhe-mlkem)."""

MAX_HANDSHAKE: Final = 65_536
"""Octets that a peer may send until the handshake is done; a chain of many RSA certificates has 20,000."""

_PIECE: Final = 16_384


class TlsReason(Enum):
    """What kind of thing went wrong."""

    EXPIRED = "certificate expired"
    NOT_YET_VALID = "certificate not yet valid"
    NAME_MISMATCH = "certificate for another name"
    UNKNOWN_CA = "unknown certificate authority"
    BAD_CERTIFICATE = "bad certificate"
    ALPN = "no agreement on ntske/1"
    PEER_REFUSED = "refused by the peer"
    BROKEN = "not TLS 1.3"
    CLOSED = "connection ended"
    TOO_LONG = "too many octets"


CERTIFICATE_REASONS: Final = frozenset(
    {
        TlsReason.EXPIRED,
        TlsReason.NOT_YET_VALID,
        TlsReason.NAME_MISMATCH,
        TlsReason.UNKNOWN_CA,
        TlsReason.BAD_CERTIFICATE,
    }
)


class TlsError(Exception):
    """The connection is of no use; what ``outgoing`` still gives (an alert) is worth sending.

    Attributes:
        reason: The kind.
    """

    def __init__(self, reason: TlsReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What was agreed.

    Attributes:
        version: ``TLSv1.3``.
        cipher: Name of the cipher suite.
        group: Name of the key exchange; None when OpenSSL cannot say.
        names: What the server's certificate is for; empty at a server.
        validity: When every certificate of the server's chain is valid; None at a server.
        dates_wrong: Why the dates do not fit our clock, in a sentence, where that judgement was put off; else None.
    """

    version: str
    cipher: str
    group: str | None
    names: tuple[str, ...] = ()
    validity: Validity | None = None
    dates_wrong: str | None = None

    @property
    def post_quantum(self) -> bool:
        """Whether what was agreed stays secret from a future quantum computer."""
        return self.group in POST_QUANTUM_GROUPS


class TlsSession:
    """One end of a connection."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._taken = 0
        self.facts: TlsFacts | None = None
        """What was agreed, once the handshake is done."""
        self.ended = False
        """Whether the peer has said that it sends nothing more (close_notify)."""

    @property
    def established(self) -> bool:
        """Whether the handshake is done: ``send`` and ``export`` work."""
        return self.facts is not None

    def receive(self, data: bytes) -> bytes:
        """Take octets that came; the decrypted ones among them, if any. Raises TlsError."""
        plain: list[bytes] = []
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._taken += len(piece)
            if not self.established and self._taken > MAX_HANDSHAKE:
                raise TlsError(TlsReason.TOO_LONG, f"the TLS handshake has more than {MAX_HANDSHAKE} octets")
            self._connection.bio_write(piece)
            plain.append(self._advance())
        return b"".join(plain)

    def finish(self) -> None:
        """The network has nothing more. Raises TlsError when the peer should have sent more."""
        if not self.established:
            raise TlsError(TlsReason.CLOSED, "the connection was closed during the TLS handshake")
        self.ended = True

    def outgoing(self) -> bytes:
        """What is to be sent now; empty when there is nothing."""
        pieces: list[bytes] = []
        while True:
            try:
                pieces.append(self._connection.bio_read(_PIECE))
            except SSL.WantReadError:
                return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Encrypt octets for ``outgoing``; after the handshake. Raises TlsError."""
        assert self.established
        view = memoryview(data)
        try:
            while view:
                view = view[self._connection.send(view[:_PIECE]) :]
        except SSL.Error as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Say that nothing more is sent (close_notify, RFC 8446, 6.1)."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            # In the middle of a handshake there is nothing to close.
            return

    def export(self, label: bytes, length: int, context: bytes, /) -> bytes:
        """Keying material of this connection (RFC 8446, 7.5); after the handshake. Raises TlsError."""
        assert self.established
        try:
            return self._connection.export_keying_material(label, length, context)
        except SSL.Error as error:
            raise self._explain(error) from None

    def _advance(self) -> bytes:
        """As far as the octets go: the handshake, then what is decrypted."""
        plain: list[bytes] = []
        try:
            if not self.established:
                self._connection.do_handshake()
                self.facts = self._agreed()
            while not self.ended:
                plain.append(self._connection.recv(_PIECE))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        except TlsError:
            raise
        except (SSL.Error, crypto.Error, *MALFORMED) as error:
            raise self._explain(error) from None
        return b"".join(plain)

    def _agreed(self) -> TlsFacts:
        """The facts. Raises TlsError when they will not do."""
        connection = self._connection
        if connection.get_alpn_proto_negotiated() != ALPN:
            raise TlsError(TlsReason.ALPN, "the peer speaks TLS, but not NTS-KE (no ALPN ntske/1)")
        try:
            group = connection.get_group_name()
        except NotImplementedError:  # an OpenSSL that is older than 3.2
            group = None
        return TlsFacts(
            version=connection.get_protocol_version_name(), cipher=connection.get_cipher_name() or "", group=group
        )

    def _explain(self, error: Exception) -> TlsError:
        """What OpenSSL's errors mean."""
        words = words_of(error)
        if isinstance(error, SSL.SysCallError):
            return TlsError(TlsReason.CLOSED, "the connection was closed during the TLS handshake")
        if "alert" in words and "no application protocol" in words:
            return TlsError(TlsReason.ALPN, "the peer does not speak NTS-KE (it refuses ALPN ntske/1)")
        if "alert" in words:
            return TlsError(TlsReason.PEER_REFUSED, f"the peer ended the TLS handshake: {words}")
        return TlsError(TlsReason.BROKEN, f"the peer does not speak TLS 1.3 as we do: {words}")


def tls_context(method: int) -> SSL.Context:
    """TLS 1.3 and nothing older; ``method`` says which end."""
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    return context


def words_of(error: Exception) -> str:
    """OpenSSL's reasons, without its numbers."""
    queue = error.args[0] if error.args else ()
    if isinstance(queue, list):
        return clean("; ".join(str(entry[-1]) for entry in queue)) or "no reason given"
    return clean(str(error)) or "no reason given"
