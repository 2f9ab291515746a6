"""The Linux machine as a ``timesync.host.Host``: drivers wrapped by the runtime."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import Instant, Mono
from timesync.base.utc import LeapTable
from timesync.daemon.statefiles import StateFiles
from timesync.host import ExchangeHandler, NtpService
from timesync.ntp.server import ServerSettings
from timesync.runtime.sockets import LinuxExchange, TransmitStamps
from timesync.runtime.stamping import StampClock
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync_drivers.clock import KernelClock
from timesync_drivers.interfaces import local_addresses
from timesync_drivers.netstamp import StampedSocket, hold_stamps

_BASE = ClockId("system")


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


ClockSpec = SystemSpec | VirtualSpec


class LinuxHost:
    """The machine under us. Exchanges and services need a running asyncio loop; clocks and files do not."""

    def __init__(self, specs: Sequence[ClockSpec], table: LeapTable, state: Path | None) -> None:
        """Make the clocks; nothing is changed on the machine.

        Args:
            specs: The clocks that the configuration names.
            table: TAI - UTC.
            state: The state directory; None keeps nothing.
        """
        self._rng = random.Random(os.urandom(32))  # noqa: S311 - spreads timers, guards no secret
        system = next((spec.clock for spec in specs if isinstance(spec, SystemSpec)), _BASE)
        self._base = SystemClock(system, KernelClock(), table)
        self._clocks: dict[ClockId, StampClock] = {}
        for spec in specs:
            match spec:
                case SystemSpec():
                    self._clocks[spec.clock] = self._base
                case VirtualSpec():
                    self._clocks[spec.clock] = VirtualClock(spec.clock, self._base, table, spec.settings, self._rng)
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
        """The clocks that the configuration names."""
        return self._clocks

    def check_foreign(self) -> str | None:
        """What something other than us did to the system clock since the last call, in sentences.

        Call it about once a second, whichever clocks are disciplined: virtual clocks feel such a step as
        well.
        """
        return self._base.check_foreign()

    def own_addresses(self) -> frozenset[str]:
        """The numeric addresses of this machine's interfaces, and loopback."""
        return frozenset(local_addresses())

    def mono(self) -> Instant[Mono]:
        """CLOCK_MONOTONIC, which asyncio's loops use for ``time()`` as well."""
        return Instant.from_ns(time.monotonic_ns())

    def open_exchange(self, remote: Endpoint, clock: ClockId, handler: ExchangeHandler) -> LinuxExchange:
        """A fresh socket from a random port; to be called on a running loop. Raises OSError."""
        loop = asyncio.get_running_loop()
        udp = StampedSocket(remote, self.entropy)
        return LinuxExchange(loop, udp, remote, self._clocks[clock], handler, self._stamps)

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """The addresses of a name, each once, in the resolver's order. Raises OSError.

        The C library's resolver blocks, so it runs in a thread of the loop's; a numeric address needs none.
        """
        if _is_address(name):
            return [Endpoint(str(ip_address(name)), port)]
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_DGRAM)
        except UnicodeError as error:  # a label that is empty or too long for DNS
            raise OSError(errno.EINVAL, f"not a host name: {name!r}") from error
        endpoints = [_endpoint(family, address) for family, _, _, _, address in found]
        return list(dict.fromkeys(endpoint for endpoint in endpoints if endpoint is not None))

    def serve_ntp(self, settings: ServerSettings, listen: Sequence[Endpoint], workers: int | None) -> NtpService:
        """Start serving on a running loop: in worker processes, or inside this one with 0. Raises OSError."""
        from timesync.runtime.serve import (
            open_service,
        )  # a client does not need it, and starts faster without

        return open_service(settings, listen, workers)

    def load(self, name: str) -> bytes | None:
        """A file of the state directory; None when there is none. Raises OSError."""
        return None if self._files is None else self._files.load(name)

    def save(self, name: str, data: bytes) -> None:
        """Replace a file of the state directory, whole or not at all. Raises OSError."""
        if self._files is not None:
            self._files.save(name, data)


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
