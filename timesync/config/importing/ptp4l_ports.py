"""Ports of ptp4l's files: transport, delay, timestamps, intervals, unicast."""

from __future__ import annotations

from timesync.config.importing.draft import Draft, Value, node_of
from timesync.config.importing.lines import Line, Section
from timesync.config.importing.numbers import UnreadableError, whole
from timesync.config.importing.ptp4l_options import (
    DEFAULTS,
    DELAY_INTERVALS,
    IMPLIED_OF_PORT,
    INTERVAL,
    OF_PORT,
    UNJUDGED,
    Reading,
)
from timesync.config.importing.refclocks import clock_name
from timesync.config.ptp_profiles import PTP_PROFILES, Choice, PtpProfile, ptp_profile, refuse
from timesync.config.source import Mark
from timesync.config.tree import Entry, Mapping, Sequence, plain

Settings = dict[str, Line]
_TRANSPORTS = {"udpv4": "udp4", "udpv6": "udp6", "l2": "l2"}
_ADDRESSES = {"01:1b:19:00:00:00": "01-1B-19-00-00-00", "01:80:c2:00:00:0e": "01-80-C2-00-00-0E"}
_SHORTEST, _LONGEST, _DEFAULT_DURATION = 10, 1000, 300
_OF_ANNOUNCE = ("priority1", "priority2", "path_trace", "max_steps_removed", "announce_interval")
READ = frozenset(
    {*OF_PORT, *UNJUDGED, *DELAY_INTERVALS.values(), "network_transport", "delay_mechanism", "time_stamping",
     "twoStepFlag", "serverOnly", "ptp_dst_mac", "hybrid_e2e", "unicast_listen", "unicast_master_table",
     "unicast_req_duration", "inhibit_multicast_service"}
)  # fmt: skip
"""Options that ports read; those of all ports may stand for all of them in [global]."""


class Judge:
    """Puts values where the profile lets them be, and says of the others why not.

    Attributes:
        draft: Where that is said.
        profile: The profile.
        origin: The line that the profile follows from.
    """

    def __init__(self, draft: Draft, profile: PtpProfile, origin: Mark) -> None:
        self.draft = draft
        self.profile = profile
        self.origin = origin

    def put(
        self, entries: dict[str, Entry], key: str, option: str, reading: Reading, line: Line | None, implied: str | None
    ) -> None:
        """A value that is a number; ``implied`` is what ptp4l takes where there is no line."""
        text = line.value if line is not None else implied
        fact = self.profile.facts().get(key)
        if text is None or (line is None and (fact is None or self._silent(key))):
            return
        mark = line.mark if line is not None else self.origin
        try:
            meant = reading(text)
        except UnreadableError as error:
            self.draft.missing(mark, option, str(error))
            return
        own = getattr(fact, "value", None)
        if meant.judged == (fact.value[0] if isinstance(fact, Choice) else own):
            if line is not None:
                self.draft.needless(mark, f"{option} {text}", f"so it is in the profile {self.profile.name}")
            return
        why = refuse(self.profile, key, meant.judged)
        if why is None:
            entries[key] = Entry(mark, node_of(meant.written, mark))
        elif line is None:
            own_word = fact.shown() if fact is not None else ""
            self.draft.differs(mark, f"{option} {text}", f"ptp4l's default, and {why}; {own_word} is used")
        elif self._silent(key):
            self.draft.needless(mark, f"{option} {text}", "nothing is announced, so it would not be used")
        elif fact is None and DEFAULTS.get(option) == text:
            self.draft.needless(mark, f"{option} {text}", f"the profile {self.profile.name} has no such thing")
        else:
            self.draft.missing(mark, f"{option} {text}", f"{why}{self._others(key, meant.judged)}")

    def word(self, entries: dict[str, Entry], key: str, value: Value, line: Line) -> None:
        """A value that is a word."""
        fact = self.profile.facts().get(key)
        if isinstance(fact, Choice) and value == fact.value[0]:
            name = self.profile.name
            self.draft.needless(line.mark, f"{line.words[0]} {line.value}", f"so it is in the profile {name}")
            return
        why = refuse(self.profile, key, value)
        if why is None:
            entries[key] = Entry(line.mark, node_of(value, line.mark))
        else:
            self.draft.missing(line.mark, f"{line.words[0]} {line.value}", why)

    def _silent(self, key: str) -> bool:
        """Whether a key is of Announce, and the profile sends none."""
        return self.profile.bmca.value == "none" and key in _OF_ANNOUNCE

    def _others(self, key: str, value: object) -> str:
        """Which profiles of the same network would take it."""
        ours = self.profile
        names = [
            name
            for name in PTP_PROFILES
            if (other := ptp_profile(name)).sdo_id.value == ours.sdo_id.value
            and set(other.transport.value) & set(ours.transport.value)
            and other.unicast is None
            and refuse(other, key, value) is None
        ]
        return f"; {', '.join(names)} would take it" if names else ""


def port(judge: Judge, settings: Settings, section: Section, tables: list[Section], own: Settings) -> Mapping:
    """One port: its own options over those of all."""
    draft, mark = judge.draft, section.mark
    given = {**{name: line for name, line in settings.items() if name in READ}, **own}
    entries: dict[str, Entry] = {"interface": Entry(mark, node_of(section.title, mark))}
    transport = _word(judge, entries, "transport", given.get("network_transport"), _TRANSPORTS)
    mechanism = _word(judge, entries, "delay", given.get("delay_mechanism"), {"e2e": "e2e", "p2p": "p2p"})
    _stamps(judge, entries, given, section)
    server = given.get("serverOnly")
    if server is not None and server.value == "1":
        judge.word(entries, "role", "timeTransmitter", server)
    elif server is not None:
        draft.needless(server.mark, "serverOnly 0", "it may give and take time")
    for option, (key, reading) in OF_PORT.items():
        judge.put(entries, key, option, reading, given.get(option), IMPLIED_OF_PORT.get(option))
    for kind, option in DELAY_INTERVALS.items():
        if kind == mechanism:
            judge.put(entries, "delay_interval", option, INTERVAL, given.get(option), "0")
        elif option in given:
            draft.needless(given[option].mark, option, f"delay is measured by {mechanism} here")
    for option, (key, reading, none) in UNJUDGED.items():
        _unjudged(draft, entries, key, reading, given.get(option), none, over_udp=transport != "l2")
    _address(judge, entries, given.get("ptp_dst_mac"), transport)
    _unicast(judge, entries, given, tables, transport, mechanism)
    for name, line in own.items():
        if name not in READ:
            draft.missing(line.mark, name, "none for a port; see ptp4l(8)")
    return Mapping(entries, mark)


def _word(judge: Judge, entries: dict[str, Entry], key: str, line: Line | None, words: dict[str, str]) -> str:
    """A transport or a mechanism; gives the one that is used."""
    fact = judge.profile.facts()[key]
    assert isinstance(fact, Choice)
    if line is not None and line.value.lower() in words:
        judge.word(entries, key, words[line.value.lower()], line)
    elif line is not None:
        judge.draft.missing(line.mark, f"{line.words[0]} {line.value}", f"none: {', '.join(map(str, fact.value))}")
    written = plain(entries[key].value) if key in entries else None
    return str(written or fact.value[0])


def _stamps(judge: Judge, entries: dict[str, Entry], given: Settings, section: Section) -> None:
    """Who stamps messages, and the clock of the card."""
    draft, line, steps = judge.draft, given.get("time_stamping"), given.get("twoStepFlag")
    how = line.value.lower() if line is not None else "hardware"
    mark = line.mark if line is not None else section.mark
    if line is not None and how in ("hardware", "software"):
        entries["timestamping"] = Entry(mark, node_of(how, mark))
    elif line is not None and how in ("onestep", "p2p1step"):
        entries["timestamping"] = Entry(mark, node_of("hardware", mark))
        judge.word(entries, "steps", "one-step", line)
        if how == "p2p1step":
            draft.missing(mark, how, "none: Pdelay_Resp has its follow-up")
    elif line is not None:
        draft.missing(mark, f"time_stamping {how}", "none: what the card and the kernel can do is found out")
    if steps is not None and steps.value == "0":
        judge.word(entries, "steps", "one-step", steps)
    elif steps is not None:
        draft.needless(steps.mark, "twoStepFlag 1", "two-step, as by default")
    name = clock_name(section.title)
    if how == "software":
        return
    if not draft.has("clocks", name):
        draft.put(section.mark, {"phc": section.title}, "clocks", name)
    # chronyd may have had this card stamp NTP, and lets its clock run free; PTP steers it.
    draft.drop("clocks", name, "discipline")


def free(draft: Draft, line: Line, section: Section) -> None:
    """``free_running``: the clock is measured, and never touched."""
    name = clock_name(section.title)
    draft.put(line.mark, False, "clocks", name if draft.has("clocks", name) else "system", "discipline")


def _unjudged(
    draft: Draft, entries: dict[str, Entry], key: str, reading: Reading, line: Line | None, none: str, *, over_udp: bool
) -> None:
    if line is None:
        return
    word = f"{line.words[0]} {line.value}"
    if line.value == none:
        draft.needless(line.mark, word, "as by default")
    elif key in ("hop_limit", "dscp") and not over_udp:
        draft.needless(line.mark, word, "it is of messages over UDP")
    else:
        try:
            entries[key] = Entry(line.mark, node_of(reading(line.value).written, line.mark))
        except UnreadableError as error:
            draft.missing(line.mark, line.words[0], str(error))


def _address(judge: Judge, entries: dict[str, Entry], line: Line | None, transport: str) -> None:
    if line is None:
        return
    address = _ADDRESSES.get(line.value.lower())
    if transport != "l2":
        judge.draft.needless(line.mark, f"ptp_dst_mac {line.value}", "it is of messages over Ethernet")
    elif address is None:
        judge.draft.missing(line.mark, f"ptp_dst_mac {line.value}", "none: one of the two of the standard")
    else:
        judge.word(entries, "l2_destination", address, line)


def _unicast(
    judge: Judge, entries: dict[str, Entry], given: Settings, tables: list[Section], transport: str, mechanism: str
) -> None:
    """Hybrid mode, and unicast negotiation."""
    draft = judge.draft
    hybrid, listens, only = (given.get(name) for name in ("hybrid_e2e", "unicast_listen", "inhibit_multicast_service"))
    table, duration = given.get("unicast_master_table"), given.get("unicast_req_duration")
    for line in (line for line in (hybrid, listens, only, table) if line is not None and line.value == "0"):
        draft.needless(line.mark, " ".join(line.words), "as by default")
    whole_profile = judge.profile.unicast is not None
    asks = table is not None and table.value != "0"
    gives = listens is not None and listens.value == "1"
    if hybrid is not None and hybrid.value == "1":
        if mechanism == "e2e" and not whole_profile:
            entries["hybrid"] = Entry(hybrid.mark, node_of(True, hybrid.mark))
        else:
            draft.needless(hybrid.mark, "hybrid_e2e 1", "all is unicast" if whole_profile else "peers are not asked so")
    unicast: dict[str, Entry] = {}
    if asks and table is not None:
        _servers(draft, unicast, table, tables, transport)
    if only is not None and only.value == "1":
        if whole_profile or not (asks or gives):
            draft.needless(only.mark, "inhibit_multicast_service 1", f"so it is in the profile {judge.profile.name}")
        else:
            unicast["multicast"] = Entry(only.mark, node_of(False, only.mark))
    if duration is not None:
        _duration(draft, unicast, duration, used=asks or gives or whole_profile)
    mark = next((line.mark for line in (table if asks else None, listens if gives else None) if line is not None), None)
    if mark is not None or unicast:
        mark = mark or next(iter(unicast.values())).mark
        if gives and listens is not None and asks:
            unicast["grant"] = Entry(listens.mark, node_of(True, listens.mark))
        elif gives and listens is not None:
            draft.needless(listens.mark, "unicast_listen 1", "unicast: grants what is asked for, to all of allow")
        entries["unicast"] = Entry(mark, Mapping(unicast, mark))


def _servers(draft: Draft, unicast: dict[str, Entry], line: Line, tables: list[Section], transport: str) -> None:
    """The table of this number, as far as its addresses are those of the transport."""
    wanted = {"udp4": "udpv4", "udp6": "udpv6", "l2": "l2"}[transport]
    found = [each for table in tables if _number(table) == line.value for each in table.lines]
    addresses = [each for each in found if each.words[0].lower() == wanted]
    if not addresses:
        draft.missing(line.mark, " ".join(line.words), f"no table of this number has an address of {transport}")
        return
    draft.needless(line.mark, " ".join(line.words), "its addresses are in unicast.servers")
    first = addresses[0].mark
    items = [node_of(each.value.lower(), each.mark) for each in addresses]
    unicast["servers"] = Entry(first, Sequence(items, first))


def _number(table: Section) -> str:
    return next((line.value for line in table.lines if line.words[0] == "table_id"), "")


def _duration(draft: Draft, unicast: dict[str, Entry], line: Line, *, used: bool) -> None:
    try:
        wanted = whole(line.value)
    except UnreadableError as error:
        draft.missing(line.mark, "unicast_req_duration", str(error))
        return
    word = f"unicast_req_duration {line.value}"
    if not used or line.value == DEFAULTS["unicast_req_duration"]:
        draft.needless(line.mark, word, f"{_DEFAULT_DURATION} s, as by default")
        return
    within = min(max(wanted, _SHORTEST), _LONGEST)
    unicast["duration"] = Entry(line.mark, node_of(f"{within}s", line.mark))
    if within != wanted:
        draft.differs(line.mark, word, f"from {_SHORTEST} to {_LONGEST} s here")


def say_tables(draft: Draft, tables: list[Section]) -> None:
    """What of tables of unicast servers is no address."""
    for table in tables:
        draft.needless(table.mark, "[unicast_master_table]", "in unicast.servers of the ports that name it")
        for line in table.lines:
            name = line.words[0]
            if name == "peer_address":
                draft.missing(line.mark, name, "none: peer delay is multicast")
            elif name == "logQueryInterval":
                draft.needless(line.mark, name, "servers are asked each second, and less often while they are silent")
            elif name == "table_id":
                draft.needless(line.mark, name, "in unicast.servers of the ports that name it")
            elif name.lower() in _TRANSPORTS:
                draft.needless(line.mark, name, "in unicast.servers, where the port has this transport")
            else:
                draft.missing(line.mark, name, "not known here; see ptp4l(8)")
