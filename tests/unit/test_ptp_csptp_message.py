"""The messages of CSPTP against octets that were written by hand."""

from __future__ import annotations

import csptp_support as wire
import pytest

from timesync.base.time import Duration, Instant
from timesync.ptp.csptp import message
from timesync.ptp.csptp.message import Request, Response
from timesync.wire.csptp_tlv import CsptpResponse, CsptpStatus
from timesync.wire.error import WireError
from timesync.wire.ptp_message import ClockQuality, Flags, FollowUp

T2, T3 = 1_767_225_637_000_000_111, 1_767_225_637_000_050_222


def test_a_request_asks_for_the_status_and_is_as_large_as_all_that_answers_it() -> None:
    assert wire.request(0xBEEF).hex(" ") == message.request(wire.DOMAIN, 0xBEEF).hex(" ")
    # Octets on the wire, with Ethernet, IPv6, UDP and the two octets after a message around each.
    around = 14 + 40 + 8 + 2
    asked = len(wire.request()) + around
    answered = len(wire.response(1, T2, status=wire.status())) + around + len(wire.follow_up(1, T3)) + around
    assert answered == asked


def test_an_answer_is_two_messages_with_the_number_of_the_request() -> None:
    asked = message.parse(wire.request(0x1234, correction_ns=5))
    assert isinstance(asked, Request)
    assert (200, True) == (asked.size, asked.wants.status)
    status = CsptpStatus(
        priority1=1,
        quality=ClockQuality(6, 0x23, 0x4E5D),
        priority2=2,
        steps_removed=0,
        utc_offset=37,
        grandmaster=b"\1\2\3\4\5\6\7\x08",  # type: ignore[arg-type]  # a plain string of octets
    )
    content = CsptpResponse(Instant.from_ns(T2), Duration.from_ns(5))
    answer = message.response(asked.header, content, status, Flags.PTP_TIMESCALE | Flags.LEAP_61)
    flags = wire.PTP_TIMESCALE | wire.LEAP_61
    assert wire.response(0x1234, T2, there_ns=5, flags=flags, status=wire.status()).hex(" ") == answer.hex(" ")
    after = message.follow_up(wire.DOMAIN, 0x1234, Instant.from_ns(T3))
    assert wire.follow_up(0x1234, T3).hex(" ") == after.hex(" ")


def test_what_a_time_has_below_a_nanosecond_goes_into_the_correction() -> None:
    after = message.parse(message.follow_up(wire.DOMAIN, 1, Instant((T3 << 16) + 0x8000)))
    assert isinstance(after, FollowUp)
    assert (Instant.from_ns(T3), Duration(0x8000)) == (after.precise_origin, after.header.correction)


def test_answers_of_one_step_and_of_two_are_told_apart() -> None:
    one, two = (message.parse(wire.response(1, T2, t3_ns=t3)) for t3 in (T3, None))
    assert isinstance(one, Response)
    assert isinstance(two, Response)
    assert (Instant.from_ns(T3), None) == (one.origin, two.origin)
    assert (None, Instant.from_ns(T2)) == (one.status, one.content.ingress)


REQUEST, ANSWER = " ff00 0004 00000000", f" ff01 0012{wire.time(T2)} {0:016x}"


@pytest.mark.parametrize(
    ("tlvs", "why"),
    [
        ("", "0 requests and 0 responses"),
        (REQUEST + REQUEST, "2 requests and 0 responses"),
        (ANSWER + ANSWER, "0 requests and 2 responses"),
        (REQUEST + ANSWER, "1 requests and 1 responses"),
        (ANSWER + wire.status() + wire.status(), "2 statuses"),
        (" ff00 0000", "without flags"),
        (" ff01 0010" + "00" * 16, "response of 16 octets"),
        (ANSWER + " f002 0010" + "00" * 16, "status of 16 octets"),
    ],
)
def test_a_sync_asks_once_or_answers_once(tlvs: str, why: str) -> None:
    data = wire.octets(wire.header(0, 44 + len(wire.octets(tlvs)), 1) + wire.time(0) + tlvs)
    with pytest.raises(WireError, match=why):
        message.parse(data)


def test_messages_of_ptp_itself_are_not_of_csptp() -> None:
    data = bytearray(wire.request())
    data[0] &= 0x0F  # majorSdoId 0
    with pytest.raises(WireError, match="not of CSPTP"):
        message.parse(bytes(data))
    delay_request = bytearray(wire.follow_up(1, T3))
    delay_request[0] = 0x31
    with pytest.raises(WireError, match="not of CSPTP"):
        message.parse(bytes(delay_request))
