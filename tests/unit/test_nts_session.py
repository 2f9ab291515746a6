"""The client's side of NTS packets, against a server written out by hand in ``nts_support``."""

from __future__ import annotations

import pytest
from nts_support import (
    NAK_HEAD,
    REPLY_HEAD,
    REQUEST_HEAD,
    Stream,
    agreed,
    field,
    fields_of,
    hand_authenticator,
    hand_nak,
    hand_open,
    hand_reply,
    keys_for,
)

from timesync.nts.aead import AeadId
from timesync.nts.ke_client import Agreed
from timesync.nts.keys import SessionKeys
from timesync.nts.session import NtsAnswer, NtsRefusal, NtsSession
from timesync.wire.ntp import Extension, decode

KEYS = keys_for(AeadId.AES_SIV_CMAC_256)


def cookies(count: int, first: int = 1, size: int = 100) -> list[bytes]:
    return [bytes([number]) * size for number in range(first, first + count)]


def session(keys: SessionKeys = KEYS, count: int = 8) -> NtsSession:
    return NtsSession(agreed(keys, tuple(cookies(count))), Stream())


def ask(one: NtsSession) -> bytes:
    request = one.protect(REQUEST_HEAD)
    assert request is not None
    return request


# -- requests


@pytest.mark.parametrize("aead", list(AeadId))
def test_a_request_is_unique_id_cookie_and_authenticator(aead: AeadId) -> None:
    keys = keys_for(aead)
    request = ask(session(keys))
    (unique, cookie, authenticator) = fields_of(request)
    nonce_size = 12 if aead >= 30 else 16

    assert REQUEST_HEAD == request[:48]
    assert (0x0104, 32) == (unique[0], len(unique[1]))
    assert (0x0204, cookies(1)[0]) == cookie
    assert 0x0404 == authenticator[0]
    body = authenticator[1]
    assert nonce_size.to_bytes(2, "big") + b"\0\x10" == body[:4]
    before = request[: len(request) - len(body) - 4]
    assert b"" == hand_open(aead, keys.c2s, body[4 : 4 + nonce_size], body[4 + nonce_size :], before)


@pytest.mark.parametrize("aead", list(AeadId))
@pytest.mark.parametrize("lost", range(8))
def test_a_request_is_an_ntp_packet_like_others(aead: AeadId, lost: int) -> None:
    """No field is taken for a MAC, nor are there too many (RFC 7822)."""
    one = NtsSession(agreed(keys_for(aead), tuple(cookies(8, size=164))), Stream())
    for _ in range(lost + 1):
        request = ask(one)
    packet = decode(request)

    assert packet.mac is None
    assert fields_of(request) == [(field.kind, field.body) for field in packet.extensions]
    assert len(request) <= 1100, "packets must not be cut on their way"


def test_no_two_requests_have_anything_in_common_but_their_header() -> None:
    one = session()
    first, second = fields_of(ask(one)), fields_of(ask(one))
    assert first[0][1] != second[0][1]
    assert first[1][1] != second[1][1]
    assert first[-1][1][4:20] != second[-1][1][4:20]


def test_after_seven_lost_replies_one_answer_fills_the_stash() -> None:
    one = session()
    for _ in range(7):
        ask(one)
    request = ask(one)
    placeholders = [body for kind, body in fields_of(request) if kind == 0x0304]

    assert [bytes(100)] * 7 == placeholders
    assert () == one.cookies
    assert NtsAnswer((), 84, 8) == one.judge(hand_reply(request, KEYS, cookies(8, first=100)))
    assert tuple(cookies(8, first=100)) == one.cookies


def test_eight_lost_replies_leave_nothing_to_ask_with() -> None:
    one = session()
    requests = [one.protect(REQUEST_HEAD) for _ in range(9)]
    assert requests[7] is not None
    assert requests[8] is None


# -- answers


@pytest.mark.parametrize("aead", list(AeadId))
def test_a_right_answer_brings_its_cookies(aead: AeadId) -> None:
    keys = keys_for(aead)
    one = session(keys, count=1)
    answer = one.judge(hand_reply(ask(one), keys, cookies(1, first=9)))

    assert NtsAnswer((), 84, 1) == answer
    assert tuple(cookies(1, first=9)) == one.cookies
    assert one.verified


def test_a_replayed_answer_is_refused() -> None:
    one = session()
    reply = hand_reply(ask(one), KEYS, cookies(1, first=9))
    assert isinstance(one.judge(reply), NtsAnswer)
    held = one.cookies

    assert NtsRefusal.LATE == one.judge(reply)
    ask(one)
    assert NtsRefusal.UNIQUE_ID == one.judge(reply)
    assert held[1:] == one.cookies


def test_an_answer_before_the_first_request_is_refused() -> None:
    assert NtsRefusal.LATE == session().judge(hand_reply(ask(session()), KEYS, []))


def test_every_octet_up_to_the_end_of_the_tag_counts() -> None:
    one = session()
    reply = hand_reply(ask(one), KEYS, cookies(1, first=9))
    for place in range(len(reply)):
        changed = bytearray(reply)
        changed[place] ^= 0x40
        assert isinstance(one.judge(bytes(changed)), NtsRefusal), place
    assert isinstance(one.judge(reply), NtsAnswer), "none of these cost the right answer its chance"


def test_a_stripped_field_is_noticed() -> None:
    one = session()
    request = ask(one)
    unique = field(*fields_of(request)[0])
    extra = field(0xF323, bytes(24))
    whole = hand_authenticator(15, KEYS.s2c, bytes(16), b"", REPLY_HEAD + unique + extra)

    assert NtsRefusal.TAG == one.judge(whole.replace(extra, b""))
    assert NtsRefusal.UNIQUE_ID == one.judge(whole.replace(unique, b""))
    assert NtsRefusal.MISSING == one.judge(REPLY_HEAD + unique)
    assert NtsRefusal.UNIQUE_ID == one.judge(REPLY_HEAD)
    answer = one.judge(whole)
    assert isinstance(answer, NtsAnswer)
    assert (Extension(0xF323, bytes(24)),) == answer.fields


def test_two_unique_ids_are_none() -> None:
    one = session()
    unique = field(*fields_of(ask(one))[0])
    reply = hand_authenticator(15, KEYS.s2c, bytes(16), b"", REPLY_HEAD + unique + unique)
    assert NtsRefusal.UNIQUE_ID == one.judge(reply)


def test_another_aead_than_agreed_upon_opens_nothing() -> None:
    keys = keys_for(AeadId.AES_256_GCM_SIV)
    one = session(keys)
    other = SessionKeys(AeadId.AES_SIV_CMAC_256, keys.c2s, keys.s2c)
    assert NtsRefusal.TAG == one.judge(hand_reply(ask(one), other, cookies(1)))


def test_the_key_of_requests_does_not_open_answers() -> None:
    """A request that is sent back is no answer."""
    one = session()
    mirrored = SessionKeys(KEYS.aead, KEYS.s2c, KEYS.c2s)
    assert NtsRefusal.TAG == one.judge(hand_reply(ask(one), mirrored, cookies(1)))


def test_clear_cookies_are_ignored_and_encrypted_ones_are_not() -> None:
    one = session(count=1)
    unique = field(*fields_of(ask(one))[0])
    before = REPLY_HEAD + unique + field(0x0204, b"clear cookie".ljust(100, b"!"))
    inner = field(0x0204, cookies(1, first=9)[0]) + field(0xF323, b"\1\2\3\4")
    answer = one.judge(hand_authenticator(15, KEYS.s2c, bytes(16), inner, before))

    assert isinstance(answer, NtsAnswer)
    assert (Extension(0xF323, b"\1\2\3\4"),) == answer.fields
    assert tuple(cookies(1, first=9)) == one.cookies


def test_fields_after_the_authenticator_are_not_believed() -> None:
    one = session()
    answer = one.judge(hand_reply(ask(one), KEYS, []) + field(0xF323, bytes(24)))
    assert NtsAnswer((), 84, 0) == answer


@pytest.mark.parametrize("size", [0, 1, 257, 1500])
def test_cookies_of_impossible_sizes_are_never_kept(size: int) -> None:
    one = session(count=1)
    request = ask(one)
    inner = field(0x0204, bytes(size) + bytes(-size % 4) if size != 1 else b"")
    unique = field(*fields_of(request)[0])
    answer = one.judge(hand_authenticator(15, KEYS.s2c, bytes(16), inner, REPLY_HEAD + unique))

    assert isinstance(answer, NtsAnswer)
    assert 0 == answer.cookies
    assert one.protect(REQUEST_HEAD) is None


def test_more_than_eight_cookies_do_no_harm() -> None:
    one = session(count=1)
    answer = one.judge(hand_reply(ask(one), KEYS, cookies(12, first=20)))
    assert isinstance(answer, NtsAnswer)
    assert 8 == answer.cookies == len(one.cookies)


def test_nonsense_inside_the_authenticator_is_refused_whole() -> None:
    one = session(count=1)
    unique = field(*fields_of(ask(one))[0])
    inner = field(0x0204, cookies(1, first=9)[0]) + bytes.fromhex("0204 0003")
    assert NtsRefusal.FORMAT == one.judge(hand_authenticator(15, KEYS.s2c, bytes(16), inner, REPLY_HEAD + unique))
    assert () == one.cookies


@pytest.mark.parametrize("data", [b"", bytes(47), bytes(49), REPLY_HEAD + bytes.fromhex("0104 0003") + bytes(32)])
def test_no_packet_at_all(data: bytes) -> None:
    one = session()
    ask(one)
    assert NtsRefusal.FORMAT == one.judge(data)


# -- NTS NAK


def test_a_nak_acts_only_when_the_next_request_is_made() -> None:
    one = session()
    request = ask(one)
    assert not one.refused
    assert NtsRefusal.NAK == one.judge(hand_nak(request))
    assert one.refused
    assert 7 == len(one.cookies)
    assert one.protect(REQUEST_HEAD) is None
    assert () == one.cookies


def test_a_valid_answer_after_a_nak_makes_the_nak_void() -> None:
    one = session()
    request = ask(one)
    assert NtsRefusal.NAK == one.judge(hand_nak(request))
    assert isinstance(one.judge(hand_reply(request, KEYS, cookies(1, first=9))), NtsAnswer)
    assert not one.refused
    assert one.protect(REQUEST_HEAD) is not None


def test_a_nak_after_a_valid_answer_is_late() -> None:
    one = session()
    request = ask(one)
    one.judge(hand_reply(request, KEYS, cookies(1, first=9)))
    assert NtsRefusal.LATE == one.judge(hand_nak(request))
    assert one.protect(REQUEST_HEAD) is not None


def test_a_nak_for_another_request_is_nothing() -> None:
    one = session()
    before = ask(one)
    ask(one)
    assert NtsRefusal.UNIQUE_ID == one.judge(hand_nak(before))
    assert NtsRefusal.UNIQUE_ID == one.judge(NAK_HEAD)
    assert one.protect(REQUEST_HEAD) is not None


def test_another_kiss_without_authenticator_is_no_nak() -> None:
    one = session()
    request = ask(one)
    rate = hand_nak(request).replace(b"NTSN", b"RATE")
    assert NtsRefusal.MISSING == one.judge(rate)
    assert one.protect(REQUEST_HEAD) is not None


def test_a_nak_in_version_5_is_a_flag() -> None:
    one = session()
    request = one.protect(bytes([0x2B]) + REQUEST_HEAD[1:])
    assert request is not None
    unique = field(*fields_of(request)[0])
    plain = bytes([0x2C]) + bytes(47)
    assert NtsRefusal.MISSING == one.judge(plain + unique)
    assert NtsRefusal.NAK == one.judge(plain[:15] + b"\4" + plain[16:] + unique)


# -- chrony's two keys for AES-128-GCM-SIV


def two_keys() -> tuple[SessionKeys, SessionKeys, NtsSession]:
    old, right = keys_for(AeadId.AES_128_GCM_SIV, "old"), keys_for(AeadId.AES_128_GCM_SIV, "right")
    made = Agreed(protocol=0, keys=(old, right), cookies=tuple(cookies(8, size=68)))
    return old, right, NtsSession(made, Stream())


def test_a_nak_to_the_first_request_brings_the_other_keys_into_use() -> None:
    old, right, one = two_keys()
    assert (old, right) == one.keys
    assert NtsRefusal.NAK == one.judge(hand_nak(ask(one)))
    request = ask(one)

    assert (right,) == one.keys
    assert isinstance(one.judge(hand_reply(request, right, [])), NtsAnswer)


def test_a_nak_to_both_keys_needs_a_new_key_establishment() -> None:
    _, _, one = two_keys()
    for _ in range(2):
        one.judge(hand_nak(ask(one)))
    assert one.protect(REQUEST_HEAD) is None


def test_once_the_first_keys_were_right_the_others_are_forgotten() -> None:
    old, _, one = two_keys()
    one.judge(hand_reply(ask(one), old, cookies(1, first=9, size=68)))
    assert (old,) == one.keys
    one.judge(hand_nak(ask(one)))
    assert one.protect(REQUEST_HEAD) is None


def test_silence_does_not_change_the_keys() -> None:
    old, right, one = two_keys()
    for _ in range(3):
        ask(one)
    assert (old, right) == one.keys


def test_it_is_ready_as_long_as_a_request_can_be_made_and_asking_so_changes_nothing_twice() -> None:
    keys = (KEYS, keys_for(AeadId.AES_SIV_CMAC_256, "others"))
    one = NtsSession(Agreed(protocol=0, keys=keys, cookies=tuple(cookies(4))), Stream())
    assert one.ready()
    one.judge(hand_nak(ask(one)))
    # The NAK is believed now: the other keys come into use, once.
    assert (True, True, keys[1:]) == (one.ready(), one.ready(), one.keys)
    one.judge(hand_nak(ask(one)))
    assert not one.ready()
    assert one.protect(REQUEST_HEAD) is None
