"""The NTPv5 server: requests laid out by hand, answers taken apart by hand."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntp5_support import COOKIE, DRAFT, NOW_NS, NTP_NOW, STATE, TAI_UTC, S, entropy, head, message, parts, state

from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.time import Duration, Instant
from timesync.base.utc import LeapTable
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.interleave import Pairs
from timesync.ntp.serve_state import ServeState
from timesync.ntp.v5.bloom import ReferenceId, filter_of, served_filter
from timesync.ntp.v5.header import announced
from timesync.ntp.v5.server import Refusal, Reply5, Server5, ServerDrop
from timesync.ntp.v5.serving import Monotonic, Scales, Serving, scales_at
from timesync.wire.ntp5 import Timescale

DRAFT_FIELD = (0xF5FF, DRAFT)
KEY = SymmetricKey(7, "AES128", b"sixteen octets!!")
LONG_KEY = SymmetricKey(8, "SHA512", b"sixteen octets!!")
REFERENCES = served_filter(ReferenceId.random(entropy(5)), [filter_of(ReferenceId.of_clock(b"GPS"))])
SERVING = Serving(
    poll=4,
    versions=frozenset({3, 4, 5}),
    references=REFERENCES,
    scales=Scales(Timescale.UTC, {Timescale.TAI: TAI_UTC * S, Timescale.UT1: None}),
    monotonic=Monotonic(0xCAFE, ServingMap(0, 5 - NOW_NS, 1.0)),
)


def server(
    served: ServeState = STATE, serving: Serving = SERVING, keys: tuple[SymmetricKey, ...] = (), **more: Any
) -> Server5:
    made = Server5(keys=keys, **more)
    made.publish(served, serving)
    return made


def ask(made: Server5, request: bytes, at_ns: int = NOW_NS) -> bytes:
    """The answer, one microsecond later."""
    reply = made.respond(request, at_ns, at_ns + 1000, 0)
    assert isinstance(reply, Reply5), reply
    assert len(request) == len(reply.data)
    return reply.data


def signed(key: SymmetricKey, data: bytes, tail: bytes = b"") -> bytes:
    digest = key.digest(data)
    return data + struct.pack(">HHI", 0xF502, 8 + len(digest), key.id) + digest + tail


def test_a_plain_request_gets_the_time() -> None:
    data = ask(server(), message())
    assert {
        "first": 0x2C,
        "stratum": 2,
        "poll": 4,
        "precision": -20,
        "delay": 1 << 27,
        "dispersion": 1 << 26,
        "timescale": 0,
        "era": 0,
        "flags": 1,
        "server_cookie": 0,
        "client_cookie": COOKIE,
        "receive": NTP_NOW,
        "transmit": NTP_NOW + (1 << 32) // 1_000_000,
    } == head(data)
    assert {0xF5FF: [DRAFT]} == parts(data)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (message()[:47], ServerDrop.FORMAT),
        (message(first=0x23), ServerDrop.FORMAT),
        (message(first=0x2C), ServerDrop.FORMAT),
        (message(first=0x2D), ServerDrop.FORMAT),
        (message() + b"\0\1\0\2", ServerDrop.FORMAT),
        (message([]), ServerDrop.DRAFT),
        (message([(0xF5FF, DRAFT[:-1] + b"4")]), ServerDrop.DRAFT),
        (message([(0xF5FF, DRAFT + b"0")]), ServerDrop.DRAFT),
        (message([(0xF5FF, DRAFT[:-1])]), ServerDrop.DRAFT),
        (message([(0xF5FF, DRAFT + b"\0")]), ServerDrop.DRAFT),
        (message([DRAFT_FIELD, DRAFT_FIELD]), ServerDrop.DRAFT),
        (message([DRAFT_FIELD, (0xF502, b"")]), ServerDrop.MAC),
    ],
)
def test_what_is_not_answered(request_: bytes, reason: ServerDrop) -> None:
    assert reason == server().respond(request_, NOW_NS, NOW_NS, 0)


def test_the_drafts_are_a_list() -> None:
    made = server(drafts=("draft-ietf-ntp-ntpv5-09", "draft-ietf-ntp-ntpv5-10"))
    for name in (b"draft-ietf-ntp-ntpv5-09", b"draft-ietf-ntp-ntpv5-10"):
        assert {0xF5FF: [name]} == parts(ask(made, message([(0xF5FF, name)])))
    assert ServerDrop.DRAFT == made.respond(message(), NOW_NS, NOW_NS, 0)


def test_an_unsynchronized_server_says_so() -> None:
    for served in (state(synchronized=False), state(valid_until=Instant(0)), state(stratum=16)):
        got = head(ask(server(served), message()))
        assert (0xEC, 0, 0, 1 << 28, 1 << 28) == (
            got["first"],
            got["stratum"],
            got["flags"],
            got["delay"],
            got["dispersion"],
        )


def test_the_dispersion_grows_with_the_age_of_the_state() -> None:
    made = server(state(root_dispersion=Duration.from_s(1), dispersion_rate=0.125))
    reply = made.respond(message(), NOW_NS, NOW_NS, 8 * S)
    assert isinstance(reply, Reply5)
    assert 2 << 28 == head(reply.data)["dispersion"]
    assert 0xFFFF_FFFF == head(ask(server(state(root_dispersion=Duration.from_s(20))), message()))["dispersion"]


def test_all_fields_are_answered_and_the_answer_is_as_long() -> None:
    request = message(
        [
            DRAFT_FIELD,
            (0xF503, b"\0\x10" + bytes(14)),
            (0xF505, bytes(4)),
            (0xF507, bytes(8)),
            (0xF508, bytes(12)),
            (0xF509, b"\1" + bytes(11)),
            (0xF509, b"\2" + bytes(11)),
            (0x1234, bytes(21)),
            (0xF506, struct.pack(">qHHqHH", 0, 0, 0, 0x18000, 77, 0)),
        ]
    )
    got = parts(ask(server(), request))
    filled = bytearray(512)
    for one in (ReferenceId.random(entropy(5)), ReferenceId.of_clock(b"GPS")):
        for position in one.positions():
            filled[position // 8] |= 1 << position % 8
    tai = NTP_NOW + (TAI_UTC << 32)
    assert {
        0xF5FF: [DRAFT],
        0xF504: [bytes(filled[16:32])],
        0xF505: [bytes.fromhex("001c0000")],
        0xF507: [struct.pack(">Q", NTP_NOW - (8 << 32))],
        0xF508: [struct.pack(">IQ", 0xCAFE, (2_208_988_800 << 32) + 21)],
        0xF509: [struct.pack(">BBHQ", 1, 0, 0, tai), struct.pack(">BBHQ", 2, 0, 0, 0)],
        0xF501: [bytes(24)],
        0xF506: [struct.pack(">qHHqHH", 0x18000, 77, 0, 0, 0, 0)],
    } == got
    assert 0xF506 == list(got)[-1], "a correction is the last field"


@pytest.mark.parametrize(
    "field",
    [
        (0xF503, b"\x01\xf1" + bytes(14)),
        (0xF503, b"\xff\xff" + bytes(14)),
        (0xF503, b"\0"),
        (0xF503, b"\0\0" + bytes(511)),
        (0xF504, bytes(16)),
        (0xF505, bytes(8)),
        (0xF507, bytes(4)),
        (0xF508, bytes(8)),
        (0xF509, b""),
        (0xF509, b"\4" + bytes(11)),
        (0xF509, b"\1" + bytes(7)),
        (0xF506, bytes(20)),
        (0x0104, bytes(32)),
    ],
)
def test_a_field_that_makes_no_sense_is_replaced_by_padding(field: tuple[int, bytes]) -> None:
    got = parts(ask(server(), message([DRAFT_FIELD, field])))
    assert {0xF5FF, 0xF501} == set(got)


def test_what_is_not_offered_is_replaced_by_padding() -> None:
    request = message([DRAFT_FIELD, (0xF503, bytes(16)), (0xF508, bytes(12))])
    assert {0xF5FF, 0xF501} == set(parts(ask(server(serving=Serving()), request)))


def test_a_timescale_is_told_once() -> None:
    request = message([DRAFT_FIELD, *[(0xF509, b"\1" + bytes(11))] * 3])
    assert 1 == len(parts(ask(server(), request))[0xF509])


def test_a_correction_elsewhere_than_at_the_end_is_none() -> None:
    request = message([DRAFT_FIELD, (0xF506, bytes(24)), (0xF501, bytes(4))])
    assert {0xF5FF, 0xF501} == set(parts(ask(server(), request)))


@pytest.mark.parametrize(
    ("wanted", "given", "shift_s"), [(0, 0, 0), (1, 1, TAI_UTC), (2, 0, 0), (3, 0, 0), (4, 0, 0), (255, 0, 0)]
)
def test_the_timescale_is_the_wanted_one_else_that_of_the_clock(wanted: int, given: int, shift_s: int) -> None:
    got = head(ask(server(), message(timescale=wanted)))
    assert given == got["timescale"]
    assert NTP_NOW + (shift_s << 32) == got["receive"]
    assert NTP_NOW + (shift_s << 32) + (1 << 32) // 1_000_000 == got["transmit"]


def test_the_era_is_that_of_the_receive_timestamp() -> None:
    """Era 1 begins on 2036-02-07 at 06:28:16 UTC, and 37 s earlier in TAI."""
    era_1 = 2_085_978_496 * S
    for timescale, at_ns, expected in [
        (0, era_1 - 1, (0, 0xFFFF_FFFF)),
        (0, era_1, (1, 0)),
        (1, era_1 - 37 * S - 1, (0, 0xFFFF_FFFF)),
        (1, era_1 - 37 * S, (1, 0)),
    ]:
        got = head(ask(server(), message(timescale=timescale), at_ns))
        assert expected == (got["era"], got["receive"] >> 32)
        assert 0 not in (got["receive"], got["transmit"])


def test_a_request_that_waited_is_not_answered() -> None:
    for sent_ns in (NOW_NS - 1, NOW_NS + 4 * S + 1):
        assert ServerDrop.LATE == server().respond(message(), NOW_NS, sent_ns, 0)
    assert isinstance(server().respond(message(), NOW_NS, lambda: NOW_NS + 4 * S, 0), Reply5)


# -- authentication


@pytest.mark.parametrize("key", [KEY, LONG_KEY])
def test_a_signed_request_gets_a_signed_answer(key: SymmetricKey) -> None:
    fields = [DRAFT_FIELD, (0xF503, bytes(17)), (0x1234, bytes(9))]
    correction = struct.pack(">HHqHHqHH", 0xF506, 28, 0, 0, 0, 5, 6, 0)
    for tail in (b"", correction):
        data = ask(server(keys=(KEY, LONG_KEY)), signed(key, message(fields), tail))
        end = len(data) - len(tail)
        size = 8 + len(key.digest(data))
        assert struct.pack(">HHI", 0xF502, size, key.id) == data[end - size : end - size + 8]
        assert key.digest(data[: end - size]) == data[end - size + 8 : end]
        assert bool(tail) == (0xF506 in parts(data))


def test_the_whole_code_is_compared() -> None:
    good = signed(KEY, message())
    made = server(keys=(KEY,))
    assert isinstance(made.respond(good, NOW_NS, NOW_NS, 0), Reply5)
    for place in range(len(good)):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        reply = made.respond(bad, NOW_NS, NOW_NS, 0)
        if place - len(message()) in (0, 1):
            # With another type the field is no MAC any more: an open request, and an open answer.
            assert isinstance(reply, Reply5)
            assert 0xF502 not in parts(reply.data)
        else:
            assert isinstance(reply, ServerDrop), place
    cut = message() + struct.pack(">HHI", 0xF502, 12, KEY.id) + KEY.digest(message())[:4]
    assert ServerDrop.MAC == made.respond(cut, NOW_NS, NOW_NS, 0)


def test_a_mac_before_another_field_is_not_believed() -> None:
    request = signed(KEY, message()) + bytes.fromhex("f5030014") + bytes(16)
    assert ServerDrop.MAC == server(keys=(KEY,)).respond(request, NOW_NS, NOW_NS, 0)


def test_a_key_that_is_unknown_is_not_answered() -> None:
    assert ServerDrop.MAC == server(keys=(KEY,)).respond(signed(LONG_KEY, message()), NOW_NS, NOW_NS, 0)


def nts_request() -> bytes:
    return message([DRAFT_FIELD, (0x0104, bytes(32)), (0x0204, bytes(100)), (0x0404, bytes(40)), (0xF503, bytes(16))])


def test_nts_adds_its_fields_and_padding_comes_behind_them() -> None:
    """What stands behind the authenticator of a request is not protected: only the correction counts there."""
    seen: list[bytes] = []

    def seal(clear: bytes) -> bytes:
        seen.append(clear)
        return clear + bytes.fromhex("0404000c") + bytes(8)

    request = nts_request() + struct.pack(">HHqHHqHH", 0xF506, 28, 0, 0, 0, 5, 6, 0)
    reply = server().respond(request, NOW_NS, NOW_NS, 0, seal)
    assert isinstance(reply, Reply5)
    assert [{0xF5FF: [DRAFT]}] == [parts(one) for one in seen]
    assert len(request) == len(reply.data)
    assert [0xF5FF, 0x0404, 0xF501, 0xF506] == list(parts(reply.data))
    assert reply.data.startswith(seen[0])


def test_an_answer_that_nts_makes_too_long_is_not_sent() -> None:
    request = nts_request()
    for seal in (lambda _: None, lambda clear: clear + bytes(len(request))):
        assert ServerDrop.LONG == server().respond(request, NOW_NS, NOW_NS, 0, seal)


def test_a_correction_gives_way_to_what_nts_needs() -> None:
    request = nts_request() + struct.pack(">HHqHHqHH", 0xF506, 28, 0, 0, 0, 5, 6, 0)
    field = bytes.fromhex("0404") + struct.pack(">H", len(request) - len(message()))

    def seal(clear: bytes) -> bytes:
        return clear + field + bytes(len(request) - len(clear) - 4)

    reply = server().respond(request, NOW_NS, NOW_NS, 0, seal)
    assert isinstance(reply, Reply5)
    assert [0xF5FF, 0x0404] == list(parts(reply.data))


# -- refusals


@pytest.mark.parametrize(
    ("refusal", "own_poll", "poll", "flags"),
    [
        (Refusal.RATE, 0, 4, 0),
        (Refusal.RATE, 9, 10, 0),
        (Refusal.RATE, 126, 17, 0),
        (Refusal.RATE, -128, 4, 0),
        (Refusal.DENY, 0, 127, 0),
        (Refusal.NAK, 0, 4, 4),
    ],
)
def test_refusals(refusal: Refusal, own_poll: int, poll: int, flags: int) -> None:
    request = message([DRAFT_FIELD, (0xF503, bytes(64))], poll=own_poll)
    reply = server().refuse(request, refusal)
    assert isinstance(reply, Reply5)
    got = head(reply.data)
    assert (0xEC, 0, poll, flags, COOKIE) == (
        got["first"],
        got["stratum"],
        got["poll"],
        got["flags"],
        got["client_cookie"],
    )
    assert (0, 0, 0) == (got["receive"], got["transmit"], got["server_cookie"])
    assert (len(request), [0xF5FF, 0xF501]) == (len(reply.data), list(parts(reply.data)))


def test_a_refusal_is_signed_and_a_nak_is_not() -> None:
    made = server(keys=(KEY,))
    good, bad = signed(KEY, message()), signed(LONG_KEY, message())
    refused = made.refuse(good, Refusal.RATE)
    assert isinstance(refused, Reply5)
    assert [0xF5FF, 0xF502] == list(parts(refused.data))
    assert KEY.digest(refused.data[:-24]) == refused.data[-16:]
    nak = made.refuse(bad, Refusal.NAK)
    assert isinstance(nak, Reply5)
    assert ([0xF5FF, 0xF501], len(bad)) == (list(parts(nak.data)), len(nak.data))
    assert ServerDrop.MAC == made.refuse(bad, Refusal.DENY)


def test_nobody_is_refused_but_who_speaks_our_draft() -> None:
    for request in (message([]), message(first=0x2C), b""):
        assert isinstance(server().refuse(request, Refusal.DENY), ServerDrop)


# -- interleaved mode


def test_the_exchange_of_the_drafts_figure() -> None:
    """«Cookies and timestamps in interleaved mode»: the second answer has t3, and the third is basic again."""
    made = server(pairs=Pairs(capacity=1))
    first = made.respond(message(flags=2), NOW_NS, NOW_NS + 1000, 0)
    assert isinstance(first, Reply5)
    assert first.stamp_as is not None
    s1 = head(first.data)["server_cookie"]
    assert (1, first.stamp_as, False) == (head(first.data)["flags"], s1, first.interleaved)
    made.sent(first.stamp_as, NOW_NS + S // 4)

    second = made.respond(message(flags=2, server_cookie=s1), NOW_NS + S, NOW_NS + S + 1000, 0)
    assert isinstance(second, Reply5)
    got = head(second.data)
    assert (3, NTP_NOW + (1 << 30), NTP_NOW + (1 << 32)) == (got["flags"], got["transmit"], got["receive"])
    assert second.interleaved
    assert got["server_cookie"] not in (0, s1)
    made.sent(second.stamp_as or 0, NOW_NS + 5 * S // 4)
    made.respond(message(flags=2), NOW_NS + 2 * S, NOW_NS + 2 * S, 0)  # somebody else, and there is room for one

    third = made.respond(message(flags=2, server_cookie=got["server_cookie"]), NOW_NS + 2 * S, NOW_NS + 2 * S + 1000, 0)
    assert isinstance(third, Reply5)
    assert (1, NTP_NOW + (2 << 32) + (1 << 32) // 1_000_000) == (
        head(third.data)["flags"],
        head(third.data)["transmit"],
    )


def test_a_cookie_is_good_once_and_not_after_a_step() -> None:
    made = server(pairs=Pairs())
    for step in (False, True):
        reply = made.respond(message(flags=2), NOW_NS, NOW_NS, 0)
        assert isinstance(reply, Reply5)
        made.sent(reply.stamp_as or 0, NOW_NS)
        request = message(flags=2, server_cookie=head(reply.data)["server_cookie"])
        if step:
            made.publish(state(epoch=1), SERVING)
        else:
            assert 3 == head(ask(made, request))["flags"]
        assert 1 == head(ask(made, request))["flags"]


def test_in_tai_the_saved_timestamp_is_tai() -> None:
    made = server(pairs=Pairs())
    reply = made.respond(message(flags=2, timescale=1), NOW_NS, NOW_NS, 0)
    assert isinstance(reply, Reply5)
    made.sent(reply.stamp_as or 0, NOW_NS + S)
    got = head(ask(made, message(flags=2, timescale=1, server_cookie=reply.stamp_as or 0), NOW_NS + 2 * S))
    assert (3, NTP_NOW + (38 << 32)) == (got["flags"], got["transmit"])


def test_without_the_mode_no_cookie_is_given() -> None:
    reply = server().respond(message(flags=2), NOW_NS, NOW_NS, 0)
    assert isinstance(reply, Reply5)
    assert (None, 0, 1) == (reply.stamp_as, head(reply.data)["server_cookie"], head(reply.data)["flags"])
    basic = server(pairs=Pairs()).respond(message(server_cookie=1), NOW_NS, NOW_NS, 0)
    assert isinstance(basic, Reply5)
    assert (None, 0) == (basic.stamp_as, head(basic.data)["server_cookie"])


# -- what is served

TABLE = LeapTable(((1_435_708_800, 36), (1_483_228_800, 37), (1_798_761_600, 38)))
"""The last two leap seconds of history, and one at the end of 2026."""


def utc(seconds: int) -> Instant[Any]:
    return Instant.from_ns(seconds * S)


def test_the_timescales_around_a_leap_second() -> None:
    assert Scales(Timescale.UTC, {Timescale.TAI: 37 * S}) == scales_at(TABLE, utc(1_798_761_000))
    assert Scales(Timescale.UTC, {Timescale.TAI: None}) == scales_at(TABLE, utc(1_798_761_599))
    assert Scales(Timescale.UTC, {Timescale.TAI: 38 * S}) == scales_at(TABLE, utc(1_798_762_000))
    dut1 = scales_at(TABLE, utc(1_798_761_000), ut1=-250_000_000)
    assert {Timescale.TAI: 37 * S, Timescale.UT1: -250_000_000} == dict(dut1.shifts_ns)


def test_the_timescales_of_a_smearing_server() -> None:
    quiet = scales_at(TABLE, utc(1_790_000_000), ahead=Duration(0))
    assert Scales(Timescale.SMEARED, {Timescale.UTC: 0, Timescale.TAI: 37 * S}) == quiet
    edge = scales_at(TABLE, utc(1_798_761_600), ahead=Duration.from_s(0.5), rate=-1e-5)
    assert {Timescale.UTC: None, Timescale.TAI: None} == dict(edge.shifts_ns)
    got = head(ask(server(state(leap=Leap.INSERT), replace(SERVING, scales=edge)), message()))
    assert (3, 0x2C, NTP_NOW) == (got["timescale"], got["first"], got["receive"])


def test_utc_and_tai_are_told_during_a_smear_as_they_are() -> None:
    """The served clock loses one second in sixteen, which the shifts gain by its own seconds, and answers take long."""
    busy = scales_at(TABLE, utc(NOW_NS // S), ahead=Duration.from_s(-0.5), rate=-1 / 16)
    assert busy.rate == pytest.approx(1 / 15, rel=1e-15)
    at_ns, later_ns = NOW_NS - S // 2, NOW_NS - S // 2 + 15 * S
    assert (NOW_NS - at_ns, NOW_NS + 16 * S - later_ns) == (
        busy.shift_ns(Timescale.UTC, at_ns),
        busy.shift_ns(Timescale.UTC, later_ns),
    )
    made = server(state(leap=Leap.NONE), replace(SERVING, scales=busy, leap=Leap.INSERT))
    for timescale, ahead_s in ((Timescale.UTC, 0), (Timescale.TAI, TABLE.tai_utc(utc(NOW_NS // S)))):
        reply = made.respond(message(timescale=timescale), later_ns, later_ns + 3 * S, 0)
        assert isinstance(reply, Reply5)
        got = head(reply.data)
        true = NTP_NOW + (16 + ahead_s << 32)
        assert (timescale, true) == (got["timescale"], got["receive"])
        # 3 s of the served clock are 3.2 s.
        assert abs(got["transmit"] - true - (32 << 32) // 10) <= 4


def test_of_a_smeared_leap_second_only_those_are_told_who_ask_for_another_timescale() -> None:
    quiet = scales_at(TABLE, utc(1_798_700_000), ahead=Duration(0))
    made = server(state(leap=Leap.NONE), replace(SERVING, scales=quiet, leap=Leap.INSERT))
    for timescale, leap in ((Timescale.UTC, 1), (Timescale.TAI, 1), (Timescale.SMEARED, 0)):
        assert leap == head(ask(made, message(timescale=timescale), 1_798_700_000 * S))["first"] >> 6


def test_during_a_smear_only_the_smeared_timescale_is_interleaved() -> None:
    """The shift of a timestamp of a while ago was another one."""
    quiet, busy = (
        replace(SERVING, scales=scales_at(TABLE, utc(1_790_000_000), ahead=Duration(0), rate=rate))
        for rate in (0.0, -1e-5)
    )
    made = server(serving=quiet, pairs=Pairs())

    def interleaved(timescale: Timescale) -> list[bool]:
        """Whether a cookie is given, and the answer to that is interleaved."""
        reply = made.respond(message(flags=2, timescale=timescale), NOW_NS, NOW_NS, 0)
        assert isinstance(reply, Reply5)
        if reply.stamp_as is None:
            return []
        made.sent(reply.stamp_as, NOW_NS)
        cookie = head(reply.data)["server_cookie"]
        return [True, bool(head(ask(made, message(flags=2, timescale=timescale, server_cookie=cookie)))["flags"] & 2)]

    assert [True, True] == interleaved(Timescale.UTC)
    reply = made.respond(message(flags=2), NOW_NS, NOW_NS, 0)
    assert isinstance(reply, Reply5)
    made.sent(reply.stamp_as or 0, NOW_NS)
    made.publish(STATE, busy)
    assert [] == interleaved(Timescale.UTC) == interleaved(Timescale.TAI)
    assert [True, True] == interleaved(Timescale.SMEARED)
    made.publish(STATE, quiet)
    # That of before the smear is forgotten.
    assert 1 == head(ask(made, message(flags=2, server_cookie=reply.stamp_as or 0)))["flags"]


def test_a_timestamp_of_before_a_leap_second_is_none_after_it() -> None:
    """It would be told in TAI with the shift of after."""
    leap, cookie = 1_798_761_600, 0
    made = server(pairs=Pairs())
    for seconds, flags in ((-90, 1), (-30, 3), (30, 1), (90, 3)):
        made.publish(STATE, replace(SERVING, scales=scales_at(TABLE, utc(leap + seconds))))
        at_ns = (leap + seconds) * S
        reply = made.respond(message(flags=2, timescale=Timescale.TAI, server_cookie=cookie), at_ns, at_ns, 0)
        assert isinstance(reply, Reply5)
        assert reply.stamp_as is not None
        assert flags == head(reply.data)["flags"]
        made.sent(reply.stamp_as, at_ns)
        cookie = reply.stamp_as


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (1_796_083_200, Leap.NONE),  # 2026-12-01
        (1_797_551_999, Leap.NONE),  # 2026-12-17, 23:59:59
        (1_797_552_000, Leap.INSERT),  # 2026-12-18: fourteen days are left
        (1_798_761_599, Leap.INSERT),  # 2026-12-31, 23:59:59
    ],
)
def test_a_leap_second_is_announced_for_fourteen_days(second: int, expected: Leap) -> None:
    assert expected == announced(Leap.INSERT, second * S)
    assert Leap.UNKNOWN == announced(Leap.UNKNOWN, second * S)
    got = head(ask(server(state(leap=Leap.INSERT)), message(), second * S))
    assert (expected.value, 1) == (got["first"] >> 6, got["flags"])


bodies = st.one_of(st.binary(max_size=40), st.binary(min_size=12, max_size=12), st.just(bytes(24)), st.just(bytes(512)))
kinds = st.one_of(
    st.sampled_from([0xF501, 0xF502, 0xF506, 0xF5FF, 0x404, *range(0xF503, 0xF50A)]), st.integers(0, 0xFFFF)
)


@given(
    fields=st.lists(st.tuples(kinds, bodies), max_size=12),
    place=st.integers(0, 12),
    flags=st.integers(0, 0xFFFF),
    timescale=st.integers(0, 255),
    cookie=st.integers(0, (1 << 64) - 1),
    refusal=st.sampled_from([None, *Refusal]),
)
def test_an_answer_has_the_length_of_its_request(
    fields: list[tuple[int, bytes]], place: int, flags: int, timescale: int, cookie: int, refusal: Refusal | None
) -> None:
    fields = [*fields[:place], DRAFT_FIELD, *fields[place:]]
    request = message(fields, flags=flags, timescale=timescale, server_cookie=cookie, client_cookie=cookie)
    made = server(keys=(KEY,), pairs=Pairs())
    reply = made.respond(request, NOW_NS, NOW_NS, 0) if refusal is None else made.refuse(request, refusal)
    if isinstance(reply, Reply5):
        assert len(request) == len(reply.data)
        assert (0x2C, cookie) == (head(reply.data)["first"] & 0x3F, head(reply.data)["client_cookie"])
        assert [DRAFT] == parts(reply.data)[0xF5FF]
