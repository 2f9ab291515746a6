"""Master keys of an NTS server, under which cookies are sealed, and how they change.

Two ways lead to them, and both give a ``MasterKeys``:

- ``KeyStore``: random keys that change at an interval. They are kept in a file, so that a restart makes no cookie
  void, and with each the one after it is made, so that a worker that hears of a change late still opens new cookies.
- ``seeded_keys``: the key of a day is derived from a secret that all servers of a fleet have in a file, by HKDF
  (RFC 5869) from the number of the UTC day. A cookie of one server then opens on all. Tomorrow's key is accepted too,
  so that at midnight their clocks may be apart.

An old key is deleted after some changes: what was recorded on the network before then stays secret afterwards, but for
the seed, which opens all days. RFC 8915, section 6 asks for changes, and for keeping old keys for some time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from timesync.base.machine import Entropy
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Utc

SECRET_SIZE: Final = 32
"""A key of AEAD_AES_SIV_CMAC_256."""

MIN_SEED: Final = 32
"""Octets of a fleet's seed: it must not be possible to find it by trying."""

MAX_KEYS: Final = 64
"""Master keys at once."""

DAY: Final = Duration.from_s(86_400)
_MAGIC: Final = b"timesync master keys 1\n"
_RING_HEAD: Final = 4
_RING_ROW: Final = 2 + SECRET_SIZE
_ID_MASK: Final = 0xFFFF


class MasterKeyError(ValueError):
    """Stored keys or a seed cannot be used; the text says why, and never holds a secret."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One of them.

    Attributes:
        id: 0 to 65535, in clear in each cookie.
        secret: 32 octets; left out of ``repr``.
    """

    id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """All master keys at one time; this is what workers are given.

    Raises MasterKeyError when they do not fit together.

    Attributes:
        current: Id of the one that new cookies are sealed under.
        keys: All that open a cookie, oldest first; the next one is the last.
    """

    current: int
    keys: tuple[MasterKey, ...]

    def __post_init__(self) -> None:
        ids = {key.id for key in self.keys}
        if len(ids) != len(self.keys) or len(ids) > MAX_KEYS or self.current not in ids:
            raise MasterKeyError(f"{len(self.keys)} master keys of {len(ids)} ids, or none is current")
        if not all(0 <= key.id <= _ID_MASK and len(key.secret) == SECRET_SIZE for key in self.keys):
            raise MasterKeyError("a master key with an id or a size that cannot be")

    @property
    def old(self) -> int:
        """How many before the current one still open cookies."""
        return [key.id for key in self.keys].index(self.current)

    def encode(self) -> bytes:
        """Octets for a pipe to a worker, or for a file; they are secret."""
        rows = b"".join(key.id.to_bytes(2, "big") + key.secret for key in self.keys)
        return self.current.to_bytes(2, "big") + len(self.keys).to_bytes(2, "big") + rows

    @staticmethod
    def decode(data: bytes) -> MasterKeys:
        """What ``encode`` made. Raises MasterKeyError when it is something else."""
        count = int.from_bytes(data[2:_RING_HEAD], "big")
        if len(data) != _RING_HEAD + count * _RING_ROW:
            raise MasterKeyError(f"{len(data)} octets are not {count} master keys")
        rows = (data[start : start + _RING_ROW] for start in range(_RING_HEAD, len(data), _RING_ROW))
        keys = tuple(MasterKey(int.from_bytes(row[:2], "big"), row[2:]) for row in rows)
        return MasterKeys(int.from_bytes(data[:2], "big"), keys)


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """How master keys change.

    Attributes:
        interval: Between two changes.
        keep: Old keys that still open cookies; a client that was silent for longer than all of them has to make a
            new key establishment.
    """

    interval: Duration = DAY
    keep: int = 7

    def __post_init__(self) -> None:
        if self.interval <= ZERO or not 0 <= self.keep <= MAX_KEYS - 2:
            raise MasterKeyError(f"master keys every {self.interval}, {self.keep} old ones kept")


@dataclass(frozen=True, slots=True)
class KeyStore:
    """Random master keys and when they were last changed; a new value for each change.

    Attributes:
        keys: The last is the next one, the one before it the current one.
        changed: When; UTC by the clock of this machine.
    """

    keys: MasterKeys
    changed: Instant[Utc]

    @staticmethod
    def new(now: Instant[Utc], entropy: Entropy) -> KeyStore:
        """A first current key and the next one. The first id is random: two servers rarely have the same."""
        first = int.from_bytes(entropy(2), "big")
        keys = tuple(MasterKey(number & _ID_MASK, entropy(SECRET_SIZE)) for number in (first, first + 1))
        return KeyStore(MasterKeys(first, keys), now)

    def due(self, now: Instant[Utc], settings: RotationSettings) -> bool:
        """Whether it is time for a change.

        A last change that lies in the future by more than the interval was made with a wrong clock and says nothing.
        """
        return abs(now - self.changed) >= settings.interval

    def next_due(self, settings: RotationSettings) -> Instant[Utc]:
        """When the next change is due."""
        return self.changed + settings.interval

    def rotated(self, now: Instant[Utc], entropy: Entropy, settings: RotationSettings) -> KeyStore:
        """The next key is the current one, a new next one is made, and the oldest go."""
        kept = self.keys.keys[-(settings.keep + 2) :]
        # The one that was next becomes current; with the new next key there are keep + 2.
        following = MasterKey((kept[-1].id + 1) & _ID_MASK, entropy(SECRET_SIZE))
        return KeyStore(MasterKeys(kept[-1].id, (*kept[-(settings.keep + 1) :], following)), now)

    def encode(self) -> bytes:
        """Octets for a file that only the server may read."""
        body = _MAGIC + self.changed.scaled_ns.to_bytes(12, "big", signed=True) + self.keys.encode()
        return body + hashlib.sha256(body).digest()

    @staticmethod
    def decode(data: bytes) -> KeyStore:
        """What ``encode`` made. Raises MasterKeyError when the file is of something else, or was cut."""
        body, digest = data[:-32], data[-32:]
        if not body.startswith(_MAGIC) or not hmac.compare_digest(digest, hashlib.sha256(body).digest()):
            raise MasterKeyError("this is no file of master keys, or it is damaged")
        start = len(_MAGIC)
        keys = MasterKeys.decode(body[start + 12 :])
        if len(keys.keys) < 2 or keys.keys[-2].id != keys.current:
            raise MasterKeyError("a file of master keys without a next one")
        return KeyStore(keys, Instant(int.from_bytes(body[start : start + 12], "big", signed=True)))


@dataclass(frozen=True, slots=True)
class Seed:
    """The secret of a fleet.

    Raises MasterKeyError when it is too short.

    Attributes:
        secret: 32 octets or more; left out of ``repr``.
        keep_days: For how many days before today cookies still open.
    """

    secret: bytes = field(repr=False)
    keep_days: int = 7

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SEED:
            raise MasterKeyError(f"a seed needs {MIN_SEED} octets or more, not {len(self.secret)}")
        if not 0 <= self.keep_days <= MAX_KEYS - 2:
            raise MasterKeyError(f"keys of {self.keep_days} old days")


def day_number(now: Instant[Utc]) -> int:
    """UTC days since 1970-01-01."""
    return now.scaled_ns // DAY.scaled_ns


def next_day(now: Instant[Utc]) -> Instant[Utc]:
    """When ``seeded_keys`` will give something else: the next midnight, UTC."""
    return Instant((day_number(now) + 1) * 86_400 * UNITS_PER_S)


def day_key(secret: bytes, day: int) -> MasterKey:
    """The master key of one day: HKDF-SHA256 (RFC 5869) of the seed, with the day as information.

    Its id is the day's number modulo 65536.
    """
    extracted = hmac.digest(b"timesync NTS cookies", secret, "sha256")
    info = b"master key of day " + day.to_bytes(8, "big", signed=True)
    # One block of HKDF-Expand is all that 32 octets take.
    return MasterKey(day & _ID_MASK, hmac.digest(extracted, info + b"\x01", "sha256"))


def seeded_keys(seed: Seed, now: Instant[Utc]) -> MasterKeys:
    """The master keys of a fleet at one time: those of old days, of today (current) and of tomorrow."""
    today = day_number(now)
    days = range(today - seed.keep_days, today + 2)
    return MasterKeys(today & _ID_MASK, tuple(day_key(seed.secret, day) for day in days))
