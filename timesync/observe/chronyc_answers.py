"""What becomes of a request of chronyc: who may ask what, and which reply fits. Nothing is changed for anybody."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from timesync.observe.chronyc_reports import Reports, Source
from timesync.wire import candm_reply as reply
from timesync.wire import candm_sources as of_source
from timesync.wire import candm_system as of_daemon
from timesync.wire.candm import LAST_COMMAND, RETIRED, VERSION, Command, Request, Status, decode_request
from timesync.wire.error import WireError


class Asker(enum.Enum):
    """Who asks."""

    LOCAL = "local"
    """Somebody on this machine, who is told everything."""
    REMOTE = "remote"
    """Somebody who was allowed to ask over the network."""


_NAMES: Final = {
    Command.SOURCE_DATA: "sources",
    Command.TRACKING: "tracking",
    Command.SOURCE_STATS: "sourcestats",
    Command.RTC_REPORT: "rtcdata",
    Command.MANUAL_LIST: "manual",
    Command.ACTIVITY: "activity",
    Command.SMOOTHING: "smoothing",
    Command.SERVER_STATS: "serverstats",
    Command.NTP_DATA: "ntpdata",
    Command.NTP_SOURCE_NAME: "sourcename",
    Command.AUTH_DATA: "authdata",
    Command.CLIENT_ACCESSES: "clients",
    Command.SELECT_DATA: "selectdata",
}
"""As ``opencommands`` has them. How many sources there are may be asked by all."""

_REPLIES: Final[Mapping[Command, tuple[type[reply.Body], ...]]] = {
    Command.NULL: (of_daemon.Null,),
    Command.N_SOURCES: (of_source.SourceCount,),
    Command.SOURCE_DATA: (of_source.SourceData,),
    Command.TRACKING: (of_daemon.Tracking,),
    Command.SOURCE_STATS: (of_source.SourceStats,),
    Command.RTC_REPORT: (of_daemon.Null,),
    Command.MANUAL_LIST: (of_daemon.ManualList,),
    Command.ACTIVITY: (of_daemon.Activity,),
    Command.SMOOTHING: (of_daemon.Null,),
    Command.SERVER_STATS: (
        of_daemon.ServerStats4,
        of_daemon.ServerStats3,
        of_daemon.ServerStats2,
        of_daemon.ServerStats,
    ),
    Command.NTP_DATA: (of_source.NtpData2, of_source.NtpData),
    Command.NTP_SOURCE_NAME: (of_source.SourceName,),
    Command.AUTH_DATA: (of_source.AuthData,),
    Command.CLIENT_ACCESSES: (of_daemon.Clients,),
    Command.SELECT_DATA: (of_source.SelectData,),
}
"""The replies to each request, the newest first. A client pads its request to the length of the reply that it knows,
so the longest that fits is the one that it wants."""


class _RefusedError(Exception):
    """A request gets this status and nothing else."""

    def __init__(self, status: Status) -> None:
        self.status = status


class Answers:
    """Makes the replies.

    Attributes:
        taken: Requests that came.
        dropped: Of them left without an answer because there were too many.
    """

    def __init__(self, open_to_remote: Collection[str]) -> None:
        """``open_to_remote`` are the reports for ``Asker.REMOTE``, as ``opencommands`` has them."""
        self.taken = 0
        self.dropped = 0
        self._open = frozenset(open_to_remote)
        self._reports: Reports | None = None
        self._clients: Sequence[Mapping[str, Mapping[str, Any]]] = ()

    def take(self, state: Mapping[str, Any]) -> None:
        """The daemon's state is this from now on."""
        self._reports = Reports(state)

    def take_clients(self, told: Mapping[str, Any]) -> None:
        """Its clients are these from now on; chronyc knows only those of NTP and NTS-KE, each address once."""
        found: dict[str, dict[str, Any]] = {}
        for row in told["clients"]:
            found.setdefault(row["address"], {})[row["protocol"]] = row
        self._clients = [rows for rows in found.values() if {"ntp", "nts-ke"} & rows.keys()]

    def answer(self, data: bytes, asker: Asker) -> bytes | None:
        """The reply, never longer than the request; None for what deserves none."""
        self.taken += 1
        try:
            request = decode_request(data)
        except WireError:
            return None
        try:
            return reply.encode_reply(request, Status.SUCCESS, self._body(request, asker))
        except _RefusedError as refused:
            return reply.encode_reply(request, refused.status)
        except WireError:
            return reply.encode_reply(request, Status.FAILED)

    def _body(self, request: Request, asker: Asker) -> reply.Body:
        if request.version != VERSION:
            raise _RefusedError(Status.BAD_VERSION)
        if request.command in RETIRED or request.command > LAST_COMMAND:
            raise _RefusedError(Status.INVALID)
        try:
            command = Command(request.command)
        except ValueError:
            # It would change something, and nobody may do that here; or it asks who may ask, which is not known here.
            raise _RefusedError(Status.UNAUTHORIZED) from None
        fitting = [kind for kind in _REPLIES[command] if reply.size_of(kind) <= request.size]
        if not fitting:
            raise _RefusedError(Status.BAD_LENGTH)
        if asker is Asker.REMOTE and command in _NAMES and _NAMES[command] not in self._open:
            raise _RefusedError(Status.UNAUTHORIZED)
        if self._reports is None:
            raise _RefusedError(Status.FAILED)
        return _cut(self._report(command, request, self._reports), fitting[0])

    def _report(self, command: Command, request: Request, reports: Reports) -> reply.Body:
        match command:
            case Command.NULL:
                return of_daemon.Null()
            case Command.RTC_REPORT:
                raise _RefusedError(Status.NO_RTC)
            case Command.SMOOTHING:
                raise _RefusedError(Status.NOT_ENABLED)
            case Command.MANUAL_LIST:
                return of_daemon.ManualList()
            case Command.N_SOURCES:
                return of_source.SourceCount(len(reports.sources))
            case Command.TRACKING:
                return reports.tracking()
            case Command.ACTIVITY:
                return reports.activity()
            case Command.SERVER_STATS:
                return reports.server(self.taken, self.dropped)
            case Command.CLIENT_ACCESSES:
                wanted = request.clients()
                if wanted.reset:
                    raise _RefusedError(Status.UNAUTHORIZED)
                return reports.clients(self._clients, wanted)
            case _:
                return _of_source(command, request, reports)


def _of_source(command: Command, request: Request, reports: Reports) -> reply.Body:
    """A report of one source."""
    match command:
        case Command.SOURCE_DATA:
            return reports.source(_indexed(request, reports))
        case Command.SOURCE_STATS:
            return reports.stats(_indexed(request, reports))
        case Command.SELECT_DATA:
            return reports.selection(_indexed(request, reports))
        case Command.NTP_DATA:
            return reports.ntp_data(_addressed(request, reports))
        case Command.AUTH_DATA:
            return reports.authentication(_addressed(request, reports))
        case Command.NTP_SOURCE_NAME:
            return of_source.SourceName.of(_addressed(request, reports).row["name"])
        case _:  # pragma: no cover - every other command has its answer
            raise AssertionError(command)


def _indexed(request: Request, reports: Reports) -> Source:
    index = request.index().index
    if index >= len(reports.sources):
        raise _RefusedError(Status.NO_SUCH_SOURCE)
    return reports.sources[index]


def _addressed(request: Request, reports: Reports) -> Source:
    try:
        source = reports.at(request.address())
    except WireError:
        source = None
    if source is None:
        raise _RefusedError(Status.NO_SUCH_SOURCE)
    return source


def _cut(body: reply.Body, kind: type[reply.Body]) -> reply.Body:
    """In the form of an older version, which knows fewer fields."""
    if type(body) is kind:
        return body
    known = {field.name: getattr(body, field.name) for field in fields(kind)}
    if isinstance(body, of_daemon.ServerStats4):
        # Counters of older versions have 32 bits and begin again from 0.
        known = {name: value & 0xFFFF_FFFF for name, value in known.items()}
    return kind(**known)
