"""What must survive a restart, in the state directory, and what is said when that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.daemon import memory
from timesync.host import Host
from timesync.servo.command import ClockMemory

_CALIBRATION = "calibration.json"
_LARGEST = 65_536


class Keeper:
    """Loads and saves, and remembers what could not be."""

    def __init__(self, host: Host, directory: Callable[[], str], note: Callable[[Noted], None]) -> None:
        """Nothing is read yet.

        Args:
            host: Whose storage.
            directory: What the state directory is called, for people.
            note: Takes what should be said.
        """
        self._host = host
        self._directory = directory
        self._note = note
        self.warnings: dict[str, str] = {}
        self._clocks: dict[ClockId, ClockMemory] = {}
        self._calibration = self._load_calibration()

    def clocks(self) -> dict[ClockId, ClockMemory]:
        """What is remembered of the clocks."""
        try:
            data = self._host.load(memory.FILE)
            found = {} if data is None else memory.decode(data)
        except (OSError, memory.DriftFileError) as error:
            self._warn("drift", f"the drift file cannot be used ({error}): starting without a known frequency")
            return {}
        self._clocks = {**found, **self._clocks}
        return found

    def calibration(self, name: str) -> Mapping[str, object]:
        """What a source had learnt of its own delays, for it to check; empty when nothing."""
        return self._calibration.get(name, {})

    def save(self, clocks: Mapping[ClockId, ClockMemory], calibrations: Mapping[str, Mapping[str, object]]) -> None:
        """Keep what was learnt of clocks, and by sources of themselves."""
        self._calibration.update({name: dict(values) for name, values in calibrations.items() if values})
        files = {}
        # A card that is away, or a clock not measured yet, keeps what was known of it.
        self._clocks.update(clocks)
        if self._clocks:
            files[memory.FILE] = memory.encode(self._clocks)
        if self._calibration:
            files[_CALIBRATION] = json.dumps(self._calibration, indent=1).encode() + b"\n"
        if not files:
            return
        try:
            for name, data in files.items():
                self._host.save(name, data)
        except OSError as error:
            text = (
                f"what was learnt cannot be saved in {self._directory()}: {error.strerror or error}; "
                "after a restart the frequency is learnt anew"
            )
            if self.warnings.get("state") != text:
                self._warn("state", text)
        else:
            self.warnings.pop("state", None)
            if self.warnings.pop("drift", None) is not None:
                self._note(Noted("info", "drift", "the drift file was written anew"))

    def _load_calibration(self) -> dict[str, dict[str, object]]:
        """An object for each source; what is in it the source itself must check."""
        try:
            data = self._host.load(_CALIBRATION)
            document = {} if data is None or len(data) > _LARGEST else json.loads(data)
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(document, dict):
            return {}
        return {str(name): values for name, values in document.items() if isinstance(values, dict)}

    def _warn(self, key: str, text: str) -> None:
        self.warnings[key] = text
        self._note(Noted("warning", key, text))
