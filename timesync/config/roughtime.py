"""What is said of Roughtime in a configuration: keys of servers, and versions of the protocol."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Literal

from pydantic.json_schema import JsonSchemaValue

from timesync.config.written import Written, refusal
from timesync.wire.roughtime import KEY_SIZE, VERSION_1, VERSION_DRAFT

ROUGHTIME_PORT: Final = 5319
"""Assigned by IANA (RFC 10049, 12.1); many servers still use 2002 or 2003."""

RoughtimeVersion = Literal["rfc", "draft"]

_NUMBERS: Final[dict[RoughtimeVersion, int]] = {"rfc": VERSION_1, "draft": VERSION_DRAFT}
_HEX = re.compile(f"[0-9A-Fa-f]{{{2 * KEY_SIZE}}}", re.ASCII)


def version_numbers(names: tuple[RoughtimeVersion, ...]) -> tuple[int, ...]:
    """The numbers of versions, in the ascending order of requests."""
    return tuple(sorted({_NUMBERS[name] for name in names}))


@dataclass(frozen=True, slots=True)
class PublicKey(Written):
    """A server's long-term Ed25519 key in base64."""

    def parse(self, value: object) -> bytes:
        """See ``Written``."""
        if isinstance(value, bytes) and len(value) == KEY_SIZE:
            return value
        if not isinstance(value, str):
            raise refusal("expected the server's public key in base64, as whoever runs it publishes it")
        if _HEX.fullmatch(value):
            raise refusal("the key is in hexadecimal; base64 is needed", _base64(bytes.fromhex(value)))
        text = value.strip().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise refusal("this is not base64") from None
        if len(key) != KEY_SIZE:
            raise refusal(f"the key has {len(key)} octets; an Ed25519 key has {KEY_SIZE}, which are 44 characters")
        if _base64(key) != value:
            raise refusal("the key is not in plain base64", _base64(key))
        return key

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"}

    def describe(self) -> str:
        """See ``Written``."""
        return f"base64 of {KEY_SIZE} octets"


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
