"""NTP shared memory, against the structure as the C compiler lays it out."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from timesync.base.measure import Leap
from timesync.wire.error import WireError
from timesync.wire.shm import (
    COUNT_OFFSET,
    KEY,
    LAYOUT,
    MODE_COUNTED,
    SIZE,
    VALID_OFFSET,
    ShmSample,
    decode,
    encode,
    layout_of,
)

SAMPLE = ShmSample(
    clock_ns=1_794_983_616_123_456_789,
    kernel_ns=1_794_983_616_373_456_001,
    leap=Leap.NONE,
    precision=-20,
    count=7,
)
# The fields in the order in which the documentation of driver 28 has them.
PROBE = """
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
struct shmTime {
    int mode;
    volatile int count;
    time_t clockTimeStampSec;
    int clockTimeStampUSec;
    time_t receiveTimeStampSec;
    int receiveTimeStampUSec;
    int leap;
    int precision;
    int nsamples;
    volatile int valid;
    unsigned clockTimeStampNSec;
    unsigned receiveTimeStampNSec;
    int dummy[8];
};
int main(void) {
    struct shmTime s;
    memset(&s, 0, sizeof s);
    s.mode = 1; s.count = 7;
    s.clockTimeStampSec = 1794983616; s.clockTimeStampUSec = 123456; s.clockTimeStampNSec = 123456789;
    s.receiveTimeStampSec = 1794983616; s.receiveTimeStampUSec = 373456; s.receiveTimeStampNSec = 373456001;
    s.leap = 0; s.precision = -20; s.nsamples = 1; s.valid = 1;
    printf("%zu %zu %zu\\n", sizeof s, offsetof(struct shmTime, count), offsetof(struct shmTime, valid));
    for (size_t i = 0; i < sizeof s; i++) printf("%02x", ((unsigned char *)&s)[i]);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
def test_the_compiler_lays_it_out_alike(tmp_path: Path) -> None:
    source, program = tmp_path / "probe.c", tmp_path / "probe"
    source.write_text(PROBE)
    subprocess.run(["cc", "-o", program, source], check=True, capture_output=True)
    numbers, data = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")
    assert numbers == f"{SIZE} {COUNT_OFFSET} {VALID_OFFSET}"
    known = bytes.fromhex(data)
    assert SAMPLE == decode(known)
    assert known == encode(SAMPLE)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(
    ("flags", "time_size", "time_align"),
    [
        (("-m64",), 8, 8),
        (("-m32",), 4, 4),
        (("-m32", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64"), 8, 4),
        # i386 aligns 64-bit numbers as no other 32-bit machine does; so, it does as an Arm with 64-bit times.
        (("-m32", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64", "-malign-double"), 8, 8),
    ],
)
def test_on_a_32_bit_machine_its_times_may_have_64_bits(
    tmp_path: Path, flags: tuple[str, ...], time_size: int, time_align: int
) -> None:
    source, program = tmp_path / "probe.c", tmp_path / "probe"
    source.write_text(PROBE)
    if subprocess.run(["gcc", *flags, "-o", program, source], check=False, capture_output=True).returncode:
        pytest.skip("this C compiler cannot compile for that (gcc-multilib)")
    _, data = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")
    fields = LAYOUT.unpack(encode(SAMPLE))
    assert bytes.fromhex(data) == layout_of(time_size, time_align).pack(*fields)


def test_the_key_of_unit_zero_spells_its_name() -> None:
    assert b"NTP0" == KEY.to_bytes(4, "big")


@pytest.mark.parametrize("leap", list(Leap))
def test_what_is_written_is_read(leap: Leap) -> None:
    sample = ShmSample(SAMPLE.clock_ns, SAMPLE.kernel_ns, leap, -30, 2**31 - 1, valid=False)
    assert sample == decode(encode(sample))
    assert MODE_COUNTED == struct.unpack_from("@i", encode(sample))[0]


def _with(**fields: int) -> bytes:
    names = (
        "mode",
        "count",
        "clock_s",
        "clock_us",
        "receive_s",
        "receive_us",
        "leap",
        "precision",
        "n",
        "valid",
        "clock_ns",
        "receive_ns",
    )
    values = dict(zip(names, LAYOUT.unpack(encode(SAMPLE))[:12], strict=True)) | fields
    return LAYOUT.pack(*(values[name] for name in names), *[0] * 8)


def test_an_old_writer_has_microseconds_only() -> None:
    old = decode(_with(clock_ns=0, receive_ns=0))
    assert (SAMPLE.clock_ns // 1000 * 1000, SAMPLE.kernel_ns // 1000 * 1000) == (old.clock_ns, old.kernel_ns)


def test_nanoseconds_of_another_sample_do_not_count() -> None:
    torn = decode(_with(clock_ns=999_999_999))
    assert SAMPLE.clock_ns // 1000 * 1000 == torn.clock_ns


def test_a_precision_out_of_reason_is_taken_as_the_nearest_one() -> None:
    assert 0 == decode(_with(precision=5)).precision
    assert -32 == decode(_with(precision=-200)).precision


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encode(SAMPLE)[:-1], "length"),
        (_with(mode=2), "mode: 2"),
        (_with(leap=4), "leap: 4"),
        (_with(clock_us=1_000_000), "1000000 µs"),
        (_with(receive_us=-1), "-1 µs"),
        (_with(receive_s=-5), "-5 s"),
    ],
)
def test_what_is_no_sample_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data)


def test_a_larger_segment_is_read_by_its_beginning() -> None:
    assert SAMPLE == decode(encode(SAMPLE) + bytes(64))
