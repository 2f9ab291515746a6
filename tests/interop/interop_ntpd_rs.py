"""ntpd-rs of several Debian releases, each in a chroot that ``install-ntpd-rs.sh`` has made.

It has no option to leave the clock alone and ends where it may not touch it, so ``kept_clock.so`` takes what it does to
the clock; and like all others it has lost the right to set it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interop_support import Node, running, wait_until

CACHE = Path(
    os.environ.get("TIMESYNC_NTPD_RS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timesync" / "ntpd-rs"
)
KEPT_CLOCK = CACHE / "kept_clock.so"
_ENTER = 'mount --bind "$1" "$2/mnt" && mount --bind "$1/hosts" "$2/etc/hosts" && shift && exec chroot "$@"'
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_CAP_SYS_TIME = 1 << 25


@dataclass(frozen=True)
class Release:
    """A Debian release, named as its chroot is.

    Attributes:
        name: Code name.
        draft: Of NTPv5, as this release's build speaks it; empty: it speaks none.
        pools: Whether this build knows NTS pools.
    """

    name: str
    draft: str = ""
    pools: bool = False

    @property
    def root(self) -> Path:
        """The chroot."""
        return CACHE / self.name


TRIXIE = Release("trixie")
FORKY = Release("forky", draft="draft-ietf-ntp-ntpv5-08", pools=True)


@functools.cache
def missing_ntpd_rs() -> str | None:
    """Why these tests cannot run here; None if they can."""
    if os.geteuid() != 0:
        return "tests with ntpd-rs make network namespaces and chroots, which needs root"
    for name in ("ip", "setpriv", "openssl"):
        if shutil.which(name) is None:
            return f"the program {name} is not installed"
    for release in (TRIXIE, FORKY):
        if not (release.root / "usr/bin/ntp-daemon").exists() or not KEPT_CLOCK.exists():
            return f"there is no ntpd-rs in {release.root}: run tests/interop/install-ntpd-rs.sh, or bin/test ntpd-rs"
    return None


class NtpdRs:
    """A running ntp-daemon."""

    def __init__(self, node: Node, release: Release, directory: Path, log: Path) -> None:
        self._node = node
        self._release = release
        self._directory = directory
        self._log = log

    def metrics(self) -> dict[str, list[tuple[Mapping[str, str], float]]]:
        """All that ``ntp-ctl status`` tells: labels and value by name; empty while the daemon does not answer."""
        command = _command(self._node, self._release, self._directory, "ntp-ctl", "status", "-f", "prometheus")
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        if done.returncode == 0:
            for name, labels, value in _SAMPLE.findall(done.stdout):
                found.setdefault(name, []).append((dict(_LABEL.findall(labels)), float(value)))
        return found

    def metric(self, name: str) -> float | None:
        """The first value of one metric; None while there is none."""
        found = self.metrics().get(name)
        return found[0][1] if found else None

    def version(self) -> str:
        """Its own, as it tells it."""
        return self.metrics()["ntp_uptime_seconds"][0][0]["version"]

    def synchronized(self, stratum: int) -> bool:
        """Whether it follows a server of the stratum above this one and has measured it since its last question."""
        found = {name: values[0][1] for name, values in self.metrics().items()}
        return (
            found.get("ntp_system_stratum") == stratum
            and found["ntp_system_leap_indicator"] == 0
            and found.get("ntp_source_unanswered_polls") == 0
        )

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


@contextmanager
def ntpd_rs(
    node: Node,
    release: Release,
    directory: Path,
    configuration: str,
    *,
    files: Sequence[Path] = (),
    hosts: Mapping[str, str] | None = None,
    local_stratum: int = 16,
) -> Iterator[NtpdRs]:
    """A release's ntp-daemon with this configuration.

    Args:
        node: Where.
        release: Which.
        directory: For what it needs; it sees it as ``/mnt``.
        configuration: Sources and servers, in TOML.
        files: Certificates and keys, which it finds in ``/mnt``.
        hosts: Names that it knows, and their addresses.
        local_stratum: What it serves before it follows anybody; 16: no time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = {"localhost": "127.0.0.1", **(hosts or {})}
    (directory / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    for file in (KEPT_CLOCK, *files):
        shutil.copy(file, directory)
    (directory / "ntp.toml").write_text(f"""
[observability]
log-level = "debug"
ansi-colors = false
observation-path = "/mnt/observe"
[synchronization]
minimum-agreeing-sources = 1
local-stratum = {local_stratum}
[source-defaults]
poll-interval-limits = {{min = 0, max = 1}}
initial-poll-interval = 0
{configuration}
""")
    log = directory / "ntpd-rs.log"
    command = _command(node, release, directory, "env", f"LD_PRELOAD=/mnt/{KEPT_CLOCK.name}", "ntp-daemon")
    with running(command, log, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}) as process:
        daemon = NtpdRs(node, release, directory, log)

        def answers() -> bool:
            assert process.poll() is None, f"ntp-daemon ended:\n{daemon.log()}"
            return bool(daemon.metrics())

        wait_until(answers, 10, "ntp-daemon answers ntp-ctl", daemon.log)
        _cannot_set_the_clock(process.pid)
        yield daemon


def server(port: int = 123, more: str = "") -> str:
    """An NTP server."""
    return f'[[server]]\nlisten = "0.0.0.0:{port}"\n{more}\n'


def key_server(certificate: Path, more: str = "") -> str:
    """NTS-KE with this certificate, and the key that is beside it."""
    return f"""[[nts-ke-server]]
listen = "0.0.0.0:4460"
certificate-chain-path = "/mnt/{certificate.name}"
private-key-path = "/mnt/{certificate.with_suffix(".key").name}"
{more}
"""


def source(mode: str, address: str, more: str = "") -> str:
    """A source."""
    return f'[[source]]\nmode = "{mode}"\naddress = "{address}"\n{more}\n'


def trusting(authority: Path) -> str:
    """In a source with NTS: who its certificate is by."""
    return f'certificate-authority = "/mnt/{authority.name}"'


def _command(node: Node, release: Release, directory: Path, *words: str) -> list[str]:
    inside = [*words, "-c", "/mnt/ntp.toml"]
    return node.command(["sh", "-c", _ENTER, "sh", directory, release.root, *inside])


def _cannot_set_the_clock(pid: int) -> None:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("CapEff", "CapPrm", "CapBnd"):
            assert int(value, 16) & _CAP_SYS_TIME == 0, f"ntp-daemon may set this machine's clock: {line}"
