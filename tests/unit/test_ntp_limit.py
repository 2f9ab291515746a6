from __future__ import annotations

import random
from collections import Counter
from ipaddress import ip_address

import pytest
from ntp_server_support import EVERYBODY, START_NS, S

from timesync.base.time import Duration
from timesync.ntp.access import AccessList
from timesync.ntp.limit import Clients, LimitReply, RateLimit, Verdict


class Never:
    """Nothing leaks and nothing is kissed."""

    def random(self) -> float:
        return 0.999_999


def clients(limit: RateLimit | None, *, rng: random.Random | Never | None = None, capacity: int = 100) -> Clients:
    return Clients(AccessList(EVERYBODY, ()), limit, rng or Never(), capacity)


def verdicts(table: Clients, address: str, *times_s: float) -> str:
    """A letter each: A(nswer), K(iss), D(rop)."""
    letters = ""
    for at_s in times_s:
        buckets = table.find(ip_address(address).packed)
        assert buckets is not None
        letters += table.judge(buckets, START_NS + round(at_s * S)).name[0]
    return letters


LIMIT = RateLimit(interval=Duration.from_s(1), burst=3, reply=LimitReply.DROP)


@pytest.mark.parametrize(
    ("times_s", "expected", "why"),
    [
        ((0, 0, 0, 0, 0), "AAADD", "a burst of three, then no more"),
        ((0, 0, 0, 0.9, 1.0, 1.1), "AAADAD", "one more for each interval"),
        ((0, 1, 2, 3, 4, 5, 6, 7), "AAAAAAAA", "the mean rate can be kept up for ever"),
        ((0, 0, 0, 10, 10, 10, 10), "AAAAAAD", "a pause gives the burst back, and no more than that"),
        ((0, 0, 0, 0.5, 0.5, 0.5, 1.0), "AAADDDA", "refused requests take nothing out"),
        ((100, 100, 100, 0, 0, 0, 0), "AAAAAAD", "a clock set back does not silence a client"),
    ],
)
def test_the_bucket(times_s: tuple[float, ...], expected: str, why: str) -> None:
    assert expected == verdicts(clients(LIMIT), "192.0.2.1", *times_s), why


def test_clients_do_not_share_a_bucket() -> None:
    table = clients(LIMIT)

    assert verdicts(table, "192.0.2.1", 0, 0, 0, 0) == "AAAD"
    assert verdicts(table, "192.0.2.2", 0, 0, 0, 0) == "AAAD"
    assert verdicts(table, "2001:db8::1", 0, 0, 0, 0) == "AAAD"


def test_an_ipv6_network_of_64_bits_is_one_client() -> None:
    table = clients(LIMIT)

    assert verdicts(table, "2001:db8::1", 0, 0, 0) == "AAA"
    assert verdicts(table, "2001:db8::ffff:2", 0) == "D"
    assert verdicts(table, "2001:db8:0:1::1", 0) == "A"


def test_an_ipv4_mapped_address_is_the_ipv4_client() -> None:
    table = clients(LIMIT)

    assert verdicts(table, "192.0.2.1", 0, 0, 0) == "AAA"
    assert verdicts(table, "::ffff:192.0.2.1", 0) == "D"


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("192.0.2.{}", "192.0.3.1"),  # a /24 has 256 clients
        ("2001:db8:1:{:x}01::1", "2001:db8:2::1"),  # a /48 has 65536
        ("::ffff:192.0.2.{}", "192.0.3.1"),
    ],
)
def test_a_network_may_ask_as_much_as_64_clients(inside: str, outside: str) -> None:
    table = clients(LIMIT, capacity=1000)
    everybody = [inside.format(number) for number in range(256)]
    answered = "".join(verdicts(table, address, 0) for address in everybody)

    assert "A" * 64 * 3 + "D" * (256 - 64 * 3) == answered, "a burst of three for each of 64"
    assert "A" == verdicts(table, outside, 0), "others are not concerned"
    later = "".join(verdicts(table, address, 1) for address in everybody)
    assert 64 == later.count("A"), "one for each of 64 in the interval"


def test_what_its_network_is_refused_takes_nothing_out_of_a_client() -> None:
    table = clients(LIMIT, capacity=1000)
    for number in range(64):
        verdicts(table, f"192.0.2.{number}", 0, 0, 0)

    assert "DDD" == verdicts(table, "192.0.2.200", 0, 0, 0)
    assert "AAAD" == verdicts(table, "192.0.2.200", 1, 1, 1, 1)


def test_a_client_that_is_refused_takes_nothing_out_of_its_network() -> None:
    table = clients(LIMIT, capacity=1000)

    assert "AAA" + "D" * 300 == verdicts(table, "192.0.2.1", *[0.0] * 303)
    assert "AAA" == verdicts(table, "192.0.2.2", 0, 0, 0)


def test_a_clock_set_back_does_not_silence_a_network() -> None:
    table = clients(LIMIT, capacity=1000)
    for number in range(64):
        verdicts(table, f"192.0.2.{number}", 100, 100, 100)

    assert "A" == verdicts(table, "192.0.2.200", 0)


def test_without_a_limit_nobody_is_refused() -> None:
    assert verdicts(clients(None), "192.0.2.1", *[0.0] * 50, -1000.0, 5.0) == "A" * 52


def test_a_part_of_what_is_refused_leaks_and_a_part_of_the_rest_is_kissed() -> None:
    limit = RateLimit(interval=Duration.from_s(1000), burst=1, leak=4, kiss=4)
    counts = Counter(verdicts(clients(limit, rng=random.Random(3)), "192.0.2.1", *[0.0] * 8001)[1:])

    assert 1850 <= counts["A"] <= 2150  # one in 4 of 8000
    assert 1350 <= counts["K"] <= 1650  # one in 4 of the 6000 others


def test_no_kiss_when_the_reply_is_to_drop() -> None:
    limit = RateLimit(interval=Duration.from_s(1000), burst=1, reply=LimitReply.DROP)
    letters = verdicts(clients(limit, rng=random.Random(3)), "192.0.2.1", *[0.0] * 1000)

    assert "K" not in letters


def test_memory_is_bounded_and_a_flood_of_addresses_silences_nobody() -> None:
    table = clients(LIMIT, capacity=50)
    rng = random.Random(4)
    for _ in range(2000):
        assert verdicts(table, str(ip_address(rng.getrandbits(32))), 0) == "A"
        assert verdicts(table, str(ip_address(rng.getrandbits(128))), 0) == "A"
        assert len(table.hosts) <= 50
        assert len(table._buckets) + len(table._old_buckets) <= 2 * (50 + 50), "of clients and of networks"


def test_a_client_is_remembered_through_one_change_of_generation() -> None:
    table = clients(LIMIT, capacity=10)
    assert verdicts(table, "192.0.2.1", 0, 0, 0, 0) == "AAAD"
    for number in range(12):
        verdicts(table, f"198.51.100.{number}", 0)

    assert verdicts(table, "192.0.2.1", 0) == "D"


def test_a_denied_address_is_not_remembered() -> None:
    table = Clients(AccessList((), ()), LIMIT, Never(), 10)

    assert table.find(bytes(4)) is None
    assert table.hosts == {}


@pytest.mark.parametrize(
    "wrong",
    [{"interval": Duration(0)}, {"burst": 0}, {"leak": 3}, {"leak": 17}, {"kiss": 0}],
)
def test_a_limit_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"interval": Duration.from_s(1), "burst": 1}
    with pytest.raises(ValueError, match="out of range"):
        RateLimit(**(values | wrong))  # type: ignore[arg-type]  # wrong values are the point


def test_verdicts_have_different_letters() -> None:
    assert len({verdict.name[0] for verdict in Verdict}) == len(Verdict)
