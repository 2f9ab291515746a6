"""Every configuration that the documentation shows is one: `timesync check` finds no error in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tls_support import make_identity

from timesync.cli.main import cli

IDENTITY = make_identity("time", "time.example.org")
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PASSWORD_FILE = re.compile(r"password_file: ([\w.-]+)")
_KEY_FILE = re.compile(r"\balgorithm: ([\w-]+), file: ([\w.-]+\.key)\b")
_PEM_FILE = re.compile(r"\b(ca|certificate|private_key): +(\S+\.pem)\b")
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
SECRET_OCTETS = {"AES128": 16}
"""Where it matters: 32 are right for AES256, and for what takes any number."""


def _blocks() -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)}:{page.read_text().count(chr(10), 0, found.start()) + 1}", found[1])
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text())
    ]


@pytest.mark.parametrize("text", [pytest.param(text, id=place) for place, text in _blocks()])
def test_a_configuration_in_the_documentation_is_without_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "timesync.yaml"
    text = text.replace("/etc/timesync/", "")
    file.write_text(text)
    for what, name in _PEM_FILE.findall(text):
        pem = tmp_path / name
        pem.write_bytes(IDENTITY.key_pem if what == "private_key" else IDENTITY.pem)
        pem.chmod(0o600)
    for algorithm, name in _KEY_FILE.findall(text):
        key = tmp_path / name
        key.write_text(f"HEX:{bytes(range(SECRET_OCTETS.get(algorithm, 32))).hex()}\n")
        key.chmod(0o600)
    for name in _PASSWORD_FILE.findall(text):
        password = tmp_path / name
        password.write_text("secret\n")
        password.chmod(0o600)
    done = CliRunner().invoke(cli, ["check", str(file)])
    assert 0 == done.exit_code, done.output


def test_there_are_configurations_in_the_documentation() -> None:
    assert len(_blocks()) > 10


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_in_the_documentation_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [] == [target for target in targets if not (page.parent / target).exists()]
