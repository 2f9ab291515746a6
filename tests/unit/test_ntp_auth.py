"""Symmetric keys: which octets a MAC covers, how long it is, and what a key file may say."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from timesync.ntp.auth import ALGORITHMS, KeyFileError, KeyTable, SymmetricKey
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
    assert "20 bytes" not in repr(KeyTable({5: mine}))


def test_only_old_algorithms_are_weak() -> None:
    assert {"MD5", "SHA1"} == {name for name in ALGORITHMS if key(name).weak}


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


def test_a_key_file_as_chrony_writes_it() -> None:
    table = KeyTable.parse(
        "# comment\n"
        "\n"
        "1 MD5 ASCII:an-old-secret\n"
        "20 SHA1 HEX:000102030405060708090A0B0C0D0E0F\n"
        "  25   sha256   plain-ascii-text  \n"
        "30 AES128 HEX:2b7e151628aed2a6abf7158809cf4f3c\n"
        "! another comment\n"
    )
    assert [1, 20, 25, 30] == list(table)
    assert b"an-old-secret" == table[1].secret
    assert bytes(range(16)) == table[20].secret
    assert ("SHA256", b"plain-ascii-text") == (table[25].algorithm, table[25].secret)
    assert 4 == len(table)
    assert 2 not in table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 MD5", r"line 1: .*three words, not 2"),
        ("\n1 0123456789 ", r"line 2: .*three words"),
        ("1 MD5 0123456789 more", r"three words, not 4"),
        ("one MD5 0123456789", "not a number"),
        ("-1 MD5 0123456789", "not a number"),
        ("\u0661 MD5 0123456789", "not a number"),
        ("9" * 5000 + " MD5 0123456789", "not in 1 to"),
        ("0 MD5 0123456789", "not in 1 to"),
        ("1 ROT13 0123456789", "none of"),
        ("1 MD5 HEX:0", "pairs of hexadecimal digits"),
        ("1 MD5 HEX:xx", "pairs of hexadecimal digits"),
        ("1 MD5 secr\u00e9t-secret", "not ASCII"),
        ("1 MD5 0123456789\n1 MD5 0123456789", "line 2: key 1 is there twice"),
    ],
)
def test_a_bad_key_file_names_its_line(text: str, words: str) -> None:
    with pytest.raises(KeyFileError, match=words):
        KeyTable.parse(text)


def test_no_error_shows_a_secret() -> None:
    too_short, not_hex = "1 SHA256 hush-huh", "1 SHA256 HEX:feedfeedz"
    swapped, unknown, no_id = "1 hush-hush SHA256", "1 FOO hush-hush", "x SHA256 hush-hush"
    for text in (too_short, not_hex, swapped, unknown, no_id):
        with pytest.raises(KeyFileError) as caught:
            KeyTable.parse(text)
        assert "hush" not in str(caught.value)
        assert "feed" not in str(caught.value)


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
