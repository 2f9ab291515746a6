"""Watching certificate files: what they are now, and whether they have changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Signature = tuple[tuple[int, int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a certificate and its key are.

    Attributes:
        certificate: PEM: the certificate, then its chain.
        key: PEM: its private key.
    """

    certificate: Path
    key: Path


class Watch:
    """Looks at files now and then, and says when they have become something else.

    A change counts when the files are the same for two looks: a program that renews a certificate writes it and its
    key one after the other, and in between they do not belong together.
    """

    def __init__(self, files: Sequence[PairFiles]) -> None:
        self._paths = [path for pair in files for path in (pair.certificate, pair.key)]
        self._taken = self._seen = self._look()

    def changed(self) -> bool:
        """Whether they are, at rest, something else than when this last said so."""
        before, self._seen = self._seen, self._look()
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen
        return True

    def _look(self) -> Signature:
        return tuple(_signature(path) for path in self._paths)


def _signature(path: Path) -> tuple[int, int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # With the time of the last chmod too: it may be what lets us read.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def open_pairs(files: Sequence[PairFiles]) -> list[int]:
    """Descriptors for reading, certificate and key by turns. Raises OSError, and then none is open."""
    opened: list[int] = []
    try:
        for path in (path for pair in files for path in (pair.certificate, pair.key)):
            # O_NONBLOCK: a FIFO without a writer would keep us here for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            opened.append(descriptor)
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened
