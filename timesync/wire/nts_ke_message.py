"""Requests and responses of NTS key establishment, made of records (RFC 8915, 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from timesync.wire.error import WireError
from timesync.wire.nts_ke import (
    ErrorCode,
    NextProtocol,
    Record,
    RecordType,
    encode_records,
    number,
    numbers,
    pack_numbers,
)

MAX_NAME: Final = 255
MAX_TOKEN: Final = 256
MAX_KEY: Final = 64
"""Octets of the longest key of a known AEAD."""

POOL_TYPES: Final = frozenset(
    {
        RecordType.SUPPORTED_NEXT_PROTOCOLS,
        RecordType.SUPPORTED_ALGORITHMS,
        RecordType.FIXED_KEY_REQUEST,
        RecordType.AUTHENTICATION_TOKEN,
    }
)
"""What only a pool sends; a server without pools does not know them."""

_NEEDS_AEAD: Final = frozenset({NextProtocol.NTPV4, NextProtocol.NTPV5_DRAFT})


class RequestError(WireError):
    """A request is wrong, and the client is to be told by an Error record (RFC 8915, 4.1.3).

    Attributes:
        code: What to tell it.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Keys that a pool made with its client, and wants cookies for.

    Attributes:
        c2s: Client to server.
        s2c: Server to client; as long as the other.
    """

    c2s: bytes = field(repr=False)
    s2c: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAsk:
    """What a pool asks of a time source (draft-ietf-ntp-nts-keyexchange-pool).

    Attributes:
        token: Proves that the pool may ask; None when it sent none.
        protocols: It asks which protocols are spoken.
        algorithms: It asks which AEADs are known.
        fixed_keys: It asks for cookies for these keys.
    """

    token: bytes | None = field(default=None, repr=False)
    protocols: bool = False
    algorithms: bool = False
    fixed_keys: FixedKeys | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for.

    Attributes:
        protocols: Which it can speak, best first; ``NextProtocol`` (RFC 8915, 4.1.2). Empty only where a pool asks
            what is supported.
        algorithms: Which AEADs, best first (RFC 8915, 4.1.5).
        compliant_128gcm: It exports keys of AEAD_AES_128_GCM_SIV by the RFC, and wants to know whether the server
            does (chrony's record 1024).
        server: The NTP server it would like, a name or an address (RFC 8915, 4.1.7).
        port: The UDP port it would like (RFC 8915, 4.1.8).
        keep_alive: It would like to ask again on this connection (pools).
        denied: Servers that it does not want from a pool.
        pool: What a pool asks; None from an ordinary client.
    """

    protocols: tuple[int, ...] = (NextProtocol.NTPV4,)
    algorithms: tuple[int, ...]
    compliant_128gcm: bool = False
    server: str | None = None
    port: int | None = None
    keep_alive: bool = False
    denied: tuple[str, ...] = ()
    pool: PoolAsk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a server answers; which fields must be there is for the client to judge.

    Attributes:
        protocols: Those of the request that the server speaks too; empty when there is none; None without record.
        algorithms: The AEAD that it chose; empty when there is none; None without record.
        cookies: To be used in NTP packets, in any order (RFC 8915, 4.1.6).
        compliant_128gcm: The server exports keys of AEAD_AES_128_GCM_SIV by the RFC.
        server: NTP server to use instead of the one that answered.
        port: UDP port to use instead of 123.
        error: An ``ErrorCode`` or another number: there are no keys.
        warning: Its code; none is registered, so that each is as an error (RFC 8915, 4.1.4).
        keep_alive: The connection stays open for another request.
        supported_protocols: For a pool that asked.
        supported_algorithms: For a pool that asked; number and key size in octets of each.
    """

    protocols: tuple[int, ...] | None = None
    algorithms: tuple[int, ...] | None = None
    cookies: tuple[bytes, ...] = field(default=(), repr=False)
    compliant_128gcm: bool = False
    server: str | None = None
    port: int | None = None
    error: int | None = None
    warning: int | None = None
    keep_alive: bool = False
    supported_protocols: tuple[int, ...] | None = None
    supported_algorithms: tuple[tuple[int, int], ...] | None = None


def encode_request(request: Request) -> bytes:
    """The octets of a request."""
    records: list[Record] = []
    if request.protocols:
        records.append(Record(RecordType.NEXT_PROTOCOL, pack_numbers(request.protocols), critical=True))
    if request.algorithms:
        records.append(Record(RecordType.AEAD_ALGORITHM, pack_numbers(request.algorithms), critical=True))
    if request.compliant_128gcm:
        records.append(Record(RecordType.COMPLIANT_128GCM_EXPORT))
    # In a request these two are wishes, and are not critical (RFC 8915, 4.1.7 and 4.1.8).
    if request.server is not None:
        records.append(Record(RecordType.SERVER, request.server.encode("ascii")))
    if request.port is not None:
        records.append(Record(RecordType.PORT, pack_numbers((request.port,))))
    if request.keep_alive:
        records.append(Record(RecordType.KEEP_ALIVE))
    records += [Record(RecordType.NTP_SERVER_DENY, name.encode("ascii")) for name in request.denied]
    if request.pool is not None:
        records += _pool_records(request.pool)
    return encode_records(tuple(records))


def _pool_records(ask: PoolAsk) -> list[Record]:
    records: list[Record] = []
    if ask.token is not None:
        records.append(Record(RecordType.AUTHENTICATION_TOKEN, ask.token))
    if ask.protocols:
        records.append(Record(RecordType.SUPPORTED_NEXT_PROTOCOLS, critical=True))
    if ask.algorithms:
        records.append(Record(RecordType.SUPPORTED_ALGORITHMS, critical=True))
    if ask.fixed_keys is not None:
        both = ask.fixed_keys.c2s + ask.fixed_keys.s2c
        records.append(Record(RecordType.FIXED_KEY_REQUEST, both, critical=True))
    return records


def encode_response(response: Response) -> bytes:
    """The octets of a response."""
    records: list[Record] = []
    if response.error is not None:
        records.append(Record(RecordType.ERROR, pack_numbers((response.error,)), critical=True))
    if response.warning is not None:
        records.append(Record(RecordType.WARNING, pack_numbers((response.warning,)), critical=True))
    if response.protocols is not None:
        records.append(Record(RecordType.NEXT_PROTOCOL, pack_numbers(response.protocols), critical=True))
    if response.algorithms is not None:
        records.append(Record(RecordType.AEAD_ALGORITHM, pack_numbers(response.algorithms), critical=True))
    if response.compliant_128gcm:
        records.append(Record(RecordType.COMPLIANT_128GCM_EXPORT))
    if response.server is not None:
        records.append(Record(RecordType.SERVER, response.server.encode("ascii"), critical=True))
    if response.port is not None:
        records.append(Record(RecordType.PORT, pack_numbers((response.port,)), critical=True))
    if response.keep_alive:
        records.append(Record(RecordType.KEEP_ALIVE))
    if response.supported_protocols is not None:
        body = pack_numbers(response.supported_protocols)
        records.append(Record(RecordType.SUPPORTED_NEXT_PROTOCOLS, body, critical=True))
    if response.supported_algorithms is not None:
        body = b"".join(pack_numbers(pair) for pair in response.supported_algorithms)
        records.append(Record(RecordType.SUPPORTED_ALGORITHMS, body, critical=True))
    records += [Record(RecordType.NEW_COOKIE, cookie) for cookie in response.cookies]
    return encode_records(tuple(records))


def parse_request(records: tuple[Record, ...], *, pool: bool = False) -> Request:
    """The request in the records.

    Raises RequestError with the code that the client is to be answered with.

    Args:
        records: Those before End of Message.
        pool: Whether the records of pools are known; else they are as any unknown ones.
    """
    try:
        return _parse_request(_by_type(records, pool=pool), pool=pool)
    except RequestError:
        raise
    except WireError as error:
        raise RequestError(ErrorCode.BAD_REQUEST, str(error)) from None


_FORBIDDEN: Final = (RecordType.ERROR, RecordType.WARNING, RecordType.NEW_COOKIE)


def _by_type(records: tuple[Record, ...], *, pool: bool) -> dict[int, list[Record]]:
    """The records of each known type; unknown ones are left out, or refused when they are critical."""
    found: dict[int, list[Record]] = {}
    for record in records:
        known = record.kind in _KNOWN and (pool or record.kind not in POOL_TYPES)
        if known:
            found.setdefault(record.kind, []).append(record)
        elif record.critical:
            text = f"critical record of unknown type {record.kind}"
            raise RequestError(ErrorCode.UNRECOGNIZED_CRITICAL_RECORD, text)
    return found


_KNOWN: Final = frozenset(RecordType)


def _parse_request(found: dict[int, list[Record]], *, pool: bool) -> Request:
    for kind in _FORBIDDEN:
        if kind in found:
            raise WireError(f"a request with a record of type {kind}")
    ask = _pool_ask(found) if pool else None
    protocols = _listed(found, RecordType.NEXT_PROTOCOL)
    algorithms = _listed(found, RecordType.AEAD_ALGORITHM)
    asks_support = ask is not None and (ask.protocols or ask.algorithms)
    if not protocols and not asks_support:
        raise WireError("no protocol is asked for")
    for record in found.get(RecordType.NEXT_PROTOCOL, ()):
        if not record.critical:
            raise WireError("Next Protocol Negotiation is not critical")
    if not algorithms and _NEEDS_AEAD.intersection(protocols or ()):
        raise WireError("no AEAD algorithm is asked for")
    server = _single(found, RecordType.SERVER)
    port = _single(found, RecordType.PORT)
    return Request(
        protocols=protocols or (),
        algorithms=algorithms or (),
        compliant_128gcm=_flag(found, RecordType.COMPLIANT_128GCM_EXPORT),
        server=None if server is None else server_name(server.body),
        port=None if port is None else number(port.body),
        keep_alive=_flag(found, RecordType.KEEP_ALIVE),
        denied=tuple(server_name(record.body) for record in found.get(RecordType.NTP_SERVER_DENY, ())),
        pool=ask,
    )


def _pool_ask(found: dict[int, list[Record]]) -> PoolAsk | None:
    if not POOL_TYPES.intersection(found):
        return None
    token = _single(found, RecordType.AUTHENTICATION_TOKEN)
    keys = _single(found, RecordType.FIXED_KEY_REQUEST)
    if token is not None and not 1 <= len(token.body) <= MAX_TOKEN:
        raise WireError(f"authentication token of {len(token.body)} octets")
    fixed = None
    if keys is not None:
        size = len(keys.body) // 2
        if len(keys.body) % 2 or not 1 <= size <= MAX_KEY:
            raise WireError(f"fixed keys of {len(keys.body)} octets")
        fixed = FixedKeys(keys.body[:size], keys.body[size:])
    return PoolAsk(
        token=None if token is None else token.body,
        protocols=_flag(found, RecordType.SUPPORTED_NEXT_PROTOCOLS),
        algorithms=_flag(found, RecordType.SUPPORTED_ALGORITHMS),
        fixed_keys=fixed,
    )


def parse_response(records: tuple[Record, ...]) -> Response:
    """The response in the records. Raises WireError when a record is malformed or is there twice.

    A cookie may have any size here: the client leaves out those that it cannot use. An unknown critical record makes
    the whole response useless (RFC 8915, 4).
    """
    found: dict[int, list[Record]] = {}
    for record in records:
        if record.kind in _KNOWN:
            found.setdefault(record.kind, []).append(record)
        elif record.critical:
            raise WireError(f"critical record of unknown type {record.kind}")
    for record in found.get(RecordType.NEXT_PROTOCOL, ()):
        if not record.critical:
            raise WireError("Next Protocol Negotiation is not critical")
    server = _single(found, RecordType.SERVER)
    port = _single(found, RecordType.PORT)
    error = found.get(RecordType.ERROR)
    warning = found.get(RecordType.WARNING)
    pairs = _listed(found, RecordType.SUPPORTED_ALGORITHMS)
    if pairs is not None and len(pairs) % 2:
        raise WireError("supported algorithms without key size")
    return Response(
        protocols=_listed(found, RecordType.NEXT_PROTOCOL),
        algorithms=_listed(found, RecordType.AEAD_ALGORITHM),
        cookies=tuple(record.body for record in found.get(RecordType.NEW_COOKIE, ())),
        compliant_128gcm=_flag(found, RecordType.COMPLIANT_128GCM_EXPORT),
        server=None if server is None else server_name(server.body),
        port=None if port is None else number(port.body),
        error=None if error is None else number(error[0].body),
        warning=None if warning is None else number(warning[0].body),
        keep_alive=_flag(found, RecordType.KEEP_ALIVE),
        supported_protocols=_listed(found, RecordType.SUPPORTED_NEXT_PROTOCOLS),
        supported_algorithms=None if pairs is None else tuple(zip(pairs[::2], pairs[1::2], strict=True)),
    )


def _single(found: dict[int, list[Record]], kind: RecordType) -> Record | None:
    """The one record of a type, None without any. Raises WireError when there are more."""
    records = found.get(kind, ())
    if len(records) > 1:
        raise WireError(f"{len(records)} records of type {kind}")
    return records[0] if records else None


def _listed(found: dict[int, list[Record]], kind: RecordType) -> tuple[int, ...] | None:
    record = _single(found, kind)
    return None if record is None else numbers(record.body)


def _flag(found: dict[int, list[Record]], kind: RecordType) -> bool:
    record = _single(found, kind)
    if record is not None and record.body:
        raise WireError(f"record of type {kind} with a body")
    return record is not None


def server_name(body: bytes) -> str:
    """A server's name or address (RFC 8915, 4.1.7): printable ASCII without spaces, no zone of an IPv6 address.

    Raises WireError for anything else.
    """
    if not 1 <= len(body) <= MAX_NAME or not all(0x21 <= octet <= 0x7E for octet in body) or b"%" in body:
        raise WireError("a server's name that is none")
    return body.decode("ascii")
