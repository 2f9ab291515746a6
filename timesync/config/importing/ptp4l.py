"""ptp4l's files as our configuration (ptp4l(8) of linuxptp 3.1.1 and 4.4)."""

from __future__ import annotations

from collections.abc import Iterable

from timesync.config.importing import ptp4l_ports
from timesync.config.importing.chrony import ALWAYS
from timesync.config.importing.draft import Draft, node_of
from timesync.config.importing.keys import association_keys
from timesync.config.importing.lines import Line, Reader, Section, join, sections, trying
from timesync.config.importing.numbers import UnreadableError, nanoseconds, number, seconds, whole
from timesync.config.importing.ptp4l_options import BY_PROFILE, DEFAULTS, IMPLIED, MISSING, NEEDLESS, OF_INSTANCE
from timesync.config.importing.ptp4l_ports import Judge, Settings
from timesync.config.importing.refclocks import clock_name
from timesync.config.ptp import ProfileName
from timesync.config.ptp_profiles import ptp_profile
from timesync.config.source import Mark, Source
from timesync.config.tree import Entry, Mapping, Sequence

GLOBAL = "global"
_TABLE, _ASSOCIATION = "unicast_master_table", "security_association"
_NEWER_NAMES = {"slaveOnly": "clientOnly", "masterOnly": "serverOnly"}
_NO_INTERFACE = "eth0"
_ONE_DAEMON = (
    "not needed: cards and system clock are kept together; "
    "clocks: {system: {discipline: false}} leaves the system clock alone"
)


def translate_ptp4l(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole file of ptp4l."""
    found = sections(source)
    tables = [section for section in found if section.title == _TABLE]
    loose = [line for section in found if section.title in ("", GLOBAL) for line in section.lines]
    ports = [section for section in found if section.title not in ("", GLOBAL, _TABLE, _ASSOCIATION)]
    for section in found:
        if section.title == GLOBAL:
            draft.needless(section.mark, "[global]", "what it says is below, line by line")
        if section.title == _ASSOCIATION:
            draft.missing(section.mark, f"[{_ASSOCIATION}]", "it stands in a file of its own, which sa_file names")
            for line in section.lines:
                draft.missing(line.mark, "key", "as above")
    there = {section.title for section in ports}
    start = loose[0].mark if loose else Mark(source, 1, 1)
    ports += [Section(start, name, ()) for name in interfaces if name not in there]
    if not ports:
        reason = f"the file names no interface (ptp4l -i did), so {_NO_INTERFACE} stands here: put in yours, or use -i"
        draft.differs(start, "interface", reason)
        ports = [Section(start, _NO_INTERFACE, ())]
    translate_instance(draft, loose, ports, tables, reader)


def translate_instance(
    draft: Draft, loose: Iterable[Line], ports: list[Section], tables: list[Section], reader: Reader
) -> None:
    """One run of ptp4l: its options for all, its ports, its tables of unicast servers."""
    settings = settings_of(draft, loose)
    start = ports[0].mark
    profile = _profile(settings, [settings_of(draft, port.lines) for port in ports])
    origin = next((settings[name].mark for name in _DECIDING if name in settings), start)
    judge = Judge(draft, ptp_profile(profile), origin)
    instance: dict[str, Entry] = {}
    if profile != "default-e2e":
        instance["profile"] = Entry(origin, node_of(profile, origin))
    for option, (key, reading) in OF_INSTANCE.items():
        judge.put(instance, key, option, reading, settings.pop(option, None), IMPLIED.get(option))
    _role(draft, settings, judge, instance)
    _power(draft, settings, profile, instance)
    _authentication(draft, settings, reader, instance)
    _management(draft, settings, instance)
    for_all(draft, settings)
    written = [ptp4l_ports.port(judge, settings, port, tables, settings_of(draft, port.lines)) for port in ports]
    instance["ports"] = Entry(start, Sequence([*written], start))
    _free(draft, settings, ports)
    if not draft.instances and any(draft.has("clocks", clock_name(port.title)) for port in ports):
        draft.differs(start, "phc2sys", _ONE_DAEMON)
    ptp4l_ports.say_tables(draft, tables)
    for option in [option for option in settings if option in ptp4l_ports.READ]:
        del settings[option]
    leave(draft, settings.values(), profile)
    draft.instances.append(Mapping(instance, instance[next(iter(instance))].mark))


def settings_of(draft: Draft, lines: Iterable[Line]) -> Settings:
    """Options by their newest names; of one that is there twice, the last counts."""
    settings: Settings = {}
    for line in lines:
        name = _NEWER_NAMES.get(line.words[0], line.words[0])
        before = settings.get(name)
        if before is not None and before.mark != line.mark:
            draft.needless(before.mark, name, f"{line.mark} says it again, and counts")
        settings[name] = line
    return settings


_DECIDING = ("power_profile.version", "BMCA", "transportSpecific", "dataset_comparison", "delay_mechanism")


def _profile(settings: Settings, ports: list[Settings]) -> ProfileName:
    """The profile that a file means, by what only this one has."""

    def word(name: str) -> str:
        line = settings.get(name) or next((port[name] for port in ports if name in port), None)
        return "" if line is None else line.value.lower()

    if word("power_profile.version") == "2011":
        return "power-2011"
    if word("power_profile.version") == "2017":
        return "power"
    if word("transportSpecific") in ("1", "0x1", "0x01"):
        if word("BMCA") != "noop":
            return "gptp"
        return "automotive-gm" if word("serverOnly") == "1" else "automotive-endpoint"
    if word("dataset_comparison") == "g.8275.x":
        return "g8275.1" if word("network_transport") == "l2" else "g8275.2"
    return "default-p2p" if word("delay_mechanism") == "p2p" else "default-e2e"


def _role(draft: Draft, settings: Settings, judge: Judge, instance: dict[str, Entry]) -> None:
    """Whether the whole clock only takes, or only gives, time."""
    client, capable = settings.pop("clientOnly", None), settings.pop("gmCapable", None)
    only = client if client is not None and client.value == "1" else None
    never = capable if capable is not None and capable.value == "0" else None
    for line in (each for each in (client, capable) if each is not None and each not in (only, never)):
        draft.needless(line.mark, line.words[0], "the clock may give and take time, as its ports may")
    server = settings.get("serverOnly")
    giver = server if only is None and server is not None and server.value == "1" else None
    deciding = only or never or giver
    if deciding is None:
        return
    if giver is not None:
        del settings["serverOnly"]
    judge.word(instance, "role", "timeTransmitter" if deciding is giver else "timeReceiver", deciding)
    if only is not None and never is not None:
        draft.needless(never.mark, "gmCapable", "role: timeReceiver says it")
    priority = instance.get("priority1")
    if judge.profile.gptp and "role" in instance and deciding is not giver and priority is not None:
        # IEEE 802.1AS has one number for who is never grandmaster.
        del instance["priority1"]
        draft.needless(priority.mark, "priority1", "that of a timeReceiver is 255")


def _power(draft: Draft, settings: Settings, profile: ProfileName, instance: dict[str, Entry]) -> None:
    if not profile.startswith("power"):
        return
    identity = settings.get("power_profile.grandmasterID")
    if identity is not None and identity.value != DEFAULTS["power_profile.grandmasterID"]:
        trying(draft, identity, lambda: _set(instance, "grandmaster_id", whole(identity.value), identity))
        del settings["power_profile.grandmasterID"]
    network = settings.get("power_profile.2011.networkTimeInaccuracy")
    if network is not None and network.value != "-1":
        trying(draft, network, lambda: _set(instance, "network_inaccuracy", _inaccuracy(network), network))
        del settings["power_profile.2011.networkTimeInaccuracy"]


def _inaccuracy(line: Line) -> str:
    return nanoseconds(number(line.value))


def _set(entries: dict[str, Entry], key: str, value: int | str, line: Line) -> None:
    entries[key] = Entry(line.mark, node_of(value, line.mark))


def _management(draft: Draft, settings: Settings, instance: dict[str, Entry]) -> None:
    address = settings.pop("uds_address", None)
    if address is None:
        return
    if draft.instances or not address.value.startswith("/"):
        draft.differs(address.mark, "uds_address", "each instance has its own: name one as ptp.management")
    else:
        _set(instance, "management", address.value, address)


def _authentication(draft: Draft, settings: Settings, reader: Reader, instance: dict[str, Entry]) -> None:
    """Signed messages: the association of ``spp``, whose ``active_key_id`` comes first."""
    file, spp = settings.pop("sa_file", None), settings.get("spp")
    if spp is None or spp.value == DEFAULTS["spp"] or file is None:
        if file is not None:
            draft.needless(file.mark, "sa_file", "spp is not set, so nothing is signed")
        return
    active, unsigned = settings.pop("active_key_id", None), settings.pop("allow_unauth", None)
    del settings["spp"]
    source = reader.read(join(file.mark.source.directory, file.value))
    ids = [] if source is None else _association(draft, source, spp.value)
    first = active.value if active is not None else ""
    ids.sort(key=lambda number_of: str(number_of) != first)
    if not ids:
        reason = f"no key of spp {spp.value} could be read: messages are NOT signed; say ptp.authentication and keys"
        for line in (line for line in (file, spp, active, unsigned) if line is not None):
            draft.missing(line.mark, line.words[0], reason)
        return
    values: dict[str, Entry] = {}
    values["keys"] = Entry(file.mark, node_of([*ids], file.mark))
    _set(values, "spp", whole(spp.value), spp)
    if active is not None:
        draft.needless(active.mark, "active_key_id", "the first of keys signs")
    if unsigned is not None and unsigned.value != "0":
        _set(values, "unsigned", "accept", unsigned)
    elif unsigned is not None:
        draft.needless(unsigned.mark, "allow_unauth", "unsigned messages are refused")
    instance["authentication"] = Entry(file.mark, Mapping(values, file.mark))


_OF_OURS = {"spp": "in ptp.authentication", "allow_mutable": "correctionField is signed, as by default"}


def _association(draft: Draft, source: Source, spp: str) -> list[int]:
    """The ids of the keys of one association; what else the file says is said."""
    ids: list[int] = []
    for section in sections(source):
        options = {line.words[0]: line for line in section.lines}
        ours = section.title == _ASSOCIATION and "spp" in options and options["spp"].value == spp
        draft.needless(section.mark, f"[{section.title}]", "in ptp.authentication" if ours else "another spp is used")
        for line in section.lines:
            if line.words[0] == "allow_mutable" and line.value == "1" and ours:
                draft.missing(line.mark, "allow_mutable", "say ptp.authentication.mutable_correction: true")
            elif not line.words[0].isdecimal() or not ours:
                draft.needless(
                    line.mark,
                    line.words[0],
                    _OF_OURS.get(line.words[0], "numbers must grow") if ours else "another spp is used",
                )
        if ours:
            ids += association_keys(draft, section)
    return ids


_LEVELS = {"0": "error", "1": "error", "2": "error", "3": "error", "4": "warning", "7": "debug"}


def for_all(draft: Draft, settings: Settings) -> None:
    """What is not of PTP, and of ts2phc too: steps, the log, leap seconds, what other programs are fed with."""
    level = settings.pop("logging_level", None)
    if level is not None and level.value in _LEVELS:
        draft.put(level.mark, _LEVELS[level.value], "observe", "log", "level")
    elif level is not None:
        draft.needless(level.mark, "logging_level", "info, as by default")
    leap = settings.pop("leapfile", None)
    if leap is not None:
        draft.put(leap.mark, leap.value, "leap", "file")
    _steps(draft, settings)
    _feed(draft, settings)


def _feed(draft: Draft, settings: Settings) -> None:
    """Servos that steer nothing, and tell another program."""
    servo = settings.get("clock_servo")
    if servo is None or servo.value not in ("ntpshm", "refclock_sock"):
        return
    del settings["clock_servo"]
    if servo.value == "ntpshm":
        segment = settings.pop("ntpshm_segment", servo)
        unit = 0 if segment is servo else segment.value
        trying(draft, segment, lambda: draft.put(segment.mark, whole(str(unit)), "serve", "shm"))
    else:
        address = settings.pop("refclock_sock_address", None)
        mark = servo.mark if address is None else address.mark
        draft.put(mark, "/var/run/refclock.ptp.sock" if address is None else address.value, "serve", "sock")
    draft.put(servo.mark, False, "clocks", "system", "discipline")


def _free(draft: Draft, settings: Settings, ports: list[Section]) -> None:
    line = settings.pop("free_running", None)
    if line is not None and line.value == "1":
        for port in ports:
            ptp4l_ports.free(draft, line, port)
    elif line is not None:
        draft.needless(line.mark, "free_running", "clocks are steered")


def _steps(draft: Draft, settings: Settings) -> None:
    """A step at any time is one in the first; 0 is none."""
    later, first = settings.pop("step_threshold", None), settings.pop("first_step_threshold", None)
    try:
        any_time = number(later.value) if later is not None else 0
        at_first = number(first.value) if first is not None else 0
        if later is not None and any_time > 0:
            draft.put(later.mark, seconds(any_time, "1us", "36500d"), "steering", "step", "threshold")
            draft.put(later.mark, ALWAYS, "steering", "step", "updates")
        elif first is not None and at_first > 0 and at_first != number(DEFAULTS["first_step_threshold"]):
            draft.put(first.mark, seconds(at_first, "1us", "36500d"), "steering", "step", "threshold")
            draft.put(first.mark, 1, "steering", "step", "updates")
            first = None
        elif first is not None and at_first == 0:
            draft.put(first.mark, 0, "steering", "step", "updates")
            first = None
    except UnreadableError as error:
        draft.missing((later or first).mark, "step_threshold", str(error))  # type: ignore[union-attr]
        return
    reason = "a clock is stepped beyond 100 ms, in its first three updates; steering.step"
    for line in (later if not any_time else None, first):
        if line is not None:
            draft.differs(line.mark, line.words[0], reason if not any_time else "one threshold: that of step_threshold")


def leave(draft: Draft, lines: Iterable[Line], profile: str) -> None:
    """Say of what is left why it is no value."""
    for line in lines:
        option, value = line.words[0], " ".join(line.arguments)
        word = f"{option} {value}"[:60].rstrip()
        if option in BY_PROFILE.get(profile, ()):
            draft.needless(line.mark, word, f"the profile {profile} says it")
        elif option == "clock_type" and value.upper().endswith("TC"):
            draft.missing(line.mark, word, "none: there are no transparent clocks")
        elif option in NEEDLESS:
            draft.needless(line.mark, word, NEEDLESS[option])
        elif _same(DEFAULTS.get(option), value) or option in ("transportSpecific", "dataset_comparison"):
            draft.needless(line.mark, word, "ptp4l's default; nothing is lost")
        else:
            draft.missing(line.mark, word, MISSING.get(option, "not known here; see ptp4l(8)"))


def _same(default: str | None, value: str) -> bool:
    if default is None:
        return False
    try:
        return number(default) == number(value)
    except UnreadableError:
        return default.lower() == value.lower()
