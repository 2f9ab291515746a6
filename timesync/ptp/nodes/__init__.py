"""Who talks PTP on a wire, and what looks wrong: what ``timesync ptp nodes`` knows."""
