"""Cryptography for time protocols; today the AES-CMAC of symmetric keys (RFC 8573)."""
