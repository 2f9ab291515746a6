"""NTPv5 in the server of all versions: access, limits, counters, NTS, and how version 4 leads to it."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from ntp5_support import COOKIE, DRAFT, NOW_NS, STATE, S, entropy, head, message, parts
from ntp_server_support import EVERYBODY, request
from nts_support import Stream, agreed, keys_for

from timesync.base.time import Duration, Instant
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.server import Server, ServerCounters, ServerSettings
from timesync.ntp.v5.bloom import ReferenceId, served_filter
from timesync.ntp.v5.desk import shortest_poll
from timesync.ntp.v5.server import Refusal
from timesync.ntp.v5.serving import Serving
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsAnswer, NtsRefusal, NtsSession

ALL = frozenset({1, 2, 3, 4, 5})
MARK = int.from_bytes(b"NTP5DRFT", "big")
KEY = SymmetricKey(7, "AES128", b"sixteen octets!!")
REFERENCES = served_filter(ReferenceId.random(entropy(8)), [])
FIELD = (0xF5FF, DRAFT)


def server(*, tells: Serving | None = None, **settings: Any) -> Server:
    settings = {"allow": EVERYBODY, "versions": ALL, **settings}
    made = Server(ServerSettings(**settings), random.Random(1), Stream("server"))
    made.publish(replace(STATE, ntpv5=tells or Serving(references=REFERENCES)))
    return made


def ask(made: Server, data: bytes, source: str = "192.0.2.1", at_ns: int = NOW_NS, late_ns: int = 1000) -> bytes | None:
    reply = made.respond(data, source, 40_000, at_ns, at_ns + late_ns, 0)
    return None if reply is None else reply.data


def test_a_request_in_version_5_is_answered_and_counted() -> None:
    made = server()
    data = ask(made, message([FIELD, (0xF503, struct.pack(">H", 16) + bytes(14)), (0xF505, bytes(4))]))
    assert data is not None
    got = head(data)
    assert (0x2C, 2, 1, COOKIE) == (got["first"], got["stratum"], got["flags"], got["client_cookie"])
    fields = parts(data)
    assert [REFERENCES.to_bytes()[16:32]] == fields[0xF504]
    assert [struct.pack(">HH", 0b11111, 0)] == fields[0xF505], "all versions that are answered"
    assert made.counters() == ServerCounters(received=1, answered=1, version_5=1)


def test_version_5_is_for_those_who_configured_it() -> None:
    made = server(versions=ALL - {5})
    assert ask(made, message()) is None
    assert made.counters() == ServerCounters(received=1, bad=1)
    assert made.refuse5(message(), Refusal.DENY) is None
    plain = ask(made, request(first=0x23, reference=MARK, transmit=9))
    assert plain is not None
    assert MARK != int.from_bytes(plain[16:24], "big"), "nor is it promised"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (request(first=0x23, reference=MARK, transmit=9), True),
        (request(first=0x23, reference=MARK - 1, transmit=9), False),
        (request(first=0x1B, reference=MARK, transmit=9), False),
        (KEY.sign(request(first=0x23, reference=MARK, transmit=9)), True),
    ],
)
def test_who_asks_in_version_4_is_told(data: bytes, told: bool) -> None:
    """Only in version 4, as ntpd-rs has it; and the answer is otherwise the same."""
    reply = ask(server(keys=(KEY,)), data)
    assert reply is not None
    assert told == (reply[16:24] == b"NTP5DRFT")
    assert (data[40:48], len(data)) == (reply[24:32], len(reply))


def test_an_answer_is_never_longer_than_its_request() -> None:
    rng = random.Random(5)
    made = server(keys=(KEY,))
    answered = 0
    for _ in range(400):
        fields = [FIELD] + [
            (rng.choice([0xF501, 0xF503, 0xF504, 0xF505, 0xF506, 0xF507, 0xF509, 0x0204]), bytes(rng.randrange(40)))
            for _ in range(rng.randrange(4))
        ]
        data = message(fields, flags=rng.choice([0, 2]))
        reply = ask(made, data)
        if reply is not None:
            answered += 1
            assert len(reply) == len(data)
    assert answered > 200


def test_who_may_not_ask_gets_nothing_in_version_5_either() -> None:
    made = server(deny=(ip_network("192.0.2.66/32"),))
    assert ask(made, message(), "192.0.2.66") is None
    assert made.counters() == ServerCounters(received=1, denied=1)


def test_who_asks_too_often_is_told_how_often_he_may() -> None:
    made = server(rate_limit=RateLimit(interval=Duration.from_s(20), burst=1, reply=LimitReply.KOD, leak=16, kiss=1))
    first = ask(made, message())
    assert first is not None
    assert 5 == head(first)["poll"], "32 s is the first power of two that keeps to the limit"
    kisses = [data for _ in range(40) if (data := ask(made, message(poll=6))) is not None and not data[1]]
    assert {(0, 7, 0)} == {(head(data)["stratum"], head(data)["poll"], head(data)["flags"]) for data in kisses}
    counted = made.counters()
    assert (41, len(kisses)) == (counted.received, counted.kod)
    assert counted.answered + counted.limited >= 41


@pytest.mark.parametrize(("seconds", "poll"), [(0.001, -4), (0.25, -2), (1, 0), (1.5, 1), (3600, 12)])
def test_the_shortest_interval_is_the_limits_or_longer(seconds: float, poll: int) -> None:
    assert poll == shortest_poll(RateLimit(interval=Duration.from_s(seconds), burst=1))
    assert -4 == shortest_poll(None)


@pytest.mark.parametrize(
    ("data", "counted"),
    [
        (message([]), {"bad": 1}),
        (message([(0xF5FF, b"draft-ietf-ntp-ntpv5-06")]), {"bad": 1}),
        (message([FIELD, (0xF502, bytes(20))]), {"auth_failed": 1}),
        (message() + b"\1\2\3\4", {"bad": 1}),
    ],
)
def test_what_is_not_answered_is_counted(data: bytes, counted: dict[str, int]) -> None:
    made = server()
    assert ask(made, data) is None
    assert made.counters() == ServerCounters(received=1, **counted)


def test_what_waited_too_long_is_counted() -> None:
    made = server()
    assert ask(made, message(), late_ns=5 * S) is None
    assert made.counters() == ServerCounters(received=1, late=1)


def test_a_code_by_a_key_and_interleaved_mode_are_counted() -> None:
    made = server(keys=(KEY,))
    clear = message(flags=2)
    signed = clear + struct.pack(">HHI", 0xF502, 24, 7) + KEY.digest(clear)
    first = made.respond(signed, "192.0.2.1", 40_000, NOW_NS, NOW_NS, 0)
    assert first is not None
    assert first.stamp_as is not None
    made.sent(first.stamp_as, NOW_NS + 1000)
    again = ask(made, message(flags=2, server_cookie=first.stamp_as), at_ns=NOW_NS + S)
    assert again is not None
    assert 3 == head(again)["flags"]
    assert made.counters() == ServerCounters(received=2, answered=2, version_5=2, authenticated=1, interleaved=1)


def test_the_transmit_timestamp_counts_in_what_signing_takes() -> None:
    """It is taken before the code can be made, so what that took before is added; of the plain ones nothing is."""
    made = server(keys=(KEY,))
    clear = message()
    signed = clear + struct.pack(">HHI", 0xF502, 24, 7) + KEY.digest(clear)
    for data, least_us, most_us in ((signed, 85, 90), (clear, 0, 0)):
        late_us = []
        for _ in range(200):
            now = iter((NOW_NS, NOW_NS + 100_000))
            reply = made.respond(data, "192.0.2.1", 40_000, NOW_NS, lambda now=now: next(now), 0)  # type: ignore[misc]
            assert reply is not None
            got = head(reply.data)
            late_us.append((got["transmit"] - got["receive"]) * 1e6 / 2**32)
        assert 0 == round(late_us[0])
        assert least_us <= round(late_us[-1]) <= most_us


# -- NTS


class Secured:
    """A server with NTS, and a client that has its cookies."""

    def __init__(self) -> None:
        store = KeyStore.new(Instant.from_ns(NOW_NS), Stream("store"))
        self.server = server(nts=store.keys)
        keys, jar = keys_for(AeadId.AES_SIV_CMAC_256), CookieJar(store.keys, Stream("jar"))
        self.session = NtsSession(agreed(keys, tuple(jar.make(keys) for _ in range(4))), Stream("client"))

    def protect(self, data: bytes) -> bytes:
        made = self.session.protect(data)
        assert made is not None
        return made


def test_version_5_under_nts() -> None:
    bench = Secured()
    data = bench.protect(message([FIELD, (0xF503, bytes(128))]))
    reply = ask(bench.server, data)
    assert reply is not None
    assert len(data) == len(reply)
    opened = bench.session.judge(reply)
    assert isinstance(opened, NtsAnswer)
    assert {0xF5FF, 0xF504} == {one.kind for one in opened.fields}
    assert bench.server.counters() == ServerCounters(received=1, answered=1, version_5=1, authenticated=1, nts=1)


def test_a_request_that_does_not_open_gets_a_nak_of_version_5() -> None:
    bench = Secured()
    data = bench.protect(message())
    reply = ask(bench.server, data[:-1] + bytes([data[-1] ^ 1]))
    assert reply is not None
    assert (0x2C, 4, 0) == (reply[0] & 0x3F, head(reply)["flags"], head(reply)["stratum"])
    assert NtsRefusal.NAK == bench.session.judge(reply)
    assert bench.server.counters() == ServerCounters(received=1, auth_failed=1, nts_nak=1)
