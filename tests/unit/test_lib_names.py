"""What ``timesync.lib`` offers: each name from where it is made, and no sooner than it is asked for."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest
from lib_support import environment

import timesync.lib


def loaded_by(statement: str) -> set[str]:
    """The modules that a program has after it."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_every_name_is_there_and_no_other() -> None:
    assert set(timesync.lib._HOMES) == set(timesync.lib.__all__)  # type: ignore[attr-defined]  # hidden from the type checker
    assert all(getattr(timesync.lib, name).__module__.startswith("timesync.") for name in timesync.lib.__all__)
    assert timesync.lib.__all__ == dir(timesync.lib)
    with pytest.raises(AttributeError, match="no attribute 'qurey'"):
        timesync.lib.qurey  # type: ignore[attr-defined]  # noqa: B018  the point of it


def test_no_module_stands_in_the_place_of_a_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(timesync.lib.__path__)}
    assert set() == modules & set(timesync.lib.__all__)


def test_a_question_loads_neither_the_daemon_nor_tls() -> None:
    loaded = loaded_by("from timesync.lib import query")
    assert {"timesync.lib.ask", "timesync.ntp.query"} <= loaded
    assert set() == loaded & {"pydantic", "OpenSSL", "timesync.daemon.appliance", "timesync.servo.controller"}


def test_a_server_without_nts_loads_no_tls_and_no_configuration() -> None:
    loaded = loaded_by("from timesync.lib import serve")
    assert set() == loaded & {"pydantic", "OpenSSL", "timesync.daemon.appliance"}
