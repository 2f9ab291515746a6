"""Who has asked us for the time: the object of ``timesync clients``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

from timesync.base.time import NS_PER_S, Instant, Mono
from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.observe.snapshot import SCHEMA, PortFacts
from timesync.ptp.unicast.server import ClientView

MOST: Final = 512
"""Rows of each protocol."""

_PTP_VERSION: Final = 2
_SHOWN_BITS: Final = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clientele:
    """Our clients at one moment.

    Attributes:
        at: When.
        recorded: Whether those of NTP are recorded.
        ntp: Of NTP; None where it is not served.
        ke: Of NTS key establishment: a request is a connection, its answer a key.
        csptp: Of CSPTP.
        ports: PTP ports, with those whom they grant unicast messages.
    """

    at: Instant[Mono]
    recorded: bool
    ntp: ClientList | None
    ke: ClientList
    csptp: ClientList
    ports: Sequence[PortFacts]

    def listing(self) -> dict[str, Any]:
        """The object of ``timesync clients --json``: rows, those heard last first.

        ``first_s`` and ``last_s`` are ages of the first and the last request, null where they are not known.
        """
        ntp = self.ntp or ClientList()
        granted = [(port, client) for port in self.ports if port.view is not None for client in port.view.clients]
        rows = [
            *(self._asked("ntp", record, record.version) for record in ntp.records),
            *(self._asked("nts-ke", record, None) for record in self.ke.records),
            *(self._asked("csptp", record, _PTP_VERSION) for record in self.csptp.leading().records),
            *(_granted(client) for _, client in granted[:MOST]),
        ]
        return {
            "schema": SCHEMA,
            "recorded": self.recorded,
            "known": ntp.known + self.ke.known + self.csptp.known + len(granted),
            "clients": list(ordered(rows, "last")),
        }

    def _asked(self, protocol: str, record: ClientRecord, version: int | None) -> dict[str, Any]:
        interval_ns, now_ns = record.mean_interval_ns(), self.at.ns()
        return {
            "address": str(ip_address(record.address)),
            "protocol": protocol,
            "version": version,
            "mode": record.mode if protocol == "ntp" else None,
            "nts": record.nts,
            "interleaved": record.interleaved,
            "requests": record.requests,
            "answered": record.answered,
            "dropped": record.dropped,
            "interval_s": None if interval_ns is None else interval_ns / NS_PER_S,
            "first_s": max(now_ns - record.first_ns, 0) / NS_PER_S,
            "last_s": max(now_ns - record.last_ns, 0) / NS_PER_S,
        }


def _granted(client: ClientView) -> dict[str, Any]:
    """A client of PTP, which asks seldom and is told often: its interval is the shortest that it was granted."""
    return {
        "address": client.address,
        "protocol": "ptp",
        "version": _PTP_VERSION,
        "mode": None,
        "nts": False,
        "interleaved": False,
        "requests": None,
        "answered": None,
        "dropped": None,
        "interval_s": 2.0 ** min(client.granted.values()) if client.granted else None,
        "first_s": None,
        "last_s": None,
    }


def ordered(rows: Iterable[dict[str, Any]], by: str) -> Iterator[dict[str, Any]]:
    """Rows by ``requests``, the most first; by ``last``, the one heard last first; or by ``address``."""
    match by:
        case "requests":
            yield from sorted(rows, key=lambda row: row["requests"] or 0, reverse=True)
        case "last":
            yield from sorted(rows, key=lambda row: (row["last_s"] is None, row["last_s"] or 0.0))
        case _:
            yield from sorted(rows, key=_address)


def _address(row: dict[str, Any]) -> tuple[int, int, str]:
    """By number, IPv4 first; whatever is no address is last, such as a MAC address."""
    try:
        address = ip_address(row["address"].partition("%")[0])
    except ValueError:
        return 8, 0, row["address"]
    return address.version, int(address), row["address"]


def anonymous(address: str) -> str:
    """The network of an address, which does not say who it is: its /24 or /48; of a MAC address its maker."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:8] + ":*" if address.count(":") == 5 else "*"
    return str(ip_network((found, _SHOWN_BITS[found.version]), strict=False))
