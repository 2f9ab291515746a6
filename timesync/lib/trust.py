"""Certificates of NTS: whose the library believes where it asks, and what it shows where it serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NtsTrust:
    """Whose certificates are believed. Their dates are judged by the system clock.

    Attributes:
        ca: A PEM file: these certificates and no others, the server's own among them if it is there; None: those of
            the system's store.
    """

    ca: str | os.PathLike[str] | None = None

    @property
    def path(self) -> str | None:
        """``ca``, absolute."""
        return None if self.ca is None else os.path.abspath(os.fspath(self.ca))  # noqa: PTH100  links are left alone


@dataclass(frozen=True, slots=True)
class NtsCertificate:
    """What a server shows to clients that ask for keys.

    Attributes:
        certificate: A PEM file: the certificate, then its chain. It is read again some seconds after it has changed.
        private_key: A PEM file: its key.
        listen: Addresses for key establishment, TCP port 4460 unless said, 0 a free one; none: those of the server.
    """

    certificate: str | os.PathLike[str]
    private_key: str | os.PathLike[str]
    listen: Sequence[str] = ()
