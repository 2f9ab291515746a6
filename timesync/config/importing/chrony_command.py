"""What chrony.conf says of chronyc: where it is answered, and whom."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from timesync.config.importing.draft import Draft
from timesync.config.importing.lines import Book, Line
from timesync.config.importing.numbers import UnreadableError
from timesync.config.importing.serving import EVERYBODY, network

_PORT = "323"
_LOCAL = ("127.0.0.1", "::1")
_ONE_ADDRESS = "answers to chronyc are for one address, that of observe.chronyc.listen"


def chronyc(draft: Draft, book: Book) -> None:
    """All of it: ``cmdallow``, ``bindcmdaddress``, ``cmdport`` and their like."""
    port, addresses = book.last("cmdport"), book.all("bindcmdaddress")
    allowed = list(_allowed(draft, book.all("cmdallow")))
    for line in book.all("cmdratelimit"):
        draft.needless(line.mark, line.name, "answers to chronyc are limited always")
    if port is not None and port.value == "0":
        draft.needless(port.mark, "cmdport 0", "chronyc is not answered unless observe.chronyc says so")
        for line in [*addresses, *book.all("cmddeny"), *(line for line, _ in allowed)]:
            draft.needless(line.mark, line.name, "chronyc is not answered: cmdport is 0")
        return
    for line in book.all("cmddeny"):
        if allowed:
            draft.missing(line.mark, line.name, "none: observe.chronyc.allow names those who may ask, and nobody else")
        else:
            draft.needless(
                line.mark, line.name, "only this machine is answered, unless observe.chronyc.allow says more"
            )
    for line in addresses:
        if _is_socket(line):
            draft.put(line.mark, line.value, "observe", "chronyc", "socket")
    _listen(draft, port, list(_taken(draft, [line for line in addresses if not _is_socket(line)])), allowed)


def _is_socket(line: Line) -> bool:
    return line.value.startswith("/") and line.value != "/"


def _taken(draft: Draft, addresses: list[Line]) -> Iterator[Line]:
    """Those that chronyd takes: of each IP version the last one."""
    last = {_version(line.value): line for line in addresses}
    for line in addresses:
        version = _version(line.value)
        if version is None or line is last[version]:
            yield line
        else:
            draft.needless(line.mark, f"bindcmdaddress {line.value}", "chronyd takes the last one of each IP version")


def _listen(draft: Draft, port: Line | None, addresses: list[Line], allowed: list[tuple[Line, str]]) -> None:
    """Where questions are taken over UDP, and of whom."""
    beyond = next((line for line in addresses if _is_beyond(line.value)), None) if allowed else None
    chosen = beyond or next((line for line in addresses if line.value in _LOCAL), None)
    for line in addresses:
        if line is not chosen:
            draft.missing(line.mark, f"bindcmdaddress {line.value}", f"none: {_ONE_ADDRESS}")
    where = chosen or port
    if where is not None:
        host = _LOCAL[0] if chosen is None else chosen.value
        number = port.value if port is not None and port.value.isdecimal() else _PORT
        draft.put(
            where.mark, f"[{host}]:{number}" if ":" in host else f"{host}:{number}", "observe", "chronyc", "listen"
        )
        if port is not None and port.mark != where.mark:
            draft.needless(port.mark, "cmdport", "in observe.chronyc")
    for line, each in allowed:
        if beyond is not None:
            draft.append(line.mark, each, "observe", "chronyc", "allow")
        else:
            reason = f"{_ONE_ADDRESS}: name one of this machine's there, and the networks in observe.chronyc.allow"
            draft.differs(line.mark, f"cmdallow {each}", reason)


def _allowed(draft: Draft, lines: list[Line]) -> Iterator[tuple[Line, str]]:
    """The networks beyond this machine that may ask."""
    for line in lines:
        words = [word for word in line.arguments if word.lower() != "all"]
        try:
            wanted = [network(word) for word in words] if words else [*EVERYBODY]
        except UnreadableError as error:
            draft.missing(line.mark, line.name, str(error))
            continue
        for each in wanted:
            if ip_network(each).is_loopback:
                draft.needless(line.mark, f"cmdallow {each}", "this machine is always answered, by observe.chronyc")
            else:
                yield line, each


def _version(text: str) -> int | None:
    """4 or 6; None for what is no address."""
    found = _address(text)
    return None if found is None else found.version


def _is_beyond(text: str) -> bool:
    """Whether it is one address of this machine that others reach."""
    found = _address(text)
    return found is not None and not found.is_loopback and not found.is_unspecified


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
