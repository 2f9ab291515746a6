"""From the keys and networks that users write to what signs PTP messages, and to who is granted unicast ones."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from timesync.config.ptp import Ptp, PtpUnicast
from timesync.config.schema import Config
from timesync.ntp.access import AccessList
from timesync.nts.cmac import aes_cmac
from timesync.ptp.security import Association, IcvKey

_CMAC_SIZE = 16


def association(config: Config, instance: Ptp) -> Association | None:
    """The security association of an instance; None when its messages are not signed."""
    wanted = instance.authentication
    if wanted is None:
        return None
    return Association(
        spp=wanted.spp,
        key_id=wanted.keys[0],
        keys={number: _icv_key(config, number) for number in wanted.keys},
        unsigned=wanted.unsigned == "accept",
        mutable_correction=wanted.mutable_correction,
    )


def _icv_key(config: Config, number: int) -> IcvKey:
    key = config.keys[number]
    assert key.secret is not None  # a loaded configuration has read them
    secret = key.secret.value
    match key.algorithm:
        case "HMAC-SHA256-128":
            return IcvKey(16, partial(_hmac, secret, 16))
        case "HMAC-SHA256":
            return IcvKey(32, partial(_hmac, secret, 32))
        case "AES128" | "AES256":
            return IcvKey(_CMAC_SIZE, partial(aes_cmac, secret))
        case other:
            raise ValueError(f"{other} is not for PTP")


def _hmac(secret: bytes, size: int, data: bytes) -> bytes:
    """RFC 2104 and FIPS 198-1, cut to its first octets."""
    return hmac.digest(secret, data, hashlib.sha256)[:size]


def accepts(instance: Ptp) -> Callable[[int, str], bool]:
    """Which addresses a port of an instance, by its number, grants unicast messages."""
    lists = {
        number: AccessList(unicast.allow, unicast.deny)
        for number, port in enumerate(instance.ports, start=1)
        for unicast in [port.unicast or PtpUnicast()]
    }

    def accept(number: int, address: str) -> bool:
        try:
            packed = ip_address(address).packed
        except ValueError:
            return True  # on Ethernet there are no networks to tell apart
        return lists[number].allows(packed)

    return accept
