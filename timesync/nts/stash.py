"""The cookies that a client has for its next requests (RFC 8915, 5.7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from timesync.nts.ke_client import MAX_COOKIES, usable_cookie

MAX_COOKIE_OCTETS: Final = 864
"""Octets of cookie and placeholder fields in one request, as chrony has it: longer packets are dropped or cut by too
many networks. Eight cookies of up to 104 octets fit."""

_FIELD_HEAD: Final = 4


class CookieStash:
    """Up to eight cookies, each of which is given out once: a cookie that is used again lets others follow a client.

    Args:
        cookies: To begin with; those that cannot be used are left out.
    """

    def __init__(self, cookies: Iterable[bytes] = ()) -> None:
        self._cookies: deque[bytes] = deque()
        self.add(cookies)

    def __len__(self) -> int:
        return len(self._cookies)

    def take(self) -> bytes | None:
        """The oldest cookie, which is forgotten here; None when there is none."""
        return self._cookies.popleft() if self._cookies else None

    def placeholders(self, size: int) -> int:
        """How many more cookies to ask for in a request, after its cookie of ``size`` octets has been taken.

        As many as make eight when one comes for each and one for the cookie (RFC 8915, 5.7), unless the packet would
        get too long.
        """
        wanted = MAX_COOKIES - len(self._cookies)
        return max(min(wanted, MAX_COOKIE_OCTETS // (size + _FIELD_HEAD)) - 1, 0)

    def add(self, cookies: Iterable[bytes]) -> int:
        """Keep what can be used and has room; returns how many those were."""
        before = len(self._cookies)
        for cookie in cookies:
            if len(self._cookies) < MAX_COOKIES and usable_cookie(cookie) and cookie not in self._cookies:
                self._cookies.append(cookie)
        return len(self._cookies) - before

    def clear(self) -> None:
        """Forget all."""
        self._cookies.clear()

    def content(self) -> tuple[bytes, ...]:
        """All, oldest first, for storing."""
        return tuple(self._cookies)
