"""The AEADs of a worker, by whatever library of this machine is the fastest at them."""

from __future__ import annotations

from collections.abc import Mapping

from timesync.nts.aead import AeadId, Family, families_with
from timesync_drivers.nettle import aes_siv

_AES_BITS = {AeadId.AES_SIV_CMAC_256: 128, AeadId.AES_SIV_CMAC_512: 256}


def fastest_families() -> Mapping[AeadId, Family]:
    """For one thread. To be called before files and new code are forbidden, since it may load a library."""
    found = {aead: aes_siv(bits) for aead, bits in _AES_BITS.items()}
    return families_with(
        {aead: Family(siv.cipher, siv.seal, siv.open) for aead, siv in found.items() if siv is not None}
    )
