"""The server's side of key establishment, against requests written out from RFC 8915, section 4."""

from __future__ import annotations

import pytest
from nts_support import exporter, jar

from timesync.nts.aead import AeadId
from timesync.nts.ke_client import Agreed, KeClient, KeOffer
from timesync.nts.ke_server import KeOutcome, KeReply, KeServer, KeServerSettings
from timesync.nts.keys import SessionKeys, client_keys, export_keys
from timesync.wire.nts_ke import RecordReader
from timesync.wire.nts_ke_message import Response, parse_response

PROTOCOL, AEAD_15, AEAD_30, EOM = "8001 0002 0000", "8004 0002 000f", "8004 0002 001e", "8000 0000"
COMPLIES = "0400 0000"
JAR = jar()
PLAIN = KeServerSettings()
POOL = KeServerSettings(pool_tokens=frozenset({b"known", b"other"}))
TOKEN = "000e 0005 6b6e6f776e"
FIXED = "800c 0020" + "11" * 16 + "22" * 16


def serve(text: str, settings: KeServerSettings = PLAIN) -> KeReply:
    reply = KeServer(settings, JAR.make).feed(bytes.fromhex(text + EOM), exporter)
    assert reply is not None
    return reply


def told(reply: KeReply) -> Response:
    records = RecordReader().feed(reply.data)
    assert records is not None
    return parse_response(records)


def test_eight_cookies_with_the_keys_of_this_connection() -> None:
    reply = serve(PROTOCOL + AEAD_15)
    response, keys = told(reply), export_keys(exporter, 0, AeadId.AES_SIV_CMAC_256)

    assert (KeOutcome.ESTABLISHED, 0, AeadId.AES_SIV_CMAC_256, False) == (
        reply.outcome,
        reply.protocol,
        reply.aead,
        reply.keep_open,
    )
    assert ((0,), (15,), None, None) == (response.protocols, response.algorithms, response.server, response.port)
    assert 8 == len(set(response.cookies))
    assert all(keys == JAR.open(cookie) for cookie in response.cookies)
    assert not response.compliant_128gcm


def test_the_octets_before_the_cookies() -> None:
    settings = KeServerSettings(server="a.b", port=8080)
    data = serve(PROTOCOL + AEAD_30 + COMPLIES, settings).data
    head = PROTOCOL + AEAD_30 + COMPLIES + "8006 0003 612e62" + "8007 0002 1f90" + "0005 0044"
    assert bytes.fromhex(head) == data[: len(bytes.fromhex(head))]
    assert bytes.fromhex(EOM) == data[-4:]


def test_our_preference_decides_and_not_the_client() -> None:
    first_15 = KeServerSettings(aeads=(AeadId.AES_SIV_CMAC_256, AeadId.AES_128_GCM_SIV))
    both = PROTOCOL + "8004 0006 0011 000f 001e"
    assert AeadId.AES_128_GCM_SIV is serve(both).aead
    assert AeadId.AES_SIV_CMAC_256 is serve(both, first_15).aead


def test_of_two_protocols_ours_is_the_better() -> None:
    settings = KeServerSettings(protocols=(0x8001, 0))
    reply = serve("8001 0004 0000 8001" + AEAD_15, settings)
    assert 0x8001 == reply.protocol
    assert all(export_keys(exporter, 0x8001, AeadId.AES_SIV_CMAC_256) == JAR.open(one) for one in told(reply).cookies)


@pytest.mark.parametrize("complies", ["", COMPLIES])
def test_keys_for_gcm_siv_are_those_that_the_client_exports(complies: str) -> None:
    response = told(serve(PROTOCOL + AEAD_30 + complies))
    first = client_keys(exporter, 0, AeadId.AES_128_GCM_SIV, server_complies=response.compliant_128gcm)[0]
    assert bool(complies) is response.compliant_128gcm
    assert all(first == JAR.open(cookie) for cookie in response.cookies)


def test_record_1024_is_not_echoed_for_another_aead() -> None:
    assert not told(serve(PROTOCOL + AEAD_15 + COMPLIES)).compliant_128gcm


def test_without_a_common_protocol_the_list_is_empty() -> None:
    reply = serve("8001 0002 8001" + AEAD_15)
    assert bytes.fromhex("8001 0000" + EOM) == reply.data
    assert KeOutcome.NO_PROTOCOL is reply.outcome


def test_without_a_common_aead_that_list_is_empty() -> None:
    reply = serve(PROTOCOL + "8004 0002 0001")
    assert bytes.fromhex(PROTOCOL + "8004 0000" + EOM) == reply.data
    assert KeOutcome.NO_AEAD is reply.outcome


@pytest.mark.parametrize(
    ("text", "outcome", "code"),
    [
        ("", KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL, KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + PROTOCOL + AEAD_15, KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + AEAD_15 + AEAD_15, KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + AEAD_15 + "0005 0004 00000000", KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + AEAD_15 + "8002 0002 0000", KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + AEAD_15 + "8003 0002 0000", KeOutcome.BAD_REQUEST, 1),
        (PROTOCOL + AEAD_15 + "b000 0000", KeOutcome.UNRECOGNIZED, 0),
        (PROTOCOL + AEAD_15 + FIXED, KeOutcome.UNRECOGNIZED, 0),
    ],
)
def test_refusals_are_an_error_record_and_the_end(text: str, outcome: KeOutcome, code: int) -> None:
    reply = serve(text)
    assert outcome is reply.outcome
    assert bytes.fromhex(f"8002 0002 {code:04x}" + EOM) == reply.data


def test_a_request_may_come_octet_by_octet() -> None:
    server, whole = KeServer(PLAIN, JAR.make), bytes.fromhex(PROTOCOL + AEAD_15 + EOM)
    assert [None] * (len(whole) - 1) == [server.feed(bytes([octet]), exporter) for octet in whole[:-1]]
    assert server.feed(whole[-1:], exporter) is not None


def test_a_request_of_one_megabyte_is_answered_with_an_error_at_4_kib() -> None:
    server, piece, fed = KeServer(PLAIN, JAR.make), bytes.fromhex("7000 00fc") + bytes(252), 0
    reply = None
    while reply is None:
        fed += len(piece)
        reply = server.feed(piece, exporter)
    assert KeOutcome.BAD_REQUEST is reply.outcome
    assert 4096 < fed <= 4096 + len(piece)


def test_no_key_is_exported_and_no_cookie_made_before_all_is_agreed() -> None:
    def never(label: bytes, length: int, context: bytes, /) -> bytes:
        raise AssertionError("exported")

    def no_cookie(keys: SessionKeys) -> bytes:
        raise AssertionError("made")

    for text in ("", "8001 0002 8001" + AEAD_15, PROTOCOL + "8004 0002 0001"):
        assert KeServer(PLAIN, no_cookie).feed(bytes.fromhex(text + EOM), never) is not None


@pytest.mark.parametrize("aead", [AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512, AeadId.AES_128_GCM_SIV])
def test_client_and_server_of_ours_agree(aead: AeadId) -> None:
    client = KeClient(KeOffer(aeads=(aead,)))
    reply = KeServer(PLAIN, JAR.make).feed(client.request(), exporter)
    assert reply is not None
    agreed = client.feed(reply.data, exporter)
    assert isinstance(agreed, Agreed)
    assert [agreed.keys[0]] * 8 == [JAR.open(cookie) for cookie in agreed.cookies]
    assert 1 == len(agreed.keys)


# -- pools


def test_a_pool_is_told_what_is_spoken() -> None:
    reply = serve(TOKEN + "8009 0000 800a 0000", POOL)
    assert bytes.fromhex("8009 0002 0000 800a 000c 001e 0010 000f 0020 0011 0040" + EOM) == reply.data
    assert KeOutcome.SUPPORTED is reply.outcome


def test_a_pool_gets_cookies_for_the_keys_of_its_client() -> None:
    reply = serve(PROTOCOL + AEAD_30 + TOKEN + FIXED, POOL)
    keys = SessionKeys(AeadId.AES_128_GCM_SIV, b"\x11" * 16, b"\x22" * 16)
    assert [keys] * 8 == [JAR.open(cookie) for cookie in told(reply).cookies]


@pytest.mark.parametrize("token", ["", "000e 0005 6b6e6f776f", "000e 0000", TOKEN + TOKEN])
@pytest.mark.parametrize("ask", ["8009 0000", PROTOCOL + AEAD_30 + FIXED])
def test_a_pool_without_a_known_token_gets_nothing(token: str, ask: str) -> None:
    assert KeOutcome.BAD_REQUEST is serve(ask + token, POOL).outcome


@pytest.mark.parametrize(
    "ask",
    [
        PROTOCOL + AEAD_15 + FIXED,
        PROTOCOL + "8004 0004 001e 000f" + FIXED,
        "8001 0004 0000 8001" + AEAD_30 + FIXED,
        PROTOCOL + AEAD_30 + FIXED + "8009 0000",
    ],
)
def test_fixed_keys_are_for_one_protocol_and_an_aead_of_their_size(ask: str) -> None:
    assert KeOutcome.BAD_REQUEST is serve(TOKEN + ask, POOL).outcome


def test_a_pool_may_ask_again_on_the_same_connection() -> None:
    server = KeServer(POOL, JAR.make)
    for _ in range(3):
        reply = server.feed(bytes.fromhex(TOKEN + PROTOCOL + AEAD_30 + FIXED + "0008 0000" + EOM), exporter)
        assert reply is not None
        assert reply.keep_open
        assert told(reply).keep_alive
        assert KeOutcome.ESTABLISHED is reply.outcome


def test_an_ordinary_client_may_not_keep_its_connection() -> None:
    for settings in (PLAIN, POOL):
        reply = serve(PROTOCOL + AEAD_30 + "0008 0000", settings)
        assert KeOutcome.ESTABLISHED is reply.outcome
        assert not reply.keep_open
        assert not told(reply).keep_alive


def test_no_token_is_in_a_text() -> None:
    assert "known" not in repr(POOL)
