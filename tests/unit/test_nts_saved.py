"""A client's keys and cookies in a file."""

from __future__ import annotations

import hashlib

import pytest
from nts_support import NOW, Stream, keys_for

from timesync.base.time import Duration
from timesync.nts.aead import AeadId
from timesync.nts.ke_client import Agreed
from timesync.nts.saved import LIFETIME, SavedSession, SavedSessionError
from timesync.nts.session import NtsSession

COOKIES = tuple(bytes([number]) * 100 for number in range(5))


def saved(aead: AeadId = AeadId.AES_SIV_CMAC_256, **changes: object) -> SavedSession:
    kept: dict[str, object] = {
        "protocol": 0,
        "keys": (keys_for(aead),),
        "cookies": COOKIES,
        "server": "ntp.example.org",
        "port": 8123,
    }
    agreed = Agreed(**{**kept, **changes})  # type: ignore[arg-type]  # each test names its own fields
    return SavedSession(ke_server="ke.example.org:4460", agreed=agreed, established=NOW)


@pytest.mark.parametrize("aead", list(AeadId))
def test_what_was_stored_comes_back(aead: AeadId) -> None:
    assert saved(aead) == SavedSession.decode(saved(aead).encode())


def test_without_cookies_server_and_port_too() -> None:
    bare = saved(cookies=(), server=None, port=None)
    assert bare == SavedSession.decode(bare.encode())


def test_keys_that_are_still_to_be_tried_are_kept() -> None:
    keys = (keys_for(AeadId.AES_128_GCM_SIV, "old"), keys_for(AeadId.AES_128_GCM_SIV, "right"))
    back = SavedSession.decode(saved(keys=keys).encode())
    assert keys == NtsSession(back.agreed, Stream()).keys


def test_a_damaged_file_is_refused_wherever_it_is_damaged() -> None:
    data = saved().encode()
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(SavedSessionError):
            SavedSession.decode(bytes(broken))
    for size in range(len(data)):
        with pytest.raises(SavedSessionError):
            SavedSession.decode(data[:size])


@pytest.mark.parametrize("cut", [1, 5, 33, 200, 500])
def test_a_right_sum_over_wrong_content_is_refused(cut: int) -> None:
    body = saved().encode()[:-32]
    for wrong in (body[:-cut], body + bytes(cut)):
        with pytest.raises(SavedSessionError, match="no sense"):
            SavedSession.decode(wrong + hashlib.sha256(wrong).digest())


@pytest.mark.parametrize("changes", [{"cookies": (b"abc",)}, {"cookies": (b"x" * 260,)}, {"server": "fe80::1%eth0"}])
def test_what_no_server_can_have_given_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SavedSessionError):
        SavedSession.decode(saved(**changes).encode())


def test_keys_live_for_four_weeks() -> None:
    one, day = saved(), Duration.from_s(86_400)
    assert Duration.from_s(28 * 86_400) == LIFETIME
    assert day * 27 == one.age(NOW + day * 27)
    assert one.age(NOW + day * 28) is None
    assert one.age(NOW - Duration(1)) is None, "the clock was set back: nobody knows how old they are"


def test_no_secret_is_in_a_text() -> None:
    assert repr(saved().agreed.keys[0].c2s) not in repr(saved())
    assert repr(COOKIES[1]) not in repr(saved())
