"""Who is let in at the web page: names that it may be asked by, methods, and how often.

The page needs no password on loopback, so what protects it there is that a browser must not be led to it by somebody
else's page: under a name that somebody has pointed at this machine (DNS rebinding), or from another origin. Nothing
here acts on anything, so there is no token to steal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from timesync.observe.http import REQUEST_BURST, REQUEST_RATE, Bucket, Shares, is_local

HISTORY_RATE: Final = 10.0
HISTORY_BURST: Final = 80.0
"""Of all together, for what has to be looked up and computed."""

HISTORY_RATE_EACH: Final = 5.0
HISTORY_BURST_EACH: Final = 40.0
"""Of these, of one address that is not this machine's: a page asks ten questions at its start, and each minute."""

METHODS: Final = ("GET", "HEAD")

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered.

    Attributes:
        status: Of HTTP.
        text: For who asked.
        headers: That go with it.
    """

    status: int
    text: str
    headers: Mapping[str, str]


class Guard:
    """Judges requests before anything is done about them."""

    def __init__(self, hosts: Iterable[str], now: Callable[[], float]) -> None:
        """Begin.

        Args:
            hosts: Names by which the page may be asked for, in lower case, apart from localhost.
            now: Monotonic seconds.
        """
        self._names = {"localhost", *hosts}
        self._now = now
        self._requests = Shares(REQUEST_RATE, REQUEST_BURST, now)
        self._lookups = Shares(HISTORY_RATE_EACH, HISTORY_BURST_EACH, now)
        self._history = Bucket(HISTORY_RATE, HISTORY_BURST, now())

    def refuse(self, method: str, remote: str | None, headers: Mapping[str, list[str]]) -> Refusal | None:
        """Why this request is refused; None when it is not.

        Args:
            method: Of HTTP.
            remote: The peer's address.
            headers: The values of ``host``, ``origin``, ``sec-fetch-site`` and ``sec-fetch-mode``, as they came.
        """
        if not self._requests.take(remote):
            return Refusal(429, "too many requests", {"Retry-After": "5"})
        if method not in METHODS:
            return Refusal(405, "this page is for reading only", {"Allow": ", ".join(METHODS)})
        hosts = headers.get("host", [])
        if len(hosts) != 1:
            return Refusal(400, "a request has one Host", {})
        if not self._known(hosts[0]):
            return Refusal(421, "not under this name; observe.web.hosts lists the names that are answered", {})
        origins = headers.get("origin", [])
        if any(origin not in {f"http://{hosts[0]}", f"https://{hosts[0]}"} for origin in origins):
            return Refusal(403, "not for other sites", {})
        # A link from elsewhere may be followed; scripts and images elsewhere get nothing.
        if headers.get("sec-fetch-site") == ["cross-site"] and headers.get("sec-fetch-mode") != ["navigate"]:
            return Refusal(403, "not for other sites", {})
        return None

    def look_up(self, remote: str | None) -> bool:
        """Whether something may be looked up in history now; ``remote`` is the peer's address."""
        # A proxy or a tunnel on this machine speaks for many.
        return (is_local(remote or "") or self._lookups.take(remote)) and self._history.take(self._now())

    def _known(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None or int(found[2] or 0) > 65535:
            return False
        name = found[1].lower()
        if name.removesuffix(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
