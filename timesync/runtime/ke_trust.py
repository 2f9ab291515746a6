"""Whose certificates the sources of a configuration trust, kept as long as the files stay what they are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from timesync.nts.certificates import MAX_PEM
from timesync.nts.tls_client import Trust

REFRESH_S: Final = 3600.0
"""The system's store is read again after so long: a package may have changed it."""

Signature = tuple[int, int, int, int, int]


class Trusts:
    """One ``Trust`` for each file, and one for the system's store."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Signature, Trust]] = {}
        self._system: tuple[float, Trust] | None = None

    def of(self, ca: str | None) -> Trust:
        """What a source trusts.

        Raises OSError and ``timesync.nts.certificates.CertificateError``.

        Args:
            ca: A file of certificates; None: the system's store.
        """
        return self._of_system() if ca is None else self._of_file(ca)

    def _of_system(self) -> Trust:
        now = time.monotonic()
        if self._system is None or now - self._system[0] >= REFRESH_S:
            self._system = now, Trust.system()
        return self._system[1]

    def _of_file(self, ca: str) -> Trust:
        with Path(ca).open("rb") as file:
            status = os.fstat(file.fileno())
            # The time of writing can be set, that of the last change of anything cannot.
            signature = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            known = self._files.get(ca)
            if known is not None and known[0] == signature:
                return known[1]
            made = Trust.from_pem(file.read(MAX_PEM + 1))
        self._files[ca] = signature, made
        return made
