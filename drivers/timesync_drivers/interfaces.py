"""Network interfaces of this machine."""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("16s24x")
_ADDRESS = slice(20, 24)
_IF_INET6 = Path("/proc/net/if_inet6")


def local_addresses() -> list[str]:
    """The IPv4 and IPv6 addresses of all interfaces, loopback always among them.

    Of several IPv4 addresses on one interface the ioctl tells the first (netdevice(7)); IPv6 addresses are all told.
    """
    return ["127.0.0.1", "::1", *_ipv4(), *_ipv6()]


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = _IFREQ.pack(name.encode())
            try:
                answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[_ADDRESS]))
    return found


def _ipv6() -> list[str]:
    try:
        lines = _IF_INET6.read_text("ascii").splitlines()
    except OSError:
        return []  # a kernel without IPv6
    return [str(IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines if line]
