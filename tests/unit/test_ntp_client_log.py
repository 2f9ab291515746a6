"""Who has asked: what is noted of each client, who is forgotten, and what a flood of invented addresses can do."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from ntp5_support import message
from ntp_server_support import CLIENT, EVERYBODY, MONO_NS, START_NS, Desk, S, header, live_state, request

from timesync.base.time import Duration
from timesync.ntp.access import AccessList
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client_log import SHOWN, ClientList, ClientLog, ClientRecord
from timesync.ntp.limit import CLIENTS, Clients, LimitReply, RateLimit, Verdict
from timesync.ntp.server import Server, ServerSettings

LIMIT = RateLimit(interval=Duration.from_s(100), burst=2, reply=LimitReply.DROP)
KEY = SymmetricKey(7, "SHA1", b"sixteen octets!!")


def packed(address: str) -> bytes:
    return ip_address(address).packed


def record(address: str, **fields: int) -> ClientRecord:
    none = dict.fromkeys(ClientRecord._fields[1:], 0)
    return ClientRecord(packed(address), **(none | fields))


def heard(log: ClientLog, address: str, *at_s: float) -> None:
    for one in at_s:
        log.of(packed(address)).note(0x23, round(one * S))


def known(log: ClientLog) -> set[str]:
    return {str(ip_address(one.address)) for one in log.clients().records}


def only(desk: Desk | Server) -> ClientRecord:
    server = desk.server if isinstance(desk, Desk) else desk
    (found,) = server.clients.log.clients().records
    return found


class Never:
    """Nothing leaks and nothing is kissed."""

    def random(self) -> float:
        return 0.999_999


def test_requests_of_a_client_are_counted_by_what_became_of_them() -> None:
    server = Server(
        ServerSettings(allow=EVERYBODY, rate_limit=replace(LIMIT, burst=4), keys=(KEY,), clients=10), Never()
    )
    server.publish(live_state())
    wrong = request() + bytes([0, 0, 0, 7]) + bytes(20)
    late = START_NS + 60 * S
    for number, (data, at_ns, left_ns) in enumerate(
        (
            (request(), START_NS, START_NS),
            (KEY.sign(request()), START_NS, START_NS),
            (wrong, START_NS, START_NS),
            (request(first=0x1B), START_NS, late),
            (request(), START_NS, START_NS),
            (request(first=0x24), START_NS, START_NS),  # a server's packet: no request
        )
    ):
        server.respond(data, CLIENT, 40_000, at_ns, left_ns, MONO_NS + number * S)
    got = only(server)
    assert (5, 2, 1, 2) == (got.requests, got.answered, got.dropped, got.failed)
    assert (CLIENT, 4, 3, False, False) == (got.address, got.version, got.mode, got.nts, got.interleaved)
    assert (MONO_NS, MONO_NS + 4 * S) == (got.first_ns, got.last_ns)
    assert S == got.mean_interval_ns()


def test_a_kiss_is_no_answer() -> None:
    class Kissing:
        """Nothing leaks and everything is kissed, by turns as it is asked."""

        def __init__(self) -> None:
            self.said = 0

        def random(self) -> float:
            self.said += 1
            return 0.999 if self.said % 2 else 0.0

    settings = ServerSettings(allow=EVERYBODY, rate_limit=replace(LIMIT, burst=1, reply=LimitReply.KOD), clients=10)
    server = Server(settings, Kissing())
    server.publish(live_state())
    replies = [server.respond(request(), CLIENT, 1, START_NS, START_NS, MONO_NS) for _ in range(2)]
    assert all(replies)
    assert 1 == server.counters().kod
    assert (2, 1, 1, 0) == (only(server).requests, only(server).answered, only(server).dropped, only(server).failed)


def test_who_may_not_ask_is_noted_too() -> None:
    server = Server(ServerSettings(allow=(ip_network("10.0.0.0/8"),), clients=10), Never())
    assert server.respond(request(), "192.0.2.1", 1, START_NS, START_NS, MONO_NS) is None
    assert (1, 1, 0) == (only(server).requests, only(server).dropped, only(server).answered)


def test_the_kind_is_that_of_the_last_request() -> None:
    desk = Desk(versions=frozenset({3, 4, 5}), clients=10)
    first = desk.ask(request(origin=1, receive=0xAAAA, transmit=0x2222))
    assert first is not None
    assert first.stamp_as is not None
    assert not only(desk).interleaved, "it was answered in the basic mode"
    desk.server.sent(first.stamp_as, START_NS + 30_000)
    desk.ask(request(origin=header(first.data).receive, receive=0xBBBB, transmit=0x3333), START_NS + S)
    assert (4, True) == (only(desk).version, only(desk).interleaved)
    desk.ask(request(first=0x1B), START_NS + 2 * S)
    assert (3, False) == (only(desk).version, only(desk).interleaved)
    desk.ask(message(), START_NS + 3 * S)
    assert (5, 4, 4) == (only(desk).version, only(desk).requests, only(desk).answered)


def test_no_record_is_kept_where_none_is_wanted() -> None:
    desk = Desk()
    desk.ask(request())
    desk.ask(request(), source="2001:db8::1")
    assert ClientList([], 0) == desk.server.clients.log.clients()
    assert 0 == len(desk.server.clients.log)


@pytest.mark.parametrize(
    ("times_s", "expected_s"),
    [
        ([100.0], None),
        ([100.0, 164.0], 64.0),
        ([0.0, 1.0, 2.0, 3.0, 67.0], 16.75),
        ([number * 64.0 for number in range(1000)], 64.0),
        # What it does lately counts, not what it did a day ago.
        ([number * 1.0 for number in range(1000)] + [1000 + number * 64.0 for number in range(80)], 64.0),
    ],
)
def test_the_mean_interval(times_s: list[float], expected_s: float | None) -> None:
    log = ClientLog(10)
    heard(log, "192.0.2.1", *times_s)
    (found,) = log.clients().records
    interval_ns = found.mean_interval_ns()
    if expected_s is None:
        assert interval_ns is None
    else:
        assert interval_ns is not None
        assert expected_s == pytest.approx(interval_ns / S, rel=0.001)


def test_times_in_the_wrong_order_give_no_negative_interval() -> None:
    log = ClientLog(10)
    heard(log, "192.0.2.1", 100.0, 99.9)
    (found,) = log.clients().records
    assert 0 == found.mean_interval_ns()
    heard(log, "192.0.2.1", *[99.8] * 60)
    (found,) = log.clients().records
    assert 0 == found.mean_interval_ns()


def test_a_full_log_forgets_who_was_heard_longest_ago() -> None:
    forgotten: list[bytes] = []
    log = ClientLog(8, forgotten.append)
    for number in range(8):
        heard(log, f"192.0.2.{number}", number)
    heard(log, "192.0.2.0", 8)
    heard(log, "192.0.2.99", 9)
    assert {f"192.0.2.{number}" for number in (0, 3, 4, 5, 6, 7, 99)} == known(log)
    assert {packed("192.0.2.1"), packed("192.0.2.2")} == set(forgotten)


def test_regular_clients_give_way_only_to_regular_clients() -> None:
    log = ClientLog(100)
    for number in range(90):
        heard(log, f"198.51.100.{number}", *(number + 64.0 * turn for turn in range(4)))
    for number in range(200):
        heard(log, f"203.0.113.{number}", *(1000.0 + number + 64.0 * turn for turn in range(4)))
        assert len(log) <= 100
    names = known(log)
    assert {f"203.0.113.{number}" for number in range(150, 200)} <= names


def test_a_flood_of_invented_addresses_leaves_regular_clients_and_memory_alone() -> None:
    capacity = 4096
    table = Clients(AccessList(EVERYBODY, ()), LIMIT, Never(), records=capacity)
    regular = [f"192.0.{number >> 8}.{number & 255}" for number in range(1500)]
    for turn in range(4):
        for address in regular:
            table.find(packed(address))
            heard(table.log, address, 30.0 * turn)
    # Newcomers of this minute have no merit yet.
    rng = random.Random(6)
    tracemalloc.start()
    try:
        most = 0
        for number in range(100_000):
            host = rng.getrandbits(32).to_bytes(4, "big")
            buckets = table.find(host)
            assert buckets is not None
            for _ in range(3):
                buckets[2].note(0x23, round((100 + number / 50_000) * S))
            assert len(table.log) <= capacity
            most = max(most, len(table.hosts))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(regular) <= known(table.log)
    assert most <= capacity, "the hot table knows nobody whose record is gone"
    assert len(table._buckets) + len(table._old_buckets) <= 4 * CLIENTS + 4
    # Those of the log, and the buckets of the rate limit: two generations of 2 * CLIENTS at some 190 octets.
    assert taken < capacity * 700 + 4 * CLIENTS * 250


def test_a_record_takes_about_as_much_memory_as_is_said() -> None:
    tracemalloc.start()
    try:
        log = ClientLog(4096)
        for number in range(4096):
            tally = log.of((number + 2**31).to_bytes(4, "big"))
            for turn in range(3):
                tally.note(0x23, 10**15 + number * 10**6 + turn * 10**9)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.2 * 1024 < taken / 4096 < 0.45 * 1024


def test_who_is_forgotten_keeps_its_bucket_and_is_noted_again() -> None:
    table = Clients(AccessList(EVERYBODY, ()), LIMIT, Never(), 1000, records=8)

    def ask(address: str, at_s: float) -> Verdict:
        buckets = table.find(packed(address))
        assert buckets is not None
        buckets[2].note(0x23, round(at_s * S))
        return table.judge(buckets, START_NS)

    assert [Verdict.ANSWER, Verdict.ANSWER, Verdict.DROP] == [ask("192.0.2.1", 0) for _ in range(3)]
    for number in range(20):
        ask(f"198.51.100.{number}", 1 + number)
    assert "192.0.2.1" not in known(table.log)
    assert Verdict.DROP is ask("192.0.2.1", 30)
    (found,) = (one for one in table.log.clients().records if one.address == packed("192.0.2.1"))
    assert (1, 30 * S) == (found.requests, found.first_ns)


def test_what_was_known_before_is_gone_on_with() -> None:
    log = ClientLog(3)
    log.restore([record(f"192.0.2.{number}", requests=number, last_ns=number) for number in range(1, 6)])
    assert {"192.0.2.3", "192.0.2.4", "192.0.2.5"} == known(log)
    heard(log, "192.0.2.5", 1)
    (found,) = (one for one in log.clients().records if one.address == packed("192.0.2.5"))
    assert 6 == found.requests
    nothing = ClientLog(0)
    nothing.restore([record("192.0.2.1", requests=1)])
    assert not nothing.clients().records


def _by_address(records: Iterable[ClientRecord]) -> dict[str, ClientRecord]:
    return {str(ip_address(one.address)): one for one in records}


def test_a_client_of_two_servers_is_one_client() -> None:
    both = ClientList.merged(
        [
            ClientList([record("192.0.2.1", requests=5, dropped=1, failed=1, first_ns=10, last_ns=50, kind=0x1B)], 3),
            ClientList(
                [
                    record("192.0.2.1", requests=7, dropped=2, first_ns=20, last_ns=90, kind=0x23, interval_ns=4),
                    record("2001:db8::1", requests=1, first_ns=5, last_ns=5),
                ],
                2,
            ),
        ]
    )
    found = _by_address(both.records)
    expected = record("192.0.2.1", requests=12, dropped=3, failed=1, first_ns=10, last_ns=90, kind=0x23, interval_ns=5)
    assert expected == found["192.0.2.1"]
    assert {"192.0.2.1", "2001:db8::1"} == set(found)
    assert 4 == both.known


@pytest.mark.parametrize(
    ("last_s", "expected_s"),
    [(630.0, 5.0), (500.0, 10.0)],
    ids=["both are asked", "the other one was left long ago"],
)
def test_what_two_servers_see_of_a_client_are_parts_of_its_requests(last_s: float, expected_s: float) -> None:
    """A client that takes a new port for each request falls on either worker: each sees half of what it sends."""
    one, other = (
        record("192.0.2.1", requests=64, first_ns=0, last_ns=round(at_s * S), interval_ns=10 * S)
        for at_s in (last_s, 635.0)
    )
    for lists in ([one], [other]), ([other], [one]):
        (both,) = ClientList.merged([ClientList(records, 1) for records in lists]).records
        assert round(expected_s * S) == both.mean_interval_ns()


def test_those_heard_last_and_those_that_asked_most_lead() -> None:
    records = [record(str(ip_address(number)), requests=number, last_ns=10_000 - number) for number in range(1, 2001)]
    led = ClientList(records, 2000).leading()
    assert (2 * SHOWN, 2000) == (len(led.records), led.known)
    assert set(records[:SHOWN]) | set(records[-SHOWN:]) == set(led.records)
    few = ClientList(records[:SHOWN], 2000)
    assert few is few.leading()
