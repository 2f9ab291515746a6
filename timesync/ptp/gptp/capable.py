"""The gPTP-capable signaling of one port (IEEE 802.1AS-2020, 10.4)."""

from __future__ import annotations

from timesync.base.time import Instant, Mono
from timesync.ptp.timers import interval
from timesync.wire.gptp_tlv import INTERVAL_INITIAL, INTERVAL_NO_CHANGE, INTERVAL_STOP, GptpCapable

_TIMEOUT = 9
"""``gPtpCapableReceiptTimeout`` (10.7.3.3), in intervals of the neighbour."""

_INITIAL = 0
"""``initialLogGptpCapableMessageInterval`` (10.7.2.5)."""

_FASTEST, _SLOWEST = -3, 6


class Capability:
    """How often we say that we speak gPTP, and whether the neighbour still says so.

    A neighbour that never said so is not held against it: those of the 2011 edition do not, nor does linuxptp, and
    whoever answers Pdelay_Req in this domain speaks gPTP in it. One that did, and fell silent, is not capable any more.

    Attributes:
        log_interval: Of our own messages.
    """

    def __init__(self) -> None:
        self.log_interval = _INITIAL
        self._until: Instant[Mono] | None = None
        self._silent = False

    @property
    def silent(self) -> bool:
        """The neighbour said that it speaks gPTP, and says so no more (not ``neighborGptpCapable``)."""
        return self._silent

    def deadline(self) -> Instant[Mono] | None:
        """When the neighbour has been silent for too long; None: it is, or never said anything."""
        return self._until

    def heard(self, said: GptpCapable, now: Instant[Mono]) -> None:
        """The neighbour says that it speaks gPTP."""
        self._silent = False
        self._until = now + interval(min(max(said.log_interval, _FASTEST), _SLOWEST)) * _TIMEOUT

    def expire(self, now: Instant[Mono]) -> bool:
        """Give the neighbour up when its time has come; true when it just did."""
        if self._until is None or now < self._until:
            return False
        self._until, self._silent = None, True
        return True

    def asked(self, log_interval: int) -> None:
        """The neighbour wants to hear it so often (10.6.4.5); none may stop it."""
        if log_interval == INTERVAL_INITIAL:
            self.log_interval = _INITIAL
        elif log_interval not in (INTERVAL_NO_CHANGE, INTERVAL_STOP):
            self.log_interval = min(max(log_interval, _FASTEST), _SLOWEST)

    def reset(self) -> None:
        """The link went down: there may be another neighbour when it comes back."""
        self.log_interval = _INITIAL
        self._until, self._silent = None, False
