"""What a PTP port needs of the network: event messages with stamps, general messages, and the state of the link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp

TransportName = Literal["udp4", "udp6", "l2"]
"""IEEE 1588-2019, annexes C (UDP over IPv4), D (UDP over IPv6) and E (Ethernet)."""

Timestamping = Literal["auto", "hardware", "software"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PtpPortSpec:
    """How a port reaches the network.

    Attributes:
        interface: Network interface.
        transport: Over what.
        clock: The clock that its stamps are of.
        timestamping: Who takes them.
        one_step: Let the card put the time into Sync messages, where it can.
        gptp: All messages go to 01-80-C2-00-00-0E (802.1AS).
        hop_limit: Of multicast IP packets; peer-delay messages always have 1.
        dscp: Of event and general messages over IP.
        ipv6_scope: Scope of FF0x::181, such as 0xE for global.
        unicast: Addresses of unicast peers are used too, so no multicast group needs to be joined alone.
        domains: (``domainNumber``, ``sdoId``) of the messages it wants, where ports share an interface; None: all.
    """

    interface: str
    transport: TransportName
    clock: ClockId
    timestamping: Timestamping = "auto"
    one_step: bool = False
    gptp: bool = False
    hop_limit: int = 1
    dscp: int = 0
    ipv6_scope: int = 0xE
    unicast: bool = False
    domains: frozenset[tuple[int, int]] | None = None


class PtpHandler(Protocol):
    """Who listens to a port's sockets."""

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        """A message came, without padding that its transport adds; the stamp is of event messages only.

        ``source`` is the sender's numeric address, or MAC address.
        """
        ...

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """The transmit stamp of an event message; called exactly once for each that was sent, None when it is lost."""
        ...

    def on_link(self, *, up: bool) -> None:
        """The link went up or down; called once after opening."""
        ...

    def on_error(self, error: OSError) -> None:
        """The sockets are of no use any more (the interface is gone); open others to go on."""
        ...


class PtpSocket(Protocol):
    """The open sockets of one port."""

    @property
    def hardware(self) -> bool:
        """Stamps are taken by the network card."""
        ...

    @property
    def software_because(self) -> str | None:
        """Why stamps are the kernel's where the card's were preferred; else None."""
        ...

    @property
    def one_step(self) -> bool:
        """The card writes the time into Sync messages without ``twoStepFlag``; their stamp is None, at once."""
        ...

    @property
    def mac(self) -> bytes:
        """The interface's MAC address, six octets."""
        ...

    @property
    def address(self) -> bytes:
        """The interface's address in the protocol of its transport: IPv4, IPv6 or MAC; empty where it has none."""
        ...

    @property
    def phc(self) -> int | None:
        """Index of the PTP hardware clock that stamps, as in ``/dev/ptpN``; None with software stamps."""
        ...

    @property
    def bits_per_s(self) -> int | None:
        """The rate of the interface now; None where it does not say."""
        ...

    def send_event(self, data: bytes, token: int, *, destination: str | None = None, peer: bool = False) -> None:
        """Send an event message; its stamp comes as ``on_sent``, also where sending fails."""
        ...

    def send_general(self, data: bytes, *, destination: str | None = None, peer: bool = False) -> None:
        """Send a general message. Failures are counted, not raised: the next one may pass."""
        ...

    def close(self) -> None:
        """Close; the handler is not called again."""
        ...


class ManagementHandler(Protocol):
    """Who listens to the management sockets of an instance."""

    def on_management(self, data: bytes, address: str, *, writable: bool) -> None:
        """A message came from the socket at this path; ``writable``: over the one by which changes are allowed."""
        ...

    def on_unreachable(self, address: str) -> None:
        """Nobody listens there any more."""
        ...


class ManagementSocket(Protocol):
    """Two Unix datagram sockets that management tools talk to: one for everything, one for reading only."""

    def send(self, data: bytes, address: str, *, writable: bool) -> None:
        """Send from one of them. Failures are counted, and told where nobody listens."""
        ...

    def close(self) -> None:
        """Close both and remove their paths; the handler is not called again."""
        ...


READ_ONLY_SUFFIX = "ro"
"""What the path of the socket for reading ends with, beside that of the other one, as ptp4l has it."""

HEADER_SIZE = 34
"""Octets of the common header (IEEE 1588-2019, 13.3)."""


def trimmed(data: bytes) -> bytes:
    """A message without what follows it: padding of Ethernet, the trailer of PRP, two octets over IPv6.

    What cannot be a message is left as it is, for the decoder to refuse.
    """
    length = int.from_bytes(data[2:4], "big")
    return data[:length] if HEADER_SIZE <= length < len(data) else data


def is_event(data: bytes) -> bool:
    """Whether it is an event message (table 36): those are stamped."""
    return bool(data) and data[0] & 0x0F < 8


def domain_of(data: bytes) -> tuple[int, int] | None:
    """(``domainNumber``, ``sdoId``) of a message; None for what has no whole header."""
    if len(data) < HEADER_SIZE:
        return None
    return data[4], data[0] >> 4 << 8 | data[5]


def is_one_step_sync(data: bytes) -> bool:
    """Whether it is a Sync without ``twoStepFlag``, into which the card can write the time."""
    return len(data) >= HEADER_SIZE and data[0] & 0x0F == 0 and not data[6] & 0x02


def message_key(data: bytes) -> tuple[int, int, int, bytes]:
    """What tells a message from others under way: type and majorSdoId, domain, minorSdoId, source port and sequence."""
    return data[0], data[4], data[5], data[20:32]
