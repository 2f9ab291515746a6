"""Where the servers of a source are, and what makes their answers their own: by a name, or by NTS key establishment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from timesync.base.ids import Endpoint
from timesync.base.machine import Effect
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.host import Host
from timesync.ntp.authenticator import Authenticator


class Finder(Protocol):
    """Finds the servers of one source."""

    @property
    def limit_s(self) -> float:
        """How long ``find`` may take."""
        ...

    async def find(self, name: str, port: int) -> list[Endpoint]:
        """The servers behind a name. Raises OSError, and whatever a look-up raises."""
        ...

    def wait(self, now: Instant[Mono]) -> Duration:
        """How long not to look again, after a failure."""
        ...

    def authenticator(self, endpoint: Endpoint) -> Authenticator | None:
        """What signs the requests to a server that was found; None: nothing, or the key of its settings."""
        ...

    def heard(self, endpoint: Endpoint, effect: Effect) -> str | None:
        """What the association with a server says; returns why it must not be asked any more, if so."""
        ...

    def stale(self, now: Instant[Mono]) -> bool:
        """It is time to ``find`` again, although there are servers."""
        ...

    def review(self) -> dict[Endpoint, str]:
        """Now and then: servers that must not be asked any more, and why."""
        ...

    def forget(self, endpoint: Endpoint) -> None:
        """A server is asked no more."""
        ...

    def details(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """For ``timesync sources --json``."""
        ...

    def close(self) -> None:
        """Nobody is asked any more; keep what is worth keeping."""
        ...


class NameFinder:
    """The addresses of a name."""

    limit_s = 20.0

    def __init__(self, host: Host) -> None:
        """Ask the resolver of ``host``."""
        self._host = host

    async def find(self, name: str, port: int) -> list[Endpoint]:
        """See ``Finder``."""
        return await self._host.resolve(name, port)

    def wait(self, now: Instant[Mono]) -> Duration:
        """No longer than the roster waits by itself."""
        del now
        return ZERO

    def authenticator(self, endpoint: Endpoint) -> Authenticator | None:
        """None: the settings say what there is."""
        del endpoint
        return None

    def heard(self, endpoint: Endpoint, effect: Effect) -> str | None:
        """Nothing."""
        del endpoint, effect
        return None

    def stale(self, now: Instant[Mono]) -> bool:
        """Never: the roster knows when a name is to be looked up again."""
        del now
        return False

    def review(self) -> dict[Endpoint, str]:
        """Nothing."""
        return {}

    def forget(self, endpoint: Endpoint) -> None:
        """Nothing."""

    def details(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """Nothing."""
        del endpoint
        return {}

    def close(self) -> None:
        """Nothing."""
