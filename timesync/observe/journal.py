"""What the daemon writes to its log: one line or one JSON object for each event, bounded in rate."""

from __future__ import annotations

import json
import logging
import time
from typing import Literal

from timesync.base.machine import Noted

_LINES_PER_S = 5.0
_BURST = 50.0
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Levels and syslog's numbers for them; below all of them is 7."""
LOGGER = logging.getLogger("timesync")


class _Text(logging.Formatter):
    """``warning: sentence``; the time is the journal's to add when systemd reads us."""

    def __init__(self, *, stamped: bool) -> None:
        super().__init__("%(asctime)s %(message)s" if stamped else "%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line; what a terminal would act on is escaped."""
        text = super().format(record)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in f"{level}{text}")


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            "time": record.created,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "source": getattr(record, "source", None),
            "text": record.getMessage(),
        }
        return json.dumps(fields)


class _Prioritized(logging.Formatter):
    """Lines that begin with syslog's priority as ``<4>``, which systemd's journal takes off (``sd-daemon(3)``)."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return f"<{priority}>{self._inner.format(record)}"


def set_up(
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["text", "json"],
    *,
    stamped: bool,
    prioritized: bool = False,
) -> None:
    """Write to standard error from now on.

    Args:
        level: What is less important is not written.
        form: Sentences, or objects for programs.
        stamped: Sentences begin with the time.
        prioritized: systemd's journal reads: it is told how important each line is, for ``journalctl -p``.
    """
    formatter = _Json() if form == "json" else _Text(stamped=stamped)
    handler = logging.StreamHandler()
    handler.setFormatter(_Prioritized(formatter) if prioritized else formatter)
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(_LEVELS[level])
    LOGGER.propagate = False


class Journal:
    """Writes notes, at most a few a second: what a remote can cause must not fill a disk (CVE-2010-0294)."""

    def __init__(self) -> None:
        self._tokens = _BURST
        self._at = time.monotonic()
        self._suppressed = 0

    def note(self, noted: Noted) -> None:
        """Write one note, or count it when there are too many."""
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * _LINES_PER_S, _BURST)
        self._at = now
        if self._tokens < 1:
            self._suppressed += 1
            return
        self._tokens -= 1
        if self._suppressed:
            LOGGER.warning("%d lines were left out", self._suppressed)
            self._suppressed = 0
        extra = {"event": noted.name, "source": noted.source}
        LOGGER.log(_LEVELS[noted.level], "%s", noted.text, extra=extra)
