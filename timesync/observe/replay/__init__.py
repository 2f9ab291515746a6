"""A recording once more through the core: as it was, and with other settings."""
