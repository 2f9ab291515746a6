"""How the NTP server is to serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.ntp.access import Network
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import RateLimit
from timesync.ntp.v5.desk import DeskSettings
from timesync.nts.master import MasterKeys
from timesync.wire.ntp5_ext import DRAFTS
from timesync.wire.ntp_over_ptp import NTP_DOMAIN

VERSIONS: Final = frozenset({1, 2, 3, 4})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to serve.

    Attributes:
        allow: Networks that may ask; nobody else may.
        deny: Exceptions; the longest matching network decides.
        rate_limit: How often one client may ask; None: as often as it likes.
        keys: Symmetric keys that requests may be authenticated with.
        nts: Master keys of the cookies that NTS clients have; None: NTS is not offered.
        versions: NTP versions that are answered, with the same version: of 1 to 5.
        drafts: For version 5, the drafts that are spoken.
        interleaved: Whether the interleaved mode is offered (RFC 9769).
        ptp_domain: ``domainNumber`` of NTP over PTP, where that is served.
        clients: Client addresses of which a record is kept; 0: none.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    rate_limit: RateLimit | None = None
    keys: tuple[SymmetricKey, ...] = ()
    nts: MasterKeys | None = None
    versions: frozenset[int] = VERSIONS
    drafts: tuple[str, ...] = DRAFTS
    interleaved: bool = True
    ptp_domain: int = NTP_DOMAIN
    clients: int = 0

    def desk(self) -> DeskSettings:
        """What of it NTPv5 goes by."""
        return DeskSettings(
            drafts=self.drafts,
            keys=self.keys,
            versions=self.versions,
            rate_limit=self.rate_limit,
            interleaved=self.interleaved,
        )
