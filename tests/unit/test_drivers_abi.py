"""The ABI's numbers, against the headers of this machine where a C compiler is at hand."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from timesync_drivers import abi

# From linux/timex.h on a 64-bit ABI, worked out by hand from the order and the alignment of its members.
TIMEX_64 = {
    "modes": 0, "offset": 8, "freq": 16, "maxerror": 24, "esterror": 32, "status": 40, "constant": 48,
    "precision": 56, "tolerance": 64, "tv_sec": 72, "tv_usec": 80, "tick": 88, "ppsfreq": 96, "jitter": 104,
    "shift": 112, "stabil": 120, "jitcnt": 128, "calcnt": 136, "errcnt": 144, "stbcnt": 152, "tai": 160,
}  # fmt: skip

CONSTANTS = [name for name in vars(abi) if name.startswith(("ADJ_", "STA_", "TIME_", "SOF_", "SO_EE"))]
CONSTANTS += ["SCM_TSTAMP_SND", "IP_RECVERR", "IPV6_RECVERR"]
ABSENT_FROM_HEADERS = {"STA_READ_ONLY"}


@pytest.mark.skipif(abi.LONG_SIZE != 8, reason="the figures are those of a 64-bit ABI")
def test_timex_has_the_layout_of_the_kernel() -> None:
    assert ctypes.sizeof(abi.Timex) == 208
    assert {name: getattr(abi.Timex, name).offset for name in TIMEX_64} == TIMEX_64


def test_control_messages_have_the_sizes_of_the_kernel() -> None:
    assert abi.SCM_TIMESTAMPING_BODY.size == 48
    assert abi.SOCK_EXTENDED_ERR.size == 16


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
def test_every_number_is_that_of_the_c_headers(tmp_path: Path) -> None:
    names = [name for name in CONSTANTS if name not in ABSENT_FROM_HEADERS]
    fields = {"tv_sec": "time.tv_sec", "tv_usec": "time.tv_usec"}
    lines = [f'printf("{name} %d\\n", (int)({name}));' for name in names]
    lines += [f'printf(".{name} %d\\n", (int)offsetof(struct timex, {fields.get(name, name)}));' for name in TIMEX_64]
    source = tmp_path / "numbers.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n#include <time.h>\n"
        "#include <sys/socket.h>\n#include <netinet/in.h>\n#include <sys/timex.h>\n"
        "#include <linux/net_tstamp.h>\n#include <linux/errqueue.h>\n#include <asm/socket.h>\n"
        'int main(void) { printf("size %d\\n", (int)sizeof(struct timex));\n' + "\n".join(lines) + "\nreturn 0; }"
    )
    program = tmp_path / "numbers"
    subprocess.run(["gcc", "-o", program, source], check=True, capture_output=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    theirs = {name: int(number) for name, number in (line.split() for line in output.splitlines())}

    ours = {name: getattr(abi, name) for name in names}
    ours |= {f".{name}": getattr(abi.Timex, name).offset for name in TIMEX_64}
    ours["size"] = ctypes.sizeof(abi.Timex)
    assert theirs == ours


# With 32-bit longs, as on an Arm board of Debian 13: its programs have 64-bit times all the same.
WIDE_TIME = ("-m32", "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64")
AS_32_BIT = """
import ctypes
ctypes.c_long = ctypes.c_int32
from timesync_drivers import abi
print(abi.SO_TIMESTAMPING, abi.SO_TIMESTAMPNS, abi.SO_TIMESTAMPING_OLD, abi.SCM_TIMESTAMPING_BODY.size,
      abi.SCM_TIMESTAMPNS_BODY.size)
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(
    "flags",
    [pytest.param((), marks=pytest.mark.skipif(abi.LONG_SIZE != 8, reason="longs have 32 bits here")), WIDE_TIME],
)
def test_stamps_of_sockets_have_64_bit_seconds_whatever_a_long_is(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source, program = tmp_path / "stamps.c", tmp_path / "stamps"
    source.write_text(
        "#include <stdio.h>\n#include <time.h>\n#include <asm/socket.h>\n"
        'int main(void) { printf("%d %d %d %zu %zu\\n", (int)SO_TIMESTAMPING, (int)SO_TIMESTAMPNS,'
        " SO_TIMESTAMPING_OLD, 3 * sizeof(struct timespec), sizeof(struct timespec)); return 0; }\n"
    )
    built = subprocess.run(["gcc", *flags, "-o", program, source], check=False, capture_output=True)
    if flags and built.returncode:
        pytest.skip("this C compiler cannot compile for 32 bits (gcc-multilib)")
    theirs = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    code = AS_32_BIT if flags else AS_32_BIT.replace("ctypes.c_long = ctypes.c_int32\n", "")
    ours = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert theirs == ours


def test_a_stamp_is_asked_for_by_the_number_that_every_kernel_takes() -> None:
    """As a control message of sendmsg only the older number was known before Linux 6.8, whatever a long is."""
    assert abi.ASK_TIMESTAMPING == abi.SO_TIMESTAMPING_OLD == 37
