"""Questions to one server with NTS: keys first, then as many questions as one likes, and other keys when it is time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from timesync.base.ids import Endpoint
from timesync.base.time import ZERO, Duration
from timesync.base.utc import LeapTable
from timesync.config.address import HostPort
from timesync.daemon.query import SYSTEM_CLOCK, query
from timesync.host import Host
from timesync.ntp.authenticator import NtsAuthenticator
from timesync.ntp.exchange import DropReason
from timesync.ntp.query import Outcome, QuerySettings
from timesync.nts import retry
from timesync.nts.ke_client import KeOffer
from timesync.nts.session import NtsSession
from timesync.nts.tls_client import Trust
from timesync.runtime.ke_client import Established, KeFailure, KeKind, KeRemote, establish, ntp_servers
from timesync.wire.nts_ke import NextProtocol


class NoKeysError(Exception):
    """Key establishment has failed, or it is not time for another.

    Attributes:
        kind: At what it failed.
        wait: How long not to try again (RFC 8915, 4.2).
    """

    def __init__(self, kind: KeKind, text: str, wait: Duration) -> None:
        super().__init__(text)
        self.kind = kind
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Keyed:
    """Keys, and who knows them.

    Attributes:
        established: What came of key establishment.
        endpoint: The NTP server.
        authenticator: Signs and verifies with the keys.
    """

    established: Established
    endpoint: Endpoint
    authenticator: NtsAuthenticator


class NtsQuerier:
    """A server that is asked with NTS. Certificates' dates are judged by the system clock, at once.

    Attributes:
        rounds: How many times keys were made.
    """

    def __init__(self, host: Host, table: LeapTable, server: HostPort, trust: Trust, *, ntpv5: bool = False) -> None:
        """Nothing is asked yet.

        Args:
            host: Where to ask from.
            table: TAI - UTC.
            server: Who makes the keys.
            trust: Whose certificates are believed.
            ntpv5: Keys are wanted for NTPv5.
        """
        self.rounds = 0
        self._host = host
        self._table = table
        self._server = server
        offer = KeOffer(protocols=(NextProtocol.NTPV5_DRAFT if ntpv5 else NextProtocol.NTPV4,))
        self._remote = KeRemote(server=server.host, port=server.port, trust=trust, offer=offer)
        self._retry = retry.KeRetry(host.rng)
        self._failure: KeFailure | None = None
        self._asked: Keyed | None = None

    @property
    def asked(self) -> Keyed:
        """The keys of the last key establishment that did not fail; to be asked for only after one."""
        assert self._asked is not None
        return self._asked

    @property
    def cookies(self) -> int:
        """How many are left."""
        return len(self.asked.authenticator.session.cookies)

    def details(self) -> dict[str, Any]:
        """The keys in words and numbers, as in ``timesync sources --json``."""
        established = self.asked.established
        return {
            "ke_server": str(self._server),
            "aead": established.aead.name,
            "cookies": self.cookies,
            "group": established.tls.group,
            "post_quantum": established.tls.post_quantum,
        }

    async def renew(self) -> None:
        """Make keys, in the place of those that are there, which stay when it fails. Raises NoKeysError."""
        if not self._allowed():
            failure = self._failure
            if failure is None:
                text = f"{self._remote.server} made keys a moment ago, and no answer under them has come"
                raise NoKeysError(KeKind.PROTOCOL, text, self._wait())
            raise NoKeysError(failure.kind, failure.reason, self._wait())
        now = self._table.utc(self._host.clocks[SYSTEM_CLOCK].read().at)
        result = await establish(self._host, self._remote, now)
        endpoints = result if isinstance(result, KeFailure) else await ntp_servers(self._host, result)
        if isinstance(endpoints, KeFailure):
            self._failure = endpoints
            self._retry.failed(self._host.mono(), endpoints.for_retry)
            raise NoKeysError(endpoints.kind, endpoints.reason, self._wait())
        assert isinstance(result, Established)
        self._failure = None
        self._retry.established(self._host.mono())
        authenticator = NtsAuthenticator(NtsSession(result.agreed, self._host.entropy))
        self._asked = Keyed(result, endpoints[0], authenticator)
        self.rounds += 1

    async def ask(self, settings: QuerySettings, heard: Callable[[Outcome], None] | None = None) -> list[Outcome]:
        """What came of each question; keys are made first where there are none of use.

        A server that says that it does not know the keys any more (NTS NAK) is asked again under others, once, if it
        is time to make some. Raises NoKeysError.
        """
        outcomes: list[Outcome] = []
        while True:
            keyed = self._keyed()
            if keyed is None and outcomes and not self._allowed():
                return outcomes
            if keyed is None or self._retry.refresh_due(self._host.mono()):
                try:
                    await self.renew()
                except NoKeysError:
                    if keyed is None:
                        raise
                keyed = self._keyed()
            assert keyed is not None
            outcomes = await query(self._host, self._table, keyed.endpoint, settings, heard, keyed.authenticator)
            if keyed.authenticator.session.verified:
                self._retry.verified()
            if not _disowned(outcomes):
                return outcomes

    def _keyed(self) -> Keyed | None:
        """The keys, if there is a cookie for them."""
        keyed = self._asked
        return keyed if keyed is not None and keyed.authenticator.session.ready() else None

    def _allowed(self) -> bool:
        return self._retry.allowed(self._host.mono())

    def _wait(self) -> Duration:
        allowed_at = self._retry.state.allowed_at
        return ZERO if allowed_at is None else max(allowed_at - self._host.mono(), ZERO)


def _disowned(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing came but an NTS NAK, or no more could be asked for want of cookies."""
    return all(one.packet is None for one in outcomes) and any(DropReason.NTS_NAK in one.drops for one in outcomes)
