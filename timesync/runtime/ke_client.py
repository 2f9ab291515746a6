"""NTS key establishment as a client: one call, from a server's name to keys and cookies (RFC 8915, 4).

The network is the host's (``timesync.host.Host`` fits ``KeNetwork``), so that a simulation can take its place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, zip_longest
from typing import Final, Protocol

from timesync.base.ids import Endpoint
from timesync.base.time import Instant, Utc
from timesync.host import Stream
from timesync.nts import retry
from timesync.nts.aead import AeadId
from timesync.nts.certificates import clean
from timesync.nts.ke_client import Agreed, KeClient, KeFault, KeOffer, KeRefused
from timesync.nts.keys import SessionKeys
from timesync.nts.tls import CERTIFICATE_REASONS, TlsError, TlsFacts
from timesync.nts.tls_client import ClientTls, Trust

KE_PORT: Final = 4460
"""Assigned by IANA (RFC 8915, 7.1)."""

NTP_PORT: Final = 123
TIMEOUT_S: Final = 10.0
STAGGER_S: Final = 0.25
"""A next address is tried when the one before has not answered for so long (RFC 8305, 8)."""

MAX_ADDRESSES: Final = 8
MAX_OCTETS: Final = 262_144
"""Octets that are taken from a server in all, with those of TLS itself; a usual server sends 3000."""


class KeKind(StrEnum):
    """At what a key establishment failed; what to try next, and when, depends on it."""

    LOOKUP = "lookup"
    """The name has no address."""
    UNREACHABLE = "unreachable"
    """No TCP connection: refused, no route."""
    TIMEOUT = "timeout"
    """It took too long."""
    TLS = "tls"
    """No TLS 1.3 with ALPN ntske/1, or the connection broke."""
    CERTIFICATE = "certificate"
    """The server is not who it should be, or not now."""
    PROTOCOL = "protocol"
    """The server answered inside TLS, but gave no keys that can be used."""


@dataclass(frozen=True, slots=True)
class KeFailure:
    """No keys.

    Attributes:
        kind: At what it failed.
        reason: A sentence for the operator.
        reached: Whether there was a TCP connection: such an attempt has cost the server something.
    """

    kind: KeKind
    reason: str
    reached: bool

    @property
    def for_retry(self) -> retry.KeFailure:
        """For ``timesync.nts.retry.KeRetry``."""
        return retry.KeFailure.REACHED if self.reached else retry.KeFailure.UNREACHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """Keys, and where they are good.

    Attributes:
        agreed: Keys, cookies, protocol.
        server: Name or address of the NTP server; where the other side names none, the address that answered
            (RFC 8915, 4.1.7).
        port: Its UDP port.
        remote: Who answered NTS-KE.
        tls: What TLS agreed upon; its ``dates_wrong`` is not None where the certificate's dates are still to be judged.
    """

    agreed: Agreed
    server: str
    port: int
    remote: Endpoint
    tls: TlsFacts

    @property
    def keys(self) -> tuple[SessionKeys, ...]:
        """Keys to try, in that order; nearly always one (``timesync.nts.keys``)."""
        return self.agreed.keys

    @property
    def cookies(self) -> tuple[bytes, ...]:
        """1 to 8."""
        return self.agreed.cookies

    @property
    def aead(self) -> AeadId:
        """What protects the packets."""
        return self.keys[0].aead

    @property
    def provisional(self) -> bool:
        """Whether the certificate is believed until the time is known (``timesync.nts.bootstrap``)."""
        return self.tls.dates_wrong is not None


class KeNetwork(Protocol):
    """What is needed of a host."""

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """The addresses of a name. Raises OSError."""
        ...

    async def connect(self, remote: Endpoint) -> Stream:
        """A TCP connection. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeRemote:
    """Whom to ask, and how far to believe it.

    Attributes:
        server: A DNS name or an address, as the user gives it.
        port: TCP port.
        trust: Whose certificates are believed.
        floor: Our clock has never been right since the machine started, and the time is this or later: the dates of
            certificates are judged once it is known. None: they are judged now.
        offer: What to offer.
    """

    server: str
    trust: Trust
    port: int = KE_PORT
    floor: Instant[Utc] | None = None
    offer: KeOffer = field(default_factory=KeOffer)


async def establish(
    network: KeNetwork, remote: KeRemote, now: Instant[Utc], *, timeout_s: float = TIMEOUT_S
) -> Established | KeFailure:
    """Get keys and cookies; never raises for what others do.

    Args:
        network: Our own.
        remote: Whom to ask.
        now: What our clock says, for the dates of certificates.
        timeout_s: For all of it, the name's look-up included.
    """
    attempt = _Attempt(network, remote, now)
    try:
        async with asyncio.timeout(timeout_s):
            return await attempt.run()
    except TimeoutError:
        text = f"{remote.server} did not finish within {timeout_s:g} s, {attempt.stage}"
        return KeFailure(KeKind.TIMEOUT, text, attempt.reached)
    except Exception as error:  # noqa: BLE001  whatever a stranger's octets make a library raise is no reason to hurry
        text = f"{remote.server} cannot be understood, {attempt.stage}: {clean(str(error)) or type(error).__name__}"
        return KeFailure(KeKind.TLS if attempt.reached else KeKind.LOOKUP, text, attempt.reached)


async def ntp_servers(network: KeNetwork, result: Established) -> list[Endpoint] | KeFailure:
    """Where the keys are good: the addresses of the NTP server, at least one."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            endpoints = await network.resolve(result.server, result.port)
    except (OSError, UnicodeError):  # TimeoutError is one
        endpoints = []
    text = f"{result.server}, which key establishment names, has no address"
    return endpoints or KeFailure(KeKind.LOOKUP, text, reached=True)


class _Attempt:
    """One key establishment.

    Attributes:
        stage: What is going on, for the sentence about a time-out.
        reached: Whether there was a connection.
    """

    def __init__(self, network: KeNetwork, remote: KeRemote, now: Instant[Utc]) -> None:
        self.stage = "looking up its name"
        self.reached = False
        self._network = network
        self._remote = remote
        self._now = now
        self._ke = KeClient(remote.offer)

    async def run(self) -> Established | KeFailure:
        """From name to keys."""
        remote = self._remote
        try:
            endpoints = await self._network.resolve(remote.server.removesuffix("."), remote.port)
        except OSError as error:
            return KeFailure(KeKind.LOOKUP, f"{remote.server} has no address: {_words(error)}", self.reached)
        if not endpoints:
            return KeFailure(KeKind.LOOKUP, f"{remote.server} has no address", self.reached)
        self.stage = f"connecting to TCP port {remote.port}"
        found = await connect_first(self._network, endpoints)
        if isinstance(found, OSError):
            text = f"{remote.server}: no connection to port {remote.port}: {_words(found)}"
            return KeFailure(KeKind.UNREACHABLE, text, self.reached)
        endpoint, stream = found
        self.reached = True
        try:
            return await self._talk(endpoint, stream)
        except TlsError as error:
            kind = KeKind.CERTIFICATE if error.reason in CERTIFICATE_REASONS else KeKind.TLS
            return KeFailure(kind, f"{remote.server} ({endpoint}): {error}", self.reached)
        except OSError as error:
            text = f"{remote.server} ({endpoint}): the connection broke, {self.stage}: {_words(error)}"
            return KeFailure(KeKind.TLS, text, self.reached)
        finally:
            stream.close()

    async def _talk(self, endpoint: Endpoint, stream: Stream) -> Established | KeFailure:
        self.stage = "in the TLS handshake"
        tls = ClientTls(self._remote.trust, self._remote.server, self._now, floor=self._remote.floor)
        try:
            await self._flush(tls, stream)
            agreed = await self._exchange(tls, stream)
        except TlsError:
            # The alert says why; whether it arrives is not our concern.
            with contextlib.suppress(OSError):
                await self._flush(tls, stream)
            raise
        if isinstance(agreed, KeRefused):
            return KeFailure(KeKind.PROTOCOL, f"{self._remote.server} ({endpoint}): {agreed.text}", self.reached)
        tls.close()
        with contextlib.suppress(OSError):
            await self._flush(tls, stream)
        assert tls.facts is not None
        return Established(
            agreed=agreed,
            server=endpoint.address if agreed.server is None else agreed.server,
            port=NTP_PORT if agreed.port is None else agreed.port,
            remote=endpoint,
            tls=tls.facts,
        )

    async def _exchange(self, tls: ClientTls, stream: Stream) -> Agreed | KeRefused:
        """Handshake, request, response. Raises TlsError, OSError."""
        asked = False
        taken = 0
        while not tls.ended:
            data = await stream.receive()
            taken += len(data)
            if not data:
                tls.finish()
                break
            plain = tls.receive(data)
            if tls.established and not asked:
                asked = True
                # Together with the end of the handshake: some servers read a request only once.
                tls.send(self._ke.request())
                self.stage = "waiting for its response"
            await self._flush(tls, stream)
            result = self._ke.feed(plain, tls.export) if plain else None
            if result is not None:
                return result
            if taken > MAX_OCTETS:
                return KeRefused(KeFault.FORMAT, f"The server sends more than {MAX_OCTETS} octets.")
        return self._ke.ended()

    @staticmethod
    async def _flush(tls: ClientTls, stream: Stream) -> None:
        data = tls.outgoing()
        if data:
            await stream.send(data)


async def connect_first(network: KeNetwork, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, Stream] | OSError:
    """The first connection that comes about, with addresses of both families by turns (RFC 8305, 4 and 5).

    All of them failed: the error of the first.
    """
    waiting = by_turns(endpoints)[:MAX_ADDRESSES]
    running: dict[asyncio.Task[Stream], Endpoint] = {}
    errors: list[OSError] = []
    won: tuple[Endpoint, Stream] | None = None
    try:
        while waiting or running:
            if waiting:
                endpoint = waiting.pop(0)
                running[asyncio.ensure_future(_connect(network, endpoint))] = endpoint
            done, _ = await asyncio.wait(
                running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                endpoint = running.pop(task)
                try:
                    stream = task.result()
                except OSError as error:
                    errors.append(error)
                    continue
                if won is not None:
                    stream.close()
                    continue
                won = endpoint, stream
            if won is not None:
                return won
        return errors[0] if errors else OSError("no address")
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)


async def _connect(network: KeNetwork, endpoint: Endpoint) -> Stream:
    return await network.connect(endpoint)


def _close_late(task: asyncio.Task[Stream]) -> None:
    """A connection that nobody wants any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def by_turns(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """In the resolver's order, but a family never waits for all of the other; its first one stays first."""
    first_v6 = ":" in endpoints[0].address
    same = [endpoint for endpoint in endpoints if (":" in endpoint.address) == first_v6]
    other = [endpoint for endpoint in endpoints if (":" in endpoint.address) != first_v6]
    return [endpoint for endpoint in chain.from_iterable(zip_longest(same, other)) if endpoint is not None]


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
