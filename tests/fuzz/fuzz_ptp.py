"""Fuzz targets of the PTP codec, its TLVs and its management data."""

from __future__ import annotations

import random
import struct

from targets import Target, mutate, register

from timesync.wire.error import WireError
from timesync.wire.ptp import HEADER_SIZE, decode, encode
from timesync.wire.ptp_management import DATA, ManagementTlv, read_data
from timesync.wire.ptp_message import Tlv
from timesync.wire.ptp_tlv import TlvType
from timesync.wire.ptp_tlv_read import read

SIZES = {0x0: 44, 0x1: 44, 0x2: 54, 0x3: 54, 0x8: 44, 0x9: 54, 0xA: 54, 0xB: 64, 0xC: 44, 0xD: 48}
KINDS = (*TlvType, 0x2000, 0x4002, 0x7F00, 0xFFFF)
ORGANIZATIONS = tuple(
    bytes.fromhex(one)
    for one in (
        "0080c2000001",
        "0080c2000002",
        "0080c2000004",
        "0080c2000005",
        "1c129d000001",
        "1c129d000002",
        "0019a7000002",
        "6897e8000001",
        "080030dead01",
    )
)
LENGTHS = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 22, 28, 48, 52, 268)


def value(rng: random.Random, kind: int) -> bytes:
    """The value of a TLV, of a length that some layout has, and often with the head that it wants."""
    octets = bytearray(rng.randbytes(rng.choice(LENGTHS) if rng.random() < 0.9 else 2 * rng.randrange(40)))
    if kind in (0x0003, 0x4000, 0x8000) and rng.random() < 0.9:
        octets[:6] = rng.choice(ORGANIZATIONS)
    elif kind in (0x0004, 0x0005, 0x0006, 0x0007) and octets:
        octets[0] = rng.choice((0x00, 0x90, 0xB0, 0x30, 0x41))
    elif kind == TlvType.MANAGEMENT and octets:
        octets[:2] = struct.pack(">H", rng.choice(sorted(DATA)))
    elif kind == TlvType.ALTERNATE_TIME_OFFSET_INDICATOR and len(octets) >= 16:
        octets[15] = rng.choice((0, len(octets) - 16, len(octets) - 17 if len(octets) > 16 else 0, 255))
        octets[16:] = bytes(rng.choice(b"aZ\xc3") for _ in octets[16:])
    elif kind == TlvType.AUTHENTICATION and len(octets) > 1:
        octets[1] = rng.choice((0, 0, 2, 7, 8))
    return bytes(octets)


def message(rng: random.Random) -> bytes:
    """A message of a known type and a chain of TLVs; most have honest lengths, and some are mutated then."""
    kind = rng.choice(tuple(SIZES))
    body = bytearray(rng.randbytes(SIZES[kind] - HEADER_SIZE))
    if rng.random() < 0.9:
        body[6:10] = struct.pack(">I", rng.randrange(1_000_000_000))
    if kind == 0xD and rng.random() < 0.9:
        body[12] = rng.randrange(5)
    for _ in range(rng.choice((0, 0, 0, 1, 2, 3, 63, 64, 65))):
        tlv = rng.choice(KINDS)
        octets = value(rng, tlv)
        body += struct.pack(">HH", tlv, len(octets)) + octets
    first = rng.choice((0x00, 0x10, 0x20)) | kind
    head = struct.pack(">BBH", first, rng.choice((0x02, 0x12, 0x12, 0x12)), min(HEADER_SIZE + len(body), 0xFFFF))
    data = head + rng.randbytes(HEADER_SIZE - 4) + bytes(body) + bytes(rng.choice((0, 0, 2, 6, 16)))
    return mutate(rng, data) if rng.random() < 0.4 else data


def decode_and_encode(data: bytes) -> None:
    """What decodes must encode to octets that say the same, with the same messageLength."""
    first = decode(data)
    again = encode(first)
    if decode(again) != first or len(again) != int.from_bytes(data[2:4], "big"):
        raise AssertionError(f"encoded again as {again.hex()}")


def tlv(rng: random.Random) -> bytes:
    """One TLV, with its type and without its length."""
    kind = rng.choice(KINDS)
    data = struct.pack(">H", kind) + value(rng, kind)
    return mutate(rng, data) if rng.random() < 0.3 else data


def read_and_write(data: bytes) -> None:
    """What is read must be written so that it reads the same; the data of a management TLV, too."""
    raw = Tlv(int.from_bytes(data[:2], "big"), data[2:])
    first = read(raw)
    if isinstance(first, Tlv):
        if first != raw:
            raise AssertionError(f"{raw} became {first}")
        return
    if read(first.to_tlv()) != first:
        raise AssertionError(f"{first} was written as {first.to_tlv()}")
    if isinstance(first, ManagementTlv):
        content = read_data(first)
        if content is not None and read_data(ManagementTlv(first.id, content.encode())) != content:
            raise AssertionError(f"{content} was written as {content.encode().hex()}")


CODEC = Target("ptp", message, decode_and_encode, (WireError,))
NOISE = Target("ptp, noise", lambda rng: rng.randbytes(rng.randrange(300)), decode_and_encode, (WireError,))
TLV = Target("ptp-tlv", tlv, read_and_write, (WireError,))

register(CODEC, NOISE, TLV)
