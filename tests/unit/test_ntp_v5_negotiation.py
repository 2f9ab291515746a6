"""From version 4 to 5 and back."""

from __future__ import annotations

import pytest

from timesync.ntp.v5.negotiation import MAX_LOST_PROVED, PAUSE, TRIES, Negotiation, SpeakV5
from timesync.wire.ntp5 import UPGRADE_DRAFT

ONE = ("draft-ietf-ntp-ntpv5-09",)
THREE = (*ONE, "draft-ietf-ntp-ntpv5-08", "draft-ietf-ntp-ntpv5-07")


def raised(drafts: tuple[str, ...] = ONE) -> Negotiation:
    """A server that has just said that it speaks version 5."""
    made = Negotiation(SpeakV5.AUTO, drafts)
    assert (4, UPGRADE_DRAFT) == (made.version, made.reference)
    assert made.answered(4, UPGRADE_DRAFT)
    assert (5, 0) == (made.version, made.reference)
    return made


def test_an_old_server_is_asked_eight_times() -> None:
    made = Negotiation(SpeakV5.AUTO, ONE)
    asked = 0
    while made.reference == UPGRADE_DRAFT:
        asked += 1
        assert not made.answered(4, 0)
    assert (TRIES, 8, 4) == (asked, TRIES, made.version)


def test_the_mark_unasked_for_raises_nothing() -> None:
    made = Negotiation(SpeakV5.AUTO, ONE)
    for _ in range(TRIES):
        made.answered(4, 0)
    assert not made.answered(4, UPGRADE_DRAFT)
    never = Negotiation(SpeakV5.NEVER, ONE)
    assert not never.answered(4, UPGRADE_DRAFT)
    assert [(4, 0), (4, 0)] == [(one.version, one.reference) for one in (made, never)]


def test_a_wrong_echo_is_none() -> None:
    made = Negotiation(SpeakV5.AUTO, ONE)
    assert not made.answered(4, UPGRADE_DRAFT ^ 1)
    assert 4 == made.version


def test_lost_requests_are_no_tries() -> None:
    made = Negotiation(SpeakV5.AUTO, ONE)
    for _ in range(100):
        assert not made.lost(4)
    assert UPGRADE_DRAFT == made.reference


def test_two_lost_answers_lead_back() -> None:
    made = raised()
    assert not made.lost(5)
    assert made.lost(5)
    assert (4, 0) == (made.version, made.reference)


def test_after_256_requests_version_5_is_tried_again() -> None:
    made = raised()
    made.lost(5)
    made.lost(5)
    quiet = 0
    while not made.reference:
        quiet += 1
        if quiet % 2:
            made.answered(4, 0)
        else:
            made.lost(4)
    assert (256, PAUSE) == (quiet, PAUSE)
    assert made.answered(4, UPGRADE_DRAFT)


def test_a_server_that_has_answered_is_not_given_up_for_two_losses() -> None:
    made = raised()
    made.answered(5)
    for _ in range(MAX_LOST_PROVED - 1):
        assert not made.lost(5)
    made.answered(5)
    for _ in range(MAX_LOST_PROVED - 1):
        assert not made.lost(5)
    assert made.lost(5)
    assert 4 == made.version


def test_each_draft_is_named_once_before_going_back() -> None:
    made = raised(THREE)
    named = []
    while made.version == 5:
        named.append(made.draft)
        made.lost(5)
    assert list(THREE) == named


def test_the_draft_that_was_answered_stays() -> None:
    made = raised(THREE)
    made.lost(5)
    assert THREE[1] == made.draft
    made.answered(5)
    made.lost(5)
    made.answered(5)
    assert THREE[1] == made.draft


def test_who_is_told_to_speak_version_5_never_goes_back() -> None:
    made = Negotiation(SpeakV5.ALWAYS, THREE)
    named = [made.draft]
    for _ in range(5):
        assert not made.lost(5)
        named.append(made.draft)
    assert [*THREE, *THREE] == named
    made.answered(5)
    pinned = made.draft
    for _ in range(MAX_LOST_PROVED):
        assert pinned == made.draft
        made.lost(5)
    made.lost(5)
    assert pinned != made.draft, "the server may have got new software"
    assert (5, 0) == (made.version, made.reference)


def test_an_answer_to_a_request_of_before_the_change_counts_for_nothing() -> None:
    made = raised()
    made.lost(5)
    assert not made.answered(4, 0)
    assert not made.lost(4)
    assert made.lost(5)
    assert not made.answered(5)
    assert 4 == made.version


def test_version_5_needs_a_draft() -> None:
    with pytest.raises(ValueError, match="draft"):
        Negotiation(SpeakV5.AUTO, ())
