"""Which list of leap seconds wins."""

from __future__ import annotations

import hashlib
from pathlib import Path

from timesync.daemon.leap import MAX_SIZE, load_leap_table

NTP = 2_208_988_800
SHIPPED_EXPIRES_NTP = 4_007_404_800
"""2026-12-28, from the comment in the shipped list."""


def write(path: Path, expires: int) -> Path:
    data = [(2_272_060_800, 10), (2_287_785_600, 11)]
    hashed = f"{expires}" + "".join(f"{when}{offset}" for when, offset in data)
    digest = hashlib.sha1(hashed.encode(), usedforsecurity=False).hexdigest()
    words = " ".join(digest[i : i + 8] for i in range(0, 40, 8))
    rows = "".join(f"{when} {offset}\n" for when, offset in data)
    path.write_text(f"#@ {expires}\n{rows}#h {words}\n")
    return path


def test_the_shipped_list_is_used_when_there_is_no_other() -> None:
    table, said = load_leap_table([])
    assert (1_483_228_800, 37) == table.steps[27]
    assert "the shipped list" in said


def test_a_newer_list_wins_and_an_older_one_does_not(tmp_path: Path) -> None:
    newer = write(tmp_path / "newer.list", SHIPPED_EXPIRES_NTP + 86_400)
    newest = write(tmp_path / "newest.list", SHIPPED_EXPIRES_NTP + 2 * 86_400)
    older = write(tmp_path / "older.list", SHIPPED_EXPIRES_NTP - 86_400)
    table, said = load_leap_table([newer, newest, older])
    assert table.expires is not None
    assert (SHIPPED_EXPIRES_NTP + 2 * 86_400 - NTP) * 10**9 == table.expires.ns()
    assert str(newest) in said
    table, said = load_leap_table([older])
    assert "the shipped list" in said
    assert "ignored" not in said


def test_a_corrupt_list_is_left_out_and_the_reason_is_told(tmp_path: Path) -> None:
    corrupt = write(tmp_path / "corrupt.list", SHIPPED_EXPIRES_NTP + 86_400)
    corrupt.write_text(corrupt.read_text().replace("2287785600 11", "2303683200 11"))
    binary = tmp_path / "binary.list"
    binary.write_bytes(b"\xff\xfe\x00")
    large = tmp_path / "large.list"
    large.write_bytes(b"#" * (MAX_SIZE + 1))
    missing = tmp_path / "missing.list"
    table, said = load_leap_table([corrupt, binary, large, missing, tmp_path])
    assert 37 == table.steps[27][1]
    assert f"ignored {corrupt}: line 4: the SHA-1 of the data is" in said
    assert f"ignored {binary}: 'utf-8' codec" in said
    assert f"ignored {large}: larger than" in said
    assert f"ignored {missing}: No such file" in said
    assert f"ignored {tmp_path}: Is a directory" in said
