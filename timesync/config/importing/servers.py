"""NTP servers as chrony and ntpd name them."""

from __future__ import annotations

from collections.abc import Mapping as Lookup

from timesync.config.address import NTP_PORT, AddressError, HostPort, parse_host_port
from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Line
from timesync.config.importing.numbers import UnreadableError, number, poll_range, seconds, whole

DEFAULT_POLL = (6, 10)
"""Of chrony and ntpd both."""
_EVENT_PORT, _KE_PORT = 319, 4460
_MOST_OF_POOL = 16

OPTION_REASONS = {
    "autokey": "Autokey is broken and gone from NTP; nts: true is what authenticates now",
    "asymmetry": "none: jitter on the two ways is not told apart; what is known of the path goes into offset",
    "auto_offline": "none: a server that cannot be reached costs nothing, and is asked again",
    "burst": "none: one request each interval; a burst comes at the start and when the server is back",
    "copy": "none: two instances on one machine are not needed; workers serve and one daemon steers",
    "extfield": "none: NTPv5 takes the place of chrony's experimental field",
    "filter": "none: the estimator weighs each measurement by what its delay says",
    "maxdelay": "none: a measurement counts for less the longer its delay is",
    "maxdelaydevratio": "none: a measurement counts for less the longer its delay is",
    "maxdelayquant": "none: a measurement counts for less the longer its delay is",
    "maxdelayratio": "none: a measurement counts for less the longer its delay is",
    "maxsamples": "none: how long measurements count follows from learnt noise and wander",
    "maxunreach": "none: a server that does not answer is asked for ever, at the longest interval",
    "mindelay": "none: the least delay is what was measured",
    "minsamples": "none: how long measurements count follows from learnt noise and wander",
    "minstratum": "none: what a source is worth is its claimed distance and its noise, not its stratum",
    "mode": "none: it is for reference clocks only",
    "noval": "none: certificates are always judged; a private authority's goes into ca:",
    "offline": "none: it is asked from the start; one that cannot be reached costs nothing",
    "polltarget": "none: the interval follows from what a measurement would add",
    "preempt": "none: every source is kept, and dead ones of a pool are replaced",
    "prefer": "none: sources are weighed by what they are worth; trust: true is for one that is never wrong",
    "presend": "none: a delay that is long because of ARP counts for less",
    "require": "none: steering.minimum_sources says how many must agree, trust: true who is never outvoted",
    "ttl": "none: it is for multicast, which is not spoken",
    "aead": "none: the best one that both know is agreed upon",
    "expire": "none: certificates are judged by their dates",
    "ask": "none: the server of NTS-KE is the address itself",
}
"""Options of servers without an equal here."""
_HARMLESS = {"aead", "auto_offline", "filter", "maxdelay", "maxdelaydevratio", "maxdelayquant", "maxdelayratio",
             "maxsamples", "maxunreach", "mindelay", "minsamples", "mode", "offline", "polltarget", "preempt",
             "presend"}  # fmt: skip
_FAMILY = {"-4", "-6", "--ipv4", "--ipv6", "ipv4", "ipv6"}
_READ = {"iburst", "nts", "key", "minpoll", "maxpoll", "noselect", "trust", "true", "offset", "bias", "xleave", "port",
         "ntsport", "version", "maxsources", "ca", "certset"}  # fmt: skip


def add_server(draft: Draft, line: Line, address: str, given: Lookup[str, str], ca: str | None) -> None:
    """One line ``server``, ``pool`` or ``peer``.

    Args:
        draft: Where it goes.
        line: It.
        address: Its host.
        given: Its options by name, with their words.
        ca: The file of certificates to trust instead of the system's, for ``nts``.

    Raises UnreadableError.
    """
    kind = "pool" if line.name == "pool" else "ntp"
    try:
        host = parse_host_port(address, NTP_PORT)
    except AddressError as error:
        raise UnreadableError(error.message) from None
    # An address with a port in it is none of theirs: they have the option `port`.
    if kind == "pool" and host.numeric:
        draft.differs(line.mark, line.name, "a numeric address is one server, so it is ntp: here")
        kind = "ntp"
    chosen: dict[str, Value] = {}
    where = _port(draft, line, host, given, chosen)
    _poll(draft, line, given, chosen)
    if "maxsources" in given and kind == "pool":
        chosen["count"] = min(max(whole(given["maxsources"]), 1), _MOST_OF_POOL)
    if "iburst" not in given:
        chosen["burst"] = False
    _secure(draft, line, given, chosen, ca)
    _judge(draft, line, given, chosen)
    _leave(draft, line, given)
    if line.name == "peer":
        reason = "symmetric mode is not spoken: it is asked as a server; let the other side ask us in the same way"
        draft.differs(line.mark, "peer", reason)
    draft.add_source(line.mark, kind, where, chosen)


def _port(draft: Draft, line: Line, host: HostPort, given: Lookup[str, str], chosen: dict[str, Value]) -> str:
    """The address with its port, as it is written here."""
    if "nts" in given:
        if "port" in given:
            draft.needless(line.mark, "port", "the server of NTS-KE says which port NTP has")
        port = whole(given.get("ntsport") or str(_KE_PORT))
        return host.host if port == _KE_PORT else str(HostPort(host.host, port))
    port = whole(given.get("port") or str(NTP_PORT))
    if port == _EVENT_PORT:
        chosen["transport"] = "ptp"
        return host.host
    return host.host if port == NTP_PORT else str(HostPort(host.host, port))


def _poll(draft: Draft, line: Line, given: Lookup[str, str], chosen: dict[str, Value]) -> None:
    """The range of intervals; one end that is given alone moves the other."""
    least, most = (whole(given.get(name) or str(default)) for name, default in
                   zip(("minpoll", "maxpoll"), DEFAULT_POLL, strict=True))  # fmt: skip
    if least > most:
        least, most = (most, most) if "minpoll" not in given else (least, least)
    poll, changed = poll_range(least, most)
    chosen["poll"] = [*poll]
    if changed is not None:
        draft.differs(line.mark, "minpoll" if "minpoll" in given else "maxpoll", changed)


def _secure(draft: Draft, line: Line, given: Lookup[str, str], chosen: dict[str, Value], ca: str | None) -> None:
    if "nts" in given:
        chosen["nts"] = True
        if ca is not None:
            chosen["ca"] = ca
        if "key" in given:
            draft.needless(line.mark, "key", "nts authenticates already")
    elif "key" in given:
        chosen["key"] = whole(given["key"])
    if "version" in given:
        version = whole(given["version"])
        if version == 3 and "nts" not in given:
            chosen["version"] = 3
        elif version != 4:
            draft.differs(line.mark, "version", f"version {version} is not spoken here: it is asked with version 4")


def _judge(draft: Draft, line: Line, given: Lookup[str, str], chosen: dict[str, Value]) -> None:
    """What its time is worth."""
    offset = number(given["offset"]) if "offset" in given else number(given["bias"]) if "bias" in given else 0
    if offset:
        # Theirs is added to what was measured, ours is what the source is ahead.
        chosen["offset"] = seconds(-offset, "-1h", "1h")
    if "noselect" in given:
        chosen["noselect"] = True
    if "trust" in given or "true" in given:
        if "noselect" in given:
            draft.needless(line.mark, "trust", "a source that is never used (noselect) outvotes nobody")
        else:
            chosen["trust"] = True
    if "xleave" in given:
        draft.needless(line.mark, "xleave", "interleaved mode is used wherever the server has it")


def _leave(draft: Draft, line: Line, given: Lookup[str, str]) -> None:
    """What has no equal."""
    for name in given:
        if name in _READ:
            continue
        if name in _FAMILY:
            draft.missing(line.mark, name, "none: all addresses of a name count; write the address itself")
        elif name in OPTION_REASONS:
            say = draft.needless if name in _HARMLESS else draft.missing
            say(line.mark, name, OPTION_REASONS[name])
        else:
            draft.missing(line.mark, name, "not known here")
