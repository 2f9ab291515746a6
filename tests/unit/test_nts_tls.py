"""TLS for NTS-KE in memory: what is agreed upon, what is refused and in which words, and what strangers may send."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from random import Random

import pytest
from OpenSSL import SSL
from tls_support import NOW, Identity, at_day, make_identity, pair, shake

from timesync.base.time import Instant
from timesync.nts.certificates import Validity
from timesync.nts.keys import EXPORTER_LABEL, Direction, exporter_context
from timesync.nts.tls import MAX_HANDSHAKE, TlsError, TlsReason
from timesync.nts.tls_client import ClientTls, Trust
from timesync.nts.tls_server import ServerContext, ServerTls

NAME = "time.example.org"
CA = make_identity("Lab CA", authority=True, days=(-20, 1000))
SERVER = make_identity("server", NAME, "192.0.2.1", issuer=CA)
TRUST = Trust.from_pem(CA.pem)


def connect(
    *identities: Identity, trust: Trust = TRUST, name: str = NAME, now: Instant = NOW, floor: Instant | None = None
) -> tuple[ClientTls, ServerTls]:
    """Both ends after the handshake; the first identity is shown with the others above it. Raises TlsError."""
    shown = identities or (SERVER,)
    client = ClientTls(trust, name, now, floor=floor)
    server = ServerTls(ServerContext((pair(*shown),)))
    shake(client, server)
    return client, server


def test_both_ends_agree_on_tls_1_3_and_on_keys() -> None:
    client, server = connect()

    for end in (client, server):
        assert end.facts is not None
        assert "TLSv1.3" == end.facts.version
    context = exporter_context(0, 15, Direction.C2S)
    assert 32 == len(client.export(EXPORTER_LABEL, 32, context))
    assert client.export(EXPORTER_LABEL, 32, context) == server.export(EXPORTER_LABEL, 32, context)
    # RFC 8915, 5.1: the last octet of the context makes the two directions differ.
    assert client.export(EXPORTER_LABEL, 32, context) != client.export(EXPORTER_LABEL, 32, context[:-1] + b"\x01")


@pytest.mark.skipif(SSL.OPENSSL_VERSION_NUMBER < 0x3050_0000, reason="OpenSSL before 3.5 has no ML-KEM")
def test_the_post_quantum_group_is_preferred_where_openssl_has_it_and_shown() -> None:
    client, server = connect()
    assert client.facts is not None
    assert server.facts is not None
    assert "X25519MLKEM768" == client.facts.group == server.facts.group
    assert client.facts.post_quantum


def test_the_client_knows_what_the_certificate_is_for_and_when() -> None:
    client, _ = connect()
    assert client.facts is not None
    assert (NAME, "192.0.2.1") == client.facts.names
    assert Validity(at_day(-10), at_day(100)) == client.facts.validity
    assert None is client.facts.dates_wrong


def test_octets_go_both_ways_and_an_end_is_an_end() -> None:
    client, server = connect()
    client.send(b"request")
    assert b"request" == server.receive(client.outgoing())
    server.send(b"x" * 40_000)
    server.close()
    assert b"x" * 40_000 == client.receive(server.outgoing())
    assert client.ended


def test_octets_may_come_one_by_one() -> None:
    client, server = ClientTls(TRUST, NAME, NOW), ServerTls(ServerContext((pair(SERVER),)))
    for _ in range(3):
        for octet in client.outgoing():
            server.receive(bytes([octet]))
        for octet in server.outgoing():
            client.receive(bytes([octet]))
    client.send(b"request")
    assert b"request" == b"".join(server.receive(bytes([octet])) for octet in client.outgoing())


@pytest.mark.parametrize("name", ["time.example.org.", "TIME.example.org", "192.0.2.1"])
def test_a_server_may_be_named_with_its_last_dot_in_capitals_or_by_its_address(name: str) -> None:
    client, _ = connect(name=name)
    assert client.established


def refusal(*identities: Identity, trust: Trust = TRUST, name: str = NAME, now: Instant = NOW) -> TlsError:
    """Why the client refuses; the server must hear of it by an alert."""
    client = ClientTls(trust, name, now)
    server = ServerTls(ServerContext((pair(*(identities or (SERVER,))),)))
    with pytest.raises(TlsError) as caught:
        shake(client, server)
    with pytest.raises(TlsError) as heard:
        server.receive(client.outgoing())
    assert TlsReason.PEER_REFUSED is heard.value.reason
    assert not client.established
    return caught.value


def test_an_expired_certificate_is_refused_with_both_dates() -> None:
    error = refusal(now=at_day(150))
    assert TlsReason.EXPIRED is error.reason
    assert (
        "the certificate of time.example.org expired on 2026-12-30 14:13:20 UTC; our clock says 2027-02-18 14:13:20 UTC"
        == str(error)
    )


def test_a_certificate_of_the_future_is_refused_and_our_clock_is_suspected() -> None:
    error = refusal(now=at_day(-15))
    assert TlsReason.NOT_YET_VALID is error.reason
    assert "is not valid before 2026-09-11" in str(error)
    assert "our clock says 2026-09-06 14:13:20 UTC, which may be what is wrong" in str(error)


def test_an_authority_that_has_expired_is_named() -> None:
    old = make_identity("Old CA", authority=True, days=(-100, -1))
    error = refusal(make_identity("s", NAME, issuer=old), trust=Trust.from_pem(old.pem))
    assert TlsReason.EXPIRED is error.reason
    assert 'was issued by "Old CA", whose certificate expired on' in str(error)


@pytest.mark.parametrize("name", ["other.example.org", "192.0.2.2"])
def test_a_certificate_for_another_server_is_refused_with_its_names(name: str) -> None:
    error = refusal(name=name)
    assert TlsReason.NAME_MISMATCH is error.reason
    assert f"the certificate of the server is for time.example.org, 192.0.2.1, not for {name}" == str(error)


def test_a_name_that_is_an_address_as_text_is_no_address() -> None:
    # RFC 9525, 6.2: an address matches an iPAddress only.
    error = refusal(make_identity("s", "t.example.org", issuer=CA), name="192.0.2.1")
    assert TlsReason.NAME_MISMATCH is error.reason


def test_an_unknown_authority_is_named_whether_it_is_shown_or_not() -> None:
    other = Trust.from_pem(make_identity("Other CA", authority=True).pem)
    for error in (refusal(trust=other), refusal(SERVER, CA, trust=other)):
        assert TlsReason.UNKNOWN_CA is error.reason
        assert '"Lab CA"' in str(error)
        assert "ca:" in str(error)


def test_the_systems_store_does_not_know_a_lab() -> None:
    assert TlsReason.UNKNOWN_CA is refusal(trust=Trust.system()).reason


def test_a_certificate_that_signs_itself_is_refused_unless_it_is_named() -> None:
    own = make_identity("own", NAME)
    error = refusal(own)
    assert TlsReason.UNKNOWN_CA is error.reason
    assert "is signed by itself" in str(error)
    client, _ = connect(own, trust=Trust.from_pem(own.pem))
    assert client.established


def test_a_server_may_be_trusted_by_its_own_certificate_whoever_issued_it() -> None:
    client, _ = connect(trust=Trust.from_pem(SERVER.pem))
    assert client.established


def test_a_chain_over_an_intermediate_authority_is_followed() -> None:
    middle = make_identity("Middle CA", authority=True, issuer=CA)
    client, _ = connect(make_identity("s", NAME, issuer=middle), middle)
    assert client.established


def test_a_certificate_that_is_not_for_servers_is_refused() -> None:
    error = refusal(make_identity("s", NAME, issuer=CA, client_only=True))
    assert TlsReason.BAD_CERTIFICATE is error.reason
    assert "is not for TLS servers" in str(error)


def test_who_is_no_authority_cannot_issue() -> None:
    nobody = make_identity("nobody", "n.example.org", issuer=CA)
    error = refusal(make_identity("s", NAME, issuer=nobody), nobody)
    assert TlsReason.BAD_CERTIFICATE is error.reason
    assert "no authority" in str(error)


def test_without_a_right_clock_only_the_dates_are_put_off() -> None:
    client, _ = connect(now=Instant(0), floor=at_day(-300))
    assert client.facts is not None
    assert client.facts.dates_wrong is not None
    assert "our clock says 1970-01-01" in client.facts.dates_wrong
    for wrong in ("other.example.org", "192.0.2.2"):
        with pytest.raises(TlsError) as caught:
            connect(now=Instant(0), floor=at_day(-300), name=wrong)
        assert TlsReason.NAME_MISMATCH is caught.value.reason
    with pytest.raises(TlsError) as caught:
        connect(make_identity("own", NAME), now=Instant(0), floor=at_day(-300))
    assert TlsReason.UNKNOWN_CA is caught.value.reason


def test_a_clock_that_is_years_ahead_is_no_hindrance_either() -> None:
    client, _ = connect(now=at_day(20_000), floor=at_day(-300))
    assert client.facts is not None
    assert client.facts.dates_wrong is not None


def test_what_ended_before_the_floor_is_refused_whatever_our_clock_says() -> None:
    with pytest.raises(TlsError) as caught:
        connect(now=Instant(0), floor=at_day(101))
    assert TlsReason.EXPIRED is caught.value.reason
    assert "and it is later than 2026-12-31 14:13:20 UTC" in str(caught.value)


def test_a_server_with_several_certificates_shows_the_one_that_is_asked_for() -> None:
    others = tuple(pair(make_identity(name, name, issuer=CA)) for name in ("a.example.org", "b.example.org"))
    context = ServerContext((pair(SERVER), *others))
    for name in ("time.example.org", "a.example.org", "b.example.org", "192.0.2.1"):
        client = ClientTls(TRUST, name, NOW)
        shake(client, ServerTls(context))
        assert client.facts is not None
        assert name in client.facts.names


HEARD: list[str] = []
"""What the other client below heard last."""


def browser(server: ServerTls, alpn: list[str], newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
    """Another TLS client, Python's own, tries. Raises TlsError of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, newest
    if alpn:
        context.set_alpn_protocols(alpn)
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    other = context.wrap_bio(inbox, outbox)
    for _ in range(4):
        with contextlib.suppress(ssl.SSLWantReadError):
            other.do_handshake()
        try:
            server.receive(outbox.read())
        except TlsError:
            inbox.write(server.outgoing())
            try:
                other.do_handshake()
            except ssl.SSLError as error:
                HEARD.append(str(error).lower().replace("_", " "))
            raise
        inbox.write(server.outgoing())


@pytest.mark.parametrize(
    ("alpn", "newest", "reason", "alert"),
    [
        (["h2", "http/1.1"], ssl.TLSVersion.TLSv1_3, TlsReason.ALPN, "no application protocol"),
        (["ntske/1"], ssl.TLSVersion.TLSv1_2, TlsReason.BROKEN, "alert protocol version"),
    ],
)
def test_a_client_without_ntske_or_without_tls_1_3_is_refused_by_an_alert(
    alpn: list[str], newest: ssl.TLSVersion, reason: TlsReason, alert: str
) -> None:
    HEARD.clear()
    with pytest.raises(TlsError) as caught:
        browser(ServerTls(ServerContext((pair(SERVER),))), alpn, newest)
    assert reason is caught.value.reason
    assert alert in HEARD[-1]


def test_a_client_without_alpn_is_refused() -> None:
    with pytest.raises(TlsError) as caught:
        browser(ServerTls(ServerContext((pair(SERVER),))), [])
    assert TlsReason.ALPN is caught.value.reason


def test_another_tls_client_with_ntske_is_served() -> None:
    server = ServerTls(ServerContext((pair(SERVER),)))
    browser(server, ["h2", "ntske/1"])
    assert server.established


def test_a_server_that_speaks_tls_but_not_ntske_is_refused(tmp_path: Path) -> None:
    client = ClientTls(TRUST, NAME, NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    (tmp_path / "both.pem").write_bytes(SERVER.pem + SERVER.key_pem)
    context.load_cert_chain(tmp_path / "both.pem")
    other = context.wrap_bio(inbox, outbox, server_side=True)
    inbox.write(client.outgoing())
    with pytest.raises(ssl.SSLWantReadError):
        other.do_handshake()
    with pytest.raises(TlsError) as caught:
        client.receive(outbox.read())
    assert TlsReason.ALPN is caught.value.reason


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.0\r\n\r\n", bytes(100), b"\xff" * 100, b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_what_is_not_tls_is_refused_by_both_ends(junk: bytes) -> None:
    for end in (ServerTls(ServerContext((pair(SERVER),))), ClientTls(TRUST, NAME, NOW)):
        with pytest.raises(TlsError) as caught:
            end.receive(junk)
        assert TlsReason.BROKEN is caught.value.reason


def test_a_handshake_without_end_is_ended() -> None:
    """A ClientHello that says it has 81,920 octets, which OpenSSL would wait for."""
    server = ServerTls(ServerContext((pair(SERVER),)))
    hello = b"\x01\x01\x40\x00" + bytes(81_920)
    records = [
        b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
        for piece in (hello[start : start + 1000] for start in range(0, len(hello), 1000))
    ]
    enough = MAX_HANDSHAKE // 1005
    for record in records[:enough]:
        assert b"" == server.receive(record)
    with pytest.raises(TlsError) as caught:
        server.receive(records[enough])
    assert TlsReason.TOO_LONG is caught.value.reason


def test_a_connection_that_ends_in_the_handshake_is_said() -> None:
    client = ClientTls(TRUST, NAME, NOW)
    with pytest.raises(TlsError) as caught:
        client.finish()
    assert TlsReason.CLOSED is caught.value.reason


def spoiled(data: bytes, rng: Random) -> bytes:
    """Octets changed, cut out, or put in."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made))
        match rng.randrange(3):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at : at + rng.randint(1, 40)]
            case _:
                made[at:at] = rng.randbytes(rng.randint(1, 40))
        made = made or bytearray(b"\x16")
    return bytes(made)


def test_whatever_comes_is_refused_by_a_value_or_waited_for() -> None:
    """400 handshakes, each spoiled in one of its flights: no other exception, and never an agreement on two keys."""
    rng = Random(8915)
    context = ServerContext((pair(SERVER),))
    refused = 0
    for number in range(400):
        client, server = ClientTls(TRUST, NAME, NOW), ServerTls(context)
        try:
            first = client.outgoing()
            server.receive(spoiled(first, rng) if number % 3 == 0 else first)
            flight = server.outgoing()
            client.receive(spoiled(flight, rng) if number % 3 == 1 and flight else flight)
            last = client.outgoing()
            server.receive(spoiled(last, rng) if number % 3 == 2 and last else last)
        except TlsError:
            refused += 1
            continue
        if client.established and server.established:
            context_octets = exporter_context(0, 15, Direction.C2S)
            assert client.export(EXPORTER_LABEL, 32, context_octets) == server.export(
                EXPORTER_LABEL, 32, context_octets
            )
    # The others wait for octets that do not come.
    assert refused > 200
