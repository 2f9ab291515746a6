"""What chrony.conf says of serving: NTP, NTS, and the last resort."""

from __future__ import annotations

from itertools import zip_longest

from timesync.config.address import NTP_PORT
from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Book, Line, options, trying
from timesync.config.importing.numbers import UnreadableError, power, whole
from timesync.config.importing.serving import EVERYBODY, address, endpoints, network
from timesync.config.nts import KE_PORT
from timesync.config.source import Mark

_EVENT_PORT = 319
_WITHOUT = ("deny", "bindaddress", "ratelimit", "port", "ptpport", "ntsport", "ntsservercert", "ntsserverkey",
            "maxntsconnections", "noclientlog", "clientloglimit")  # fmt: skip
_DEFAULT_RATE = (3, 8)
_LONGEST, _SHORTEST = 11, -9
_CLIENT_OCTETS = 410
_MOST_CLIENTS = 65_536


def serve(draft: Draft, book: Book) -> bool:
    """All of it; gives whether NTP is served."""
    _last_resort(draft, book)
    allowed = book.all("allow")
    port = book.last("port")
    closed = port is not None and port.value == "0"
    if not allowed or closed:
        why = "port 0 closes the NTP server" if closed else "without allow chronyd serves nobody, and so it is here"
        for line in [*allowed, *book.all(*_WITHOUT)]:
            draft.needless(line.mark, line.name, why)
        if port is not None:
            draft.needless(port.mark, "port", why)
        return False
    for line in allowed:
        _networks(draft, line, "allow")
    for line in book.all("deny"):
        _networks(draft, line, "deny")
    if not draft.has("serve", "ntp"):
        for line in (line for line in [*book.all(*_WITHOUT), port] if line is not None):
            draft.missing(line.mark, line.name, "none of the networks of allow could be read: NTP is not served")
        return False
    addresses = _addresses(draft, book)
    _listen(draft, book, port, addresses)
    _rate_limit(draft, book)
    _client_log(draft, book)
    _nts(draft, book, addresses)
    return True


def _networks(draft: Draft, line: Line, key: str) -> None:
    """One line ``allow`` or ``deny``."""
    words = [word for word in line.arguments if word.lower() != "all"]
    if len(words) < len(line.arguments) and (words or key == "allow"):
        reason = "the longest prefix decides here, always: networks that other lines name keep what these say"
        draft.differs(line.mark, f"{key} all", reason)
    try:
        wanted = [network(word) for word in words] if words else [*EVERYBODY]
    except UnreadableError as error:
        draft.missing(line.mark, key, str(error))
        return
    for each in wanted:
        draft.append(line.mark, each, "serve", "ntp", key)


def _addresses(draft: Draft, book: Book) -> dict[str, Mark]:
    """Addresses to listen on, and who says so."""
    chosen: dict[str, Mark] = {}
    for line in book.all("bindaddress"):
        try:
            chosen[address(line.value)] = line.mark
        except UnreadableError as error:
            draft.missing(line.mark, "bindaddress", str(error))
    return chosen


def _listen(draft: Draft, book: Book, port: Line | None, addresses: dict[str, Mark]) -> None:
    """Where NTP is served, and NTP over PTP."""
    try:
        wanted = endpoints([*addresses], NTP_PORT if port is None else whole(port.value), NTP_PORT)
    except UnreadableError as error:
        assert port is not None
        draft.missing(port.mark, "port", str(error))
        return
    marks = [*addresses.values(), *([port.mark] if port is not None else [])]
    for each, mark in zip_longest(wanted or [], marks):
        if each is None:
            draft.needless(mark, "port", "in listen" if wanted else "it is the default")
        else:
            draft.append(mark or marks[-1], each, "serve", "ntp", "listen")
    over_ptp = book.last("ptpport")
    if over_ptp is not None and over_ptp.value != "0":
        trying(draft, over_ptp, lambda: _listen_over_ptp(draft, over_ptp, [*addresses]))
    elif over_ptp is not None:
        draft.needless(over_ptp.mark, "ptpport", "it is the default")


def _listen_over_ptp(draft: Draft, line: Line, addresses: list[str]) -> None:
    for each in endpoints(addresses, whole(line.value), 0) or []:
        draft.append(line.mark, each, "serve", "ntp", "ptp_listen")


def _rate_limit(draft: Draft, book: Book) -> None:
    line = book.last("ratelimit")
    if line is None:
        return
    given = options(line.arguments, {"interval", "burst", "leak", "kod"})
    try:
        interval, burst = (whole(given.get(name) or str(default)) for name, default in
                           zip(("interval", "burst"), _DEFAULT_RATE, strict=True))  # fmt: skip
    except UnreadableError as error:
        draft.missing(line.mark, "ratelimit", str(error))
        return
    limit: dict[str, Value] = {
        "interval": power(min(max(interval, _SHORTEST), _LONGEST)),
        "burst": min(max(burst, 1), 255),
        "reply": "kod" if given.get("kod", "0") != "0" else "drop",
    }
    draft.put(line.mark, limit, "serve", "ntp", "rate_limit")
    if "leak" in given:
        reason = "none: what is over the limit is never answered by chance; clients that send slower are"
        draft.missing(line.mark, "leak", reason)


def _client_log(draft: Draft, book: Book) -> None:
    """Whether a record of each client is kept, and of how many."""
    off, limit = book.last("noclientlog"), book.last("clientloglimit")
    if off is not None:
        draft.put(off.mark, 0, "serve", "ntp", "clients")
        reason = "no record of clients; rate limits and interleaved mode, which chronyd then does without, stay"
        draft.differs(off.mark, off.name, reason)
    if limit is None:
        return
    if off is not None:
        draft.needless(limit.mark, limit.name, "no record of clients is kept")
        return
    try:
        wanted = min(max(whole(limit.value) // _CLIENT_OCTETS, 1), _MOST_CLIENTS)
    except UnreadableError as error:
        draft.missing(limit.mark, limit.name, str(error))
        return
    draft.put(limit.mark, wanted, "serve", "ntp", "clients")
    draft.differs(
        limit.mark, limit.name, "octets there, and a number of addresses here, at 0.4 KiB each and by each worker"
    )


def _nts(draft: Draft, book: Book, addresses: dict[str, Mark]) -> None:
    """Certificates and keys belong together in their order."""
    certificates, private = book.all("ntsservercert"), book.all("ntsserverkey")
    port, connections = book.last("ntsport"), book.last("maxntsconnections")
    for line in [*certificates[len(private) :], *private[len(certificates) :]]:
        draft.missing(line.mark, line.name, "a certificate and its key are needed, as many of one as of the other")
    pairs = list(zip(certificates, private, strict=False))
    if not pairs:
        for line in (line for line in (port, connections) if line is not None):
            draft.needless(line.mark, line.name, "there is no certificate, so no key is established")
        return
    (certificate, key), *more = pairs
    draft.put(certificate.mark, certificate.value, "serve", "nts", "certificate")
    draft.put(key.mark, key.value, "serve", "nts", "private_key")
    for another, its_key in more:
        draft.append(another.mark, {"certificate": another.value, "private_key": its_key.value}, "serve", "nts", "more")
        draft.needless(its_key.mark, "ntsserverkey", f"with the certificate of {another.mark}")
    try:
        wanted = endpoints([*addresses], KE_PORT if port is None else whole(port.value), KE_PORT)
    except UnreadableError as error:
        assert port is not None
        draft.missing(port.mark, "ntsport", str(error))
        return
    for each in wanted or []:
        draft.append(port.mark if port is not None else certificate.mark, each, "serve", "nts", "listen")
    if port is not None and wanted is None:
        draft.needless(port.mark, "ntsport", "it is the default")
    if connections is not None:
        try:
            draft.put(connections.mark, min(max(whole(connections.value), 1), 4096), "serve", "nts", "connections")
        except UnreadableError as error:
            draft.missing(connections.mark, connections.name, str(error))


_LAST_RESORT = {
    "orphan": "none: two that have lost all sources do not elect one of them; give them different strata",
    "distance": "none: it is served when no source is reachable",
    "activate": "none: it is served when no source is reachable",
    "waitsynced": "none: it is served when no source is reachable",
    "waitunsynced": "none: steering.holdover says how long a clock without a source keeps its class",
}
_DEFAULT_STRATUM = "10"


def _last_resort(draft: Draft, book: Book) -> None:
    """``local``: served when nothing is reachable."""
    line = book.last("local")
    if line is None:
        return
    given = options(line.arguments, {"stratum", "distance", "activate", "waitsynced", "waitunsynced"})
    try:
        stratum = whole(given.get("stratum") or _DEFAULT_STRATUM)
    except UnreadableError as error:
        draft.missing(line.mark, "local", str(error))
        return
    draft.put(line.mark, min(max(stratum, 1), 15), "serve", "local_stratum")
    for name in given:
        if name in _LAST_RESORT:
            draft.missing(line.mark, f"local {name}", _LAST_RESORT[name])
