"""The list of clients: rows of all protocols, their order, and networks in place of names."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from timesync.base.ids import ClockId, ClockIdentity, PortIdentity
from timesync.base.machine import Noted
from timesync.base.time import Instant, Mono
from timesync.ntp.client_log import INTERLEAVED, NTS, ClientList, ClientRecord
from timesync.observe import stream
from timesync.observe.clients import Clientele, anonymous, ordered
from timesync.observe.hub import Hub
from timesync.observe.snapshot import PortFacts
from timesync.ptp.context import PortCounters
from timesync.ptp.states import PortState
from timesync.ptp.unicast.server import ClientView
from timesync.ptp.view import PortView
from timesync.wire.ptp import MessageType

S = 10**9
WHO = PortIdentity(ClockIdentity(bytes(8)), 1)


def record(address: str, requests: int, last_s: int, **fields: int) -> ClientRecord:
    given = {"kind": 0x23, "interval_ns": 0, "first_ns": 10 * S, "dropped": 0, "failed": 0} | fields
    return ClientRecord(ip_address(address).packed, requests, last_s * S, **given)


def port(*clients: ClientView) -> PortFacts:
    view = PortView(
        number=1,
        name="eth0",
        identity=WHO,
        state=PortState.TIME_TRANSMITTER,
        parent=None,
        mean_delay=None,
        as_capable=None,
        reason="",
        rate_ratio=None,
        counters=PortCounters(),
        clients=clients,
    )
    return PortFacts(
        name="eth0",
        domain=0,
        transport="udp4",
        timestamping="hardware",
        clock=ClockId("eth0"),
        source=None,
        view=view,
        grandmaster=None,
        delay_mechanism="e2e",
        trouble=None,
    )


def clientele(
    ntp: ClientList | None = None,
    csptp: ClientList | None = None,
    *ports: PortFacts,
    ke: ClientList = ClientList(),  # noqa: B008 - it does not change
) -> Clientele:
    at: Instant[Mono] = Instant.from_ns(100 * S)
    return Clientele(at=at, recorded=True, ntp=ntp, ke=ke, csptp=csptp or ClientList(), ports=ports)


def test_rows_of_all_protocols() -> None:
    ntp = ClientList([record("192.0.2.7", 3, 90, kind=0x23 | NTS | INTERLEAVED, dropped=1, failed=1)], 40)
    csptp = ClientList([record("2001:db8::1", 1, 95, kind=0, first_ns=95 * S)], 1)
    granted = ClientView("198.51.100.9", WHO, {MessageType.SYNC: -3, MessageType.ANNOUNCE: 0})
    ke = ClientList([record("192.0.2.7", 5, 89, kind=0, failed=4)], 3)
    got = clientele(ntp, csptp, port(granted), ke=ke).listing()
    assert (1, True, 45) == (got["schema"], got["recorded"], got["known"])
    assert [
        {
            "address": "2001:db8::1",
            "protocol": "csptp",
            "version": 2,
            "mode": None,
            "nts": False,
            "interleaved": False,
            "requests": 1,
            "answered": 1,
            "dropped": 0,
            "interval_s": None,
            "first_s": 5.0,
            "last_s": 5.0,
        },
        {
            "address": "192.0.2.7",
            "protocol": "ntp",
            "version": 4,
            "mode": 3,
            "nts": True,
            "interleaved": True,
            "requests": 3,
            "answered": 1,
            "dropped": 1,
            "interval_s": 40.0,
            "first_s": 90.0,
            "last_s": 10.0,
        },
        {
            "address": "192.0.2.7",
            "protocol": "nts-ke",
            "version": None,
            "mode": None,
            "nts": False,
            "interleaved": False,
            "requests": 5,
            "answered": 1,
            "dropped": 0,
            "interval_s": 19.75,
            "first_s": 90.0,
            "last_s": 11.0,
        },
        {
            "address": "198.51.100.9",
            "protocol": "ptp",
            "version": 2,
            "mode": None,
            "nts": False,
            "interleaved": False,
            "requests": None,
            "answered": None,
            "dropped": None,
            "interval_s": 0.125,
            "first_s": None,
            "last_s": None,
        },
    ] == got["clients"]


def test_where_nothing_is_served_there_is_nobody() -> None:
    got = clientele().listing()
    assert (0, []) == (got["known"], got["clients"])


def row(address: str, requests: int | None, last_s: float | None) -> dict[str, Any]:
    return {"address": address, "requests": requests, "last_s": last_s}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("last", ["10.0.0.9", "fe80::1%eth0", "10.0.0.10", "01:80:c2:00:00:0e"]),
        ("requests", ["10.0.0.10", "10.0.0.9", "fe80::1%eth0", "01:80:c2:00:00:0e"]),
        ("address", ["10.0.0.9", "10.0.0.10", "fe80::1%eth0", "01:80:c2:00:00:0e"]),
    ],
)
def test_the_order_of_rows(by: str, expected: list[str]) -> None:
    rows = [
        row("01:80:c2:00:00:0e", None, None),
        row("fe80::1%eth0", 1, 2.0),
        row("10.0.0.10", 9, 3.0),
        row("10.0.0.9", 2, 0.0),
    ]
    assert expected == [one["address"] for one in ordered(rows, by)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1234:5678%eth0", "fe80::/48"),
        ("01:80:c2:00:00:0e", "01:80:c2:*"),
        ("somebody", "*"),
    ],
)
def test_networks_in_place_of_names(address: str, expected: str) -> None:
    assert expected == anonymous(address)


def test_the_hub_keeps_who_asked_last() -> None:
    hub = Hub()
    assert hub.clients is None
    heard: list[object] = []
    hub.on(stream.CLIENTS, heard.append)
    for number in (1, 2):
        ntp = ClientList([record("192.0.2.7", number, 90)], 1)
        hub.take(stream.decode(stream.encode(stream.clients(clientele(ntp), number))))
    hub.take(stream.event(Noted("info", "n", "t"), 3))
    assert hub.clients is not None
    assert (2, 2) == (hub.clients["utc_ns"], hub.clients["clients"][0]["requests"])
    assert 2 == len(heard)
