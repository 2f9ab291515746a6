"""What the daemon tells those who watch it: JSON objects, one a line, each with its type and moment.

``hello`` comes first; then ``state`` once a second, the objects of ``timesync status``, ``sources`` and ``ports`` of
one moment; ``clients`` every ten seconds; ``event`` as things happen. A watcher that does not read fast enough misses
whole messages, never parts of them: the next message that it gets says how many, as ``missed``.

Only who asks for it gets ``measurement``: batches of rows (``timesync.observe.records.rows``), all that the core is
told and all that is done to the clocks. The first of them begins with a row of kind ``begin``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from timesync.base.machine import Noted
from timesync.observe.clients import Clientele
from timesync.observe.records.rows import Row
from timesync.observe.snapshot import SCHEMA, Snapshot

HELLO: Final = "hello"
STATE: Final = "state"
EVENT: Final = "event"
CLIENTS: Final = "clients"
MEASUREMENT: Final = "measurement"
USUAL: Final = (STATE, EVENT, CLIENTS)
"""What a watcher gets unless it asks for something else; ``hello`` comes in any case."""

KINDS: Final = (*USUAL, MEASUREMENT)
"""What a watcher may ask for."""

LONGEST: Final = 4 << 20
"""Octets of a line."""


class StreamError(Exception):
    """What came is not a stream of the daemon; the message is for the user."""


def hello(version: str, host: str, pid: int) -> dict[str, Any]:
    """Who speaks.

    Args:
        version: Of timesync.
        host: The machine's name.
        pid: The daemon's process id; another one is another run of the daemon.
    """
    return {"type": HELLO, "schema": SCHEMA, "version": version, "host": host, "pid": pid}


def state(snapshot: Snapshot, utc_ns: int, process: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The appliance at one moment.

    Args:
        snapshot: Its state.
        utc_ns: UTC by the system clock, as in logs; ns since 1970.
        process: What the daemon takes of the machine, ``timesync_drivers.usage.Usage``; None: not known.
    """
    return {
        "type": STATE,
        "utc_ns": utc_ns,
        "status": snapshot.status(),
        "sources": snapshot.sources()["sources"],
        "ports": snapshot.port_list()["ports"],
        "process": process,
    }


def event(noted: Noted, utc_ns: int) -> dict[str, Any]:
    """Something that happened, in words; ``name`` is stable, ``text`` is for people."""
    return {
        "type": EVENT,
        "utc_ns": utc_ns,
        "level": noted.level,
        "name": noted.name,
        "source": noted.source,
        "text": noted.text,
    }


def clients(clientele: Clientele, utc_ns: int) -> dict[str, Any]:
    """Who has asked, as in ``timesync clients``: ``recorded``, ``known`` and the rows ``clients``."""
    return {"type": CLIENTS, "utc_ns": utc_ns, **clientele.listing()}


def measurement(rows: Sequence[Row]) -> dict[str, Any]:
    """A batch of rows: their columns by name, and the values of each; spans are whole units of 2^-16 ns."""
    return {"type": MEASUREMENT, "columns": Row._fields, "rows": rows}


def encode(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line. Raises StreamError."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StreamError("a line that is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise StreamError("a line that is not a message")
    return message


class Lines:
    """Splits what arrives into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are whole now. Raises StreamError for one longer than ``LONGEST``."""
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            yield line
        if len(self._rest) > LONGEST:
            raise StreamError("a line without an end")
