"""The NTS-KE client against servers of every kind, with real TLS in simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import errno

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from ke_support import CA, JAR, NAME, SERVER, KeScene, serve, serve_octets
from OpenSSL import SSL, crypto
from tls_support import at_day, make_identity, pair, with_two_of_a_kind

from timesync.base.ids import Endpoint
from timesync.base.time import Duration, Instant
from timesync.host import Stream
from timesync.nts import retry
from timesync.nts.aead import AeadId
from timesync.nts.ke_server import KeServer, KeServerSettings
from timesync.nts.tls_client import ClientTls, Trust
from timesync.nts.tls_server import ServerContext, ServerTls
from timesync.runtime.ke_client import (
    STAGGER_S,
    Established,
    KeFailure,
    KeKind,
    by_turns,
    connect_first,
)
from timesync.sim.law import Exactly
from timesync.sim.loop import run
from timesync.sim.network import Path
from timesync.sim.stream import SimStream


def test_keys_and_cookies_come_of_it() -> None:
    scene = KeScene()
    scene.listen()

    result = scene.establish()

    assert isinstance(result, Established)
    assert 8 == len(set(result.cookies))
    assert AeadId.AES_128_GCM_SIV is result.aead
    assert ("192.0.2.2", 123) == (result.server, result.port)
    assert Endpoint("192.0.2.2", 4460) == result.remote
    assert not result.provisional
    # The server reads out of its cookies what the client has.
    assert all(JAR.open(cookie) == result.keys[0] for cookie in result.cookies)


def test_keys_stay_out_of_what_is_printed() -> None:
    scene = KeScene()
    scene.listen()
    result = scene.establish()
    assert isinstance(result, Established)
    shown = repr(result)
    for secret in (result.keys[0].c2s, result.keys[0].s2c, result.cookies[0]):
        assert repr(secret) not in shown


def test_a_server_may_send_its_clients_elsewhere() -> None:
    scene = KeScene()
    scene.listen(lambda stream: serve(stream, KeServerSettings(server="ntp.example.org", port=1234)))
    result = scene.establish()
    assert isinstance(result, Established)
    assert ("ntp.example.org", 1234) == (result.server, result.port)


@pytest.mark.parametrize("name", ["192.0.2.2", "time.example.org.", "TIME.EXAMPLE.ORG"])
def test_a_server_may_be_an_address_or_end_in_a_dot(name: str) -> None:
    scene = KeScene()
    scene.network.dns.set("TIME.EXAMPLE.ORG", "192.0.2.2")
    scene.network.dns.set("192.0.2.2", "192.0.2.2")
    scene.listen()
    assert isinstance(scene.establish(name), Established)


def test_the_request_comes_in_one_write_with_the_end_of_the_handshake() -> None:
    """Some servers read once (old ntpsec) and never see the rest."""
    taken: list[int] = []

    async def once(stream: SimStream) -> None:
        tls = ServerTls(ServerContext((pair(SERVER),)))
        tls.receive(await stream.receive())
        await stream.send(tls.outgoing())
        taken.append(len(tls.receive(await stream.receive())))

    scene = KeScene()
    scene.listen(once)
    scene.establish(timeout_s=1)
    # NextProtocol (6) AEAD (8) record 1024 (4) EndOfMessage (4).
    assert [22] == taken


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_name_without_address_is_said() -> None:
    failure = KeScene().failure("nowhere.example.org")
    assert KeKind.LOOKUP is failure.kind
    assert failure.reason.startswith("nowhere.example.org has no address: ")
    assert retry.KeFailure.UNREACHED is failure.for_retry


def test_a_port_that_refuses_is_said() -> None:
    failure = KeScene().failure()
    assert KeKind.UNREACHABLE is failure.kind
    assert "time.example.org: no connection to port 4460: Connection refused" == failure.reason
    assert retry.KeFailure.UNREACHED is failure.for_retry


def test_a_network_that_carries_nothing_ends_after_ten_seconds() -> None:
    scene = KeScene()
    scene.network.isolate(scene.far, scene.world.now, scene.world.now + Duration.from_s(3600))
    failure = scene.failure()
    assert KeKind.TIMEOUT is failure.kind
    assert "time.example.org did not finish within 10 s, connecting to TCP port 4460" == failure.reason
    assert retry.KeFailure.UNREACHED is failure.for_retry
    assert 10.0 == pytest.approx(scene.elapsed_s(), abs=0.1)


def test_a_server_that_only_listens_ends_after_ten_seconds() -> None:
    async def listen_only(stream: SimStream) -> None:
        while await stream.receive():
            pass

    scene = KeScene()
    scene.listen(listen_only)
    failure = scene.failure()
    assert KeKind.TIMEOUT is failure.kind
    assert failure.reason.endswith("in the TLS handshake")
    assert retry.KeFailure.REACHED is failure.for_retry
    assert 10.0 == pytest.approx(scene.elapsed_s(), abs=0.1)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.01, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_a_server_that_stalls_within_the_handshake_is_given_up(share: float) -> None:
    """The stall comes after so much of the server's first flight; a stall after each octet is tried below."""

    async def stall(stream: SimStream) -> None:
        tls = ServerTls(ServerContext((pair(SERVER),)))
        tls.receive(await stream.receive())
        flight = tls.outgoing()
        await stream.send(flight[: int(len(flight) * share)])
        await asyncio.sleep(3600)

    scene = KeScene()
    scene.listen(stall)
    failure = scene.failure()
    assert KeKind.TIMEOUT is failure.kind
    assert failure.reason.endswith("in the TLS handshake")


def test_a_server_that_stalls_after_each_octet_is_given_up_in_time() -> None:
    """One octet in 100 ms: each is progress, and the whole would take minutes."""

    async def drip(stream: SimStream) -> None:
        tls = ServerTls(ServerContext((pair(SERVER),)))
        tls.receive(await stream.receive())
        for octet in tls.outgoing():
            await stream.send(bytes([octet]))
            await asyncio.sleep(0.1)

    scene = KeScene()
    scene.listen(drip)
    failure = scene.failure()
    assert KeKind.TIMEOUT is failure.kind
    assert 10.0 == pytest.approx(scene.elapsed_s(), abs=0.1)


def test_a_server_that_is_only_slow_is_waited_for() -> None:
    async def slow(stream: SimStream) -> None:
        tls = ServerTls(ServerContext((pair(SERVER),)))
        tls.receive(await stream.receive())
        for octet in tls.outgoing():
            await stream.send(bytes([octet]))
            await asyncio.sleep(0.001)
        await serve_rest(tls, stream)

    scene = KeScene()
    scene.listen(slow)
    assert isinstance(scene.establish(), Established)


async def serve_rest(tls: ServerTls, stream: SimStream) -> None:
    reply = None
    ke = KeServer(KeServerSettings(), JAR.make)
    while reply is None:
        reply = ke.feed(tls.receive(await stream.receive()), tls.export)
    tls.send(reply.data)
    for octet in tls.outgoing():
        await stream.send(bytes([octet]))


def test_a_server_that_stalls_in_its_response_is_given_up() -> None:
    async def stall(stream: SimStream) -> None:
        # NextProtocol: NTPv4, and then nothing.
        tls = ServerTls(ServerContext((pair(SERVER),)))
        while not tls.receive(await stream.receive()):
            await stream.send(tls.outgoing())
        tls.send(bytes.fromhex("80010002"))
        await stream.send(tls.outgoing())
        await asyncio.sleep(3600)

    scene = KeScene()
    scene.listen(stall)
    failure = scene.failure()
    assert KeKind.TIMEOUT is failure.kind
    assert failure.reason.endswith("waiting for its response")


def test_a_response_of_a_megabyte_is_refused() -> None:
    """Non-critical records of 1000 octets that nobody knows, 1 MiB of them."""
    flood = (bytes.fromhex("3fff03e8") + bytes(1000)) * 1045
    scene = KeScene()
    scene.listen(lambda stream: serve_octets(stream, flood))
    failure = scene.failure()
    assert KeKind.PROTOCOL is failure.kind
    assert "too long" in failure.reason


def test_a_record_that_promises_too_much_is_not_waited_for() -> None:
    scene = KeScene()
    scene.listen(lambda stream: serve_octets(stream, bytes.fromhex("3fffffff")))
    failure = scene.failure()
    assert KeKind.PROTOCOL is failure.kind
    assert scene.elapsed_s() < 1


def test_a_flood_of_tiny_tls_records_is_ended() -> None:
    """22 octets of TLS around each one of a message: what counts is what the network carries."""

    async def drip(stream: SimStream) -> None:
        tls = ServerTls(ServerContext((pair(SERVER),)))
        while not tls.receive(await stream.receive()):
            await stream.send(tls.outgoing())
        while True:
            for _ in range(500):
                # A record of unknown type 0x3f3f, and of 0x3f3f octets.
                tls.send(b"\x3f")
            await stream.send(tls.outgoing())
            await asyncio.sleep(0.01)

    scene = KeScene()
    scene.listen(drip)
    failure = scene.failure()
    assert KeKind.PROTOCOL is failure.kind
    assert "more than 262144 octets" in failure.reason


@pytest.mark.parametrize(
    ("response", "words"),
    [
        # Error 0, 1, 2; EndOfMessage.
        ("80020002000080000000", "error 0 (unrecognized critical record)"),
        ("80020002000180000000", "error 1 (bad request)"),
        ("80020002000280000000", "error 2 (internal server error)"),
        # NextProtocol with an empty body.
        ("8001000080000000", "none of the protocols"),
        # NextProtocol NTPv4, AEAD empty.
        ("8001000200008004000080000000", "none of the AEAD"),
        # NextProtocol NTPv4, AEAD 15, no cookie.
        ("80010002000080040002000f80000000", "cookies"),
        # AEAD 17, which was not offered.
        ("800100020000800400020011" + "00050004" + "01020304" + "80000000", "AEAD algorithms [17]"),
        # An unknown critical record.
        ("bfff000080000000", "malformed"),
    ],
)
def test_a_response_without_keys_is_said(response: str, words: str) -> None:
    scene = KeScene()
    scene.listen(lambda stream: serve_octets(stream, bytes.fromhex(response)))
    failure = scene.failure()
    assert KeKind.PROTOCOL is failure.kind
    assert words in failure.reason
    assert failure.reason.startswith("time.example.org (192.0.2.2:4460): ")


def test_a_response_that_is_cut_is_said() -> None:
    scene = KeScene()
    scene.listen(lambda stream: serve_octets(stream, bytes.fromhex("800100020000")))
    failure = scene.failure()
    assert KeKind.PROTOCOL is failure.kind
    assert "closed the connection" in failure.reason


def test_a_connection_that_closes_in_the_handshake_is_said() -> None:
    async def close(stream: SimStream) -> None:
        await stream.receive()
        stream.close()

    scene = KeScene()
    scene.listen(close)
    failure = scene.failure()
    assert KeKind.TLS is failure.kind
    assert "closed during the TLS handshake" in failure.reason


def test_what_is_no_tls_is_said() -> None:
    async def web(stream: SimStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    scene = KeScene()
    scene.listen(web)
    failure = scene.failure()
    assert KeKind.TLS is failure.kind
    assert "does not speak TLS 1.3" in failure.reason


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(150, "expired on 2026-12-30"), (-15, "which may be what is wrong")],
)
def test_a_certificate_that_is_wrong_in_its_dates_is_a_matter_of_certificates(days: int, sentence: str) -> None:
    scene = KeScene()
    scene.listen()
    failure = scene.failure(now=at_day(days))
    assert KeKind.CERTIFICATE is failure.kind
    assert sentence in failure.reason
    assert retry.KeFailure.REACHED is failure.for_retry


def test_an_unknown_authority_and_another_name_are_matters_of_certificates() -> None:
    scene = KeScene()
    scene.listen()
    strange = Trust.from_pem(make_identity("Other CA", authority=True).pem)
    assert KeKind.CERTIFICATE is scene.failure(trust=strange).kind
    scene = KeScene()
    scene.network.dns.set("other.example.org", "192.0.2.2")
    scene.listen()
    failure = scene.failure("other.example.org")
    assert KeKind.CERTIFICATE is failure.kind
    assert "not for other.example.org" in failure.reason


def test_a_board_in_1970_gets_provisional_keys_within_limits() -> None:
    scene = KeScene()
    scene.listen()
    result = scene.establish(now=Instant(0), floor=at_day(-300))
    assert isinstance(result, Established)
    assert result.provisional
    scene = KeScene()
    scene.listen()
    late = scene.establish(now=Instant(0), floor=at_day(200))
    assert isinstance(late, KeFailure)
    assert KeKind.CERTIFICATE is late.kind


# --- addresses ----------------------------------------------------------------------------------------------------

V6 = [Endpoint(f"2001:db8::{number}", 4460) for number in (1, 2, 3)]
V4 = [Endpoint(f"192.0.2.{number}", 4460) for number in (1, 2)]


def test_families_take_turns_beginning_with_the_resolvers_choice() -> None:
    assert [V6[0], V4[0], V6[1], V4[1], V6[2]] == by_turns([*V6, *V4])
    assert [V4[0], V6[0], V4[1], V6[1], V6[2]] == by_turns([*V4, *V6])


class Answers:
    """A network on which each address answers after its own time, or never, or with an error."""

    def __init__(self, after_s: dict[str, float | OSError]) -> None:
        self.after_s = after_s
        self.tried: list[str] = []
        self.open: list[str] = []

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        raise AssertionError(name, port)

    async def connect(self, remote: Endpoint) -> Stream:
        self.tried.append(remote.address)
        answer = self.after_s[remote.address]
        if isinstance(answer, OSError):
            raise answer
        await asyncio.sleep(answer)
        return Opened(self, remote.address)


class Opened:
    def __init__(self, network: Answers, address: str) -> None:
        self.network, self.address = network, address
        network.open.append(address)

    async def receive(self) -> bytes:
        return b""

    async def send(self, data: bytes) -> None:
        raise AssertionError(data)

    def close(self) -> None:
        self.network.open.remove(self.address)


def first_of(network: Answers, *endpoints: Endpoint) -> tuple[Endpoint | OSError, float]:
    """Which address won, and after how long, in simulated time."""
    scene = KeScene()

    async def main() -> Endpoint | OSError:
        found = await connect_first(network, endpoints)
        await asyncio.sleep(100)
        return found if isinstance(found, OSError) else found[0]

    found = run(scene.world, main(), scene.host.system)
    return found, scene.elapsed_s() - 100


def test_a_dead_address_costs_a_quarter_of_a_second() -> None:
    network = Answers({V6[0].address: 3600, V4[0].address: 0.01})
    found, after_s = first_of(network, V6[0], V4[0])
    assert V4[0] == found
    assert STAGGER_S + 0.01 == pytest.approx(after_s, abs=0.01)
    assert [V4[0].address] == network.open


def test_an_address_that_refuses_costs_nothing() -> None:
    network = Answers({V6[0].address: OSError(errno.ECONNREFUSED, "refused"), V4[0].address: 0.01})
    found, after_s = first_of(network, V6[0], V4[0])
    assert V4[0] == found
    assert 0.01 == pytest.approx(after_s, abs=0.01)


def test_one_connection_is_kept_and_the_others_are_closed() -> None:
    network = Answers({V6[0].address: 0.3, V4[0].address: 0.05})
    found, _ = first_of(network, V6[0], V4[0])
    # The second began 0.25 s later and needs 0.05 s: both are there at the same moment.
    assert found in (V6[0], V4[0])
    assert 1 == len(network.open)


def test_the_first_address_says_why_none_could_be_had() -> None:
    errors = {V6[0].address: OSError(errno.ENETUNREACH, "no route"), V4[0].address: OSError(errno.ECONNREFUSED, "no")}
    found, _ = first_of(Answers(dict(errors)), V6[0], V4[0])
    assert isinstance(found, OSError)
    assert errno.ENETUNREACH == found.errno


def test_a_second_address_is_used_when_the_first_is_dead() -> None:
    scene = KeScene()
    scene.network.dns.set(NAME, "2001:db8::dead", "192.0.2.2")
    scene.listen()
    result = scene.establish()
    assert isinstance(result, Established)
    assert "192.0.2.2" == result.remote.address


def test_a_lossy_network_is_only_slower() -> None:
    scene = KeScene()
    scene.network.connect(
        scene.host.node, scene.far, Path(base=Duration.from_ns(1_000_000), jitter=Exactly(), loss=0.3)
    )
    scene.listen()
    assert isinstance(scene.establish(timeout_s=60), Established)


def test_cancelling_leaves_nothing_open() -> None:
    network = Answers({V4[0].address: 3600})

    async def main() -> None:
        task = asyncio.ensure_future(connect_first(network, [V4[0]]))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(7200)

    scene = KeScene()
    run(scene.world, main(), scene.host.system)
    assert [] == network.open


# --- what nobody has foreseen ---------------------------------------------------------------------------------------


def test_a_name_that_tls_cannot_say_is_a_failure() -> None:
    scene = KeScene()
    scene.network.dns.set("zeit.m\u00fcnchen.example", "192.0.2.2")
    scene.listen()
    failure = scene.failure("zeit.m\u00fcnchen.example")
    assert (KeKind.TLS, True) == (failure.kind, failure.reached)
    assert "cannot be understood, in the TLS handshake: " in failure.reason


def test_a_certificate_that_no_library_would_make_is_a_failure() -> None:
    odd = with_two_of_a_kind(make_identity("s", NAME, issuer=CA, client_only=True), CA)
    with pytest.raises(Exception, match="Duplicate"):
        odd.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)

    async def show(stream: SimStream) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(odd.certificate)
        context.use_privatekey(odd.key)
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        while data := await stream.receive():
            connection.bio_write(data)
            with contextlib.suppress(SSL.Error):
                connection.do_handshake()
            with contextlib.suppress(SSL.Error):
                await stream.send(connection.bio_read(65536))

    scene = KeScene()
    scene.listen(show)
    failure = scene.failure()
    assert (KeKind.CERTIFICATE, True) == (failure.kind, failure.reached)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), UnicodeError("odd"), SSL.Error([("", "", "odd")]), crypto.Error([("", "", "odd")]),
              TypeError("odd"), UnsupportedAlgorithm("odd")],
)  # fmt: skip
def test_whatever_a_library_raises_is_a_failure_that_has_cost_the_server_something(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def raising(*_: object) -> None:
        raise error

    scene = KeScene()
    scene.listen()
    monkeypatch.setattr(ClientTls, "export", raising)
    failure = scene.failure()
    assert (KeKind.TLS, True) == (failure.kind, failure.reached)
    assert "odd" in failure.reason


def test_a_resolver_that_raises_something_else_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def raising(*_: object) -> list[Endpoint]:
        raise UnicodeError("label too long")

    scene = KeScene()
    monkeypatch.setattr(scene.host, "resolve", raising)
    failure = scene.failure()
    assert (KeKind.LOOKUP, False) == (failure.kind, failure.reached)
    assert f"{NAME} cannot be understood, looking up its name: label too long" == failure.reason
