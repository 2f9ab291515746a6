"""Debian's mosquitto: a broker, and what it hands to a subscriber."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop_support import OURS, ROOT, Node, our_environment, peer_environment, running, wait_until

sys.path.append(str(ROOT / "tests" / "unit"))

from tls_support import Identity

PORT = 1883


@dataclass(frozen=True)
class Message:
    """What a subscriber got."""

    topic: str
    payload: str
    retained: bool

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Broker:
    """A running mosquitto, and how to talk to it."""

    def __init__(self, node: Node, log: Path, options: tuple[str, ...], process: subprocess.Popen[bytes]) -> None:
        self._node = node
        self._process = process
        self._log = log
        self._options = options

    def messages(self, topic: str, seconds: int = 1, *more: str) -> list[Message]:
        """What comes of a topic in so many seconds; what the broker has kept comes at once."""
        where = ["-h", self._node.address, "-p", str(PORT), *self._options]
        shape = ["-F", "%r %t %p", "-W", str(seconds)]
        done = self._node.peer("mosquitto_sub", *where, *shape, "-t", topic, *more, timeout_s=30 + seconds)
        found = (line.split(" ", 2) for line in done.stdout.splitlines())
        return [Message(topic, payload, flag == "1") for flag, topic, payload in found]

    def kept(self, topic: str) -> Message | None:
        """What the broker keeps under a topic; None when that is nothing."""
        found = self.messages(topic, 1, "--retained-only", "-C", "1")
        return found[0] if found else None

    def says(self, topic: str, payload: str) -> bool:
        """Whether it keeps this."""
        found = self.kept(topic)
        return found is not None and found.payload == payload

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(10)

    def log(self) -> str:
        """What the broker said."""
        return self._log.read_text(errors="replace")


@contextmanager
def mosquitto(node: Node, directory: Path, *lines: str, options: tuple[str, ...] = ()) -> Iterator[Broker]:
    """A broker with these lines of configuration; ``options`` are those of ``mosquitto_sub`` to be let in."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration, log = directory / "mosquitto.conf", directory / "mosquitto.log"
    common = [f"listener {PORT} {node.address}", "user root", "log_type all", "persistence false"]
    configuration.write_text("\n".join([*common, *(lines or ["allow_anonymous true"])]) + "\n")
    command = node.command(["mosquitto", "-c", configuration])
    with running(command, log, peer_environment()) as process:
        broker = Broker(node, log, options, process)

        def listens() -> bool:
            assert process.poll() is None, f"mosquitto ended:\n{broker.log()}"
            with node.entered(), socket.socket() as probe:
                probe.settimeout(1)
                return probe.connect_ex((node.address, PORT)) == 0

        wait_until(listens, 10, "mosquitto listens", broker.log)
        yield broker


def fleet(node: Node, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``timesync fleet`` to its end."""
    command = node.command([*OURS, "fleet", *arguments])
    return subprocess.run(command, env=our_environment(), check=False, capture_output=True, text=True, timeout=60)


def daemon_pid(control: Path) -> int:
    """The daemon's process id, as it says when it is watched."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(control))
        link.sendall(b'{"command": "watch", "kinds": ["event"]}\n')
        with link.makefile() as lines:
            return int(json.loads(lines.readline())["pid"])


def observer_pid(daemon: int) -> int:
    """Of its observer process."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    found = [int(pid) for pid in children if b"timesync.observe.process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    (pid,) = found
    return pid


def write_identity(directory: Path, name: str, identity: Identity) -> tuple[Path, Path]:
    """A certificate and its key as files."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    certificate.write_bytes(identity.pem)
    key.write_bytes(identity.key_pem)
    key.chmod(0o600)
    return certificate, key
