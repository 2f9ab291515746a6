"""Time types, identifiers and values that every other package shares; no dependency, no IO."""
