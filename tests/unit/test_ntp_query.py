"""One-shot questions: what is believed, what is shown, when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ntp_client_support import MS, US, Request, Story, done, entropy, ntp_stamp, reasons
from nts_story import NtsStory
from nts_support import hand_nak

from timesync.base.ids import ClockId
from timesync.base.measure import StampSource
from timesync.base.time import Duration
from timesync.ntp.exchange import DropReason
from timesync.ntp.query import Outcome, Query, QuerySettings, best_of, spread


class QueryStory(Story):
    """The story of a client, with a query in its place."""

    client: Any

    def __post_init__(self) -> None:
        base = QuerySettings(local=ClockId("system"))
        self.client = Query(replace(base, **self.changes), self.scales, entropy(self.seed), self.precision)
        self.mono_ns = 1_000_000_000_000
        self.effects = []

    @property
    def last(self) -> Outcome:
        outcome = self.client.outcomes[-1]
        assert isinstance(outcome, Outcome)
        return outcome


def test_offset_and_delay_of_one_question() -> None:
    story = QueryStory(local_ahead_ns=3 * MS, forward_ns=500 * US, back_ns=500 * US)
    effects = story.exchange()

    assert story.last.sample is not None
    assert (3 * MS, 1 * MS) == (story.last.sample.offset.ns(), story.last.sample.round_trip.ns())
    assert (True, False, StampSource.KERNEL) == (story.last.usable, story.last.interleaved, story.last.stamping)
    assert [1] == done(effects)
    assert story.client.finished
    assert story.client.deadline() is None


def test_the_request_tells_nothing_and_is_of_the_wanted_version() -> None:
    request = QueryStory(changes={"version": 3}).ask()

    assert (3, 3) == (request.data[0] >> 3 & 7, request.data[0] & 7)
    assert 0 == request.origin == request.receive
    assert 0 != request.transmit
    assert bytes(4) == request.data[12:16]
    assert 48 == len(request.data)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": 1}, "origin"),
        ({"origin": 0}, "origin"),
        ({"mode": 3}, "mode"),
        ({"mode": 5}, "mode"),
        ({"version": 2}, "version"),
    ],
)
def test_what_is_no_answer_is_counted_and_the_answer_still_waited_for(changes: dict[str, int], reason: str) -> None:
    story = QueryStory()
    request = story.ask()
    story.sent(request)

    assert [reason] == reasons(story.receive(request, story.reply(request, **changes).pack()))
    assert [] == story.client.outcomes
    story.receive(request, story.reply(request).pack())
    assert story.last.usable
    assert {reason: 1} == story.last.drops


def test_no_answer_in_time() -> None:
    story = QueryStory(changes={"count": 2, "timeout": Duration.from_s(2)})
    story.sent(story.ask())
    asked = story.mono_ns
    assert story.wait() is None

    assert 2_000_000_000 == story.mono_ns - asked
    assert "no answer within 2 s" == story.last.trouble
    assert not story.client.finished
    assert story.exchange()
    assert story.client.finished
    assert [False, True] == [outcome.usable for outcome in story.client.outcomes]


def test_an_error_of_the_network_ends_the_question_at_once() -> None:
    story = QueryStory()
    request = story.ask()

    assert [1] == done(story.client.on_error(request.token, "Connection refused", story.now))
    assert "Connection refused" == story.last.trouble
    assert story.client.finished
    assert [] == story.client.on_error(request.token, "Connection refused", story.now)


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE"])
def test_a_kiss_ends_all_questions(code: bytes) -> None:
    story = QueryStory(changes={"count": 5})
    story.exchange(stratum=0, leap=3, reference_id=code)

    assert (code.decode(), DropReason.KISS, False) == (story.last.kiss, story.last.refusal, story.last.usable)
    assert story.client.finished


def test_an_unknown_kiss_is_shown_and_the_rest_asked() -> None:
    story = QueryStory(changes={"count": 2})
    story.exchange(stratum=0, leap=3, reference_id=b"NTSN")

    assert "NTSN" == story.last.kiss
    story.exchange()
    assert story.last.usable


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"leap": 3}, DropReason.UNSYNCHRONISED),
        ({"stratum": 16}, DropReason.STRATUM),
        ({"stratum": 0, "reference_id": bytes(4)}, DropReason.STRATUM),
        ({"root_dispersion": 20 << 16}, DropReason.DISTANCE),
    ],
)
def test_a_server_that_is_not_fit_is_measured_and_says_why(changes: dict[str, Any], refusal: DropReason) -> None:
    story = QueryStory()
    story.exchange(**changes)

    assert story.last.sample is not None
    assert (refusal, False) == (story.last.refusal, story.last.usable)


def test_a_missing_timestamp_or_stamp_gives_no_sample() -> None:
    story = QueryStory(changes={"count": 2})
    story.exchange(transmit=0)
    assert (None, DropReason.ZERO) == (story.last.sample, story.last.refusal)

    request = story.ask()
    story.sent(request, lost=True)
    story.receive(request, story.reply(request).pack())
    assert (None, DropReason.STAMP) == (story.last.sample, story.last.refusal)


def test_the_answer_may_come_before_the_transmit_stamp() -> None:
    story = QueryStory()
    request = story.ask()
    data = story.reply(request).pack()
    stamp = story.stamp(story.utc_ns)

    assert [] == [effect for effect in story.receive(request, data) if story.client.finished]
    story.client.on_sent(request.token, stamp, story.now)
    assert story.last.usable


def test_a_transmit_time_guessed_too_late_counts_as_no_delay() -> None:
    """RFC 5905, 8: a negative delay is clamped; how far it was off is kept for the bound."""
    story = QueryStory(forward_ns=2 * US, back_ns=-12 * US)
    story.exchange()

    assert story.last.sample is not None
    assert Duration(0) == story.last.sample.round_trip
    assert 10 * US == story.last.sample.excess.ns()
    story = QueryStory(forward_ns=2 * US, back_ns=-500 * US)
    story.exchange()
    assert (None, DropReason.DELAY) == (story.last.sample, story.last.refusal)


def _interleaved(story: QueryStory, request: Request, late_ns: int) -> None:
    """Answer in interleaved mode: the answer before had left ``late_ns`` later than it had said."""
    reply = story.reply(request, origin=request.receive)
    story.sent(request)
    story.receive(request, replace(reply, transmit=ntp_stamp(late_ns)).pack())


def test_interleaved_mode_measures_the_exchange_before_with_its_true_departure() -> None:
    """RFC 9769, 2.2. The first answer says that it leaves 40 µs before it does, which halves into the offset."""
    story = QueryStory(changes={"count": 2, "interleaved": True}, back_ns=540 * US)
    story.exchange()
    first = story.last
    left_ns = story.utc_ns + story.forward_ns + story.served_ns + 40 * US
    request = story.ask()
    assert request.origin != 0
    assert 3 == len({request.origin, request.receive, request.transmit})
    _interleaved(story, request, left_ns)

    assert first.sample is not None
    assert story.last.sample is not None
    assert (False, True) == (first.interleaved, story.last.interleaved)
    assert (3 * MS + 20 * US, 3 * MS) == (first.sample.offset.ns(), story.last.sample.offset.ns())
    assert (1040 * US, 1000 * US) == (first.sample.round_trip.ns(), story.last.sample.round_trip.ns())


def test_a_basic_answer_to_an_interleaved_question_is_as_good() -> None:
    story = QueryStory(changes={"count": 2, "interleaved": True})
    story.exchange()
    story.exchange()

    assert (True, False) == (story.last.usable, story.last.interleaved)


def test_the_best_is_the_one_with_the_least_delay_of_those_that_are_fit() -> None:
    story = QueryStory(changes={"count": 4})
    for forward_ns, changes in ((900 * US, {}), (500 * US, {}), (700 * US, {}), (10 * US, {"leap": 3})):
        story.forward_ns = forward_ns
        story.exchange(**changes)
    outcomes = story.client.outcomes

    assert outcomes[1] is best_of(outcomes)
    # Half of the asymmetry is in the offset: 900 and 10 µs forward, 500 µs back.
    assert 445 * US == (spread(outcomes) or Duration(0)).ns()
    assert best_of([]) is None
    assert spread(outcomes[:1]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"count": 0},
        {"interval": Duration(0)},
        {"timeout": Duration(-1)},
        {"version": 3, "interleaved": True},
    ],
)
def test_settings_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"version|positive"):
        QuerySettings(local=ClockId("system"), **changes)


class NtsQueryStory(NtsStory):
    """A query in the place of the client, with the same authenticator."""

    client: Any

    def __init__(self, cookies: int = 8, **changes: Any) -> None:
        super().__init__(cookies)
        asked = replace(QuerySettings(local=ClockId("system")), **changes)
        self.client = Query(asked, self.scales, entropy(1), self.precision, self.authenticator)


def test_with_nts_only_what_opens_is_an_answer() -> None:
    story = NtsQueryStory()
    request = story.ask()
    story.sent(request)
    plain = story.reply(request).pack()
    assert ["nts-unique-id"] == reasons(story.receive(request, plain))
    assert ["nts-nak"] == reasons(
        story.receive(request, hand_nak(request.data)[:24] + request.data[40:48] + hand_nak(request.data)[32:])
    )
    assert [] == story.client.outcomes
    story.receive(request, story.answer(request, plain))
    assert story.client.outcomes[-1].usable
    assert {"nts-unique-id": 1, "nts-nak": 1} == story.client.outcomes[-1].drops


def test_without_a_cookie_no_more_is_asked() -> None:
    story = NtsQueryStory(cookies=1, count=5)
    story.sent(story.ask())
    assert story.wait() is None
    story.client.on_deadline(story.client.deadline())
    assert ["no answer within 3 s", "there are no cookies left"] == [one.trouble for one in story.client.outcomes]
    assert story.client.finished
