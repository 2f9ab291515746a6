"""Struct layouts and numbers of the Linux ABI, nothing else.

Sources: ``linux/timex.h``, ``asm-generic/socket.h``, ``linux/net_tstamp.h``, ``linux/errqueue.h``,
``linux/ptp_clock.h``, ``linux/pps.h`` and ``linux/ethtool.h``. The socket numbers are those of asm-generic (x86, Arm,
RISC-V, MIPS, PowerPC, LoongArch, s390); Alpha, SPARC and PA-RISC differ. The ioctl numbers are built as asm-generic
does; MIPS, PowerPC, Alpha and SPARC encode the direction otherwise.
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
ADJ_TAI = 0x0080
ADJ_SETOFFSET = 0x0100
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

# asm-generic/socket.h: the older form has seconds of C's long, the newer 64-bit ones on every ABI (from Linux 5.1 on).
SO_TIMESTAMPING_OLD = 37
SO_TIMESTAMPING = SO_TIMESTAMPING_OLD if LONG_SIZE == 8 else 65
SCM_TIMESTAMPING = SO_TIMESTAMPING
ASK_TIMESTAMPING = SO_TIMESTAMPING_OLD
"""The control message that asks for the stamp of one datagram: it has no times in it, and before Linux 6.8 (and its
stable kernels of that time) a message of the newer number is refused with EINVAL."""
SO_TIMESTAMPNS = 35 if LONG_SIZE == 8 else 64
SCM_TIMESTAMPNS = SO_TIMESTAMPNS
SCM_TIMESTAMPNS_BODY = struct.Struct("=2q")
"""``struct timespec`` of 64-bit numbers: seconds, nanoseconds."""

# linux/net_tstamp.h
SOF_TIMESTAMPING_TX_HARDWARE = 1 << 0
SOF_TIMESTAMPING_TX_SOFTWARE = 1 << 1
SOF_TIMESTAMPING_RX_HARDWARE = 1 << 2
SOF_TIMESTAMPING_RX_SOFTWARE = 1 << 3
SOF_TIMESTAMPING_SOFTWARE = 1 << 4
SOF_TIMESTAMPING_RAW_HARDWARE = 1 << 6
SOF_TIMESTAMPING_OPT_ID = 1 << 7
SOF_TIMESTAMPING_OPT_TSONLY = 1 << 11
SOF_TIMESTAMPING_OPT_PKTINFO = 1 << 13
SOF_TIMESTAMPING_OPT_TX_SWHW = 1 << 14
HWTSTAMP_TX_OFF = 0
HWTSTAMP_TX_ON = 1
HWTSTAMP_FILTER_NONE = 0
HWTSTAMP_FILTER_ALL = 1
HWTSTAMP_FILTER_NTP_ALL = 15

HWTSTAMP_CONFIG = struct.Struct("=iii")
"""``struct hwtstamp_config``: flags, tx_type, rx_filter."""
SCM_TIMESTAMPING_PKTINFO = 58
SCM_TS_PKTINFO = struct.Struct("=II8x")
"""``struct scm_ts_pktinfo``: interface index, length of the frame."""

SCM_TIMESTAMPING_BODY = struct.Struct("=6q")
"""``struct scm_timestamping``: three (seconds, nanoseconds): software, unused, raw hardware."""

SOCK_EXTENDED_ERR = struct.Struct("=IBBBBII")
"""``struct sock_extended_err``: errno, origin, type, code, pad, info, data; an address follows."""

SO_EE_ORIGIN_TIMESTAMPING = 4
SCM_TSTAMP_SND = 0
IP_RECVERR = 11
IPV6_RECVERR = 25

_IOC_WRITE = 1
_IOC_READ = 2


def _ioc(direction: int, magic: str, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord(magic) << 8 | number


# linux/ptp_clock.h: all members have fixed sizes and lie on multiples of them, so one layout serves every ABI.
PTP_CLOCK_TIME = struct.Struct("=qI4x")
"""``struct ptp_clock_time``: seconds, nanoseconds; the sign of the seconds is that of the whole."""
PTP_CLOCK_CAPS = struct.Struct("=9i44x")
"""max_adj (ppb), n_alarm, n_ext_ts, n_per_out, pps, n_pins, cross_timestamping, adjust_phase, max_phase_adj (ns)."""
PTP_EXTTS_REQUEST_BODY = struct.Struct("=II8x")
"""Channel, flags."""
PTP_EXTTS_EVENT = struct.Struct("=qI4xII8x")
"""Seconds, nanoseconds, channel, flags."""
PTP_PEROUT_REQUEST_BODY = struct.Struct("=qI4xqI4xIIqI4x")
"""Start, period, channel, flags, time on; each time is seconds and nanoseconds."""
PTP_PIN_DESC = struct.Struct("=64sIII20x")
"""Name, index, function, channel."""
PTP_SYS_OFFSET_HEAD = struct.Struct("=I12x")
"""Number of samples; in ``ptp_sys_offset_extended`` zero in what follows means CLOCK_REALTIME."""
PTP_MAX_SAMPLES = 25
PTP_SYS_OFFSET_SIZE = PTP_SYS_OFFSET_HEAD.size + (2 * PTP_MAX_SAMPLES + 1) * PTP_CLOCK_TIME.size
PTP_SYS_OFFSET_EXTENDED_SIZE = PTP_SYS_OFFSET_HEAD.size + 3 * PTP_MAX_SAMPLES * PTP_CLOCK_TIME.size
PTP_SYS_OFFSET_PRECISE_BODY = struct.Struct("=qI4xqI4xqI20x")
"""The device, CLOCK_REALTIME and CLOCK_MONOTONIC_RAW; each is seconds and nanoseconds."""

PTP_ENABLE_FEATURE = 1 << 0
PTP_RISING_EDGE = 1 << 1
PTP_FALLING_EDGE = 1 << 2
PTP_STRICT_FLAGS = 1 << 3
PTP_PEROUT_DUTY_CYCLE = 1 << 1
PTP_PF_NONE = 0
PTP_PF_EXTTS = 1
PTP_PF_PEROUT = 2
PTP_PF_PHYSYNC = 3

PTP_CLOCK_GETCAPS = _ioc(_IOC_READ, "=", 1, PTP_CLOCK_CAPS.size)
PTP_EXTTS_REQUEST = _ioc(_IOC_WRITE, "=", 2, PTP_EXTTS_REQUEST_BODY.size)
PTP_PEROUT_REQUEST = _ioc(_IOC_WRITE, "=", 3, PTP_PEROUT_REQUEST_BODY.size)
PTP_ENABLE_PPS = _ioc(_IOC_WRITE, "=", 4, 4)
PTP_SYS_OFFSET = _ioc(_IOC_WRITE, "=", 5, PTP_SYS_OFFSET_SIZE)
PTP_MASK_EN_SINGLE = _ioc(_IOC_WRITE, "=", 20, 4)
PTP_PIN_GETFUNC = _ioc(_IOC_READ | _IOC_WRITE, "=", 6, PTP_PIN_DESC.size)
PTP_PIN_SETFUNC = _ioc(_IOC_WRITE, "=", 7, PTP_PIN_DESC.size)
PTP_SYS_OFFSET_PRECISE = _ioc(_IOC_READ | _IOC_WRITE, "=", 8, PTP_SYS_OFFSET_PRECISE_BODY.size)
PTP_SYS_OFFSET_EXTENDED = _ioc(_IOC_READ | _IOC_WRITE, "=", 9, PTP_SYS_OFFSET_EXTENDED_SIZE)
# The same with a strict look at flags and reserved members (Linux 5.4).
PTP_EXTTS_REQUEST2 = _ioc(_IOC_WRITE, "=", 11, PTP_EXTTS_REQUEST_BODY.size)
PTP_PEROUT_REQUEST2 = _ioc(_IOC_WRITE, "=", 12, PTP_PEROUT_REQUEST_BODY.size)

# linux/pps.h with the C compiler's own alignment: i386 puts 64-bit members on multiples of 4.
PPS_KPARAMS = struct.Struct("@ii qiI qiI")
"""``struct pps_kparams``: API version, mode, offset for assert, for clear; each is seconds, nanoseconds, flags."""
PPS_FDATA = struct.Struct("@II qiI qiI i qiI")
"""``struct pps_fdata``: both sequences (assert, clear), both times, mode, time-out."""
PPS_API_VERS = 1
PPS_CAPTUREASSERT = 0x01
PPS_CAPTURECLEAR = 0x02
PPS_CANWAIT = 0x100
PPS_TSFMT_TSPEC = 0x1000
PPS_TIME_INVALID = 1
"""In the flags of the time-out: wait for ever."""

# The header gives _IOR and its kin a pointer type, so the size field is that of a pointer and not of the structure.
_POINTER_SIZE = struct.calcsize("@P")
PPS_GETPARAMS = _ioc(_IOC_READ, "p", 0xA1, _POINTER_SIZE)
PPS_SETPARAMS = _ioc(_IOC_WRITE, "p", 0xA2, _POINTER_SIZE)
PPS_GETCAP = _ioc(_IOC_READ, "p", 0xA3, _POINTER_SIZE)
PPS_FETCH = _ioc(_IOC_READ | _IOC_WRITE, "p", 0xA4, _POINTER_SIZE)

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
SIOCSHWTSTAMP = 0x89B0
SIOCGHWTSTAMP = 0x89B1
ETHTOOL_GET_TS_INFO = 0x41
ETHTOOL_TS_INFO = struct.Struct("=IIiI12xI12x")
"""``struct ethtool_ts_info``: command, SOF_TIMESTAMPING_ bits, PHC index (-1: none), tx_types, rx_filters."""
IFREQ_POINTER = struct.Struct("@16sP12x" if LONG_SIZE == 4 else "@16sP16x")
"""``struct ifreq`` with ``ifr_data``: interface, address of the request."""

# linux/net_tstamp.h: what cards do for PTP
HWTSTAMP_TX_ONESTEP_SYNC = 2
HWTSTAMP_TX_ONESTEP_P2P = 3
HWTSTAMP_FILTER_PTP_V2_L4_EVENT = 6
HWTSTAMP_FILTER_PTP_V2_L2_EVENT = 9
HWTSTAMP_FILTER_PTP_V2_EVENT = 12

# linux/if_ether.h, linux/if_packet.h, linux/filter.h, linux/in.h, linux/in6.h
ETH_P_1588 = 0x88F7
SO_ATTACH_FILTER = 26
SOCK_FILTER = struct.Struct("=HBBI")
"""``struct sock_filter``: operation, jump if true, jump if false, operand."""
SOCK_FPROG = struct.Struct("@HP")
"""``struct sock_fprog``: number of instructions, their address."""
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_MULTICAST = 0
PACKET_MREQ = struct.Struct("=iHH8s")
"""``struct packet_mreq``: interface, type, length of the address, address."""
PACKET_TX_TIMESTAMP = 16
PACKET_OTHERHOST = 3
PACKET_OUTGOING = 4
IP_MULTICAST_ALL = 49
IPV6_MULTICAST_ALL = 29
IP_MREQN = struct.Struct("=4s4si")
"""``struct ip_mreqn``: group, local address, interface."""
IPV6_MREQ = struct.Struct("=16si")
"""``struct ipv6_mreq``: group, interface."""

# linux/sockios.h, linux/if_vlan.h
SIOCGIFVLAN = 0x8982
GET_VLAN_VID_CMD = 9
VLAN_IOCTL_ARGS = struct.Struct("=i24s24sh2x")
"""``struct vlan_ioctl_args``: command, interface, answer, priority."""
