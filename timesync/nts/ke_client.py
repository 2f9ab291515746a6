"""The client's side of NTS key establishment, inside TLS and without any IO (RFC 8915, 4).

Write ``KeClient.request()`` in one piece, because some servers read only once, then give all that comes to ``feed``
until it returns a result; when the connection ends, give that to ``ended``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from timesync.nts.aead import AeadId, supported
from timesync.nts.keys import Exporter, SessionKeys, client_keys
from timesync.wire.error import WireError
from timesync.wire.nts_ke import MAX_MESSAGE, NextProtocol, RecordReader
from timesync.wire.nts_ke_message import Request, Response, encode_request, parse_response

MAX_COOKIE: Final = 256
"""Octets of a cookie that is taken, as chrony has it; with eight longer ones a packet would be cut on its way."""

MAX_COOKIES: Final = 8
"""RFC 8915, 5.7: a client holds no more."""

DEFAULT_AEADS: Final = supported(AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256)
"""As chrony offers them: the shorter cookies first, where they can be had."""


class KeFault(StrEnum):
    """Why no keys came of it."""

    FORMAT = "format"
    """The response breaks the rules of its format, or is too long."""
    CUT = "cut"
    """The connection ended before the response did."""
    SERVER_ERROR = "server-error"
    """The server answered with an Error record."""
    SERVER_WARNING = "server-warning"
    """It warned of something; no warning is registered, and an unknown one is as an error (RFC 8915, 4.1.4)."""
    NO_PROTOCOL = "no-protocol"
    """It speaks none of the protocols that were offered."""
    NO_AEAD = "no-aead"
    """It knows none of the AEADs that were offered."""
    NOT_OFFERED = "not-offered"
    """It chose what was not offered, or more than one."""
    NO_COOKIES = "no-cookies"
    """It gave no cookie that can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeOffer:
    """What a client offers.

    Attributes:
        protocols: ``NextProtocol``, best first.
        aeads: Best first; all must be ``supported``.
        server: NTP server that it would like; None: whichever the other side names.
        port: UDP port that it would like.
        denied: Servers that it does not want from a pool.
    """

    protocols: tuple[int, ...] = (NextProtocol.NTPV4,)
    aeads: tuple[AeadId, ...] = DEFAULT_AEADS
    server: str | None = None
    port: int | None = None
    denied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What came of it.

    Attributes:
        protocol: The one that both speak.
        keys: Keys to try, in that order; nearly always one (``nts/keys.py`` has the exception).
        cookies: 1 to 8, each of 1 to 256 octets, a multiple of 4.
        server: NTP server to use; None: the one that NTS-KE was made with.
        port: UDP port to use; None: 123.
        unusable: Cookies that were left out because of their size or because there were more than eight.
    """

    protocol: int
    keys: tuple[SessionKeys, ...]
    cookies: tuple[bytes, ...] = field(repr=False)
    server: str | None = None
    port: int | None = None
    unusable: int = 0


@dataclass(frozen=True, slots=True)
class KeRefused:
    """No keys came of it.

    Attributes:
        fault: Why.
        text: One sentence for people.
    """

    fault: KeFault
    text: str


class KeClient:
    """One key establishment.

    Args:
        offer: What to offer.
        max_message: Octets of a response that is taken.
    """

    def __init__(self, offer: KeOffer, max_message: int = MAX_MESSAGE) -> None:
        self._offer = offer
        self._reader = RecordReader(max_message)

    def request(self) -> bytes:
        """The octets to send."""
        offer = self._offer
        return encode_request(
            Request(
                protocols=offer.protocols,
                algorithms=tuple(offer.aeads),
                compliant_128gcm=AeadId.AES_128_GCM_SIV in offer.aeads,
                server=offer.server,
                port=offer.port,
                denied=offer.denied,
            )
        )

    def feed(self, octets: bytes, exporter: Exporter) -> Agreed | KeRefused | None:
        """What came of it once the response is whole or can no longer be right; else None."""
        try:
            records = self._reader.feed(octets)
            if records is None:
                return None
            response = parse_response(records)
        except WireError as error:
            return KeRefused(KeFault.FORMAT, f"The response is malformed: {error}.")
        return judge_response(self._offer, response, exporter)

    def ended(self) -> KeRefused:
        """The connection has ended, and ``feed`` has not given a result."""
        return KeRefused(KeFault.CUT, "The server closed the connection before its response was whole.")


def judge_response(offer: KeOffer, response: Response, exporter: Exporter) -> Agreed | KeRefused:
    """Whether a response fits the offer, and the keys if it does; the exporter is not called before that."""
    refused = _judge_choice(offer, response)
    if refused is not None:
        return refused
    assert response.protocols
    assert response.algorithms
    protocol, aead = response.protocols[0], AeadId(response.algorithms[0])
    usable = tuple(cookie for cookie in response.cookies if usable_cookie(cookie))[:MAX_COOKIES]
    if not usable:
        return KeRefused(KeFault.NO_COOKIES, f"None of the {len(response.cookies)} cookies can be used.")
    return Agreed(
        protocol=protocol,
        keys=client_keys(exporter, protocol, aead, server_complies=response.compliant_128gcm),
        cookies=usable,
        server=response.server,
        port=response.port,
        unusable=len(response.cookies) - len(usable),
    )


def _judge_choice(offer: KeOffer, response: Response) -> KeRefused | None:
    if response.error is not None:
        return KeRefused(KeFault.SERVER_ERROR, f"The server answered with error {response.error}{_named(response)}.")
    if response.warning is not None:
        return KeRefused(KeFault.SERVER_WARNING, f"The server answered with warning {response.warning}.")
    if not response.protocols:
        return KeRefused(KeFault.NO_PROTOCOL, "The server speaks none of the protocols that were offered.")
    if len(response.protocols) > 1 or response.protocols[0] not in offer.protocols:
        return KeRefused(KeFault.NOT_OFFERED, f"The server chose protocols {list(response.protocols)}.")
    if not response.algorithms:
        return KeRefused(KeFault.NO_AEAD, "The server knows none of the AEAD algorithms that were offered.")
    if len(response.algorithms) > 1 or response.algorithms[0] not in offer.aeads:
        return KeRefused(KeFault.NOT_OFFERED, f"The server chose AEAD algorithms {list(response.algorithms)}.")
    if response.port == 0:
        return KeRefused(KeFault.FORMAT, "The server names UDP port 0.")
    return None


_ERROR_TEXTS: Final = {0: "unrecognized critical record", 1: "bad request", 2: "internal server error"}


def _named(response: Response) -> str:
    text = _ERROR_TEXTS.get(-1 if response.error is None else response.error)
    return "" if text is None else f" ({text})"


def usable_cookie(cookie: bytes) -> bool:
    """Whether a cookie's size allows it in an extension field: 1 to 256 octets, a multiple of four."""
    return 0 < len(cookie) <= MAX_COOKIE and len(cookie) % 4 == 0
