"""AES-CMAC (RFC 4493; NIST SP 800-38B), the MAC that RFC 8573 asks for in place of MD5."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """The 16-octet AES-CMAC of ``data`` under a key of 16 or 32 octets (AES-128, AES-256).

    Raises ValueError for a key of another size.
    """
    if len(key) not in (16, 32):
        raise ValueError(f"an AES-CMAC key has 16 or 32 octets, not {len(key)}")
    code = CMAC(AES(key))
    code.update(data)
    return code.finalize()
