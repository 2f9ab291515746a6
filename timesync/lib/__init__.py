"""timesync for other programs: ask, follow and serve the time, from blocking code or from asyncio.

No function here changes a clock. All are for Linux, and need no privilege, apart from serving on a port below 1024. The
formats of packets alone are in ``timesync.wire``, the machines without IO in ``timesync.ntp``; both run wherever Python
does. Spans are ``Duration``, offsets are this machine's clock minus the other: positive when this clock is ahead.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timesync.lib.ask import QueryError, Reply, query, query_blocking
    from timesync.lib.follower import Follower, FollowState, follow
    from timesync.lib.nts import NtsError, NtsSession
    from timesync.lib.rough import (
        RoughtimeAnswer,
        RoughtimeServerAddress,
        roughtime,
        roughtime_blocking,
    )
    from timesync.lib.server import Claim, NtpServer, claim_of_system_clock, serve
    from timesync.lib.trust import NtsCertificate, NtsTrust
    from timesync.runtime.ke_client import KeKind
else:
    # No module has the name of a function: once loaded, it would stand in its place.
    _HOMES = {
        "Claim": "timesync.lib.server",
        "FollowState": "timesync.lib.follower",
        "Follower": "timesync.lib.follower",
        "KeKind": "timesync.runtime.ke_client",
        "NtpServer": "timesync.lib.server",
        "NtsCertificate": "timesync.lib.trust",
        "NtsError": "timesync.lib.nts",
        "NtsSession": "timesync.lib.nts",
        "NtsTrust": "timesync.lib.trust",
        "QueryError": "timesync.lib.ask",
        "Reply": "timesync.lib.ask",
        "RoughtimeAnswer": "timesync.lib.rough",
        "RoughtimeServerAddress": "timesync.lib.rough",
        "claim_of_system_clock": "timesync.lib.server",
        "follow": "timesync.lib.follower",
        "query": "timesync.lib.ask",
        "query_blocking": "timesync.lib.ask",
        "roughtime": "timesync.lib.rough",
        "roughtime_blocking": "timesync.lib.rough",
        "serve": "timesync.lib.server",
    }

    def __getattr__(name: str) -> object:
        """A name from its module, which is loaded now: who asks one question does not wait for a daemon (PEP 562)."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(home), name))

    def __dir__() -> list[str]:
        return sorted(__all__)


__all__ = [
    "Claim",
    "FollowState",
    "Follower",
    "KeKind",
    "NtpServer",
    "NtsCertificate",
    "NtsError",
    "NtsSession",
    "NtsTrust",
    "QueryError",
    "Reply",
    "RoughtimeAnswer",
    "RoughtimeServerAddress",
    "claim_of_system_clock",
    "follow",
    "query",
    "query_blocking",
    "roughtime",
    "roughtime_blocking",
    "serve",
]
