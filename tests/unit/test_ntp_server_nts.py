"""The NTP server for clients of NTS: a client of ours asks it, and requests made by hand."""

from __future__ import annotations

import random

import pytest
from ntp_server_support import CLIENT, EVERYBODY, MONO_NS, START_NS, header, state
from nts_support import NOW, Stream, agreed, field, hand_authenticator, keys_for

from timesync.base.time import Duration
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.server import Count, Reply, Server, ServerSettings
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore, RotationSettings
from timesync.nts.session import NtsAnswer, NtsRefusal, NtsSession

STORE = KeyStore.new(NOW, Stream("store"))
AEADS = [AeadId.AES_SIV_CMAC_256, AeadId.AES_128_GCM_SIV]
HEAD = bytes([0x23, 0, 6, 0x20]) + bytes(36) + bytes(range(8))


class NtsDesk:
    """A server with master keys, and a client that has cookies of it."""

    def __init__(self, aead: AeadId = AEADS[0], **settings: object) -> None:
        given = {"allow": EVERYBODY, "nts": STORE.keys, **settings}
        self.server = Server(ServerSettings(**given), random.Random(1), Stream("server"))  # type: ignore[arg-type]
        self.server.publish(state())
        jar = CookieJar(STORE.keys, Stream("jar"))
        keys = keys_for(aead)
        self.keys = keys
        self.session = NtsSession(agreed(keys, tuple(jar.make(keys) for _ in range(8))), Stream("client"))
        self.now_ns = START_NS

    def ask(self, data: bytes) -> Reply | None:
        self.now_ns += 10**9
        sent_ns = self.now_ns + 20_000
        return self.server.respond(data, CLIENT, 40_000, self.now_ns, sent_ns, MONO_NS + self.now_ns - START_NS)

    def exchange(self) -> bytes | None:
        request = self.session.protect(HEAD)
        assert request is not None
        reply = self.ask(request)
        if reply is None:
            return None
        assert len(reply.data) <= len(request)
        return reply.data


@pytest.mark.parametrize("aead", AEADS)
def test_a_client_gets_the_time_and_a_new_cookie_for_each_that_it_spends(aead: AeadId) -> None:
    desk = NtsDesk(aead)
    for _ in range(20):
        data = desk.exchange()
        assert data is not None
        answer = desk.session.judge(data)
        assert isinstance(answer, NtsAnswer)
        assert 8 == len(desk.session.cookies)
        said = header(data)
        assert (2, int.from_bytes(HEAD[40:48], "big")) == (said.stratum, said.origin)
    counts = desk.server.counters()
    assert (20, 20, 20, 20, 0) == (counts.received, counts.answered, counts.nts, counts.authenticated, counts.nts_nak)


def test_it_is_noted_of_a_client_that_it_has_nts_and_a_nak_is_no_answer() -> None:
    desk = NtsDesk(clients=10)
    for nts, failed, data in (
        (True, 0, desk.session.protect(HEAD)),
        (False, 0, HEAD),
        (False, 1, (desk.session.protect(HEAD) or b"")[:-1] + b"!"),
    ):
        assert data is not None
        assert desk.ask(data) is not None
        (noted,) = desk.server.clients.log.clients().records
        assert (nts, failed) == (noted.nts, noted.failed)
    assert 1 == desk.server.counters().nts_nak


def test_after_seven_lost_replies_the_eighth_brings_eight_cookies() -> None:
    desk = NtsDesk()
    for _ in range(7):
        assert desk.session.protect(HEAD) is not None
    data = desk.exchange()
    assert data is not None
    assert isinstance(desk.session.judge(data), NtsAnswer)
    assert 8 == len(desk.session.cookies)


def test_a_cookie_that_does_not_open_is_answered_with_a_nak_and_nothing_else() -> None:
    desk = NtsDesk(nts=KeyStore.new(NOW, Stream("another")).keys)
    request = desk.session.protect(HEAD)
    assert request is not None
    reply = desk.ask(request)
    assert reply is not None
    assert len(reply.data) < len(request)
    said = header(reply.data)
    assert (3, 0, b"NTSN") == (said.leap, said.stratum, said.reference_id)
    assert NtsRefusal.NAK is desk.session.judge(reply.data)
    counts = desk.server.counters()
    assert (0, 1, 1, 0) == (counts.answered, counts.nts_nak, counts.auth_failed, counts.authenticated)


def test_a_request_without_an_identifier_or_with_octets_changed_is_dropped_or_refused() -> None:
    desk = NtsDesk()
    request = desk.session.protect(HEAD)
    assert request is not None
    changed = bytearray(request)
    changed[45] ^= 1
    reply = desk.ask(bytes(changed))
    assert reply is not None
    assert b"NTSN" == header(reply.data).reference_id
    cookie = desk.session.cookies[0]
    nameless = hand_authenticator(AEADS[0], desk.keys.c2s, bytes(16), b"", HEAD + field(0x0204, cookie))
    assert desk.ask(nameless) is None
    assert 1 == desk.server.counts[Count.BAD]


def test_rotated_keys_void_no_cookie_until_they_are_too_old() -> None:
    desk, store = NtsDesk(), STORE
    rotation = RotationSettings(keep=2)
    for turn in range(10):
        store = store.rotated(NOW + rotation.interval * (turn + 1), Stream(f"turn {turn}"), rotation)
        desk.server.rekey(store.keys)
        for _ in range(8):  # in a day all cookies are spent and replaced
            data = desk.exchange()
            assert data is not None
            assert isinstance(desk.session.judge(data), NtsAnswer)
    for turn in range(10, 14):
        store = store.rotated(NOW + rotation.interval * (turn + 1), Stream(f"turn {turn}"), rotation)
    desk.server.rekey(store.keys)
    data = desk.exchange()
    assert data is not None
    assert NtsRefusal.NAK is desk.session.judge(data)


def test_who_asks_too_often_gets_a_kiss_that_is_authentic() -> None:
    limit = RateLimit(interval=Duration.from_s(64), burst=2, reply=LimitReply.KOD, leak=4, kiss=1)
    desk = NtsDesk(rate_limit=limit)
    for _ in range(2):
        data = desk.exchange()
        assert data is not None
        assert isinstance(desk.session.judge(data), NtsAnswer)
    answers = [data for _ in range(5) if (data := desk.exchange()) is not None]
    assert answers
    # Each is judged under the keys of its own request; a kiss that was not sealed would be refused.
    kisses = [data for data in answers if header(data).stratum == 0]
    assert isinstance(desk.session.judge(answers[-1]), NtsAnswer)
    assert {(0, b"RATE")} == {(header(one).stratum, header(one).reference_id) for one in kisses}


def test_without_nts_such_a_request_is_answered_as_any_other() -> None:
    desk = NtsDesk(nts=None)
    request = desk.session.protect(HEAD)
    assert request is not None
    reply = desk.ask(request)
    assert reply is not None
    assert 48 == len(reply.data)


def test_interleaved_mode_goes_together_with_nts() -> None:
    desk = NtsDesk()
    first = desk.exchange()
    assert first is not None
    assert isinstance(desk.session.judge(first), NtsAnswer)
    received = header(first).receive
    request = HEAD[:24] + received.to_bytes(8, "big") + b"\x11" * 8 + bytes(range(8))
    protected = desk.session.protect(request)
    assert protected is not None
    reply = desk.ask(protected)
    assert reply is not None
    assert reply.stamp_as == header(reply.data).receive


def test_the_transmit_timestamp_counts_in_what_the_sealing_takes() -> None:
    desk = NtsDesk()
    begun = [0]

    def transmit() -> int:
        # Each look at the clock is 40 us after the one before.
        begun[0] += 40_000
        return desk.now_ns + begun[0]

    late = []
    for _ in range(200):
        request = desk.session.protect(HEAD)
        assert request is not None
        desk.now_ns += 10**9
        begun[0] = 0
        mono = MONO_NS + desk.now_ns - START_NS
        reply = desk.server.respond(request, CLIENT, 40_000, desk.now_ns, transmit, mono)
        assert reply is not None
        assert isinstance(desk.session.judge(reply.data), NtsAnswer)
        late.append((header(reply.data).transmit - header(reply.data).receive) * 10**9 / 2**32)
    assert {(AEADS[0], 1)} == set(desk.server._sealing._usual_ns)  # kinds apart: nobody makes those of others late
    # The reply began with the first look, when the request was known to be a client's, and left 40 us later.
    assert 40_000 == pytest.approx(late[0], abs=10)
    assert 40_000 + 0.9 * 40_000 == pytest.approx(late[-1], rel=0.01)
