"""The server's side of NTS packets, against a client written out by hand in ``nts_support``."""

from __future__ import annotations

import struct

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
    hand_open,
    hand_request,
    jar,
    keys_for,
)

from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.keys import SessionKeys
from timesync.nts.serve import Authentic, NtsFault, NtsGate, Refused, any_parts, usual_parts
from timesync.nts.session import NtsAnswer, NtsSession

KEYS = keys_for(AeadId.AES_SIV_CMAC_256)
UNIQUE_ID = bytes(range(32))


def bench(keys: SessionKeys = KEYS) -> tuple[NtsGate, CookieJar, bytes]:
    one = jar()
    return NtsGate(one, Stream("gate")), one, one.make(keys)


def examine(gate: NtsGate, request: bytes) -> Authentic:
    found = gate.examine(request)
    assert isinstance(found, Authentic)
    return found


def opened_cookies(reply: bytes, keys: SessionKeys) -> list[bytes]:
    """The cookies in a reply, by hand."""
    kind, body = fields_of(reply)[-1]
    assert kind == 0x0404
    nonce_size, size = struct.unpack_from("!HH", body)
    sealed = body[4 + nonce_size : 4 + nonce_size + size]
    inner = hand_open(keys.aead, keys.s2c, body[4 : 4 + nonce_size], sealed, reply[: -len(body) - 4])
    found = fields_of(bytes(48) + inner)
    assert all(kind == 0x0204 for kind, _ in found)
    return [cookie for _, cookie in found]


# -- replies


@pytest.mark.parametrize("aead", list(AeadId))
@pytest.mark.parametrize("placeholders", range(8))
def test_a_reply_has_a_cookie_for_each_field_and_the_size_of_its_request(aead: AeadId, placeholders: int) -> None:
    keys = keys_for(aead)
    gate, one, cookie = bench(keys)
    request = hand_request(keys, cookie, placeholders=placeholders)
    reply = gate.seal(examine(gate, request), REPLY_HEAD)

    assert reply is not None
    made = opened_cookies(reply, keys)
    assert len(request) == len(reply)
    assert REPLY_HEAD == reply[:48]
    assert (0x0104, UNIQUE_ID) == fields_of(reply)[0]
    assert 1 + placeholders == len(made) == len({*made, cookie}) - 1
    assert all(keys == one.open(new) for new in made)


def test_a_hundred_placeholders_are_too_many_fields() -> None:
    gate, _, cookie = bench()
    request = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie) + field(0x0304, bytes(100)) * 14
    assert Refused(NtsFault.FORMAT) == gate.examine(hand_authenticator(15, KEYS.c2s, bytes(16), b"", request))


def test_no_more_than_eight_cookies_are_made() -> None:
    gate, _, cookie = bench()
    reply = gate.seal(examine(gate, hand_request(KEYS, cookie, placeholders=10)), REPLY_HEAD)
    assert reply is not None
    assert 8 == len(opened_cookies(reply, KEYS))


def test_placeholders_of_another_size_do_not_count() -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    before += field(0x0304, bytes(100)) + field(0x0304, bytes(104)) + field(0x0304, bytes(12))
    assert 2 == examine(gate, hand_authenticator(15, KEYS.c2s, bytes(16), b"", before)).cookies


def test_placeholders_may_be_encrypted() -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    inner = field(0x0304, bytes(100)) * 2 + field(0x0304, bytes(8))
    request = hand_authenticator(15, KEYS.c2s, bytes(16), inner, before)
    found = examine(gate, request)
    reply = gate.seal(found, REPLY_HEAD)

    assert 3 == found.cookies, "the third one is too short to count"
    assert reply is not None
    assert 3 == len(opened_cookies(reply, KEYS))
    assert len(reply) <= len(request)


def test_what_a_placeholder_holds_is_not_looked_at() -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie) + field(0x0304, b"\xff" * 100)
    assert 2 == examine(gate, hand_authenticator(15, KEYS.c2s, bytes(16), b"", before)).cookies


def test_a_longer_packet_has_fewer_cookies_and_never_more_octets() -> None:
    gate, _, cookie = bench()
    request = hand_request(KEYS, cookie, placeholders=3)
    for extra in range(0, 480, 28):
        reply = gate.seal(examine(gate, request), REPLY_HEAD + field(0xF323, bytes(24)) * (extra // 28))
        if reply is None:
            assert len(request) < extra + 48 + 36 + 40
        else:
            assert len(reply) <= len(request)
            assert min((len(request) - extra - 124) // 104, 4) == len(opened_cookies(reply, KEYS))


def test_a_long_unique_id_comes_back_whole() -> None:
    gate, _, cookie = bench()
    unique = bytes(range(256))
    request = hand_request(KEYS, cookie, unique_id=unique)
    reply = gate.seal(examine(gate, request), REPLY_HEAD)
    assert reply is not None
    assert (0x0104, unique) == fields_of(reply)[0]
    assert len(request) == len(reply)


def test_a_client_of_ours_understands_it_all() -> None:
    for aead in AeadId:
        keys = keys_for(aead)
        gate, one, _ = bench(keys)
        client = NtsSession(agreed(keys, tuple(one.make(keys) for _ in range(8))), Stream("client"))
        for number in range(40):
            request = client.protect(REQUEST_HEAD)
            assert request is not None
            reply = gate.seal(examine(gate, request), REPLY_HEAD)
            assert reply is not None
            assert len(reply) <= len(request)
            # Every second reply is lost: the placeholders must make up for it.
            if number % 2:
                assert isinstance(client.judge(reply), NtsAnswer)


# -- what is not NTS's


@pytest.mark.parametrize("tail", [b"", bytes(20), field(0x0104, UNIQUE_ID), field(0xF323, bytes(24))])
def test_a_request_without_cookie_and_authenticator_is_an_ordinary_one(tail: bytes) -> None:
    assert bench()[0].examine(REQUEST_HEAD + tail) is None


# -- silence


def without(kind: int, request: bytes) -> bytes:
    kept = [field(one, body) for one, body in fields_of(request) if one != kind]
    return request[:48] + b"".join(kept)


@pytest.mark.parametrize("kind", [0x0104, 0x0204, 0x0404])
def test_a_request_that_lacks_a_field_gets_nothing(kind: int) -> None:
    gate, _, cookie = bench()
    assert Refused(NtsFault.FORMAT) == gate.examine(without(kind, hand_request(KEYS, cookie)))


@pytest.mark.parametrize("repeated", [0x0104, 0x0204])
def test_a_field_that_is_there_twice_gets_nothing(repeated: int) -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    before += field(repeated, UNIQUE_ID if repeated == 0x0104 else cookie)
    assert Refused(NtsFault.FORMAT) == gate.examine(hand_authenticator(15, KEYS.c2s, bytes(16), b"", before))


@pytest.mark.parametrize("size", [12, 16, 28])
def test_a_short_unique_id_gets_nothing(size: int) -> None:
    gate, _, cookie = bench()
    assert Refused(NtsFault.FORMAT) == gate.examine(hand_request(KEYS, cookie, unique_id=bytes(size)))


def test_cookie_and_unique_id_after_the_authenticator_are_not_there() -> None:
    gate, _, cookie = bench()
    request = hand_authenticator(15, KEYS.c2s, bytes(16), b"", REQUEST_HEAD + field(0x0104, UNIQUE_ID))
    assert Refused(NtsFault.FORMAT) == gate.examine(request + field(0x0204, cookie))


@pytest.mark.parametrize("nonce", [1, 4, 12])
def test_a_short_nonce_needs_its_padding(nonce: int) -> None:
    """RFC 8915, 5.6: else a reply with a longer nonce would be the longer packet."""
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    lacking = 16 - (nonce + 3 & ~3)
    short = hand_authenticator(15, KEYS.c2s, bytes(nonce), b"", before, room=lacking - 4)
    enough = hand_authenticator(15, KEYS.c2s, bytes(nonce), b"", before, room=lacking)

    assert Refused(NtsFault.PADDING) == gate.examine(short)
    reply = gate.seal(examine(gate, enough), REPLY_HEAD)
    assert reply is not None
    assert len(enough) == len(reply)


def test_gcm_siv_needs_no_padding_beyond_its_own_nonce() -> None:
    keys = keys_for(AeadId.AES_128_GCM_SIV)
    gate, _, cookie = bench(keys)
    assert isinstance(gate.examine(hand_request(keys, cookie)), Authentic)


@pytest.mark.parametrize("lengths", [(0xFFFF, 16), (16, 0xFFFF), (17, 16), (16, 17), (0, 0)])
def test_an_authenticator_that_lies_about_its_lengths(lengths: tuple[int, int]) -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    found = gate.examine(before + field(0x0404, struct.pack("!HH", *lengths) + bytes(32)))
    expected = NtsFault.TAG if lengths == (0, 0) else NtsFault.FORMAT
    assert isinstance(found, Refused)
    assert expected == found.fault


def test_nonsense_inside_the_ciphertext_gets_nothing() -> None:
    gate, _, cookie = bench()
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    request = hand_authenticator(15, KEYS.c2s, bytes(16), bytes.fromhex("0304 0003"), before)
    assert Refused(NtsFault.FORMAT) == gate.examine(request)


# -- the short way for the usual request, against the long one


def shapes(aead: AeadId) -> list[bytes]:
    """Requests like those of clients, and unlike them in each way that has a place in the packet."""
    keys = keys_for(aead)
    cookie = bench(keys)[2]
    usual = hand_request(keys, cookie)
    fifth = bytes([0x2B]) + usual[1:]
    made = [usual, fifth, *(hand_request(keys, cookie, placeholders=count) for count in range(1, 8))]
    made += [hand_request(keys, cookie, unique_id=bytes(size)) for size in (28, 36)]
    # The same sizes in another order, and other fields in the same places.
    id_field, cookie_field, nonce = usual[48:84], usual[84 : 88 + len(cookie)], bytes(12 if aead >= 30 else 16)
    made.append(hand_authenticator(aead, keys.c2s, nonce, b"", usual[:48] + cookie_field + id_field))
    made.append(hand_authenticator(aead, keys.c2s, nonce, b"", usual[:48] + field(0xF323, bytes(32)) + cookie_field))
    made.append(hand_authenticator(aead, keys.c2s, nonce, b"", usual[:48] + id_field + field(0x0304, cookie)))
    for packet in (usual, fifth):
        for place in range(48, len(packet)):
            for bit in (1, 4, 0x80):
                changed = bytearray(packet)
                changed[place] ^= bit
                made.append(bytes(changed))
        made += [packet[:size] for size in range(48, len(packet), 4)]
        made += [packet + bytes(more) for more in (4, 8, 16, 24, 28)]
    return made


@pytest.mark.parametrize("aead", list(AeadId))
def test_both_ways_to_take_a_request_apart_find_the_same(aead: AeadId) -> None:
    short = 0
    for request in shapes(aead):
        parts = usual_parts(request)
        if parts is not None:
            short += 1
            assert parts == (*any_parts(request)[:6], ()), request.hex()  # type: ignore[index]
            assert not any_parts(request)[6]  # type: ignore[index]
    assert short > 100


@pytest.mark.parametrize("aead", list(AeadId))
def test_the_usual_request_goes_the_short_way_and_others_the_long_one(aead: AeadId) -> None:
    keys = keys_for(aead)
    cookie = bench(keys)[2]
    assert usual_parts(hand_request(keys, cookie)) is not None
    assert usual_parts(hand_request(keys, cookie, placeholders=1)) is None
    assert usual_parts(REQUEST_HEAD) is None


@pytest.mark.parametrize("aead", list(AeadId))
def test_both_ways_come_to_the_same_verdict(aead: AeadId, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = bench(keys_for(aead))[0]
    requests = shapes(aead)
    either = [gate.examine(request) for request in requests]
    monkeypatch.setattr("timesync.nts.serve.usual_parts", lambda _: None)
    assert either == [gate.examine(request) for request in requests]
    assert sum(isinstance(one, Authentic) for one in either) >= 8


# -- NTS NAK


def test_a_swapped_cookie_is_answered_with_a_nak() -> None:
    """Somebody else's cookie is a good one, but not of the keys that made the authenticator."""
    gate, one, _ = bench()
    request = hand_request(KEYS, one.make(keys_for(AeadId.AES_SIV_CMAC_256, "somebody else")))
    assert Refused(NtsFault.TAG, UNIQUE_ID) == gate.examine(request)


def test_a_cookie_put_into_a_finished_request_is_noticed() -> None:
    gate, one, cookie = bench()
    request = hand_request(KEYS, cookie)
    assert Refused(NtsFault.TAG, UNIQUE_ID) == gate.examine(request.replace(cookie, one.make(KEYS)))


def test_another_aead_than_the_cookie_says_is_answered_with_a_nak() -> None:
    gate, _, cookie = bench()
    wrong = SessionKeys(AeadId.AES_256_GCM_SIV, KEYS.c2s, KEYS.s2c)
    before = REQUEST_HEAD + field(0x0104, UNIQUE_ID) + field(0x0204, cookie)
    request = hand_authenticator(wrong.aead, wrong.c2s, bytes(12), b"", before, room=4)
    assert Refused(NtsFault.TAG, UNIQUE_ID) == gate.examine(request)


@pytest.mark.parametrize("size", [12, 64, 100, 104, 1800])
def test_a_cookie_that_is_none_is_answered_with_a_nak(size: int) -> None:
    gate, _, _ = bench()
    assert Refused(NtsFault.COOKIE, UNIQUE_ID) == gate.examine(hand_request(KEYS, bytes(size)))


def test_a_zero_length_cookie_and_one_of_16_kib_get_nothing() -> None:
    """Neither fits an extension field that a packet can have, so there is nothing to answer."""
    gate, _, _ = bench()
    for size in (0, 16_384):
        assert Refused(NtsFault.FORMAT) == gate.examine(hand_request(KEYS, bytes(size)))


def test_every_octet_before_the_authenticator_counts() -> None:
    gate, _, cookie = bench()
    request = hand_request(KEYS, cookie, placeholders=1)
    protected = len(request) - 40
    for place in range(1, protected):
        changed = bytearray(request)
        changed[place] ^= 0x20
        assert not isinstance(gate.examine(bytes(changed)), Authentic), place


def test_a_stripped_placeholder_is_noticed() -> None:
    gate, _, cookie = bench()
    request = without(0x0304, hand_request(KEYS, cookie, placeholders=1))
    assert Refused(NtsFault.TAG, UNIQUE_ID) == gate.examine(request)


def test_a_nak_is_a_kiss_with_the_unique_id_and_nothing_else() -> None:
    gate, _, _ = bench()
    request = hand_request(KEYS, bytes(100))
    found = gate.examine(request)
    assert isinstance(found, Refused)
    assert found.unique_id is not None
    nak = gate.nak(found.unique_id, NAK_HEAD)

    assert NAK_HEAD + field(0x0104, UNIQUE_ID) == nak
    assert len(nak) < len(request)


def test_what_comes_after_the_authenticator_is_not_counted_as_protected() -> None:
    """NTPv5's Correction and chrony's field for transparent clocks come last, and may change on the way."""
    gate, _, cookie = bench()
    assert isinstance(gate.examine(hand_request(KEYS, cookie) + field(0x010A, bytes(24))), Authentic)


def test_version_5_fields_go_by_their_own_lengths() -> None:
    gate, one, cookie = bench()
    before = bytes([0x2B]) + REQUEST_HEAD[1:] + bytes.fromhex("f5ff 0007 61626300")
    before += field(0x0104, UNIQUE_ID) + field(0x0204, cookie) + field(0x0304, bytes(100))
    request = hand_authenticator(15, KEYS.c2s, bytes(16), b"", before)
    reply = gate.seal(examine(gate, request), bytes([0x2C]) + REPLY_HEAD[1:])

    assert reply is not None
    assert [KEYS, KEYS] == [one.open(new) for new in opened_cookies(reply, KEYS)]


def test_no_secret_is_in_a_text() -> None:
    gate, _, cookie = bench()
    text = repr(examine(gate, hand_request(KEYS, cookie)))
    assert repr(KEYS.s2c) not in text
    assert "sealed" not in text
