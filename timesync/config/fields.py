"""How the schema reads addresses, names, paths, secrets and other texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from timesync.base.ids import Endpoint
from timesync.config.address import (
    NTP_PORT,
    AddressError,
    HostPort,
    parse_host_port,
    parse_listen,
    parse_network,
)
from timesync.config.written import Written, refusal
from timesync.wire.ntp5_ext import DRAFTS, MAX_DRAFT, check_draft


@dataclass(frozen=True, slots=True)
class Remote(Written):
    """A host with an optional port.

    Attributes:
        name_only: A numeric address is refused.
        default_port: The port when none is given.
    """

    name_only: bool = False
    default_port: int = NTP_PORT

    def parse(self, value: object) -> HostPort:
        """See ``Written``."""
        if isinstance(value, HostPort):
            return value
        if not isinstance(value, str):
            raise refusal('expected a host name or an address, such as ntp1.example.org or "192.0.2.1:123"')
        try:
            remote = parse_host_port(value, self.default_port)
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None
        if self.name_only and remote.numeric:
            raise refusal("a pool is a name with several addresses, not one server", f"ntp: {value}")
        return remote

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 261}

    def describe(self) -> str:
        """See ``Written``."""
        return "name[:port]" if self.name_only else "host[:port]"


@dataclass(frozen=True, slots=True)
class Listen(Written):
    """A numeric address and a port to listen on.

    Attributes:
        default_port: The port when none is given.
    """

    default_port: int = NTP_PORT

    def parse(self, value: object) -> Endpoint:
        """See ``Written``."""
        if isinstance(value, Endpoint):
            return value
        if not isinstance(value, str):
            port = self.default_port
            raise refusal(f'expected an address and a port, such as 0.0.0.0:{port} or "[::]:{port}"')
        try:
            return parse_listen(value, self.default_port)
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 2, "maxLength": 53}

    def describe(self) -> str:
        """See ``Written``."""
        return "address[:port]"


@dataclass(frozen=True, slots=True)
class Network(Written):
    """An address or a network with its prefix length."""

    def parse(self, value: object) -> object:
        """See ``Written``; an ``ipaddress`` network."""
        if not isinstance(value, str):
            raise refusal('expected a network such as 192.0.2.0/24 or "2001:db8::/32"')
        try:
            return parse_network(value)
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 2, "maxLength": 49}

    def describe(self) -> str:
        """See ``Written``."""
        return "network"


Networks = tuple[Annotated[IPv4Network | IPv6Network, Network()], ...]

ClientCount = Annotated[int, Field(ge=0, le=65_536)]
"""Clients of which a record is kept."""


@dataclass(frozen=True, slots=True)
class Path(Written):
    """A file name; the loader has already made it absolute.

    Attributes:
        socket: It names a Unix socket, whose address holds 107 octets (unix(7), ``sun_path``).
    """

    socket: bool = False

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not value:
            raise refusal("expected a file name")
        if not value.isprintable():
            raise refusal("a file name with a control character")
        if not value.startswith("/"):
            raise refusal("a relative path has no file here to be relative to; write it from / on")
        most = 107 if self.socket else 4095
        if len(value.encode()) > most:
            raise refusal(f"{len(value.encode())} octets; such a path can have {most}")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 107 if self.socket else 4095}

    def describe(self) -> str:
        """See ``Written``."""
        return "path of a socket" if self.socket else "path"


@dataclass(frozen=True, slots=True)
class AutoCount(Written):
    """A count, or ``auto``, which becomes None."""

    most: int

    def parse(self, value: object) -> int | None:
        """See ``Written``."""
        if value is None or value == "auto":
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= self.most:
            raise refusal(f"expected auto or a number from 0 to {self.most}")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 0, "maximum": self.most}]}

    def describe(self) -> str:
        """See ``Written``."""
        return f"auto or 0 to {self.most}"


_KEY_NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyNumber(Written):
    """A key id as the key of a mapping, where it is text (RFC 5905, 7.3: 32 bits, 0 is the crypto-NAK)."""

    most: int = 0xFFFF_FFFF

    def parse(self, value: object) -> int:
        """See ``Written``."""
        text = str(value)
        if not (_KEY_NUMBER.fullmatch(text) and int(text) <= self.most):
            raise refusal(f"a key id is a number from 1 to {self.most}")
        return int(text)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^[1-9][0-9]{0,9}$"}

    def describe(self) -> str:
        """See ``Written``."""
        return f"1 to {self.most}"


CLOCK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClockName(Written):
    """The name of a clock."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not CLOCK_NAME.fullmatch(value):
            raise refusal("a clock's name is a letter, then up to 31 letters, digits, or any of . - _")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,31}$"}

    def describe(self) -> str:
        """See ``Written``."""
        return "name of a clock"


@dataclass(frozen=True, slots=True)
class DraftName(Written):
    """The name of an Internet-Draft of NTPv5."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str):
            raise refusal(f"expected the name of an Internet-Draft, such as {DRAFTS[0]}")
        try:
            return check_draft(value)
        except ValueError as error:
            raise refusal(str(error)) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^draft-[a-z0-9-]+-[0-9]{2}$", "maxLength": MAX_DRAFT}

    def describe(self) -> str:
        """See ``Written``."""
        return "draft"


Drafts = Annotated[tuple[Annotated[str, DraftName()], ...], Field(min_length=1, max_length=8)]
"""Drafts of NTPv5, the preferred one first."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The octets of a key, kept out of every ``repr``."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretText(Written):
    """A secret as ``HEX:…`` or ``ASCII:…``, the prefixes of chrony's key files; no message repeats it."""

    def parse(self, value: object) -> Secret:
        """See ``Written``."""
        if isinstance(value, Secret):
            return value
        prefix, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not colon or prefix.upper() not in ("HEX", "ASCII"):
            raise refusal("a secret is written HEX: and hexadecimal digits, or ASCII: and text")
        if prefix.upper() == "ASCII":
            if not (rest.isascii() and rest.isprintable()):
                raise refusal("the text after ASCII: is not printable ASCII; write it as HEX:")
            return Secret(rest.encode("ascii"))
        try:
            return Secret(bytes.fromhex(rest))
        except ValueError:
            raise refusal("HEX: is not followed by pairs of hexadecimal digits") from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^([Hh][Ee][Xx]|[Aa][Ss][Cc][Ii][Ii]):"}

    def describe(self) -> str:
        """See ``Written``."""
        return "HEX:… or ASCII:…"
