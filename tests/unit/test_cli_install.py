"""``timesync install`` and ``timesync uninstall`` on made-up machines; on a real Debian `bin/test deb` does it."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doctor_support import write

from timesync.cli import install as cli_install
from timesync.cli.main import cli
from timesync.config.load import DEFAULT_FILE, load
from timesync.daemon.doctor.machine import SERVICE
from timesync.daemon.service import perform, program, steps
from timesync.daemon.service.files import COMMAND, VENDOR_COMMAND, Layout, items, rivals, shipped
from timesync.daemon.service.plan import RECORD, Step, at, plan, read_record
from timesync.daemon.service.steps import Command, Target
from timesync_drivers import programs

ROOT = Path(__file__).parents[2]
PROGRAM = "/opt/timesync/bin/timesync"
UNIT = f"etc/systemd/system/{SERVICE}"


class Machine:
    """A root directory in which the program is there; commands are noted, not run."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.ran: list[str] = []
        self.failing: str | None = None
        write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        write(root, "etc/group", "root:x:0:\ndialout:x:20:\n")
        write(root, "opt/timesync/bin/timesync", "#!/opt/timesync/bin/python3\n").chmod(0o755)
        write(root, "opt/timesync/bin/python3", "").chmod(0o755)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(programs, "run", self._run)
        monkeypatch.setattr(programs, "present", lambda name: name in ("systemctl", "systemd-sysusers", "udevadm"))

    def _run(self, command: Sequence[str]) -> tuple[int, str]:
        self.ran.append(" ".join(command))
        return (1, "it is broken") if self.failing is not None and self.failing in command else (0, "")

    def call(self, *words: str) -> Result:
        return CliRunner().invoke(cli, [*words, "--root", str(self.root)])

    def install(self, *options: str) -> Result:
        return self.call("install", "--program", PROGRAM, *options)

    def files(self) -> dict[str, str]:
        """Every file and link, with its content."""
        return {
            str(path.relative_to(self.root)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    root = tmp_path / "machine"
    root.mkdir()
    return Machine(root, monkeypatch)


def test_everything_is_written_and_told_of(machine: Machine) -> None:
    done = machine.install()

    assert 0 == done.exit_code, done.output
    root = machine.root
    assert (ROOT / "config/ntp-client.yaml").read_bytes() == (root / "etc/timesync/timesync.yaml").read_bytes()
    assert (ROOT / "config/systemd" / SERVICE).read_bytes() == (root / UNIT).read_bytes()
    for path in ("udev/rules.d/60-timesync.rules", "sysusers.d/timesync.conf", "modules-load.d/timesync.conf"):
        source = ROOT / "config" / path.replace("rules.d/", "")
        assert source.read_bytes() == (root / "etc" / path).read_bytes()
    assert PROGRAM == str((root / COMMAND[1:]).readlink())
    for path in ("man/man1/timesync.1", "man/man5/timesync.yaml.5", "bash-completion/completions/timesync"):
        assert (root / "usr/local/share" / path).stat().st_mode & 0o777 == 0o644
    written = set(machine.files()) - {
        "etc/passwd",
        "etc/group",
        "opt/timesync/bin/timesync",
        "opt/timesync/bin/python3",
    }
    told = {line.split()[1].lstrip("/") for line in done.output.splitlines() if line.startswith("new ")}
    assert {RECORD.lstrip("/")} == written - told
    assert [f"systemd-sysusers --root={root} timesync.conf"] == machine.ran


def test_a_second_call_changes_nothing(machine: Machine) -> None:
    machine.install()
    before = machine.files()

    done = machine.install()

    assert before == machine.files()
    assert {"unchanged", "run"} == {line.split()[0] for line in done.output.splitlines()}


def test_a_dry_run_does_nothing_and_needs_no_rights(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = machine.files()

    done = machine.install("--dry-run", "--start")

    assert 0 == done.exit_code, done.output
    assert before == machine.files()
    assert [] == machine.ran
    assert f"new       /{UNIT}" in done.output
    assert f"run       systemctl --root={machine.root} enable timesync.service" in done.output
    for words in (("install", "--program", PROGRAM), ("uninstall",)):
        assert 3 == machine.call(*words).exit_code


def test_what_was_changed_by_hand_is_kept(machine: Machine) -> None:
    machine.install()
    write(machine.root, "etc/timesync/timesync.yaml", "profile: ntp-server\n")
    write(machine.root, UNIT, "[Service]\nUser=me\n")

    done = machine.install()

    assert "kept      /etc/timesync/timesync.yaml (it is yours)" in done.output
    assert f"kept      /{UNIT} (it was changed, or made, by hand; --force replaces it)" in done.output
    assert "[Service]\nUser=me\n" == (machine.root / UNIT).read_text()
    forced = machine.install("--force")
    assert f"replaced  /{UNIT} (what was there is now /{UNIT}.old)" in forced.output
    assert "[Service]\nUser=me\n" == (machine.root / f"{UNIT}.old").read_text()
    assert "User=timesync" in (machine.root / UNIT).read_text()
    assert "profile: ntp-server\n" == (machine.root / "etc/timesync/timesync.yaml.old").read_text()


def test_an_older_version_is_replaced(machine: Machine) -> None:
    """What we wrote and nobody changed since is ours to replace; the configuration is not."""
    machine.install()
    old = [item for item in items(Layout.LOCAL, {}, {}) if item.path in (f"/{UNIT}", DEFAULT_FILE)]
    older = [type(item)(item.path, b"# of 0.0.9\n", own=item.own) for item in old]
    changes = plan(machine.root, older, None, force=True)
    made = perform.write(machine.root, changes)
    perform.remember(machine.root, changes, made, read_record(machine.root), ())

    done = machine.install()

    assert f"replaced  /{UNIT} (by this version's)" in done.output
    assert "User=timesync" in (machine.root / UNIT).read_text()
    assert "# of 0.0.9\n" == (machine.root / "etc/timesync/timesync.yaml").read_text()


def test_a_switched_off_drop_in_stays_off(machine: Machine) -> None:
    """As the how-to says for a machine where chronyd stays in charge."""
    machine.install()
    drop_in = machine.root / f"{UNIT}.d/alone.conf"
    drop_in.unlink()
    drop_in.symlink_to("/dev/null")

    machine.install()

    assert "/dev/null" == str(drop_in.readlink())


def test_a_configuration_of_ones_own(machine: Machine, tmp_path: Path) -> None:
    file = write(tmp_path, "mine.yaml", "profile: ntp-server\n")
    file.chmod(0o644)
    assert 0 == machine.install("--config", str(file)).exit_code
    assert "profile: ntp-server\n" == (machine.root / "etc/timesync/timesync.yaml").read_text()


@pytest.mark.parametrize("text", ["profil: ntp-server\n", None])
def test_a_bad_configuration_is_refused_before_anything_is_done(
    machine: Machine, tmp_path: Path, text: str | None
) -> None:
    before = machine.files()
    if text is not None:
        write(tmp_path, "mine.yaml", text).chmod(0o644)
    assert 2 == machine.install("--config", str(tmp_path / "mine.yaml")).exit_code
    assert before == machine.files()


def _enabled(machine: Machine, unit: str) -> None:
    place = machine.root / "etc/systemd/system/multi-user.target.wants"
    place.mkdir(parents=True, exist_ok=True)
    (place / unit).symlink_to(f"/lib/systemd/system/{unit}")


def test_other_time_daemons_are_told_of_and_not_touched(machine: Machine) -> None:
    _enabled(machine, "chrony.service")
    _enabled(machine, "ptp4l@eth0.service")
    done = machine.install()
    assert 0 == done.exit_code
    assert "chrony.service, ptp4l@eth0.service: enabled, and keeps time too; --replace disables it" in done.output
    assert not [words for words in machine.ran if "disable" in words]


def test_it_is_not_started_beside_another_one(machine: Machine) -> None:
    _enabled(machine, "chrony.service")
    before = machine.files()
    done = machine.install("--start")
    assert 1 == done.exit_code
    assert "nothing was done" in done.output
    assert before == machine.files()
    assert [] == machine.ran


def test_other_time_daemons_are_replaced(machine: Machine) -> None:
    _enabled(machine, "chrony.service")
    assert 0 == machine.install("--start", "--replace").exit_code
    root = machine.root
    assert [
        f"systemctl --root={root} disable chrony.service",
        f"systemctl --root={root} enable timesync.service",
    ] == machine.ran[1:]
    # Who takes us away again is told.
    assert "Once disabled for it: chrony.service" in machine.call("uninstall").output


def test_every_rival_of_the_unit_is_looked_for(machine: Machine) -> None:
    for unit in rivals():
        _enabled(machine, unit)
    assert "chrony.service" in rivals()
    assert sorted(rivals()) == sorted(steps.enabled_rivals(machine.root))


def test_on_a_running_machine_all_is_told(machine: Machine) -> None:
    target = Target(Path("/"), lambda name: name != "systemd-sysusers", running=True)
    assert ["systemctl disable --now chrony.service"] == list(map(str, steps.disable(target, ["chrony.service"])))
    assert [
        "systemctl restart systemd-modules-load.service",
        "udevadm control --reload",
        "udevadm trigger --subsystem-match=pps --subsystem-match=ptp",
    ] == list(map(str, steps.devices(target)))
    started = list(map(str, steps.unit(target, start=True)))
    assert ["systemctl daemon-reload", "systemctl enable --now --no-block timesync.service"] == started
    assert ["systemctl daemon-reload"] == list(map(str, steps.unit(target, start=False)))
    assert ["systemctl disable --now timesync.service"] == list(map(str, steps.ending(target)))


def test_without_systemd_sysusers_the_user_is_made_by_useradd(machine: Machine) -> None:
    target = Target(machine.root, lambda name: False, running=False)
    (command,) = steps.user(target)
    assert command.words[:3] == ("useradd", "--prefix", str(machine.root))
    assert "--groups dialout timesync" in str(command).replace('"Time synchronization" ', "")
    # Nothing when there is one.
    write(machine.root, "etc/passwd", "timesync:x:990:990::/var/lib/timesync:/usr/sbin/nologin\n")
    assert [] == list(steps.user(target))


def test_a_program_that_fails_ends_it(machine: Machine) -> None:
    machine.failing = "timesync.conf"
    done = machine.install("--start")
    assert 1 == done.exit_code
    assert "it is broken" in done.output
    assert 1 == len(machine.ran), "what comes after it would not work"


def test_what_may_fail_is_told_of(machine: Machine) -> None:
    told: list[str] = []

    def run(words: Sequence[str]) -> tuple[int, str]:
        return (0, "") if words[0] == "b" else (1, "")

    perform.run_all(
        [Command(("a",), needed=False), Command(("b",))], run, lambda c, wrong: told.append(f"{c}: {wrong}")
    )
    assert ["a: exit code 1", "b: "] == told


# -- uninstall


def test_what_was_installed_goes(machine: Machine) -> None:
    before = machine.files()
    machine.install()
    write(machine.root, "etc/timesync/timesync.yaml", "profile: ntp-server\n")
    write(machine.root, "var/lib/timesync/drift", "1")

    done = machine.call("uninstall")

    assert 0 == done.exit_code, done.output
    kept = {"etc/timesync/timesync.yaml", "var/lib/timesync/drift"}
    assert kept == set(machine.files()) - set(before)
    assert not (machine.root / f"{UNIT}.d").exists()
    assert f"systemctl --root={machine.root} disable timesync.service" in machine.ran
    assert 1 == machine.call("uninstall").exit_code


def test_purging_leaves_nothing(machine: Machine) -> None:
    (machine.root / "usr/local/share/man").mkdir(parents=True)  # somebody's, and empty
    before = machine.files()
    folders = {path for path in machine.root.rglob("*") if path.is_dir()}
    machine.install()
    write(machine.root, "etc/timesync/key", "1")
    write(machine.root, "var/lib/timesync/drift", "1")
    write(machine.root, "etc/passwd", "root:x:0:0::/root:/bin/sh\ntimesync:x:990:990::/:/bin/false\n")

    done = machine.call("uninstall", "--purge")

    assert 0 == done.exit_code, done.output
    assert set(before) == set(machine.files())
    assert folders | {machine.root / "var", machine.root / "var/lib"} == {
        path for path in machine.root.rglob("*") if path.is_dir()
    }
    assert f"userdel --prefix {machine.root} timesync" in machine.ran


def test_purging_after_uninstalling_leaves_nothing(machine: Machine) -> None:
    """As `apt-get purge` after `apt-get remove`; the first call says that it would."""
    before = machine.files()
    machine.install()
    write(machine.root, "etc/timesync/timesync.yaml", "profile: ntp-server\n")
    write(machine.root, f"{UNIT}.d/alone.conf", "[Unit]\n")
    write(machine.root, "var/lib/timesync/drift", "1")
    write(machine.root, "var/log/timesync/measurements-1.csv", "")
    told = machine.call("uninstall").output
    assert "/etc/timesync/timesync.yaml (it is yours; --purge removes it)" in told
    write(machine.root, "etc/passwd", "root:x:0:0::/root:/bin/sh\ntimesync:x:990:990::/:/bin/false\n")
    write(machine.root, COMMAND.lstrip("/"), "#!/bin/sh\n")  # somebody's own: nothing says that we made it
    left = machine.files()
    machine.ran.clear()

    tried = machine.call("uninstall", "--purge", "--dry-run")
    assert left == machine.files()
    done = machine.call("uninstall", "--purge")

    assert 0 == done.exit_code, done.output
    assert set(before) | {COMMAND.lstrip("/")} == set(machine.files())
    assert not (machine.root / f"{UNIT}.d").exists()
    assert [
        "removed   /etc/timesync/timesync.yaml",
        f"removed   /{UNIT}.d/alone.conf",
        "removed   /etc/timesync, with all that is in it",
        "removed   /var/lib/timesync, with all that is in it",
        "removed   /var/log/timesync, with all that is in it",
    ] == [line for line in done.output.splitlines() if line.startswith("removed")]
    assert [line for line in tried.output.splitlines() if line.startswith("removed")] == [
        line for line in done.output.splitlines() if line.startswith("removed")
    ]
    assert f"userdel --prefix {machine.root} timesync" in machine.ran


def test_purging_later_leaves_the_machines_own_directories(machine: Machine) -> None:
    """Which may be empty by then, such as udev's for the administrator's rules."""
    machine.install()
    for path in ("etc/udev/rules.d/60-timesync.rules", "etc/modules-load.d/timesync.conf"):
        write(machine.root, path, "# changed\n")
    machine.call("uninstall")
    done = machine.call("uninstall", "--purge")
    assert 0 == done.exit_code, done.output
    for path in ("etc/udev/rules.d", "etc/modules-load.d"):
        assert [] == list((machine.root / path).iterdir())


def test_purging_says_what_there_was_and_no_more(machine: Machine) -> None:
    machine.install()
    assert "/var/lib/timesync" not in machine.call("uninstall", "--purge").output
    done = machine.call("uninstall", "--purge")
    assert 1 == done.exit_code
    assert "nothing here was installed" in done.output


def test_a_packages_configuration_is_not_purged(machine: Machine) -> None:
    """dpkg knows a removed package, too, until it is purged."""
    write(machine.root, "var/lib/dpkg/info/timesync.list", "")
    write(machine.root, "etc/timesync/timesync.yaml", "profile: ntp-server\n")
    before = machine.files()
    done = machine.call("uninstall", "--purge")
    assert 1 == done.exit_code
    assert "apt-get purge timesync" in done.output
    assert before == machine.files()


def test_a_dry_run_of_uninstall_does_nothing(machine: Machine) -> None:
    machine.install()
    before = machine.files()
    ran = len(machine.ran)
    done = machine.call("uninstall", "--purge", "--dry-run")
    assert 0 == done.exit_code
    assert before == machine.files()
    assert ran == len(machine.ran)
    assert f"removed   /{UNIT}" in done.output


def test_what_was_changed_by_hand_outlives_uninstall(machine: Machine) -> None:
    machine.install()
    write(machine.root, UNIT, "[Service]\nUser=me\n")
    done = machine.call("uninstall")
    assert f"kept      /{UNIT} (changed by hand; --purge removes it)" in done.output
    assert (machine.root / UNIT).exists()


def test_a_link_that_leads_out_of_the_root_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (machine.root / "etc/udev").symlink_to(outside)
    done = machine.install()
    assert 2 == done.exit_code
    assert "leads out of" in done.output
    assert [] == list(outside.iterdir())
    with pytest.raises(ValueError, match="leads out"):
        at(machine.root, "/etc/udev/rules.d")


@pytest.mark.parametrize("path", ["relative", "/etc/../../outside"])
def test_a_record_of_strange_paths_is_refused(machine: Machine, path: str) -> None:
    machine.install()
    record = machine.root / RECORD.lstrip("/")
    record.write_text(json.dumps({**json.loads(record.read_text()), "files": {path: "file:0"}}))
    assert 2 == machine.call("uninstall").exit_code


def test_where_a_debian_package_is_installed_nothing_is_done(machine: Machine) -> None:
    write(machine.root, "var/lib/dpkg/info/timesync.list", "")
    before = machine.files()
    assert 1 == machine.install().exit_code
    assert "apt-get purge timesync" in machine.call("uninstall").output
    assert before == machine.files()


# -- packages


def test_a_packages_files_are_below_usr(machine: Machine) -> None:
    done = machine.call("install", "--vendor")
    assert 0 == done.exit_code, done.output
    found = machine.files()
    assert f"ExecStart={VENDOR_COMMAND} run -c {DEFAULT_FILE}\n" in found[f"usr/lib/systemd/system/{SERVICE}"]
    assert COMMAND not in found[f"usr/lib/systemd/system/{SERVICE}"]
    assert "usr/share/man/man1/timesync.1" in found
    assert [] == [path for path in found if "local" in path or path.startswith("etc/systemd")]
    assert [] == machine.ran
    assert RECORD.lstrip("/") not in found


@pytest.mark.parametrize("options", [["--start"], ["--replace"], ["--program", PROGRAM]])
def test_a_package_starts_nothing(machine: Machine, options: list[str]) -> None:
    assert 2 == machine.call("install", "--vendor", *options).exit_code


def test_a_package_has_a_root_of_its_own() -> None:
    assert 2 == CliRunner().invoke(cli, ["install", "--vendor"]).exit_code


def test_the_wheel_brings_the_files() -> None:
    """Inside the package they have the place where `shipped` looks first; in a checkout they are in config/."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {"config": "timesync/shipped"} == build["wheel"]["force-include"]
    assert "config" in build["sdist"]["include"]
    assert shipped().joinpath("systemd", SERVICE).is_file()


def test_what_the_machine_begins_with_is_right(machine: Machine) -> None:
    machine.install()
    load(machine.root / "etc/timesync/timesync.yaml")


# -- the program


def test_what_the_service_does_not_see_is_no_program_for_it(machine: Machine) -> None:
    done = machine.call("install", "--program", "/home/me/venv/bin/timesync")
    assert 2 == done.exit_code
    write(machine.root, "home/me/venv/bin/timesync", "#!/usr/bin/python3\n")
    done = machine.call("install", "--program", "/home/me/venv/bin/timesync")
    assert 2 == done.exit_code
    assert "below /home, which the service does not see" in done.output
    # Also where only its interpreter is there.
    write(machine.root, "root/python/bin/python3", "")
    (machine.root / "opt/timesync/bin/python3").unlink()
    (machine.root / "opt/timesync/bin/python3").symlink_to(machine.root / "root/python/bin/python3")
    done = machine.install()
    assert 2 == done.exit_code
    assert "below /root" in done.output


def _closed(root: Path) -> None:
    (root / "opt").chmod(0o700)


def _no_program(root: Path) -> None:
    (root / PROGRAM.lstrip("/")).chmod(0o644)


@pytest.mark.parametrize("spoil", [_closed, _no_program])
def test_a_program_that_others_cannot_run_is_refused(machine: Machine, spoil: Callable[[Path], None]) -> None:
    spoil(machine.root)
    done = machine.install()
    assert 2 == done.exit_code
    assert "other users may not" in done.output


def test_who_may_change_the_program_is_warned_of(machine: Machine) -> None:
    (machine.root / PROGRAM.lstrip("/")).chmod(0o777)
    assert any("can be changed by others" in text for text in program.doubts(Path(PROGRAM), machine.root))


def test_the_program_is_the_one_that_runs() -> None:
    assert Path(PROGRAM) == program.own_program(Path(PROGRAM), Path("/usr/bin/python3"))
    assert Path("/venv/bin/timesync") == program.own_program(Path("/venv/main.py"), Path("/venv/bin/python3"))


def test_a_second_call_by_the_link_finds_the_program_behind_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install()
    monkeypatch.setattr(cli_install.sys, "argv", [COMMAND])
    done = machine.call("install")
    assert f"unchanged {COMMAND} -> {PROGRAM}" in done.output


def test_each_change_has_a_word() -> None:
    assert len(Step) == len({step.value for step in Step})
