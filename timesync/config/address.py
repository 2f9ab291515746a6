"""Hosts, ports and listening addresses as a user writes them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from timesync.base.ids import Endpoint

NTP_PORT = 123
"""Assigned by IANA (RFC 5905, 16)."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class AddressError(ValueError):
    """A text that is not an address of the kind that is needed.

    Attributes:
        message: What is wrong.
        suggestion: What to write instead, when that is clear.
    """

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A name or a numeric address, with a port.

    Attributes:
        host: A DNS name in lower case without its final dot, or a numeric address in its shortest form.
        port: 1 to 65535.
        numeric: ``host`` is an address, not a name.
    """

    host: str
    port: int
    numeric: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str, default_port: int) -> HostPort:
    """``host``, ``host:port``, ``2001:db8::1`` or ``[2001:db8::1]:123``. Raises AddressError."""
    host, port = _split(text, default_port, least_port=1)
    address = _address(host)
    if address is not None:
        return HostPort(str(address), port, numeric=True)
    name = host.removesuffix(".")
    if not name.isascii():
        raise AddressError(f'"{_short(text)}" is not ASCII; write an international name in its xn-- form')
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f'"{_short(text)}" is not a host name or an address')
    if labels[-1].isdigit():
        raise AddressError(f'"{_short(text)}" is neither an IPv4 address nor a host name')
    return HostPort(name.lower(), port)


def parse_listen(text: str, default_port: int) -> Endpoint:
    """A numeric address to listen on, with a port; 0 is a free port. Raises AddressError."""
    host, port = _split(text, default_port, least_port=0)
    address = _address(host)
    if address is None:
        suggestion = f"0.0.0.0:{port}" if host in ("*", "") else None
        raise AddressError(f'"{_short(text)}" is not a numeric address to listen on', suggestion)
    return Endpoint(str(address), port)


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address, or a network as ``address/length`` without host bits. Raises AddressError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise AddressError(f'"{_short(text)}" is not a network such as 192.0.2.0/24') from None
    raise AddressError(f'"{_short(text)}" has bits set to the right of its prefix', str(loose))


def _split(text: str, default_port: int, *, least_port: int) -> tuple[str, int]:
    """Host and port; brackets around an IPv6 address are taken off."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise AddressError(f'"{_short(text)}" is not of the form [2001:db8::1]:123')
        port_text = rest[1:] if rest else None
    elif text.count(":") > 1:
        host, port_text = text, None
    else:
        host, colon, after = text.partition(":")
        port_text = after if colon else None
    if port_text is None:
        return host, default_port
    if not _PORT.fullmatch(port_text) or not least_port <= int(port_text) <= 65535:
        raise AddressError(f'"{_short(port_text)}" is not a port from {least_port} to 65535')
    return host, int(port_text)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The numeric address, if it is one. Raises AddressError for one with a zone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if ":" in host:
            raise AddressError(f'"{_short(host)}" is not an IPv6 address') from None
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise AddressError(f'"{_short(host)}" names a zone (%), which is not supported here')
    return address


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"
