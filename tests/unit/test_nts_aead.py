"""AEADs against the vectors of RFC 5297, appendix A, and RFC 8452, appendix C."""

from __future__ import annotations

from functools import partial

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from timesync.nts.aead import (
    FAMILIES,
    AeadId,
    families_with,
    is_siv,
    key_size,
    make_aead,
    nonce_size,
    padded_nonce_size,
    supported,
)
from timesync.nts.cmac import aes_cmac
from timesync.nts.ke_client import DEFAULT_AEADS

# -- RFC 5297, written out from its section 2, as a second opinion in the form that NTS uses


def double(block: bytes) -> bytes:
    value = int.from_bytes(block, "big") << 1
    return ((value & (1 << 128) - 1) ^ (0x87 if value >> 128 else 0)).to_bytes(16, "big")


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def siv_encrypt(key: bytes, strings: list[bytes], plaintext: bytes) -> bytes:
    """RFC 5297, 2.4 and 2.6; only for keys whose halves our CMAC takes."""
    mac, counter = key[: len(key) // 2], key[len(key) // 2 :]
    d = aes_cmac(mac, bytes(16))
    for string in strings:
        d = xor(double(d), aes_cmac(mac, string))
    if len(plaintext) >= 16:
        last = plaintext[:-16] + xor(plaintext[-16:], d)
    else:
        last = xor(double(d), (plaintext + b"\x80").ljust(16, b"\0"))
    v = aes_cmac(mac, last)
    q = int.from_bytes(v, "big") & ~(1 << 63 | 1 << 31)
    return v + Cipher(AES(counter), CTR(q.to_bytes(16, "big"))).encryptor().update(plaintext)


A1 = (
    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
    ["101112131415161718191a1b1c1d1e1f2021222324252627"],
    "112233445566778899aabbccddee",
    "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
)
A2 = (
    "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
    [
        "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
        "102030405060708090a0",
        "09f911029d74e35bd84156c5635688c0",
    ],
    "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
    (
        "7bdb6e3b432667eb06f4d14bff2fbd0f"
        "cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d"
    ),
)


@pytest.mark.parametrize(("key", "strings", "plaintext", "sealed"), [A1, A2])
def test_the_second_opinion_is_that_of_rfc_5297(key: str, strings: list[str], plaintext: str, sealed: str) -> None:
    made = siv_encrypt(bytes.fromhex(key), [bytes.fromhex(one) for one in strings], bytes.fromhex(plaintext))
    assert sealed == made.hex()


@pytest.mark.parametrize("aead", [AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512])
@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(15), bytes(16), bytes(range(104))])
@pytest.mark.parametrize("nonce", [b"n", bytes(12), bytes(range(16)), bytes(33)])
def test_siv_takes_the_packet_and_then_the_nonce(aead: AeadId, plaintext: bytes, nonce: bytes) -> None:
    key, associated = bytes(range(key_size(aead))), b"header and fields"
    sealed = make_aead(aead, key).seal(nonce, plaintext, associated)

    assert siv_encrypt(key, [associated, nonce], plaintext) == sealed
    assert plaintext == make_aead(aead, key).open(nonce, sealed, associated)


def test_siv_384_is_its_own_and_opens_what_it_sealed() -> None:
    key = bytes(range(48))
    sealed = make_aead(AeadId.AES_SIV_CMAC_384, key).seal(bytes(16), b"text", b"associated")
    assert b"text" == make_aead(AeadId.AES_SIV_CMAC_384, key).open(bytes(16), sealed, b"associated")
    assert 16 + 4 == len(sealed)


ZERO_ONE, NONCE = "01" + "00" * 15, "03" + "00" * 11
GCM_SIV_128 = [
    (ZERO_ONE, NONCE, "", "", "dc20e2d83f25705bb49e439eca56de25"),
    (ZERO_ONE, NONCE, "0100000000000000", "", "b5d839330ac7b786578782fff6013b815b287c22493a364c"),
    (ZERO_ONE, NONCE, "0200000000000000", "01", "1e6daba35669f4273b0a1a2560969cdf790d99759abd1508"),
    (
        ZERO_ONE,
        NONCE,
        "01" + "00" * 15 + "02" + "00" * 15,
        "",
        "84e07e62ba83a6585417245d7ec413a9fe427d6315c09b57ce45f2e3936a94451a8e45dcd4578c667cd86847bf6155ff",
    ),
]


@pytest.mark.parametrize(("key", "nonce", "plaintext", "associated", "sealed"), GCM_SIV_128)
def test_gcm_siv_by_rfc_8452_appendix_c_1(key: str, nonce: str, plaintext: str, associated: str, sealed: str) -> None:
    aead = make_aead(AeadId.AES_128_GCM_SIV, bytes.fromhex(key))
    arguments = bytes.fromhex(nonce), bytes.fromhex(plaintext), bytes.fromhex(associated)

    assert sealed == aead.seal(*arguments).hex()
    assert arguments[1] == aead.open(arguments[0], bytes.fromhex(sealed), arguments[2])


def test_gcm_siv_256_by_rfc_8452_appendix_c_2() -> None:
    aead = make_aead(AeadId.AES_256_GCM_SIV, bytes.fromhex("01" + "00" * 31))
    assert "07f5f4169bbf55a8400cd47ea6fd400f" == aead.seal(bytes.fromhex(NONCE), b"", b"").hex()


@pytest.mark.parametrize("aead", list(AeadId))
def test_what_was_changed_does_not_open(aead: AeadId) -> None:
    key = bytes(range(key_size(aead)))
    cipher, nonce = make_aead(aead, key), bytes(range(nonce_size(aead)))
    sealed = cipher.seal(nonce, b"plaintext", b"associated")
    flipped = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]

    assert b"plaintext" == cipher.open(nonce, sealed, b"associated")
    assert all(cipher.open(nonce, one, b"associated") is None for one in flipped)
    assert cipher.open(nonce, sealed, b"Associated") is None
    assert cipher.open(bytes(len(nonce)), sealed, b"associated") is None
    assert make_aead(aead, bytes(len(key))).open(nonce, sealed, b"associated") is None


@pytest.mark.parametrize("aead", list(AeadId))
@pytest.mark.parametrize("size", range(16))
def test_less_than_a_tag_does_not_open(aead: AeadId, size: int) -> None:
    assert make_aead(aead, bytes(key_size(aead))).open(bytes(nonce_size(aead)), bytes(size), b"") is None


def test_nonces_that_cannot_be_open_nothing() -> None:
    gcm, siv = make_aead(AeadId.AES_128_GCM_SIV, bytes(16)), make_aead(AeadId.AES_SIV_CMAC_256, bytes(range(32)))
    assert all(gcm.open(bytes(size), bytes(16), b"") is None for size in (0, 1, 11, 13, 16, 2000))
    assert siv.open(b"", siv_encrypt(bytes(range(32)), [b"", b""], b""), b"") is None


def test_sizes_are_those_of_the_rfcs() -> None:
    assert {15: 32, 16: 48, 17: 64, 30: 16, 31: 32} == {int(aead): key_size(aead) for aead in AeadId}
    assert {15: 16, 16: 16, 17: 16, 30: 12, 31: 12} == {int(aead): padded_nonce_size(aead) for aead in AeadId}


@pytest.mark.parametrize("aead", list(AeadId))
def test_keys_of_another_size_are_refused(aead: AeadId) -> None:
    for size in {0, 16, 32, 48, 64, 65} - {key_size(aead)}:
        with pytest.raises(ValueError, match=f"not {size}"):
            make_aead(aead, bytes(size))


def test_an_aead_that_the_openssl_underneath_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(AeadId) == supported(*AeadId)
    assert DEFAULT_AEADS == (AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256)

    def lacking(key: bytes) -> None:
        raise UnsupportedAlgorithm(f"not with {len(key)} octets")

    old = {one: family if is_siv(one) else family._replace(cipher=lacking) for one, family in FAMILIES.items()}
    monkeypatch.setattr("timesync.nts.aead.FAMILIES", old)
    assert (AeadId.AES_SIV_CMAC_256,) == supported(*DEFAULT_AEADS)


# -- other libraries


@pytest.mark.parametrize("aead", list(AeadId))
def test_another_library_that_does_the_same_is_taken(aead: AeadId) -> None:
    same = FAMILIES[aead]._replace(cipher=partial(FAMILIES[aead].cipher))
    assert {**FAMILIES, aead: same} == families_with({aead: same})


def test_another_library_that_does_anything_else_is_not_taken() -> None:
    aead = AeadId.AES_SIV_CMAC_256
    usual = FAMILIES[aead]
    for other in (
        usual._replace(cipher=lambda key: usual.cipher(key[::-1])),
        usual._replace(
            seal=lambda cipher, nonce, plaintext, associated: usual.seal(cipher, associated, plaintext, nonce)
        ),
        usual._replace(seal=lambda cipher, nonce, plaintext, _: usual.seal(cipher, nonce, plaintext, b"")),
        usual._replace(open=lambda *_: None),
        usual._replace(
            open=lambda cipher, nonce, sealed, associated: usual.open(cipher, nonce, sealed, associated) or b""
        ),
        usual._replace(open=lambda *given: (usual.open(*given) or b"")[:16] or usual.open(*given)),
    ):
        assert families_with({aead: other}) == FAMILIES


def test_one_library_that_is_not_taken_keeps_no_other_from_it() -> None:
    usual, other = FAMILIES[AeadId.AES_SIV_CMAC_256], FAMILIES[AeadId.AES_SIV_CMAC_512]
    same, wrong = usual._replace(cipher=partial(usual.cipher)), other._replace(open=lambda *_: None)
    made = families_with({AeadId.AES_SIV_CMAC_256: same, AeadId.AES_SIV_CMAC_512: wrong})

    assert made == {**FAMILIES, AeadId.AES_SIV_CMAC_256: same}
