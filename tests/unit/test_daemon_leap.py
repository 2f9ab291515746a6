"""Which list of leap seconds wins."""

from __future__ import annotations

from pathlib import Path

from leap_support import SHIPPED_EXPIRES_NTP, write

from timesync.daemon.leap import MAX_SIZE, load_leap_table, load_named_table

NTP = 2_208_988_800


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


def test_the_list_that_is_named_wins_however_old(tmp_path: Path) -> None:
    older = write(tmp_path / "lab.list", SHIPPED_EXPIRES_NTP - 10 * 365 * 86_400)
    table, said, warning = load_named_table(older)
    assert ((2_272_060_800 - NTP, 10), (2_287_785_600 - NTP, 11)) == table.steps
    assert f"leap seconds from {older}, TAI - UTC is 11 s at its end" == said
    assert warning is None


def test_a_named_list_that_cannot_be_used_is_a_warning_and_the_shipped_one_is_used(tmp_path: Path) -> None:
    corrupt = write(tmp_path / "corrupt.list", SHIPPED_EXPIRES_NTP + 86_400)
    corrupt.write_text(corrupt.read_text().replace("2287785600 11", "2303683200 11"))
    missing = tmp_path / "missing.list"
    for path, why in ((corrupt, "line 4: the SHA-1 of the data is"), (missing, "No such file or directory")):
        table, said, warning = load_named_table(path)
        assert 37 == table.steps[27][1]
        assert said.startswith("leap seconds from the shipped list,")
        assert warning is not None
        assert warning.startswith(f"leap.file {path} cannot be used ({why}")
        assert warning.endswith("): leap seconds are taken from the shipped list instead")
