"""Servers of a source with NTS: their keys first, then their addresses (RFC 8915)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Effect, Measured, Noted, Status
from timesync.base.measure import Measurement
from timesync.base.time import ZERO, Duration, Instant, Mono, Utc
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.assemble import ke_protocols
from timesync.daemon.group import Surroundings
from timesync.daemon.nts_stored import LastTime, StoredSession
from timesync.gnss.rollover import BUILT
from timesync.host import Stream
from timesync.ntp.authenticator import Authenticator, NtsAuthenticator
from timesync.nts import retry
from timesync.nts.bootstrap import Provisional, date_floor
from timesync.nts.certificates import CertificateError, utc_text
from timesync.nts.ke_client import Agreed, KeOffer
from timesync.nts.saved import SavedSession
from timesync.nts.session import NtsSession
from timesync.nts.tls import TlsFacts
from timesync.runtime.ke_client import (
    NTP_PORT,
    TIMEOUT_S,
    Established,
    KeFailure,
    KeKind,
    KeNetwork,
    KeRemote,
    establish,
    ntp_servers,
)
from timesync.runtime.ke_trust import Trusts
from timesync.servo.view import ServoState

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
        retry: When that server may be asked again.
        remote: Who made them; None for those that were stored.
        tls: How; None for those that were stored.
        provisional: What is still to be verified of its certificate.
        establishments: How often keys were made.
        verified: A valid answer has come under them.
        trouble: Why others could not be got.
    """

    authenticator: NtsAuthenticator
    agreed: Agreed
    ke_server: str
    established: Instant[Utc]
    retry: retry.KeRetry
    remote: Endpoint | None = None
    tls: TlsFacts | None = None
    provisional: Provisional | None = None
    establishments: int = 1
    verified: bool = field(default=False)
    trouble: str | None = None

    def ended(self, now: Instant[Mono]) -> bool:
        """Cookies or keys are at an end, or too old."""
        return self.authenticator.starving or self.retry.refresh_due(now)

    @property
    def dead(self) -> bool:
        """Other keys would hardly help: it has had some, and does not answer."""
        return self.authenticator.starving and self.retry.dead


class _OneAddress:
    """The network, where a name has one address: one server of a pool is asked, and must still have the name."""

    def __init__(self, around: Surroundings, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._host = around.host

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """That one, with the port that is asked for."""
        del name
        return [replace(self.endpoint, port=port)]

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
        self._retries = retry.KeRetries(around.host.rng)
        self._trusts = Trusts()
        self._last_time = LastTime(around.host)
        self._known: dict[Endpoint, _Known] = {}
        self._stored = StoredSession(self._host, source.title, self._warn_stored)
        self._why: str | None = None
        self._count = source.count if isinstance(source, PoolSource) else 1

    @property
    def limit_s(self) -> float:
        """One time-out for each server that is asked, and one for the place of one that is dead."""
        return (TIMEOUT_S + _SPARE_S) * (self._count + 1)

    # -- finding

    async def find(self, name: str, port: int) -> list[Endpoint]:
        """See ``Finder``. Raises OSError with a sentence."""
        restored = await self._restore(name, port)
        if restored is not None:
            return [restored]
        found: list[Endpoint] = []
        failure: KeFailure | None = None
        asked, wanted = await self._askable(name, port)
        for network, waits in asked:
            if len(found) == wanted:
                break
            result = await self._establish(network, name, port)
            taken = result if isinstance(result, KeFailure) else await self._take(result, waits, f"{name}:{port}")
            if isinstance(taken, KeFailure):
                failure = failure or taken
                self._fail(waits, taken.reason, taken.for_retry)
            else:
                found.append(taken)
        if failure is not None and not found:
            raise OSError(failure.reason)
        if not self._known:
            wait_s = self.wait(self._host.mono()).s()
            raise OSError(self._why or f"key establishment is tried again in {wait_s:.0f} s")
        return list(self._known) if isinstance(self._source, PoolSource) or not found else found

    async def _askable(self, name: str, port: int) -> tuple[Sequence[tuple[KeNetwork, retry.KeRetry]], int]:
        """Who may be asked for keys now, in order, and how many of them must give some.

        Of a pool: the servers whose keys are at an end, and then as many others as are missing; one more stands by, to
        take the place of one that fails. Who has been given keys and never answers comes last.
        """
        now = self._host.mono()
        if not isinstance(self._source, PoolSource):
            waits = self._retries.of("", now)
            return [(self._host, waits)] if waits.allowed(now) else [], 1
        endpoints = await self._host.resolve(name, port)
        if not endpoints:
            raise OSError(f"{name} has no address")
        ours = {known.remote.address for known in self._known.values() if known.remote is not None}
        due = self._due(now)
        # Without any whose keys are at an end, one is wanted in the place of one that does no good.
        missing = self._missing or (0 if due or len(self._known) > self._count else 1)
        others = [(endpoint, self._retries.of(endpoint.address, now)) for endpoint in endpoints]
        others = [
            (endpoint, waits) for endpoint, waits in others if endpoint.address not in ours and waits.allowed(now)
        ]
        others.sort(key=lambda other: other[1].state.attempts)
        again = [(known.remote, known.retry, known.dead) for known in due if known.remote is not None]
        renewed = [(endpoint, waits) for endpoint, waits, dead in again if not dead]
        last = [(endpoint, waits) for endpoint, waits, dead in again if dead]
        asked = [*renewed, *others[: missing + 1], *last][: self._count + 1]
        networks = [(_OneAddress(self._around, endpoint), waits) for endpoint, waits in asked]
        return networks, len(renewed) + missing

    @property
    def _missing(self) -> int:
        """How many servers more there should be, without those that are dead."""
        return max(self._count - sum(not known.dead for known in self._known.values()), 0)

    def _due(self, now: Instant[Mono]) -> list[_Known]:
        """Whose keys are to be renewed now; a dead one's only while there is none for its place."""
        found = [known for known in self._known.values() if known.ended(now) and known.retry.allowed(now)]
        return found if self._missing else [known for known in found if not known.dead]

    async def _establish(self, network: KeNetwork, name: str, port: int) -> Established | KeFailure:
        try:
            trust = self._trusts.of(self._source.ca)
        except CertificateError as error:
            raise OSError(f"{self._source.ca}: {error}") from error
        floor = self._floor() if self._source.bootstrap else None
        offer = KeOffer(protocols=ke_protocols(self._source))
        remote = KeRemote(server=name, port=port, trust=trust, floor=floor, offer=offer)
        return await establish(network, remote, self._utc())

    async def _take(self, result: Established, waits: retry.KeRetry, ke_server: str) -> Endpoint | KeFailure:
        """Keys were made: find where they are good, and use them there."""
        endpoints = await ntp_servers(self._host, result)
        if isinstance(endpoints, KeFailure):
            return endpoints
        now = self._host.mono()
        # A server that is asked already stays where it is.
        before = {one for one, known in self._known.items() if known.retry is waits}
        endpoint = next((one for one in endpoints if one in before), None)
        if endpoint is None:
            endpoint = next((one for one in endpoints if one not in self._known), endpoints[0])
            if isinstance(self._source, PoolSource):
                other = self._known.get(endpoint)
                if other is not None and not other.ended(now):
                    # One server has one vote, and its keys are not for others to take away.
                    text = f"{ke_server} gives keys for {endpoint}, which has some from another server of the pool"
                    return KeFailure(KeKind.PROTOCOL, text, reached=True)
                for gone in before:
                    del self._known[gone]
        waits.established(now)
        self._stored.used()
        self._why = None
        session = NtsSession(result.agreed, self._host.entropy)
        provisional = self._provisional(result)
        known = self._known.get(endpoint)
        if known is None:
            authenticator = NtsAuthenticator(session, provisional=provisional is not None)
            known = self._known[endpoint] = _Known(authenticator, result.agreed, ke_server, self._utc(), waits)
        else:
            known.authenticator.renew(session, provisional=provisional is not None)
            known.agreed, known.established, known.verified = result.agreed, self._utc(), False
            known.establishments += 1
        known.tls, known.provisional, known.remote = result.tls, provisional, result.remote
        known.retry, known.trouble = waits, None
        secret = "safe from a quantum computer" if result.tls.post_quantum else result.tls.group or "an unnamed group"
        self._say("info", "nts-keys", f"{self._source.title}: has keys for {endpoint} ({result.aead.name}, {secret})")
        return endpoint

    def _provisional(self, result: Established) -> Provisional | None:
        if result.tls.dates_wrong is None or result.tls.validity is None:
            return None
        text = f"{self._source.title}: {result.tls.dates_wrong}; it is believed until the time is known"
        self._say("warning", "nts-provisional", text)
        floor = self._floor()
        return Provisional(self._source.title, result.tls.validity, BUILT if floor is None else floor)

    def wait(self, now: Instant[Mono]) -> Duration:
        """See ``Finder``: as RFC 8915 has it."""
        return self._retries.wait(now)

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
            known.retry.verified()
        if isinstance(effect, Measured) and known.provisional is not None:
            table, m = self._around.leap_table, effect.measurement
            why = known.provisional.refused(table.utc(m.at - m.offset)) or self._contradicted(m)
            if why is not None:
                self._refuse(endpoint, why)
            return why
        return None

    def _contradicted(self, m: Measurement) -> str | None:
        """Why the time that a provisional server tells cannot be, by others; None: it can, or nobody says anything."""
        fence, clock = self._around.core.fence(), self._host.clocks[m.local]
        if fence is None or m.epoch != clock.epoch:
            return None
        within = m.delay or ZERO
        if m.quality is not None:
            within += m.quality.root_delay // 2 + m.quality.root_dispersion
        # An interleaved measurement is of the exchange before.
        ago = clock.read().at - m.at
        if fence.beyond(m.at - m.offset, within, self._host.mono() - ago) is None:
            return None
        told = utc_text(self._around.leap_table.utc(m.at - m.offset))
        return f"{self._source.title} says that it is {told}, which cannot be by {fence.by}"

    def _refuse(self, endpoint: Endpoint, why: str) -> None:
        """It is not asked for keys again before it is time: its answers were valid, but that is no reason to hurry."""
        self._fail(self._known.pop(endpoint).retry, why, retry.KeFailure.REACHED)

    def _fail(self, waits: retry.KeRetry, why: str, failure: retry.KeFailure) -> None:
        self._why = why
        waits.failed(self._host.mono(), failure)
        for known in self._known.values():
            if known.retry is waits:
                known.trouble = why

    def stale(self, now: Instant[Mono]) -> bool:
        """See ``Finder``."""
        return bool(self._due(now))

    def review(self) -> dict[Endpoint, str]:
        """See ``Finder``: what was believed for want of the time is judged by it."""
        claims = self._around.core.claims(self._clock)
        if not claims.was_locked and self._around.core.fence() is None:
            return {}
        now = self._utc()
        wrong: dict[Endpoint, str] = {}
        for endpoint, known in self._known.items():
            if known.provisional is None:
                continue
            why = known.provisional.verified(now)
            if why is not None:
                wrong[endpoint] = why
                continue
            known.provisional, known.authenticator.provisional = None, False
            self._say(
                "info", "nts-verified", f"{self._source.title}: its certificate is good, now that the time is known"
            )
        for endpoint, why in wrong.items():
            self._refuse(endpoint, why)
        if claims.state is ServoState.LOCKED and not wrong:
            self._last_time.keep(now, self._host.mono())
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
                "ke_server": known.ke_server,
                "aead": session.keys[0].aead.name,
                "key_bits": 8 * len(session.keys[0].c2s),
                "age_s": (self._utc() - known.established).s(),
                "establishments": known.establishments,
                "attempts": known.retry.state.attempts,
                "nak": session.refused,
                "cookies": len(session.cookies),
                "cookie_octets": len(session.cookies[0]) if session.cookies else 0,
                "ntp_version": known.authenticator.version,
                "provisional": known.provisional is not None,
                "starving": known.authenticator.starving,
                "trouble": known.trouble,
                "group": None if tls is None else tls.group,
                "post_quantum": None if tls is None else tls.post_quantum,
            }
        }

    # -- over a restart

    async def _restore(self, name: str, port: int) -> Endpoint | None:
        """Keys and cookies of before the restart. Raises OSError: they wait until the name has an address."""
        if isinstance(self._source, PoolSource) or self._known:
            return None
        saved = self._stored.look(self._stored_as(f"{name}:{port}"), self._utc())
        if saved is None:
            return None
        agreed = saved.agreed
        if agreed.protocol not in ke_protocols(self._source):
            # The entry wants another NTP version now.
            self._stored.used()
            return None
        server = name if agreed.server is None else agreed.server
        endpoints = await self._host.resolve(server, agreed.port or NTP_PORT)
        if not endpoints:
            return None
        self._stored.used()
        session = NtsSession(agreed, self._host.entropy)
        now = self._host.mono()
        waits = self._retries.of("", now)
        authenticator = NtsAuthenticator(session)
        self._known[endpoints[0]] = _Known(authenticator, agreed, f"{name}:{port}", saved.established, waits)
        waits.established(now, saved.age(self._utc()) or ZERO)
        waits.verified()
        return endpoints[0]

    def close(self) -> None:
        """See ``Finder``: keys and cookies are kept, where they are beyond doubt."""
        if isinstance(self._source, PoolSource):
            return
        left: SavedSession | None = None
        for known in self._known.values():
            session = known.authenticator.session
            if known.verified and known.provisional is None and session.cookies:
                agreed = replace(known.agreed, keys=session.keys, cookies=session.cookies)
                place = self._stored_as(known.ke_server)
                left = SavedSession(ke_server=place, agreed=agreed, established=known.established)
        self._stored.keep(left)

    def _warn_stored(self, text: str) -> None:
        self._say("warning", "nts-stored", f"{self._source.title}: {text}")

    # -- the time

    def _stored_as(self, ke_server: str) -> str:
        """What keys are stored under: those that were made while others were trusted are of no use."""
        if self._source.ca is None:
            return ke_server
        try:
            trusted = Path(self._source.ca).read_bytes()
        except OSError:
            trusted = b""
        return f"{ke_server} {hashlib.sha256(trusted).hexdigest()}"

    def _utc(self) -> Instant[Utc]:
        """What our clock says, as far as it can be right by others."""
        reading, fence = self._host.clocks[self._clock].read().at, self._around.core.fence()
        return self._around.leap_table.utc(reading if fence is None else fence.nearest(reading, self._host.mono()))

    def _floor(self) -> Instant[Utc] | None:
        """See ``date_floor``."""
        known = self._around.core.claims(self._clock).was_locked or self._around.core.fence() is not None
        saved = None if known else self._last_time.read()
        return date_floor(known=known, built=BUILT, saved=saved)

    def _say(self, level: str, name: str, text: str) -> None:
        self._around.listener.note(Noted(level, name, text))
