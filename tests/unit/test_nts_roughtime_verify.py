"""Which Roughtime responses are believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from roughtime_support import DRAFT, TestAuthority, message, words
from roughtime_vectors import MIDPOINT_S, PUBLIC_KEY, REQUEST, RESPONSE

from timesync.nts.roughtime_verify import RoughtimeError, RoughtimeFault, verify
from timesync.wire.roughtime import decode_packet, encode_packet, encode_request

OURS = encode_request(bytes(range(32)), TestAuthority().public_key)
THREE = tuple(bytes([place]) * 1036 for place in range(3))


def test_a_response_of_another_implementation_is_believed() -> None:
    time = verify(REQUEST, RESPONSE, PUBLIC_KEY)
    assert (MIDPOINT_S, 5) == (time.midpoint_s, time.radius_s)


def test_no_bit_of_it_can_be_changed() -> None:
    for place in range(len(RESPONSE)):
        spoilt = bytearray(RESPONSE)
        spoilt[place] ^= 1
        with pytest.raises(RoughtimeError):
            verify(REQUEST, bytes(spoilt), PUBLIC_KEY)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("version", [1, DRAFT])
def test_our_place_in_the_tree_is_found(index: int, version: int) -> None:
    authority = TestAuthority(others=THREE, index=index, version=version)
    assert authority.midpoint_s == verify(OURS, authority.answer(OURS), authority.public_key).midpoint_s


def test_the_old_order_of_the_tree_is_of_the_drafts_only() -> None:
    old = TestAuthority(others=THREE, index=2, version=DRAFT, sibling_first=True)
    assert old.midpoint_s == verify(OURS, old.answer(OURS), old.public_key).midpoint_s
    with pytest.raises(RoughtimeError) as caught:
        verify(OURS, replace(old, version=1).answer(OURS), old.public_key)
    assert RoughtimeFault.TREE is caught.value.fault


def test_version_1_is_spelt_as_in_the_rfc_or_as_in_its_example_and_the_drafts() -> None:
    for spelling in (b"Roughtime", b"RoughTime"):
        authority = TestAuthority(spelling=spelling)
        assert authority.midpoint_s == verify(OURS, authority.answer(OURS), authority.public_key).midpoint_s
    for version, spelling in ((1, b"ROUGHTIME"), (DRAFT, b"Roughtime")):
        other = TestAuthority(version=version, spelling=spelling)
        with pytest.raises(RoughtimeError) as caught:
            verify(OURS, other.answer(OURS), other.public_key)
        assert RoughtimeFault.DELEGATION is caught.value.fault


def _of_another_key(authority: TestAuthority) -> bytes:
    return TestAuthority(seed=2).answer(OURS)


def _of_another_request(authority: TestAuthority) -> bytes:
    values = decode_packet(authority.answer(encode_request(bytes(32), authority.public_key)))
    return encode_packet(values | {"NONC": bytes(range(32))})


def _replayed(authority: TestAuthority) -> bytes:
    return authority.answer(encode_request(bytes(32), authority.public_key))


def _signed_by_long_term_key(authority: TestAuthority) -> bytes:
    authority.online = authority.long_term
    answer = decode_packet(authority.answer(OURS))
    return encode_packet(answer | {"CERT": decode_packet(TestAuthority().answer(OURS))["CERT"]})


def _with_a_key_that_is_none(authority: TestAuthority) -> bytes:
    dele = message({"PUBK": bytes(32), "MINT": bytes(8), "MAXT": b"\xff" * 8})
    signature = authority.long_term.sign(b"RoughTime v1 delegation signature\0" + dele)
    return encode_packet(decode_packet(authority.answer(OURS)) | {"CERT": message({"DELE": dele, "SIG": signature})})


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda _: b"rubbish", RoughtimeFault.FORM),
        (lambda _: encode_packet({"VER": bytes(4)}), RoughtimeFault.FORM),
        (_replayed, RoughtimeFault.NONCE),
        (_of_another_request, RoughtimeFault.TREE),
        (_of_another_key, RoughtimeFault.DELEGATION),
        (_signed_by_long_term_key, RoughtimeFault.SIGNATURE),
        (_with_a_key_that_is_none, RoughtimeFault.SIGNATURE),
        (lambda one: replace(one, period=(one.midpoint_s + 1, 2**40)).answer(OURS), RoughtimeFault.PERIOD),
        (lambda one: replace(one, period=(0, one.midpoint_s - 1)).answer(OURS), RoughtimeFault.PERIOD),
        (lambda one: replace(one, spoil={"INDX": words(1)}).answer(OURS), RoughtimeFault.TREE),
        (lambda one: replace(one, spoil={"PATH": bytes(32)}).answer(OURS), RoughtimeFault.TREE),
    ],
)
def test_what_is_not_believed(make: Callable[[TestAuthority], bytes], fault: RoughtimeFault) -> None:
    authority = TestAuthority()
    with pytest.raises(RoughtimeError) as caught:
        verify(OURS, make(authority), authority.public_key)
    assert fault is caught.value.fault


def test_the_ends_of_the_period_belong_to_it() -> None:
    exact = TestAuthority(period=(1_750_000_000, 1_750_000_000))
    assert 1_750_000_000 == verify(OURS, exact.answer(OURS), exact.public_key).midpoint_s


def test_a_version_that_was_not_asked_for() -> None:
    request = encode_request(bytes(32), versions=(1,))
    authority = TestAuthority(version=DRAFT)
    with pytest.raises(RoughtimeError) as caught:
        verify(request, authority.answer(request), authority.public_key)
    assert RoughtimeFault.VERSION is caught.value.fault


def test_our_own_mistakes_are_not_the_servers() -> None:
    with pytest.raises(ValueError, match="too short"):
        verify(b"", RESPONSE, PUBLIC_KEY)
    with pytest.raises(ValueError, match="32"):
        verify(REQUEST, RESPONSE, b"short")
