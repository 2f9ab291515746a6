"""Setting a network card to stamp PTP event messages, without harm to its other users.

The filters are those of ``linux/net_tstamp.h``; ``timesync_drivers.nic`` does the same for NTP, and either widens what
the other has set.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from timesync_drivers import abi
from timesync_drivers.nic import Claim, Setting, Stamping, change, setting

_KINDS = range(abi.HWTSTAMP_FILTER_NTP_ALL + 1)
_STAMPED: dict[int, frozenset[int]] = {
    abi.HWTSTAMP_FILTER_ALL: frozenset(_KINDS),
    # Each event filter is followed by those for Sync and for Delay_Req alone.
    abi.HWTSTAMP_FILTER_PTP_V2_EVENT: frozenset(range(6, 15)),
    abi.HWTSTAMP_FILTER_PTP_V2_L4_EVENT: frozenset(range(6, 9)),
    abi.HWTSTAMP_FILTER_PTP_V2_L2_EVENT: frozenset(range(9, 12)),
}
_ONE_STEP = (abi.HWTSTAMP_TX_ONESTEP_SYNC, abi.HWTSTAMP_TX_ONESTEP_P2P)


def covers(rx_filter: int, other: int) -> bool:
    """Whether a HWTSTAMP_FILTER value stamps all that another one does."""
    return other in (abi.HWTSTAMP_FILTER_NONE, rx_filter) or other in _STAMPED.get(rx_filter, ())


def widened(present: Setting | None, able: Stamping, *, ethernet: bool, one_step: bool) -> Setting:
    """The least setting that stamps PTP event messages and everything that ``present`` stamps.

    Args:
        present: In force; None where the driver does not tell.
        able: What the card can do.
        ethernet: Messages come over Ethernet; else over UDP.
        one_step: Let the card write the time into Sync messages, if it can.

    Raises OSError: EOPNOTSUPP when the card cannot, EBUSY when it can but not together with ``present``.
    """
    present = present or Setting(0, abi.HWTSTAMP_TX_OFF, abi.HWTSTAMP_FILTER_NONE)
    needed = abi.HWTSTAMP_FILTER_PTP_V2_L2_EVENT if ethernet else abi.HWTSTAMP_FILTER_PTP_V2_L4_EVENT
    tx_type = abi.HWTSTAMP_TX_ON
    if one_step:
        tx_type = next((kind for kind in _ONE_STEP if able.tx_types & 1 << kind), tx_type)
    if covers(present.rx_filter, needed):
        return Setting(present.flags, tx_type, present.rx_filter)
    usable = [
        kind
        for kind in (abi.HWTSTAMP_FILTER_PTP_V2_EVENT, needed, abi.HWTSTAMP_FILTER_ALL)
        if able.rx_filters & 1 << kind
    ]
    for kind in usable:
        if covers(kind, present.rx_filter):
            return Setting(present.flags, tx_type, kind)
    if usable:
        raise OSError(errno.EBUSY, f"another program has the card stamp other packets (filter {present.rx_filter})")
    raise OSError(errno.EOPNOTSUPP, "the card stamps no PTP messages of this transport")


class UdpClaim(Claim):
    """A card that is set to stamp event messages over UDP for somebody who needs nothing else of it.

    Stamps of one-step cards, of all but their Sync messages, are as good: the transmit type stays whatever others set.
    """

    def _suffices(self, present: Setting) -> bool:
        return present.tx_type != abi.HWTSTAMP_TX_OFF and covers(present.rx_filter, abi.HWTSTAMP_FILTER_PTP_V2_L4_EVENT)

    def _wanted(self, present: Setting | None) -> Setting:
        wanted = widened(present, self._able, ethernet=False, one_step=False)
        if present is None or present.tx_type == abi.HWTSTAMP_TX_OFF:
            return wanted
        return replace(wanted, tx_type=present.tx_type)


class PtpClaim:
    """A card that is set to stamp PTP event messages, until ``release``."""

    def __init__(self, interface: str, able: Stamping) -> None:
        """Nothing is changed yet; ``need`` does. Raises OSError: ENODEV."""
        self._interface = interface
        self._able = able
        self._before = setting(interface)
        self._taken: Setting | None = None
        self._ethernet: set[bool] = set()
        self._one_step = False

    @property
    def one_step(self) -> bool:
        """The card writes the time into Sync messages and gives no stamp of them."""
        return self._taken is not None and self._taken.tx_type in _ONE_STEP

    def need(self, *, ethernet: bool, one_step: bool) -> None:
        """Stamp messages of one more transport. Raises OSError with the reason in ``strerror``: EPERM, EBUSY."""
        self._widen(setting(self._interface), self._ethernet | {ethernet}, one_step=self._one_step or one_step)

    def renew(self) -> bool:
        """Look whether it still holds, and set it again if not; whether somebody had changed it. Raises OSError."""
        present = setting(self._interface)
        if present is None or present == self._taken:
            return False
        # From now on the other's setting is the one to put back.
        self._before = present
        self._widen(present, self._ethernet, one_step=self._one_step)
        return True

    def release(self) -> None:
        """Put the old setting back, unless somebody has changed it since or nothing is known of it. Raises OSError."""
        before = self._before
        if self._taken is not None and before not in (None, self._taken) and setting(self._interface) == self._taken:
            change(self._interface, before)

    def _widen(self, present: Setting | None, transports: set[bool], *, one_step: bool) -> None:
        wanted = present
        for ethernet in transports:
            wanted = widened(wanted, self._able, ethernet=ethernet, one_step=one_step)
        if wanted is None:
            return
        if wanted != present:
            taken = change(self._interface, wanted)
            # Some drivers answer with what was asked and do otherwise.
            taken = setting(self._interface) or taken
            if taken.tx_type != wanted.tx_type or not covers(taken.rx_filter, wanted.rx_filter):
                if present is not None:
                    change(self._interface, present)
                raise OSError(
                    errno.EOPNOTSUPP,
                    f"the driver was asked for filter {wanted.rx_filter} and transmit type {wanted.tx_type}, "
                    f"and took {taken.rx_filter} and {taken.tx_type}",
                )
            wanted = taken
        self._taken = wanted
        self._ethernet = set(transports)
        self._one_step = one_step
