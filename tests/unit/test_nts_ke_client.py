"""The client's side of key establishment, against responses written out from RFC 8915, section 4."""

from __future__ import annotations

import pytest
from nts_support import exporter

from timesync.nts.aead import AeadId
from timesync.nts.ke_client import Agreed, KeClient, KeFault, KeOffer, KeRefused
from timesync.nts.keys import export_keys
from timesync.wire.nts_ke import NextProtocol

PROTOCOL, AEAD_15, AEAD_30, EOM = "8001 0002 0000", "8004 0002 000f", "8004 0002 001e", "8000 0000"
COOKIE = "0005 0004 01020304"
BOTH = KeOffer()
ONLY_15 = KeOffer(aeads=(AeadId.AES_SIV_CMAC_256,))


def answer(text: str, offer: KeOffer = BOTH) -> Agreed | KeRefused:
    result = KeClient(offer).feed(bytes.fromhex(text + EOM), exporter)
    assert result is not None
    return result


def fault(text: str, offer: KeOffer = BOTH) -> KeFault:
    result = answer(text, offer)
    assert isinstance(result, KeRefused), result
    assert result.text.endswith(".")
    return result.fault


def cookie(size: int, fill: int = 7) -> str:
    return f"0005 {size:04x}" + f"{fill:02x}" * size


def test_the_request_offers_the_short_cookies_first_and_says_that_we_comply() -> None:
    assert bytes.fromhex(PROTOCOL + "8004 0004 001e 000f" + "0400 0000" + EOM) == KeClient(BOTH).request()
    assert bytes.fromhex(PROTOCOL + AEAD_15 + EOM) == KeClient(ONLY_15).request()


def test_the_request_says_what_is_wished_for() -> None:
    offer = KeOffer(
        protocols=(NextProtocol.NTPV5_DRAFT, NextProtocol.NTPV4),
        aeads=(AeadId.AES_SIV_CMAC_256,),
        server="a.b",
        port=123,
        denied=("x",),
    )
    expected = "8001 0004 8001 0000" + AEAD_15 + "0006 0003 612e62" + "0007 0002 007b" + "000d 0001 78" + EOM
    assert bytes.fromhex(expected) == KeClient(offer).request()


def test_keys_and_cookies_are_agreed_upon() -> None:
    cookies = [cookie(100, fill) for fill in range(8)]
    result = answer(PROTOCOL + AEAD_15 + "".join(cookies))

    expected = Agreed(
        protocol=0,
        keys=(export_keys(exporter, 0, AeadId.AES_SIV_CMAC_256),),
        cookies=tuple(bytes([fill]) * 100 for fill in range(8)),
    )
    assert expected == result


def test_the_server_may_send_the_client_elsewhere() -> None:
    result = answer(PROTOCOL + AEAD_15 + "8006 0009 3139322e302e322e31" + "8007 0002 1f90" + COOKIE)
    assert isinstance(result, Agreed)
    assert ("192.0.2.1", 8080) == (result.server, result.port)


def test_a_server_that_says_it_complies_leaves_one_pair_of_keys() -> None:
    complying, silent = answer(PROTOCOL + AEAD_30 + "0400 0000" + COOKIE), answer(PROTOCOL + AEAD_30 + COOKIE)
    assert isinstance(complying, Agreed)
    assert isinstance(silent, Agreed)
    assert 1 == len(complying.keys)
    assert 2 == len(silent.keys)
    assert complying.keys[0] == silent.keys[1]


def test_the_response_may_come_octet_by_octet() -> None:
    client, whole = KeClient(BOTH), bytes.fromhex(PROTOCOL + AEAD_15 + cookie(100) + EOM)
    assert [None] * (len(whole) - 1) == [client.feed(bytes([octet]), exporter) for octet in whole[:-1]]
    assert isinstance(client.feed(whole[-1:], exporter), Agreed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8002 0002 0000", KeFault.SERVER_ERROR),
        (PROTOCOL + AEAD_15 + COOKIE + "8002 0002 0002", KeFault.SERVER_ERROR),
        (PROTOCOL + AEAD_15 + COOKIE + "8002 0002 7777", KeFault.SERVER_ERROR),
        (PROTOCOL + AEAD_15 + COOKIE + "8003 0002 0000", KeFault.SERVER_WARNING),
        ("", KeFault.NO_PROTOCOL),
        ("8001 0000", KeFault.NO_PROTOCOL),
        (AEAD_15 + COOKIE, KeFault.NO_PROTOCOL),
        ("8001 0002 8001" + AEAD_15 + COOKIE, KeFault.NOT_OFFERED),
        ("8001 0004 0000 0000" + AEAD_15 + COOKIE, KeFault.NOT_OFFERED),
        (PROTOCOL, KeFault.NO_AEAD),
        (PROTOCOL + "8004 0000", KeFault.NO_AEAD),
        (PROTOCOL + "8004 0002 0011" + COOKIE, KeFault.NOT_OFFERED),
        (PROTOCOL + "8004 0004 001e 000f" + COOKIE, KeFault.NOT_OFFERED),
        (PROTOCOL + AEAD_15, KeFault.NO_COOKIES),
        (PROTOCOL + AEAD_15 + "0005 0000", KeFault.NO_COOKIES),
        (PROTOCOL + AEAD_15 + cookie(257), KeFault.NO_COOKIES),
        (PROTOCOL + AEAD_15 + cookie(255), KeFault.NO_COOKIES),
        (PROTOCOL + AEAD_15 + cookie(16_000), KeFault.NO_COOKIES),
        (PROTOCOL + AEAD_15 + cookie(16_384), KeFault.FORMAT),
        (PROTOCOL + AEAD_15 + COOKIE + "8007 0002 0000", KeFault.FORMAT),
        (PROTOCOL + AEAD_15 + COOKIE + "8007 0001 7b", KeFault.FORMAT),
        (PROTOCOL + AEAD_15 + COOKIE + "8006 0000", KeFault.FORMAT),
        (PROTOCOL + AEAD_15 + COOKIE + "b000 0000", KeFault.FORMAT),
        (PROTOCOL + PROTOCOL + AEAD_15 + COOKIE, KeFault.FORMAT),
        (PROTOCOL + AEAD_15 + AEAD_15 + COOKIE, KeFault.FORMAT),
        ("0001 0002 0000" + AEAD_15 + COOKIE, KeFault.FORMAT),
    ],
)
def test_every_other_response_ends_with_its_reason(text: str, expected: KeFault) -> None:
    assert expected == fault(text)


def test_an_aead_of_ours_that_was_not_offered_is_refused() -> None:
    assert KeFault.NOT_OFFERED == fault(PROTOCOL + AEAD_30 + COOKIE, ONLY_15)


def test_usable_cookies_are_kept_and_the_others_counted() -> None:
    text = "0005 0000" + cookie(257) + cookie(7) + "".join(cookie(4, fill) for fill in range(10))
    result = answer(PROTOCOL + AEAD_15 + text)
    assert isinstance(result, Agreed)
    assert tuple(bytes([fill]) * 4 for fill in range(8)) == result.cookies
    assert 5 == result.unusable


def test_a_response_of_one_megabyte_is_refused_long_before_its_end() -> None:
    client, fed, result = KeClient(BOTH), 0, None
    piece = bytes.fromhex(cookie(1000))
    client.feed(bytes.fromhex(PROTOCOL + AEAD_15), exporter)
    while result is None:
        fed += len(piece)
        result = client.feed(piece, exporter)
    assert isinstance(result, KeRefused)
    assert KeFault.FORMAT == result.fault
    assert fed < 18_000


def test_an_end_before_the_end_is_a_fault_of_its_own() -> None:
    client = KeClient(BOTH)
    assert client.feed(bytes.fromhex(PROTOCOL + AEAD_15 + COOKIE), exporter) is None
    assert KeFault.CUT == client.ended().fault


def test_no_key_is_exported_for_a_response_that_is_refused() -> None:
    def never(label: bytes, length: int, context: bytes, /) -> bytes:
        raise AssertionError("exported")

    for text in ("8002 0002 0000", PROTOCOL + AEAD_15, PROTOCOL + "8004 0002 0011" + COOKIE):
        assert isinstance(KeClient(BOTH).feed(bytes.fromhex(text + EOM), never), KeRefused)


def test_an_error_is_told_in_words() -> None:
    result = answer("8002 0002 0001")
    assert isinstance(result, KeRefused)
    assert "error 1 (bad request)" in result.text
