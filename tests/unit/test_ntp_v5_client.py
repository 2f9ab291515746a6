"""The NTPv5 client's half of an exchange: answers laid out by hand, and our own server at the other end."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntp5_support import (
    COOKIE,
    DRAFT,
    NOW_NS,
    NTP_NOW,
    STATE,
    TAI_UTC,
    S,
    Scales,
    answer,
    entropy,
    head,
    message,
    parts,
    stamp,
)

from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Utc
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.exchange import DropReason, Limits, check_server, measure, server_time
from timesync.ntp.interleave import Pairs
from timesync.ntp.v5.bloom import ReferenceId, filter_of, served_filter
from timesync.ntp.v5.client import Answer5, Asked5, Session5, Settings5
from timesync.ntp.v5.server import Refusal, Reply5, Server5
from timesync.ntp.v5.serving import Scales as ServedScales
from timesync.ntp.v5.serving import Serving
from timesync.wire.ntp import Extension, Mode
from timesync.wire.ntp5 import Timescale

NAME = DRAFT.decode()
DRAFT_FIELD = (0xF5FF, DRAFT)
KEY = SymmetricKey(7, "AES128", b"sixteen octets!!")
SCALES = Scales()
DAY_NS = 86_400 * S


def session(**changes: Any) -> Session5:
    return Session5(Settings5(**changes))


def request(made: Session5, seed: int = 1, poll: int = 6) -> Asked5:
    return made.request(NAME, poll, entropy(seed))


def judge(made: Session5, asked: Asked5, data: bytes, **more: Any) -> Answer5 | DropReason:
    return made.judge(data, asked, stamp(), SCALES, **more)


def accepted(made: Session5, asked: Asked5, data: bytes) -> Answer5:
    got = judge(made, asked, data)
    assert isinstance(got, Answer5), got
    made.accepted(asked, got)
    return got


def test_a_request_tells_nothing_of_us() -> None:
    """«the fields in the header all zero except» version, mode, timescale, flags and cookies."""
    asked = request(session())
    assert message(client_cookie=asked.cookie) == asked.data
    assert asked.cookie != 0
    assert asked.cookie != request(session(), seed=2).cookie


def test_a_request_with_everything() -> None:
    made = session(timescale=Timescale.TAI, chunk=128, interleaved=True, key=KEY)
    asked = request(made)
    data = asked.data
    expected = message([DRAFT_FIELD, (0xF503, bytes(128))], timescale=1, flags=2, client_cookie=asked.cookie)
    assert expected + bytes.fromhex("f5020018 00000007") + KEY.digest(expected) == data


def test_an_answer_in_the_words_of_version_4() -> None:
    made = session()
    asked = request(made)
    got = accepted(made, asked, answer(asked.cookie, server_cookie=99))
    packet = got.packet
    assert (Mode.SERVER, Leap.NONE, 2, -20) == (packet.mode, packet.leap, packet.stratum, packet.precision)
    assert (asked.cookie, NTP_NOW, NTP_NOW + (1 << 20)) == (packet.origin, packet.receive, packet.transmit)
    assert (1 << 15, 1 << 14) == (packet.root_delay, packet.root_dispersion)
    assert (Duration.from_s(0.5), Duration.from_s(0.25)) == (got.root_delay, got.root_dispersion)
    now: Instant[Utc] = Instant.from_ns(NOW_NS)
    assert (4, now, False) == (got.least_poll, got.pivot, got.smeared)
    assert check_server(packet, frozenset(), Duration.from_s(1)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"first": 0x24}, DropReason.VERSION),
        ({"first": 0x2B}, DropReason.MODE),
        ({"client_cookie": COOKIE}, DropReason.ORIGIN),
        ({"client_cookie": 0}, DropReason.ORIGIN),
        ({"flags": 5}, DropReason.CRYPTO_NAK),
        ({"flags": 3}, DropReason.ORIGIN),
        ({"timescale": 2}, DropReason.TIMESCALE),
        ({"timescale": 3}, DropReason.TIMESCALE),
        ({"timescale": 4}, DropReason.TIMESCALE),
        ({"fields": []}, DropReason.DRAFT),
        ({"fields": [(0xF5FF, b"draft-ietf-ntp-ntpv5-09")]}, DropReason.DRAFT),
        ({"fields": [DRAFT_FIELD, DRAFT_FIELD]}, DropReason.DRAFT),
    ],
)
def test_what_is_no_answer(changes: dict[str, Any], reason: DropReason) -> None:
    made = session()
    asked = request(made)
    assert reason == judge(made, asked, answer(asked.cookie, **changes))


def test_what_is_too_short_or_broken() -> None:
    made = session()
    asked = request(made)
    data = answer(asked.cookie)
    assert DropReason.SHORT == judge(made, asked, data[:47])
    assert DropReason.FORMAT == judge(made, asked, data + b"\0\1\0\2")


def test_an_answer_of_version_4_that_copies_the_version_is_refused() -> None:
    """«Responses to NTPv5 requests have a zero client cookie»: an old server has its own idea of those octets."""
    made = session()
    asked = request(made)
    old = struct.pack(">BBbbII4sQQQQ", 0x2C, 2, 6, -20, 0, 0, b"\0\0\0\1", NTP_NOW, 0, NTP_NOW, NTP_NOW)
    assert DropReason.ORIGIN == judge(made, asked, old)


def test_an_unsynchronized_server_is_known_by_its_flag() -> None:
    made = session()
    asked = request(made)
    got = judge(made, asked, answer(asked.cookie, flags=0))
    assert isinstance(got, Answer5)
    assert (Leap.UNKNOWN, 2) == (got.packet.leap, got.packet.stratum)
    assert DropReason.UNSYNCHRONISED == check_server(got.packet, frozenset(), Duration.from_s(16))


def test_a_synchronized_server_may_know_no_leap_seconds() -> None:
    made = session()
    asked = request(made)
    got = judge(made, asked, answer(asked.cookie, first=0xEC))
    assert isinstance(got, Answer5)
    assert (Leap.UNKNOWN, Leap.NONE) == (got.leap, got.packet.leap)
    assert check_server(got.packet, frozenset(), Duration.from_s(16)) is None


@pytest.mark.parametrize(("delay", "dispersion"), [(0, 0xFFFF_FFFF), (0xFFFF_FFFF, 0)])
def test_what_a_time32_cannot_say_is_too_far(delay: int, dispersion: int) -> None:
    """«root delay and dispersion both smaller than a specific value (e.g. 16 seconds)»."""
    made = session()
    asked = request(made)
    got = judge(made, asked, answer(asked.cookie, delay=delay, dispersion=dispersion))
    assert isinstance(got, Answer5)
    assert DropReason.DISTANCE == check_server(got.packet, frozenset(), Duration.from_s(16))


@pytest.mark.parametrize(
    ("stratum", "poll", "code"),
    [(0, 7, b"RATE"), (0, 6, bytes(4)), (0, 127, b"DENY"), (2, 127, b"DENY"), (2, 10, bytes(4))],
)
def test_what_a_poll_says(stratum: int, poll: int, code: bytes) -> None:
    """Ours is 6. Stratum 0 alone says that the server has no time."""
    made = session()
    asked = request(made, poll=6)
    got = judge(made, asked, answer(asked.cookie, stratum=stratum, poll=poll))
    assert isinstance(got, Answer5)
    assert (code, 0 if code.strip(b"\0") else stratum) == (got.packet.reference_id, got.packet.stratum)


def test_a_longer_poll_is_obeyed_up_to_a_limit() -> None:
    for settings, said, obeyed in [({}, 16, 15), ({}, 15, 15), ({"key": KEY}, 126, 18)]:
        made = session(**settings)
        asked = request(made)
        data = answer(asked.cookie, poll=said)
        if settings:
            data += struct.pack(">HHI", 0xF502, 24, 7) + KEY.digest(data)
        got = judge(made, asked, data)
        assert isinstance(got, Answer5)
        assert obeyed == got.least_poll


# -- timescales and eras


def test_an_answer_in_tai_is_converted() -> None:
    for timescale in (Timescale.UTC, Timescale.TAI):
        made = session(timescale=timescale)
        asked = request(made)
        tai = NTP_NOW + (TAI_UTC << 32)
        got = judge(made, asked, answer(asked.cookie, timescale=1, receive=tai + 12345, transmit=tai + 99999))
        assert isinstance(got, Answer5)
        assert (NTP_NOW + 12345, NTP_NOW + 99999) == (got.packet.receive, got.packet.transmit)


def test_smeared_time_is_for_who_asks_for_it() -> None:
    made = session(timescale=Timescale.SMEARED)
    asked = request(made)
    got = judge(made, asked, answer(asked.cookie, timescale=3))
    assert isinstance(got, Answer5)
    assert got.smeared
    assert DropReason.TIMESCALE == judge(made, asked, answer(asked.cookie, timescale=0))
    with pytest.raises(ValueError, match="UT1"):
        Settings5(timescale=Timescale.UT1)


@pytest.mark.parametrize("timescale", [0, 1])
@pytest.mark.parametrize("before_ns", [0, 1, 20 * S, 40 * S])
def test_the_era_is_believed_when_our_clock_is_a_century_off(timescale: int, before_ns: int) -> None:
    """A board that believes in 2160; the server is about to enter era 1, in 2036."""
    moment_ns = 2_085_978_496 * S - before_ns
    whole = ((moment_ns + timescale * TAI_UTC * S) << 32) // S + (2_208_988_800 << 32)
    made = session()
    asked = request(made)
    data = answer(
        asked.cookie,
        timescale=timescale,
        era=whole >> 64,
        receive=whole & (1 << 64) - 1 or 1,
        transmit=(whole + (1 << 30)) & (1 << 64) - 1 or 1,
    )
    got = made.judge(data, asked, stamp(6_000_000_000 * S), SCALES)
    assert isinstance(got, Answer5)
    assert got.pivot is not None
    assert abs(got.pivot.ns() - moment_ns) <= 1
    expected = ((moment_ns << 32) // S + (2_208_988_800 << 32)) & (1 << 64) - 1
    assert -1 <= got.packet.receive - (expected or 1) <= 1
    assert (1 << 30) - 2 <= (got.packet.transmit - got.packet.receive) % (1 << 64) <= (1 << 30) + 2


@pytest.mark.parametrize("timescale", [0, 1])
def test_a_server_that_leaves_the_era_at_0_is_still_understood(timescale: int) -> None:
    """ntpd-rs does so; in 2040 that is a time before this software."""
    now_ns = 2_208_988_800 * S
    whole = ((now_ns + timescale * TAI_UTC * S) << 32) // S + (2_208_988_800 << 32)
    made = session()
    asked = request(made)
    low = whole & (1 << 64) - 1
    got = made.judge(
        answer(asked.cookie, timescale=timescale, receive=low, transmit=low + 5), asked, stamp(now_ns), SCALES
    )
    assert isinstance(got, Answer5)
    t2 = server_time(got.packet.receive, stamp(now_ns), SCALES)
    assert isinstance(t2, Instant)
    assert (None, now_ns + TAI_UTC * S) == (got.pivot, t2.ns())


# -- authentication


def test_an_answer_without_the_right_code_is_refused() -> None:
    made = session(key=KEY)
    asked = request(made)
    plain = answer(asked.cookie)
    good = plain + struct.pack(">HHI", 0xF502, 24, 7) + KEY.digest(plain)
    assert isinstance(judge(made, asked, good), Answer5)
    assert DropReason.MAC == judge(made, asked, plain)
    assert DropReason.MAC == judge(made, asked, good + bytes.fromhex("f5010004"))
    for place in (1, 40, 60, len(plain) + 7, len(good) - 1):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        assert judge(made, asked, bad) in (DropReason.MAC, DropReason.FORMAT), place


def test_a_nak_is_told_from_a_wrong_code() -> None:
    made = session(key=KEY)
    asked = request(made)
    assert DropReason.CRYPTO_NAK == judge(made, asked, answer(asked.cookie, stratum=0, flags=4))


def test_with_nts_only_protected_fields_count() -> None:
    made = session(chunk=16)
    asked = request(made)
    data = answer(asked.cookie, [DRAFT_FIELD, (0xF504, b"\xff" * 16)])
    assert DropReason.DRAFT == judge(made, asked, data, trusted=())
    got = judge(made, asked, data, trusted=(Extension(0xF5FF, DRAFT), Extension(0xF504, bytes(16))))
    assert isinstance(got, Answer5)
    assert bytes(16) == got.references


# -- with our server


def far_end(**more: Any) -> Server5:
    made = Server5(keys=(KEY,), pairs=Pairs(), **more)
    members = [filter_of(ReferenceId.of_address(f"192.0.2.{n}")) for n in range(9)]
    serving = Serving(
        poll=3,
        references=served_filter(ReferenceId.random(entropy(3)), members),
        scales=ServedScales(Timescale.UTC, {Timescale.TAI: TAI_UTC * S}),
    )
    made.publish(STATE, serving)
    return made


def talk(made: Session5, server: Server5, at_ns: int = NOW_NS, seed: int = 1) -> tuple[Asked5, Answer5]:
    asked = request(made, seed)
    reply = server.respond(asked.data, at_ns, at_ns + 1000, 0)
    assert isinstance(reply, Reply5)
    assert len(asked.data) == len(reply.data)
    if reply.stamp_as is not None:
        server.sent(reply.stamp_as, at_ns + 5000)
    return asked, accepted(made, asked, reply.data)


@pytest.mark.parametrize("timescale", [Timescale.UTC, Timescale.TAI])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_burst_of_four_brings_all_reference_ids(timescale: Timescale, key: SymmetricKey | None) -> None:
    made = session(timescale=timescale, chunk=128, key=key)
    server = far_end()
    for n in range(4):
        assert made.references is None
        talk(made, server, seed=n)
    references = made.references
    assert references is not None
    assert all(ReferenceId.of_address(f"192.0.2.{n}") in references for n in range(9))
    assert ReferenceId.random(entropy(3)) in references
    assert ReferenceId.of_address("192.0.2.99") not in references


def test_interleaved_answers_have_the_time_of_the_answer_before() -> None:
    made = session(interleaved=True)
    server = far_end()
    asked, got = talk(made, server)
    assert (0, asked.cookie, NTP_NOW + (1 << 32) // 1_000_000) == (
        asked.server_cookie,
        got.packet.origin,
        got.packet.transmit,
    )
    for n in range(1, 4):
        asked, got = talk(made, server, NOW_NS + n * S, seed=n + 1)
        assert asked.server_cookie != 0
        assert asked.server_cookie == got.packet.origin, "as an interleaved answer of version 4 has it"
        assert NTP_NOW + (n - 1 << 32) + (5 << 32) // 1_000_000 == got.packet.transmit
    made.forget()
    asked, got = talk(made, server, NOW_NS + 9 * S)
    assert (0, asked.cookie) == (asked.server_cookie, got.packet.origin)


def test_when_the_answer_before_is_of_no_use_its_cookie_is_not_named() -> None:
    made = session(interleaved=True)
    talk(made, far_end())
    asked = made.request(NAME, 6, entropy(2), interleaved=False)
    assert (2, 0) == (head(asked.data)["flags"], head(asked.data)["server_cookie"])


def test_the_two_cookies_of_a_request_differ() -> None:
    """Else it could not be told which of them an answer has as its origin."""
    made = session(interleaved=True)
    asked = request(made)
    accepted(made, asked, answer(asked.cookie, server_cookie=COOKIE))
    given = [bytes(8), COOKIE.to_bytes(8, "big"), bytes(7) + b"\1"]
    again = made.request(NAME, 6, lambda _: given.pop(0))
    assert (1, COOKIE) == (again.cookie, again.server_cookie)


@pytest.mark.parametrize(
    ("refusal", "expected"), [(Refusal.RATE, b"RATE"), (Refusal.DENY, b"DENY"), (Refusal.NAK, DropReason.CRYPTO_NAK)]
)
def test_refusals_are_understood(refusal: Refusal, expected: bytes | DropReason) -> None:
    made = session()
    asked = request(made, poll=2)
    reply = far_end().refuse(asked.data, refusal)
    assert isinstance(reply, Reply5)
    got = judge(made, asked, reply.data)
    assert expected == (got if isinstance(got, DropReason) else got.packet.reference_id)


def test_the_sample_is_that_of_the_four_timestamps() -> None:
    """Through ``exchange.measure``, as in version 4: our clock is 3 s ahead, and each way takes 2 ms."""
    made = session(timescale=Timescale.TAI)
    server = far_end()
    asked = request(made)
    reply = server.respond(asked.data, NOW_NS, NOW_NS + 1_000_000, 0)
    assert isinstance(reply, Reply5)
    t1, t4 = stamp(NOW_NS + 3 * S - 2_000_000), stamp(NOW_NS + 3 * S + 3_000_000)
    got = made.judge(reply.data, asked, t4, SCALES)
    assert isinstance(got, Answer5)
    t2, t3 = server_time(got.packet.receive, t4, SCALES), server_time(got.packet.transmit, t4, SCALES)
    assert isinstance(t2, Instant)
    assert isinstance(t3, Instant)
    sample = measure(t1, t2, t3, t4, got.packet.precision, Limits(Duration(1), Duration.from_s(3)), SCALES)
    assert not isinstance(sample, DropReason)
    assert (3 * S, 4_000_000) == (sample.offset.ns(), sample.round_trip.ns())


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("size", [24, 8])
def test_a_correction_that_was_not_asked_for_is_ignored(key: SymmetricKey | None, size: int) -> None:
    """It stands behind the MAC, and routers may change it."""
    made = session(key=key)
    asked = request(made)
    data = answer(asked.cookie, [DRAFT_FIELD])
    if key is not None:
        data += bytes.fromhex("f5020018 00000007") + key.digest(data)
    assert isinstance(judge(made, asked, data + struct.pack(">HH", 0xF506, 4 + size) + bytes(size)), Answer5)


@given(st.binary(min_size=48, max_size=48), st.binary(max_size=80))
def test_whatever_comes_is_an_answer_or_a_reason(header: bytes, tail: bytes) -> None:
    made = session(chunk=16, interleaved=True)
    asked = request(made)
    data = b"\x2c" + header[1:24] + asked.cookie.to_bytes(8, "big") + header[32:]
    for one in (data + tail, data + bytes.fromhex("f5ff001b") + DRAFT + b"\0" + tail):
        got = judge(made, asked, one)
        if isinstance(got, Answer5):
            assert [DRAFT] == parts(one)[0xF5FF]
            made.accepted(asked, got)
