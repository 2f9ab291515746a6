"""timemaster.conf as our configuration (timemaster(8) of linuxptp 4.4)."""

from __future__ import annotations

from timesync.config.importing.chrony import translate_lines
from timesync.config.importing.draft import Draft
from timesync.config.importing.lines import Line, Reader, Section, sections
from timesync.config.importing.ntpd import translate_lines as translate_ntpd_lines
from timesync.config.importing.ptp4l import translate_instance
from timesync.config.source import Source

_SERVER, _DOMAIN = "ntp_server ", "ptp_domain "
_PLAIN = {
    "timemaster": "there is one process", "chronyd": "there is one process", "ntpd": "there is one process",
    "phc2sys": "one daemon compares its clocks", "ptp4l": "there is one process",
}  # fmt: skip
_OF_DOMAIN = {
    "ntp_poll": "each measurement counts when it comes",
    "phc2sys_poll": "cards are compared each clocks.NAME.pair_interval",
    "delay": "the bound of a PTP source comes from its clockAccuracy and what is seen of the link",
    "ntp_options": "say trust or noselect at the port",
}
_OF_SERVER = ("minpoll", "maxpoll")


def translate_timemaster(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole timemaster.conf."""
    found = sections(source)
    uses_ntpd = any(line.words == ("ntp_program", "ntpd") for section in found for line in section.lines)
    for_ptp: list[Line] = []
    for_ntp: list[Line] = []
    for section in found:
        if section.title in ("ptp4l.conf", "chrony.conf", "ntp.conf"):
            used = section.title == ("ntp.conf" if uses_ntpd else "chrony.conf")
            if section.title == "ptp4l.conf":
                for_ptp += section.lines
            elif used:
                for_ntp += section.lines
            else:
                for line in section.lines:
                    draft.needless(line.mark, line.words[0], "for the NTP program that is not used")
            draft.needless(section.mark, f"[{section.title}]", "what it says is below, line by line")
        elif section.title.startswith(_SERVER):
            for_ntp.append(_server(draft, section))
        elif not section.title.startswith(_DOMAIN):
            for line in (Line(section.mark, (f"[{section.title}]",)), *section.lines):
                draft.needless(line.mark, line.words[0], _PLAIN.get(section.title, "not known here"))
    translate = translate_ntpd_lines if uses_ntpd else translate_lines
    for section in found:
        if section.title.startswith(_DOMAIN):
            _domain(draft, section, for_ptp, reader)
    translate(draft, for_ntp, reader, interfaces)


def _server(draft: Draft, section: Section) -> Line:
    """The line of chrony.conf or ntp.conf that timemaster would write."""
    words = ["server", section.title.removeprefix(_SERVER)]
    for line in section.lines:
        if line.name in _OF_SERVER:
            words += [line.name, line.value]
        elif line.name == "iburst":
            words += ["iburst"] if line.value == "1" else []
        elif line.name == "ntp_options":
            words += line.arguments
        else:
            draft.missing(line.mark, line.words[0], "not known here; see timemaster(8)")
            continue
        draft.needless(line.mark, line.words[0], f"at the source {words[1]}")
    return Line(section.mark, tuple(words))


def _domain(draft: Draft, section: Section, for_ptp: list[Line], reader: Reader) -> None:
    """An instance that takes time only, as those of timemaster."""
    number = section.title.removeprefix(_DOMAIN)
    lines = [*for_ptp, Line(section.mark, ("domainNumber", number)), Line(section.mark, ("clientOnly", "1"))]
    ports = []
    for line in section.lines:
        if line.name == "interfaces":
            ports += [Section(line.mark, word, ()) for word in line.arguments]
        elif line.name == "ptp4l_option":
            lines.append(Line(line.mark, line.arguments or ("ptp4l_option",)))
        else:
            reason = _OF_DOMAIN.get(line.name, "not known here; see timemaster(8)")
            draft.needless(line.mark, line.words[0], reason)
    if not ports:
        draft.missing(section.mark, f"[{section.title}]", "names no interfaces")
        return
    draft.needless(section.mark, f"[{section.title}]", "an instance of ptp")
    translate_instance(draft, lines, ports, [], reader)
