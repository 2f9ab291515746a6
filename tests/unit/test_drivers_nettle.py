"""AES-SIV by libnettle against that of ``cryptography``, and where it is left alone."""

from __future__ import annotations

import ctypes.util
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from timesync_drivers.nettle import LIBRARY, ROOM, TAG_SIZE, AesSiv, aes_siv

FOUND = {bits: aes_siv(bits) for bits in (128, 256)}
"""Of this machine."""


@pytest.fixture(params=[128, 256])
def bits(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    if FOUND[size] is None:
        pytest.skip(f"no {LIBRARY} here, or one without code for this processor's AES instructions")
    return size


@pytest.fixture
def siv(bits: int) -> AesSiv:
    found = FOUND[bits]
    assert found is not None
    return found


def test_it_is_found_where_the_library_is_and_the_processor_has_aes() -> None:
    if ctypes.util.find_library("nettle") != LIBRARY or "aes" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("not so here")
    assert all(FOUND.values())


def test_all_sizes_come_out_as_from_cryptography(siv: AesSiv, bits: int) -> None:
    rng = random.Random(bits)
    for size in [*range(70), 104, 1000, 2048, ROOM]:
        key, nonce = rng.randbytes(bits // 4), rng.randbytes(rng.choice([1, 12, 16, 33]))
        plaintext, associated = rng.randbytes(size), rng.randbytes(rng.randrange(300))
        sealed = AESSIV(key).encrypt(plaintext, [associated, nonce])

        assert sealed == siv.seal(siv.cipher(key), nonce, plaintext, associated)
        assert plaintext == siv.open(siv.cipher(key), nonce, sealed, associated)


def test_a_kept_key_stays_what_it_was(siv: AesSiv, bits: int) -> None:
    keys = [bytes([number]) * (bits // 4) for number in range(20)]
    ciphers = [siv.cipher(key) for key in keys]
    sealed = [siv.seal(cipher, b"nonce", bytes(number), b"") for number, cipher in enumerate(ciphers)]

    assert [AESSIV(key).encrypt(bytes(number), [b"", b"nonce"]) for number, key in enumerate(keys)] == sealed
    assert [bytes(number) for number in range(20)] == [
        siv.open(cipher, b"nonce", one, b"") for cipher, one in zip(ciphers, sealed, strict=True)
    ]
    assert all(siv.open(ciphers[number - 1], b"nonce", one, b"") is None for number, one in enumerate(sealed))


def test_what_was_changed_does_not_open(siv: AesSiv, bits: int) -> None:
    cipher = siv.cipher(bytes(range(bits // 4)))
    sealed = siv.seal(cipher, b"nonce", b"plaintext", b"associated")

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert siv.open(cipher, b"nonce", bytes(changed), b"associated") is None, place
    assert siv.open(cipher, b"nonce", sealed, b"Associated") is None
    assert siv.open(cipher, b"Nonce", sealed, b"associated") is None
    assert siv.open(cipher, b"nonce", sealed[:-1], b"associated") is None
    assert b"plaintext" == siv.open(cipher, b"nonce", sealed, b"associated")


def test_sizes_that_cannot_be_never_reach_the_library(siv: AesSiv, bits: int) -> None:
    """It would read or write beyond what there is, or end the process."""
    cipher = siv.cipher(bytes(bits // 4))
    for size in {0, 16, 32, 48, 64, 65} - {bits // 4}:
        with pytest.raises(ValueError, match=f"a key of {size} octets"):
            siv.cipher(bytes(size))
    for nonce, plaintext in ((b"", b""), (b"n", bytes(ROOM + 1))):
        with pytest.raises(ValueError, match="a nonce of"):
            siv.seal(cipher, nonce, plaintext, b"")
    long = AESSIV(bytes(bits // 4)).encrypt(bytes(ROOM + 1), [b"", b"n"])
    assert siv.open(cipher, b"n", long, b"") is None
    assert all(siv.open(cipher, b"n", bytes(size), b"") is None for size in range(TAG_SIZE))
    assert siv.open(cipher, b"", bytes(TAG_SIZE), b"") is None


@pytest.mark.parametrize("library", ["libnettle.so.no", "libc.so.6"])
def test_no_such_library_or_another_one(library: str) -> None:
    assert aes_siv(128, library) is None


@pytest.mark.parametrize("line", ["", "flags\t\t: fpu sse2 vaes avx", "Features\t: fp asimd", "model name\t: aes"])
def test_without_instructions_for_aes_it_is_left_alone(tmp_path: Path, line: str) -> None:
    """Its tables would tell of the keys by the time that it takes."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert aes_siv(128, cpuinfo=tmp_path / "cpuinfo") is None
    assert aes_siv(128, cpuinfo=tmp_path / "nothing") is None


@pytest.mark.parametrize("line", ["flags\t\t: fpu sse2 aes xsave", "Features\t: fp asimd aes"])
def test_either_architecture_s_flag_counts(bits: int, tmp_path: Path, line: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\nbugs\t\t: none\n")
    assert aes_siv(bits, cpuinfo=tmp_path / "cpuinfo") is not None
