"""Certificates for tests: authorities, servers, and every way in which one can be wrong."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.nts.certificates import KeyPair, load_pair
from timesync.nts.tls_client import ClientTls
from timesync.nts.tls_server import ServerTls

DAY = 86_400
NOW_S = 1_790_000_000
"""2026-09-21 14:13:20 UTC."""
NOW: Instant[Utc] = Instant(NOW_S * UNITS_PER_S)


def at_day(days: float) -> Instant[Utc]:
    """So many days after ``NOW``."""
    return Instant(NOW.scaled_ns + round(days * DAY) * UNITS_PER_S)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_identity(
    title: str,
    *names: str,
    issuer: Identity | None = None,
    authority: bool = False,
    days: tuple[float, float] = (-10, 100),
    now_s: float = NOW_S,
    client_only: bool = False,
) -> Identity:
    """A certificate for DNS names and addresses; without ``issuer`` it is signed by itself.

    ``days`` are its beginning and its end, counted from ``now_s``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
    first, last = (dt.datetime.fromtimestamp(now_s + day * DAY, dt.UTC) for day in days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    if client_only:
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    return Identity(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def with_two_of_a_kind(identity: Identity, issuer: Identity) -> Identity:
    """Its certificate, signed anew with a second list of names in place of what it may be used for.

    No library makes such a thing, but a stranger can.
    """
    old, new = _oid(x509.ExtendedKeyUsage.oid), _oid(x509.SubjectAlternativeName.oid)
    body = identity.certificate.tbs_certificate_bytes.replace(old, new)
    signature = issuer.key.sign(body, ec.ECDSA(hashes.SHA256()))
    # ecdsa-with-SHA256 (RFC 5758, 3.2).
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    der = _sequence(0x30, body + algorithm + _sequence(0x03, b"\0" + signature))
    return Identity(x509.load_der_x509_certificate(der), identity.key)


def _oid(of: x509.ObjectIdentifier) -> bytes:
    """Those of 2.5.29, X.509's own extensions."""
    return bytes([6, 3, 0x55, 0x1D, int(of.dotted_string.rpartition(".")[2])])


def _sequence(tag: int, body: bytes) -> bytes:
    length = len(body).to_bytes(2, "big")
    return bytes([tag]) + (b"\x82" + length if len(body) > 127 else length[1:]) + body


def pair(identity: Identity, *above: Identity) -> KeyPair:
    """What a server shows: the certificate, and those above it."""
    return load_pair(b"".join(one.pem for one in (identity, *above)), identity.key_pem)


def shake(client: ClientTls, server: ServerTls) -> None:
    """Carry octets between the two until both are silent."""
    while True:
        there = client.outgoing()
        if there:
            server.receive(there)
        back = server.outgoing()
        if back:
            client.receive(back)
        if not there and not back:
            return
