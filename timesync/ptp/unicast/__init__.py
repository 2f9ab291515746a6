"""Unicast negotiation (IEEE 1588-2019, 16.1)."""
