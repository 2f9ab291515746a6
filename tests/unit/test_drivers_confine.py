"""Rights are taken away in a child each, as nothing of it can be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from timesync.runtime.child import environment_of_child

STATUS = "print(*(line for line in open('/proc/self/status')), sep='')"


def child(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": environment_of_child({})["PYTHONPATH"]}
    code = "from timesync_drivers.confine import *\n" + code
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def status(code: str) -> dict[str, str]:
    done = child(f"{code}\n{STATUS}")
    assert done.returncode == 0, done.stderr
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


def test_all_capabilities_go_even_those_of_root() -> None:
    got = status("drop_capabilities()")

    assert ["0" * 16] * 4 == [got[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    assert got["NoNewPrivs"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_nobody_for_good() -> None:
    got = status("become_nobody()")

    assert ["65534"] * 4 == got["Uid"].split()
    assert ["65534"] * 4 == got["Gid"].split()
    assert got["Groups"].split() == []
    assert child("import os; become_nobody(); os.setuid(0)").returncode != 0


def test_no_children() -> None:
    done = child("import os\nbecome_nobody(); drop_capabilities(); forbid_children()\nos.fork()")

    assert "BlockingIOError" in done.stderr


def test_an_orphan_exits_at_once() -> None:
    assert child("die_with_parent(1 << 30)\nprint('still here')").stdout == ""
    assert child("import os\ndie_with_parent(os.getppid())\nprint('still here')").stdout == "still here\n"


def kernel(*least: int) -> bool:
    return tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= least


def landlock() -> bool:
    return child("drop_capabilities()\nimport sys\nassert forbid_files(sys.path)").returncode == 0


needs_landlock = pytest.mark.skipif(not landlock(), reason="Linux 5.13 with Landlock")


@needs_landlock
def test_no_files_but_those_of_directories_that_are_allowed(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    ours, theirs = tmp_path / "ours/file", tmp_path / "theirs/file"
    limited = f"""
import os, socket
open_before = open({str(theirs)!r})
drop_capabilities()
assert forbid_files([{str(ours.parent)!r}, "/nowhere"])
print(open({str(ours)!r}).read(), open_before.read())
for attempt in (
    lambda: open({str(theirs)!r}),
    lambda: open({str(ours)!r}, "w"),
    lambda: os.listdir({str(tmp_path)!r}),
    lambda: open(f"/proc/{{os.getppid()}}/environ"),
):
    try:
        attempt()
    except PermissionError:
        print("denied")
"""
    done = child(limited)
    assert ("ours theirs\n" + "denied\n" * 4, 0) == (done.stdout, done.returncode), done.stderr


@needs_landlock
def test_files_may_be_kept_where_that_is_allowed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    single = tmp_path / "single"
    single.write_text("single")
    limited = f"""
import os
drop_capabilities()
assert forbid_files([{str(single)!r}], [{str(kept)!r}])
os.chdir({str(kept)!r})
os.mkdir("below")
with open("a", "w") as file:
    file.write("text")
os.rename("a", "below/b")
with open("below/b", "r+") as file:
    file.truncate(2)
print(open("below/b").read(), open({str(single)!r}).read())
os.remove("below/b"); os.rmdir("below")
for attempt in (
    lambda: open({str(tmp_path / "other")!r}, "w"),
    lambda: open({str(single)!r}, "w"),
    lambda: os.symlink("a", "b"),
):
    try:
        attempt()
    except PermissionError:
        print("denied")
"""
    done = child(limited)
    assert ("te single\n" + "denied\n" * 3, 0) == (done.stdout, done.returncode), done.stderr


@pytest.mark.skipif(not kernel(6, 7), reason="Linux 6.7 denies TCP by Landlock")
@needs_landlock
def test_tcp_connections_are_made_only_where_that_is_allowed() -> None:
    tried = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
drop_capabilities()
import sys
assert forbid_files(sys.path, connect={})
where = listening.getsockname()
for attempt in (
    lambda: socket.create_connection(where),
    lambda: socket.create_connection(where, source_address=("", 0)),
    lambda: socket.create_server(("127.0.0.1", port)),
):
    try:
        attempt()
        print("done")
    except PermissionError:
        print("denied")
"""
    assert "denied\n" * 3 == child(tried.format(False)).stdout
    assert "done\ndone\ndenied\n" == child(tried.format(True)).stdout


@needs_landlock
def test_a_process_without_files_has_no_way_into_others() -> None:
    """PTRACE_SEIZE of one that has the same user and no more rights."""
    seize = """
import ctypes, os
drop_capabilities()
libc = ctypes.CDLL(None)
(reading, writing), target = os.pipe(), os.fork()
if target == 0:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
{}
print(libc.ptrace(0x4206, target, None, None), flush=True)
"""
    free = child(seize.format("")).stdout
    if free != "0\n":
        pytest.skip("Yama forbids it to all")
    assert "-1\n" == child(seize.format("assert forbid_files([])")).stdout


def test_nobody_of_the_same_user_looks_into_a_process_that_forbids_it() -> None:
    look = """
import ctypes, os, time
become_nobody(); drop_capabilities()
# As after an exec; to become somebody else has taken it away.
ctypes.CDLL(None).prctl(4, 1)
reading, writing = os.pipe()
if os.fork() == 0:
    {}
    os.write(writing, b"!")
    time.sleep(30)
    os._exit(0)
target = int(open(f"/proc/self/task/{{os.getpid()}}/children").read())
os.read(reading, 1)
try:
    open(f"/proc/{{target}}/environ").read(); print("seen")
except PermissionError:
    print("denied")
os.kill(target, 9)
"""
    assert "seen\n" == child(look.format("pass")).stdout
    assert "denied\n" == child(look.format("forbid_inspection()")).stdout


@pytest.mark.skipif(not kernel(6, 3), reason="Linux 6.3")
def test_no_memory_is_both_written_and_executed() -> None:
    both = "import mmap\n{}\nmmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)"
    assert child(both.format("")).returncode == 0
    assert "PermissionError" in child(both.format("assert forbid_new_code()")).stderr
