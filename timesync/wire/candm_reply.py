"""The replies of chronyd to chronyc (``timesync.wire.candm``): their heads, and which body has which number."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Final

from timesync.wire.candm import MAX_CLIENTS, REPLY, REPLY_HEAD, VERSION, Request, Status
from timesync.wire.candm_sources import (
    AuthData,
    NtpData,
    NtpData2,
    SelectData,
    SourceCount,
    SourceData,
    SourceName,
    SourceStats,
)
from timesync.wire.candm_system import (
    Activity,
    Client,
    Clients,
    ManualList,
    Null,
    ServerStats,
    ServerStats2,
    ServerStats3,
    ServerStats4,
    Tracking,
)
from timesync.wire.error import WireError

_HEAD = struct.Struct("!BBBBHHH6xI8x")

Body = (
    Null | SourceCount | SourceData | Tracking | SourceStats | Activity | ManualList | SourceName | AuthData | Clients
    | SelectData | ServerStats | ServerStats2 | ServerStats3 | ServerStats4 | NtpData | NtpData2
)  # fmt: skip

BODIES: Final[tuple[type[Body], ...]] = (
    Null, SourceCount, SourceData, Tracking, SourceStats, Activity, ManualList, SourceName, AuthData, Clients,
    SelectData, ServerStats, ServerStats2, ServerStats3, ServerStats4, NtpData, NtpData2,
)  # fmt: skip
_BY_NUMBER: Final = {body.NUMBER: body for body in BODIES}


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply.

    Attributes:
        command: Of the request.
        sequence: Of the request.
        status: What became of it; another than ``Status`` has is a number.
        body: What was asked for.
    """

    command: int
    sequence: int
    status: int
    body: Body


def size_of(body: type[Body]) -> int:
    """Octets of a reply."""
    return REPLY_HEAD + body.LAYOUT.size


def _values(body: Body | Client) -> tuple[object, ...]:
    """In the order of the layout; ``dataclasses.astuple`` would take addresses apart."""
    return tuple(getattr(body, field.name) for field in fields(body))


def encode_reply(request: Request, status: Status, body: Body | None = None) -> bytes:
    """Write the reply to a request."""
    told = Null() if body is None else body
    values = _values(told)
    if isinstance(told, Clients):
        # The number of them stands before them.
        rows = b"".join(Client.LAYOUT.encode(_values(one)) for one in told.clients)
        values = (told.total, told.following, len(told.clients), rows)
    head = _HEAD.pack(VERSION, REPLY, 0, 0, request.command, told.NUMBER, status, request.sequence)
    return head + told.LAYOUT.encode(values)


def decode_reply(data: bytes) -> Reply:
    """Read one. Raises WireError."""
    if len(data) < REPLY_HEAD:
        raise WireError(f"length: {len(data)} octets, a reply has {REPLY_HEAD} at least")
    version, kind, _, _, command, number, status, sequence = _HEAD.unpack_from(data)
    if version != VERSION or kind != REPLY:
        raise WireError("not a reply")
    found = _BY_NUMBER.get(number)
    if found is None:
        raise WireError(f"reply: {number}")
    values = found.LAYOUT.decode(data, REPLY_HEAD)
    if found is Clients:
        total, following, count, rows = values
        if count > MAX_CLIENTS:
            raise WireError(f"clients: {count}")
        size = Client.LAYOUT.size
        clients = tuple(_client(rows, index * size) for index in range(count))
        return Reply(command, sequence, status, Clients(total=total, following=following, clients=clients))
    names = (field.name for field in fields(found))
    return Reply(command, sequence, status, found(**dict(zip(names, values, strict=True))))


def _client(rows: bytes, offset: int) -> Client:
    names = (field.name for field in fields(Client))
    return Client(**dict(zip(names, Client.LAYOUT.decode(rows, offset), strict=True)))
