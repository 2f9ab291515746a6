"""Completion, through a real Bash on a real terminal, and what a key press costs."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from timesync.cli.completion import SHELLS, script
from timesync.cli.main import COMMANDS, cli

PATIENCE_S = 20.0


def _words(*words: str) -> list[str]:
    """What the command answers to Bash for the last of these words."""
    asked = {"COMP_WORDS": " ".join(("timesync", *words)), "COMP_CWORD": str(len(words))}
    done = CliRunner().invoke(cli, [], prog_name="timesync", env={**asked, "_TIMESYNC_COMPLETE": "bash_complete"})
    assert done.exit_code == 0
    return done.output.splitlines()


def test_commands_are_completed() -> None:
    assert ["plain,status"] == _words("sta")
    assert ["plain,install"] == _words("inst")
    # Bash leaves an empty last word out.
    done = CliRunner().invoke(
        cli, [], prog_name="timesync",
        env={"COMP_WORDS": "timesync ", "COMP_CWORD": "1", "_TIMESYNC_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert [f"plain,{name}" for name in COMMANDS] == done.output.splitlines()


def test_options_and_values_are_completed() -> None:
    assert ["plain,--max-error"] == _words("status", "--max")
    assert ["plain,locked"] == _words("status", "--require", "lo")
    assert ["plain,nodes"] == _words("ptp", "no")
    assert ["plain,zsh"] == _words("completion", "z")
    assert ["plain,--version"] == _words("--ver")


def test_names_of_profiles_and_scenarios_are_completed() -> None:
    for words in (("run", "--profile"), ("check", "--profile"), ("doctor", "--profile"), ("profiles", "show")):
        assert ["plain,ntp-client"] == _words(*words, "ntp-c")
    assert ["plain,g8275.1"] == _words("profiles", "show", "g8275.1")
    # Files first: Bash forgets what came before a file.
    first, *rest = _words("simulate", "w")
    assert first.startswith("file,")
    assert all(line.startswith("plain,w") for line in rest)


def test_a_key_press_does_not_load_the_daemon() -> None:
    """For every command: its options are known without daemon, runtime and drivers."""
    program = (
        "import sys\n"
        "from timesync.cli.main import COMMANDS, cli\n"
        "import click\n"
        "context = click.Context(cli)\n"
        "cli.shell_complete(context, '')\n"
        "assert not [m for m in sys.modules if m.startswith('timesync.cli.') and m != 'timesync.cli.main']\n"
        "for name in COMMANDS:\n"
        "    command = cli.get_command(context, name)\n"
        "    command.shell_complete(click.Context(command), '--')\n"
        "heavy = ('timesync.daemon', 'timesync.runtime', 'timesync_drivers')\n"
        "print(*(m for m in sys.modules if m.startswith(heavy)))\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert "" == done.stdout.strip()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert 0 == done.exit_code
    assert script(shell) == done.output
    assert "_TIMESYNC_COMPLETE=" in done.output


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shells_understand_it(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script(shell))
    subprocess.run([shell, "-n", file], check=True, timeout=20)


def test_an_unknown_shell_is_refused() -> None:
    done = CliRunner().invoke(cli, ["completion", "csh"])
    assert 2 == done.exit_code


class _Terminal:
    """A Bash on a terminal of its own, in which ``timesync`` is this one."""

    def __init__(self, tmp_path: Path) -> None:
        command = tmp_path / "timesync"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m timesync.cli.main "$@"\n')
        command.chmod(0o755)
        (tmp_path / "script").write_text(script("bash"))
        (tmp_path / "rc").write_text(". script; bind 'set enable-bracketed-paste off'; PS1='> '\n")
        paths = os.pathsep.join(path for path in sys.path if path)
        own, its = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--rcfile", "rc", "-i"],
            cwd=tmp_path, stdin=its, stdout=its, stderr=its, start_new_session=True,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": paths, "TERM": "dumb"},
        )  # fmt: skip
        os.close(its)
        self._file = own
        self.seen = ""
        self.until(r"> $")

    def until(self, pattern: str) -> None:
        """Read on until what was seen matches, and forget that."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self._file], [], [], left)[0]:
                self.seen += os.read(self._file, 4096).decode()
        self.seen = self.seen[found.end() :]

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._file)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_at_a_terminal(tmp_path: Path) -> None:
    terminal = _Terminal(tmp_path)
    try:
        terminal.type("complete -p timesync\n")
        terminal.until(r"complete -o nosort -F _timesync_completion timesync")
        terminal.until(r"> $")
        terminal.type("timesync prof\t")
        terminal.until(r"timesync profiles ")
        terminal.type("sh\tstratum1-\t")
        terminal.until(r"show stratum1-gps-pps ")
        terminal.type("\n")
        terminal.until(r"# stratum1-gps-pps: ")
    finally:
        terminal.close()
