"""``timesync doctor``: what a configuration needs of this machine, looked at in the order in which people fail."""
