"""timesync for other programs: ask, follow and serve the time, from blocking code or from asyncio.

No function here changes a clock. All are for Linux, and need no privilege, apart from serving on a port below 1024. The
formats of packets alone are in ``timesync.wire``, the machines without IO in ``timesync.ntp``; both run wherever Python
does. Spans are ``Duration``, offsets are this machine's clock minus the other: positive when this clock is ahead.
"""

from timesync.lib.ask import QueryError, Reply, query, query_blocking
from timesync.lib.follow import Follower, FollowState, follow
from timesync.lib.roughtime import (
    RoughtimeAnswer,
    RoughtimeServerAddress,
    roughtime,
    roughtime_blocking,
)
from timesync.lib.serve import Claim, NtpServer, claim_of_system_clock, serve

__all__ = [
    "Claim",
    "FollowState",
    "Follower",
    "NtpServer",
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
