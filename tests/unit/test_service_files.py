"""The files that make a service of it: do they parse, and do they name what the code needs?"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from doctor_support import case, machine

from timesync.cli.render import ExitCode
from timesync.config.load import DEFAULT_FILE
from timesync.config.schema import Observe
from timesync.daemon.doctor import steering
from timesync.daemon.doctor.check import State
from timesync.daemon.doctor.machine import SERVICE, this_machine
from timesync.daemon.service import steps
from timesync.daemon.service.files import Layout, items
from timesync_drivers import access, units

CONFIG = Path(__file__).parents[2] / "config"
UNIT = CONFIG / "systemd" / SERVICE
ALONE = CONFIG / "systemd" / f"{SERVICE}.d" / "alone.conf"
RULES = CONFIG / "udev" / "60-timesync.rules"
SYSUSERS = CONFIG / "sysusers.d" / "timesync.conf"
MODULES = CONFIG / "modules-load.d" / "timesync.conf"
HOW_TO = CONFIG.parent / "docs" / "how-to" / "install-service.md"
SECTIONS = {"Unit", "Service", "Install"}
EXPOSURE = 3.5
"""systemd-analyze's figure, 0 to 10; what the rights to set clocks and to serve cost is in it."""


def _parsed(path: Path) -> dict[str, dict[str, list[str]]]:
    """The keys of each section with all their values. Fails for what systemd would not understand."""
    found: dict[str, dict[str, list[str]]] = {}
    current = ""
    for line in path.read_text("ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            current = heading[1]
            assert current in SECTIONS
            assert current not in found
            found[current] = defaultdict(list)
            continue
        key, equals, value = line.partition("=")
        assert (equals, key.strip(), value.strip()) == ("=", key, value), line
        found[current][key].append(value)
    return found


def _service(key: str) -> str:
    (value,) = _parsed(UNIT)["Service"][key]
    return value


def _installed(root: Path) -> Path:
    """A tree with the unit and its user in it."""
    machine(root)
    place = root / "etc/systemd/system"
    place.mkdir(parents=True)
    shutil.copytree(CONFIG / "systemd", place, dirs_exist_ok=True)
    return root


def test_the_unit_talks_to_the_manager_as_the_daemon_does() -> None:
    assert "notify" == _service("Type")
    assert "/bin/kill -HUP $MAINPID" == _service("ExecReload")
    assert f"/usr/local/bin/timesync run -c {DEFAULT_FILE}" == _service("ExecStart")
    # The daemon feeds it every half of that, and may be busy for a while.
    assert 10 <= int(_service("WatchdogSec").removesuffix("s")) <= 60
    # The first fix of a receiver is waited for.
    assert "infinity" == _service("TimeoutStartSec")
    unit = _parsed(UNIT)["Unit"]
    assert ["time-sync.target"] == unit["Wants"] == unit["Before"]


def test_its_directories_are_those_of_the_defaults() -> None:
    observe = Observe()
    assert str(Path(observe.control).parent) == f"/run/{_service('RuntimeDirectory')}"
    assert observe.state == f"/var/lib/{_service('StateDirectory')}"
    assert str(Path(DEFAULT_FILE).parent) == f"/etc/{_service('ConfigurationDirectory')}"
    # Read by operators; systemd's own default for it is 0755.
    assert steps.LOGS == f"/var/log/{_service('LogsDirectory')}"
    assert "LogsDirectoryMode" not in _parsed(UNIT)["Service"]


def test_what_another_try_would_not_mend_is_not_tried_again() -> None:
    hopeless = {ExitCode.USAGE, ExitCode.NOT_PERMITTED, ExitCode.MISSING}
    assert hopeless == {int(code) for code in _service("RestartPreventExitStatus").split()}
    assert "on-failure" == _service("Restart")


def test_the_doctor_is_content_with_its_rights(tmp_path: Path) -> None:
    found = this_machine(_installed(tmp_path))
    assert found.unit
    assert _service("User") == found.user.name
    finding = steering.capability(case(found, "sources: [{ntp: 192.0.2.1}]\n"))
    assert (State.OK, "user timesync with CAP_SYS_TIME") == (finding.state, finding.evidence)


def test_its_rights_are_those_that_messages_ask_for_and_no_more() -> None:
    asked: set[str] = set()
    for folder in ("timesync", "drivers"):
        for path in (CONFIG.parent / folder).rglob("*.py"):
            asked |= set(re.findall(r"CAP_(?:SYS|NET)_[A-Z_]*[A-Z]", path.read_text()))
    given = _service("AmbientCapabilities").split()
    assert asked == set(given)
    assert given == _service("CapabilityBoundingSet").split()
    assert "yes" == _service("NoNewPrivileges")


def test_nothing_that_the_code_needs_is_taken_away() -> None:
    service = _parsed(UNIT)["Service"]
    # Each would: setting clocks, devices, seeing other daemons, shared memory with gpsd, our own user's rights.
    for key in ("ProtectClock", "PrivateDevices", "ProtectProc", "ProcSubset", "PrivateIPC", "PrivateUsers"):
        assert key not in service
    families = set(_service("RestrictAddressFamilies").split())
    used = {"AF_INET", "AF_INET6"}
    for path in (CONFIG.parent / "drivers").rglob("*.py"):
        used |= set(re.findall(r"\bsocket\.(AF_[A-Z0-9]+)", path.read_text()))
    assert used - {"AF_UNSPEC"} == families, "AF_UNSPEC is an address, and no kind of socket"


def test_the_filter_of_system_calls_lets_processes_close_the_file_system_to_themselves() -> None:
    allowed = set(_service("SystemCallFilter").split())
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed


def test_devices_are_open_to_the_service() -> None:
    allowed = [value.split() for value in _parsed(UNIT)["Service"]["DeviceAllow"]]
    kinds = {name.removeprefix("char-") for name, rights in allowed if rights == "rw" and name.startswith("char-")}
    assert len(allowed) == len(kinds)
    # PPS, PHC, serial ports of PCs, boards and USB.
    assert {"pps", "ptp", "ttyS", "ttyAMA", "ttyUSB", "ttyACM"} <= kinds
    modules = [line for line in MODULES.read_text("ascii").splitlines() if not line.startswith("#")]
    # Without a driver at the start the service manager cannot open these for later.
    assert ["pps_core", "ptp", "usbserial", "cdc_acm"] == modules


def test_other_time_daemons_are_ended() -> None:
    conflicts = set(_parsed(ALONE)["Unit"]["Conflicts"][0].split())
    names = {*steering._STARTING, *(name for name in steering._UNITS.values() if "*" not in name)}
    assert {f"{name}.service" for name in names} - conflicts == set()
    assert "Conflicts" not in _parsed(UNIT)["Unit"], "a drop-in could not take them away again"


def test_a_link_to_nowhere_switches_the_conflicts_off(tmp_path: Path) -> None:
    """As the how-to says; and nothing else of the unit changes by it."""
    root = _installed(tmp_path)
    assert "Conflicts" in units.settings(root, SERVICE, "Unit")
    drop_in = root / "etc/systemd/system" / f"{SERVICE}.d" / "alone.conf"
    drop_in.unlink()
    drop_in.symlink_to("/dev/null")
    assert "Conflicts" not in units.settings(root, SERVICE, "Unit")
    assert "timesync" == units.settings(root, SERVICE)["User"]
    assert "sudo ln -sf /dev/null /etc/systemd/system/timesync.service.d/alone.conf" in HOW_TO.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    # It looks for the program and asks for the user, neither of which is here.
    text = UNIT.read_text().replace("/usr/local/bin/timesync", sys.executable).replace("User=timesync", "User=root")
    (tmp_path / SERVICE).write_text(text)
    shutil.copytree(ALONE.parent, tmp_path / ALONE.parent.name)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / SERVICE], check=False, capture_output=True, text=True, timeout=60
    )
    # Other units of this machine may have faults of their own.
    assert [] == [line for line in done.stderr.splitlines() if "timesync" in line], done.stderr
    offline = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        f"--threshold={round(EXPOSURE * 10)}",
        UNIT,
    ]
    exposed = subprocess.run(offline, check=False, capture_output=True, text=True, timeout=60)
    figure = re.search(r"exposure level for timesync.service: ([\d.]+)", exposed.stdout)
    assert figure is not None, exposed.stderr
    assert float(figure[1]) <= EXPOSURE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    """That the check above can fail."""
    text = UNIT.read_text().replace("/usr/local/bin/timesync", sys.executable).replace("User=timesync", "User=root")
    (tmp_path / SERVICE).write_text(text.replace("ProtectHome=yes", "ProtectHomes=yes"))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / SERVICE], check=False, capture_output=True, text=True, timeout=60
    )
    assert "ProtectHomes" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
@pytest.mark.skipif(access.current_user().uid != 0, reason="only root may write a user database")
def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", SYSUSERS]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    user = access.find_user(tmp_path, _service("User"))
    assert user is not None
    assert user.uid != 0
    # Serial ports are of dialout in Debian; PPS and PTP devices are of the user's own group by the rules.
    assert {"timesync", "dialout"} == {access.group_name(tmp_path, gid) for gid in user.groups}


# -- udev

_TOKEN = re.compile(r'(?P<key>[A-Z]+)(?:\{(?P<of>[^}]+)\})?(?P<how>==|!=|\+=|:=|=)"(?P<value>[^"]*)"')
_MATCHED = {"ACTION", "SUBSYSTEM", "KERNEL", "ATTR", "ENV"}
_SET = {"GROUP", "MODE", "ENV"}


def _rules() -> list[list[re.Match[str]]]:
    rules = []
    for line in RULES.read_text("ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        tokens = []
        for part in line.split(", "):
            token = _TOKEN.fullmatch(part)
            assert token is not None, f"{RULES.name}: {part}"
            assert token["key"] in (_MATCHED if token["how"] in ("==", "!=") else _SET), part
            tokens.append(token)
        rules.append(tokens)
    return rules


def _applied(**device: str) -> dict[str, str]:
    """What the rules set for a device with these properties."""
    done: dict[str, str] = {}
    for rule in _rules():
        if all(
            fnmatch.fnmatchcase(device.get(token["of"] or token["key"], ""), token["value"]) is (token["how"] == "==")
            for token in rule
            if token["how"] in ("==", "!=")
        ):
            done |= {token["of"] or token["key"]: token["value"] for token in rule if token["how"] == "="}
    return done


@pytest.mark.parametrize(("subsystem", "kernel"), [("pps", "pps0"), ("pps", "pps12"), ("ptp", "ptp0"), ("ptp", "ptp3")])
def test_clocks_and_pulses_are_open_to_the_services_group(subsystem: str, kernel: str) -> None:
    assert {"GROUP": "timesync", "MODE": "0660"} == _applied(ACTION="add", SUBSYSTEM=subsystem, KERNEL=kernel)
    assert _service("User") == "timesync", "whose own group it is"


@pytest.mark.parametrize(
    ("subsystem", "kernel"), [("tty", "ttyS0"), ("block", "sda"), ("misc", "ptp_kvm"), ("mem", "mem")]
)
def test_other_devices_stay_as_they_are(subsystem: str, kernel: str) -> None:
    assert {} == _applied(ACTION="add", SUBSYSTEM=subsystem, KERNEL=kernel)


@pytest.mark.parametrize(
    ("product", "ignored"), [("01a4", True), ("01a8", True), ("01a9", True), ("1102", False), ("01aa", False)]
)
def test_receivers_on_usb_are_no_modems_but_modems_are(product: str, ignored: bool) -> None:
    """u-blox makes both under one vendor id; 1102 is the LISA-U200 modem."""
    usb = {"SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "idVendor": "1546", "idProduct": product}
    assert ignored == ("ID_MM_DEVICE_IGNORE" in _applied(ACTION="add", **usb))
    assert {} == _applied(ACTION="remove", **usb)


def test_every_file_is_installed_and_told_of() -> None:
    text = HOW_TO.read_text()
    contents = {item.content: item.path for item in items(Layout.LOCAL, {}, {})}
    folders = [CONFIG / name for name in ("systemd", "udev", "sysusers.d", "modules-load.d")]
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        place = contents[path.read_bytes()]
        assert place in text or Path(place).parent.name + "/" + path.name in text, path
