"""What parts of the observer have in common: their work does not end unseen, and they have no way to anything."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tls_support import make_identity

from timesync.config.observe import Observe
from timesync.observe.hub import Hub
from timesync.observe.parts import Desk, Settings
from timesync.runtime.child import environment_of_child
from timesync_drivers.confine import NOBODY


async def fails() -> None:
    raise LookupError("a bug")


def test_work_that_fails_is_said_and_ends_the_process() -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        daemon, other = await asyncio.open_connection(sock=ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        desk = Desk(Settings(Observe(), None, {}, {}), Hub(), writer)
        sleeping = desk.begin("sleeping", asyncio.sleep(1000))
        sleeping.cancel()
        await asyncio.wait([sleeping])
        assert not reader.at_eof()
        failing = desk.begin("failing", fails())
        async with asyncio.timeout(10):
            # What the process waits for: it ends with the stream.
            assert b"" == await reader.read()
            said = json.loads(await daemon.read())
        assert ("error", "failing", "failing failed: LookupError('a bug')") == (
            said["level"],
            said["name"],
            said["text"],
        )
        assert failing.done()
        other.close()

    asyncio.run(story())


INSIDE = """
import json, os, socket, sys
from pathlib import Path
from timesync.config.observe import Observe
from timesync.observe.parts import Settings
from timesync.observe import process
state, key, parent = sys.argv[1], sys.argv[2], os.getppid()
forbid, has_landlock = process.forbid_files, []
process.forbid_files = lambda *where, **what: has_landlock.append(forbid(*where, **what))
process.confine(Settings(Observe(), state, {}, {}))

def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"

print(json.dumps({
    "shadow": tried(lambda: open("/etc/shadow").read()),
    "key": tried(lambda: open(key).read()),
    "users": tried(lambda: open("/etc/passwd").read()),
    "parent": tried(lambda: open(f"/proc/{parent}/environ").read()),
    "raw": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 1)),
    "connect": tried(lambda: socket.socket().connect(("127.0.0.1", 9))),
    "elsewhere": tried(lambda: Path(key).with_name("written").write_text("x")),
    "delete": tried(lambda: os.unlink(key)),
    "state": tried(lambda: Path(state, "kept").write_text("x")),
    "landlock": has_landlock,
    "rights": [line for line in open("/proc/self/status") if line.startswith("CapEff")],
}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody without rights")
def test_code_that_runs_in_the_observer_reads_no_key_and_has_no_rights(tmp_path: Path) -> None:
    key, state = tmp_path / "key.pem", tmp_path / "state"
    key.write_text("readable by everybody, by a mistake")
    state.mkdir()
    # Pytest's own directories are for their owner alone.
    ours = [path for path in (tmp_path, *tmp_path.parents) if path.name.startswith(("pytest-", "popen-", "test_"))]
    for path in (state, key, *ours):
        path.chmod(0o755)
    os.chown(state, NOBODY, NOBODY)
    environment = os.environ | {"PYTHONPATH": environment_of_child({})["PYTHONPATH"]}
    command = [sys.executable, "-P", "-s", "-c", INSIDE, str(state), str(key)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert ["CapEff:\t0000000000000000\n"] == got.pop("rights")
    assert "done" == got.pop("state")
    if got.pop("landlock") != [True]:
        pytest.skip("a kernel without Landlock: what others may read can be read")
    assert {"PermissionError"} == set(got.values()), got


TRUSTING = """
import json, ssl, sys
from timesync.config.observe import Observe
from timesync.observe.parts import Settings
from timesync.observe import process
broker, *paths = sys.argv[1:]
confined = process.confine(Settings(Observe.model_validate({"mqtt": {"broker": broker}}), None, {}, {}))

def read(path):
    try:
        return bool(open(path).read())
    except PermissionError:
        return False

roots = len(ssl.create_default_context().get_ca_certs()) if read(paths[0]) else 0
print(json.dumps([confined, roots, *map(read, paths[1:])]))
"""


@pytest.mark.parametrize(
    ("broker", "roots", "linked"), [("mqtts://broker.example", 1, True), ("mqtt://broker.example", 0, False)]
)
def test_certificates_that_openssl_is_told_to_trust_can_be_read_where_any_are_verified(
    tmp_path: Path, broker: str, roots: int, *, linked: bool
) -> None:
    root, kept, store = make_identity("Root", authority=True).pem, tmp_path / "kept", tmp_path / "store"
    for directory in (kept, store):
        directory.mkdir()
    named, target, other = tmp_path / "named.pem", kept / "target.pem", kept / "other.pem"
    for file in (named, target, other):
        file.write_bytes(root)
    (store / "0123abcd.0").symlink_to(target)
    # OpenSSL opens no such: what else is there is none of our business.
    (store / "more").symlink_to(kept)
    # Pytest's own directories are for their owner alone.
    for path in (tmp_path, *tmp_path.parents):
        if path.name.startswith(("pytest-", "popen-", "test_")):
            path.chmod(0o755)
    environment = environment_of_child({}) | {"SSL_CERT_FILE": str(named), "SSL_CERT_DIR": f"/nowhere:{store}"}
    paths = [str(path) for path in (named, store / "0123abcd.0", target, other)]
    command = [sys.executable, "-P", "-s", "-c", TRUSTING, broker, *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    confined, *got = json.loads(done.stdout)
    if not confined:
        pytest.skip("a kernel without Landlock: what others may read can be read")
    assert [roots, linked, linked, False] == got
