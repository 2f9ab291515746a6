"""Records of NTS key establishment: octets written out from RFC 8915, section 4, and what is refused."""

from __future__ import annotations

import pytest

from timesync.wire.error import WireError
from timesync.wire.nts_ke import END, MAX_RECORDS, Record, RecordReader, RecordType, encode_records
from timesync.wire.nts_ke_message import (
    FixedKeys,
    PoolAsk,
    Request,
    RequestError,
    Response,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
    server_name,
)

EOM = "8000 0000"
PLAIN_REQUEST = bytes.fromhex("8001 0002 00008004 0002 000f" + EOM)
"""NTPv4 by AEAD_AES_SIV_CMAC_256, RFC 8915, 4.1.1 to 4.1.5."""

CHRONY_REQUEST = bytes.fromhex("8001 0002 00008004 0004 001e 000f0400 0000" + EOM)
"""NTPv4 by AEADs 30 and 15, and record 1024; both are critical with chrony, as they may be."""


def read(octets: bytes, max_message: int = 16_384) -> tuple[Record, ...]:
    records = RecordReader(max_message).feed(octets)
    assert records is not None
    return records


def request(octets: bytes, *, pool: bool = False) -> Request:
    return parse_request(read(octets), pool=pool)


def response(text: str) -> Response:
    return parse_response(read(bytes.fromhex(text + EOM)))


# -- records


def test_a_record_is_type_length_and_body() -> None:
    (record, other) = read(bytes.fromhex("8002 0002 00010005 0004 01020304" + EOM))

    assert Record(RecordType.ERROR, b"\0\1", critical=True) == record
    assert Record(RecordType.NEW_COOKIE, b"\1\2\3\4", critical=False) == other


def test_a_message_may_come_octet_by_octet() -> None:
    reader = RecordReader()
    for octet in CHRONY_REQUEST[:-1]:
        assert reader.feed(bytes([octet])) is None
    assert read(CHRONY_REQUEST) == reader.feed(CHRONY_REQUEST[-1:])


@pytest.mark.parametrize("cut", range(1, len(CHRONY_REQUEST)))
def test_a_message_may_be_cut_anywhere(cut: int) -> None:
    reader = RecordReader()
    assert reader.feed(CHRONY_REQUEST[:cut]) is None
    assert read(CHRONY_REQUEST) == reader.feed(CHRONY_REQUEST[cut:])


def test_a_record_of_64_kib_is_refused_by_its_head_alone() -> None:
    reader = RecordReader(16_384)
    with pytest.raises(WireError, match="too long"):
        reader.feed(bytes.fromhex("0005 ffff"))


@pytest.mark.parametrize("size", [200, 1000, 4000])
def test_a_message_that_never_ends_is_refused_at_its_limit(size: int) -> None:
    """A reply of one megabyte is not read to its end, nor held."""
    reader, piece = RecordReader(16_384), bytes.fromhex("0005") + size.to_bytes(2, "big") + bytes(size)
    assert [None] * (16_384 // len(piece)) == [reader.feed(piece) for _ in range(16_384 // len(piece))]
    with pytest.raises(WireError, match="too long"):
        reader.feed(piece)


def test_a_megabyte_in_one_piece_is_not_even_kept() -> None:
    reader = RecordReader(16_384)
    with pytest.raises(WireError, match="too long"):
        reader.feed((bytes.fromhex("0005 03e8") + bytes(1000)) * 1000)
    assert b"" == bytes(reader._buffer)


def test_the_limit_counts_the_end_of_message() -> None:
    octets = bytes.fromhex("0005 0008") + bytes(8) + bytes.fromhex(EOM)
    assert 1 == len(read(octets, max_message=16))
    with pytest.raises(WireError, match="too long"):
        read(octets, max_message=15)


def test_empty_records_do_not_add_up_without_end() -> None:
    reader = RecordReader()
    assert reader.feed(bytes.fromhex("7000 0000") * MAX_RECORDS) is None
    with pytest.raises(WireError, match="too many"):
        reader.feed(bytes.fromhex("7000 0000"))


@pytest.mark.parametrize("octets", ["0000 0000", "8000 0001 00", EOM + "00", EOM + EOM])
def test_end_of_message_is_critical_empty_and_last(octets: str) -> None:
    with pytest.raises(WireError):
        RecordReader().feed(bytes.fromhex(octets))


def test_nothing_may_come_after_the_end_in_a_later_piece() -> None:
    reader = RecordReader()
    assert () == reader.feed(bytes.fromhex(EOM))
    with pytest.raises(WireError, match="after the end"):
        reader.feed(b"\0")


@pytest.mark.parametrize("record", [Record(0x8000), Record(-1), Record(5, bytes(65_536))])
def test_a_record_that_does_not_fit_is_our_own_bug(record: Record) -> None:
    with pytest.raises(ValueError, match="record"):
        record.encode()


def test_records_are_encoded_as_they_were_read() -> None:
    assert CHRONY_REQUEST == encode_records(read(CHRONY_REQUEST))
    assert bytes.fromhex(EOM) == END.encode()


# -- requests


def test_requests_as_the_rfc_and_chrony_have_them() -> None:
    assert Request(algorithms=(15,)) == request(PLAIN_REQUEST)
    assert PLAIN_REQUEST == encode_request(Request(algorithms=(15,)))
    assert Request(algorithms=(30, 15), compliant_128gcm=True) == request(CHRONY_REQUEST)
    assert CHRONY_REQUEST == encode_request(Request(algorithms=(30, 15), compliant_128gcm=True))


def test_wishes_for_a_server_and_a_port_are_not_critical() -> None:
    octets = bytes.fromhex("8001 0004 8001 00008004 0002 000f0006 0003 612e620007 0002 007b" + EOM)
    wish = Request(protocols=(0x8001, 0), algorithms=(15,), server="a.b", port=123)

    assert octets == encode_request(wish)
    assert wish == request(octets)


def test_an_unknown_record_is_passed_over_unless_it_is_critical() -> None:
    assert Request(algorithms=(15,)) == request(bytes.fromhex("3fff 0002 abcd") + PLAIN_REQUEST)
    with pytest.raises(RequestError) as caught:
        request(bytes.fromhex("bfff 0002 abcd") + PLAIN_REQUEST)
    assert 0 == caught.value.code


PROTOCOL, AEAD = "8001 0002 0000", "8004 0002 000f"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("", id="nothing"),
        pytest.param(PROTOCOL, id="no AEAD"),
        pytest.param(AEAD, id="no protocol"),
        pytest.param("8001 0000" + AEAD, id="empty protocol list"),
        pytest.param(PROTOCOL + "8004 0000", id="empty AEAD list"),
        pytest.param(PROTOCOL + PROTOCOL + AEAD, id="two protocol records"),
        pytest.param(PROTOCOL + AEAD + AEAD, id="two AEAD records"),
        pytest.param("0001 0002 0000" + AEAD, id="protocol not critical"),
        pytest.param("8001 0003 000000" + AEAD, id="odd protocol list"),
        pytest.param(PROTOCOL + "8004 0001 0f", id="odd AEAD list"),
        pytest.param(PROTOCOL + AEAD + "0005 0004 01020304", id="a cookie"),
        pytest.param(PROTOCOL + AEAD + "8002 0002 0000", id="an error"),
        pytest.param(PROTOCOL + AEAD + "8003 0002 0000", id="a warning"),
        pytest.param(PROTOCOL + AEAD + "0400 0001 00", id="1024 with a body"),
        pytest.param(PROTOCOL + AEAD + "0007 0003 00007b", id="port of three octets"),
        pytest.param(PROTOCOL + AEAD + "0006 0000", id="empty server"),
        pytest.param(PROTOCOL + AEAD + "0006 0003 61 00 62", id="server with a NUL"),
    ],
)
def test_a_bad_request_is_told_so(octets: str) -> None:
    with pytest.raises(RequestError) as caught:
        request(bytes.fromhex(octets + EOM))
    assert 1 == caught.value.code


def test_a_protocol_without_aead_needs_none() -> None:
    assert Request(protocols=(0x1234,), algorithms=()) == request(bytes.fromhex("8001 0002 1234" + EOM))


# -- pools


def test_what_a_pool_asks() -> None:
    octets = bytes.fromhex("000e 0003 746f6b8009 0000800a 0000" + EOM)
    asked = Request(protocols=(), algorithms=(), pool=PoolAsk(token=b"tok", protocols=True, algorithms=True))

    assert asked == request(octets, pool=True)
    assert octets == encode_request(asked)


def test_fixed_keys_are_c2s_then_s2c() -> None:
    octets = bytes.fromhex(PROTOCOL + "8004 0002 001e000e 0001 78800c 0020" + "11" * 16 + "22" * 16 + EOM)
    keys = FixedKeys(b"\x11" * 16, b"\x22" * 16)
    asked = Request(algorithms=(30,), pool=PoolAsk(token=b"x", fixed_keys=keys))

    assert asked == request(octets, pool=True)
    assert octets == encode_request(asked)


@pytest.mark.parametrize("kind", ["8009 0000", "800a 0000", "800c 0020" + "00" * 32])
def test_a_server_without_pools_does_not_know_their_records(kind: str) -> None:
    with pytest.raises(RequestError) as caught:
        request(bytes.fromhex(PROTOCOL + AEAD + kind + EOM))
    assert 0 == caught.value.code


@pytest.mark.parametrize("keys", ["800c 0000", "800c 0021" + "00" * 33, "800c 0082" + "00" * 130])
def test_fixed_keys_of_impossible_sizes_are_refused(keys: str) -> None:
    with pytest.raises(RequestError) as caught:
        request(bytes.fromhex(PROTOCOL + AEAD + keys + EOM), pool=True)
    assert 1 == caught.value.code


# -- responses


def test_a_response_with_everything() -> None:
    text = "8001 0002 0000 8004 0002 001e 0400 0000 8006 0005 3a3a312e32 8007 0002 1f90 0005 0004 01020304"
    whole = Response(
        protocols=(0,), algorithms=(30,), compliant_128gcm=True, server="::1.2", port=8080, cookies=(b"\1\2\3\4",)
    )

    assert whole == response(text)
    assert bytes.fromhex(text + EOM) == encode_response(whole)


def test_refusals_are_records_of_their_own() -> None:
    assert Response(error=2) == response("8002 0002 0002")
    assert Response(warning=7) == response("8003 0002 0007")
    assert Response(protocols=()) == response("8001 0000")
    assert Response(protocols=(0,), algorithms=()) == response("8001 0002 0000 8004 0000")
    assert bytes.fromhex("8001 0002 0000 8004 0000" + EOM) == encode_response(Response(protocols=(0,), algorithms=()))


def test_what_a_pool_is_told() -> None:
    text = "0008 0000 8009 0004 0000 8001 800a 0008 000f 0020 001e 0010"
    told = Response(supported_protocols=(0, 0x8001), supported_algorithms=((15, 32), (30, 16)), keep_alive=True)

    assert told == response(text)
    assert bytes.fromhex(text + EOM) == encode_response(told)


@pytest.mark.parametrize(
    "text",
    [
        "8002 0001 00",
        "8003 0000",
        "8001 0002 0000 8001 0002 0000",
        "0001 0002 0000",
        "8006 0001 61 8006 0001 61",
        "8007 0001 7b",
        "8006 0004 61256230",
        "bfff 0000",
        "800a 0002 000f",
    ],
)
def test_malformed_responses_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        response(text)


@pytest.mark.parametrize("body", [b"", b"a" * 256, b"a b", b"a\n", b"caf\xe9", b"fe80::1%eth0", b"\x7f"])
def test_names_that_are_none(body: bytes) -> None:
    with pytest.raises(WireError):
        server_name(body)


def test_keys_and_cookies_stay_out_of_logs() -> None:
    secret = b"\xaa" * 16
    texts = (
        repr(FixedKeys(secret, secret)),
        repr(Record(RecordType.FIXED_KEY_REQUEST, secret)),
        repr(PoolAsk(token=secret)),
        repr(Response(cookies=(secret,))),
    )
    assert all("\\xaa" not in text for text in texts)
