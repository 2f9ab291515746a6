"""The manual pages: all that there is to say, in a form that mandoc takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from timesync.cli import manual
from timesync.cli.main import COMMANDS, cli
from timesync.config import manual as of_file
from timesync.config import roff
from timesync.config.reference import json_schema

PAGES = {"timesync.1": manual.page, "timesync.yaml.5": of_file.page}


def _plain(page: str) -> str:
    """What a reader sees of roff, near enough to look for words in it."""
    text = re.sub(r"\\f[BP]", "", page).replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "")
    return " ".join(text.split())


def test_every_command_and_option_is_there() -> None:
    text = _plain(manual.page())
    context = click.Context(cli, info_name="timesync")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        part = text.partition(f'.SS "timesync {name} ')[2].partition(".SH ")[0]
        assert part, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for word in parameter.opts:
                    assert word in part, f"{name} {word}"
    assert '.SS "timesync ptp nodes ' in text
    assert '.SS "timesync profiles show ' in text


def test_every_exit_code_is_there() -> None:
    text = manual.page().partition('.SH "EXIT STATUS"')[2]
    assert ["0", "1", "2", "3", "4"] == re.findall(r"^\.TP\n\\fB(\d)\\fP$", text, re.MULTILINE)


def test_every_key_of_the_configuration_is_there() -> None:
    text = of_file.page()
    for model in [json_schema(), *json_schema()["$defs"].values()]:
        for key in model.get("anyOf", [model])[-1]["properties"]:
            assert f".TP\n\\fB{key}\\fP\n" in text, key
    assert '.SH "serve.ntp"' in text


def test_the_example_is_a_configuration() -> None:
    from timesync.config.load import loads

    loads("\n".join(of_file.EXAMPLE) + "\n", "t.yaml")


def test_text_cannot_become_a_request() -> None:
    assert "\\&.so /etc/passwd" == roff.line(".so /etc/passwd")
    assert "\\(aqbr" == roff.line("'br")
    assert "a\\eb" == roff.line("a\\b")
    assert "\\[u00B5]s" == roff.line("\N{MICRO SIGN}s")
    assert '"say ""no"""' == roff.quoted('say "no"')
    # Also where a line is broken.
    assert all(not line.startswith(".") for line in roff.line("word " * 15 + ".PP " * 20).splitlines())


def test_options_can_be_copied() -> None:
    """A plain minus in roff is a hyphen, which no shell takes for one."""
    assert "\\fB\\-\\-json\\fP" in manual.page()


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(PAGES[name]())
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", file], check=False, capture_output=True, text=True, timeout=60
    )
    # No date, so that one source makes one page.
    assert [] == [line for line in done.stdout.splitlines() if "missing date" not in line]


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_would_find_something(tmp_path: Path) -> None:
    """That the test above can fail."""
    file = tmp_path / "t.1"
    file.write_text(manual.page().replace(".TP\n", ".TPX\n", 1))
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", file], check=False, capture_output=True, text=True, timeout=60
    )
    assert "TPX" in done.stdout
