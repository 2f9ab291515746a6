"""What to type for the command itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from timesync import __version__
from timesync.cli.invoked import command_for


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory in which ``bin/timesync`` calls the one of ``.venv``."""
    root = tmp_path / "check out"
    for folder in ("bin", ".venv/bin"):
        (root / folder).mkdir(parents=True)
        (root / folder / "timesync").touch()
    return root


def test_in_a_checkout_it_is_the_script_of_the_checkout(checkout: Path) -> None:
    program = checkout / ".venv/bin/timesync"

    assert "bin/timesync" == command_for(program, checkout, None)
    assert "./timesync" == command_for(program, checkout / "bin", None)
    assert f"'{checkout}/bin/timesync'" == command_for(program, checkout / "docs", "/usr/bin/timesync")


def test_what_the_shell_finds_needs_no_path(checkout: Path) -> None:
    assert "timesync" == command_for(Path("/usr/bin/timesync"), checkout, "/usr/bin/timesync")
    assert "/opt/t/bin/timesync" == command_for(Path("/opt/t/bin/timesync"), checkout, "/usr/bin/timesync")
    assert "venv/bin/timesync" == command_for(Path("venv/bin/timesync"), checkout, None)


def test_called_in_another_way_it_has_its_plain_name(checkout: Path) -> None:
    assert "timesync" == command_for(checkout / "timesync/cli/main.py", checkout, None)


def test_an_environment_without_a_script_beside_it_is_named_itself(checkout: Path) -> None:
    (checkout / "bin/timesync").unlink()

    assert ".venv/bin/timesync" == command_for(checkout / ".venv/bin/timesync", checkout, None)


def test_the_package_is_the_command() -> None:
    words = [sys.executable, "-m", "timesync"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert f"timesync {__version__}\n" == done.stdout
    shown = subprocess.run([*words, "check", "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert shown.stdout.startswith("Usage: timesync check ")
