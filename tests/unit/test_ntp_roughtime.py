"""A Roughtime measurement: the chain, its proof, and what a majority says."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from roughtime_support import TestAuthority, nonce

from timesync.base.machine import Done
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.ntp.roughtime import (
    Agreement,
    Ask,
    Bound,
    RoughtimeChain,
    RoughtimeServer,
    agree,
    proves_malfeasance,
    report,
)

T0 = 1_750_000_000
START: Instant[Mono] = Instant.from_ns(77 * 10**9)
TOOK = Duration.from_s(0.25)


def seconds(count: float) -> Duration:
    return Duration.from_s(count)


def utc(at_s: int) -> Instant[Utc]:
    return Instant.from_ns(at_s * 10**9)


class Street:
    """Servers, the way to them, and a clock that ticks with each response."""

    def __init__(self, *authorities: TestAuthority, silent: tuple[int, ...] = ()) -> None:
        self.authorities = authorities
        self.silent = silent
        self.now = START
        self.asked: list[tuple[int, bytes]] = []
        servers = [RoughtimeServer(f"s{place}", one.public_key) for place, one in enumerate(authorities)]
        self.chain = RoughtimeChain(servers, random.Random(7).randbytes)

    def run(self) -> RoughtimeChain:
        while not self.chain.finished:
            effects = self.chain.on_deadline(self.now)
            while effects:
                (ask,) = (one for one in effects if isinstance(one, Ask)) if self._asks(effects) else (None,)
                effects = [] if ask is None else self._meet(ask)
            deadline = self.chain.deadline()
            if deadline is not None:
                self.now = max(self.now, deadline)
        return self.chain

    @staticmethod
    def _asks(effects: list[Ask | Done]) -> bool:
        return any(isinstance(one, Ask) for one in effects)

    def _meet(self, ask: Ask) -> list[Ask | Done]:
        self.asked.append((ask.server, ask.data))
        if ask.server in self.silent:
            return []
        self.now += TOOK
        return self.chain.on_packet(ask.token, self.authorities[ask.server].answer(ask.data), self.now)


def three(*midpoints: int) -> list[TestAuthority]:
    return [TestAuthority(seed=place + 1, midpoint_s=at) for place, at in enumerate(midpoints)]


def test_every_server_is_asked_twice_in_the_same_order_each_request_holding_the_response_before() -> None:
    street = Street(*three(T0, T0 + 1, T0))
    chain = street.run()
    assert [0, 1, 2, 0, 1, 2] == [server for server, _ in street.asked]
    for before, after in zip(chain.probes, chain.probes[1:], strict=False):
        assert after.blind is not None
        assert hashlib.sha512(before.response + after.blind).digest()[:32] == nonce(after.request)
    assert len({probe.blind for probe in chain.probes}) == 6
    assert chain.malfeasance() is None


def test_a_bound_holds_from_the_question_to_the_answer() -> None:
    street = Street(TestAuthority(midpoint_s=T0, radius_s=3))
    bound = street.run().bounds[0]
    assert START + TOOK == bound.at
    assert (utc(T0 - 3), utc(T0 + 3) + TOOK) == (bound.earliest, bound.latest)


def test_a_bound_grows_as_the_monotonic_clock_may_err() -> None:
    bound = Bound("a", START, utc(T0), utc(T0 + 2)).carried(START + seconds(2000))
    assert (utc(T0 + 1999), utc(T0 + 2003)) == (bound.earliest, bound.latest)


def test_two_of_three_outvote_the_third_and_say_by_how_much_a_source_is_wrong() -> None:
    street = Street(*three(T0, T0 + 3600, T0))
    agreement = street.run().agreement(street.now)
    assert agreement is not None
    assert ("s0", "s2") == agreement.servers
    ahead = agreement.contradiction(utc(T0 + 3600), seconds(1), street.now)
    assert ahead is not None
    assert ahead.endswith(" s ahead of what 2 of 3 Roughtime servers allow")
    assert agreement.contradiction(utc(T0), seconds(1), street.now) is None


@pytest.mark.parametrize(
    ("claimed", "words"),
    [
        (T0 - 14, "is at least 3 s behind what 1 of 1 Roughtime servers allow"),
        (T0 - 11, None),
        (T0 + 11, None),
        (T0 + 16, "is at least 5 s ahead of what 1 of 1 Roughtime servers allow"),
    ],
)
def test_a_source_is_contradicted_only_where_its_own_bound_ends_too(claimed: int, words: str | None) -> None:
    agreement = Agreement(Bound("a", START, utc(T0 - 10), utc(T0 + 10)), ("a",), 1)
    assert words == agreement.contradiction(utc(claimed), seconds(1), START)


def test_silent_servers_count_as_servers() -> None:
    street = Street(*three(T0, T0, T0), silent=(1, 2))
    chain = street.run()
    assert chain.agreement(street.now) is None
    assert {"s1": "no response within 3 s", "s2": "no response within 3 s"} == chain.troubles


def test_the_chain_goes_on_over_a_silent_server() -> None:
    street = Street(*three(T0, T0, T0), silent=(1,))
    chain = street.run()
    assert ["s0", "s2", "s0", "s2"] == [probe.server.name for probe in chain.probes]
    assert chain.agreement(street.now) is not None


def test_no_majority_without_a_common_second() -> None:
    bounds = [Bound(name, START, utc(at), utc(at + 2)) for name, at in (("a", 0), ("b", 10), ("c", 20))]
    assert agree(bounds, 3, START) is None


def test_the_span_of_the_majority_is_what_they_share() -> None:
    spans = {"a": (0, 10), "b": (6, 14), "c": (8, 20), "d": (100, 101)}
    agreement = agree([Bound(name, START, utc(one), utc(two)) for name, (one, two) in spans.items()], 4, START)
    assert agreement is not None
    assert (utc(8), utc(10)) == (agreement.bound.earliest, agreement.bound.latest)
    assert ("a", "b", "c") == agreement.servers


@pytest.mark.parametrize(
    "spans",
    [
        # The truth is at 10. One of three that lies reaches into one of the right ones; so do two of five.
        {"liar": (0, 5), "b": (4, 12), "c": (9, 14)},
        {"liar": (0, 5), "liar's friend": (1, 5), "b": (4, 12), "c": (3, 11), "d": (9, 14)},
    ],
)
def test_a_minority_that_overlaps_with_some_of_the_others_does_not_shut_out_the_truth(
    spans: dict[str, tuple[int, int]],
) -> None:
    bounds = [Bound(name, START, utc(one), utc(two)) for name, (one, two) in spans.items()]
    for order in (bounds, bounds[::-1]):
        agreement = agree(order, len(order), START)
        assert agreement is not None
        assert agreement.bound.earliest <= utc(10) <= agreement.bound.latest
        assert agreement.contradiction(utc(10), seconds(0), START) is None


def test_a_liar_is_proved_by_the_chain() -> None:
    street = Street(*three(T0, T0 + 3600, T0))
    proof = street.run().malfeasance()
    assert proof is not None
    assert proves_malfeasance(proof)
    responses = json.loads(proof)["responses"]
    assert {"request", "response", "publicKey"} == set(responses[0])
    assert {"rand", "request", "response", "publicKey"} == set(responses[1])


def test_a_proof_that_was_tampered_with_proves_nothing() -> None:
    street = Street(*three(T0, T0 + 3600, T0))
    proof = street.run().malfeasance()
    assert proof is not None
    content = json.loads(proof)
    other = json.loads(proof)
    other["responses"] = [*content["responses"][:1], *content["responses"][2:]]
    swapped = json.loads(proof)
    swapped["responses"][1]["rand"] = swapped["responses"][2]["rand"]
    forged = json.loads(proof)
    forged["responses"][1]["publicKey"] = forged["responses"][0]["publicKey"]
    assert [False] * 3 == [proves_malfeasance(json.dumps(one)) for one in (other, swapped, forged)]


def test_servers_that_agree_are_proved_nothing() -> None:
    street = Street(*three(T0, T0, T0))
    street.run()
    assert not proves_malfeasance(report(street.chain.probes))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"responses": [3]}', '{"responses": [{"request": "!"}]}'])
def test_a_text_that_is_no_report(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        proves_malfeasance(text)


def test_times_that_touch_are_no_contradiction() -> None:
    street = Street(TestAuthority(seed=1, midpoint_s=T0 + 10), TestAuthority(seed=2, midpoint_s=T0))
    assert street.run().malfeasance() is None
    worse = Street(TestAuthority(seed=1, midpoint_s=T0 + 11), TestAuthority(seed=2, midpoint_s=T0))
    assert worse.run().malfeasance() is not None


def test_a_forged_response_does_not_end_the_wait_for_the_real_one() -> None:
    honest = TestAuthority()
    chain = RoughtimeChain([RoughtimeServer("a", honest.public_key)], random.Random(7).randbytes, rounds=1)
    (ask,) = chain.on_deadline(START)
    assert isinstance(ask, Ask)
    assert [] == chain.on_packet(ask.token, TestAuthority(seed=9).answer(ask.data), START)
    assert "not signed by the server's long-term key" in chain.troubles["a"]
    assert [] == chain.on_packet(ask.token + 1, honest.answer(ask.data), START)
    assert [Done(ask.token)] == chain.on_packet(ask.token, honest.answer(ask.data), START)
    assert {} == chain.troubles
    assert chain.finished


def test_a_server_that_cannot_be_reached_is_left_at_once() -> None:
    servers = [RoughtimeServer(name, bytes([place]) * 32) for place, name in enumerate("ab")]
    chain = RoughtimeChain(servers, random.Random(7).randbytes, rounds=1)
    (ask,) = chain.on_deadline(START)
    assert isinstance(ask, Ask)
    done, following = chain.on_error(ask.token, "Connection refused", START)
    assert Done(ask.token) == done
    assert isinstance(following, Ask)
    assert 1 == following.server
    assert {"a": "Connection refused"} == chain.troubles


def test_one_server_has_one_vote() -> None:
    key = bytes(32)
    with pytest.raises(ValueError, match="twice"):
        RoughtimeChain([RoughtimeServer("a", key), RoughtimeServer("b", key)], random.Random(1).randbytes)
    with pytest.raises(ValueError, match="32"):
        RoughtimeServer("a", b"short")
