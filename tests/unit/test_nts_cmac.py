"""AES-CMAC against RFC 4493, section 4, and NIST SP 800-38B, examples for AES-256."""

from __future__ import annotations

import pytest

from timesync.nts.cmac import aes_cmac

KEY_128 = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
KEY_256 = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


@pytest.mark.parametrize(
    ("key", "size", "code"),
    [
        (KEY_128, 0, "bb1d6929e95937287fa37d129b756746"),
        (KEY_128, 16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (KEY_128, 40, "dfa66747de9ae63030ca32611497c827"),
        (KEY_128, 64, "51f0bebf7e3b9d92fc49741779363cfe"),
        (KEY_256, 0, "028962f61b7bf89efc6b551f4667d983"),
        (KEY_256, 16, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (KEY_256, 40, "aaf3d8f1de5640c232f5b169b9c911e6"),
        (KEY_256, 64, "e1992190549f6ed5696a2c056c315410"),
    ],
)
def test_published_vectors(key: bytes, size: int, code: str) -> None:
    assert bytes.fromhex(code) == aes_cmac(key, MESSAGE[:size])


@pytest.mark.parametrize("size", [0, 15, 17, 24, 31, 33])
def test_keys_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}"):
        aes_cmac(bytes(size), b"")
