"""The NTP client with NTS: our own gate is the server, and packets made by hand are its enemies."""

from __future__ import annotations

from ntp_client_support import TAI_UTC, Reply, reasons
from nts_story import NtsStory

from timesync.base.machine import Measured, SendStamped, Status
from timesync.ntp.exchange import DropReason

assert TAI_UTC == 37


def test_an_answer_that_opens_is_a_measurement_that_is_authentic() -> None:
    story = NtsStory()
    for _ in range(5):
        request = story.ask()
        data = story.answer(request, story.reply(request).pack())
        story.sent(request)
        effects = story.receive(request, data)
        (measured,) = [one for one in effects if isinstance(one, Measured)]
        assert measured.measurement.quality is not None
        assert measured.measurement.quality.authenticated
        assert story.client.status().authenticated
    assert 8 == len(story.authenticator.session.cookies)


def test_an_answer_without_its_authenticator_or_changed_on_its_way_is_refused_and_the_right_one_still_counts() -> None:
    story = NtsStory()
    request = story.ask()
    story.sent(request)
    plain = story.reply(request).pack()
    data = story.answer(request, plain)
    assert ["nts-unique-id"] == reasons(story.receive(request, plain))
    changed = bytearray(data)
    changed[35] ^= 1
    assert ["nts-tag"] == reasons(story.receive(request, bytes(changed)))
    assert ["nts-missing"] == reasons(story.receive(request, data[: 48 + 36]))
    effects = story.receive(request, data)
    assert [Measured] == [type(one) for one in effects if isinstance(one, Measured)]


def test_a_replayed_answer_is_no_answer() -> None:
    story = NtsStory()
    first = story.ask()
    story.sent(first)
    data = story.answer(first, story.reply(first).pack())
    story.receive(first, data)
    second = story.ask()
    # Another origin timestamp gives it away before any key is used.
    assert ["origin"] == reasons(story.receive(second, data))


def test_naks_are_believed_when_nothing_better_came_and_then_the_client_starves_until_it_has_new_keys() -> None:
    story = NtsStory()
    request = story.ask()
    story.sent(request)
    nak = story.gate.nak(
        request.data[52:84], Reply(leap=3, stratum=0, reference_id=b"NTSN", origin=request.transmit).pack()
    )
    assert ["nts-nak"] == reasons(story.receive(request, nak))
    assert not story.authenticator.starving
    sent = []
    for _ in range(4):
        story.wait()
        sent += [one for one in story.effects if isinstance(one, SendStamped)]
    assert [] == sent
    assert story.authenticator.starving
    assert [one for one in story.effects if isinstance(one, Status)]

    story.authenticator.renew(story.session(8, "others"))
    request = story.ask()
    story.sent(request)
    effects = story.receive(request, story.answer(request, story.reply(request).pack()))
    assert [one for one in effects if isinstance(one, Measured)]


def test_a_nak_that_is_contradicted_by_an_answer_costs_nothing() -> None:
    story = NtsStory()
    request = story.ask()
    story.sent(request)
    nak = story.gate.nak(
        request.data[52:84], Reply(leap=3, stratum=0, reference_id=b"NTSN", origin=request.transmit).pack()
    )
    story.receive(request, nak)
    story.receive(request, story.answer(request, story.reply(request).pack()))
    story.ask()
    assert not story.authenticator.starving


def test_the_word_of_a_provisional_server_is_not_authentic() -> None:
    story = NtsStory()
    story.authenticator.provisional = True
    request = story.ask()
    story.sent(request)
    effects = story.receive(request, story.answer(request, story.reply(request).pack()))
    (measured,) = [one for one in effects if isinstance(one, Measured)]
    assert measured.measurement.quality is not None
    assert not measured.measurement.quality.authenticated
    assert not story.client.status().authenticated
    assert story.client.status().provisional
    assert story.client.status().keyed
    story.authenticator.provisional = False
    assert not story.client.status().provisional


def test_every_refusal_of_a_session_is_a_reason() -> None:
    names = {one.value for one in DropReason if one.value.startswith("nts-")}
    assert {"nts-format", "nts-late", "nts-unique-id", "nts-missing", "nts-tag", "nts-nak"} == names
