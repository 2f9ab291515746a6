"""What IEEE 802.1AS adds to a port: passing the grandmaster's time on, and telling that gPTP is spoken."""
