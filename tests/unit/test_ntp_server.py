from __future__ import annotations

import hashlib
import struct
from ipaddress import ip_network
from typing import Any

import pytest
from ntp_server_support import (
    CLIENT,
    MONO_NS,
    MS,
    NTP_UNIX,
    START_NS,
    Desk,
    S,
    header,
    ns_of,
    request,
    state,
)

from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.time import Duration, Instant
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.server import ServerCounters

SECRET = b"sixteen octets!!"
SHA1_KEY = SymmetricKey(7, "SHA1", SECRET)
SHA256_KEY = SymmetricKey(8, "SHA256", SECRET)


def with_mac(data: bytes, key_id: int = 7, secret: bytes = SECRET) -> bytes:
    """digest(key || packet), RFC 5905 A.2, by hand."""
    return data + struct.pack("!I", key_id) + hashlib.sha1(secret + data).digest()


def test_every_field_of_a_reply() -> None:
    reply = Desk().ask(request(poll=10))
    assert reply is not None
    assert reply.stamp_as is None
    got = header(reply.data)

    assert len(reply.data) == 48
    assert (got.leap, got.version, got.mode, got.stratum) == (0, 4, 4, 2)
    assert got.poll == 10
    assert got.precision == -23
    assert got.root_delay == 656  # 0.01 s * 65536 = 655.36, rounded up
    assert got.root_dispersion == 66  # 0.001 s * 65536 = 65.536, rounded up
    assert got.reference_id == bytes([203, 0, 113, 5])
    assert got.reference == 0xEBD1_0000_0000_0000
    assert got.origin == 0x0123_4567_89AB_CDEF
    assert abs(got.receive - ((1_790_000_000 + NTP_UNIX) << 32)) <= 4  # 4 units are 1 ns
    assert ns_of(got.receive) == START_NS
    assert ns_of(got.transmit) == START_NS + 20_000
    assert got.receive & 1 == 1
    assert got.transmit & 1 == 0


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("leap", [0, 3])
def test_the_version_is_echoed_and_the_leap_bits_of_a_request_do_not_matter(version: int, leap: int) -> None:
    got = Desk().answer(request(first=leap << 6 | version << 3 | 3))

    assert (0, version, 4) == (got.leap, got.version, got.mode)


@pytest.mark.parametrize("first", [v << 3 | m for v in range(8) for m in range(8)])
def test_only_clients_of_versions_1_to_4_are_answered(first: int) -> None:
    desk = Desk()
    version, mode = first >> 3, first & 7
    is_client = 1 <= version <= 4 and (mode == 3 or (mode == 0 and version == 1))

    assert (desk.ask(request(first=first)) is not None) == is_client
    assert desk.server.counters().bad == (not is_client)


def test_an_ntpv1_packet_without_a_mode_from_the_server_port_is_not_answered() -> None:
    assert Desk().ask(request(first=0x08), port=123) is None


def test_an_ntpv1_client_gets_mode_4() -> None:
    assert Desk().answer(request(first=0x08)).mode == 4


def test_a_version_that_is_not_served_is_not_answered() -> None:
    desk = Desk(versions=frozenset({3, 4}))

    assert desk.ask(request(first=2 << 3 | 3)) is None
    assert desk.ask(request(first=3 << 3 | 3)) is not None


@pytest.mark.parametrize("size", [*range(48), 49, 50, 51, 52, 53, 60, 68 - 1, 2052, 65_507])
def test_datagrams_of_other_sizes_are_dropped(size: int) -> None:
    desk = Desk()

    assert desk.ask((request() + bytes(65_507))[:size]) is None
    counters = desk.server.counters()
    assert counters.received == 1
    # 4 octets of tail read as a crypto-NAK: a MAC that cannot be right.
    assert counters.bad + counters.auth_failed == 1


def test_unknown_extension_fields_are_ignored_and_not_answered() -> None:
    field = struct.pack("!HH", 0x7777, 28) + bytes(24)
    reply = Desk().ask(request() + field)

    assert reply is not None
    assert len(reply.data) == 48


def test_before_the_first_state_the_server_says_that_it_is_not_synchronized() -> None:
    desk = Desk()
    desk.server.publish(state(synchronized=False))

    got = desk.answer(request())

    assert (got.leap, got.stratum, got.reference_id) == (3, 0, bytes(4))
    assert (got.root_delay, got.root_dispersion, got.reference) == (65_536, 65_536, 0)
    assert ns_of(got.receive) == START_NS


@pytest.mark.parametrize("stratum", [0, 16, 17])
def test_a_stratum_out_of_range_is_unsynchronized(stratum: int) -> None:
    desk = Desk()
    desk.server.publish(state(stratum=stratum))

    assert (desk.answer(request()).leap, desk.answer(request()).stratum) == (3, 0)


def test_a_state_that_nobody_renews_expires() -> None:
    desk = Desk()
    desk.server.publish(state(valid_until=Instant.from_ns(MONO_NS + 10 * S)))

    assert desk.answer(request(), START_NS + 10 * S - MS).leap == 0
    assert desk.answer(request(), START_NS + 10 * S).leap == 3


@pytest.mark.parametrize("leap", [Leap.INSERT, Leap.DELETE])
def test_a_leap_second_is_announced(leap: Leap) -> None:
    desk = Desk()
    desk.server.publish(state(leap=leap))

    assert desk.answer(request()).leap == leap.value


def test_the_root_dispersion_grows_and_covers_the_second_it_is_used_for() -> None:
    desk = Desk()
    desk.server.publish(state(dispersion_rate=15e-6))

    # 1 ms + 15 ppm * 100 s = 2.5 ms = 163.84 units; up to one second more, 0.98 units, and rounding up.
    assert 164 <= desk.answer(request(), START_NS + 100 * S).root_dispersion <= 166
    assert 164 <= desk.answer(request(), START_NS + 100 * S + 900 * MS).root_dispersion <= 166
    assert 229 <= desk.answer(request(), START_NS + 166 * S).root_dispersion <= 231


def test_the_served_clock_may_be_a_virtual_one() -> None:
    """10 ms ahead at the base, 20 ppm fast: 100 s later 12 ms ahead."""
    desk = Desk()
    desk.server.publish(state(serving_map=ServingMap(START_NS, 10 * MS, 1.000_02)))

    got = desk.answer(request(), START_NS + 100 * S)

    assert abs(ns_of(got.receive) - (START_NS + 100 * S + 12 * MS)) <= 1
    # 20 us of the kernel are 20.0004 us of the clock.
    assert abs(ns_of(got.transmit) - ns_of(got.receive) - 20_000) <= 1


def test_a_clock_set_back_or_forward_makes_a_new_template() -> None:
    desk = Desk()
    for at_ns in (START_NS, START_NS - 1000 * S, START_NS + 1_000_000 * S):
        reply = desk.server.respond(request(), CLIENT, 40_000, at_ns, at_ns + 20_000, MONO_NS)
        assert reply is not None
        assert ns_of(header(reply.data).receive) == at_ns


def test_timestamps_pass_into_the_next_era() -> None:
    """2036-02-07 06:28:16 UTC is second 2^32 of NTP (RFC 5905, figure 4)."""
    era_1 = (2**32 - NTP_UNIX) * S
    desk = Desk(took_ns=1000)
    before = desk.server.respond(request(), CLIENT, 40_000, era_1 - 500, era_1 + 500, MONO_NS)
    assert before is not None

    got = header(before.data)
    assert got.receive >> 32 == 0xFFFF_FFFF
    assert got.transmit >> 32 == 0


@pytest.mark.parametrize("took_ns", [-1, 4 * S + 1])
def test_a_request_that_waited_too_long_or_was_overtaken_by_a_step_is_not_answered(took_ns: int) -> None:
    desk = Desk(took_ns=took_ns)

    assert desk.ask(request()) is None
    assert desk.server.counters() == ServerCounters(received=1, late=1)


def test_the_transmit_time_is_read_after_everything_else() -> None:
    desk = Desk()
    reply = desk.server.respond(request(), CLIENT, 40_000, START_NS, lambda: START_NS + 777, MONO_NS)
    assert reply is not None

    assert ns_of(header(reply.data).transmit) == START_NS + 777


def test_a_good_mac_is_answered_with_a_mac_of_the_same_key() -> None:
    desk = Desk(keys=(SHA1_KEY, SHA256_KEY))
    reply = desk.ask(with_mac(request()))
    assert reply is not None

    assert len(reply.data) == 72
    assert reply.data == with_mac(reply.data[:48])
    assert desk.server.counters() == ServerCounters(received=1, answered=1, authenticated=1, version_4=1)


def test_a_long_digest_is_cut_in_version_4_and_whole_in_version_3() -> None:
    desk = Desk(keys=(SHA256_KEY,))
    for first, size in ((0x23, 20), (0x1B, 32)):
        data = request(first=first)
        code = hashlib.sha256(SECRET + data).digest()[:size]
        reply = desk.ask(data + struct.pack("!I", 8) + code)
        assert reply is not None
        assert len(reply.data) == 52 + size
        assert reply.data[52:] == hashlib.sha256(SECRET + reply.data[:48]).digest()[:size]


def test_a_mac_after_extension_fields_covers_them() -> None:
    data = request() + struct.pack("!HH", 0x7777, 16) + bytes(12)
    desk = Desk(keys=(SHA1_KEY,))

    assert desk.ask(with_mac(data)) is not None
    assert desk.ask(with_mac(data)[:50] + b"\xff" + with_mac(data)[51:]) is None


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(with_mac(request(), key_id=9)[48:], id="unknown key"),
        pytest.param(with_mac(request(), secret=b"another secret!!")[48:], id="wrong secret"),
        pytest.param(with_mac(request())[48:-1] + b"\0", id="wrong digest"),
        pytest.param(with_mac(request(), key_id=8)[48:], id="digest of another key"),
        pytest.param(bytes(4), id="crypto-NAK"),
        pytest.param(struct.pack("!I", 7), id="key id without a digest"),
    ],
)
def test_a_bad_mac_is_dropped(tail: bytes) -> None:
    desk = Desk(keys=(SHA1_KEY, SHA256_KEY))

    assert desk.ask(request() + tail) is None
    assert desk.server.counters() == ServerCounters(received=1, auth_failed=1)


def test_a_client_that_may_not_ask_gets_nothing() -> None:
    desk = Desk(deny=(ip_network("192.0.2.0/24"),))

    assert desk.ask(request()) is None
    assert desk.ask(request(), source="198.51.100.1") is not None
    assert desk.server.counters().denied == 1


def test_nobody_may_ask_when_nothing_is_allowed() -> None:
    assert Desk(allow=()).ask(request()) is None


def kissing_desk(**settings: Any) -> Desk:
    """Everything over the limit gets a kiss, unless it leaks."""
    limit = RateLimit(interval=Duration.from_s(1), burst=1, reply=LimitReply.KOD, leak=16, kiss=1)
    return Desk(rate_limit=limit, **settings)


def test_a_kiss_tells_a_client_to_slow_down() -> None:
    desk = kissing_desk()
    replies = [desk.ask(request(poll=4), START_NS + index) for index in range(40)]
    got = [header(reply.data) for reply in replies if reply is not None]
    kisses = [one for one in got if one.stratum == 0]

    assert len(got) == 40
    assert len(kisses) == desk.server.counters().kod == desk.server.counters().limited
    assert len(kisses) >= 30
    for kiss in kisses:
        assert (3, 4, 4) == (kiss.leap, kiss.version, kiss.mode)
        assert kiss.reference_id == b"RATE"
        assert kiss.origin == 0x0123_4567_89AB_CDEF
        assert kiss.poll == 4


def test_a_kiss_to_an_authenticated_client_is_authenticated_and_a_forger_gets_none() -> None:
    desk = kissing_desk(keys=(SHA1_KEY,))
    good = [desk.ask(with_mac(request()), START_NS + index) for index in range(40)]
    bad = [desk.ask(with_mac(request())[:-1] + b"?", START_NS + index) for index in range(40)]

    assert all(reply is not None and reply.data == with_mac(reply.data[:48]) for reply in good)
    assert bad == [None] * 40


def test_every_datagram_is_counted_once() -> None:
    desk = kissing_desk(keys=(SHA1_KEY,), deny=(ip_network("198.51.100.0/24"),))
    for index in range(200):
        desk.ask(with_mac(request()), START_NS + index)
        desk.ask(with_mac(request())[:-1] + b"?", START_NS + index)
        desk.ask(request() + b"?", START_NS + index)
        desk.ask(request(first=0), START_NS + index)
        desk.ask(request(), START_NS + index, "198.51.100.7")
    got = desk.server.counters()

    assert got.received == 1000
    assert got.received == (got.answered + got.denied + got.limited + got.bad + got.late + got.auth_failed)


def test_counters_add_up() -> None:
    first, second = ServerCounters(received=3, kod=1), ServerCounters(received=4, version_4=2, restarts=1)

    assert first + second == ServerCounters(received=7, kod=1, version_4=2, restarts=1)


class TestInterleaved:
    """RFC 9769, 2: three exchanges, with every timestamp written down by hand.

    After START_NS the client's requests arrive at 0, 1 s and 2 s and are answered 20 us later; the kernel
    says that the replies left at 27 us, 1 s + 31 us and 2 s + 29 us.
    """

    LEFT_NS = (27_000, S + 31_000, 2 * S + 29_000)

    def test_three_exchanges(self) -> None:
        desk = Desk()
        # 1. A new client has no timestamp of ours: origin and receive are 0. Nothing is saved for it.
        first = desk.ask(request(transmit=0x1111))
        assert first is not None
        assert first.stamp_as is None
        one = header(first.data)
        assert (one.origin, ns_of(one.receive), ns_of(one.transmit)) == (0x1111, START_NS, START_NS + 20_000)

        # 2. The origin is our receive timestamp, but its pair was not saved: a basic reply, saved now.
        second = desk.ask(request(origin=one.receive, receive=0xAAAA, transmit=0x2222), START_NS + S)
        assert second is not None
        assert second.stamp_as is not None
        two = header(second.data)
        assert (two.origin, ns_of(two.receive)) == (0x2222, START_NS + S)
        assert ns_of(two.transmit) == START_NS + S + 20_000
        desk.server.sent(second.stamp_as, START_NS + self.LEFT_NS[1])

        # 3. Interleaved: origin is the request's receive timestamp, transmit is when reply 2 left.
        third = desk.ask(request(origin=two.receive, receive=0xBBBB, transmit=0x3333), START_NS + 2 * S)
        assert third is not None
        assert third.stamp_as is not None
        three = header(third.data)
        assert (three.origin, ns_of(three.receive)) == (0xBBBB, START_NS + 2 * S)
        assert ns_of(three.transmit) == START_NS + self.LEFT_NS[1]
        assert desk.server.counters().interleaved == 1

    @staticmethod
    def saved(desk: Desk) -> int:
        """The receive timestamp of a reply whose transmit timestamp is known."""
        reply = desk.ask(request(origin=1, receive=0xAAAA))
        assert reply is not None
        assert reply.stamp_as is not None
        desk.server.sent(reply.stamp_as, START_NS + 30_000)
        assert header(reply.data).receive == reply.stamp_as
        return reply.stamp_as

    def test_a_pair_is_used_once(self) -> None:
        desk = Desk()
        origin = self.saved(desk)

        again = [desk.answer(request(origin=origin, receive=0xBBBB, transmit=0x3333)) for _ in range(2)]

        assert [0xBBBB, 0x3333] == [reply.origin for reply in again]

    def test_another_address_and_port_may_use_it(self) -> None:
        desk = Desk()
        origin = self.saved(desk)

        reply = desk.answer(request(origin=origin, receive=0xBBBB), source="2001:db8::1")

        assert reply.origin == 0xBBBB

    def test_a_request_whose_receive_and_transmit_are_equal_is_basic(self) -> None:
        desk = Desk()
        origin = self.saved(desk)

        reply = desk.answer(request(origin=origin, receive=0x33, transmit=0x33), START_NS + S)

        assert START_NS + S + 20_000 == ns_of(reply.transmit)
        assert desk.server.counters().interleaved == 0

    def test_without_the_transmit_stamp_the_reply_is_basic(self) -> None:
        desk = Desk()
        reply = desk.ask(request(origin=1, receive=0xAAAA))
        assert reply is not None
        assert reply.stamp_as is not None

        assert desk.answer(request(origin=reply.stamp_as, receive=0xBBBB, transmit=0x33)).origin == 0x33

    def test_a_step_of_the_clock_makes_old_pairs_worthless(self) -> None:
        desk = Desk()
        origin = self.saved(desk)
        desk.server.publish(state(epoch=1))

        assert desk.answer(request(origin=origin, receive=0xBBBB, transmit=0x33)).origin == 0x33

    def test_a_new_state_of_the_same_epoch_keeps_them(self) -> None:
        desk = Desk()
        origin = self.saved(desk)
        desk.server.publish(state(stratum=3))

        assert desk.answer(request(origin=origin, receive=0xBBBB, transmit=0x33)).origin == 0xBBBB

    def test_an_even_origin_costs_nothing(self) -> None:
        """It is the transmit timestamp of our last reply, as plain clients echo it."""
        reply = Desk().ask(request(origin=0xEBD1_0000_0000_0002, receive=0xAAAA))
        assert reply is not None

        assert reply.stamp_as is None

    def test_it_can_be_switched_off(self) -> None:
        reply = Desk(interleaved=False).ask(request(origin=1, receive=0xAAAA))
        assert reply is not None

        assert reply.stamp_as is None

    def test_receive_timestamps_of_saved_pairs_are_unique(self) -> None:
        desk = Desk()
        keys = set()
        for _ in range(5):
            reply = desk.ask(request(origin=1, receive=0xAAAA))
            assert reply is not None
            keys.add(reply.stamp_as)

        assert len(keys) == 5
        assert None not in keys
