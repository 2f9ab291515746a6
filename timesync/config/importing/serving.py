"""What a configuration says of serving NTP, gathered from lines that only together make sense."""

from __future__ import annotations

import ipaddress

from timesync.config.address import HostPort
from timesync.config.importing.numbers import UnreadableError

EVERYBODY = ("0.0.0.0/0", "::/0")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 (written into a configuration, not bound)


def network(text: str) -> str:
    """A network as it is written here, from an address with or without its length; host bits are cut off.

    Raises UnreadableError.
    """
    address, slash, length = text.partition("/")
    if "." in address or (address.isdecimal() and ":" not in address):
        # chrony takes the first octets of an IPv4 network alone: 192.168 is 192.168.0.0/16.
        octets = address.rstrip(".").split(".")
        if len(octets) < 4:
            address = ".".join([*octets, *["0"] * (4 - len(octets))])
            length = length or str(8 * len(octets))
            slash = "/"
    try:
        return (
            str(ipaddress.ip_network(f"{address}{slash}{length}", strict=False))
            .removesuffix("/32")
            .removesuffix("/128")
        )
    except ValueError:
        raise UnreadableError(f'"{text[:40]}" is no network; a name must be written as its addresses') from None


def endpoints(addresses: list[str], port: int, default: int) -> list[str] | None:
    """Where to listen, given some addresses: a family of which none is given is listened to everywhere.

    None: as by default.
    """
    families = {ipaddress.ip_address(address).version for address in addresses}
    chosen = addresses + [each for each in WILDCARDS if ipaddress.ip_address(each).version not in families]
    if not addresses and port == default:
        return None
    return [str(HostPort(address, port)) for address in chosen]


def address(text: str) -> str:
    """A numeric address. Raises UnreadableError."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise UnreadableError(f'"{text[:40]}" is not a numeric address') from None
