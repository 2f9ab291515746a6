"""AES-SIV (RFC 5297) by libnettle, the library that chronyd has its NTS from.

A new key and its one use cost half of what they do in ``cryptography``, which makes several objects of OpenSSL for each
key: that counts where every packet has a key of its own. libnettle is taken only where it has code for the processor's
AES instructions: without them it looks AES up in tables, in a time that tells of the key, and OpenSSL does not.

ctypes checks nothing, so the sizes are checked here.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any, Final

LIBRARY: Final = "libnettle.so.8"
"""By its number: with another one, functions and contexts may be others."""

ROOM: Final = 4096
"""Octets of plaintext or ciphertext at once: more than any packet of NTP has."""

TAG_SIZE: Final = 16

_CONTEXT_SIZES: Final = {128: 384, 256: 512}
"""By the bits of AES: of ``struct siv_cmac_aesN_ctx``, two subkeys of CMAC and the rounds of two keys."""

_IN_HARDWARE: Final = ("_nettle_aes{}_encrypt_aesni", "_nettle_aes{}_encrypt_arm64")
"""Functions inside a libnettle that chooses by the processor: on x86-64, on ARM."""

_FLAG: Final = re.compile(r"^(?:flags|Features)\s*:.*\baes\b", re.MULTILINE)
_CPUINFO: Final = Path("/proc/cpuinfo")


class AesSiv:
    """AES-SIV with keys of one size, associated data and a nonce.

    For one thread: what comes out of libnettle passes through memory that all calls share.
    """

    __slots__ = ("_at", "_context", "_decrypt", "_encrypt", "_key_size", "_out", "_set_key")

    def __init__(self, library: ctypes.CDLL, bits: int) -> None:
        """``bits`` of each of the two AES keys: 128 or 256. Raises AttributeError when the library has not got it."""
        name = f"nettle_siv_cmac_aes{bits}"
        self._set_key = library[f"{name}_set_key"]
        self._set_key.argtypes, self._set_key.restype = (ctypes.c_void_p, ctypes.c_char_p), None
        self._encrypt, self._decrypt = library[f"{name}_encrypt_message"], library[f"{name}_decrypt_message"]
        text = ctypes.c_size_t, ctypes.c_char_p
        # Context, nonce, associated data, size of what comes out and where it goes, and what goes in.
        arguments = (ctypes.c_void_p, *text, *text, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p)
        self._encrypt.argtypes, self._encrypt.restype = arguments, None
        self._decrypt.argtypes, self._decrypt.restype = arguments, ctypes.c_int
        self._key_size = bits // 4
        self._context = ctypes.c_char * _CONTEXT_SIZES[bits]
        self._out: Any = ctypes.create_string_buffer(ROOM + TAG_SIZE)
        self._at = ctypes.addressof(self._out)

    def cipher(self, key: bytes) -> Any:
        """A key, ready for use. Raises ValueError when it has not its size."""
        if len(key) != self._key_size:
            raise ValueError(f"a key of {len(key)} octets, not {self._key_size}")
        context = self._context()
        self._set_key(context, key)
        return context

    def seal(self, cipher: Any, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """The ciphertext behind its tag. Raises ValueError for a nonce of no octets, and for more than ``ROOM``."""
        size = len(plaintext) + TAG_SIZE
        if not nonce or size > ROOM + TAG_SIZE:
            raise ValueError(f"a nonce of {len(nonce)} octets, a plaintext of {len(plaintext)}")
        self._encrypt(cipher, len(nonce), nonce, len(associated), associated, size, self._at, plaintext)
        sealed: bytes = self._out[:size]
        return sealed

    def open(self, cipher: Any, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes | None:
        """The plaintext; None when anything is not as it was sealed, or has a size that cannot be."""
        size = len(ciphertext) - TAG_SIZE
        if not nonce or not 0 <= size <= ROOM:
            return None
        if not self._decrypt(cipher, len(nonce), nonce, len(associated), associated, size, self._at, ciphertext):
            return None
        opened: bytes = self._out[:size]
        return opened


def aes_siv(bits: int, library: str = LIBRARY, cpuinfo: Path = _CPUINFO) -> AesSiv | None:
    """AES-SIV with two AES keys of 128 or 256 bits; None where no libnettle has it by the processor's instructions."""
    try:
        if not _FLAG.search(cpuinfo.read_text(errors="replace")):
            return None
        # Each call is so short that to let other threads run meanwhile would only cost.
        found = ctypes.PyDLL(library)
        if not any(hasattr(found, name.format(bits)) for name in _IN_HARDWARE):
            return None
        return AesSiv(found, bits)
    except (OSError, AttributeError):
        return None
