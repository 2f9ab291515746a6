"""X.509 certificates as NTS-KE sees them: names, dates, and sentences about what is wrong with one (RFC 5280, 9525).

Nothing here reads a file or a clock: PEM octets and ``now`` are parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.base.utc import DAY_S, civil

MAX_PEM: Final = 1 << 20
"""Octets of the longest file of certificates that is read; a system's whole store has about 220,000."""

EXPIRY_DAYS: Final = (30, 7, 1)
"""So many days before a certificate's end its owner is told."""

_LONGEST: Final = 100

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


MALFORMED: Final = (
    ValueError,
    UnsupportedAlgorithm,
    # None of these is a ValueError.
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a part of a certificate raises when that is malformed, or of a kind that is not known."""


class CertificateError(ValueError):
    """Certificates or a key that cannot be used; the text is for the operator."""


class PrivateKeyError(CertificateError):
    """It is the private key that cannot be used, or that is of another certificate."""


class Dates(Enum):
    """Where a moment lies, seen from a certificate."""

    BEFORE = "before"
    WITHIN = "within"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate, or each one of a chain, is valid; both ends are part of it (RFC 5280, 4.1.2.5).

    Attributes:
        not_before: Its beginning.
        not_after: Its end.
    """

    not_before: Instant[Utc]
    not_after: Instant[Utc]

    def at(self, now: Instant[Utc]) -> Dates:
        """Where ``now`` lies."""
        if now < self.not_before:
            return Dates.BEFORE
        # A certificate is valid for all of its last second.
        return Dates.WITHIN if now.scaled_ns < self.not_after.scaled_ns + UNITS_PER_S else Dates.AFTER

    def within(self, other: Validity) -> Validity:
        """What both have in common; it may be empty, and then no moment lies in it."""
        return Validity(max(self.not_before, other.not_before), min(self.not_after, other.not_after))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its chain and its private key, fit to be served.

    Attributes:
        chain: The certificate, then those of its issuers.
        key: Its private key; it stays out of every ``repr``.
        names: DNS names in lower case, perhaps with a wildcard, and addresses.
        validity: Of the certificate and its chain together.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    names: tuple[str, ...]
    validity: Validity

    def __repr__(self) -> str:
        return f"KeyPair({', '.join(self.names)})"


def load_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM text, at least one. Raises CertificateError."""
    if len(pem) > MAX_PEM:
        raise CertificateError(f"is longer than {MAX_PEM} octets")
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in found:
            validity_of(certificate)
            names_of(certificate)
    except MALFORMED as error:
        if b"-----BEGIN CERTIFICATE-----" not in pem:
            raise CertificateError("has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
        raise CertificateError(f"has a certificate that cannot be read: {clean(str(error))}") from None
    if not found:
        raise CertificateError("has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    return found


def load_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM text. Raises PrivateKeyError, which never repeats any of it."""
    if len(pem) > MAX_PEM:
        raise PrivateKeyError(f"is longer than {MAX_PEM} octets")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise PrivateKeyError("is protected by a password; a server has nobody to ask for it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PrivateKeyError("has no private key in PEM form that can be read") from None
    if not isinstance(key, PrivateKey):
        raise PrivateKeyError("holds a key that is not for signatures of TLS 1.3; use ECDSA, RSA or Ed25519")
    return key


def load_pair(certificate_pem: bytes, key_pem: bytes) -> KeyPair:
    """A certificate with its key.

    Raises CertificateError; PrivateKeyError where it is the key that is wrong, or another certificate's.
    """
    try:
        chain = load_certificates(certificate_pem)
    except CertificateError as error:
        raise CertificateError(f"the certificate file {error}") from None
    try:
        key = load_key(key_pem)
    except PrivateKeyError as error:
        raise PrivateKeyError(f"the key file {error}") from None
    try:
        belongs = chain[0].public_key() == key.public_key()
    except MALFORMED as error:
        raise CertificateError(f"the certificate has a key of a kind that is not known: {error}") from None
    if not belongs:
        raise PrivateKeyError("the private key does not belong to the certificate")
    names = names_of(chain[0])
    if not names:
        raise CertificateError("the certificate has no name or address (subjectAltName), so no client can accept it")
    validity = validity_of(chain[0])
    for issuer in chain[1:]:
        validity = validity.within(validity_of(issuer))
    return KeyPair(chain, key, names, validity)


def validity_of(certificate: x509.Certificate) -> Validity:
    """Its dates. Raises ValueError when they are malformed."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # Whole seconds, which a float holds exactly.
    return Validity(Instant(int(first.timestamp()) * UNITS_PER_S), Instant(int(last.timestamp()) * UNITS_PER_S))


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses that it is for (subjectAltName); the subject's common name is none (RFC 9525, 2).

    Raises ValueError when they are malformed.
    """
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except MALFORMED as error:
        raise ValueError(str(error)) from None
    names = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]
    return (*names, *map(str, alternative.get_values_for_type(x509.IPAddress)))


def covers(names: tuple[str, ...], wanted: str) -> bool:
    """Whether a certificate for ``names`` is for the server ``wanted``, a DNS name or an address (RFC 9525, 6.3).

    A wildcard stands for exactly one label, the left-most, and never for a label right under a top-level domain's;
    an address is only ever equal to an address.
    """
    address = numeric(wanted)
    if address is not None:
        return any(numeric(name) == address for name in names)
    host = wanted.lower().removesuffix(".")
    _, _, parent = host.partition(".")
    return any(
        name.removesuffix(".") == host
        or (name.startswith("*.") and name[2:].removesuffix(".") == parent and "." in parent)
        for name in names
    )


def numeric(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, if it is one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def title_of(certificate: x509.Certificate) -> str:
    """What to call a certificate in a sentence: its names, or its subject."""
    try:
        names = names_of(certificate)
        return clean(", ".join(names)) or f'"{subject_of(certificate.subject)}"'
    except ValueError:
        return "a certificate that cannot be read"


def subject_of(name: x509.Name) -> str:
    """The common name, or all of a distinguished name; fit for a terminal."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return clean(str(common[0].value) if common else name.rfc4514_string())


def clean(text: str) -> str:
    """A text from a certificate, fit for a log line: printable, and not long."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
    return shown if len(text) <= _LONGEST else shown + "…"


def utc_text(at: Instant[Utc]) -> str:
    """Date and time, to the second."""
    day, second = divmod(at.scaled_ns // UNITS_PER_S, DAY_S)
    year, month, date = civil(day)
    return f"{year:04}-{month:02}-{date:02} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} UTC"


def dates_wrong(what: str, validity: Validity, now: Instant[Utc]) -> str | None:
    """Why a certificate's dates forbid its use, in a sentence that names both clocks; None when they do not.

    Args:
        what: The certificate.
        validity: Its dates.
        now: What our clock says.
    """
    match validity.at(now):
        case Dates.WITHIN:
            return None
        case Dates.AFTER:
            return f"{what} expired on {utc_text(validity.not_after)}; our clock says {utc_text(now)}"
        case Dates.BEFORE:
            start = utc_text(validity.not_before)
            return f"{what} is not valid before {start}; our clock says {utc_text(now)}, which may be what is wrong"


def expiry_stage(validity: Validity, now: Instant[Utc]) -> int | None:
    """How near the end is: 30, 7 or 1 for at most so many days, 0 when it is over, None while it is far.

    Each stage is worth one sentence.
    """
    if validity.at(now) is Dates.AFTER:
        return 0
    left = (validity.not_after - now).scaled_ns
    return min((days for days in EXPIRY_DAYS if left <= days * DAY_S * UNITS_PER_S), default=None)


def expiry_notice(what: str, validity: Validity, now: Instant[Utc]) -> str | None:
    """The sentence of the present stage; None while the end is far."""
    stage = expiry_stage(validity, now)
    if stage is None:
        return None
    if stage == 0:
        return f"{what} expired on {utc_text(validity.not_after)}: clients refuse it; install a new one"
    days = (validity.not_after - now).scaled_ns // (DAY_S * UNITS_PER_S)
    left = "in less than a day" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
    return f"{what} expires {left}, on {utc_text(validity.not_after)}; install a new one before"
