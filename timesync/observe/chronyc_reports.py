"""The daemon's state in chrony's terms.

A reference clock has no address; chronyc knows it by four letters. Here they are three that say what kind it is and
its number among those: PPS0, GPS0, PHC0. Servers of Roughtime are no sources in chrony's sense and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from timesync.base.ids import reference_id
from timesync.nts.aead import AeadId
from timesync.wire import candm_sources as of_source
from timesync.wire import candm_system as of_daemon
from timesync.wire.candm import MAX_CLIENTS, UNSPECIFIED, Address, ClientRange, Family
from timesync.wire.candm_sources import NEVER, NO_INTERVAL, Option

Row = Mapping[str, Any]

_LEAPS: Final = {"none": 0, "insert": 1, "delete": 2, "unknown": 3}
_NETWORK: Final = frozenset({"ntp", "pool"})
_REFERENCES: Final = {"nmea": "GPS", "ubx": "GPS", "gpsd": "GPS"}
_SERVER_MODE: Final = 4
_UNKNOWN_SKEW_PPM: Final = 2000.0
_UNKNOWN_DEVIATION_S: Final = 4.0
"""What chronyd says of a source that has not been measured."""

_KEY_TYPES: Final = {"MD5": 1, "SHA1": 2, "SHA256": 3, "SHA384": 4, "SHA512": 5, "AES128": 13, "AES256": 14}
_STAMPS: Final = {"daemon": ord("D"), "kernel": ord("K"), "hardware": ord("H")}
_WORD: Final = 0xFFFF_FFFF

_STATES: Final = {
    "selected": (of_source.SourceState.COMBINED, "+"),
    "candidate": (of_source.SourceState.NOT_COMBINED, "W"),
    "falseticker": (of_source.SourceState.FALSETICKER, "x"),
    "unreachable": (of_source.SourceState.NONSELECTABLE, "S"),
    "waiting": (of_source.SourceState.NONSELECTABLE, "M"),
    "excluded": (of_source.SourceState.NONSELECTABLE, "s"),
}
"""For ``chronyc sources``, and the letter of ``chronyc selectdata``."""


class Source:
    """One source.

    Attributes:
        row: Its entry in the daemon's state.
        address: Its address; the number of one that has none yet; UNSPECIFIED for a reference clock.
        port: UDP port; 0 without an address.
        reference: Its reference id as chronyc shows it.
    """

    def __init__(self, row: Row, index: int, number: int) -> None:
        self.row = row
        self.address, self.port = UNSPECIFIED, 0
        if row["kind"] not in _NETWORK:
            # The number of the letters that there is no room for goes over them.
            digits = str(number)
            letters = _letters(row).ljust(3)[: max(4 - len(digits), 0)][:3] + digits
            self.reference = letters.encode("ascii", "replace")[:4].ljust(4, b"\0")
            return
        host, _, port = (row["address"] or "").rpartition(":")
        try:
            self.address, self.port = Address.of(host.strip("[]")), int(port)
            self.reference = reference_id(host.strip("[]"))
        except ValueError:
            self.address, self.port, self.reference = Address.numbered(index + 1), 0, bytes(4)

    @property
    def local(self) -> bool:
        """Whether it is a reference clock."""
        return self.address is UNSPECIFIED

    @property
    def number(self) -> int:
        """Its reference id as a number."""
        return int.from_bytes(self.reference, "big")

    def options(self) -> int:
        """What the configuration says of it."""
        noselect, trust = self.row.get("noselect"), self.row.get("trusted")
        return (Option.NOSELECT if noselect else 0) | (Option.TRUST if trust else 0)


def _letters(row: Row) -> str:
    """What kind of reference clock it is."""
    said = row.get("reference_id") or ""
    if said.isalnum() and not said[0].isdigit():
        return str(said[:3])
    return _REFERENCES.get(row["kind"], str(row["kind"])[:3].upper())


def _sources(rows: Sequence[Row]) -> tuple[Source, ...]:
    counts: dict[str, int] = {}
    found: list[Source] = []
    for row in rows:
        if row["kind"] == "roughtime":
            continue
        letters = _letters(row)
        number = counts.get(letters, 0)
        if row["kind"] not in _NETWORK:
            counts[letters] = number + 1
        found.append(Source(row, len(found), number))
    return tuple(found)


def _number(value: float | None) -> float:
    return value or 0.0


def _word(value: float | None, unknown: int = 0) -> int:
    """As an unsigned number of 32 bits; the most that fits, where it is more."""
    return unknown if value is None else min(max(int(value), 0), _WORD)


def _log2(seconds: float | None, unknown: int = 0) -> int:
    return unknown if not seconds or seconds <= 0 else round(math.log2(seconds))


def _stratum(row: Row) -> int:
    """0 where it is not known, and of reference clocks."""
    stratum = row.get("stratum")
    return 0 if stratum is None or stratum >= 16 else stratum


def _four(text: str | None) -> int:
    """The reference id of ``snapshot.reference_text``: letters, or four numbers."""
    parts = (text or "").split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        return int.from_bytes(bytes(int(part) for part in parts), "big")
    return int.from_bytes((text or "").encode("ascii", "replace")[:4].ljust(4, b"\0"), "big")


class Reports:
    """What can be told of one state.

    Attributes:
        sources: In the order of their indices.
    """

    def __init__(self, state: Row) -> None:
        """Those of a ``state`` message (``timesync.observe.stream``)."""
        self._status: Row = state["status"]
        self.sources = _sources(state["sources"])

    def at(self, address: Address) -> Source | None:
        """The NTP source at an address."""
        if address.family is Family.UNSPECIFIED:
            return None
        return next((source for source in self.sources if source.address == address), None)

    def tracking(self) -> of_daemon.Tracking:
        """``chronyc tracking``."""
        status = self._status
        name = status["reference"]
        reference = next((one for one in self.sources if one.row["name"] == name), None)
        clock = next(one for one in status["clocks"] if one["name"] == status["served_clock"])
        followed = reference is not None and status["stratum"] < 16
        return of_daemon.Tracking(
            reference_id=int(status["reference_id_hex"], 16),
            address=UNSPECIFIED if reference is None or not followed else reference.address,
            stratum=_stratum(status),
            leap=_LEAPS[status["leap"]],
            reference_time_ns=status["updated_utc_ns"] or 0,
            correction_s=-_number(clock["offset_s"]),
            last_offset_s=_number(status["last_offset_s"]),
            rms_offset_s=_number(status["rms_offset_s"]),
            frequency_ppm=clock["frequency_ppm"],
            residual_ppm=0.0 if reference is None else _number(reference.row["residual_frequency_ppm"]),
            skew_ppm=_number(clock["frequency_uncertainty_ppm"]),
            root_delay_s=status["root_delay_s"],
            root_dispersion_s=status["root_dispersion_s"],
            update_interval_s=_number(status["update_interval_s"]),
        )

    def _best(self, source: Source) -> bool:
        return source.row["state"] == "selected" and bool(source.row["name"] == self._status["reference"])

    def source(self, source: Source) -> of_source.SourceData:
        """A line of ``chronyc sources``."""
        row = source.row
        state = of_source.SourceState.SELECTED if self._best(source) else _STATES[row["state"]][0]
        return of_source.SourceData(
            address=Address(Family.INET4, source.reference) if source.local else source.address,
            poll=_log2(row["poll_s"]),
            stratum=_stratum(row),
            state=state,
            mode=of_source.SourceMode.REFERENCE if source.local else of_source.SourceMode.CLIENT,
            flags=source.options(),
            reach=row["reach_register"] or 0,
            since_sample_s=_word(row["last_sample_age_s"], NEVER),
            measured_s=_number(row["measured_offset_s"]),
            carried_s=_number(row["carried_offset_s"]),
            error_s=_number(row["error_bound_s"]),
        )

    def stats(self, source: Source) -> of_source.SourceStats:
        """A line of ``chronyc sourcestats``."""
        row = source.row
        skew, deviation = row["residual_frequency_uncertainty_ppm"], row["jitter_s"]
        return of_source.SourceStats(
            reference_id=source.number,
            address=source.address,
            samples=row["points"],
            runs=row["runs"],
            span_s=_word(row["span_s"]),
            deviation_s=_UNKNOWN_DEVIATION_S if deviation is None or not row["points"] else deviation,
            residual_ppm=_number(row["residual_frequency_ppm"]),
            skew_ppm=_UNKNOWN_SKEW_PPM if skew is None else skew,
            offset_s=_number(row["offset_s"]),
            offset_error_s=_number(row["uncertainty_s"]),
        )

    def selection(self, source: Source) -> of_source.SelectData:
        """A line of ``chronyc selectdata``."""
        row = source.row
        letter = "*" if self._best(source) else _STATES[row["state"]][1]
        if row["state"] == "excluded" and row["noselect"]:
            letter = "N"
        if row["state"] == "unreachable" and not row["samples"]:
            letter = "M"
        offset, bound = row["offset_s"], row["error_bound_s"]
        known = offset is not None and bound is not None
        details = row["details"]
        return of_source.SelectData(
            reference_id=source.number,
            address=source.address,
            state=ord(letter),
            authenticated=int(bool(details.get("key") or details.get("nts"))),
            leap=_LEAPS[row["leap"] or "unknown"],
            configured=source.options(),
            effective=source.options(),
            since_sample_s=_word(row["last_sample_age_s"]),
            score=1.0,
            low_s=offset - bound if known else 0.0,
            high_s=offset + bound if known else 0.0,
        )

    def ntp_data(self, source: Source) -> of_source.NtpData2:
        """``chronyc ntpdata`` of one NTP source."""
        row = source.row
        said: Row = row["details"].get("answer") or {}
        measured = row["measured_offset_s"] is not None
        sent, received = said.get("tx_stamps", {}), said.get("rx_stamps", {})
        flags = of_source.TESTS_PASSED if said and measured else 0
        flags |= of_source.INTERLEAVED if row["interleaved"] else 0
        flags |= of_source.AUTHENTICATED if row["authenticated"] else 0
        dropped = sum(row["drops"].values())
        return of_source.NtpData2(
            remote=source.address,
            local=UNSPECIFIED,
            remote_port=source.port,
            leap=_LEAPS[row["leap"] or "unknown"] if said else 0,
            version=row["version"] if said and row["version"] else 0,
            mode=_SERVER_MODE if said else 0,
            stratum=_stratum(row),
            poll=said.get("poll", 0),
            precision=said.get("precision", 0),
            root_delay_s=said.get("root_delay_s", 0.0),
            root_dispersion_s=said.get("root_dispersion_s", 0.0),
            reference_id=_four(row["reference_id"]) if said else 0,
            reference_time_ns=said.get("reference_time_ns") or 0,
            offset_s=-_number(row["measured_offset_s"]),
            delay_s=_number(row["delay_s"]),
            dispersion_s=2.0 ** said["precision"] if measured and said else 0.0,
            response_s=_number(said.get("response_s")),
            asymmetry=0.0,
            flags=flags,
            tx_stamping=_STAMPS.get(said.get("tx_timestamping", ""), 0),
            rx_stamping=_STAMPS.get(said.get("rx_timestamping", ""), 0),
            sent=_word(row["sent"]),
            received=_word(row["received"] + dropped),
            valid=_word(row["received"]),
            good=_word(said.get("measurements", 0)),
            kernel_sent=_word(sent.get("kernel", 0)),
            kernel_received=_word(received.get("kernel", 0)),
            hardware_sent=_word(sent.get("hardware", 0)),
            hardware_received=_word(received.get("hardware", 0)),
        )

    def authentication(self, source: Source) -> of_source.AuthData:
        """A line of ``chronyc authdata``."""
        nts, key = source.row["details"].get("nts"), source.row["details"].get("key")
        mode = of_source.AuthMode.NTS if nts else of_source.AuthMode.SYMMETRIC if key else of_source.AuthMode.NONE
        told: Row = nts or {}
        return of_source.AuthData(
            mode=mode,
            key_type=AeadId[nts["aead"]] if nts else _KEY_TYPES.get(key["algorithm"], 0) if key else 0,
            key_id=nts["establishments"] if nts else key["id"] if key else 0,
            key_length=nts["key_bits"] if nts else key["bits"] if key else 0,
            attempts=min(told.get("attempts", 0), 0xFFFF),
            since_establishment_s=_word(told.get("age_s"), NEVER),
            cookies=told.get("cookies", 0),
            cookie_length=told.get("cookie_octets", 0),
            nak=int(told.get("nak", False)),
        )

    def activity(self) -> of_daemon.Activity:
        """``chronyc activity``: reference clocks do not count."""
        asked = [source for source in self.sources if not source.local]
        unresolved = sum(source.address.family is Family.ID for source in asked)
        return of_daemon.Activity(
            online=len(asked) - unresolved, offline=0, burst_online=0, burst_offline=0, unresolved=unresolved
        )

    def server(self, commands: int, dropped: int) -> of_daemon.ServerStats4:
        """``chronyc serverstats``.

        Args:
            commands: Requests of chronyc's protocol.
            dropped: Of them left without an answer because there were too many.
        """
        counted: Row = self._status["serving"]["counters"] or {}
        nts: Row = (self._status["nts"] or {}).get("counters", {})
        refused = sum(number for name, number in nts.items() if name.startswith("refused-"))
        answered, interleaved = counted.get("answered", 0), counted.get("interleaved", 0)
        hardware = counted.get("hardware", 0)
        return of_daemon.ServerStats4(
            ntp_hits=counted.get("received", 0),
            ke_hits=nts.get("connections", 0) - refused,
            command_hits=commands,
            ntp_drops=counted.get("limited", 0),
            ke_drops=refused,
            command_drops=dropped,
            log_drops=0,
            ntp_authenticated=counted.get("authenticated", 0),
            ntp_interleaved=interleaved,
            ntp_timestamps=0,
            ntp_span_s=0,
            daemon_rx=0,
            # An answer can carry only a guess at when it leaves; the stamp of the kernel goes with the next one.
            daemon_tx=answered - interleaved,
            kernel_rx=answered - hardware,
            kernel_tx=interleaved,
            hardware_rx=hardware,
            hardware_tx=0,
        )

    @staticmethod
    def clients(rows: Sequence[Mapping[str, Row]], wanted: ClientRange) -> of_daemon.Clients:
        """A page of ``chronyc clients``; ``rows`` are those who ask by NTP or NTS-KE, by protocol."""
        count = min(wanted.count, MAX_CLIENTS)
        found: list[of_daemon.Client] = []
        index = wanted.first
        while index < len(rows) and len(found) < count:
            client = _client(rows[index])
            if max(client.ntp_hits, client.ke_hits) >= wanted.minimum:
                found.append(client)
            index += 1
        return of_daemon.Clients(total=len(rows), following=min(index, _WORD), clients=tuple(found))


def _client(rows: Mapping[str, Row]) -> of_daemon.Client:
    ntp, ke = rows.get("ntp", _SILENT), rows.get("nts-ke", _SILENT)
    return of_daemon.Client(
        address=Address.of(next(iter(rows.values()))["address"]),
        ntp_hits=_word(ntp["requests"]),
        ke_hits=_word(ke["requests"]),
        command_hits=0,
        ntp_drops=_word(ntp["dropped"]),
        ke_drops=_word(ke["dropped"]),
        command_drops=0,
        ntp_interval=min(max(_log2(ntp["interval_s"], NO_INTERVAL), -128), NO_INTERVAL),
        ke_interval=min(max(_log2(ke["interval_s"], NO_INTERVAL), -128), NO_INTERVAL),
        command_interval=NO_INTERVAL,
        limited_interval=NO_INTERVAL,
        ntp_ago_s=_word(ntp["last_s"], NEVER),
        ke_ago_s=_word(ke["last_s"], NEVER),
        command_ago_s=NEVER,
    )


_SILENT: Final[Row] = {"requests": 0, "dropped": 0, "interval_s": None, "last_s": None}
"""Of a protocol in which a client has said nothing."""
