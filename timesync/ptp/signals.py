"""Signaling between neighbours of 802.1AS: how often to send, and that gPTP is spoken (IEEE 802.1AS-2020, 10.6.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import assert_never

from timesync.base.ids import ALL_PORTS
from timesync.base.machine import Noted
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Context
from timesync.ptp.effect import PtpEffect, SendGeneral
from timesync.ptp.gptp.capable import Capability
from timesync.ptp.port import Port
from timesync.ptp.settings import Bmca, Intervals, PortSettings
from timesync.ptp.timers import Timers, earliest, interval
from timesync.wire import gptp_tlv
from timesync.wire.error import WireError
from timesync.wire.ptp_message import MessageType, Signaling, Tlv

_NO_CHANGE, _INITIAL, _STOP = -128, 126, 127
"""Intervals of a message interval request that are no intervals (table 10-15)."""

_SETTLED = Duration.from_s(10)
"""How long the clock must have been locked before slower messages are asked for; Avnu asks for at most 60 s."""

_FASTEST, _SLOWEST = -7, 4


class Signals:
    """The signaling of one port."""

    def __init__(self, settings: PortSettings, context: Context, port: Port) -> None:
        self._settings = settings
        self._context = context
        self._port = port
        self._timers = Timers()
        self._asked = False
        self._capability = Capability()

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return earliest((self._timers.deadline(), self._capability.deadline()))

    def link(self, now: Instant[Mono], *, up: bool) -> None:
        """The link came up, or went down."""
        self._capability.reset()
        self._asked = False
        self._timers.stop("operational", "capable")
        # Avnu's automotive profile has no such message; its neighbours are who they are.
        if up and self._context.settings.gptp and self._context.settings.bmca is not Bmca.NONE:
            self._timers.start("capable", now)

    def locked(self, now: Instant[Mono], *, locked: bool) -> list[PtpEffect]:
        """The clock is locked: fewer messages will do after a while; or it is not any more: the initial ones again."""
        if self._settings.operational is None:
            return []
        if locked:
            if not self._asked and not self._timers.runs("operational"):
                self._timers.start("operational", now + _SETTLED)
            return []
        self._timers.stop("operational")
        if not self._asked:
            return []
        self._asked = False
        self._port.link.log_interval = self._settings.intervals.delay
        return list(self._request(Intervals(announce=None, sync=_INITIAL, delay=_NO_CHANGE)))

    def on_deadline(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Timers that rang."""
        for name in self._timers.expired(now):
            if name == "capable":
                self._timers.start("capable", now + interval(self._capability.log_interval))
                yield self._signal(gptp_tlv.GptpCapable(self._capability.log_interval).to_tlv())
            elif self._settings.operational is not None:
                yield from self._slow_down(self._settings.operational)
        if self._capability.expire(now):
            yield from self._port.link.neighbor_silent(silent=True)

    def _slow_down(self, operational: Intervals) -> Iterator[PtpEffect]:
        """Ask the timeTransmitter for the operational intervals."""
        self._asked = True
        self._port.link.log_interval = operational.delay
        yield from self._request(Intervals(announce=None, sync=operational.sync, delay=_NO_CHANGE))
        text = f"{self._settings.name}: locked; the neighbour is asked for Sync every {2.0**operational.sync:g} s"
        yield Noted("info", "operational-intervals", text, self._settings.source)

    def _request(self, wanted: Intervals) -> Iterator[PtpEffect]:
        """A message interval request (10.6.4.3)."""
        tlv = gptp_tlv.MessageIntervalRequest(
            link_delay=wanted.delay,
            time_sync=wanted.sync,
            announce=_NO_CHANGE if wanted.announce is None else wanted.announce,
        )
        yield self._signal(tlv.to_tlv())

    def _signal(self, tlv: Tlv) -> SendGeneral:
        """A Signaling message to the neighbour (10.6.4.2)."""
        header = self._port.headers.make(MessageType.SIGNALING)
        self._port.counters.sent[MessageType.SIGNALING] += 1
        return SendGeneral(
            port=self._settings.number, data=self._port.headers.encode(Signaling(header, ALL_PORTS, (tlv,)))
        )

    def on_signaling(self, message: Signaling, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """What a neighbour says and wants (10.3.14, 10.4.2, 11.2.21)."""
        ours = message.target in (ALL_PORTS, self._port.identity)
        own = message.header.source.clock == self._port.identity.clock
        if not ours or own or not self._context.settings.gptp:
            return
        for raw in message.tlvs:
            read = next((one for one in map(partial(_read, raw), _TLVS) if one is not None), None)
            match read:
                case gptp_tlv.MessageIntervalRequest():
                    self._obey(read)
                case gptp_tlv.GptpCapable():
                    was_silent = self._capability.silent
                    self._capability.heard(read, now)
                    if was_silent:
                        yield from self._port.link.neighbor_silent(silent=False)
                case gptp_tlv.GptpCapableIntervalRequest():
                    self._capability.asked(read.log_interval)
                case None:
                    continue  # another TLV
                case _:
                    assert_never(read)

    def _obey(self, request: gptp_tlv.MessageIntervalRequest) -> None:
        """A neighbour asks for other intervals of what we send to it."""
        leader, initial = self._port.leader, self._settings.intervals
        leader.intervals = replace(
            leader.intervals,
            sync=_obeyed(request.time_sync, leader.intervals.sync, initial.sync),
            announce=None
            if leader.intervals.announce is None or initial.announce is None
            else _obeyed(request.announce, leader.intervals.announce, initial.announce),
        )
        self._port.link.log_interval = _obeyed(request.link_delay, self._port.link.log_interval, initial.delay)


_Said = gptp_tlv.MessageIntervalRequest | gptp_tlv.GptpCapable | gptp_tlv.GptpCapableIntervalRequest
_TLVS: tuple[type[_Said], ...] = (
    gptp_tlv.MessageIntervalRequest,
    gptp_tlv.GptpCapable,
    gptp_tlv.GptpCapableIntervalRequest,
)


def _read(raw: Tlv, kind: type[_Said]) -> _Said | None:
    try:
        return kind.from_tlv(raw)
    except WireError:
        return None


def _obeyed(wanted: int, present: int, initial: int) -> int:
    """What a request makes of an interval; none is stopped or made absurd by a neighbour."""
    if wanted in (_NO_CHANGE, _STOP):
        return present
    if wanted == _INITIAL:
        return initial
    return min(max(wanted, _FASTEST), _SLOWEST)
