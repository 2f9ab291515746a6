"""A server's end of TLS for NTS-KE: which certificate it shows."""

from __future__ import annotations

from OpenSSL import SSL

from timesync.nts.certificates import CertificateError, KeyPair, covers
from timesync.nts.tls import ALPN, TlsError, TlsReason, TlsSession, tls_context, words_of


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


def _server_context(pair: KeyPair) -> SSL.Context:
    context = tls_context(SSL.TLS_SERVER_METHOD)
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
        raise CertificateError(f"OpenSSL refuses the certificate: {words_of(error)}") from None
    return context


def _select_alpn(_: SSL.Connection, offered: list[bytes]) -> bytes:
    if ALPN in offered:
        return ALPN
    # Makes OpenSSL send the alert no_application_protocol (RFC 7301, 3.2), and comes out of do_handshake.
    raise TlsError(TlsReason.ALPN, "the client does not offer ntske/1")
