"""Servers of a source with NTS: their keys first, then their addresses (RFC 8915)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Effect, Measured, Noted, Status
from timesync.base.time import ZERO, Duration, Instant, Mono, Utc
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.group import Surroundings
from timesync.gnss.rollover import BUILT
from timesync.host import Stream
from timesync.ntp.authenticator import Authenticator, NtsAuthenticator
from timesync.nts.bootstrap import Provisional, date_floor
from timesync.nts.certificates import CertificateError
from timesync.nts.ke_client import Agreed
from timesync.nts.retry import KeRetry
from timesync.nts.saved import SavedSession, SavedSessionError
from timesync.nts.session import NtsSession
from timesync.nts.tls import TlsFacts
from timesync.runtime.ke_client import NTP_PORT, TIMEOUT_S, Established, KeFailure, KeNetwork, KeRemote, establish
from timesync.runtime.ke_trust import Trusts

_FILE: Final = "nts-{}.session"
_SPARE_S: Final = 5.0
"""For looking up where the keys are good."""


@dataclass(slots=True)
class _Known:
    """A server whose keys we have.

    Attributes:
        authenticator: With them.
        agreed: As key establishment gave them.
        ke_server: Name and port of the server that they were made with.
        established: When they were made, UTC.
        tls: How; None for those that were stored.
        provisional: What is still to be verified of its certificate.
        verified: A valid answer has come under them.
    """

    authenticator: NtsAuthenticator
    agreed: Agreed
    ke_server: str
    established: Instant[Utc]
    tls: TlsFacts | None = None
    provisional: Provisional | None = None
    verified: bool = field(default=False)


class _OneAddress:
    """The network, where a name has one address: one server of a pool is asked, and must still have the name."""

    def __init__(self, around: Surroundings, endpoint: Endpoint) -> None:
        self._host = around.host
        self._endpoint = endpoint

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """That one."""
        del name
        return [replace(self._endpoint, port=port)]

    async def connect(self, remote: Endpoint) -> Stream:
        """Raises OSError."""
        return await self._host.connect(remote)


class NtsFinder:
    """A ``Finder`` that makes key establishment.

    A pool is asked for as many servers as it is to have, each at an address of its own; all must show a certificate of
    the pool's name.
    """

    def __init__(self, source: NtpSource | PoolSource, clock: ClockId, around: Surroundings) -> None:
        """Nothing is asked before ``find``.

        Args:
            source: The entry, with ``nts``.
            clock: The clock by which dates of certificates are judged.
            around: What it works with.
        """
        self._source = source
        self._clock = clock
        self._around = around
        self._host = around.host
        self._retry = KeRetry(around.host.rng)
        self._trusts = Trusts()
        self._known: dict[Endpoint, _Known] = {}
        self._restored = isinstance(source, PoolSource)
        self._count = source.count if isinstance(source, PoolSource) else 1

    @property
    def limit_s(self) -> float:
        """One time-out for each server that is asked."""
        return (TIMEOUT_S + _SPARE_S) * self._count

    # -- finding

    async def find(self, name: str, port: int) -> list[Endpoint]:
        """See ``Finder``. Raises OSError with a sentence."""
        if not self._restored:
            self._restored = True
            endpoint = await self._restore(name, port)
            if endpoint is not None:
                return [endpoint]
        now = self._host.mono()
        if not self._retry.allowed(now):
            if self._known:
                return list(self._known)
            raise OSError(f"key establishment is tried again in {self.wait(now).s():.0f} s")
        found: list[Endpoint] = []
        failure: KeFailure | None = None
        for network in await self._networks(name, port):
            result = await self._establish(network, name, port)
            if isinstance(result, KeFailure):
                failure = failure or result
                continue
            found.append(await self._take(result, f"{name}:{port}"))
            if len(found) >= self._count:
                break
        if found:
            return found
        assert failure is not None
        self._retry.failed(self._host.mono(), failure.for_retry)
        raise OSError(failure.reason)

    async def _networks(self, name: str, port: int) -> Sequence[KeNetwork]:
        if self._count == 1:
            return [self._host]
        endpoints = await self._host.resolve(name, port)
        if not endpoints:
            raise OSError(f"{name} has no address")
        fresh = [endpoint for endpoint in endpoints if endpoint.address not in {one.address for one in self._known}]
        return [_OneAddress(self._around, endpoint) for endpoint in (fresh or endpoints)[: self._count]]

    async def _establish(self, network: KeNetwork, name: str, port: int) -> Established | KeFailure:
        try:
            trust = self._trusts.of(self._source.ca)
        except CertificateError as error:
            raise OSError(f"{self._source.ca}: {error}") from error
        floor = date_floor(synchronized=self._was_right(), built=BUILT, saved=None, allowed=self._source.bootstrap)
        remote = KeRemote(server=name, port=port, trust=trust, floor=floor)
        return await establish(network, remote, self._utc())

    async def _take(self, result: Established, ke_server: str) -> Endpoint:
        """Keys were made: find where they are good, and use them there."""
        self._retry.established(self._host.mono())
        endpoints = await self._host.resolve(result.server, result.port)
        if not endpoints:
            raise OSError(f"{result.server}, which key establishment names, has no address")
        # A server that is asked already stays where it is.
        endpoint = next((one for one in endpoints if one in self._known), endpoints[0])
        session = NtsSession(result.agreed, self._host.entropy)
        provisional = self._provisional(result)
        known = self._known.get(endpoint)
        if known is None:
            authenticator = NtsAuthenticator(session, provisional=provisional is not None)
            known = self._known[endpoint] = _Known(authenticator, result.agreed, ke_server, self._utc())
        else:
            known.authenticator.renew(session, provisional=provisional is not None)
            known.agreed, known.established, known.verified = result.agreed, self._utc(), False
        known.tls, known.provisional = result.tls, provisional
        secret = "safe from a quantum computer" if result.tls.post_quantum else result.tls.group or "an unnamed group"
        self._say("info", "nts-keys", f"{self._source.title}: has keys for {endpoint} ({result.aead.name}, {secret})")
        return endpoint

    def _provisional(self, result: Established) -> Provisional | None:
        if result.tls.dates_wrong is None or result.tls.validity is None:
            return None
        text = f"{self._source.title}: {result.tls.dates_wrong}; it is believed until the time is known"
        self._say("warning", "nts-provisional", text)
        floor = date_floor(synchronized=False, built=BUILT, saved=None)
        assert floor is not None
        return Provisional(self._source.title, result.tls.validity, floor)

    def wait(self, now: Instant[Mono]) -> Duration:
        """See ``Finder``: as RFC 8915 has it."""
        allowed_at = self._retry.state.allowed_at
        return ZERO if allowed_at is None else max(allowed_at - now, ZERO)

    # -- what comes of it

    def authenticator(self, endpoint: Endpoint) -> Authenticator | None:
        """See ``Finder``."""
        known = self._known.get(endpoint)
        return None if known is None else known.authenticator

    def heard(self, endpoint: Endpoint, effect: Effect) -> str | None:
        """See ``Finder``."""
        known = self._known.get(endpoint)
        if known is None:
            return None
        if isinstance(effect, Status) and known.authenticator.session.verified and not known.verified:
            known.verified = True
            self._retry.verified()
        if isinstance(effect, Measured) and known.provisional is not None:
            table, m = self._around.leap_table, effect.measurement
            return known.provisional.refused(table.utc(m.at - m.offset))
        return None

    def stale(self, now: Instant[Mono]) -> bool:
        """See ``Finder``: cookies or keys are at an end, or too old."""
        starving = any(known.authenticator.starving for known in self._known.values())
        return (starving or (bool(self._known) and self._retry.refresh_due(now))) and self._retry.allowed(now)

    def review(self) -> dict[Endpoint, str]:
        """See ``Finder``: what was believed for want of the time is judged by it."""
        if not self._was_right():
            return {}
        wrong: dict[Endpoint, str] = {}
        for endpoint, known in self._known.items():
            if known.provisional is None:
                continue
            why = known.provisional.verified(self._utc())
            if why is not None:
                wrong[endpoint] = why
                continue
            known.provisional, known.authenticator.provisional = None, False
            self._say(
                "info", "nts-verified", f"{self._source.title}: its certificate is good, now that the time is known"
            )
        return wrong

    def forget(self, endpoint: Endpoint) -> None:
        """See ``Finder``."""
        self._known.pop(endpoint, None)

    def details(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """See ``Finder``."""
        known = self._known.get(endpoint)
        if known is None:
            return {}
        session, tls = known.authenticator.session, known.tls
        return {
            "nts": {
                "aead": session.keys[0].aead.name,
                "cookies": len(session.cookies),
                "provisional": known.provisional is not None,
                "group": None if tls is None else tls.group,
                "post_quantum": None if tls is None else tls.post_quantum,
            }
        }

    # -- over a restart

    async def _restore(self, name: str, port: int) -> Endpoint | None:
        """Keys and cookies of before the restart; they are read once, since no cookie may be used twice."""
        file = self._file()
        try:
            data = self._host.load(file)
            if not data:
                return None
            self._host.save(file, b"")
            saved = SavedSession.decode(data)
        except (OSError, SavedSessionError) as error:
            self._say("warning", "nts-stored", f"{self._source.title}: stored keys cannot be used: {error}")
            return None
        age = saved.age(self._utc())
        if saved.ke_server != f"{name}:{port}" or age is None or not saved.agreed.cookies:
            return None
        agreed = saved.agreed
        server = name if agreed.server is None else agreed.server
        endpoints = await self._host.resolve(server, agreed.port or NTP_PORT)
        if not endpoints:
            return None
        session = NtsSession(agreed, self._host.entropy)
        self._known[endpoints[0]] = _Known(NtsAuthenticator(session), agreed, saved.ke_server, saved.established)
        self._retry.established(self._host.mono(), age)
        self._retry.verified()
        return endpoints[0]

    def close(self) -> None:
        """See ``Finder``: keys and cookies are kept, where they are beyond doubt."""
        if isinstance(self._source, PoolSource):
            return
        for known in self._known.values():
            session = known.authenticator.session
            if not known.verified or known.provisional is not None or not session.cookies:
                continue
            left = replace(known.agreed, keys=session.keys, cookies=session.cookies)
            saved = SavedSession(ke_server=known.ke_server, agreed=left, established=known.established)
            try:
                self._host.save(self._file(), saved.encode())
            except OSError as error:
                text = f"{self._source.title}: keys cannot be stored: {error.strerror or error}"
                self._say("warning", "nts-stored", text)

    def _file(self) -> str:
        return _FILE.format(hashlib.sha256(self._source.title.encode()).hexdigest()[:16])

    # -- the time

    def _utc(self) -> Instant[Utc]:
        return self._around.leap_table.utc(self._host.clocks[self._clock].read().at)

    def _was_right(self) -> bool:
        return self._around.core.claims(self._clock).was_locked

    def _say(self, level: str, name: str, text: str) -> None:
        self._around.listener.note(Noted(level, name, text))
