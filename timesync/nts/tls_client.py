"""A client's end of TLS for NTS-KE: whose certificates it believes, and why not.

OpenSSL is told not to judge dates by the machine's clock: the dates of every certificate of the chain are compared
with ``now`` here, so that a board without a right clock can put that judgement off (``timesync.nts.bootstrap``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.nts.certificates import (
    MALFORMED,
    CertificateError,
    Dates,
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
from timesync.nts.tls import ALPN, TlsError, TlsFacts, TlsReason, TlsSession, tls_context, words_of

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
        context = tls_context(SSL.TLS_CLIENT_METHOD)
        context.set_default_verify_paths()
        return cls(context)

    @classmethod
    def from_pem(cls, pem: bytes) -> Trust:
        """These certificates and no others. Raises CertificateError."""
        context = tls_context(SSL.TLS_CLIENT_METHOD)
        store = _store(context)
        for certificate in load_certificates(pem):
            try:
                store.add_cert(crypto.X509.from_cryptography(certificate))
            except crypto.Error as error:
                raise CertificateError(f"has a certificate that OpenSSL refuses: {words_of(error)}") from None
        return cls(context)

    def connection(self, now: Instant[Utc]) -> SSL.Connection:
        """A new connection; where several chains are possible, OpenSSL prefers what is valid at ``now``."""
        # Any date of OpenSSL's is before 10000.
        seconds = min(max(now.scaled_ns // UNITS_PER_S, 0), 253_402_300_799)
        self._store.set_time(datetime.fromtimestamp(seconds, UTC))
        return SSL.Connection(self._context, None)


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


def _store(context: SSL.Context) -> crypto.X509Store:
    store = context.get_cert_store()
    assert store is not None  # every context has one
    return store
