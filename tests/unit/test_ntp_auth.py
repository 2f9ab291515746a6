"""Symmetric keys: which octets a MAC covers, how long it is, and which keys are refused."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from timesync.ntp.auth import ALGORITHMS, SECRET_SIZES, WEAK_ALGORITHMS, KeyFileError, SymmetricKey
from timesync.wire.ntp import Mac

SECRETS = {"AES128": b"k" * 16, "AES256": b"k" * 32}
V4 = bytes([0x23]) + bytes(range(47))
V3 = bytes([0x1B]) + bytes(range(47))


def key(algorithm: str) -> SymmetricKey:
    return SymmetricKey(5, algorithm, SECRETS.get(algorithm, b"a secret of 20 bytes"))


@pytest.mark.parametrize(
    ("algorithm", "in_version_4", "in_version_3"),
    [
        ("MD5", 16, 16),
        ("SHA1", 20, 20),
        ("SHA256", 20, 32),
        ("SHA384", 20, 48),
        ("SHA512", 20, 64),
        ("AES128", 16, 16),
        ("AES256", 16, 16),
    ],
)
def test_codes_are_cut_to_20_octets_in_version_4_only(algorithm: str, in_version_4: int, in_version_3: int) -> None:
    assert in_version_4 == len(key(algorithm).digest(V4))
    assert in_version_3 == len(key(algorithm).digest(V3))


@pytest.mark.parametrize("algorithm", ["MD5", "SHA1", "SHA256", "SHA384", "SHA512"])
def test_hashes_are_of_the_secret_and_then_the_packet(algorithm: str) -> None:
    """RFC 5905, appendix A.2 (md5): the digest of the key followed by the packet."""
    expected = hashlib.new(algorithm.lower(), b"a secret of 20 bytes" + V3).digest()
    assert expected == key(algorithm).digest(V3)


def test_aes_is_cmac() -> None:
    """RFC 4493, 4, example 4, whose first octet happens to read as version 5: nothing is cut."""
    message = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    secret = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert "070a16b46b4d4144f79bdd9dd04a287c" == SymmetricKey(1, "AES128", secret).digest(message).hex()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("packet", [V3, V4], ids=["v3", "v4"])
def test_what_is_signed_is_accepted_and_any_flipped_bit_is_not(algorithm: str, packet: bytes) -> None:
    mine = key(algorithm)
    signed = mine.sign(packet)
    assert packet + b"\0\0\0\5" == signed[:52]
    assert mine.accepts(signed, Mac(5, signed[52:]))
    assert not mine.accepts(signed, Mac(6, signed[52:])), "another key id"
    for position in range(len(signed)):
        if 48 <= position < 52:
            continue  # the key id, which the codec hands over in Mac
        forged = bytearray(signed)
        forged[position] ^= 0x80
        assert not mine.accepts(bytes(forged), Mac(5, bytes(forged[52:]))), position


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_shortened_code_is_not_accepted(algorithm: str) -> None:
    mine = key(algorithm)
    code = mine.digest(V3)
    assert mine.verify(V3, code)
    for size in (0, 1, len(code) - 4, len(code) - 1):
        assert not mine.verify(V3, code[:size])


def test_a_mac_needs_a_header_before_it() -> None:
    mine = key("MD5")
    assert not mine.accepts(bytes(20), Mac(5, bytes(16)))


def test_the_secret_is_in_no_repr() -> None:
    mine = key("SHA256")
    assert "secret" not in repr(mine)
    assert "20 bytes" not in repr(mine)


def test_only_old_algorithms_are_weak() -> None:
    assert {"MD5", "SHA1"} == set(WEAK_ALGORITHMS)


@pytest.mark.parametrize(
    ("key_id", "algorithm", "secret", "words"),
    [
        (0, "SHA256", b"0123456789", "not in 1 to"),
        (1 << 32, "SHA256", b"0123456789", "not in 1 to"),
        (1, "SHA3", b"0123456789", "none of AES128"),
        (1, "", b"0123456789", "none of AES128"),
        (1, "SHA256", b"123456789", "too few"),
        (1, "AES128", b"0" * 15, "needs 16 octets, not 15"),
        (1, "AES256", b"0" * 16, "needs 32 octets, not 16"),
    ],
)
def test_bad_keys_are_refused(key_id: int, algorithm: str, secret: bytes, words: str) -> None:
    with pytest.raises(KeyFileError, match=words):
        SymmetricKey(key_id, algorithm, secret)


def test_only_aes_fixes_the_size_of_its_secret() -> None:
    """FIPS 197, 1: AES-128 and AES-256 have keys of 128 and 256 bits."""
    assert {"AES128": 128 // 8, "AES256": 256 // 8} == SECRET_SIZES


def test_no_error_shows_a_secret() -> None:
    for algorithm, secret in (("SHA256", b"hush-huh"), ("hush-hush", b"SHA256"), ("AES128", b"hush-hush-hush")):
        with pytest.raises(KeyFileError) as caught:
            SymmetricKey(1, algorithm, secret)
        assert "hush" not in str(caught.value)


def test_codes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing test would be luck: instead, the comparison made for this purpose must be what decides."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    mine = key("SHA256")
    assert mine.verify(V4, b"anything")
    assert [(mine.digest(V4), b"anything")] == compared
