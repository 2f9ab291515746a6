"""chrony's SOCK datagrams, against bytes worked out by hand and the structure as the C compiler lays it out."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.sock import SIZE, SockSample, decode, encode

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
# As chrony's documentation of the SOCK driver has it for those who write senders.
PROBE = """
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
struct sock_sample { struct timeval tv; double offset; int pulse; int leap; int _pad; int magic; };
int main(void) {
    struct sock_sample s;
    memset(&s, 0, sizeof s);
    s.tv.tv_sec = 1794983616; s.tv.tv_usec = 123456; s.offset = -0.25; s.pulse = 1; s.leap = 2; s.magic = 0x534f434b;
    printf("%zu\\n", sizeof s);
    for (size_t i = 0; i < sizeof s; i++) printf("%02x", ((unsigned char *)&s)[i]);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
def test_the_compiler_lays_it_out_alike(tmp_path: Path) -> None:
    source, program = tmp_path / "probe.c", tmp_path / "probe"
    source.write_text(PROBE)
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, source], check=True, capture_output=True)
    size, data = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")
    sample = SockSample(1_794_983_616_123_456, -0.25, pulse=True, leap=Leap.DELETE)
    assert SIZE == int(size)
    assert sample == decode(bytes.fromhex(data))
    assert bytes.fromhex(data) == encode(sample)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("flags", [("-m32",), ("-m32", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64")])
def test_a_program_of_32_bits_is_understood_whatever_its_times_have(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source, program = tmp_path / "probe.c", tmp_path / "probe"
    source.write_text(PROBE)
    if subprocess.run(["gcc", *flags, "-o", program, source], check=False, capture_output=True).returncode:
        pytest.skip("this C compiler cannot compile for 32 bits (gcc-multilib)")
    _, data = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")
    assert SockSample(1_794_983_616_123_456, -0.25, pulse=True, leap=Leap.DELETE) == decode(bytes.fromhex(data))


@LITTLE
def test_the_golden_datagram() -> None:
    sample = SockSample(1_794_983_616_123_456, -0.25, pulse=False, leap=Leap.INSERT)
    assert sample == decode(GOLDEN)
    assert (SIZE == 40) == (encode(sample) == GOLDEN)


@pytest.mark.parametrize("leap", list(Leap))
@pytest.mark.parametrize("pulse", [False, True])
def test_what_is_written_is_read(leap: Leap, pulse: bool) -> None:
    sample = SockSample(1_794_983_616_999_999, 1.5e-7, pulse=pulse, leap=leap)
    assert sample == decode(encode(sample))


def _with(**fields: float) -> bytes:
    values: dict[str, float] = {"s": 1, "us": 2, "offset": 0.0, "pulse": 0, "leap": 0, "pad": 0, "magic": 0x534F434B}
    values |= fields
    return struct.pack(
        "=qq d ii ii",
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
