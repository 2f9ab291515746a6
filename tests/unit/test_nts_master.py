"""Master keys: rotation, the file, and one secret for a fleet."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nts_support import DAY, NOW, Stream, keys_for

from timesync.base.time import Duration, Instant, Utc
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import (
    KeyStore,
    MasterKey,
    MasterKeyError,
    MasterKeys,
    RotationSettings,
    Seed,
    day_key,
    day_number,
    next_day,
    seeded_keys,
)

SEED = Seed(bytes(range(32)))
MIDNIGHT: Instant[Utc] = Instant.from_ns(20_000 * 86_400 * 1_000_000_000)
MINUTES = Duration.from_s(300)


# -- random keys


def test_a_change_makes_the_next_key_current_and_keeps_so_many_old_ones() -> None:
    settings, stream = RotationSettings(keep=2), Stream()
    store = KeyStore.new(NOW, stream)
    first = store.keys.current
    assert [first, first + 1 & 0xFFFF] == [key.id for key in store.keys.keys]
    for _ in range(4):
        store = store.rotated(NOW, stream, settings)

    assert first + 4 & 0xFFFF == store.keys.current
    assert [first + n & 0xFFFF for n in (2, 3, 4, 5)] == [key.id for key in store.keys.keys]
    assert 4 == len({key.secret for key in store.keys.keys})


def test_without_old_keys_there_are_two() -> None:
    settings, stream = RotationSettings(keep=0), Stream()
    store = KeyStore.new(NOW, stream)
    for _ in range(3):
        upcoming = store.keys.keys[-1]
        store = store.rotated(NOW, stream, settings)
        assert upcoming == store.keys.keys[0]
        assert 2 == len(store.keys.keys)


def test_ids_go_round_after_65535() -> None:
    store = KeyStore(MasterKeys(0xFFFE, (MasterKey(0xFFFE, bytes(32)), MasterKey(0xFFFF, bytes(32)))), NOW)
    store = store.rotated(NOW, Stream(), RotationSettings())
    assert [0xFFFE, 0xFFFF, 0] == [key.id for key in store.keys.keys]


def test_when_a_change_is_due() -> None:
    settings, store = RotationSettings(interval=DAY), KeyStore.new(NOW, Stream())
    assert not store.due(NOW + DAY - Duration(1), settings)
    assert store.due(NOW + DAY, settings)
    assert NOW + DAY == store.next_due(settings)
    assert not store.due(NOW - MINUTES, settings), "a clock that was set back a little"
    assert store.due(NOW - DAY, settings), "made while the clock was far ahead"


def test_the_file_gives_back_the_keys() -> None:
    store = KeyStore.new(NOW, Stream()).rotated(NOW, Stream("more"), RotationSettings())
    assert store == KeyStore.decode(store.encode())


def test_a_damaged_file_is_refused_wherever_it_is_damaged() -> None:
    data = KeyStore.new(NOW, Stream()).encode()
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(MasterKeyError):
            KeyStore.decode(bytes(broken))
    for size in range(len(data)):
        with pytest.raises(MasterKeyError):
            KeyStore.decode(data[:size])


def test_a_file_with_a_right_sum_and_wrong_content_is_refused() -> None:
    def signed(body: bytes) -> bytes:
        return body + hashlib.sha256(body).digest()

    magic = b"timesync master keys 1\n" + bytes(12)
    alone = MasterKeys(1, (MasterKey(1, bytes(32)),))
    last = MasterKeys(2, (MasterKey(1, bytes(32)), MasterKey(2, bytes(32))))
    for body in (b"", b"\0\1\0\1", alone.encode(), last.encode(), last.encode()[:-1]):
        with pytest.raises(MasterKeyError):
            KeyStore.decode(signed(magic + body))


@pytest.mark.parametrize(
    ("current", "keys"),
    [
        (1, ()),
        (2, (MasterKey(1, bytes(32)),)),
        (1, (MasterKey(1, bytes(32)), MasterKey(1, bytes(32)))),
        (1, (MasterKey(1, bytes(31)),)),
        (65_536, (MasterKey(65_536, bytes(32)),)),
        (0, tuple(MasterKey(n, bytes(32)) for n in range(65))),
    ],
)
def test_keys_that_do_not_fit_together(current: int, keys: tuple[MasterKey, ...]) -> None:
    with pytest.raises(MasterKeyError):
        MasterKeys(current, keys)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(MasterKeyError):
        RotationSettings(interval=Duration(0))
    with pytest.raises(MasterKeyError):
        RotationSettings(keep=-1)
    with pytest.raises(MasterKeyError):
        RotationSettings(keep=63)


def test_old_keys_are_counted() -> None:
    store = KeyStore.new(NOW, Stream())
    for changes in range(10):
        assert min(changes, 7) == store.keys.old
        store = store.rotated(NOW, Stream("x"), RotationSettings())
    assert 7 == seeded_keys(Seed(bytes(32)), NOW).old


def test_no_secret_is_in_a_text() -> None:
    store = KeyStore.new(NOW, Stream())
    assert all(repr(key.secret) not in repr(store) for key in store.keys.keys)
    assert repr(SEED.secret) not in repr(SEED)


# -- a fleet


def test_the_key_of_a_day_is_hkdf_of_the_seed() -> None:
    info = b"master key of day " + (20_000).to_bytes(8, "big")
    expected = HKDF(algorithm=SHA256(), length=32, salt=b"timesync NTS cookies", info=info).derive(SEED.secret)
    assert MasterKey(20_000, expected) == day_key(SEED.secret, 20_000)


def test_days_change_at_midnight() -> None:
    assert 20_000 == day_number(MIDNIGHT)
    assert 19_999 == day_number(MIDNIGHT - Duration(1))
    assert MIDNIGHT + DAY == next_day(MIDNIGHT)
    assert MIDNIGHT == next_day(MIDNIGHT - Duration(1))


def test_two_servers_that_know_nothing_of_each_other_share_their_cookies() -> None:
    keys = keys_for(AeadId.AES_SIV_CMAC_256)
    one = CookieJar(seeded_keys(SEED, MIDNIGHT + MINUTES), Stream("one"))
    other = CookieJar(seeded_keys(Seed(SEED.secret), MIDNIGHT + MINUTES * 2), Stream("other"))
    stranger = CookieJar(seeded_keys(Seed(bytes(32)), MIDNIGHT + MINUTES), Stream("one"))

    assert keys == other.open(one.make(keys))
    assert keys == one.open(other.make(keys))
    assert stranger.open(one.make(keys)) is None


def test_at_midnight_their_clocks_may_be_apart() -> None:
    keys = keys_for(AeadId.AES_SIV_CMAC_256)
    ahead = CookieJar(seeded_keys(SEED, MIDNIGHT + MINUTES), Stream("ahead"))
    behind = CookieJar(seeded_keys(SEED, MIDNIGHT - MINUTES), Stream("behind"))

    assert ahead.make(keys)[:2] != behind.make(keys)[:2]
    assert keys == behind.open(ahead.make(keys))
    assert keys == ahead.open(behind.make(keys))


def test_a_cookie_of_an_old_day_opens_for_so_many_days_and_no_longer() -> None:
    keys, seed = keys_for(AeadId.AES_SIV_CMAC_256), Seed(SEED.secret, keep_days=3)
    cookie = CookieJar(seeded_keys(seed, MIDNIGHT), Stream()).make(keys)
    opened = [
        CookieJar(seeded_keys(seed, MIDNIGHT + DAY * days), Stream()).open(cookie) == keys for days in range(-2, 6)
    ]
    assert [False, True, True, True, True, True, False, False] == opened


def test_keys_of_days_are_all_different() -> None:
    assert 100 == len({day_key(SEED.secret, day).secret for day in range(19_950, 20_050)})


def test_the_number_of_a_day_goes_round_where_ids_do() -> None:
    late = seeded_keys(SEED, Instant.from_ns(65_536 * 86_400 * 1_000_000_000))
    assert 0 == late.current
    assert 65_535 in {key.id for key in late.keys}


@pytest.mark.parametrize("secret", [b"", bytes(31)])
def test_a_seed_that_can_be_found_by_trying_is_refused(secret: bytes) -> None:
    with pytest.raises(MasterKeyError, match="32 octets"):
        Seed(secret)


def test_so_many_old_days_cannot_be_kept() -> None:
    with pytest.raises(MasterKeyError):
        Seed(SEED.secret, keep_days=63)
