"""chrony's SOCK datagrams, against bytes worked out by hand."""

from __future__ import annotations

import math
import struct

import pytest

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.sock import SIZE, SockSample, decode, encode

WIDE = pytest.mark.skipif(struct.calcsize("l") != 8, reason="the bytes are those of a 64-bit machine")
LITTLE = pytest.mark.skipif(
    struct.pack("=H", 1) != b"\x01\x00", reason="the bytes are those of a little-endian machine"
)

GOLDEN = bytes.fromhex(
    "c046fd6a00000000"  # tv_sec 1794983616
    "40e2010000000000"  # tv_usec 123456
    "000000000000d0bf"  # offset -0.25
    "00000000"  # pulse
    "01000000"  # leap
    "00000000"  # _pad
    "4b434f53"  # magic "SOCK" as 0x534f434b
)


@WIDE
@LITTLE
def test_the_golden_datagram() -> None:
    sample = SockSample(1_794_983_616_123_456, -0.25, pulse=False, leap=Leap.INSERT)
    assert 40 == SIZE
    assert GOLDEN == encode(sample)
    assert sample == decode(GOLDEN)


@pytest.mark.parametrize("leap", list(Leap))
@pytest.mark.parametrize("pulse", [False, True])
def test_what_is_written_is_read(leap: Leap, pulse: bool) -> None:
    sample = SockSample(1_794_983_616_999_999, 1.5e-7, pulse=pulse, leap=leap)
    assert sample == decode(encode(sample))


def _with(**fields: float) -> bytes:
    values: dict[str, float] = {"s": 1, "us": 2, "offset": 0.0, "pulse": 0, "leap": 0, "pad": 0, "magic": 0x534F434B}
    values |= fields
    return struct.pack(
        "@ll d ii ii",
        int(values["s"]),
        int(values["us"]),
        values["offset"],
        int(values["pulse"]),
        int(values["leap"]),
        int(values["pad"]),
        int(values["magic"]),
    )


def test_any_pulse_but_zero_is_one_and_the_padding_means_nothing() -> None:
    assert decode(_with(pulse=-1, pad=77)).pulse


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "length: 0 octets"),
        (_with()[:-1], "length"),
        (_with() + b"\0", "length"),
        (_with(magic=0x534F434A), "magic: 0x534f434a"),
        (_with(magic=-1), "magic: 0xffffffff"),
        (_with(us=1_000_000), "1000000 µs"),
        (_with(us=-1), "-1 µs"),
        (_with(offset=math.nan), "offset: nan"),
        (_with(offset=math.inf), "offset: inf"),
        (_with(offset=-1e11), "offset"),
        (_with(leap=4), "leap: 4"),
        (_with(leap=-1), "leap: -1"),
    ],
)
def test_what_is_no_sample_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data)
