"""What an NTP server counts, in an order that workers and the daemon share."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from enum import IntEnum


class Count(IntEnum):
    """Places in the list of counters, in the order of ``ServerCounters``."""

    RECEIVED = 0
    ANSWERED = 1
    DENIED = 2
    LIMITED = 3
    KOD = 4
    BAD = 5
    LATE = 6
    INTERLEAVED = 7
    AUTHENTICATED = 8
    AUTH_FAILED = 9
    UNSENT = 10
    VERSION_1 = 11
    VERSION_2 = 12
    VERSION_3 = 13
    VERSION_4 = 14
    VERSION_5 = 15
    RESTARTS = 16
    HARDWARE = 17
    NTS = 18
    NTS_NAK = 19
    OVER_PTP = 20


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Sums since the start.

    Every datagram received is one of answered, denied, limited, bad, late and auth_failed.

    Attributes:
        received: Datagrams read.
        answered: Replies made, kisses left out.
        denied: Came from a network that may not ask.
        limited: Refused because the client asks too often; the kisses are among them.
        kod: Kiss-o'-death replies made.
        bad: Not a request that is answered: malformed, another mode or version, sent to a multicast address.
        late: Waited too long here, or the clock was set back meanwhile.
        interleaved: Replies in interleaved mode.
        authenticated: Replies with a MAC.
        auth_failed: Requests with a MAC that is wrong or of an unknown key.
        unsent: Replies that the kernel did not take.
        version_1: Replies of NTP version 1.
        version_2: Replies of NTP version 2.
        version_3: Replies of NTP version 3.
        version_4: Replies of NTP version 4.
        version_5: Replies of NTP version 5.
        restarts: Workers that died and were started again.
        hardware: Replies whose receive timestamp is the network card's.
        nts: Replies protected by NTS; they are among the authenticated ones.
        nts_nak: NTS NAKs made: requests with a cookie that does not open; they are among ``auth_failed``.
        over_ptp: Replies that travelled over PTP, of any kind; kisses are among them.
    """

    received: int = 0
    answered: int = 0
    denied: int = 0
    limited: int = 0
    kod: int = 0
    bad: int = 0
    late: int = 0
    interleaved: int = 0
    authenticated: int = 0
    auth_failed: int = 0
    unsent: int = 0
    version_1: int = 0
    version_2: int = 0
    version_3: int = 0
    version_4: int = 0
    version_5: int = 0
    restarts: int = 0
    hardware: int = 0
    nts: int = 0
    nts_nak: int = 0
    over_ptp: int = 0

    def __add__(self, other: ServerCounters) -> ServerCounters:
        return ServerCounters(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The counters in the order of ``Count``."""
        return astuple(self)


assert [field.name.upper() for field in fields(ServerCounters)] == [count.name for count in Count]
