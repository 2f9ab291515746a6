"""Server cookies: one size, unlinkable, and opened by nobody else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from nts_support import NOW, Stream, jar, keys_for

from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar, cookie_size
from timesync.nts.master import KeyStore, MasterKey, MasterKeys, RotationSettings

SIZES = {15: 100, 16: 132, 17: 164, 30: 68, 31: 100}


@pytest.mark.parametrize("aead", list(AeadId))
def test_a_cookie_gives_back_the_keys(aead: AeadId) -> None:
    one, keys = jar(), keys_for(aead)
    cookie = one.make(keys)

    assert keys == one.open(cookie)
    assert SIZES[aead] == len(cookie) == cookie_size(aead)
    assert 0 == len(cookie) % 4
    assert len(cookie) <= 256


def test_the_layout_by_hand() -> None:
    secret, keys = bytes(range(32)), keys_for(AeadId.AES_128_GCM_SIV)
    cookie = CookieJar(MasterKeys(0x1234, (MasterKey(0x1234, secret),)), Stream()).make(keys)
    clear, sealed = cookie[:18], cookie[18:]

    assert b"\x12\x34" == clear[:2]
    assert b"\x00\x1e" + keys.c2s + keys.s2c == AESSIV(secret).decrypt(sealed, [clear])


def test_cookies_of_one_client_have_nothing_in_common() -> None:
    one, keys = jar(), keys_for(AeadId.AES_SIV_CMAC_256)
    cookies = [one.make(keys) for _ in range(50)]

    assert 50 == len({cookie[2:18] for cookie in cookies})
    assert 50 == len({cookie[18:] for cookie in cookies})
    assert 50 == len({cookie[34:] for cookie in cookies}), "the ciphertext of the same keys must differ too"


@pytest.mark.parametrize("aead", list(AeadId))
def test_a_changed_cookie_does_not_open(aead: AeadId) -> None:
    one = jar()
    cookie = one.make(keys_for(aead))
    for place in range(len(cookie)):
        changed = bytearray(cookie)
        changed[place] ^= 0x10
        assert one.open(bytes(changed)) is None, place


@pytest.mark.parametrize("size", [0, 1, 2, 17, 18, 34, 67, 68, 99, 100, 101, 132, 164, 255, 256, 16_384])
def test_no_size_of_anything_else_opens(size: int) -> None:
    assert jar().open(bytes(size)) is None
    assert jar().open(jar().make(keys_for(AeadId.AES_SIV_CMAC_256)).ljust(size, b"\0")[:size] + b"\0") is None


def test_a_cookie_of_another_server_does_not_open() -> None:
    keys = keys_for(AeadId.AES_SIV_CMAC_256)
    assert jar("one").open(jar("other").make(keys)) is None


def test_old_cookies_open_for_as_long_as_their_key_is_kept() -> None:
    settings, stream, keys = RotationSettings(keep=3), Stream(), keys_for(AeadId.AES_SIV_CMAC_256)
    store = KeyStore.new(NOW, stream)
    one = CookieJar(store.keys, stream)
    cookie, opened = one.make(keys), []
    for _ in range(5):
        store = store.rotated(NOW, stream, settings)
        one.replace(store.keys)
        opened.append(one.open(cookie) == keys)
        assert keys == one.open(one.make(keys))

    assert [True, True, True, False, False] == opened


def test_a_worker_that_hears_late_of_a_change_opens_the_new_cookies() -> None:
    stream, keys = Stream(), keys_for(AeadId.AES_SIV_CMAC_256)
    before = KeyStore.new(NOW, stream)
    after = before.rotated(NOW, stream, RotationSettings())
    late, prompt = CookieJar(before.keys, stream), CookieJar(after.keys, stream)

    assert keys == late.open(prompt.make(keys))
    assert keys == prompt.open(late.make(keys))


def test_ten_changes_under_load_lose_no_client() -> None:
    """Each client asks once between two changes and goes on with the cookie that it was given."""
    stream, settings = Stream(), RotationSettings(keep=1)
    store = KeyStore.new(NOW, stream)
    one = CookieJar(store.keys, stream)
    clients = {seed: keys_for(AeadId.AES_128_GCM_SIV, str(seed)) for seed in range(20)}
    held = {seed: one.make(keys) for seed, keys in clients.items()}
    for change in range(10):
        store = KeyStore.decode(store.rotated(NOW, stream, settings).encode())
        # Half-way the process starts anew from its file.
        one = CookieJar(store.keys, stream) if change == 5 else one
        one.replace(store.keys)
        for seed, keys in clients.items():
            assert keys == one.open(held[seed])
            held[seed] = one.make(keys)
