"""TLS 1.3 for NTS-KE (RFC 8446; RFC 8915, 3 and 4), without sockets: octets in, octets out.

pyOpenSSL, because Python's own ``ssl`` has no exporter. Sessions are driven by whoever has the network: ``receive``
takes what came, ``outgoing`` gives what is to be sent. The key exchange prefers X25519MLKEM768 wherever OpenSSL has
it (3.5 and later offer it first by themselves); ``TlsFacts.group`` says what was agreed.

OpenSSL is told not to judge dates by the machine's clock: the dates of every certificate of the chain are compared
with ``now`` here, so that a board without a right clock can put that judgement off (``timesync.nts.bootstrap``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.nts.certificates import (
    MALFORMED,
    CertificateError,
    Dates,
    KeyPair,
    Validity,
    clean,
    covers,
    dates_wrong,
    load_certificates,
    names_of,
    numeric,
    subject_of,
    title_of,
    utc_text,
    validity_of,
)

ALPN: Final = b"ntske/1"
POST_QUANTUM_GROUPS: Final = frozenset({"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"})
"""Hybrids that stay secret when either half does (draft-ietf-tls-ecdhe-mlkem)."""

MAX_HANDSHAKE: Final = 65_536
"""Octets that a peer may send until the handshake is done; a chain of many RSA certificates has 20,000."""

_PIECE: Final = 16_384
# X509_V_ERR_*, openssl/x509_vfy.h.
_DATE_ERRORS: Final = frozenset({9, 10})
_SELF_SIGNED: Final = 18
_ROOT_UNKNOWN: Final = 19
_ISSUER_UNKNOWN: Final = frozenset({2, 20, 21})
_OTHER: Final = {
    7: "carries a signature that is wrong",
    22: "has a chain that is too long",
    23: "was revoked",
    24: "was issued by an authority without a key",
    25: "has a chain that is longer than its authority allows",
    26: "is not for TLS servers",
    66: "has a key that is too short",
    67: "was issued by an authority whose key is too short",
    68: "carries a signature by a weak algorithm",
    79: "was issued by a certificate that is no authority",
}


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


class Trust:
    """Whose certificates a client believes; to be made once and kept, as reading a store takes milliseconds."""

    def __init__(self, context: SSL.Context) -> None:
        """Not for others: see ``system`` and ``from_pem``."""
        context.set_alpn_protos([ALPN])
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context = context
        self._store = _store(context)
        # A certificate that the user names himself is believed, whoever issued it.
        self._store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)

    @classmethod
    def system(cls) -> Trust:
        """The system's store (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name another)."""
        context = _context(SSL.TLS_CLIENT_METHOD)
        context.set_default_verify_paths()
        return cls(context)

    @classmethod
    def from_pem(cls, pem: bytes) -> Trust:
        """These certificates and no others. Raises CertificateError."""
        context = _context(SSL.TLS_CLIENT_METHOD)
        store = _store(context)
        for certificate in load_certificates(pem):
            try:
                store.add_cert(crypto.X509.from_cryptography(certificate))
            except crypto.Error as error:
                raise CertificateError(f"has a certificate that OpenSSL refuses: {_words(error)}") from None
        return cls(context)

    def connection(self, now: Instant[Utc]) -> SSL.Connection:
        """A new connection; where several chains are possible, OpenSSL prefers what is valid at ``now``."""
        # Any date of OpenSSL's is before 10000.
        seconds = min(max(now.scaled_ns // UNITS_PER_S, 0), 253_402_300_799)
        self._store.set_time(datetime.fromtimestamp(seconds, UTC))
        return SSL.Connection(self._context, None)


class TlsSession:
    """One end of a connection; ``ClientTls`` or ``ServerTls``."""

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
        words = _words(error)
        if isinstance(error, SSL.SysCallError):
            return TlsError(TlsReason.CLOSED, "the connection was closed during the TLS handshake")
        if "alert" in words and "no application protocol" in words:
            return TlsError(TlsReason.ALPN, "the peer does not speak NTS-KE (it refuses ALPN ntske/1)")
        if "alert" in words:
            return TlsError(TlsReason.PEER_REFUSED, f"the peer ended the TLS handshake: {words}")
        return TlsError(TlsReason.BROKEN, f"the peer does not speak TLS 1.3 as we do: {words}")


class ClientTls(TlsSession):
    """A client's end: believes a server whose certificate is issued by one that is trusted, for its name, and now."""

    def __init__(self, trust: Trust, server: str, now: Instant[Utc], *, floor: Instant[Utc] | None = None) -> None:
        """Begin; ``outgoing`` has the first octets.

        Args:
            trust: Whose certificates are believed.
            server: The server as the user names it: a DNS name, with or without its last dot, or an address.
            now: What our clock says.
            floor: Our clock has never been right since the machine started, and the true time is this or later: dates
                that do not fit ``now`` are told in ``facts``, and only those that cannot fit any time from ``floor`` on
                are held against the server. None: the dates must fit ``now``.
        """
        super().__init__(trust.connection(now))
        self._server = server.removesuffix(".")
        self._now = now
        self._floor = floor
        self._problem: TlsError | None = None
        self._validity: Validity | None = None
        self._late: str | None = None
        self._names: tuple[str, ...] = ()
        self._connection.set_verify(SSL.VERIFY_PEER, self._verify)
        # An address is no server name (RFC 6066, 3).
        if numeric(self._server) is None:
            self._connection.set_tlsext_host_name(self._server.encode("ascii"))
        self._connection.set_connect_state()
        self._advance()

    def _verify(self, _: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Called by OpenSSL for each certificate, the server's own last, and for each thing that is wrong."""
        try:
            certificate = shown.to_cryptography()
            if not ok and error not in _DATE_ERRORS:
                self._problem = self._distrust(certificate, error, depth)
            elif ok:
                self._problem = self._judge(certificate, depth)
        except (crypto.Error, *MALFORMED) as wrong:
            text = f"{self._server} shows a certificate that cannot be read: {clean(str(wrong))}"
            self._problem = TlsError(TlsReason.BAD_CERTIFICATE, text)
        return self._problem is None

    def _judge(self, certificate: x509.Certificate, depth: int) -> TlsError | None:
        """Dates of any, and the name of the server's own."""
        validity = validity_of(certificate)
        self._validity = validity if self._validity is None else self._validity.within(validity)
        what = f"the certificate of {self._server}"
        if depth:
            what += f' was issued by "{subject_of(certificate.subject)}", whose certificate'
        wrong = dates_wrong(what, validity, self._now)
        if wrong is not None and self._floor is None:
            late = validity.at(self._now) is Dates.AFTER
            return TlsError(TlsReason.EXPIRED if late else TlsReason.NOT_YET_VALID, wrong)
        self._late = self._late or wrong
        # Where the dates fit our clock the floor does not count: it may come from a time that was wrong itself.
        if wrong is not None and self._floor is not None and self._validity.at(self._floor) is Dates.AFTER:
            text = f"{what} expired on {utc_text(validity.not_after)}, and it is later than {utc_text(self._floor)}"
            return TlsError(TlsReason.EXPIRED, text)
        if depth:
            return None
        self._names = names_of(certificate)
        if covers(self._names, self._server):
            return None
        shown = f"is for {title_of(certificate)}" if self._names else "has no name (subjectAltName)"
        text = f"the certificate of the server {shown}, not for {self._server}"
        return TlsError(TlsReason.NAME_MISMATCH, text)

    def _distrust(self, certificate: x509.Certificate, error: int, depth: int) -> TlsError:
        """The sentence for an error of OpenSSL's."""
        whose = f"the certificate of {self._server}"
        if error == _SELF_SIGNED:
            text = f"{whose} is signed by itself, and is not among those that are trusted; name it by ca: to trust it"
            return TlsError(TlsReason.UNKNOWN_CA, text)
        if error == _ROOT_UNKNOWN:
            root = subject_of(certificate.subject)
            text = f'{whose} goes back to "{root}", which is not trusted; name its certificate by ca: to trust it'
            return TlsError(TlsReason.UNKNOWN_CA, text)
        if error in _ISSUER_UNKNOWN:
            text = (
                f'{whose} goes back to "{subject_of(certificate.issuer)}", which is neither trusted nor shown by the'
                " server; name its certificate by ca:, or have the server send its whole chain"
            )
            return TlsError(TlsReason.UNKNOWN_CA, text)
        if depth:
            whose = f'"{subject_of(certificate.subject)}", above {whose},'
        text = f"{whose} {_OTHER.get(error, f'is not accepted by OpenSSL (X509_V_ERR {error})')}"
        return TlsError(TlsReason.BAD_CERTIFICATE, text)

    def _agreed(self) -> TlsFacts:
        facts = super()._agreed()
        return TlsFacts(
            version=facts.version,
            cipher=facts.cipher,
            group=facts.group,
            names=self._names,
            validity=self._validity,
            dates_wrong=self._late,
        )

    def _explain(self, error: Exception) -> TlsError:
        return self._problem or super()._explain(error)


class ServerContext:
    """Certificates that a server shows, chosen by the name that a client asks for; the first is for all others."""

    def __init__(self, pairs: tuple[KeyPair, ...]) -> None:
        """At least one pair. Raises CertificateError when OpenSSL refuses one."""
        if not pairs:
            raise CertificateError("there is no certificate to show")
        self._pairs = tuple((pair.names, _server_context(pair)) for pair in pairs)
        default = self._pairs[0][1]
        if len(pairs) > 1:
            default.set_tlsext_servername_callback(self._choose)

    def connection(self) -> SSL.Connection:
        """A new connection."""
        return SSL.Connection(self._pairs[0][1], None)

    def _choose(self, connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        if asked is None:
            return
        name = asked.decode("ascii", "replace")
        for names, context in self._pairs:
            if covers(names, name):
                connection.set_context(context)
                return


class ServerTls(TlsSession):
    """A server's end; asks the client for no certificate."""

    def __init__(self, context: ServerContext) -> None:
        super().__init__(context.connection())
        self._connection.set_accept_state()


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    return context


def _store(context: SSL.Context) -> crypto.X509Store:
    store = context.get_cert_store()
    assert store is not None  # every context has one
    return store


def _server_context(pair: KeyPair) -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD)
    # Each client comes once in weeks: nothing is kept for it, nor given to it to keep.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_alpn_select_callback(_select_alpn)
    try:
        context.use_certificate(pair.chain[0])
        for issuer in pair.chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(pair.key)
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError(f"OpenSSL refuses the certificate: {_words(error)}") from None
    return context


def _select_alpn(_: SSL.Connection, offered: list[bytes]) -> bytes:
    if ALPN in offered:
        return ALPN
    # Makes OpenSSL send the alert no_application_protocol (RFC 7301, 3.2), and comes out of do_handshake.
    raise TlsError(TlsReason.ALPN, "the client does not offer ntske/1")


def _words(error: Exception) -> str:
    """OpenSSL's reasons, without its numbers."""
    queue = error.args[0] if error.args else ()
    if isinstance(queue, list):
        return clean("; ".join(str(entry[-1]) for entry in queue)) or "no reason given"
    return clean(str(error)) or "no reason given"
