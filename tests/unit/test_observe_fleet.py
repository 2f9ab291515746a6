"""All appliances of a broker: who is right, who agrees with whom, who is silent; and what of it can be trusted."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Container, Sequence
from typing import Any

import pytest
from mqtt_support import HELLO, clock, port, source, state

from timesync.observe.mqtt.fleet import KINDS, MOST, MOST_OCTETS, Agreement, Fleet, Overview
from timesync.observe.mqtt.report import MAX_PAYLOAD
from timesync.observe.mqtt.topics import Summarizer, Topics

NOW_NS = 10**18


class Gathering:
    """A fleet that appliances tell of themselves, and a clock in the test's hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.utc_ns = NOW_NS
        self.fleet = Fleet(lambda: self.now, lambda: self.utc_ns)

    def tell(
        self,
        name: str,
        said: dict[str, Any],
        *,
        retained: bool = True,
        availability: str = "online",
        kinds: Container[str] = KINDS,
    ) -> None:
        topics = Topics("timesync", name, 10.0)
        published = [topics.availability(availability), *topics.picture(HELLO, said, Summarizer().summary(said))]
        for one in published:
            kind = one.topic.rpartition("/")[2]
            if kind in kinds:
                self.fleet.take(name, kind, one.payload, retained=retained)

    def overview(self) -> Overview:
        return self.fleet.overview()

    def pair(self) -> Agreement:
        (found,) = self.overview().agreements
        return found


def serving(*addresses: str) -> dict[str, Any]:
    return {"ntp": [], "addresses": list(addresses), "counters": None}


def test_one_that_measures_another_is_joined_to_it() -> None:
    there = Gathering()
    there.tell("a", state(serving=serving("192.0.2.1", "fe80::1"), error_bound_s=1e-3))
    measured = source("a", "192.0.2.1:123", offset_s=-5e-4, delay_s=2e-4, uncertainty_s=1e-6)
    there.tell("b", state(measured, error_bound_s=2e-3))
    pair = there.pair()
    # B minus A is -0.5 ms, so A minus B is 0.5 ms; half the round trip and three deviations may be wrong.
    assert ("a", "b", "b measures a") == (pair.first, pair.second, pair.by)
    assert (5e-4, 1.03e-4, 3.103e-3) == pytest.approx((pair.difference_s, pair.margin_s, pair.allowed_s))
    assert pair.agree is True
    assert there.overview().well
    assert (1, 1) == there.overview().agreeing()["a"]


def test_two_that_measure_the_same_clock_are_joined_by_it() -> None:
    there = Gathering()
    there.tell("a", state(source("x", "192.0.2.9:123", offset_s=3e-4), error_bound_s=1e-4))
    there.tell("b", state(source("y", "192.0.2.9:4460", offset_s=1e-4), error_bound_s=1e-4))
    pair = there.pair()
    assert ("both measure 192.0.2.9", pytest.approx(2e-4)) == (pair.by, pair.difference_s)
    assert pair.margin_s == pytest.approx(2 * (1e-4 + 3e-6))


def test_a_contradiction_shows_that_one_is_wrong() -> None:
    there = Gathering()
    there.tell("a", state(source("x", "192.0.2.9:123", offset_s=0.5), error_bound_s=1e-3))
    there.tell("b", state(source("x", "192.0.2.9:123"), error_bound_s=1e-3))
    assert there.pair().agree is False
    overview = there.overview()
    assert not overview.well
    assert all(one.synchronised for one in overview.standings)
    assert [["a", "b"]] == overview.as_object()["contradictions"]


@pytest.mark.parametrize(
    "other",
    [
        source("x", "192.0.2.8:123"),
        source("x", "192.0.2.9:123", reference_id="PPS"),
        source("x", "192.0.2.9:123", stratum=3),
        source("x", "192.0.2.9:123", kind="gpsd"),
        source("x", "192.0.2.9:123", offset_s=None),
        source("x", "192.0.2.9:123", delay_s=None),
    ],
)
def test_what_may_not_be_the_same_clock_joins_nobody(other: dict[str, Any]) -> None:
    there = Gathering()
    there.tell("a", state(source("x", "192.0.2.9:123")))
    there.tell("b", state(other))
    assert () == there.overview().agreements


@pytest.mark.parametrize("address", ["127.0.0.1:123", "[::1]:123", "[fe80::1%eth0]:123"])
def test_an_address_that_means_another_machine_to_each_joins_nobody(address: str) -> None:
    there = Gathering()
    for name in ("a", "b"):
        there.tell(name, state(source("x", address)))
    assert () == there.overview().agreements


def test_an_address_that_two_of_them_have_is_that_of_neither() -> None:
    there = Gathering()
    for name in ("a", "b"):
        there.tell(name, state(serving=serving("172.17.0.1")))
    there.tell("c", state(source("x", "172.17.0.1:123")))
    assert () == there.overview().agreements


def test_a_source_of_another_clock_is_carried_over_to_the_served_one() -> None:
    there = Gathering()
    there.tell("a", state(serving=serving("192.0.2.1")))
    clocks = [clock("system", offset_s=4e-6, offset_uncertainty_s=1e-6), clock("card", offset_s=1e-6)]
    # The card is 10 us ahead of A; the system clock is 3 us ahead of the card.
    there.tell("b", state(source("x", "192.0.2.1:123", clock="card", offset_s=1e-5), clocks=clocks))
    pair = there.pair()
    assert pair.difference_s == pytest.approx(-1.3e-5)
    assert pair.margin_s == pytest.approx(1e-4 + 3 * (1e-6 + 1e-6 + 1e-7))


def ptp_source(offset_s: float) -> dict[str, Any]:
    return source("ptp", "eth0", kind="ptp", offset_s=offset_s, uncertainty_s=1e-9, stratum=None, reference_id=None)


def test_ports_of_ptp_join_by_their_parent() -> None:
    there = Gathering()
    followed = {"parent": "aabbcc.fffe.000001-2", "mean_delay_s": 5e-7}
    there.tell("a", state(ptp_source(1e-7), ports=[port("eth0", offset_s=1e-7, **followed)]))
    there.tell("b", state(ptp_source(-1e-7), ports=[port("eth0", offset_s=-1e-7, **followed)]))
    leader = port("eth0", identity="aabbcc.fffe.000001-1", state="TIME_TRANSMITTER", offset_s=None, mean_delay_s=None)
    there.tell("c", state(ports=[leader]))
    found = {(one.first, one.second): one for one in there.overview().agreements}
    assert {("a", "b"), ("a", "c"), ("b", "c")} == found.keys()
    assert "both measure aabbcc.fffe.000001 domain 0" == found["a", "b"].by
    assert found["a", "b"].difference_s == pytest.approx(2e-7)
    assert ("a measures c", pytest.approx(1e-7)) == (found["a", "c"].by, found["a", "c"].difference_s)
    assert found["a", "c"].margin_s == pytest.approx(5e-7 + 3e-9)


def test_whoever_claims_nothing_neither_agrees_nor_contradicts() -> None:
    there = Gathering()
    there.tell("a", state(source("x", "192.0.2.9:123", offset_s=5.0), error_bound_s=None))
    there.tell("b", state(source("x", "192.0.2.9:123")))
    assert there.pair().agree is None
    assert (0, 0) == there.overview().agreeing()["a"]


def names(found: Sequence[str]) -> str:
    return " ".join(found)


def test_who_is_well_who_is_on_its_own_and_who_is_silent() -> None:
    there = Gathering()
    there.tell("good", state(error_bound_s=1e-6))
    there.tell("alone", state(state="holdover", holdover_s=600.0, error_bound_s=5e-3))
    there.tell("new", state(state="acquiring", stratum=16, error_bound_s=None))
    there.tell("off", state(error_bound_s=9.0), availability="offline")
    old = state()
    old["utc_ns"] = NOW_NS - 31 * 10**9
    there.tell("old", old)
    seen = there.overview().as_object()
    assert ("alone", "off old", "new off old") == tuple(
        names(seen[key]) for key in ("holdover", "silent", "not_synchronised")
    )
    assert ("alone", False) == (seen["worst_error_bound"], seen["well"])
    assert 31.0 == next(one["age_s"] for one in seen["appliances"] if one["name"] == "old")

    there.now += 31
    assert 5 == len(there.overview().as_object()["silent"]), "three intervals, and thirty seconds, without a word"
    there.tell("good", state(), retained=False)
    assert "good" not in there.overview().as_object()["silent"]


def test_a_stamp_from_the_future_shows_which_clock_is_ahead() -> None:
    there = Gathering()
    ahead = state()
    ahead["utc_ns"] = NOW_NS + 2 * 10**9
    there.tell("a", ahead, retained=False)
    late = state()
    late["utc_ns"] = NOW_NS - 10**9
    there.tell("b", late, retained=False)
    # A message on its way takes time, nobody knows how much: that it comes late shows nothing.
    assert [2.0, None] == [one.ahead_s for one in there.overview().standings]
    assert [0.0, 0.0] == [one.age_s for one in there.overview().standings]


def test_nobody_is_not_well() -> None:
    assert not Gathering().overview().well


def test_an_empty_message_takes_an_appliance_back() -> None:
    there = Gathering()
    there.tell("a", state())
    for kind in ("availability", "state", "sources", "ports"):
        there.fleet.take("a", kind, b"", retained=True)
    assert () == there.overview().standings


def test_what_anybody_may_have_published_breaks_nothing() -> None:
    rng = random.Random(11)
    there = Gathering()
    whole = state(source("x", "192.0.2.9:123"), ports=[port("eth0")], serving=serving("192.0.2.1"))
    there.tell("good", whole)
    topics = Topics("timesync", "bad", 10.0)
    published = list(topics.picture(HELLO, whole, Summarizer().summary(whole)))
    junk: list[Any] = [None, True, -1, 1e400, "", "\x1b[2J", [], {}, [[]], [None], {"a": 1}, 10**400]

    def spoilt(value: Any) -> Any:
        if rng.random() < 0.08:
            return rng.choice(junk)
        if isinstance(value, dict):
            return {key: spoilt(inner) for key, inner in value.items()}
        return [spoilt(inner) for inner in value] if isinstance(value, list) else value

    for _ in range(1500):
        for one in published:
            payload = json.dumps(spoilt(json.loads(one.payload))).encode()
            if rng.random() < 0.1:
                payload = payload[: rng.randrange(len(payload))]
            there.fleet.take("bad", one.topic.rpartition("/")[2], payload, retained=True)
        text = json.dumps(there.overview().as_object(), allow_nan=False)
        assert "\\u001b" not in text
    for payload in (b"[" * 100_000, b"\xff", b"x" * (2 << 20)):
        there.fleet.take("bad", "state", payload, retained=True)
    assert there.overview().standings[-1].name == "good"


def test_there_is_a_bound_on_appliances() -> None:
    there = Gathering()
    for number in range(MOST + 10):
        there.fleet.take(f"a{number}", "availability", b"online", retained=True)
    assert MOST == len(there.overview().standings)
    assert not there.overview().whole
    there.tell("a1", state())
    assert there.overview().standings[1].report is not None
    there.fleet.take("x" * 101, "availability", b"online", retained=True)


def test_there_is_a_bound_on_what_is_kept() -> None:
    """Of one message, and of all together; what was there before stays, and so does what is said of it."""
    there = Gathering()
    there.tell("good", state(source("x", "192.0.2.9:123")))
    assert there.overview().whole
    assert there.overview().well
    full = json.dumps({"sources": [], "x": "x" * (MAX_PAYLOAD - 100)}).encode()
    there.fleet.take("long", "sources", full + b" " * MAX_PAYLOAD, retained=True)
    there.fleet.take("long", "availability", b"online", retained=True)
    assert (
        there.overview().standings[1].trouble
        == f"a message of {len(full) + MAX_PAYLOAD} octets; it may have {MAX_PAYLOAD}"
    )
    for number in range(100):
        there.fleet.take(f"f{number:02}", "availability", b"online", retained=True)
        there.fleet.take(f"f{number:02}", "sources", full, retained=True)
    found = there.overview()
    assert not found.whole
    assert not found.well
    assert not found.as_object()["whole"]
    kept = sum("sources" in one.lists for one in there.fleet._appliances.values())
    assert MOST_OCTETS // len(full) - 1 <= kept - 1 <= MOST_OCTETS // len(full)
    assert any("16 MiB, and no room for its sources" in (one.trouble or "") for one in found.standings)
    # One in place of another of the same length has room, and where one went there is room again.
    there.fleet.take("f00", "sources", full, retained=True)
    assert there.overview().standings[0].trouble is None
    there.fleet.take("f00", "sources", b"", retained=True)
    there.fleet.take("f99", "sources", full, retained=True)
    assert "sources" in there.fleet._appliances["f99"].lists


@pytest.mark.parametrize("payload", [b"no JSON", b" " * (MAX_PAYLOAD + 1), b'{"sources": 1}'])
def test_what_cannot_be_read_is_said_until_it_can_be(payload: bytes) -> None:
    """Also when the next state, which comes every few seconds, can be read."""
    there = Gathering()
    there.tell("a", state(source("x", "192.0.2.9:123")))
    there.fleet.take("a", "sources", payload, retained=False)
    there.tell("a", state(), kinds=("state",))
    (found,) = there.overview().standings
    assert found.trouble is not None
    assert (len(payload) <= MAX_PAYLOAD) == there.overview().whole

    there.tell("a", state(source("x", "192.0.2.9:123")))
    (found,) = there.overview().standings
    assert found.trouble is None


def test_what_is_kept_takes_no_more_memory_than_it_has_octets() -> None:
    """Three octets can be an object of sixty-four."""
    there = Gathering()
    worst = b'{"sources":[' + b"{}," * (MAX_PAYLOAD // 3 - 10) + b"{}]}"
    tracemalloc.start()
    try:
        for number in range(MOST_OCTETS // MAX_PAYLOAD + 2):
            there.tell(f"f{number:02}", state())
            there.fleet.take(f"f{number:02}", "sources", worst + b" " * (number % 2), retained=True)
        assert not there.overview().whole
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * MOST_OCTETS
