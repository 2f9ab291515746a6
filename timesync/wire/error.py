"""The one error of every codec."""


class WireError(ValueError):
    """A peer's bytes break the rules of their format. The peer's fault, never ours: drop and count."""
