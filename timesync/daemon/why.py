"""``timesync why``: why the clock is as it is and why a source is or is not used, in sentences."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Mapping
from typing import Any

from timesync.base.ids import SourceId
from timesync.observe.control import ControlError
from timesync.observe.roughtime import REPORT_FILE
from timesync.observe.snapshot import SCHEMA, Snapshot
from timesync.servo.select import words

_DROP_ADVICE = {
    "origin": "answers that do not belong to a request of ours were refused: somebody may be spoofing the server",
    "mac": "answers with a wrong authentication code were refused: compare the keys on both sides",
    "unsynchronised": "the server says that it is not synchronized itself",
    "stamp": "some packets came without a kernel timestamp and were not used",
    "delay": "the round trip was too long to be worth anything, or so far below zero that a timestamp must be wrong",
    "loop": "the server takes its own time from this machine",
    "kiss": "the server sent a kiss-o'-death: it wants fewer requests, or none",
    "ntp-over-ptp": "they were no NTP over PTP, or of another domain: compare ptp_domain on both sides",
    "nts-nak": "the server could not open our cookie; where that stays so, new keys are made",
    "nts-tag": "answers were changed on their way, or are not the server's",
    "nts-missing": "answers came without NTS: the server has it no more, or somebody takes it out on the way",
    "nts-unique-id": "answers to no request of ours were refused: somebody may be spoofing the server",
}

_NETWORK_ADVICE = {
    os.strerror(errno.ECONNREFUSED): "that host is there, and no program listens on the port, or a firewall says so",
    os.strerror(
        errno.EHOSTUNREACH
    ): "nobody answers at that address on its network: is the host on, the address right?",
    os.strerror(errno.ENETUNREACH): "this machine has no route there: is its network up, and of that IP version?",
    os.strerror(errno.EACCES): "a firewall, here or on the way, forbids it",
    os.strerror(errno.EPERM): "a firewall of this machine forbids it",
}

_ASKED = ("ntp", "pool", "csptp", "roughtime")
"""Kinds of sources that are asked over the network; the others speak by themselves."""

_PULSE_GAP_S = 2.5
_SILENT_REQUESTS = 4
"""Without any answer to so many, more than the network may be to blame."""


def why(snapshot: Snapshot, source: str | None) -> Mapping[str, Any]:
    """Sentences about one source, or about the whole; raises ControlError for a name that is not there."""
    sources = snapshot.sources()["sources"]
    if source is None:
        return {"schema": SCHEMA, "subject": "the served clock", "lines": _about_clock(snapshot)}
    for entry in sources:
        if source in (entry["name"], entry["address"]):
            keyed = _keyed(snapshot, entry["name"])
            return {"schema": SCHEMA, "subject": entry["name"], "lines": _about_source(entry, keyed=keyed)}
    names = [entry["name"] for entry in sources]
    near = difflib.get_close_matches(source, names, n=1)
    hint = f' (did you mean "{near[0]}"?)' if near else f"; known are {', '.join(names) or 'none'}"
    raise ControlError(f'there is no source "{source}"{hint}')


def _about_clock(snapshot: Snapshot) -> list[str]:
    status = snapshot.status()
    lines = [f"Clock {status['served_clock']} is {status['state']}: {status['reason']}."]
    bound = status["error_bound_s"]
    if bound is not None:
        parts = [
            f"half the round trip to the root is {words(status['root_delay_s'] / 2)}",
            f"the rest, dispersion and noise, is {words(max(bound - status['root_delay_s'] / 2, 0.0))}",
        ]
        lines.append(f"Its error is at most {words(bound)}: {'; '.join(parts)}.")
    lines += [f"{entry['name']}: {entry['state']}, {entry['reason']}." for entry in snapshot.sources()["sources"]]
    lines += [f"{warning}." for warning in status["warnings"]]
    return lines


def _keyed(snapshot: Snapshot, name: str) -> bool:
    facts = snapshot.facts.get(SourceId(name))
    return facts is not None and facts.status is not None and facts.status.keyed


def _about_source(entry: Mapping[str, Any], *, keyed: bool) -> list[str]:
    lines = [f"{entry['name']} is {entry['state']}: {entry['reason']}."]
    if entry["sent"] and entry["kind"] not in _ASKED:
        lines.append(_heard(entry))
    elif entry["sent"]:
        lines.append(
            f"{entry['sent']} requests were sent to {entry['address']}, {entry['received']} valid answers came; "
            f"of the last eight requests {entry['reach']} were answered."
        )
    if entry["trouble"] is not None:
        advice = _NETWORK_ADVICE.get(entry["trouble"])
        lines.append(f"The network says of them: {entry['trouble']}{f' ({advice})' if advice else ''}.")
    if entry["draft"] is not None:
        lines.append(f"It speaks NTP version {entry['version']}, which is experimental: {entry['draft']}.")
    secured = entry["details"].get("nts")
    silent = keyed and entry["sent"] >= _SILENT_REQUESTS and not entry["received"]
    if silent and secured is not None:
        lines.append(
            "Keys were made, but NTP is silent: a firewall on the way may let no UDP to port 123 through, or only "
            "packets of 48 octets, and those with NTS are longer."
        )
    elif silent:
        lines.append("The requests carry a key's code, and a server that has not this key is silent: compare the keys.")
    if entry["sent"] >= _SILENT_REQUESTS and not entry["received"] and "over_ptp" in entry["details"]:
        lines.append(
            "It is asked by NTP over PTP, and a server that does not speak that is silent: chronyd needs ptpport, "
            "timesync ptp_listen, and both sides the same domain; a ptp4l beside it may take the requests."
        )
    if entry["details"].get("roughtime") is not None:
        lines += _rough(entry, entry["details"]["roughtime"])
    elif entry["offset_s"] is not None:
        lines.append(
            f"The clock is {words(entry['offset_s'])} against it, give or take {words(entry['uncertainty_s'])}; "
            f"its own error bound is {words(entry['error_bound_s'])}."
        )
    if entry["jitter_s"] is not None and entry["poll_s"] is not None:
        pace = "is asked" if entry["kind"] in _ASKED else "speaks"
        lines.append(
            f"One measurement has a noise of {words(entry['jitter_s'])}; it {pace} every {entry['poll_s']:g} s; "
            f"{entry['outliers']} of {entry['samples'] + entry['outliers']} measurements were outliers."
        )
    if entry["timestamping"] == "daemon":
        lines.append("The kernel gives no timestamps here, so the daemon takes them itself, which is less exact.")
    lines += _details(entry["details"])
    for reason, count in entry["drops"].items():
        advice = _DROP_ADVICE.get(reason)
        what = "answers" if entry["kind"] in _ASKED else "samples"
        were = f"{what} were" if count != 1 else f"{what[:-1]} was"
        lines.append(f"{count} {were} refused ({reason}){f': {advice}' if advice else ''}.")
    return lines


def _heard(entry: Mapping[str, Any]) -> str:
    """How often a source that speaks by itself did."""
    where = "" if entry["address"] is None else f" at {entry['address']}"
    return (
        f"It speaks by itself{where}: of the last eight samples that were due {entry['reach']} came; "
        f"{entry['received']} of {entry['sent']} altogether were good."
    )


def _details(details: Mapping[str, Any]) -> list[str]:
    """What only sources of one kind have: satellites, latency, pulses, keys."""
    lines = _sky(details)
    if details.get("nts") is not None:
        lines += _secured(details["nts"])
    if details.get("latency_s") is not None:
        how = "measured" if details["latency_calibrated"] else "assumed until it can be measured"
        lines.append(
            f"Its message ({details['message']}) comes {words(details['latency_s'])} after the second, give or take "
            f"{words(details['latency_spread_s'])}; {how}."
        )
    if details.get("pulses") is not None:
        lines.append(
            f"{details['pulses']} pulses were on the grid; {details['missed']} failed to come, "
            f"{details['doubled']} were doubled and {details['wild']} wild."
        )
        age = details.get("last_pulse_age_s")
        if age is not None and age > _PULSE_GAP_S:
            lines.append(f"The last pulse came {words(age)} ago: is the pulse output on, and its wire connected?")
        if details.get("pulse_jitter_s") is not None:
            lines.append(f"One pulse lies within {words(details['pulse_jitter_s'])} of its place.")
        if details.get("numbered_by"):
            lines.append(f"Their seconds were numbered by {details['numbered_by']}.")
    return lines


def _rough(entry: Mapping[str, Any], rough: Mapping[str, Any]) -> list[str]:
    """What a Roughtime server allows, and whether it may have lied."""
    lines = []
    if entry["error_bound_s"] is not None:
        off = entry["offset_s"]
        here = "" if off is None else f"; clock {entry['clock']} is {words(off)} from the middle of that"
        lines.append(
            f"By its last word, {words(entry['last_sample_age_s'])} ago and signed with a radius of "
            f"{words(rough['radius_s'])}, the time is known to {words(entry['error_bound_s'])} now{here}."
        )
    lines.append(
        f"It is asked every {words(entry['poll_s'])}, and is a check on the sources: no clock is steered by it."
    )
    if rough["malfeasance_age_s"] is not None:
        lines.append(
            f"{words(rough['malfeasance_age_s'])} ago the servers that were asked together, this one among them, "
            f"contradicted each other: one has lied. The proof is {REPORT_FILE} in the state directory."
        )
    return lines


def _secured(nts: Mapping[str, Any]) -> list[str]:
    """By whom the keys of NTS are, and what is wrong with them."""
    exchange = "" if nts["group"] is None else f" over {nts['group']}"
    quantum = ", safe from a quantum computer" if nts["post_quantum"] else ""
    cookies = f"{nts['cookies']} cookie{'' if nts['cookies'] == 1 else 's'}"
    lines = [f"NTS: the keys are by {nts['ke_server']}{exchange}{quantum}, for {nts['aead']}; {cookies} left."]
    if nts["provisional"]:
        lines.append(
            "Its certificate cannot be judged before the time is known. Until then it is provisional: it counts as "
            "unauthenticated, has no vote beside others, and is dropped if the certificate turns out to be wrong."
        )
    if nts["starving"]:
        trouble = f"; the last attempt failed: {nts['trouble'].rstrip('.')}" if nts["trouble"] else ""
        lines.append(f"It cannot be asked before new keys are made{trouble}.")
    return lines


def _sky(details: Mapping[str, Any]) -> list[str]:
    """What a receiver sees."""
    lines = []
    if details.get("receiver"):
        lines.append(f"The receiver is {details['receiver']}.")
    if details.get("fix") is not None:
        sky = f"Its fix is {details['fix']}"
        if details.get("satellites_used") is not None:
            seen = "" if details.get("satellites_seen") is None else f" of {details['satellites_seen']}"
            sky += f", with {details['satellites_used']}{seen} satellites"
        lines.append(f"{sky}.")
    for key, name in (("jamming", "Jamming"), ("spoofing", "Spoofing"), ("antenna", "Antenna")):
        if details.get(key) not in (None, "ok", "none"):
            lines.append(f"{name}: {details[key]}.")
    return lines
