"""Which format a configuration has, and its translation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from timesync.config.importing.chrony import translate_chrony
from timesync.config.importing.draft import Draft
from timesync.config.importing.lines import Reader, sections, split
from timesync.config.importing.ntpd import translate_ntpd
from timesync.config.importing.ntpd_rs import translate_ntpd_rs
from timesync.config.importing.numbers import UnreadableError
from timesync.config.importing.ptp4l import translate_ptp4l
from timesync.config.importing.timemaster import translate_timemaster
from timesync.config.importing.timesyncd import translate_timesyncd
from timesync.config.importing.ts2phc import translate_ts2phc
from timesync.config.source import Source

Translator = Callable[[Draft, Source, Reader, tuple[str, ...]], None]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of configuration.

    Attributes:
        translate: Its translator.
        services: The services of systemd that read it, under the names that distributions give them.
    """

    translate: Translator
    services: tuple[str, ...]


FORMATS = {
    "chrony": Format(translate_chrony, ("chrony", "chronyd")),
    "ptp4l": Format(translate_ptp4l, ("ptp4l", "phc2sys")),
    "ts2phc": Format(translate_ts2phc, ("ts2phc", "phc2sys")),
    "timemaster": Format(translate_timemaster, ("timemaster",)),
    "ntp-toml": Format(translate_ntpd_rs, ("ntpd-rs", "ntpd-rs-metrics")),
    "ntp.conf": Format(translate_ntpd, ("ntpsec", "ntpd", "ntp")),
    "timesyncd": Format(translate_timesyncd, ("systemd-timesyncd",)),
}
"""By the word of ``--format``."""

_TOML = {"source", "source-defaults", "server", "synchronization", "observability", "keyset", "nts-ke-server"}
_PTP = {"domainNumber", "priority1", "clockClass", "transportSpecific", "network_transport", "delay_mechanism",
        "logSyncInterval", "logAnnounceInterval", "dataset_comparison", "time_stamping"}  # fmt: skip
_CHRONY = {"makestep", "rtcsync", "confdir", "sourcedir", "keyfile", "maxupdateskew", "hwtimestamp", "allow", "deny",
           "leapsectz", "ntsdumpdir", "dumpdir", "logdir", "local", "cmdport", "bindcmdaddress", "minsources",
           "maxslewrate", "ntsservercert", "ntstrustedcerts", "leapseclist", "include", "ratelimit",
           "cmdallow"}  # fmt: skip
_NTPD = {"restrict", "tos", "tinker", "fudge", "statsdir", "filegen", "statistics", "keys", "trustedkey", "disable",
         "enable", "nts", "includefile", "interface", "discard", "leapfile", "logconfig"}  # fmt: skip
_TIME = re.compile(r"^\s*\[Time\]\s*$", re.MULTILINE)


def guess(source: Source) -> str | None:
    """The format of a file by what it says; by its name where it could be chrony's or ntpd's. None: of none."""
    if _TIME.search(source.text):
        return "timesyncd"
    if _is_toml(source.text):
        return "ntp-toml"
    titles = [section.title for section in sections(source)]
    words = {line.words[0] for line in split(source, "#!;%")}
    if any(title == "timemaster" or title.startswith(("ptp_domain ", "ntp_server ")) for title in titles):
        return "timemaster"
    if any(word.startswith("ts2phc.") for word in words):
        return "ts2phc"
    if "global" in titles or words & _PTP:
        return "ptp4l"
    lower = {word.lower() for word in words}
    chrony, ntpd = len(lower & _CHRONY), len(lower & _NTPD)
    if any("127.127." in " ".join(line.words) for line in split(source, "#")):
        ntpd += 1
    if chrony != ntpd:
        return "chrony" if chrony > ntpd else "ntp.conf"
    if lower & {"server", "pool", "peer", "refclock", "driftfile"}:
        return "ntp.conf" if source.name.rpartition("/")[2] == "ntp.conf" else "chrony"
    return None


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text).keys() & _TOML)
    except tomllib.TOMLDecodeError:
        return False


def translate(sources: Sequence[tuple[Source, str]], reader: Reader, interfaces: tuple[str, ...] = ()) -> Draft:
    """Several configurations of one machine as one of ours.

    Args:
        sources: Files with their formats.
        reader: Gives what they include, and the files of keys.
        interfaces: Interfaces of PTP ports, and of cards that stamp, where the file names none.

    Raises UnreadableError when one of them is not of its format.
    """
    draft = Draft()
    # Ports of PTP first: whose card has one steers its clock, whatever else uses it.
    rank = ["ptp4l", "timemaster", "ts2phc"]
    for source, name in sorted(sources, key=lambda pair: rank.index(pair[1]) if pair[1] in rank else len(rank)):
        try:
            FORMATS[name].translate(draft, source, reader, interfaces)
        except UnreadableError as error:
            raise UnreadableError(f"{source.name}: {error}") from None
    return draft
