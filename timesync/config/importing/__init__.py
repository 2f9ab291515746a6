"""Configurations of other time programs as ours: pure translators, one for each format."""
