"""Looks at the service from beside it, in the machine of booted.sh; run by the package's own interpreter.

inside_booted.py identity         a certificate and its key, where the configuration names them
                 landlock         0 when the kernel has it
                 processes PID    who runs below the daemon, as whom, with which rights
                 sandbox PID      what the daemon sees of the machine
                 pages            metrics, web page, chronyc's port and the file of measurements
"""

from __future__ import annotations

import ctypes
import datetime as dt
import ipaddress
import os
import pwd
import socket
import sys
import urllib.request
from pathlib import Path

ETC = Path("/etc/timesync")
CAPABILITIES = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13, "sys_time": 25}
"""Those of the unit, with their numbers (linux/capability.h)."""
GRANTED = sum(1 << number for number in CAPABILITIES.values())
PARTS = ("timesync run", "timesync.runtime.ke_worker", "timesync.runtime.serve_worker", "timesync.observe.process")
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1


def identity() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "trial")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).add_extension(x509.SubjectAlternativeName([address]), critical=False)
    day = dt.timedelta(1)
    certificate = builder.not_valid_before(now - day).not_valid_after(now + 90 * day).sign(key, hashes.SHA256())
    (ETC / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (ETC / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    user = pwd.getpwnam("timesync")
    (ETC / "key.pem").chmod(0o600)
    os.chown(ETC / "key.pem", user.pw_uid, user.pw_gid)


def landlock() -> None:
    version = ctypes.CDLL(None).syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    sys.exit(0 if version > 0 else 1)


def processes(daemon: str) -> None:
    pids = [daemon, *Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()]
    user = str(pwd.getpwnam("timesync").pw_uid)
    found = []
    for pid in pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        part = next(part for part in PARTS if part in words)
        found.append(part)
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "\t" in line
        )
        assert status["Uid"].split() == [user] * 4, f"{part}: {status['Uid']}"
        granted = GRANTED if part == PARTS[0] else 0
        for name in ("CapEff", "CapPrm", "CapAmb", "CapInh"):
            assert int(status[name], 16) == granted, f"{part}: {name} {status[name]}"
        assert int(status["CapBnd"], 16) == GRANTED, f"{part}: CapBnd {status['CapBnd']}"
        assert ("1", "2") == (status["NoNewPrivs"], status["Seccomp"]), f"{part}: {status}"
    assert sorted(found) == sorted(PARTS), found
    print(f"{len(found)} processes, of which one has capabilities: {', '.join(CAPABILITIES)}")


def sandbox(daemon: str) -> None:
    mounts = {}
    for line in Path(f"/proc/{daemon}/mountinfo").read_text().splitlines():
        fields = line.split()
        mounts[fields[4]] = fields[5].split(",")
    for path in ("/", "/proc/sys", "/sys", "/sys/fs/cgroup"):
        assert "ro" in mounts[path], f"{path} can be written: {mounts}"
    for path in ("/run/timesync", "/var/lib/timesync", "/tmp", "/var/tmp"):
        assert "rw" in mounts[path], f"{path} cannot be written: {mounts}"
    private = Path(f"/proc/{daemon}/root/tmp")
    assert not any(private.iterdir()), "/tmp is not its own"
    assert not any(Path(f"/proc/{daemon}/root/root").iterdir()), "it sees /root"
    own, ours = (Path(f"/proc/{pid}/ns/uts").stat().st_ino for pid in (daemon, "1"))
    assert own != ours, "it could change the name of the host"


def pages() -> None:
    def page(url: str) -> str:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    metrics = page("http://127.0.0.1:9975/metrics")
    assert "\ntimesync_up 1.0\n" in metrics, metrics
    assert '\ntimesync_state{state="locked"} 1.0\n' in metrics, metrics
    assert "<html" in page("http://127.0.0.1:8080/")
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 323))
        except OSError:
            pass
        else:
            raise AssertionError("nobody has chronyc's port")
    files = list(Path("/var/lib/timesync/measurements").iterdir())
    assert sum(file.stat().st_size for file in files) > 0, files


if __name__ == "__main__":
    {"identity": identity, "landlock": landlock, "processes": processes, "sandbox": sandbox, "pages": pages}[
        sys.argv[1]
    ](*sys.argv[2:])
