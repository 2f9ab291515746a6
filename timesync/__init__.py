"""timesync: a unified NTP and PTP time-sync appliance for Linux."""

__version__ = "0.1.0"
