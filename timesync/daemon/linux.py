"""The Linux machine as a ``timesync.host.Host``: drivers wrapped by the runtime."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar, assert_never

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import Instant, Mono, Utc
from timesync.base.utc import LeapTable
from timesync.daemon.statefiles import StateFiles
from timesync.host import CardMap, ClockError, ExchangeHandler, NtpService, NtsKeService, NtsSpec, Trouble
from timesync.ntp.client_log import ClientRecord
from timesync.ntp.server import ServerSettings
from timesync.nts.master import MasterKeys
from timesync.runtime.cards import Cards
from timesync.runtime.devices import LinuxDevices
from timesync.runtime.ke_stream import LinuxStream, connect_stream
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.phc_scale import Timescale
from timesync.runtime.sockets import CardStamps, LinuxExchange, TransmitStamps
from timesync.runtime.stamping import StampClock
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync.transport import ManagementHandler, ManagementSocket, PtpHandler, PtpPortSpec, PtpSocket
from timesync_drivers.clock import KernelClock
from timesync_drivers.interfaces import local_addresses
from timesync_drivers.netstamp import StampedSocket, hold_stamps
from timesync_drivers.nic import Nics

_BASE = ClockId("system")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """CLOCK_REALTIME.

    Attributes:
        clock: Its name in the configuration.
    """

    clock: ClockId


@dataclass(frozen=True, slots=True)
class VirtualSpec:
    """A clock in software over CLOCK_REALTIME.

    Attributes:
        clock: Its name in the configuration.
        settings: What is wrong with it.
    """

    clock: ClockId
    settings: VirtualSettings


@dataclass(frozen=True, slots=True)
class PhcSpec:
    """A PTP hardware clock.

    Attributes:
        clock: Its name in the configuration.
        device: The interface, ``ptpN`` or device file.
        timescale: What it holds.
    """

    clock: ClockId
    device: str
    timescale: Timescale = "tai"


ClockSpec = SystemSpec | VirtualSpec | PhcSpec


def open_phc(spec: PhcSpec, table: LeapTable) -> PhcClock:
    """The hardware clock of this machine that a configuration names. Raises ClockError."""
    return PhcClock(spec.clock, spec.device, table, timescale=spec.timescale)


class LinuxHost:
    """The machine under us. Exchanges and services need a running asyncio loop; clocks and files do not."""

    def __init__(
        self,
        specs: Sequence[ClockSpec],
        table: LeapTable,
        state: Path | None,
        *,
        open_phc: Callable[[PhcSpec, LeapTable], PhcClock] = open_phc,
        nics: Nics | None = None,
    ) -> None:
        """Make the clocks; nothing is changed on the machine, and a hardware clock may be missing.

        Args:
            specs: The clocks that the configuration names.
            table: TAI - UTC.
            state: The state directory; None keeps nothing.
            open_phc: Opens a hardware clock. Raises ClockError.
            nics: The calls about network cards; None: the kernel's.
        """
        self._rng = random.Random(os.urandom(32))  # noqa: S311 - spreads timers, guards no secret
        system = next((spec.clock for spec in specs if isinstance(spec, SystemSpec)), _BASE)
        self._base = SystemClock(system, KernelClock(), table)
        self._table = table
        self._phc_opener = open_phc
        self._clocks: dict[ClockId, StampClock] = {}
        # Not a method of ours: the finalizer below holds the clocks, and through it this host would live for ever.
        self._base.on_rate(partial(_system_rate_changed, self._clocks))
        self._absent: dict[ClockId, tuple[PhcSpec, str]] = {}
        self._devices = LinuxDevices(self._clocks, table)
        self._cards = Cards(self._clocks, nics=nics)
        # At the end of the process too: what we have set on a card outlives us.
        weakref.finalize(self, self._cards.close)
        for spec in specs:
            match spec:
                case SystemSpec():
                    self._clocks[spec.clock] = self._base
                case VirtualSpec():
                    self._clocks[spec.clock] = VirtualClock(spec.clock, self._base, table, spec.settings, self._rng)
                case PhcSpec():
                    self._open_phc(spec)
                case _:
                    assert_never(spec)
        self._files = None if state is None else StateFiles(state)
        self._stamps = TransmitStamps()
        # Never read; it goes with the host.
        weakref.finalize(self, hold_stamps().close)

    @property
    def rng(self) -> random.Random:
        """For spreading timers, and for the wander of virtual clocks."""
        return self._rng

    def entropy(self, size: int, /) -> bytes:
        """Bytes from the kernel that nobody can guess."""
        return os.urandom(size)

    @property
    def clocks(self) -> Mapping[ClockId, StampClock]:
        """The clocks that the configuration names; without those whose device has not been there yet."""
        return self._clocks

    @property
    def devices(self) -> LinuxDevices:
        """Its time hardware."""
        return self._devices

    @property
    def missing(self) -> Mapping[ClockId, str]:
        """The hardware clocks that cannot be used now, and why, in a sentence with advice.

        One that was there once stays among ``clocks``: it can be read, by reckoning, but not steered.
        """
        away = {clock.id: clock.away for clock in self._away() if clock.away is not None}
        return {clock: text for clock, (_, text) in self._absent.items()} | away

    def retry_missing(self) -> list[ClockId]:
        """Look for the hardware clocks that are missing; those that are usable from now on.

        Call it every few seconds: it costs a system call or two for each. What comes for the first time is in
        ``clocks`` afterwards, what came back has a new epoch.
        """
        found = [clock.id for clock in self._away() if _came_back(clock)]
        for clock, (spec, _) in list(self._absent.items()):
            if self._open_phc(spec):
                found.append(clock)
        return found

    def check_foreign(self) -> str | None:
        """What something other than us did to the clocks since the last call, in sentences.

        Call it about once a second, whichever clocks are disciplined: virtual clocks feel a step of the system clock
        as well.
        """
        said = [self._base.check_foreign()]
        said += [clock.check_foreign() for clock in self._clocks.values() if isinstance(clock, PhcClock)]
        said.append(self._cards.check())
        return ". ".join(text for text in said if text is not None) or None

    def own_addresses(self) -> frozenset[str]:
        """The numeric addresses of this machine's interfaces, and loopback."""
        return frozenset(local_addresses())

    def mono(self) -> Instant[Mono]:
        """CLOCK_MONOTONIC, which asyncio's loops use for ``time()`` as well."""
        return Instant.from_ns(time.monotonic_ns())

    def open_exchange(
        self,
        remote: Endpoint,
        clock: ClockId,
        handler: ExchangeHandler,
        *,
        hardware: bool = False,
        over_ptp: bool = False,
    ) -> LinuxExchange:
        """A fresh socket from a random port, or the remote's; to be called on a running loop. Raises OSError."""
        loop = asyncio.get_running_loop()
        stamps = self._card_stamps(remote, clock, over_ptp=over_ptp) if hardware else None
        udp = StampedSocket(remote, self.entropy, hardware=hardware, local_port=remote.port if over_ptp else None)
        return LinuxExchange(loop, udp, remote, self._clocks[clock], handler, self._stamps, stamps)

    def card_clock(self, remote: Endpoint, *, over_ptp: bool = False) -> ClockId:
        """The clock of the network card that packets to ``remote`` leave by. Raises ClockError."""
        return self._cards.towards(remote, over_ptp=over_ptp).clock.id

    def card_maps(self, *, over_ptp: bool = False) -> tuple[CardMap, ...]:
        """How the stamps of network cards become kernel timestamps now."""
        return self._cards.maps(over_ptp=over_ptp)

    def _card_stamps(self, remote: Endpoint, clock: ClockId, *, over_ptp: bool) -> CardStamps:
        card = self._cards.towards(remote, over_ptp=over_ptp)
        if card.clock.id != clock:
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"packets to {remote.address} leave by {card.interface} now, which stamps by clock {card.clock.id}",
                "the source is changed over to it",
            )
        return CardStamps(self._cards, card)

    def open_ptp(self, spec: PtpPortSpec, handler: PtpHandler) -> PtpSocket:
        """The sockets of a PTP port; to be called on a running loop. Raises OSError."""
        from timesync.runtime.ptp_sockets import open_ptp  # nobody else needs it, and starts faster without

        return open_ptp(asyncio.get_running_loop(), spec, self._clocks[spec.clock], handler)

    def open_management(self, path: str, handler: ManagementHandler) -> ManagementSocket:
        """The Unix sockets by which a PTP instance is managed; to be called on a running loop. Raises OSError."""
        from timesync.runtime.ptp_management import UnixManagement  # few have one

        return UnixManagement(asyncio.get_running_loop(), path, handler)

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """The addresses of a name, each once, in the resolver's order. Raises OSError.

        The C library's resolver blocks, so it runs in a thread; a numeric address needs none.
        """
        if _is_address(name):
            return [Endpoint(str(ip_address(name)), port)]
        try:
            found = await _in_thread(lambda: socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM))
        except UnicodeError as error:  # a label that is empty or too long for DNS
            raise OSError(errno.EINVAL, f"not a host name: {name!r}") from error
        endpoints = [_endpoint(family, address) for family, _, _, _, address in found]
        return list(dict.fromkeys(endpoint for endpoint in endpoints if endpoint is not None))

    async def connect(self, remote: Endpoint) -> LinuxStream:
        """A TCP connection, on a running loop. Raises OSError."""
        return await connect_stream(remote)

    def serve_ntp(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        workers: int | None,
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> NtpService:
        """Start serving on a running loop: in worker processes, or inside this one with 0. Raises OSError."""
        from timesync.runtime.serve import (
            open_service,
        )  # a client does not need it, and starts faster without

        return open_service(settings, listen, workers, ptp_listen, clients)

    def serve_nts(
        self, spec: NtsSpec, keys: MasterKeys, now: Callable[[], Instant[Utc]], note: Callable[[str, str], None]
    ) -> NtsKeService:
        """Establish keys in a process of its own. Raises OSError, ValueError."""
        # Only who has NTS pays for TLS.
        from timesync.runtime.ke_files import PairFiles
        from timesync.runtime.ke_messages import KeLimits, KeServiceSettings
        from timesync.runtime.ke_service import KeService

        limits = KeLimits(connections=spec.connections)
        settings = KeServiceSettings(offer=spec.offer, limits=limits, clients=spec.clients)
        files = [PairFiles(Path(certificate), Path(key)) for certificate, key in spec.certificates]
        return KeService(settings, spec.listen, files, keys, now, note)

    def _away(self) -> list[PhcClock]:
        return [clock for clock in self._clocks.values() if isinstance(clock, PhcClock) and not clock.present]

    def _open_phc(self, spec: PhcSpec) -> bool:
        """Whether it could be opened; if not, why is kept."""
        try:
            self._clocks[spec.clock] = self._phc_opener(spec, self._table)
        except ClockError as error:
            self._absent[spec.clock] = spec, f"{error}; {error.advice}"
            return False
        self._absent.pop(spec.clock, None)
        return True

    def load(self, name: str) -> bytes | None:
        """A file of the state directory; None when there is none. Raises OSError."""
        return None if self._files is None else self._files.load(name)

    def save(self, name: str, data: bytes) -> None:
        """Replace a file of the state directory, whole or not at all. Raises OSError."""
        if self._files is not None:
            self._files.save(name, data)


def _system_rate_changed(clocks: Mapping[ClockId, StampClock], by: float) -> None:
    for clock in clocks.values():
        if isinstance(clock, PhcClock):
            clock.system_rate_changed(by)


async def _in_thread(call: Callable[[], T]) -> T:
    """What ``call`` gives or raises, from a thread that nobody waits for when this is cancelled. Raises OSError.

    The loop's own threads are waited for when the loop ends, and a name server that does not answer can hold one
    for a minute: so long the daemon would not end.
    """
    answer: Future[T] = Future()

    def work() -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the answer is awaited
            answer.set_exception(error)

    try:
        threading.Thread(target=work, name="resolver", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread to look it up in: {error}") from error
    return await asyncio.wrap_future(answer)


def _came_back(clock: PhcClock) -> bool:
    """Whether a clock was taken up again; one that is there but refuses is not: its ``away`` says why."""
    try:
        return clock.reopen()
    except ClockError:
        return False


def _is_address(name: str) -> bool:
    """Whether it is a numeric address without a zone; a zone's index is for the C library to find."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return "%" not in name


def _endpoint(family: int, address: tuple[str | int, ...] | tuple[int, bytes]) -> Endpoint | None:
    """From ``getaddrinfo``; None for what is not UDP over IP."""
    match family, address:
        case socket.AF_INET, (str(host), int(port)):
            return Endpoint(host, port)
        case socket.AF_INET6, (str(host), int(port), int(), int(scope)):
            return Endpoint(host.partition("%")[0], port, scope)
        case _:
            return None
