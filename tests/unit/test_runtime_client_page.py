"""The memory by which a worker tells of its clients: what is written is read, and garbage does no harm."""

from __future__ import annotations

import mmap
import os
import struct

import pytest

from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.runtime.client_page import ClientPage, decode_clients, encode_clients

FOUR = ClientRecord(bytes([192, 0, 2, 1]), 7, 1 << 62, 0x23 | 1 << 8, 5, 6, 1, 2)
SIX = ClientRecord(bytes(range(16)), (1 << 63) - 1, 3, 0, -5, 0, 0, 0)


def test_what_is_written_is_read_in_another_mapping() -> None:
    page = ClientPage.create(3)
    other = ClientPage(os.dup(page.descriptor))
    assert ClientList([], 0) == other.read()
    page.write(ClientList([FOUR, SIX], 9))
    assert ClientList([FOUR, SIX], 9) == other.read()
    page.write(ClientList([SIX], 1))
    assert ClientList([SIX], 1) == other.read()
    page.write(ClientList([FOUR, SIX, FOUR, SIX], 4))
    assert ClientList([FOUR, SIX, FOUR], 4) == other.read(), "there is room for three"
    other.close()
    page.close()


def test_where_nothing_is_recorded_there_is_room_for_nothing() -> None:
    page = ClientPage.create(0)
    page.write(ClientList([FOUR], 1))
    assert [] == page.read().records
    page.close()


@pytest.mark.parametrize(
    ("at", "octets", "expected"),
    [
        (0, struct.pack("@Q", (1 << 64) - 1), [FOUR, SIX]),  # more records than there is room for
        (0, struct.pack("@Q", 0), []),
        (16 + 72, b"\x05", [SIX]),  # an address of five octets
        (16 + 72, b"\xff", [SIX]),
    ],
)
def test_whatever_a_worker_puts_there_reading_ends_and_gives_records(
    at: int, octets: bytes, expected: list[ClientRecord]
) -> None:
    page = ClientPage.create(2)
    page.write(ClientList([FOUR, SIX], 2))
    with mmap.mmap(page.descriptor, 0) as memory:
        memory[at : at + len(octets)] = octets
    assert expected == page.read().records
    page.close()


def test_a_list_in_one_piece_is_read_again_as_far_as_it_is_whole() -> None:
    data = encode_clients(ClientList([FOUR, SIX], 9))
    assert ClientList([FOUR, SIX], 9) == decode_clients(data)
    assert ClientList([FOUR], 9) == decode_clients(data[:-1])
    assert ClientList([], 0) == decode_clients(encode_clients(ClientList()))
