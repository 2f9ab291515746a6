"""The configurations in Debian's packages of other time programs, as ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from interop_import import imported
from interop_support import PEERS

DEBIAN = PEERS / "root"
NEWER = PEERS / "linuxptp-signing-1" / "root"
_EXAMPLES = "usr/share/doc/linuxptp/configs"
FILES = [
    DEBIAN / "usr/share/chrony/chrony.conf",
    *(DEBIAN / "etc" / name for name in ("linuxptp/ptp4l.conf", "linuxptp/timemaster.conf", "ntpsec/ntp.conf")),
    *(NEWER / "etc" / name for name in ("linuxptp/ptp4l.conf", "linuxptp/timemaster.conf")),
]


def configured(line: str) -> bool:
    """Whether a line of these files says something."""
    return bool(line.strip()) and line.strip()[0] not in "#!;%"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PEERS)))
def test_a_configuration_of_debian_becomes_one_of_ours(file: Path, tmp_path: Path) -> None:
    text = imported(file, tmp_path / "t.yaml")
    assert "not known here" not in text
    comments = " ".join(line.removeprefix("#").strip() for line in text.splitlines())
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if configured(line):
            assert f"{file.name}:{number}" in text or f"({number})" in comments, f"{number}: {line}"


@pytest.mark.parametrize("root", [DEBIAN, NEWER], ids=["bookworm", "forky"])
def test_the_examples_of_linuxptp(root: Path, tmp_path: Path) -> None:
    files = sorted((root / _EXAMPLES).glob("*.cfg"))
    ports = [file for file in files if file.name != "sa.cfg"]  # that is a file of keys
    assert len(ports) > 10
    for file in ports:
        text = imported(file, tmp_path / f"{file.name}.yaml")
        assert "not known here" not in text, file


def test_what_is_installed_follows_the_servers_that_debian_names(tmp_path: Path) -> None:
    chrony = imported(FILES[0], tmp_path / "chrony.yaml")
    assert "pool: 2.debian.pool.ntp.org" in chrony
    ntpsec = imported(FILES[3], tmp_path / "ntpsec.yaml")
    assert all(f"pool: {number}.debian.pool.ntp.org" in ntpsec for number in range(4))
