"""A Roughtime server for tests: it signs what it is told to, right or wrong, by RFC 10049 and not by our client."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DRAFT = 0x8000000C
TAGS = ("SIG", "VER", "SRV", "NONC", "DELE", "TYPE", "PATH", "RADI", "PUBK", "MIDP", "SREP", "VERS", "MINT", "ROOT")
TAGS += ("CERT", "MAXT", "INDX", "ZZZZ")
"""In the order of IANA's registry, which is that of their numbers."""


def sha(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()[:32]


def message(values: Mapping[str, bytes]) -> bytes:
    """Written on its own, so that the codec is not judged by itself."""
    names = [name for name in TAGS if name in values]
    offsets = [sum(len(values[name]) for name in names[:place]) for place in range(1, len(names))]
    tags = b"".join(name.encode().ljust(4, b"\0") for name in names)
    head = struct.pack("<I", len(names)) + b"".join(struct.pack("<I", offset) for offset in offsets)
    return head + tags + b"".join(values[name] for name in names)


def packet(values: Mapping[str, bytes]) -> bytes:
    body = message(values)
    return b"ROUGHTIM" + struct.pack("<I", len(body)) + body


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


@dataclass
class TestAuthority:
    """A server's keys and what it says.

    Attributes:
        midpoint_s: The time it tells.
        radius_s: How sure it is.
        period: First and last second for which the delegated key may sign.
        version: Of its responses.
        others: Leaves of other requests, to the right of ours; a power of two with it.
        sibling_first: The order of the nodes of drafts 12 to 15.
        spelling: What signatures begin with; None: as the version has it.
        spoil: Values that replace those of the response, for faults.
    """

    __test__ = False

    seed: int = 1
    midpoint_s: int = 1_750_000_000
    radius_s: int = 5
    period: tuple[int, int] = (1_700_000_000, 1_800_000_000)
    version: int = 1
    others: tuple[bytes, ...] = ()
    index: int = 0
    sibling_first: bool = False
    spelling: bytes | None = None
    spoil: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.long_term = Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)
        self.online = Ed25519PrivateKey.from_private_bytes(bytes([self.seed + 100]) * 32)

    @property
    def public_key(self) -> bytes:
        return self.long_term.public_key().public_bytes_raw()

    def answer(self, request: bytes) -> bytes:
        root, path = self._tree(request)
        dele = message(
            {
                "PUBK": self.online.public_key().public_bytes_raw(),
                "MINT": struct.pack("<Q", self.period[0]),
                "MAXT": struct.pack("<Q", self.period[1]),
            }
        )
        srep = message(
            {
                "VER": words(self.version),
                "RADI": words(self.radius_s),
                "MIDP": struct.pack("<Q", self.midpoint_s),
                "VERS": words(1, DRAFT),
                "ROOT": root,
            }
        )
        spelling = self.spelling or (b"RoughTime" if self.version == DRAFT else b"Roughtime")
        signature = self.long_term.sign(spelling + b" v1 delegation signature\0" + dele)
        certificate = {"DELE": dele, "SIG": signature}
        values = {
            "SIG": self.online.sign(spelling + b" v1 response signature\0" + srep),
            "NONC": nonce(request),
            "TYPE": words(1),
            "PATH": path,
            "SREP": srep,
            "CERT": message(certificate),
            "INDX": words(self.index),
        }
        return packet({**values, **self.spoil})

    def _tree(self, request: bytes) -> tuple[bytes, bytes]:
        leaves = list(self.others)
        leaves.insert(self.index, request)
        level = [sha(b"\0" + leaf) for leaf in leaves]
        path, place = b"", self.index
        while len(level) > 1:
            path += level[place ^ 1]
            pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
            level = [sha(b"\1" + (two[1] + two[0] if self.sibling_first else two[0] + two[1])) for two in pairs]
            place //= 2
        return level[0], path


def nonce(request: bytes) -> bytes:
    """The value of NONC in a request."""
    count = struct.unpack_from("<I", request, 12)[0]
    tags = [request[12 + 4 * count + 4 * place :][:4] for place in range(count)]
    offsets = [0, *struct.unpack_from(f"<{count - 1}I", request, 16)]
    start = 12 + 8 * count + offsets[tags.index(b"NONC")]
    return request[start : start + 32]
