"""The NTP client as a machine: what it sends, what it believes, and what it makes of it."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from ntp_client_support import (
    MS,
    NTP_UNIX,
    START_NS,
    TAI_UTC,
    US,
    Reply,
    Request,
    S,
    Story,
    done,
    measured,
    notes,
    ntp_stamp,
    reasons,
    settings,
    statuses,
)

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Dropped, Effect, Machine, Measured, SendStamped
from timesync.base.measure import Leap, StampSource
from timesync.base.time import Duration, Instant
from timesync.base.utc import LeapTable
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client_interleaved import Interleaved
from timesync.ntp.exchange import DropReason
from timesync.ntp.speech import Speech4

KEY = SymmetricKey(7, "SHA256", b"0123456789abcdef")


# -- requests


def test_the_client_is_a_machine() -> None:
    machine: Machine = Story().client
    assert machine.deadline() == Instant(0), "the first request is due at once"


def test_a_request_tells_nothing_but_version_mode_poll_and_random_bits() -> None:
    request = Story().ask()

    assert struct.pack(">BBbb", 4 << 3 | 3, 0, 4, 32) == request.data[:4]
    assert bytes(36) == request.data[4:40], "no root, no reference, no origin, no receive timestamp"
    assert request.transmit != 0
    assert len(request.data) == 48


def test_the_transmit_timestamp_is_fresh_entropy_and_never_zero() -> None:
    given = [bytes(8), bytes(7) + b"\1", bytes(8), bytes(7) + b"\2"]
    story = Story()
    speech = story.client._speech
    assert isinstance(speech, Speech4)
    speech._entropy = lambda size, /: given.pop(0)[:size]

    assert [1, 2] == [story.ask().transmit, story.ask().transmit]


def test_each_request_has_a_token_of_its_own() -> None:
    story = Story()
    tokens = [story.ask().token for _ in range(5)]
    assert len(set(tokens)) == 5


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_the_version_is_the_configured_one(version: int) -> None:
    assert version == Story({"version": version}).ask().data[0] >> 3 & 7


def test_a_keyed_request_ends_with_key_id_and_digest() -> None:
    request = Story({"key": KEY}).ask()
    assert (7).to_bytes(4, "big") + KEY.digest(request.data[:48]) == request.data[48:]
    assert len(request.data) == 48 + 24


def test_a_request_of_version_3_carries_its_digest_whole() -> None:
    request = Story({"key": KEY, "version": 3}).ask()
    assert len(request.data) == 48 + 4 + 32


# -- what four timestamps give


def test_offset_is_local_minus_remote_and_delay_one_way() -> None:
    story = Story(local_ahead_ns=3 * MS, forward_ns=700 * US, back_ns=700 * US)
    (measurement,) = measured(story.exchange())

    assert abs(measurement.offset.ns() - 3 * MS) <= 1
    assert measurement.delay is not None
    assert abs(measurement.delay.ns() - 700 * US) <= 1
    # The middle between our two stamps, on our own clock.
    middle = story.utc_ns + TAI_UTC * S + 3 * MS + (700 * 2 + 20) * US // 2
    assert middle == measurement.at.ns()


def test_a_clock_that_is_behind_has_a_negative_offset() -> None:
    (measurement,) = measured(Story(local_ahead_ns=-2 * S).exchange())
    assert abs(measurement.offset.ns() + 2 * S) <= 1


def test_asymmetry_shows_as_half_its_size() -> None:
    (measurement,) = measured(Story(local_ahead_ns=0, forward_ns=10 * MS, back_ns=2 * MS).exchange())
    assert abs(measurement.offset.ns() + 4 * MS) <= 1, "T1 - T2 is 10 ms, T4 - T3 is 2 ms: (-10 + 2) / 2"


def test_no_time_is_ever_a_float_of_an_epoch() -> None:
    # A float64 of today resolves 238 ns: 3 ns could not come through.
    (measurement,) = measured(Story(local_ahead_ns=3, forward_ns=0, back_ns=0, served_ns=0).exchange())
    assert 3 * 65536 - 65536 <= measurement.offset.scaled_ns <= 3 * 65536


def test_the_measurement_carries_the_names_and_the_servers_words() -> None:
    story = Story({"key": KEY})
    request = story.ask()
    story.sent(request)
    body = story.reply(request, stratum=3, leap=1, precision=-20, root_delay=0x8000, root_dispersion=0x4000).pack()
    (measurement,) = measured(story.receive(request, KEY.sign(body)))

    assert ("a", "system", "ntp:192.0.2.1:123", 0) == (
        measurement.link,
        measurement.local,
        measurement.remote,
        measurement.epoch,
    )
    quality = measurement.quality
    assert quality is not None
    assert (3, Leap.INSERT, b"\xc0\x00\x02\x07", True) == (
        quality.stratum,
        quality.leap,
        quality.reference_id,
        quality.authenticated,
    )
    assert 0.5 == quality.root_delay.s()
    assert 0.25 == quality.root_dispersion.s()
    assert 2.0**-20 == pytest.approx(quality.precision_s)


def test_noise_is_both_precisions_and_user_stamps_add_50_us() -> None:
    kernel = measured(Story(precision=Duration.from_ns(300)).exchange(precision=-20))[0]
    user = measured(Story(precision=Duration.from_ns(300), source=StampSource.USER).exchange(precision=-20))[0]

    assert (300e-9**2 + (2.0**-20) ** 2) ** 0.5 == pytest.approx(kernel.noise_s, rel=1e-6)
    assert (kernel.noise_s**2 + 50e-6**2) ** 0.5 == pytest.approx(user.noise_s, rel=1e-6)


@pytest.mark.parametrize("source", list(StampSource))
def test_status_tells_the_worse_of_both_stamps(source: StampSource) -> None:
    story = Story()
    request = story.ask()
    story.client.on_sent(request.token, story.stamp(story.utc_ns, source=StampSource.HARDWARE), story.now)
    story.receive(request, story.reply(request).pack(), source=source)
    assert source is story.client.status().timestamping


def test_status_of_a_stranger() -> None:
    status = Story().client.status()
    assert (0, 0, 0, 16, Leap.UNKNOWN, None, None) == (
        status.reach,
        status.sent,
        status.received,
        status.stratum,
        status.leap,
        status.timestamping,
        status.excluded,
    )
    assert 16.0 == status.poll_s


# -- stamps


def test_an_answer_is_held_until_the_transmit_stamp_is_known() -> None:
    story = Story()
    request = story.ask()
    held = story.receive(request, story.reply(request).pack())
    assert [] == measured(held)
    assert [] == done(held), "the socket must stay, the stamp comes from its error queue"

    effects = story.sent(request)
    assert 3 * MS == pytest.approx(measured(effects)[0].offset.ns(), abs=1)
    assert [request.token] == done(effects)


def test_a_lost_transmit_stamp_drops_the_sample_whichever_comes_first() -> None:
    for answer_first in (False, True):
        story = Story()
        request = story.ask()
        data = story.reply(request).pack()
        effects = story.receive(request, data) if answer_first else story.sent(request, lost=True)
        effects += story.sent(request, lost=True) if answer_first else story.receive(request, data)
        assert ["stamp"] == reasons(effects)
        assert [] == measured(effects)
        assert 1 == story.client.status().reach, "the server did answer"


def test_an_answer_whose_transmit_stamp_never_comes_is_dropped_in_the_end() -> None:
    story = Story()
    request = story.ask()
    story.receive(request, story.reply(request).pack())
    assert story.wait() is None
    assert ["stamp"] == reasons(story.effects)
    assert [request.token] == done(story.effects)


def test_the_transmit_stamp_counts_once() -> None:
    story = Story()
    request = story.ask()
    story.sent(request, lost=True)
    story.sent(request)
    assert ["stamp"] == reasons(story.receive(request, story.reply(request).pack()))


# -- every reason to drop, each with the answer that earns it


def _altered(**changes: Any) -> Any:
    return lambda story, request: story.reply(request, **changes).pack()


def _response(seconds: float) -> Any:
    def build(story: Story, request: Request) -> bytes:
        reply = story.reply(request)
        return replace(reply, transmit=ntp_stamp(story.utc_ns + story.forward_ns + int(seconds * S))).pack()

    return build


BAD_ANSWERS: list[tuple[str, DropReason, Any]] = [
    ("empty", DropReason.SHORT, lambda s, r: b""),
    ("47 octets", DropReason.SHORT, lambda s, r: s.reply(r).pack()[:47]),
    ("version 5", DropReason.VERSION, _altered(version=5)),
    ("version 0", DropReason.VERSION, _altered(version=0)),
    ("version 2 to a request of 4", DropReason.VERSION, _altered(version=2)),
    ("a request", DropReason.MODE, _altered(mode=3)),
    ("broadcast", DropReason.MODE, _altered(mode=5)),
    ("control", DropReason.MODE, _altered(mode=6)),
    ("our own request, reflected", DropReason.MODE, lambda s, r: r.data),
    ("odd length", DropReason.FORMAT, lambda s, r: s.reply(r).pack() + b"\0\0"),
    ("extension field of length 0", DropReason.FORMAT, lambda s, r: s.reply(r).pack() + bytes(28)),
    ("origin zero", DropReason.ORIGIN, _altered(origin=0)),
    ("origin one bit off", DropReason.ORIGIN, lambda s, r: s.reply(r, origin=r.transmit ^ 1).pack()),
    ("origin is the zero receive field", DropReason.ORIGIN, lambda s, r: s.reply(r, origin=r.receive).pack()),
    ("crypto-NAK", DropReason.CRYPTO_NAK, lambda s, r: s.reply(r).pack() + bytes(4)),
    ("no receive timestamp", DropReason.ZERO, _altered(receive=0)),
    ("no transmit timestamp", DropReason.ZERO, _altered(transmit=0)),
    ("kiss", DropReason.KISS, _altered(stratum=0, leap=3, reference_id=b"RATE")),
    ("kiss of unknown kind", DropReason.KISS, _altered(stratum=0, leap=3, reference_id=b"XYZ\0")),
    ("leap 3", DropReason.UNSYNCHRONISED, _altered(leap=3)),
    ("not set yet", DropReason.UNSYNCHRONISED, _altered(leap=3, stratum=0, reference_id=b"INIT")),
    ("stratum 0, no kiss", DropReason.STRATUM, _altered(stratum=0, reference_id=bytes(4))),
    ("stratum 16", DropReason.STRATUM, _altered(stratum=16)),
    ("stratum 255", DropReason.STRATUM, _altered(stratum=255)),
    ("root dispersion 16 s", DropReason.DISTANCE, _altered(root_dispersion=16 << 16, root_delay=0)),
    ("root delay 32 s", DropReason.DISTANCE, _altered(root_dispersion=0, root_delay=32 << 16)),
    ("root delay negative in v3 style", DropReason.DISTANCE, _altered(root_delay=0xFFFF_0000)),
    ("our own reference id", DropReason.LOOP, _altered(reference_id=b"\x0a\x00\x00\x01")),
    ("precision 2^127 s", DropReason.PRECISION, _altered(precision=127)),
    ("precision 2^2 s", DropReason.PRECISION, _altered(precision=2)),
    ("4.1 s in the server", DropReason.RESPONSE, _response(4.1)),
    ("answered before it was asked", DropReason.RESPONSE, _response(-0.001)),
    ("round trip negative", DropReason.DELAY, _response(0.0015)),
]


@pytest.mark.parametrize(("name", "reason", "build"), BAD_ANSWERS, ids=[row[0] for row in BAD_ANSWERS])
def test_a_bad_answer_is_dropped_for_its_reason(name: str, reason: DropReason, build: Any) -> None:
    story = Story()
    story.client.set_own_reference_ids(frozenset({b"\x0a\x00\x00\x01"}))
    request = story.ask()
    effects = story.sent(request) + story.receive(request, build(story, request))

    assert [reason.value] == reasons(effects), name
    assert [] == measured(effects)
    assert 1 == story.client.status().dropped


NOT_AN_ANSWER = {
    DropReason.SHORT,
    DropReason.VERSION,
    DropReason.MODE,
    DropReason.FORMAT,
    DropReason.ORIGIN,
    DropReason.CRYPTO_NAK,
    DropReason.ZERO,
}


@pytest.mark.parametrize(("name", "reason", "build"), BAD_ANSWERS, ids=[row[0] for row in BAD_ANSWERS])
def test_only_a_true_answer_ends_the_exchange(name: str, reason: DropReason, build: Any) -> None:
    """A forgery must not shut out the answer that is still on its way (V3, V4)."""
    story = Story()
    story.client.set_own_reference_ids(frozenset({b"\x0a\x00\x00\x01"}))
    request = story.ask()
    bad = story.sent(request) + story.receive(request, build(story, request))
    good = story.receive(request, story.reply(request).pack())

    if reason in NOT_AN_ANSWER:
        assert [] == done(bad)
        assert 1 == len(measured(good)), name
    else:
        assert [request.token] == done(bad)
        assert ["late"] == reasons(good), "one answer per request"


def test_the_remaining_reasons() -> None:
    """Those that need more than one altered packet; with the table this is every reason there is."""
    seen = {row[1] for row in BAD_ANSWERS}

    story = Story()
    request = story.ask()
    data = story.reply(request).pack()
    story.receive(request, data)
    assert ["duplicate"] == reasons(story.receive(request, data)), "while the first is held for its stamp"
    seen.add(DropReason.DUPLICATE)

    story.sent(request)
    assert ["late"] == reasons(story.receive(request, data)), "after the exchange is over"
    seen.add(DropReason.LATE)

    replayed = story.ask()
    again = Reply(origin=replayed.transmit, receive=int.from_bytes(data[32:40]), transmit=int.from_bytes(data[40:48]))
    assert ["duplicate"] == reasons(story.sent(replayed) + story.receive(replayed, again.pack()))

    story = Story({"key": KEY})
    request = story.ask()
    assert ["mac"] == reasons(story.receive(request, story.reply(request).pack())), "MAC missing"
    seen.add(DropReason.MAC)

    story = Story()
    request = story.ask()
    story.sent(request)
    assert ["epoch"] == reasons(story.receive(request, story.reply(request).pack(), epoch=1))
    seen.add(DropReason.EPOCH)

    story = Story()
    request = story.ask()
    story.sent(request)
    assert ["stamp"] == reasons(
        list(story.client.on_packet(request.token, story.reply(request).pack(), None, story.now))
    )
    seen.add(DropReason.STAMP)

    story = Story(local_ahead_ns=0)
    story.scales.blurred = {(story.utc_ns) // S}
    assert ["leap-second"] == reasons(story.exchange())
    seen.add(DropReason.LEAP_SECOND)

    nts = {one for one in DropReason if one.startswith("nts-")}  # see test_ntp_client_nts.py
    version_5 = {DropReason.DRAFT, DropReason.TIMESCALE}  # see test_ntp_v5_client.py
    assert set(DropReason) - nts - version_5 == seen


def test_stamps_of_another_clock_are_no_stamps() -> None:
    story = Story()
    request = story.ask()
    story.sent(request)
    assert ["stamp"] == reasons(story.receive(request, story.reply(request).pack(), clock=ClockId("eth0")))

    request = story.ask()
    story.client.on_sent(request.token, story.stamp(story.utc_ns, clock=ClockId("eth0")), story.now)
    assert ["stamp"] == reasons(story.receive(request, story.reply(request).pack()))


@pytest.mark.parametrize(
    "which", ["server receives", "server sends", "we send", "we receive"], ids=["t2", "t3", "t1", "t4"]
)
def test_each_of_the_four_stamps_is_checked_for_the_leap_second(which: str) -> None:
    """Each in a second of its own: 0, +1 s, +2 s and +3 s."""
    story = Story(local_ahead_ns=0, forward_ns=S, served_ns=S, back_ns=S)
    request = story.ask()
    start = story.utc_ns // S
    second = {
        "we send": start,
        "server receives": start + 1,
        "server sends": start + 2,
        "we receive": start + 3,
    }
    story.scales.blurred = {second[which]}
    assert ["leap-second"] == reasons(story.sent(request) + story.receive(request, story.reply(request).pack()))


@pytest.mark.parametrize(("seconds_after", "ambiguous"), [(-60, False), (-1, True), (0, True), (60, False)])
def test_the_real_leap_table_at_the_end_of_2016(seconds_after: int, ambiguous: bool) -> None:
    """TAI - UTC was 36 s before 2017-01-01 00:00:00 UTC (1483228800) and 37 s after."""
    story = Story(local_ahead_ns=(36 - TAI_UTC if seconds_after < 0 else 0) * S)
    story.client._scales = LeapTable(((1_435_708_800, 36), (1_483_228_800, 37)))
    story.start_ns = (1_483_228_800 + seconds_after) * S - story.mono_ns
    effects = story.exchange()
    if ambiguous:
        assert ["leap-second"] == reasons(effects)
    else:
        assert abs(measured(effects)[0].offset.ns()) <= 1


def test_a_slightly_negative_round_trip_is_clamped() -> None:
    story = Story(forward_ns=0, back_ns=0, served_ns=0, precision=Duration.from_ns(1000))
    request = story.ask()
    story.sent(request)
    reply = story.reply(request, precision=-20)
    reply = replace(reply, transmit=ntp_stamp(story.utc_ns + 249_900))
    (measurement,) = measured(story.receive(request, reply.pack()))
    assert Duration(0) == measurement.delay

    request = story.ask()
    story.sent(request)
    reply = replace(story.reply(request, precision=-20), transmit=ntp_stamp(story.utc_ns + 250_100))
    assert ["delay"] == reasons(story.receive(request, reply.pack()))


def test_a_round_trip_over_the_limit() -> None:
    story = Story({"max_delay": Duration.from_s(0.1)}, forward_ns=51 * MS, back_ns=50 * MS)
    assert ["delay"] == reasons(story.exchange())
    assert 1 == story.client.status().reach


def test_a_server_of_version_3_may_answer_a_request_of_version_4() -> None:
    assert 1 == len(measured(Story().exchange(version=3)))


def test_an_unsynchronised_server_is_reachable_all_the_same() -> None:
    story = Story()
    effects = story.exchange(leap=3, stratum=16)
    assert 1 == story.client.status().reach
    assert Leap.UNKNOWN is story.client.status().leap
    assert 16 == story.client.status().stratum
    assert ["ntp-reachable"] == notes(effects)


def test_an_answer_after_its_time_is_late() -> None:
    story = Story()
    request = story.ask()
    story.sent(request)
    story.mono_ns += 5 * S + 1
    assert ["late"] == reasons(story.receive(request, story.reply(request).pack()))


# -- MACs


def test_a_keyed_answer_is_measured_and_every_flipped_bit_is_refused() -> None:
    story = Story({"key": KEY})
    request = story.ask()
    story.sent(request)
    signed = KEY.sign(story.reply(request).pack())
    for position in (8, 39, 47, 48, 51, 52, len(signed) - 1):
        forged = bytearray(signed)
        forged[position] ^= 1
        assert ["mac"] == reasons(story.receive(request, bytes(forged))), position
    assert 0 == story.client.status().reach, "no state is touched by what is not authentic"
    assert 1 == len(measured(story.receive(request, signed)))


def test_the_answer_must_be_signed_with_the_key_of_this_association() -> None:
    other = SymmetricKey(8, "SHA256", KEY.secret)
    story = Story({"key": KEY})
    request = story.ask()
    story.sent(request)
    assert ["mac"] == reasons(story.receive(request, other.sign(story.reply(request).pack())))


def test_a_mac_that_was_not_asked_for_is_passed_over() -> None:
    story = Story()
    request = story.ask()
    story.sent(request)
    assert 1 == len(measured(story.receive(request, KEY.sign(story.reply(request).pack()))))


def test_a_source_is_authenticated_only_after_a_valid_signed_answer() -> None:
    story = Story({"key": KEY})
    request = story.ask()
    story.sent(request)
    assert ["mac"] == reasons(story.receive(request, story.reply(request).pack()))
    before = story.client.status()
    story.receive(request, KEY.sign(story.reply(request).pack()))
    after = story.client.status()

    assert (True, False, 0) == (before.keyed, before.authenticated, before.received)
    assert (True, True, 1) == (after.keyed, after.authenticated, after.received)
    unkeyed = Story()
    unkeyed.exchange()
    status = unkeyed.client.status()
    assert (False, False, 1) == (status.keyed, status.authenticated, status.received)


def test_an_unsigned_kiss_means_nothing_to_a_keyed_client() -> None:
    story = Story({"key": KEY})
    for _ in range(5):
        effects = story.exchange(stratum=0, leap=3, reference_id=b"DENY", receive=0, transmit=0)
        assert ["mac"] == reasons(effects)
    assert story.client.status().excluded is None


def test_unknown_extension_fields_are_ignored() -> None:
    story = Story()
    request = story.ask()
    story.sent(request)
    unknown = struct.pack(">HH24s", 0x7FFF, 28, b"whatever")
    assert 1 == len(measured(story.receive(request, story.reply(request).pack() + unknown)))


# -- era and wrong clocks


@pytest.mark.parametrize(
    ("true_unix_s", "local_unix_s"),
    [
        pytest.param(1_790_000_000, 0, id="a board that boots in 1970"),
        pytest.param(2_085_978_496 + 10, 2_085_978_496 - 10, id="across the era of 2036"),
        pytest.param(2_085_978_496 + 10**8, 2_085_978_496 + 10**8 + 5, id="in era 1"),
        pytest.param(2_085_978_496 + 10**8, 0, id="in era 1, booting in 1970"),
        pytest.param(1_790_000_000, 1_790_000_000 + 10**9, id="30 years fast"),
    ],
)
def test_the_offset_is_right_in_any_era(true_unix_s: int, local_unix_s: int) -> None:
    story = Story(local_ahead_ns=(local_unix_s - true_unix_s) * S)
    story.mono_ns = true_unix_s * S - START_NS
    (measurement,) = measured(story.exchange())
    assert (local_unix_s - true_unix_s) * S == pytest.approx(measurement.offset.ns(), abs=1)


def test_the_eras_second_2036_is_where_rfc_5905_says() -> None:
    assert 0 == (2_085_978_496 + NTP_UNIX) % 2**32


# -- timers


def test_the_interval_is_spread_by_two_percent_either_way() -> None:
    story = Story()
    times = []
    for _ in range(200):
        story.exchange()
        times.append(story.mono_ns)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 15.68 * S
    assert max(gaps) <= 16.32 * S
    assert max(gaps) - min(gaps) > 0.4 * S


def test_a_burst_is_four_requests_two_seconds_apart() -> None:
    story = Story({"burst": True, "poll_min": 6})
    times = []
    for _ in range(6):
        story.exchange()
        times.append(story.mono_ns)
    gaps = [(later - earlier) / S for earlier, later in pairwise(times)]
    assert [2.0] * 3 == pytest.approx(gaps[:3], rel=0.021)
    assert [64.0] * 2 == pytest.approx(gaps[3:], rel=0.021)


def test_a_server_that_comes_back_gets_a_burst() -> None:
    story = Story({"burst": True, "poll_min": 6})
    for _ in range(5):
        story.exchange()
    lost = story.lose(8)
    assert ["ntp-unreachable"] == notes(lost)
    assert 0 == story.client.status().reach
    assert [] == notes(story.lose()), "said once"

    story.exchange()
    times = [story.mono_ns]
    for _ in range(4):
        story.exchange()
        times.append(story.mono_ns)
    gaps = [(later - earlier) / S for earlier, later in pairwise(times)]
    assert [2.0, 2.0, 2.0, 64.0] == pytest.approx(gaps, rel=0.021)


def test_without_burst_nothing_is_quick() -> None:
    story = Story({"poll_min": 6})
    story.exchange()
    start = story.mono_ns
    story.exchange()
    assert 64.0 == pytest.approx((story.mono_ns - start) / S, rel=0.021)


def test_reach_is_a_register_of_eight_requests() -> None:
    story = Story()
    for _ in range(3):
        story.exchange()
    assert 0b111 == story.client.status().reach
    story.lose(2)
    assert 0b11100 == story.client.status().reach
    for _ in range(9):
        story.exchange()
    assert 0xFF == story.client.status().reach


def test_a_request_is_given_up_after_five_seconds() -> None:
    story = Story()
    request = story.ask()
    start = story.mono_ns
    assert story.wait() is None
    assert 5 * S == story.mono_ns - start
    assert [request.token] == done(story.effects)
    assert 1 == len(statuses(story.effects))


def test_a_silent_server_is_asked_less_and_less_up_to_the_limit() -> None:
    story = Story({"poll_min": 4, "poll_max": 6})
    assert 16.0 == story.client.status().poll_s
    story.lose(8)
    assert 32.0 == story.client.status().poll_s
    story.lose(80)
    assert 64.0 == story.client.status().poll_s
    story.exchange()
    assert 16.0 == story.client.status().poll_s


def test_a_server_that_never_answers_is_named_once() -> None:
    story = Story()
    assert [] == notes(story.lose(7))
    assert ["ntp-unreachable"] == notes(story.lose())
    assert [] == notes(story.lose(20))


def test_advice_on_the_poll_interval_is_kept_in_range() -> None:
    story = Story({"poll_min": 4, "poll_max": 8})
    for wish, taken in ((6, 64.0), (12, 256.0), (-3, 16.0)):
        story.client.set_poll(wish, story.now)
        assert taken == story.client.status().poll_s


def test_a_shorter_interval_counts_from_the_last_request() -> None:
    story = Story()
    story.client.set_poll(10, story.now)
    story.exchange()
    start = story.mono_ns
    story.mono_ns += 10 * S
    story.client.set_poll(4, story.now)
    story.exchange()
    assert 16.0 == pytest.approx((story.mono_ns - start) / S, rel=0.021)

    story.client.set_poll(10, story.now)
    story.mono_ns += 20 * S
    story.client.set_poll(4, story.now)
    assert story.now == story.client.deadline(), "already overdue: now, not in the past"


def test_intervals_under_a_second_are_for_near_servers_only() -> None:
    far = Story({"poll_min": -4}, forward_ns=6 * MS, back_ns=6 * MS)
    far.exchange()
    assert 1.0 == far.client.status().poll_s

    near = Story({"poll_min": -4})
    assert 1.0 == near.client.status().poll_s, "unknown yet"
    near.exchange()
    assert 1 / 16 == near.client.status().poll_s


def test_burst_on_demand() -> None:
    story = Story({"poll_min": 6})
    story.exchange()
    assert story.client.burst_now(story.now)
    assert story.now == story.client.deadline()
    times = []
    for _ in range(4):
        story.exchange()
        times.append(story.mono_ns)
    assert [2.0] * 3 == pytest.approx([(b - a) / S for a, b in pairwise(times)], rel=0.021)


# -- kisses


def test_rate_raises_the_interval_and_ends_the_burst() -> None:
    story = Story({"burst": True, "poll_min": 4})
    effects = story.exchange(stratum=0, leap=3, poll=4, reference_id=b"RATE", receive=0, transmit=0)

    assert ["kiss"] == reasons(effects)
    assert ["ntp-rate-limited"] == notes(effects)
    status = story.client.status()
    assert 32.0 == status.poll_s
    assert status.stepped_back
    assert 0 == status.reach
    start = story.mono_ns
    story.ask()
    assert 32.0 == pytest.approx((story.mono_ns - start) / S, rel=0.021)
    assert not story.client.burst_now(story.now)


def test_rate_never_goes_beyond_the_longest_interval() -> None:
    story = Story({"poll_min": 4, "poll_max": 6})
    for _ in range(10):
        story.exchange(stratum=0, leap=3, poll=17, reference_id=b"RATE")
    assert 64.0 == story.client.status().poll_s


def test_a_poll_field_in_the_kiss_is_what_the_server_wants() -> None:
    story = Story({"poll_min": 4, "poll_max": 10})
    story.exchange(stratum=0, leap=3, poll=9, reference_id=b"RATE")
    assert 512.0 == story.client.status().poll_s


@pytest.mark.parametrize("code", [b"DENY", b"RSTR"])
def test_a_refusal_is_believed_the_third_time(code: bytes) -> None:
    story = Story({"poll_min": 4})
    for _ in range(2):
        story.exchange(stratum=0, leap=3, reference_id=code)
        assert story.client.status().excluded is None
    effects = story.exchange(stratum=0, leap=3, reference_id=code)

    assert ["ntp-refused"] == notes(effects)
    assert code.decode() in (story.client.status().excluded or "")
    start = story.mono_ns
    story.ask()
    assert 3600.0 == pytest.approx((story.mono_ns - start) / S, rel=0.021), "a slow probe goes on"


def test_an_answer_between_refusals_starts_the_count_again() -> None:
    story = Story()
    for _ in range(4):
        for _ in range(2):
            story.exchange(stratum=0, leap=3, reference_id=b"DENY")
        story.exchange()
    assert story.client.status().excluded is None


def test_a_server_that_serves_again_is_used_again() -> None:
    story = Story({"poll_min": 4})
    for _ in range(3):
        story.exchange(stratum=0, leap=3, reference_id=b"DENY")
    assert not story.client.burst_now(story.now)
    effects = story.exchange()
    assert "ntp-served-again" in notes(effects)
    assert 1 == len(measured(effects))
    assert story.client.status().excluded is None
    assert 16.0 == story.client.status().poll_s


@pytest.mark.parametrize("code", [b"ACST", b"CRYP", b"XFOO", b"AB\0\0"])
def test_unknown_kisses_change_nothing(code: bytes) -> None:
    story = Story({"poll_min": 4})
    for _ in range(5):
        effects = story.exchange(stratum=0, leap=3, reference_id=code)
        assert ["kiss"] == reasons(effects)
    assert story.client.status().excluded is None
    assert not story.client.status().stepped_back


def test_a_forged_kiss_with_a_wrong_origin_changes_nothing() -> None:
    story = Story()
    for code in (b"DENY", b"RATE") * 3:
        assert ["origin"] == reasons(story.exchange(stratum=0, leap=3, reference_id=code, origin=1))
    assert story.client.status().excluded is None
    assert not story.client.status().stepped_back


# -- loops, errors, steps


def test_a_loop_excludes_the_server_while_it_lasts() -> None:
    story = Story()
    own = b"\xc0\xa8\x01\x02"
    story.client.set_own_reference_ids(frozenset({own}))
    effects = story.exchange(reference_id=own)
    assert "ntp-loop" in notes(effects)
    assert story.client.status().excluded == "it takes its own time from this machine"
    assert [] == notes(story.exchange(reference_id=own)), "said once"

    assert 1 == len(measured(story.exchange()))
    assert story.client.status().excluded is None


def test_at_stratum_1_the_reference_id_is_no_address() -> None:
    story = Story()
    story.client.set_own_reference_ids(frozenset({b"GPS\0"}))
    assert 1 == len(measured(story.exchange(stratum=1, reference_id=b"GPS\0")))


def test_a_network_error_is_noted_once_and_does_not_end_the_exchange() -> None:
    story = Story()
    request = story.ask()
    story.sent(request)
    first = list(story.client.on_error(request.token, "Connection refused", story.now))
    assert ["ntp-network-error"] == notes(first)
    assert [] == list(story.client.on_error(request.token, "Connection refused", story.now))
    assert [] == list(story.client.on_error(request.token + 1, "Host unreachable", story.now))
    assert 1 == len(measured(story.receive(request, story.reply(request).pack()))), "the ICMP was forged"

    request = story.ask()
    assert ["ntp-network-error"] == notes(list(story.client.on_error(request.token, "Connection refused", story.now)))


def test_status_has_what_the_network_says_until_the_server_answers_or_it_is_old() -> None:
    story = Story({"burst": False})
    request = story.ask()
    assert story.client.status().trouble is None
    story.client.on_error(request.token, "Connection refused", story.now)
    assert "Connection refused" == story.client.status().trouble

    for _ in range(8):  # routers tell now and then only; the first of these gives up the one that was refused
        story.ask()
        assert "Connection refused" == story.client.status().trouble
    story.ask()
    assert story.client.status().trouble is None

    request = story.ask()
    story.client.on_error(request.token, "No route to host", story.now)
    story.sent(request)
    story.receive(request, story.reply(request).pack())
    assert story.client.status().trouble is None


def test_after_a_step_of_the_clock_old_exchanges_are_forgotten_and_a_new_one_starts_soon() -> None:
    story = Story({"poll_min": 6})
    story.exchange()
    request = story.ask()
    start = story.mono_ns
    story.mono_ns += S
    effects = story.client.restart(story.now)
    assert [request.token] == done(list(effects))
    assert [] == story.sent(request)
    assert ["late"] == reasons(story.receive(request, story.reply(request).pack()))

    story.epoch, story.local_ahead_ns = 1, 0
    (measurement,) = measured(story.exchange())
    assert 2.0 == pytest.approx((story.mono_ns - start) / S)
    assert 1 == measurement.epoch


# -- interleaved mode


class XleaveServer:
    """RFC 9769, 2.2: remembers when each answer really left, by the receive timestamp that was in it."""

    def __init__(self, story: Story, *, able: bool = True) -> None:
        self.story = story
        self.able = able
        self.left: dict[int, int] = {}
        self.modes: list[str] = []

    def answer(self, request: Request, **changes: Any) -> bytes:
        """The precise transmit timestamp is 15 us after the one that a basic answer can carry."""
        t2 = self.story.utc_ns + self.story.forward_ns
        receive = ntp_stamp(t2)
        interleaved = self.able and request.origin in self.left and request.receive != request.transmit
        if interleaved:
            reply = Reply(origin=request.receive, receive=receive, transmit=self.left.pop(request.origin))
        else:
            reply = Reply(origin=request.transmit, receive=receive, transmit=ntp_stamp(t2 + 5 * US))
        self.modes.append("I" if interleaved else "B")
        self.left[receive] = ntp_stamp(t2 + 20 * US)
        return replace(reply, **changes).pack()

    def exchange(self, **changes: Any) -> list[Effect]:
        request = self.story.ask()
        data = self.answer(request, **changes)
        return self.story.sent(request) + self.story.receive(request, data)


def test_interleaved_mode_removes_the_error_of_the_servers_transmit_timestamp() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS}, local_ahead_ns=1 * MS)
    server = XleaveServer(story)
    basic = measured(server.exchange())[0]
    start = story.utc_ns
    skipped = server.exchange()
    assert [] == measured(skipped), "those stamps were used in basic mode already"
    assert [] == reasons(skipped), "and nothing was wrong"
    second = story.utc_ns
    sample = measured(server.exchange())[0]

    assert "BII" == "".join(server.modes)
    assert 1 * MS + 7_500 == pytest.approx(basic.offset.ns(), abs=2), "half of the 15 us that T3 is early"
    assert 1 * MS == pytest.approx(sample.offset.ns(), abs=2)
    assert sample.delay is not None
    assert 500 * US == pytest.approx(sample.delay.ns(), abs=2)
    middle = second + TAI_UTC * S + 1 * MS + (500 * 2 + 20) * US // 2
    assert middle == pytest.approx(sample.at.ns(), abs=1), "of the exchange before"
    assert start < second < story.utc_ns
    assert story.client.status().interleaved


def test_an_interleaved_request_names_the_last_receive_timestamp_and_is_random_otherwise() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story)
    server.exchange()
    (receive,) = server.left
    request = story.ask()
    assert receive == request.origin
    assert 3 == len({request.origin, request.receive, request.transmit})
    assert 0 not in (request.receive, request.transmit)
    assert bytes(20) == request.data[4:24]


def test_never_means_never() -> None:
    story = Story({"interleaved": Interleaved.NEVER})
    server = XleaveServer(story)
    for _ in range(20):
        assert 1 == len(measured(server.exchange()))
    assert {"B"} == set(server.modes)


def test_auto_asks_after_four_basic_answers() -> None:
    story = Story()
    server = XleaveServer(story)
    for _ in range(8):
        server.exchange()
    assert "BBBBIIII" == "".join(server.modes)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_auto_does_not_ask_in_a_version_that_has_no_interleaved_mode(version: int) -> None:
    """RFC 9769 is of NTPv4."""
    story = Story({"version": version})
    server = XleaveServer(story)
    for _ in range(8):
        assert 1 == len(measured(server.exchange(version=version)))
    assert {"B"} == set(server.modes)


def test_auto_does_not_ask_where_a_sample_would_be_old() -> None:
    story = Story({"poll_min": 7})
    server = XleaveServer(story)
    for _ in range(8):
        server.exchange()
    assert {"B"} == set(server.modes)


def test_auto_stops_asking_a_server_that_cannot_and_tries_again_later() -> None:
    story = Story()
    server = XleaveServer(story, able=False)
    asked = []
    for _ in range(120):
        request = story.ask()
        asked.append(request.origin != 0)
        data = server.answer(request)
        assert 1 == len(measured(story.sent(request) + story.receive(request, data))), "basic answers are used"
    first = asked.index(True)
    assert 4 == first
    assert [True] * 8 + [False] * 32 + [True] * 8 + [False] * 64 == asked[first : first + 112]


def test_always_goes_on_asking() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story, able=False)
    asked = []
    for _ in range(30):
        request = story.ask()
        asked.append(request.origin != 0)
        data = server.answer(request)
        assert 1 == len(measured(story.sent(request) + story.receive(request, data)))
    assert [False] + [True] * 29 == asked


@pytest.mark.parametrize("mode", [Interleaved.AUTO, Interleaved.ALWAYS])
def test_four_lost_interleaved_requests_are_followed_by_basic_ones(mode: Interleaved) -> None:
    story = Story({"interleaved": mode})
    server = XleaveServer(story)
    for _ in range(6):
        server.exchange()
    asked = []
    for _ in range(6):
        request = story.ask()
        asked.append(request.origin != 0)
        story.sent(request)
        story.wait()
    assert [True] * 4 + [False] * 2 == asked
    server.exchange()
    assert (mode is Interleaved.ALWAYS) == (story.ask().origin != 0)


def test_a_lost_answer_in_between_does_not_mix_up_stamps() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS}, local_ahead_ns=0)
    server = XleaveServer(story)
    for _ in range(4):
        server.exchange()
    lost = story.ask()
    story.sent(lost)
    server.answer(lost)
    offsets = []
    for _ in range(6):
        offsets += [m.offset.ns() for m in measured(server.exchange())]
    assert len(offsets) >= 3
    assert all(-2 <= offset <= 7_502 for offset in offsets), offsets


def test_an_interleaved_answer_after_a_step_is_dropped() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story)
    for _ in range(3):
        server.exchange()
    story.epoch = 1
    assert ["epoch"] == reasons(server.exchange())


def test_restart_forgets_the_stamps_of_interleaved_mode() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story)
    for _ in range(3):
        server.exchange()
    story.client.restart(story.now)
    assert 0 == story.ask().origin


def test_a_lost_transmit_stamp_costs_the_next_interleaved_sample() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story)
    for _ in range(3):
        server.exchange()
    request = story.ask()
    data = server.answer(request)
    lost = story.sent(request, lost=True) + story.receive(request, data)
    assert 1 == len(measured(lost)), "this answer completes the exchange before, whose stamps are all there"
    assert ["stamp"] == reasons(server.exchange())
    assert 1 == len(measured(server.exchange()))


def test_an_interleaved_sample_has_the_worse_words_of_both_answers() -> None:
    story = Story({"interleaved": Interleaved.ALWAYS})
    server = XleaveServer(story)
    server.exchange()
    server.exchange(root_delay=0x900, root_dispersion=0x100)
    (sample,) = measured(server.exchange(root_delay=0x100, root_dispersion=0x800))
    assert sample.quality is not None
    assert 0x900 / 65536 == pytest.approx(sample.quality.root_delay.s())
    assert 0x800 / 65536 == pytest.approx(sample.quality.root_dispersion.s())


def test_on_a_long_path_that_is_polled_often_the_nearer_request_is_paired() -> None:
    """A round trip of 950 ms at one request a second."""
    story = Story({"interleaved": Interleaved.ALWAYS, "poll_min": 0, "max_delay": Duration.from_s(9)}, local_ahead_ns=0)
    server = XleaveServer(story)
    story.forward_ns = story.back_ns = 1 * S // 2 - 25 * MS
    samples = []
    for _ in range(5):
        samples += measured(server.exchange())
    assert "BIIII" == "".join(server.modes)
    # T4 of the answer before and T1 of this request are some 50 ms apart. T1 and T2 are new each time, so
    # the first interleaved answer gives a sample too.
    assert 5 == len(samples)
    for sample in samples[1:]:
        assert abs(sample.offset.ns()) < 50 * US
        assert sample.delay is not None
        assert 475 * MS == pytest.approx(sample.delay.ns(), rel=0.01)


# -- settings


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 5},
        {"version": 3, "interleaved": Interleaved.ALWAYS},
        {"poll_min": -5},
        {"poll_max": 18},
        {"poll_min": 8, "poll_max": 7},
        {"max_delay": Duration(0)},
        {"max_distance": Duration(-1)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        settings(**changes)


def test_the_remote_clock_is_named_after_the_endpoint() -> None:
    story = Story({"remote": Endpoint("2001:db8::1", 1123)})
    assert "ntp:[2001:db8::1]:1123" == measured(story.exchange())[0].remote


def test_the_same_seed_gives_the_same_trace() -> None:
    def trace() -> list[Effect]:
        story = Story({"burst": True})
        effects: list[Effect] = []
        for _ in range(20):
            effects += story.exchange()
            effects += story.effects
        return effects

    first = trace()
    assert first == trace()
    assert any(isinstance(effect, Measured) for effect in first)
    assert any(isinstance(effect, SendStamped) for effect in first)
    assert not any(isinstance(effect, Dropped) for effect in first)
