"""The files that NTS needs, looked at before they are used: certificates, keys, authorities, a fleet's seed.

What can never work is an error; what is wrong only by the calendar is a doubt, because it is this machine's calendar
that may be wrong, and a time server must start without one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from timesync.base.time import Instant, Utc
from timesync.config.look import complain
from timesync.config.nts import CertificatePair
from timesync.config.problem import Problem
from timesync.config.schema import Config, NtpOptions
from timesync.config.tree import Location, Mapping
from timesync.nts.certificates import (
    MAX_PEM,
    CertificateError,
    KeyPair,
    PrivateKeyError,
    dates_wrong,
    expiry_notice,
    load_certificates,
    load_pair,
    validity_of,
)
from timesync.nts.master import MIN_SEED

Judge = Callable[[os.stat_result], str | None]
Read = Callable[[Path, Judge, int], tuple[bytes, str | None]]
"""Reads so many octets of a file that the judge finds fit, or says why it does not. Raises OSError."""


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        errors: Nobody can work with this.
        doubts: It may be right, or become so.
        cause: The system's error, if there was one.
    """

    errors: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)
    cause: OSError | None = None


def examine(config: Config, root: Mapping, now: Instant[Utc], read: Read, *, private_keys: bool) -> Findings:
    """Look at every file of NTS that a configuration names.

    Args:
        config: The configuration.
        root: As written.
        now: What our clock says.
        read: Reads a file.
        private_keys: Read the files of private keys too; otherwise it is only looked up who may read them.
    """
    desk = _Desk(root, now, read, private_keys=private_keys)
    for index, source in enumerate(config.sources):
        if isinstance(source, NtpOptions) and source.ca is not None:
            desk.authorities(("sources", index, "ca"), Path(source.ca))
    nts = config.serve.nts
    if nts is not None:
        desk.served(("serve", "nts"), nts)
        for index, pair in enumerate(nts.more):
            desk.served(("serve", "nts", "more", index), pair)
        if nts.seed is not None:
            desk.seed(("serve", "nts", "seed"), Path(nts.seed))
    return desk.findings


class _Desk:
    """Looks at one file after the other."""

    def __init__(self, root: Mapping, now: Instant[Utc], read: Read, *, private_keys: bool) -> None:
        self.findings = Findings()
        self._root = root
        self._now = now
        self._read = read
        self._private_keys = private_keys

    def authorities(self, place: Location, path: Path) -> None:
        """Certificates that a source trusts."""
        data = self._open(place, path, _not_others)
        if data is None:
            return
        try:
            found = load_certificates(data)
        except CertificateError as error:
            self._wrong(place, f"{path}: {error}")
            return
        late = [dates_wrong(f"{path}: the certificate", validity_of(one), self._now) for one in found]
        if all(late):
            self.findings.doubts.append(complain(self._root, place, str(late[0])))

    def served(self, place: Location, pair: CertificatePair) -> None:
        """A certificate that is shown to clients, and its key."""
        certificate_at, key_at = (*place, "certificate"), (*place, "private_key")
        certificate = self._open(certificate_at, Path(pair.certificate), _not_others)
        key = self._private(key_at, Path(pair.private_key))
        if certificate is None:
            return
        made: KeyPair | None = None
        try:
            load_certificates(certificate)
        except CertificateError as error:
            self._wrong(certificate_at, f"{pair.certificate}: {error}")
            return
        if key is not None:
            try:
                made = load_pair(certificate, key)
            except PrivateKeyError as error:
                self._wrong(key_at, f"{pair.private_key}: {error}")
            except CertificateError as error:
                self._wrong(certificate_at, f"{pair.certificate}: {error}")
        for text in () if made is None else self._calendar(pair.certificate, made):
            self.findings.doubts.append(complain(self._root, certificate_at, text))

    def seed(self, place: Location, path: Path) -> None:
        """The secret of a fleet."""
        data = self._open(place, path, _only_owner)
        if data is not None and len(data) < MIN_SEED:
            self._wrong(place, f"{path}: has {len(data)} octets; a seed has {MIN_SEED} random ones or more")

    def _calendar(self, title: str, pair: KeyPair) -> Iterator[str]:
        what = f"{title}: the certificate"
        text = expiry_notice(what, pair.validity, self._now) or dates_wrong(what, pair.validity, self._now)
        if text is not None:
            yield text

    def _private(self, place: Location, path: Path) -> bytes | None:
        """What is in the file of a private key; None when it cannot be had, which is said, or is left alone."""
        if self._private_keys:
            return self._open(place, path, _only_owner)
        try:
            status = path.stat()
            if not os.access(path, os.R_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        except OSError as error:
            self._failed(place, path, error)
            return None
        complaint = _only_owner(status) if stat.S_ISREG(status.st_mode) else "is not a regular file"
        if complaint is not None:
            self._wrong(place, f"{path}: {complaint}")
        return None

    def _open(self, place: Location, path: Path, judge: Judge) -> bytes | None:
        """What is in a file; None when it cannot be had, which is said."""
        try:
            data, complaint = self._read(path, judge, MAX_PEM + 1)
        except OSError as error:
            self._failed(place, path, error)
            return None
        if complaint is not None:
            self._wrong(place, f"{path}: {complaint}")
            return None
        return data

    def _failed(self, place: Location, path: Path, error: OSError) -> None:
        self.findings.cause = error
        self._wrong(place, f"{path}: {error.strerror or error}")

    def _wrong(self, place: Location, text: str) -> None:
        self.findings.errors.append(complain(self._root, place, text))


def _not_others(status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IWOTH:
        return "everybody can write it, and so decide who is believed; take that away with chmod o-w"
    return None


def _only_owner(status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IRWXO:
        return "others can read or write it; take that away with chmod o-rwx"
    return None
