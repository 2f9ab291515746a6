"""NTP over PTP: in which form a server is asked, and a server that answers in the form of the request."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from ntp_server_support import CLIENT, EVERYBODY, MONO_NS, START_NS, header, request, state

from timesync.base.machine import Done, Dropped, Effect, Noted, SendStamped
from timesync.base.measure import Stamp
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import RateLimit
from timesync.ntp.over_ptp import DROPPED, MAX_LOST, OverPtp, respond
from timesync.ntp.server import Reply, Server, ServerSettings
from timesync.wire.ntp import decode
from timesync.wire.ntp_over_ptp import Form, unwrap, wrap

NOW: Instant[Mono] = Instant.from_ns(5)
ANSWER = b"an answer of the server, which the client alone judges"
KEY = SymmetricKey(7, "SHA1", b"sixteen octets!!")


@dataclass
class Inner:
    """Sends what it is told, and notes what it hears."""

    heard: list[tuple[object, ...]] = field(default_factory=list)
    next: list[Effect] = field(default_factory=list)

    def deadline(self) -> Instant[Mono]:
        return NOW

    def on_deadline(self, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("deadline", now)

    def on_packet(
        self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono], residence: Duration = ZERO
    ) -> Iterable[Effect]:
        return self._take("packet", token, data, stamp, now, residence)

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("sent", token, stamp, now)

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> Iterable[Effect]:
        return self._take("error", token, text, now)

    def _take(self, *what: object) -> Iterable[Effect]:
        self.heard.append(what)
        effects, self.next = self.next, []
        return effects


class Bench:
    """A client and a server that knows some forms."""

    def __init__(self, *known: Form, domain: int = 123) -> None:
        self.inner = Inner()
        self.machine = OverPtp(self.inner, domain)
        self.known = set(known)
        self._domain = domain
        self._token = 0

    def ask(self) -> Form:
        """One request, and its answer where the server knows its form."""
        self._token += 1
        self.inner.next = [SendStamped(b"request", self._token)]
        (sent,) = self.machine.on_deadline(NOW)
        assert isinstance(sent, SendStamped)
        assert self._token == sent.token
        carried = unwrap(sent.data, self._domain)
        assert carried.ntp == b"request"
        if carried.form in self.known:
            assert [] == list(self.machine.on_packet(self._token, wrap(ANSWER, carried.form, self._domain), None, NOW))
            assert ("packet", self._token, ANSWER, None, NOW, ZERO) == self.inner.heard[-1]
        return carried.form


def test_a_server_of_the_newer_form_is_never_asked_in_the_other() -> None:
    bench = Bench(Form.ORGANIZATION)
    assert bench.machine.form is None
    assert {Form.ORGANIZATION} == {bench.ask() for _ in range(10)}
    assert Form.ORGANIZATION == bench.machine.form


def test_a_server_of_the_older_form_is_found_by_the_second_request() -> None:
    bench = Bench(Form.EXPERIMENTAL, domain=7)
    assert [Form.ORGANIZATION, *[Form.EXPERIMENTAL] * 9] == [bench.ask() for _ in range(10)]
    assert Form.EXPERIMENTAL == bench.machine.form


def test_a_server_that_is_silent_is_asked_in_either_form_in_turn() -> None:
    bench = Bench()
    assert [Form.ORGANIZATION, Form.EXPERIMENTAL] * 3 == [bench.ask() for _ in range(6)]


def test_a_few_lost_requests_do_not_change_the_form_and_a_new_server_is_found() -> None:
    bench = Bench(Form.EXPERIMENTAL)
    bench.ask()
    bench.ask()
    bench.known = set()
    assert {Form.EXPERIMENTAL} == {bench.ask() for _ in range(MAX_LOST - 1)}
    bench.known = {Form.EXPERIMENTAL}
    bench.ask()
    bench.known = {Form.ORGANIZATION}  # chrony was upgraded there
    assert {Form.EXPERIMENTAL} == {bench.ask() for _ in range(MAX_LOST)}
    assert [Form.ORGANIZATION] * 3 == [bench.ask() for _ in range(3)]


def test_what_the_client_drops_does_not_hold_it_to_a_form_that_the_server_does_not_know() -> None:
    bench = Bench()
    for _ in range(2):
        form = bench.ask()
        for _ in range(3):
            # Of somebody who sends from the server's address, which here has a port that all know.
            bench.inner.next = [Dropped("origin")]
            assert [Dropped("origin")] == list(bench.machine.on_packet(1, wrap(ANSWER, form), None, NOW))
        assert bench.machine.form is None
    assert [Form.ORGANIZATION, Form.EXPERIMENTAL] == [bench.ask() for _ in range(2)]


def test_what_is_no_answer_over_ptp_is_dropped_and_answers_nothing() -> None:
    bench = Bench()
    assert Form.ORGANIZATION == bench.ask()
    for data in (b"", ANSWER, request(), wrap(ANSWER, Form.ORGANIZATION, 7)):
        assert [Dropped(DROPPED)] == list(bench.machine.on_packet(1, data, None, NOW))
    # In the other form than was asked: whoever sends it has not read the request. The client judges it all the same.
    assert [] == list(bench.machine.on_packet(1, wrap(ANSWER, Form.EXPERIMENTAL), None, NOW))
    assert bench.machine.form is None
    assert Form.EXPERIMENTAL == bench.ask()


@pytest.mark.parametrize(
    ("call", "heard"),
    [
        (lambda machine: machine.on_sent(3, None, NOW), ("sent", 3, None, NOW)),
        (lambda machine: machine.on_error(3, "refused", NOW), ("error", 3, "refused", NOW)),
        (lambda machine: machine.on_deadline(NOW), ("deadline", NOW)),
    ],
)
def test_all_else_passes(call: Callable[[OverPtp], Iterable[Effect]], heard: tuple[object, ...]) -> None:
    inner = Inner()
    machine = OverPtp(inner)
    inner.next = [Done(3), Noted("info", "name", "text")]
    assert [Done(3), Noted("info", "name", "text")] == list(call(machine))
    assert [heard] == inner.heard
    assert NOW == machine.deadline()


def through(data: bytes, units: int) -> bytes:
    """What a transparent clock has kept for so many 2^-16 ns (IEEE 1588-2019, 13.3: octets 8 to 15)."""
    return data[:8] + units.to_bytes(8, "big", signed=True) + data[16:]


@pytest.mark.parametrize("form", Form)
def test_the_client_hears_how_long_an_answer_was_in_transparent_clocks(form: Form) -> None:
    bench = Bench(form)
    bench.ask()
    assert [] == list(bench.machine.on_packet(1, through(wrap(ANSWER, form), 3 << 15), None, NOW))
    assert ("packet", 1, ANSWER, None, NOW, Duration(3 << 15)) == bench.inner.heard[-1]


# --- the server


def serving(settings: ServerSettings) -> Server:
    server = Server(settings, random.Random(1))
    server.publish(state())
    return server


def ask(server: Server, data: bytes) -> Reply | None:
    return respond(server, data, CLIENT, 319, START_NS, START_NS + 1000, MONO_NS)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("domain", [123, 0])
def test_a_reply_has_the_form_the_domain_and_the_length_of_its_request(form: Form, domain: int) -> None:
    server = serving(ServerSettings(allow=EVERYBODY, keys=(KEY,), ptp_domain=domain))
    for number, ntp in enumerate((request(), KEY.sign(request())), 1):
        data = wrap(ntp, form, domain)
        reply = ask(server, data)
        assert reply is not None
        assert len(data) == len(reply.data)
        carried = unwrap(reply.data, domain)
        assert (form, 4) == (carried.form, header(carried.ntp).mode)
        assert (number, number, number) == (
            (got := server.counters()).over_ptp,
            got.answered,
            got.received,
        )
    # Nothing is answered twice, and so no two servers can be made to talk to each other.
    assert ask(server, reply.data) is None


def test_what_is_no_request_over_ptp_is_counted_and_not_answered() -> None:
    server = serving(ServerSettings(allow=EVERYBODY))
    bad = (b"", request(), wrap(request(), Form.ORGANIZATION, 7), wrap(b"short", Form.EXPERIMENTAL))
    for data in bad:
        assert ask(server, data) is None
    got = server.counters()
    assert (len(bad), len(bad), 0) == (got.received, got.bad, got.over_ptp)


def test_access_and_rates_are_those_of_ntp() -> None:
    denied = serving(ServerSettings())
    assert ask(denied, wrap(request(), Form.ORGANIZATION)) is None
    assert denied.counters().denied == 1

    limit = RateLimit(interval=Duration.from_s(1), burst=1, leak=16, kiss=2)
    limited = serving(ServerSettings(allow=EVERYBODY, rate_limit=limit))
    replies = [ask(limited, wrap(request(), Form.ORGANIZATION)) for _ in range(40)]
    codes = [header(unwrap(reply.data).ntp).reference_id for reply in replies if reply is not None]
    got = limited.counters()
    assert 0 < codes.count(b"RATE") == got.kod < got.limited
    assert len(codes) == got.over_ptp == got.answered + got.kod < len(replies)


def test_an_interleaved_reply_is_stamped_as_usual() -> None:
    server = serving(ServerSettings(allow=EVERYBODY))
    first = ask(server, wrap(request(origin=1, receive=2, transmit=3), Form.ORGANIZATION))
    assert first is not None
    assert first.stamp_as is not None
    server.sent(first.stamp_as, START_NS + 5000)
    asked = wrap(request(origin=first.stamp_as, receive=8, transmit=9), Form.ORGANIZATION)
    second = ask(server, asked)
    assert second is not None
    assert header(unwrap(second.data).ntp).origin == 8
    assert server.counters().interleaved == 1


# -- transparent clocks

EMPTY = bytes.fromhex("010a 001c") + bytes(24)
"""A request's field, by hand."""


def told(server: Server, ntp: bytes, units: int) -> bytes:
    """The field of the answer to a request that was in transparent clocks; nothing where it has none."""
    data = wrap(ntp, Form.ORGANIZATION)
    reply = ask(server, through(data, units))
    assert reply is not None
    carried = unwrap(reply.data)
    assert carried.correction == ZERO
    assert len(reply.data) <= len(data)
    return carried.ntp[48:]


@pytest.mark.parametrize(
    ("units", "value"),
    [
        (0, "00000000 00000000"),
        # 10 us: 2^32 / 10^5 parts of a second.
        (10_000 << 16, "00000000 0000a7c5"),
        # One second and a half.
        (1_500_000_000 << 16, "00000001 80000000"),
        (-(10_000 << 16), "00000000 00000000"),
    ],
)
@pytest.mark.parametrize("key", [None, KEY])
def test_a_client_is_told_how_long_its_request_was_in_transparent_clocks(
    units: int, value: str, key: SymmetricKey | None
) -> None:
    server = serving(ServerSettings(allow=EVERYBODY, keys=(KEY,)))
    ntp = request() + EMPTY
    got = told(server, ntp if key is None else key.sign(ntp), units)
    assert bytes.fromhex("010a 001c" + value) + bytes(16) == got[:28]
    if key is None:
        assert b"" == got[28:]
        return
    reply = ask(server, wrap(key.sign(ntp), Form.EXPERIMENTAL))
    assert reply is not None
    carried = unwrap(reply.data)
    mac = decode(carried.ntp).mac
    assert mac is not None
    assert key.accepts(carried.ntp, mac)


@pytest.mark.parametrize(
    "ntp",
    [
        request(),
        # Of another length; another field; one that has a negative time in it; in version 3.
        request() + bytes.fromhex("010a 0020") + bytes(28),
        request() + bytes.fromhex("010b 001c") + bytes(24),
        request() + bytes.fromhex("010a 001c 80") + bytes(23),
        KEY.sign(request(first=0x1B)),
    ],
)
def test_who_does_not_ask_is_told_nothing(ntp: bytes) -> None:
    server = serving(ServerSettings(allow=EVERYBODY, keys=(KEY,)))
    assert b"\x01\x0a" not in told(server, ntp, 10_000 << 16)[:2]


def test_a_kiss_is_not_longer_for_it() -> None:
    limit = RateLimit(interval=Duration.from_s(1), burst=1, leak=16, kiss=2)
    limited = serving(ServerSettings(allow=EVERYBODY, rate_limit=limit))
    replies = [ask(limited, wrap(request() + EMPTY, Form.ORGANIZATION)) for _ in range(40)]
    carried = [unwrap(reply.data).ntp for reply in replies if reply is not None]
    kisses = [ntp for ntp in carried if header(ntp).stratum == 0]
    assert {48} == {len(ntp) for ntp in kisses}
    assert {76} == {len(ntp) for ntp in carried if ntp not in kisses}


def test_plain_ntp_has_no_such_field() -> None:
    server = serving(ServerSettings(allow=EVERYBODY))
    reply = server.respond(request() + EMPTY, CLIENT, 123, START_NS, START_NS + 1000, MONO_NS)
    assert reply is not None
    assert 48 == len(reply.data)
