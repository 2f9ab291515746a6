"""The NTS server of an appliance: master keys that change, and the process that establishes keys (RFC 8915)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Noted
from timesync.base.time import Instant, Utc
from timesync.base.utc import LeapTable
from timesync.config.clocks import SYSTEM
from timesync.config.nts import ServeNts
from timesync.config.schema import Config
from timesync.host import Host, NtsKeService, NtsSpec
from timesync.ntp.client_log import ClientList
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.master import (
    DAY,
    KeyStore,
    MasterKeyError,
    MasterKeys,
    RotationSettings,
    Seed,
    day_number,
    next_day,
    seeded_keys,
)
from timesync.observe.snapshot import MasterKeyFacts, NtsFacts
from timesync.wire.ntp5 import VERSION as NTPV5
from timesync.wire.nts_ke import NextProtocol

_FILE: Final = "nts-master.keys"
_ROTATION: Final = RotationSettings()
_NTP_PORT: Final = 123
_PROTOCOLS: Final = ((NTPV5, NextProtocol.NTPV5_DRAFT), (4, NextProtocol.NTPV4))
"""What cookies may be for, by NTP version: a client that speaks version 5 shall have that."""


class CookieKeys:
    """The master keys of cookies: random ones that are kept in the state directory, or those of a fleet's day."""

    def __init__(self, host: Host, seed: Seed | None, now: Instant[Utc], note: Callable[[str, str], None]) -> None:
        """``note`` takes a level and a sentence."""
        self._host = host
        self._seed = seed
        self._note = note
        self._kept = False
        self._store = KeyStore.new(now, host.entropy) if seed is None else None
        if self._store is not None:
            self._store = self._stored(now) or self._store
            self._save(self._store)
        self._day = day_number(now)
        self.keys = self._made(now)

    @property
    def forgotten(self) -> bool:
        """Their file was there, and somebody has taken it away: nothing of before is to be accepted any more."""
        if not self._kept:
            return False
        try:
            return not self._host.load(_FILE)
        except OSError:
            return False

    def facts(self, now: Instant[Utc]) -> MasterKeyFacts:
        """For the status."""
        if self._store is not None:
            since, until = self._store.changed, self._store.next_due(_ROTATION)
        else:
            until = next_day(now)
            since = until - DAY
        return MasterKeyFacts(age=now - since, changes_in=until - now, old=self.keys.old, seeded=self._seed is not None)

    def tick(self, now: Instant[Utc]) -> bool:
        """Whether other keys are in ``keys`` now."""
        store = self._store
        if store is not None and store.due(now, _ROTATION):
            self._store = store.rotated(now, self._host.entropy, _ROTATION)
            self._save(self._store)
        elif store is not None or day_number(now) == self._day:
            return False
        self.keys = self._made(now)
        return True

    def _made(self, now: Instant[Utc]) -> MasterKeys:
        if self._store is not None:
            return self._store.keys
        assert self._seed is not None
        # Not "until midnight": a clock that is set back from another year must not keep the keys of that year.
        self._day = day_number(now)
        return seeded_keys(self._seed, now)

    def _stored(self, now: Instant[Utc]) -> KeyStore | None:
        """What was kept over the restart, changed if that is due."""
        try:
            data = self._host.load(_FILE)
            if not data:
                return None
            store = KeyStore.decode(data)
        except (OSError, MasterKeyError) as error:
            self._note("warning", f"NTS: the kept master keys cannot be used ({error}); cookies of before are void")
            return None
        return store.rotated(now, self._host.entropy, _ROTATION) if store.due(now, _ROTATION) else store

    def _save(self, store: KeyStore) -> None:
        try:
            self._host.save(_FILE, store.encode())
            # Without a state directory nothing is kept, and nobody can take anything away.
            self._kept = bool(self._host.load(_FILE))
        except OSError as error:
            self._note(
                "warning", f"NTS: master keys cannot be kept ({error.strerror or error}): a restart voids cookies"
            )


class NtsServer:
    """What of NTS an appliance serves."""

    def __init__(self, host: Host, table: LeapTable, note: Callable[[Noted], None]) -> None:
        """Nothing is served before ``open``."""
        self._host = host
        self._table = table
        self._note = note
        self._service: NtsKeService | None = None
        self._cookies: CookieKeys | None = None
        self._seed: bytes | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where keys are established."""
        return () if self._service is None else tuple(str(endpoint) for endpoint in self._service.addresses)

    def open(self, config: Config) -> tuple[MasterKeys | None, str | None]:
        """Serve what a configuration asks for.

        Returns:
            The master keys for the NTP server here, if its clients have cookies; and why keys cannot be established.
        """
        self.close()
        serve = config.serve.nts
        if serve is None:
            return None, None
        try:
            self._seed = None if serve.seed is None else Path(serve.seed).read_bytes()
            seed = None if self._seed is None else Seed(self._seed)
        except (OSError, MasterKeyError) as error:
            return None, f"NTS cannot be served: {serve.seed}: {getattr(error, 'strerror', None) or error}"
        self._cookies = CookieKeys(self._host, seed, self._utc(), self._say)
        own = None if serve.server is not None else self._cookies.keys
        try:
            self._service = self._host.serve_nts(_spec(config, serve), self._cookies.keys, self._utc, self._say)
        except (OSError, ValueError) as error:
            where = ", ".join(str(endpoint) for endpoint in serve.listen)
            why = getattr(error, "strerror", None) or error
            if isinstance(error, OSError) and error.filename is not None:
                why = f"{error.filename}: {why}"
            return own, f"NTS-KE cannot be served on {where}: {why}{_advice(error)}; the rest keeps running"
        return own, None

    def outdated(self, config: Config) -> bool:
        """Master keys must go, as after a leak: their file has been deleted, or the seed is another one."""
        serve = config.serve.nts
        if serve is None:
            return False
        if serve.seed is None:
            return self._cookies is not None and self._cookies.forgotten
        try:
            return Path(serve.seed).read_bytes() != self._seed
        except OSError:
            return False

    def facts(self) -> NtsFacts | None:
        """For the status; None when no cookies are made."""
        if self._cookies is None:
            return None
        now = self._utc()
        service = self._service
        return NtsFacts(
            listen=self.addresses,
            master_key=self._cookies.facts(now),
            certificates=() if service is None else tuple((one, one.expires - now) for one in service.certificates),
            refused=() if service is None else tuple(service.refused),
            counters={} if service is None else service.counters(),
        )

    async def clients(self) -> ClientList:
        """Who has established keys, or tried to."""
        return ClientList() if self._service is None else await self._service.clients()

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with the certificates, in sentences."""
        if self._service is None:
            return ()
        sentences = [f"NTS-KE: {one.file}: {one.why}" for one in self._service.refused]
        if sentences and not self._service.certificates:
            sentences.append("NTS-KE: there is no certificate to serve: every client is refused")
        return tuple(sentences)

    def tick(self) -> MasterKeys | None:
        """Once a second: other master keys, when it is time for them."""
        if self._cookies is None or not self._cookies.tick(self._utc()):
            return None
        if self._service is not None:
            self._service.publish(self._cookies.keys)
        self._say("info", "NTS: master keys have changed")
        return self._cookies.keys

    def close(self) -> None:
        """Establish no more keys."""
        if self._service is not None:
            self._service.close()
        self._service = self._cookies = None

    def _utc(self) -> Instant[Utc]:
        return self._table.utc(self._host.clocks[ClockId(SYSTEM)].read().at)

    def _say(self, level: str, text: str) -> None:
        self._note(Noted(level, "nts-server", text))


def _spec(config: Config, serve: ServeNts) -> NtsSpec:
    port = told_port(() if config.serve.ntp is None else config.serve.ntp.listen)
    # What another server speaks is not known here, but version 4 is what NTS was made for.
    spoken = (4,) if serve.server is not None or config.serve.ntp is None else config.serve.ntp.versions
    return NtsSpec(
        listen=serve.listen,
        certificates=[(pair.certificate, pair.private_key) for pair in serve.pairs],
        offer=KeServerSettings(
            protocols=tuple(protocol for version, protocol in _PROTOCOLS if version in spoken),
            server=None if serve.server is None else serve.server.host,
            port=port if serve.server is None else serve.server.port,
        ),
        connections=serve.connections,
        clients=serve.clients,
    )


def told_port(listen: Sequence[Endpoint]) -> int | None:
    """The UDP port that clients are sent to by an NTP server of these addresses; None: the usual one."""
    ports = [endpoint.port for endpoint in listen if endpoint.port]
    return None if _NTP_PORT in ports else next(iter(ports), None)


def _advice(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return " (another server of NTS-KE runs there; see `ss -tlpn`)"
    return ""
