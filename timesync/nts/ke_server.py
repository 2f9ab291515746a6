"""The server's side of NTS key establishment, inside TLS and without any IO (RFC 8915, 4).

Give the client's octets to ``KeServer.feed`` until it returns a reply; send that, and close the connection unless the
reply says otherwise. It holds at most one request of ``max_message`` octets.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from timesync.nts.aead import AeadId, key_size, supported
from timesync.nts.keys import Exporter, SessionKeys, server_keys
from timesync.wire.error import WireError
from timesync.wire.nts_ke import MAX_REQUEST, ErrorCode, NextProtocol, RecordReader
from timesync.wire.nts_ke_message import (
    FixedKeys,
    PoolAsk,
    Request,
    RequestError,
    Response,
    encode_response,
    parse_request,
)

CookieMaker = Callable[[SessionKeys], bytes]
"""Makes a new cookie; ``CookieJar.make``."""

COOKIES: Final = 8
"""RFC 8915, 4.1.6: a server should give eight."""

DEFAULT_AEADS: Final = supported(AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512)


class KeOutcome(StrEnum):
    """What became of a request; counted by these names."""

    ESTABLISHED = "established"
    """Cookies were given."""
    SUPPORTED = "supported"
    """A pool was told what is spoken."""
    NO_PROTOCOL = "no-protocol"
    """Nothing that the client speaks is spoken here."""
    NO_AEAD = "no-aead"
    """No AEAD that the client offers is known here."""
    UNRECOGNIZED = "unrecognized"
    """A critical record of unknown type."""
    BAD_REQUEST = "bad-request"
    """It breaks the rules, or a pool has no right to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeServerSettings:
    """What a server offers.

    Attributes:
        aeads: Which it takes, best first; its own preference decides. All must be ``supported``.
        protocols: Which it speaks, best first.
        server: NTP server that clients are sent to; None: the one that they asked.
        port: UDP port that clients are sent to; None: 123.
        max_message: Octets of a request.
        pool_tokens: Tokens of pools that may ask for cookies for keys of theirs; without any, pools are unknown here.
    """

    aeads: tuple[AeadId, ...] = DEFAULT_AEADS
    protocols: tuple[int, ...] = (NextProtocol.NTPV4,)
    server: str | None = None
    port: int | None = None
    max_message: int = MAX_REQUEST
    pool_tokens: frozenset[bytes] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeReply:
    """What to send.

    Attributes:
        data: All of it.
        outcome: What became of the request.
        keep_open: A pool may ask again; give its octets to ``feed``. Else close.
        protocol: The one agreed upon, if any.
        aead: The one agreed upon, if any.
    """

    data: bytes = field(repr=False)
    outcome: KeOutcome
    keep_open: bool = False
    protocol: int | None = None
    aead: AeadId | None = None


class KeServer:
    """One connection.

    Args:
        settings: What to offer.
        make_cookie: Makes a cookie for the client's keys.
    """

    def __init__(self, settings: KeServerSettings, make_cookie: CookieMaker) -> None:
        self._settings = settings
        self._make_cookie = make_cookie
        self._reader = RecordReader(settings.max_message)

    def feed(self, octets: bytes, exporter: Exporter) -> KeReply | None:
        """The reply once the request is whole, or can no longer be right; else None."""
        settings = self._settings
        try:
            records = self._reader.feed(octets)
            if records is None:
                return None
            request = parse_request(records, pool=bool(settings.pool_tokens))
            self._check_pool(request)
        except RequestError as error:
            return _refusal(error.code)
        except WireError:
            return _refusal(ErrorCode.BAD_REQUEST)
        return self._answer(request, exporter)

    def _check_pool(self, request: Request) -> None:
        """Raises RequestError when a pool asks what it may not, or asks nonsense."""
        ask = request.pool
        if ask is None:
            return
        known = [hmac.compare_digest(token, ask.token or b"") for token in self._settings.pool_tokens]
        if not any(known):
            raise RequestError(ErrorCode.BAD_REQUEST, "a pool without a known token")
        if ask.fixed_keys is None:
            return
        if ask.protocols or ask.algorithms or len(request.protocols) != 1 or len(request.algorithms) != 1:
            raise RequestError(ErrorCode.BAD_REQUEST, "fixed keys for more than one protocol or AEAD algorithm")
        aead = request.algorithms[0]
        if aead in self._settings.aeads and len(ask.fixed_keys.c2s) != key_size(AeadId(aead)):
            raise RequestError(ErrorCode.BAD_REQUEST, "fixed keys of another size than their AEAD algorithm's")

    def _answer(self, request: Request, exporter: Exporter) -> KeReply:
        settings, ask = self._settings, request.pool
        # Only a pool has a use for a second request; from others an open connection is a cost.
        keep_open = request.keep_alive and ask is not None
        if ask is not None and (ask.protocols or ask.algorithms):
            self._next_request(keep_open=keep_open)
            data = encode_response(self._supported(ask, keep_open=keep_open))
            return KeReply(data=data, outcome=KeOutcome.SUPPORTED, keep_open=keep_open)
        protocol = next((one for one in settings.protocols if one in request.protocols), None)
        if protocol is None:
            return KeReply(data=encode_response(Response(protocols=())), outcome=KeOutcome.NO_PROTOCOL)
        aead = next((one for one in settings.aeads if one in request.algorithms), None)
        if aead is None:
            data = encode_response(Response(protocols=(protocol,), algorithms=()))
            return KeReply(data=data, outcome=KeOutcome.NO_AEAD, protocol=protocol)
        fixed = None if ask is None else ask.fixed_keys
        keys = self._keys(request, fixed, protocol, aead, exporter)
        self._next_request(keep_open=keep_open)
        response = Response(
            protocols=(protocol,),
            algorithms=(aead,),
            cookies=tuple(self._make_cookie(keys) for _ in range(COOKIES)),
            compliant_128gcm=request.compliant_128gcm and aead is AeadId.AES_128_GCM_SIV,
            server=settings.server,
            port=settings.port,
            keep_alive=keep_open,
        )
        return KeReply(
            data=encode_response(response),
            outcome=KeOutcome.ESTABLISHED,
            keep_open=keep_open,
            protocol=protocol,
            aead=aead,
        )

    def _next_request(self, *, keep_open: bool) -> None:
        if keep_open:
            self._reader = RecordReader(self._settings.max_message)

    def _keys(
        self, request: Request, fixed: FixedKeys | None, protocol: int, aead: AeadId, exporter: Exporter
    ) -> SessionKeys:
        if fixed is not None:
            return SessionKeys(aead, fixed.c2s, fixed.s2c)
        return server_keys(exporter, protocol, aead, client_complies=request.compliant_128gcm)

    def _supported(self, ask: PoolAsk, *, keep_open: bool) -> Response:
        settings = self._settings
        pairs = tuple((int(aead), key_size(aead)) for aead in settings.aeads)
        return Response(
            supported_protocols=settings.protocols if ask.protocols else None,
            supported_algorithms=pairs if ask.algorithms else None,
            keep_alive=keep_open,
        )


def _refusal(code: ErrorCode) -> KeReply:
    unknown = code is ErrorCode.UNRECOGNIZED_CRITICAL_RECORD
    outcome = KeOutcome.UNRECOGNIZED if unknown else KeOutcome.BAD_REQUEST
    return KeReply(data=encode_response(Response(error=code)), outcome=outcome)
