"""Struct layouts and numbers of the Linux ABI, nothing else.

Sources: ``linux/timex.h``, ``asm-generic/socket.h``, ``linux/net_tstamp.h`` and ``linux/errqueue.h``. The
socket numbers are those of asm-generic (x86, Arm, RISC-V, MIPS, PowerPC, LoongArch, s390); Alpha, SPARC and
PA-RISC differ.
"""

from __future__ import annotations

import ctypes
import struct

LONG_SIZE = ctypes.sizeof(ctypes.c_long)


class Timex(ctypes.Structure):
    """``struct timex`` as the C library's ``clock_adjtime`` takes it, with the C type ``long``.

    So it is right on 64-bit ABIs and on 32-bit ones with a 32-bit ``time_t``; the symbol ``clock_adjtime``
    keeps that layout on glibc even where programs are compiled for a 64-bit ``time_t``.
    """

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("tv_sec", ctypes.c_long),
        ("tv_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


TIMEX_SIZE = {8: 208, 4: 128}[LONG_SIZE]
# A wrong layout would let the kernel write past the buffer, so this must hold before any call.
if ctypes.sizeof(Timex) != TIMEX_SIZE:
    raise ImportError(f"struct timex has {ctypes.sizeof(Timex)} octets here instead of {TIMEX_SIZE}")

# linux/timex.h: modes
ADJ_OFFSET = 0x0001
ADJ_FREQUENCY = 0x0002
ADJ_MAXERROR = 0x0004
ADJ_ESTERROR = 0x0008
ADJ_STATUS = 0x0010
ADJ_TIMECONST = 0x0020
ADJ_TAI = 0x0080
ADJ_SETOFFSET = 0x0100
ADJ_MICRO = 0x1000
ADJ_NANO = 0x2000
ADJ_TICK = 0x4000
ADJ_OFFSET_SINGLESHOT = 0x8001

# linux/timex.h: status
STA_PLL = 0x0001
STA_PPSFREQ = 0x0002
STA_PPSTIME = 0x0004
STA_FLL = 0x0008
STA_INS = 0x0010
STA_DEL = 0x0020
STA_UNSYNC = 0x0040
STA_FREQHOLD = 0x0080
STA_NANO = 0x2000
STA_READ_ONLY = 0xFF00

# linux/timex.h: the state that the call returns
TIME_OK = 0
TIME_INS = 1
TIME_DEL = 2
TIME_OOP = 3
TIME_WAIT = 4
TIME_ERROR = 5

MAX_FREQ_SCALED_PPM = 500 << 16
"""MAXFREQ: what ADJ_FREQUENCY takes; the kernel clamps silently beyond."""

# asm-generic/socket.h. The second form has 64-bit seconds on every ABI; kernels from 5.1 on know it.
SO_TIMESTAMPING = 37 if LONG_SIZE == 8 else 65
SCM_TIMESTAMPING = SO_TIMESTAMPING

# linux/net_tstamp.h
SOF_TIMESTAMPING_TX_HARDWARE = 1 << 0
SOF_TIMESTAMPING_TX_SOFTWARE = 1 << 1
SOF_TIMESTAMPING_RX_HARDWARE = 1 << 2
SOF_TIMESTAMPING_RX_SOFTWARE = 1 << 3
SOF_TIMESTAMPING_SOFTWARE = 1 << 4
SOF_TIMESTAMPING_RAW_HARDWARE = 1 << 6
SOF_TIMESTAMPING_OPT_ID = 1 << 7
SOF_TIMESTAMPING_OPT_TSONLY = 1 << 11

SCM_TIMESTAMPING_BODY = struct.Struct("=6q")
"""``struct scm_timestamping``: three (seconds, nanoseconds): software, unused, raw hardware."""

SOCK_EXTENDED_ERR = struct.Struct("=IBBBBII")
"""``struct sock_extended_err``: errno, origin, type, code, pad, info, data; an address follows."""

SO_EE_ORIGIN_TIMESTAMPING = 4
SCM_TSTAMP_SND = 0
IP_RECVERR = 11
IPV6_RECVERR = 25
