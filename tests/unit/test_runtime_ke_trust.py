"""Trusted certificates are read again when their file changes, and not before."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ke_support import CA, NAME, SERVER
from tls_support import NOW, make_identity, pair, shake

from timesync.nts.certificates import CertificateError
from timesync.nts.tls import TlsError
from timesync.nts.tls_client import ClientTls, Trust
from timesync.nts.tls_server import ServerContext, ServerTls
from timesync.runtime import ke_trust
from timesync.runtime.ke_trust import Trusts


def accepts(trust: Trust) -> bool:
    try:
        shake(ClientTls(trust, NAME, NOW), ServerTls(ServerContext((pair(SERVER),))))
    except TlsError:
        return False
    return True


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    trusts, file = Trusts(), tmp_path / "ca.pem"
    file.write_bytes(make_identity("Other CA", authority=True).pem)
    first = trusts.of(str(file))
    assert first is trusts.of(str(file))
    assert not accepts(first)
    fresh = tmp_path / "new.pem"
    fresh.write_bytes(CA.pem)
    fresh.replace(file)
    assert accepts(trusts.of(str(file)))


def test_a_file_that_was_written_in_place_with_its_old_date_has_changed_too(tmp_path: Path) -> None:
    trusts, file = Trusts(), tmp_path / "ca.pem"
    both = [CA.pem, make_identity("Other CA", authority=True).pem]
    theirs, ours = (one.ljust(max(map(len, both)) + 1, b"\n") for one in reversed(both))
    file.write_bytes(theirs)
    first = trusts.of(str(file))
    dates = file.stat()
    # Long enough for the kernel's clock of files to have moved on.
    time.sleep(0.02)
    file.write_bytes(ours)
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert (dates.st_size, dates.st_mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
    assert first is not trusts.of(str(file))
    assert accepts(trusts.of(str(file)))


def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    trusts, file = Trusts(), tmp_path / "ca.pem"
    with pytest.raises(FileNotFoundError):
        trusts.of(str(file))
    file.write_bytes(b"nothing")
    with pytest.raises(CertificateError, match="no certificate in PEM form"):
        trusts.of(str(file))


def test_the_systems_store_is_kept_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    trusts, now = Trusts(), [1000.0]
    monkeypatch.setattr(ke_trust.time, "monotonic", lambda: now[0])
    first = trusts.of(None)
    now[0] += 3599
    assert first is trusts.of(None)
    now[0] += 1
    assert first is not trusts.of(None)
    assert not accepts(first)
