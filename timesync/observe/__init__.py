"""What the daemon says of itself: the snapshot and the control socket."""
