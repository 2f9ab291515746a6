"""What the running daemon says of itself, over its control socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from timesync.daemon.doctor.case import Case, Running
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, skip, warn
from timesync.observe.control import ControlError, ask

_CREDENTIALS = struct.Struct("=iII")
_USED = ("selected", "candidate")
_QUIET = ("waiting", "excluded")
"""Nothing is wrong with a source that is not used by its own configuration, or not yet."""
_PATIENCE_S = 2.0


def reach(path: str) -> tuple[Running | None, str]:
    """The daemon on this socket, and why there is none in words."""
    try:
        status, sources = ask(path, "status"), ask(path, "sources")
    except ControlError as error:
        return None, str(error)
    return Running(_peer(path), status, tuple(sources.get("sources", ()))), ""


def _peer(path: str) -> int | None:
    """The process at the other end (unix(7): SO_PEERCRED)."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_PATIENCE_S)
            link.connect(path)
            pid, _, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return None
    return int(pid)


def examine(case: Case) -> Iterator[Finding]:
    """The daemon, its sources and its warnings."""
    running, socket_path = case.running, case.config.observe.control
    if running is None:
        if "may not be opened" in case.silence:
            yield fail("TS-RUN-001", socket_path, case.silence, "sudo timesync doctor", cause=Cause.PERMISSION)
        else:
            yield skip("TS-RUN-001", socket_path, case.silence, f"sudo timesync run {case.argument}")
        return
    status = running.status
    subject = "timesync" if running.pid is None else f"timesync (process {running.pid})"
    evidence = f"{status['state']}: {status['reason']}"
    if status["state"] in ("freerun", "fault"):
        remedy = "timesync why"
        yield warn("TS-RUN-001", subject, evidence, remedy, "The daemon runs, but has no time to give.")
    else:
        yield ok("TS-RUN-001", subject, evidence)
    for source in running.sources:
        yield _source(source)
    for warning in status["warnings"]:
        yield warn("TS-RUN-003", subject, str(warning), "timesync why")


def _source(source: dict[str, object]) -> Finding:
    name, state = str(source["name"]), str(source["state"])
    evidence = f"{state}: {source['reason']}"
    if state in _USED:
        return ok("TS-RUN-002", name, evidence)
    if state in _QUIET:
        return ok("TS-RUN-002", name, evidence, "The daemon does not use it, as its reason says.")
    return warn("TS-RUN-002", name, evidence, f"timesync why '{name}'")
