"""What is encoded is decoded to the same value, over the whole range of every field."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ptp_captures import MANAGEMENT
from ptp_strategies import MESSAGES, messages, typed_tlvs

from timesync.wire.error import WireError
from timesync.wire.ptp import decode, encode
from timesync.wire.ptp_layout import Fixed
from timesync.wire.ptp_management import DATA, ManagementTlv, read_data
from timesync.wire.ptp_message import Message, MessageType
from timesync.wire.ptp_tlv_read import TypedTlv, find, read


@given(messages, st.binary(max_size=20))
def test_a_message_comes_back_from_its_octets_whatever_follows_them(message: Message, behind: bytes) -> None:
    assert message == decode(encode(message) + behind)


@pytest.mark.parametrize("kind", MESSAGES)
@given(data=st.data())
def test_a_message_carries_its_type_and_length(kind: MessageType, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    octets = encode(message)
    first, _, length = struct.unpack_from(">BBH", octets)
    assert (kind, len(octets)) == (first & 0xF, length)


@given(messages, st.data())
def test_a_message_that_is_cut_is_refused(message: Message, data: st.DataObject) -> None:
    octets = encode(message)
    with pytest.raises(WireError):
        decode(octets[: data.draw(st.integers(0, len(octets) - 1))])


@given(st.binary(max_size=200))
def test_noise_is_a_message_or_wire_error(data: bytes) -> None:
    try:
        message = decode(data)
    except WireError:
        return
    assert message == decode(encode(message))


@given(typed_tlvs.filter(lambda tlv: len(tlv.to_tlv().value) % 2 == 0))
def test_a_typed_tlv_comes_back_from_its_octets(tlv: TypedTlv) -> None:
    assert tlv == read(tlv.to_tlv())
    assert tlv == find((tlv.to_tlv(),), type(tlv))


FIXED = {id_: kind for id_, kind in DATA.items() if isinstance(kind, type) and issubclass(kind, Fixed)}
captured = st.sampled_from(sorted(MANAGEMENT.values())).map(lambda tlv: bytes.fromhex(tlv)[6:])


def check_data(id_: int, octets: bytes) -> None:
    """Not to the same octets: reserved ones are dropped."""
    try:
        value = read_data(ManagementTlv(id_, octets))
    except WireError:
        return
    assert value is not None
    assert value == read_data(ManagementTlv(id_, value.encode()))


@given(st.sampled_from(sorted(DATA)), st.binary(max_size=80) | captured)
def test_management_data_is_a_value_that_comes_back_or_wire_error(id_: int, octets: bytes) -> None:
    check_data(id_, octets)


@given(st.sampled_from(sorted(FIXED)), st.data())
def test_management_data_of_the_right_size_comes_back(id_: int, data: st.DataObject) -> None:
    size = FIXED[id_].LAYOUT.size
    check_data(id_, data.draw(st.binary(min_size=size, max_size=size)))
