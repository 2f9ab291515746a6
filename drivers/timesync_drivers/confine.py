"""Take rights away from the calling process: prctl, capset, Landlock and identities. Nothing here can be undone."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import struct
from collections.abc import Iterable

_PR_SET_DUMPABLE = 4
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_MDWE = 65
_PR_MDWE_REFUSE_EXEC_GAIN = 1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x2008_0522
NOBODY = 65534
# linux/landlock.h; the numbers of the system calls are the same on every architecture that Python runs on.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""The rights that a file can have that is no directory."""

_READING = _READ_FILE | _READ_DIR
_KEEPING = _READING | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_BIND_TCP = 1 << 0
_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_PORTS = {4: 3}
_SCOPES = {6: 3}
"""What can be denied, by the version that brought it: files; TCP ports; abstract sockets and signals."""

_UNKNOWN = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM}
"""The kernel is too old, it was built or started without, or a filter of system calls does not know it."""

_libc = ctypes.CDLL(None, use_errno=True)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_nobody() -> None:
    """Give up root's identity, if it is ours: user and group nobody, no further groups. Raises OSError."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def drop_capabilities() -> None:
    """Empty the permitted, effective, inheritable and ambient sets for good. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def forbid_children() -> None:
    """No further processes or threads, no core files (they would hold keys)."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies; to be called last, as a change of identity cancels it. Raises OSError.

    ``parent`` is its process id: when it is gone already, the signal would never come, so this exits at once.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def forbid_inspection() -> None:
    """Nobody but root may look into this process, by ptrace or /proc, not even others of its user. Raises OSError.

    To be called after a change of identity, which sets it anew.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_code() -> bool:
    """No memory that can be written may be executed, now or later; False where Linux has no such thing (before 6.3)."""
    try:
        _prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


def landlock() -> int:
    """The version of Landlock's interface; 0 where Linux has none (before 5.13, or not switched on)."""
    version: int = _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION))
    return max(version, 0)


def unconfined(who: str) -> str:
    """What there is to say of a process for which ``forbid_files`` gave False."""
    return f"this kernel has no Landlock: {who} may read whatever its user may"


def forbid_files(readable: Iterable[str], writable: Iterable[str] = (), *, connect: bool = False) -> bool:
    """Open no files any more, whoever may read them, but those named here, and those below directories; by Landlock.

    What is open stays open. TCP ports, abstract sockets and signals to other processes are denied too, where Linux can,
    and so is ptrace. To be called after ``drop_capabilities``. Raises OSError; False where Linux has no such thing.

    Args:
        readable: What may be read.
        writable: Where files may be made, changed and removed as well.
        connect: TCP connections may be made, from a port that the kernel chooses; none may be taken at a port of
            one's own choice.
    """
    version = landlock()
    if not version:
        return False
    files, ports, scopes = (
        sum(bits for since, bits in kind.items() if since <= version) for kind in (_FILES, _PORTS, _SCOPES)
    )
    rules = struct.pack("=3Q", files, ports & _BIND_TCP if connect else ports, scopes)
    try:
        ruleset = _landlock(_LANDLOCK_CREATE, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint32(0))
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    try:
        for path in readable:
            _allow(ruleset, path, _READING & files)
        for path in writable:
            _allow(ruleset, path, _KEEPING & files)
        if connect and ports & _BIND_TCP:
            # Port 0 is any free one: libraries bind to it before they connect.
            rule = struct.pack("=2Q", _BIND_TCP, 0)
            _landlock(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(_NET_PORT), rule, ctypes.c_uint32(0))
        _landlock(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # What cannot be reached need not be allowed.
        return
    try:
        fitting = rights if stat.S_ISDIR(os.fstat(descriptor).st_mode) else rights & _OF_FILES
        rule = struct.pack("=Qi", fitting, descriptor)
        _landlock(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _landlock(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
