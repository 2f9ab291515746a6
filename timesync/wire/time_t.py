"""How large C's ``time_t`` is in the programs of this machine, which ``struct`` does not know.

Structures that other time daemons exchange have it in them. Where ``long`` has 64 bits, so has it. A 32-bit system has
either: Debian's armhf went to 64 bits with version 13, its i386 stays at 32. This interpreter was built as the other
programs were.
"""

from __future__ import annotations

import struct
import sysconfig

_LONG = struct.calcsize("@l")


def _time_size() -> int:
    told = sysconfig.get_config_var("SIZEOF_TIME_T")
    return told if isinstance(told, int) and told in (4, 8) else _LONG


TIME_SIZE = 8 if _LONG == 8 else _time_size()
"""Octets of ``time_t``, and of both members of ``struct timeval``."""
TIME_ALIGN = struct.calcsize("@bq") - 8 if TIME_SIZE == 8 else 4
"""The multiple of octets at which one begins within a structure: 4 on i386 whatever its size, else its size."""


def format_of(size: int) -> str:
    """The ``struct`` character of a ``time_t`` of 4 or 8 octets, of fixed size."""
    return {4: "i", 8: "q"}[size]
