"""Certificates: what is read from them, and the sentences about them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tls_support import NOW, at_day, make_identity, with_two_of_a_kind

from timesync.base.time import UNITS_PER_S, Duration, Instant
from timesync.nts.certificates import (
    MAX_PEM,
    CertificateError,
    Dates,
    Validity,
    clean,
    covers,
    dates_wrong,
    expiry_notice,
    expiry_stage,
    load_certificates,
    load_pair,
    names_of,
    utc_text,
    validity_of,
)

SECOND = Duration.from_s(1)


def test_a_pair_tells_its_names_and_its_dates() -> None:
    identity = make_identity("t", "Time.Example.org", "*.pool.example.org", "2001:db8::1", days=(-1, 90))

    made = load_pair(identity.pem, identity.key_pem)

    assert ("time.example.org", "*.pool.example.org", "2001:db8::1") == made.names
    assert Validity(at_day(-1), at_day(90)) == made.validity


def test_the_dates_of_a_pair_are_those_that_its_whole_chain_has_in_common() -> None:
    authority = make_identity("ca", authority=True, days=(-5, 30))
    server = make_identity("t", "t.example.org", issuer=authority, days=(-1, 90))

    made = load_pair(server.pem + authority.pem, server.key_pem)

    assert 2 == len(made.chain)
    assert Validity(at_day(-1), at_day(30)) == made.validity


def test_a_certificate_with_two_lists_of_names_is_refused_by_a_sentence() -> None:
    one = make_identity("t", "t.example.org", client_only=True)
    twice = with_two_of_a_kind(one, one)
    with pytest.raises(ValueError, match="Duplicate"):
        names_of(twice.certificate)
    with pytest.raises(CertificateError, match="has a certificate that cannot be read"):
        load_pair(twice.pem, twice.key_pem)


def test_a_pair_never_shows_its_key() -> None:
    identity = make_identity("t", "t.example.org")
    assert "KeyPair(t.example.org)" == repr(load_pair(identity.pem, identity.key_pem))


def test_what_makes_a_pair_useless_is_said() -> None:
    one, other = make_identity("t", "t.example.org"), make_identity("t", "t.example.org")
    nameless = make_identity("t.example.org")
    exchange = x25519.X25519PrivateKey.generate()
    wrong_kind = exchange.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    cut = one.pem.replace(b"MII", b"AAAA", 1)
    for certificate, key, sentence in [
        (one.pem, other.key_pem, "the private key does not belong to the certificate"),
        (b"", one.key_pem, "the certificate file has no certificate in PEM form"),
        (one.key_pem, one.key_pem, "the certificate file has no certificate in PEM form"),
        (cut, one.key_pem, "the certificate file has a certificate that cannot be read"),
        (b"x" * (MAX_PEM + 1), one.key_pem, f"the certificate file is longer than {MAX_PEM} octets"),
        (one.pem, b"", "the key file has no private key in PEM form"),
        (one.pem, one.pem, "the key file has no private key in PEM form"),
        (one.pem, locked, "the key file is protected by a password"),
        (one.pem, wrong_kind, "the key file holds a key that is not for signatures"),
        (nameless.pem, nameless.key_pem, "the certificate has no name or address"),
    ]:
        with pytest.raises(CertificateError) as caught:
            load_pair(certificate, key)
        assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "wanted", "fits"),
    [
        ("t.example.org", "t.example.org", True),
        ("t.example.org", "T.EXAMPLE.org", True),
        ("t.example.org", "t.example.org.", True),
        ("t.example.org", "x.example.org", False),
        ("t.example.org", "example.org", False),
        ("t.example.org", "t.example.org.evil.example", False),
        # RFC 9525, 6.3: a wildcard is the whole left-most label, and stands for one.
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.org", "example.org", False),
        ("a*.example.org", "ab.example.org", False),
        ("a.*.example.org", "a.b.example.org", False),
        ("*", "localhost", False),
        # An address is equal to an address however it is written, and no name is one.
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:0db8:0::0001", True),
        ("*.0.2.1", "192.0.2.1", False),
    ],
)
def test_which_server_a_name_in_a_certificate_is_for(name: str, wanted: str, fits: bool) -> None:
    assert fits is covers((name,), wanted)


def test_a_common_name_is_no_name_of_a_server() -> None:
    assert () == names_of(make_identity("t.example.org").certificate)


def test_a_certificate_is_valid_from_its_first_second_to_the_end_of_its_last() -> None:
    validity = Validity(NOW, at_day(1))
    assert Dates.BEFORE is validity.at(Instant(NOW.scaled_ns - 1))
    assert Dates.WITHIN is validity.at(NOW)
    assert Dates.WITHIN is validity.at(Instant(at_day(1).scaled_ns + UNITS_PER_S - 1))
    assert Dates.AFTER is validity.at(at_day(1) + SECOND)


def test_dates_that_nobody_can_reach_are_read() -> None:
    years = 365.2425
    validity = validity_of(make_identity("t", days=(-50 * years, 5000 * years)).certificate)
    assert Dates.WITHIN is validity.at(NOW)


def test_a_sentence_about_dates_names_both_clocks() -> None:
    validity = Validity(at_day(-1), at_day(1))
    assert None is dates_wrong("it", validity, NOW)
    assert "it expired on 2026-09-22 14:13:20 UTC; our clock says 2026-09-23 14:13:20 UTC" == dates_wrong(
        "it", validity, at_day(2)
    )
    before = dates_wrong("it", validity, Instant(0))
    assert before is not None
    assert before.startswith("it is not valid before 2026-09-20 14:13:20 UTC; our clock says 1970-01-01 00:00:00 UTC")


def test_an_expiry_is_announced_30_7_and_1_days_before_and_after() -> None:
    validity = Validity(at_day(-10), at_day(100))
    stages = [(day, expiry_stage(validity, at_day(day))) for day in (0, 69, 70, 92, 93, 98, 99, 100)]
    assert [(0, None), (69, None), (70, 30), (92, 30), (93, 7), (98, 7), (99, 1), (100, 1)] == stages
    assert 0 == expiry_stage(validity, at_day(100.5))


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (70, "it expires in 30 days, on 2026-12-30 14:13:20 UTC"),
        (98.5, "it expires in 1 day, on"),
        (99.5, "it expires in less than a day, on"),
        (101, "it expired on 2026-12-30 14:13:20 UTC: clients refuse it"),
    ],
)
def test_the_sentence_says_how_long_is_left(day: float, words: str) -> None:
    notice = expiry_notice("it", Validity(at_day(-10), at_day(100)), at_day(day))
    assert notice is not None
    assert notice.startswith(words)


def test_what_strangers_write_in_certificates_cannot_harm_a_terminal() -> None:
    assert "a?[31mb" == clean("a\x1b[31mb")
    assert 101 == len(clean("x" * 5000))


def test_a_moment_is_written_in_utc() -> None:
    # POSIX second 951,826,153 was on the leap day of 2000 (2000-02-29 is day 11,016).
    assert "2000-02-29 12:09:13 UTC" == utc_text(Instant((11_016 * 86_400 + 43_753) * UNITS_PER_S))


def test_several_certificates_of_one_file_keep_their_order() -> None:
    one, other = make_identity("one"), make_identity("other")
    assert (one.certificate, other.certificate) == load_certificates(one.pem + other.pem)
