"""NTP over PTP: packets of Debian's chronyd 4.3, the newer form laid out by hand, scapy and properties."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.ptp_v2 import PTP

from timesync.base.time import ZERO, Duration
from timesync.wire.error import WireError
from timesync.wire.ntp import Extension, Mode, decode
from timesync.wire.ntp_over_ptp import Carried, Form, decode_correction, encode_correction, unwrap, wrap
from timesync.wire.ptp import decode as decode_ptp
from timesync.wire.ptp_message import DelayReq, Flags, Tlv

# Captured between two network namespaces: `server 198.51.100.1 port 319`, `ptpport 319` on both sides.
CHRONY_REQUEST = bytes.fromhex(
    "010200607b000400000000000000000000000000000000000000000000000000"
    "00000000000000000000000020230030"
    "2300002000000000000000000000000000000000000000000000000000000000"
    "0000000000000000bf19ad45ca36c79e"
)
CHRONY_ANSWER = bytes.fromhex(
    "010200607b000400000000000000000000000000000000000000000000000000"
    "00000000000000000000000020230030"
    "240100e600000000000000007f7f0101eeac1d0fd0a490a1bf19ad45ca36c79e"
    "eeac1d11d256cd39eeac1d11d26081f0"
)
# With a key: 20 octets of MAC behind the header.
CHRONY_SIGNED = bytes.fromhex(
    "010200747b000400000000000000000000000000000000000000000000000000"
    "00000000000000000000000020230044"
    "2300002000000000000000000000000000000000000000000000000000000000"
    "000000000000000019ec34e4146045e4"
    "0000000771d57128c69a621ddafe370076cb2b8a"
)
NTP = CHRONY_REQUEST[48:]
ORGANIZATION_REQUEST = (
    bytes.fromhex(
        "01 02 0068"  # Delay_Req, version 2.0, 104 octets
        "7b 00 0400"  # domain 123, unicast
        "0000000000000000 00000000"  # correctionField, messageTypeSpecific
        "0000000000000000 0000"  # sourcePortIdentity
        "0000 00 00"  # sequenceId, controlField, logMessageInterval
        "00000000000000000000"  # originTimestamp
        "0003 0038"  # ORGANIZATION_EXTENSION, 56 octets
        "00005e 000001 0000"  # IANA, NTP message, reserved
    )
    + NTP
)

forms = st.sampled_from(Form)
domains = st.integers(0, 255)
bodies = st.binary(max_size=2000)


def altered(data: bytes, offset: int, new: str) -> bytes:
    octets = bytes.fromhex(new)
    return data[:offset] + octets + data[offset + len(octets) :]


@pytest.mark.parametrize("data", [CHRONY_REQUEST, CHRONY_ANSWER, CHRONY_SIGNED])
def test_what_chronyd_sends_is_read_and_would_be_written_alike(data: bytes) -> None:
    carried = unwrap(data)
    assert Carried(data[48:], Form.EXPERIMENTAL, ZERO) == carried
    assert data == wrap(carried.ntp, carried.form)
    decode(carried.ntp)


def test_the_message_in_it_is_ntp() -> None:
    request, answer = decode(unwrap(CHRONY_REQUEST).ntp), decode(unwrap(CHRONY_ANSWER).ntp)
    assert (Mode.CLIENT, Mode.SERVER) == (request.mode, answer.mode)
    assert request.transmit == answer.origin


def test_the_form_of_the_ianas_organisation_id() -> None:
    assert ORGANIZATION_REQUEST == wrap(NTP, Form.ORGANIZATION)
    assert Carried(NTP, Form.ORGANIZATION, ZERO) == unwrap(ORGANIZATION_REQUEST)
    # IEEE 1588-2019 has another TLV for what a boundary clock is not to pass on.
    newer = altered(altered(ORGANIZATION_REQUEST, 1, "12"), 44, "8000")
    assert Carried(NTP, Form.ORGANIZATION, ZERO) == unwrap(newer)


@pytest.mark.parametrize("data", [CHRONY_REQUEST, ORGANIZATION_REQUEST])
def test_other_readers_of_ptp_see_a_delay_req(data: bytes) -> None:
    seen = PTP(data)
    assert (1, 2, len(data), 123) == (seen.messageType, seen.version, seen.messageLength, seen.domainNumber)
    message = decode_ptp(data)
    assert isinstance(message, DelayReq)
    assert Flags.UNICAST == message.header.flags
    (tlv,) = message.tlvs
    assert Tlv(tlv.kind, data[48:]) == tlv


@pytest.mark.parametrize(
    ("octets", "correction"),
    [
        ("0000000000010000", Duration.from_ns(1)),
        ("00000000000c8000", Duration.from_ns(12) + Duration(0x8000)),
        ("ffffffffffff0000", Duration.from_ns(-1)),
    ],
)
def test_what_transparent_clocks_add_is_read(octets: str, correction: Duration) -> None:
    assert correction == unwrap(altered(CHRONY_REQUEST, 8, octets)).correction


@pytest.mark.parametrize(
    ("offset", "new"),
    [
        (0, "09"),  # Delay_Resp
        (0, "11"),  # gPTP
        (1, "01"),  # version 1
        (4, "00"),  # domain 0
        (5, "01"),  # minorSdoId
        (6, "0600"),  # two-step
        (6, "0000"),  # not unicast
        (2, "0061"),  # longer than the datagram
        (46, "002c"),  # the TLV ends before the message
        (44, "2024"),  # another TLV
        (44, "0003"),  # of an organisation, and not of the IANA
    ],
)
def test_other_messages_are_refused(offset: int, new: str) -> None:
    with pytest.raises(WireError):
        unwrap(altered(CHRONY_REQUEST, offset, new))


@pytest.mark.parametrize("new", ["00005f", "00005e000002"])
def test_other_organisations_are_refused(new: str) -> None:
    with pytest.raises(WireError):
        unwrap(altered(ORGANIZATION_REQUEST, 48, new))


def test_a_sync_carries_ntp_as_well() -> None:
    assert NTP == unwrap(altered(CHRONY_REQUEST, 0, "00")).ntp


@given(bodies, forms, domains, st.binary(max_size=4))
def test_what_is_wrapped_is_unwrapped_whatever_follows(ntp: bytes, form: Form, domain: int, behind: bytes) -> None:
    data = wrap(ntp, form, domain)
    assert struct.unpack_from(">H", data, 2) == (len(data),)
    assert Carried(ntp, form, ZERO) == unwrap(data + behind, domain)


@given(bodies, forms, domains, domains, st.data())
def test_what_is_cut_or_of_another_domain_is_refused(
    ntp: bytes, form: Form, domain: int, other: int, data: st.DataObject
) -> None:
    octets = wrap(ntp, form, domain)
    with pytest.raises(WireError):
        unwrap(octets[: data.draw(st.integers(0, len(octets) - 1))], domain)
    if other != domain:
        with pytest.raises(WireError):
            unwrap(octets, other)


@given(st.binary(max_size=200))
def test_any_octets_are_refused_or_read(data: bytes) -> None:
    try:
        unwrap(data)
    except WireError:
        return


@pytest.mark.parametrize(("size", "domain"), [(65480, 0), (48, 256), (48, -1)])
def test_what_fits_no_message_is_not_made(size: int, domain: int) -> None:
    with pytest.raises(ValueError, match="octets in domain"):
        wrap(bytes(size), Form.ORGANIZATION, domain)


# -- the field that tells the client of its request


@pytest.mark.parametrize(
    ("body", "units"),
    [
        ("00" * 24, 0),
        ("00000000 40000000" + "00" * 16, 250_000_000 << 16),
        ("00000002 00000000" + "ff" * 16, 2_000_000_000 << 16),
    ],
)
def test_the_correction_of_a_request_is_read(body: str, units: int) -> None:
    fields = (Extension(0x0104, bytes(32)), Extension(0x010A, bytes.fromhex(body)))
    assert Duration(units) == decode_correction(fields)


@pytest.mark.parametrize("body", ["80000000 00000000" + "00" * 16, "ff" * 24, "00" * 20, "00" * 28, ""])
def test_a_correction_that_is_negative_or_of_another_length_is_none(body: str) -> None:
    assert decode_correction((Extension(0x010A, bytes.fromhex(body)),)) is None
    assert decode_correction(()) is None


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_any_correction_comes_back_to_a_quarter_of_a_nanosecond(units: int) -> None:
    field = encode_correction(Duration(units))
    assert (0x010A, 24) == (field.kind, len(field.body))
    got = decode_correction((field,))
    assert got is not None
    assert 0 <= max(units, 0) - got.scaled_ns <= (1 << 16) // 4
