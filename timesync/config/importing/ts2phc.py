"""ts2phc's files as our configuration (ts2phc(8) of linuxptp 4.4)."""

from __future__ import annotations

from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Line, Reader, Section, sections, trying
from timesync.config.importing.numbers import UnreadableError, nanoseconds, number, whole
from timesync.config.importing.ptp4l import GLOBAL, for_all, leave, settings_of
from timesync.config.importing.ptp4l_ports import Settings
from timesync.config.importing.refclocks import clock_name
from timesync.config.source import Mark, Source

_MINE = "ts2phc."
_NEEDLESS = {
    "ts2phc.pulsewidth": "the width of pulses that come in is learnt",
    "ts2phc.tod_source": "who numbers the pulses is pairs_with, or any good source",
    "ts2phc.holdover": "holdover has no threshold: the error bound grows and is shown; steering.holdover",
    "ts2phc.perout_phase": "pulses begin at full seconds",
    "ts2phc.external_pps": "the direction follows the references",
}
_MISSING = {
    "ts2phc.nmea_remote_host": "none: gpsd is what is read over TCP, {gpsd: HOST}",
    "ts2phc.nmea_remote_port": "none: gpsd is what is read over TCP",
    "ts2phc.pulserate": "none: one pulse a second",
    "ts2phc.pin_name": "pin, its index",
}
_BAUD = "ts2phc.nmea_baudrate"


def translate_ts2phc(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole file of ts2phc."""
    del reader
    found = sections(source)
    loose = [line for section in found if section.title in ("", GLOBAL) for line in section.lines]
    cards = [section for section in found if section.title not in ("", GLOBAL)]
    for section in found:
        if section.title == GLOBAL:
            draft.needless(section.mark, "[global]", "what it says is below, line by line")
    start = loose[0].mark if loose else (found[0].mark if found else Mark(source, 1, 1))
    cards += [Section(start, name, ()) for name in interfaces if name not in {card.title for card in cards}]
    settings = settings_of(draft, loose)
    numbered = _receiver(draft, settings)
    for_all(draft, settings)
    own = [settings_of(draft, card.lines) for card in cards]
    shared = {name: line for name, line in settings.items() if name in _OF_CARD}
    gives = [_is_on({**shared, **mine}.get("ts2phc.master")) for mine in own]
    for card, mine, giving in zip(cards, own, gives, strict=True):
        trying(draft, Line(card.mark, (card.title,)), lambda card=card, mine=mine, giving=giving: _card(  # type: ignore[misc]
            draft, card, {**shared, **mine}, giving=giving, pulses=not any(gives)))  # fmt: skip
    if cards and not any(gives) and not numbered:
        reason = "pulses are numbered by a source: put in yours (nmea, gpsd, a server) where this pool stands"
        draft.differs(start, "ts2phc -s", reason)
        poll: Value = ["64s", "1024s"]
        draft.add_source(start, "pool", "pool.ntp.org", {"poll": poll})
    _rest(draft, settings, own)


_OF_CARD = ("ts2phc.channel", "ts2phc.pin_index", "ts2phc.extts_polarity", "ts2phc.extts_correction", "ts2phc.master",
            "ts2phc.pulsewidth")  # fmt: skip


def _is_on(line: Line | None) -> bool:
    return line is not None and line.value == "1"


def _receiver(draft: Draft, settings: Settings) -> bool:
    """The receiver that numbers the pulses; gives whether there is one."""
    port = settings.pop("ts2phc.nmea_serialport", None)
    if port is None:
        return False
    options: dict[str, Value] = {}
    baud, delay = settings.pop(_BAUD, None), settings.pop("ts2phc.nmea_delay", None)
    try:
        if baud is not None:
            options["baud"] = whole(baud.value)
        if delay is not None and number(delay.value) > 0:
            options["delay"] = nanoseconds(number(delay.value))
    except UnreadableError as error:
        draft.missing(port.mark, "ts2phc.nmea", str(error))
    for line in (line for line in (baud, delay) if line is not None):
        draft.needless(line.mark, line.words[0], f"at the source {port.value}")
    draft.add_source(port.mark, "nmea", port.value, options)
    return True


def _card(draft: Draft, card: Section, given: Settings, *, giving: bool, pulses: bool) -> None:
    """A card, and the pulses that it stamps or gives. Raises UnreadableError."""
    name = clock_name(card.title)
    draft.put(card.mark, card.title, "clocks", name, "phc")

    def value(option: str) -> str | None:
        return given[option].value if option in given else None

    channel, pin = whole(value("ts2phc.channel") or "0"), whole(value("ts2phc.pin_index") or "0")
    if giving:
        out: dict[str, Value] = {"channel": channel, "pin": pin}
        width = value("ts2phc.pulsewidth")
        if width is not None:
            out["width"] = nanoseconds(number(width))
        draft.put(card.mark, out, "clocks", name, "pulse_out")
        draft.needless(given["ts2phc.master"].mark, "ts2phc.master 1", "pulse_out")
        return
    if not pulses:
        reason = "its pulses come from a card that is steered here too: the kernel's calls compare both without a wire"
        draft.differs(card.mark, f"[{card.title}]", reason)
        return
    options: dict[str, Value] = {"channel": channel, "pin": pin}
    if value("ts2phc.extts_polarity") == "falling":
        options["edge"] = "clear"
    correction = number(value("ts2phc.extts_correction") or "0")
    if correction:
        options["offset"] = nanoseconds(correction)
    draft.add_source(card.mark, "pps", name, options)


def _rest(draft: Draft, settings: Settings, own: list[Settings]) -> None:
    left: list[Line] = []
    for line in [*settings.values(), *(line for mine in own for line in mine.values())]:
        option = line.words[0]
        if option in _OF_CARD:
            draft.needless(
                line.mark, " ".join(line.words), "with the clock or the pulse of its card, as far as it has one"
            )
        elif option in _NEEDLESS:
            draft.needless(line.mark, option, _NEEDLESS[option])
        elif option.startswith(_MINE):
            draft.missing(line.mark, option, _MISSING.get(option, "not known here; see ts2phc(8)"))
        else:
            left.append(line)
    leave(draft, left, "")
