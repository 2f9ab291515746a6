"""What of NTS is kept in the state directory: a source's keys and cookies, and the last time that was surely right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.gnss.rollover import BUILT
from timesync.host import Host
from timesync.nts.saved import SavedSession, SavedSessionError

_SESSION: Final = "nts-{}.session"
_TIME: Final = "nts-time"
_TIME_EVERY: Final = Duration.from_s(3600)
_LATEST_S: Final = 1 << 34
"""The year 2514: what lies later was not written by us."""


class StoredSession:
    """The file of one source. A cookie must not be used twice, so the file is emptied before any can be used."""

    def __init__(self, host: Host, title: str, warn: Callable[[str], None]) -> None:
        """Nothing is read yet; ``warn`` takes what goes wrong, as the end of a sentence about the source."""
        self._host = host
        self._file = _SESSION.format(hashlib.sha256(title.encode()).hexdigest()[:16])
        self._warn = warn
        self._read = False
        self._found: SavedSession | None = None

    def look(self, ke_server: str, now: Instant[Utc]) -> SavedSession | None:
        """What was kept of this NTS-KE server and is not too old; the same each time, until it is ``used``."""
        if not self._read:
            self._read = True
            saved = self._load()
            if saved is not None and saved.ke_server == ke_server and saved.agreed.cookies:
                self._found = saved
        found = self._found
        return None if found is None or found.age(now) is None else found

    def used(self) -> None:
        """Its cookies are in use now."""
        self._found = None

    def keep(self, saved: SavedSession | None) -> None:
        """Write it; None: what was read and not used, if anything."""
        saved = saved or self._found
        if saved is None:
            return
        try:
            self._host.save(self._file, saved.encode())
        except OSError as error:
            self._warn(f"keys cannot be stored: {error.strerror or error}")

    def _load(self) -> SavedSession | None:
        try:
            data = self._host.load(self._file)
            if not data:
                return None
            self._host.save(self._file, b"")
            return SavedSession.decode(data)
        except (OSError, SavedSessionError) as error:
            self._warn(f"stored keys cannot be used: {error}")
            return None


class LastTime:
    """The last time that was surely right: after a restart, the time cannot be before it."""

    def __init__(self, host: Host) -> None:
        """Of the state directory of ``host``."""
        self._host = host
        self._kept_at: Instant[Mono] | None = None

    def read(self) -> Instant[Utc] | None:
        """None where there is none, or none that can be."""
        try:
            text = self._host.load(_TIME) or b""
            seconds = int(text[:20])
        except (OSError, ValueError):
            return None
        return Instant.from_ns(seconds * 10**9) if BUILT.ns() < seconds * 10**9 and seconds < _LATEST_S else None

    def keep(self, utc: Instant[Utc], now: Instant[Mono]) -> None:
        """Once an hour at most."""
        if self._kept_at is not None and now - self._kept_at < _TIME_EVERY:
            return
        self._kept_at = now
        try:
            self._host.save(_TIME, b"%d\n" % (utc.ns() // 10**9))
        except OSError:
            # That the state directory cannot be written is said by those who lose more by it.
            return
