"""Cryptography for time protocols: symmetric MACs now, NTS (RFC 8915) beside them."""
