"""What a network card can stamp, what it is set to, and setting it without harm to its other users.

ETHTOOL_GET_TS_INFO, SIOCGHWTSTAMP and SIOCSHWTSTAMP (``Documentation/networking/timestamping.rst``, 3.1). There is one
setting for the whole card, whoever asks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from timesync_drivers import abi

HARDWARE = abi.SOF_TIMESTAMPING_TX_HARDWARE | abi.SOF_TIMESTAMPING_RX_HARDWARE | abi.SOF_TIMESTAMPING_RAW_HARDWARE
TX_ON = 1 << abi.HWTSTAMP_TX_ON
"""Bit of HWTSTAMP_TX_ON in ``tx_types``."""
FILTER_ALL = 1 << abi.HWTSTAMP_FILTER_ALL
FILTER_NTP_ALL = 1 << abi.HWTSTAMP_FILTER_NTP_ALL
"""Bits of HWTSTAMP_FILTER_ALL and HWTSTAMP_FILTER_NTP_ALL in ``rx_filters``: others stamp PTP packets only."""
_FILTERS_PTP_UDP = FILTER_ALL | 1 << abi.HWTSTAMP_FILTER_PTP_V2_EVENT | 1 << abi.HWTSTAMP_FILTER_PTP_V2_L4_EVENT

_NTP_FILTERS = (abi.HWTSTAMP_FILTER_ALL, abi.HWTSTAMP_FILTER_NTP_ALL)
_SILENT = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL})
"""What a driver answers that cannot tell its setting; many can only be set."""


@dataclass(frozen=True, slots=True)
class Stamping:
    """What a card can do.

    Attributes:
        capabilities: SOF_TIMESTAMPING bits.
        phc: Index of its PTP hardware clock; None when it has none.
        tx_types: Bits of HWTSTAMP_TX values.
        rx_filters: Bits of HWTSTAMP_FILTER values.
        tx_type: The HWTSTAMP_TX value in force; None where the driver does not tell.
        rx_filter: The HWTSTAMP_FILTER value in force.
    """

    capabilities: int
    phc: int | None
    tx_types: int
    rx_filters: int
    tx_type: int | None = None
    rx_filter: int | None = None

    @property
    def hardware(self) -> bool:
        """Whether packets can be stamped in both directions by the card."""
        return self.capabilities & HARDWARE == HARDWARE and bool(self.tx_types & TX_ON)

    @property
    def any_packet(self) -> bool:
        """Whether packets of NTP can be stamped on receipt, and not those of PTP alone."""
        return bool(self.rx_filters & (FILTER_ALL | FILTER_NTP_ALL))

    @property
    def every_packet(self) -> bool:
        """Whether packets of any kind can be stamped on receipt."""
        return bool(self.rx_filters & FILTER_ALL)

    @property
    def ptp_over_udp(self) -> bool:
        """Whether event messages of PTP over UDP can be stamped on receipt."""
        return bool(self.rx_filters & _FILTERS_PTP_UDP)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a card stamps now (``struct hwtstamp_config``).

    Attributes:
        flags: HWTSTAMP_FLAG bits.
        tx_type: HWTSTAMP_TX value.
        rx_filter: HWTSTAMP_FILTER value.
    """

    flags: int
    tx_type: int
    rx_filter: int

    @property
    def stamps_ntp(self) -> bool:
        """Whether packets of NTP are stamped in both directions."""
        return self.tx_type != abi.HWTSTAMP_TX_OFF and self.rx_filter in _NTP_FILTERS


def stamping(interface: str) -> Stamping:
    """Ask a card. Raises OSError: ENODEV when there is no such interface."""
    able = parse_ts_info(_ts_info(interface))
    present = setting(interface)
    return able if present is None else replace(able, tx_type=present.tx_type, rx_filter=present.rx_filter)


def phc_index(interface: str) -> int | None:
    """Index of the hardware clock of a network interface; None when it has none.

    Asked by ETHTOOL_GET_TS_INFO, which knows bonds, VLANs and clocks in a PHY; by sysfs where that is refused or tells
    none. Raises OSError: ENODEV when there is no such interface.
    """
    try:
        index = parse_ts_info(_ts_info(interface)).phc
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EPERM}:
            raise
        index = None
    return _sysfs_phc(interface) if index is None else index


def parse_ts_info(data: bytes) -> Stamping:
    """Read a ``struct ethtool_ts_info``."""
    _, capabilities, phc, tx_types, rx_filters = abi.ETHTOOL_TS_INFO.unpack(data)
    return Stamping(capabilities, phc if phc >= 0 else None, tx_types, rx_filters)


def setting(interface: str) -> Setting | None:
    """What the card is set to; None where its driver cannot tell. Raises OSError: ENODEV."""
    answer = ctypes.create_string_buffer(abi.HWTSTAMP_CONFIG.size)
    try:
        _request(interface, abi.SIOCGHWTSTAMP, answer)
    except OSError as error:
        if error.errno in _SILENT:
            return None
        raise
    return Setting(*abi.HWTSTAMP_CONFIG.unpack(answer.raw))


def change(interface: str, wanted: Setting) -> Setting:
    """Set the card; what its driver took, which may be a wider filter. Raises OSError: EPERM, ERANGE."""
    packed = abi.HWTSTAMP_CONFIG.pack(wanted.flags, wanted.tx_type, wanted.rx_filter)
    answer = ctypes.create_string_buffer(packed, len(packed))
    _request(interface, abi.SIOCSHWTSTAMP, answer)
    return Setting(*abi.HWTSTAMP_CONFIG.unpack(answer.raw))


def widened(present: Setting | None, able: Stamping) -> Setting:
    """The least setting that stamps packets of NTP and everything that ``present`` stamps.

    The widest filter is preferred: whoever comes later, for PTP say, finds it wide enough and changes nothing. Raises
    OSError: EBUSY when another program has it set to PTP packets and the card cannot stamp those and NTP's at once.
    """
    if present is None:
        present = Setting(0, abi.HWTSTAMP_TX_OFF, abi.HWTSTAMP_FILTER_NONE)
    if present.stamps_ntp:
        return present
    rx_filter = present.rx_filter
    if rx_filter not in _NTP_FILTERS:
        if able.rx_filters & FILTER_ALL:
            rx_filter = abi.HWTSTAMP_FILTER_ALL
        elif rx_filter == abi.HWTSTAMP_FILTER_NONE:
            rx_filter = abi.HWTSTAMP_FILTER_NTP_ALL
        else:
            raise OSError(errno.EBUSY, "another program has the card stamp PTP packets only")
    # One-step types, of which others are in need, stamp other packets as TX_ON does.
    return Setting(present.flags, present.tx_type or abi.HWTSTAMP_TX_ON, rx_filter)


class Claim:
    """A card that is set to stamp packets of NTP, until ``release``.

    Attributes:
        interface: Its name.
    """

    def __init__(self, interface: str, able: Stamping) -> None:
        """Widen its setting where that is needed. Raises OSError with the reason in ``strerror``."""
        self.interface = interface
        self._able = able
        self._before = setting(interface)
        self._taken = self._widen(self._before)

    def renew(self) -> bool:
        """Look whether it still holds and widen again if not; whether somebody else had changed it. Raises OSError."""
        present = setting(self.interface)
        if present is None or present == self._taken:
            return False
        # From now on the other's setting is the one to put back.
        narrowed = not self._suffices(present)
        self._before = present
        self._taken = self._widen(present)
        return narrowed

    def release(self) -> None:
        """Put the old setting back, unless somebody has changed it since or nothing is known of it. Raises OSError."""
        before = self._before
        if before is not None and before != self._taken and setting(self.interface) == self._taken:
            change(self.interface, before)

    def _suffices(self, present: Setting) -> bool:
        """Whether all is stamped that the claim is for."""
        return present.stamps_ntp

    def _wanted(self, present: Setting | None) -> Setting:
        """The least setting that suffices and stamps all that ``present`` does. Raises OSError."""
        return widened(present, self._able)

    def _widen(self, present: Setting | None) -> Setting:
        wanted = self._wanted(present)
        if present == wanted:
            return wanted
        change(self.interface, wanted)
        # Some drivers answer with what was asked and do otherwise.
        taken = setting(self.interface) or wanted
        if not self._suffices(taken):
            if present is not None:
                change(self.interface, present)
            raise OSError(
                errno.EOPNOTSUPP, f"the driver was asked for filter {wanted.rx_filter}, took {taken.rx_filter}"
            )
        return taken


@dataclass(frozen=True, slots=True)
class Nics:
    """The calls about network cards; tests put others in their places.

    Attributes:
        interfaces: Index and name of all interfaces.
        stamping: What one can stamp.
        claim: Have one stamp packets of NTP.
        name: Of the interface with this index.
    """

    interfaces: Callable[[], list[tuple[int, str]]] = socket.if_nameindex
    stamping: Callable[[str], Stamping] = stamping
    claim: Callable[[str, Stamping], Claim] = Claim
    name: Callable[[int], str] = socket.if_indextoname


def _ts_info(interface: str) -> bytes:
    answer = ctypes.create_string_buffer(abi.ETHTOOL_TS_INFO.size)
    struct.pack_into("=I", answer, 0, abi.ETHTOOL_GET_TS_INFO)
    _request(interface, abi.SIOCETHTOOL, answer)
    return answer.raw


def _sysfs_phc(interface: str) -> int | None:
    for entry in sorted(Path("/sys/class/net", interface, "device/ptp").glob("ptp[0-9]*")):
        return int(entry.name.removeprefix("ptp"))
    return None


def _request(interface: str, number: int, answer: ctypes.Array[ctypes.c_char]) -> None:
    name = os.fsencode(interface)
    if not 0 < len(name) < 16:
        raise OSError(errno.ENODEV, f"no interface can be called {interface!r}")
    request = bytearray(abi.IFREQ_POINTER.pack(name, ctypes.addressof(answer)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        fcntl.ioctl(any_socket, number, request)
