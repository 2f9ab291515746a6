"""The states of a port and how it gets from one to another (IEEE 1588-2019, 9.2, figures 30 and 31, table 17)."""

from __future__ import annotations

import enum


class PortState(enum.Enum):
    """``portDS.portState``; the values are those of the wire (table 20), the names those of the 2022 amendment."""

    INITIALIZING = 1
    FAULTY = 2
    DISABLED = 3
    LISTENING = 4
    PRE_TIME_TRANSMITTER = 5
    TIME_TRANSMITTER = 6
    PASSIVE = 7
    UNCALIBRATED = 8
    TIME_RECEIVER = 9
