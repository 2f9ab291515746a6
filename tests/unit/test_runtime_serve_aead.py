"""A worker's AEADs: the octets are those of ``cryptography``, and the worker process has them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from ntp_server_support import CLIENT, EVERYBODY, MONO_NS, START_NS, state
from nts_support import NOW, Stream, agreed, field, hand_authenticator, keys_for

from timesync.base.ids import Endpoint
from timesync.ntp.server import Server, ServerSettings
from timesync.nts.aead import FAMILIES, AeadId, Family
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsSession
from timesync.runtime.serve import WorkerService
from timesync.runtime.serve_aead import fastest_families
from timesync_drivers.nettle import LIBRARY, aes_siv

STORE = KeyStore.new(NOW, Stream("store"))
HEAD = bytes([0x23, 0, 6, 0x20]) + bytes(36) + bytes(range(8))
HERE = aes_siv(128) is not None
"""Whether there is a libnettle that may be used."""


def server(families: Mapping[AeadId, Family]) -> Server:
    made = Server(ServerSettings(allow=EVERYBODY, nts=STORE.keys), random.Random(1), Stream("server"), families)
    made.publish(state())
    return made


def requests(aead: AeadId, rng: random.Random) -> list[bytes]:
    """Good ones of all numbers of placeholders, hidden ones too, and each again with one octet changed."""
    jar, keys = CookieJar(STORE.keys, Stream("jar")), keys_for(aead)
    session = NtsSession(agreed(keys, tuple(jar.make(keys) for _ in range(8))), Stream("client"))
    made = [one for _ in range(8) if (one := session.protect(HEAD)) is not None]
    for hidden in range(4):
        cookie = jar.make(keys)
        clear = HEAD + field(0x0104, rng.randbytes(32)) + field(0x0204, cookie)
        inner = field(0x0304, bytes(len(cookie))) * hidden
        made.append(hand_authenticator(aead, keys.c2s, rng.randbytes(16 if aead < 30 else 12), inner, clear))
    for good in made[:]:
        for _ in range(20):
            changed = bytearray(good)
            changed[rng.randrange(48, len(good))] ^= 1 << rng.randrange(8)
            made.append(bytes(changed))
    return made


@pytest.mark.parametrize("aead", [AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512, AeadId.AES_128_GCM_SIV])
def test_replies_are_the_same_to_the_last_octet(aead: AeadId) -> None:
    usual, fast = server(FAMILIES), server(fastest_families())
    asked = requests(aead, random.Random(aead))
    for number, data in enumerate(asked):
        now_ns = START_NS + number * 1000
        expected, made = (
            one.respond(data, CLIENT, 40_000, now_ns, now_ns + 500, MONO_NS + number * 1000) for one in (usual, fast)
        )
        assert expected == made, number
    assert usual.counters() == fast.counters()
    assert 12 == fast.counters().nts
    assert 200 < fast.counters().nts_nak + fast.counters().bad + fast.counters().answered - 12


def test_without_libnettle_all_is_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timesync.runtime.serve_aead.aes_siv", lambda _: None)
    assert fastest_families() == FAMILIES


@pytest.mark.skipif(not HERE, reason="no libnettle that may be used")
def test_where_it_can_be_the_two_that_libnettle_has_are_libnettle_s() -> None:
    families = fastest_families()
    changed = {aead for aead in AeadId if families[aead] != FAMILIES[aead]}
    assert {AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512} == changed


@pytest.mark.skipif(not HERE, reason="no libnettle that may be used")
@pytest.mark.parametrize("nts", [True, False])
def test_a_worker_loads_it_for_nts_and_for_nothing_else(nts: bool) -> None:
    mapped: list[str] = []

    def look(pid: int | None) -> None:
        mapped.append(Path(f"/proc/{pid}/maps").read_text())

    async def story() -> None:
        settings = ServerSettings(allow=EVERYBODY, nts=STORE.keys if nts else None)
        service = WorkerService(settings, [Endpoint("127.0.0.1", 0)], 1)
        try:
            await asyncio.wait_for(service.ready(), 30)
            look(*service.pids)
        finally:
            service.close()

    asyncio.run(story())
    assert [nts] == [LIBRARY in text for text in mapped]
