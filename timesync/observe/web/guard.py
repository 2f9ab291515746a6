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

ADDRESS_RATE: Final = 20.0
ADDRESS_BURST: Final = 120.0
"""Requests per second of one address, and at once: a page with all that belongs to it is about thirty."""

HISTORY_RATE: Final = 10.0
HISTORY_BURST: Final = 80.0
"""Of all together, for what has to be looked up and computed."""

ADDRESSES: Final = 1024
"""So many addresses are remembered."""

METHODS: Final = ("GET", "HEAD")

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "timesync",
}
"""Of every response."""


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


class Bucket:
    """A token bucket; times are monotonic seconds."""

    __slots__ = ("_at_s", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        """Full. ``rate`` is per second."""
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether there was something in it."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


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
        self._buckets: dict[str, Bucket] = {}
        self._history = Bucket(HISTORY_RATE, HISTORY_BURST, now())

    def refuse(self, method: str, remote: str | None, headers: Mapping[str, list[str]]) -> Refusal | None:
        """Why this request is refused; None when it is not.

        Args:
            method: Of HTTP.
            remote: The peer's address.
            headers: The values of ``host``, ``origin``, ``sec-fetch-site`` and ``sec-fetch-mode``, as they came.
        """
        if not self._may(remote):
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

    def look_up(self) -> bool:
        """Whether something may be looked up in history now."""
        return self._history.take(self._now())

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

    def _may(self, remote: str | None) -> bool:
        now_s, key = self._now(), network(remote)
        bucket = self._buckets.pop(key, None) or Bucket(ADDRESS_RATE, ADDRESS_BURST, now_s)
        self._buckets[key] = bucket  # now the last one
        if len(self._buckets) > ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now_s)


def network(remote: str | None) -> str:
    """What counts as one peer: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
