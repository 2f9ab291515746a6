"""A server with NTS (RFC 8915) whose keys are kept: one key establishment, then as many questions as one likes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from timesync.base.ids import Endpoint
from timesync.config.address import parse_host_port
from timesync.daemon.leap import load_leap_table
from timesync.daemon.nts_query import NoKeysError, NtsQuerier
from timesync.daemon.query import measuring_host
from timesync.lib.ask import QueryError, Reply, reply_of, settings_of
from timesync.lib.trust import NtsTrust
from timesync.nts.certificates import CertificateError
from timesync.runtime.ke_client import KE_PORT, Established, KeKind
from timesync.runtime.ke_trust import Trusts

_TRUSTS: Final = Trusts()
"""Reading the system's store takes milliseconds; it is kept for an hour."""


class NtsError(QueryError):
    """There are no keys, so nothing was asked; the text says why.

    Attributes:
        kind: At what key establishment failed.
        retry_in_s: It is not tried again before; until then the same error is raised at once (RFC 8915, 4.2).
    """

    def __init__(self, kind: KeKind, text: str, retry_in_s: float) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_in_s = retry_in_s


class NtsSession:
    """A server that is asked with NTS, inside ``async with``: keys are made at its entry and forgotten at its end.

    Each answer brings cookies for further questions. When the keys are of no more use, as after a change of the
    server's own, ``query`` makes others by itself, no more often than RFC 8915 allows.
    """

    def __init__(self, server: str, *, trust: NtsTrust = NtsTrust()) -> None:  # noqa: B008  it is frozen
        """Nothing is asked yet.

        Args:
            server: Who makes the keys: ``host``, ``host:port``, an IPv4 or an IPv6 address, ``[address]:port``; port
                4460 unless said. Its certificate must have that name or address.
            trust: Whose certificates are believed.

        Raises:
            OSError: The file of ``trust`` cannot be read.
            ValueError: ``server`` is no address (``AddressError``), or the file holds no certificates.
        """
        named = parse_host_port(server, KE_PORT)
        try:
            believed = _TRUSTS.of(trust.path)
        except CertificateError as error:
            raise CertificateError(f"{trust.path}: {error}") from None
        self._server = server
        self._named = named
        self._trust = believed
        self._asking = asyncio.Lock()
        self._querier: NtsQuerier | None = None

    async def __aenter__(self) -> Self:
        """Make keys. Raises NtsError."""
        table, _ = load_leap_table()
        querier = NtsQuerier(measuring_host(table), table, self._named, self._trust)
        try:
            await querier.renew()
        except NoKeysError as error:
            raise _nts_error(error) from None
        self._querier = querier
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the keys."""
        self._querier = None

    async def query(self, *, count: int = 1, timeout_s: float = 3.0, interval_s: float = 1.0) -> Reply:
        """Ask for the time; calls from several tasks wait for each other.

        Args:
            count: Questions; the answer with the shortest round trip counts.
            timeout_s: How long each answer is waited for.
            interval_s: Between two questions; a public server should not be asked faster than once in two seconds.

        Raises:
            NtsError: The keys were of no more use, and there are no others.
            QueryError: No answer came, or none that a client would use.
            RuntimeError: Outside of ``async with``.
            ValueError: An argument is out of its range.
        """
        settings = settings_of(count, 4, timeout_s, interval_s)
        querier = self._inside()
        async with self._asking:
            try:
                outcomes = await querier.ask(settings)
            except NoKeysError as error:
                raise _nts_error(error) from None
            return reply_of(self._server, querier.asked.endpoint, outcomes, authenticated=True)

    async def renew(self) -> None:
        """Make other keys now; those that are there stay when that fails. Raises NtsError, RuntimeError."""
        querier = self._inside()
        async with self._asking:
            try:
                await querier.renew()
            except NoKeysError as error:
                raise _nts_error(error) from None

    @property
    def server(self) -> Endpoint:
        """The NTP server that is asked; key establishment may name another than itself. Raises RuntimeError."""
        return self._inside().asked.endpoint

    @property
    def established(self) -> Established:
        """What the last key establishment agreed upon, TLS included. Raises RuntimeError."""
        return self._inside().asked.established

    @property
    def cookies(self) -> int:
        """Questions that can go unanswered before other keys are needed; 8 in good times. Raises RuntimeError."""
        return self._inside().cookies

    @property
    def rounds(self) -> int:
        """How many times keys were made. Raises RuntimeError."""
        return self._inside().rounds

    def _inside(self) -> NtsQuerier:
        if self._querier is None:
            raise RuntimeError("an NtsSession is used inside `async with`")
        return self._querier


def _nts_error(error: NoKeysError) -> NtsError:
    return NtsError(error.kind, str(error), error.wait.s())
