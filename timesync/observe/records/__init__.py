"""What the core was told and what was done to the clocks, row by row: in the daemon, on the stream, in files."""
