"""What one key alone cannot show: names that refer to nothing, things said twice, numbers that cannot be met.

The checks read the tree and not the models, so that they also run on a file in which something else is wrong,
and every error is found at once. What they cannot read is left to the schema to complain about.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from timesync.config.address import NTP_PORT, AddressError, parse_listen
from timesync.config.clocks import SYSTEM
from timesync.config.csptp import EVENT_PORT
from timesync.config.csptp_checks import check_csptp
from timesync.config.explain import nearest
from timesync.config.look import complain, entries, items, number, value
from timesync.config.nts import KE_PORT
from timesync.config.over_ptp_checks import check_over_ptp
from timesync.config.problem import Problem, format_path
from timesync.config.ptp_checks import check_ptp, ptp_doubts
from timesync.config.ptp_look import following_ports
from timesync.config.roughtime_checks import check_roughtime, roughtime_doubts
from timesync.config.schema import Config, PoolSource, default_clock
from timesync.config.source_checks import check_clock_name, check_sources, clock_names
from timesync.config.tree import Location, Mapping, Scalar, find, key_mark, plain
from timesync.ntp.auth import WEAK_ALGORITHMS


def check(root: Mapping) -> Iterator[Problem]:
    """Every contradiction in a tree."""
    yield from _check_clocks(root)
    yield from check_sources(root)
    yield from _check_served_clock(root)
    yield from _check_enough_sources(root)
    yield from _check_listen(root, (("serve", "ntp", "listen"), NTP_PORT), (("serve", "ntp", "ptp_listen"), EVENT_PORT))
    yield from _check_listen(root, (("serve", "nts", "listen"), KE_PORT))
    yield from _check_nts(root)
    yield from check_ptp(root)
    yield from check_csptp(root)
    yield from check_over_ptp(root)
    yield from check_roughtime(root)


def doubts(config: Config, root: Mapping) -> Iterator[Problem]:
    """What is allowed but probably not meant."""
    location: Location
    serves_alone = config.serve.local_stratum is not None
    steering = [source for source in config.sources if source.kind != "roughtime"]
    if not steering and not serves_alone and not following_ports(root):
        none = "there are none but Roughtime, which steers nothing" if config.sources else "there are none"
        yield complain(root, ("sources",), f"{none}: no clock will be corrected")
    yield from roughtime_doubts(config, root)
    for name, clock in config.clocks.items():
        if clock.phc is not None and re.fullmatch("ptp[0-9]+", clock.phc):
            location = ("clocks", name, "phc")
            message = "is read as the name of a network interface"
            yield complain(root, location, message, f"/dev/{clock.phc}")
        if clock.virtual is not None and not clock.discipline:
            location = ("clocks", name)
            message = "nothing steers this virtual clock: it keeps its offset and its frequency error"
            yield Problem.at(key_mark(root, location), format_path(location), message)
    for index, source in enumerate(config.sources):
        if isinstance(source, PoolSource) and source.poll.least < 4:
            location = ("sources", index, "poll")
            message = "public servers refuse clients that ask more often than every 16s"
            yield complain(root, location, message)
    yield from ptp_doubts(config, root)
    for key_id, key in config.keys.items():
        if key.algorithm in WEAK_ALGORITHMS:
            location = ("keys", str(key_id), "algorithm")
            message = f"{key.algorithm} is weak (RFC 8573); use AES128 or SHA256 where the peer can"
            yield complain(root, location, message)


def _check_clocks(root: Mapping) -> Iterator[Problem]:
    """The system clock is the kernel's own; any other clock says what it is; no PTP hardware clock is there twice."""
    devices: dict[str, str] = {}
    location: Location
    for name, clock in entries(root, "clocks").items():
        if not isinstance(clock, Mapping):
            continue
        kinds = [
            key for key in ("virtual", "phc") if key in clock.entries and plain(clock.entries[key].value) is not None
        ]
        if name == SYSTEM:
            for kind in kinds:
                other = "virtual" if kind == "virtual" else "PTP hardware"
                message = f"the system clock is the kernel's; give the {other} clock a name of its own"
                yield Problem.at(key_mark(root, ("clocks", name, kind)), f"clocks.system.{kind}", message)
        elif not kinds:
            location = ("clocks", name)
            suggestion = nearest(name, [SYSTEM])
            message = "says not what clock it is; phc: or virtual: is needed"
            yield Problem.at(key_mark(root, location), format_path(location), message, suggestion)
        device = value(root, "clocks", name, "phc")
        if isinstance(device, str):
            first = devices.setdefault(device, name)
            if first != name:
                yield complain(root, ("clocks", name, "phc"), f"the same as clocks.{first}")


def _check_served_clock(root: Mapping) -> Iterator[Problem]:
    """The served clock exists, and is clear when it is not named."""
    yield from check_clock_name(root, ("serve", "clock"), clock_names(root))
    if value(root, "serve", "clock") is not None:
        return
    soft = [name for name in clock_names(root) if name == SYSTEM or find(root, ("clocks", name, "virtual")) is not None]
    disciplined = {name: value(root, "clocks", name, "discipline") is not False for name in soft}
    others = [name for name, steered in disciplined.items() if steered and name != SYSTEM]
    if not disciplined[SYSTEM] and len(others) > 1 and default_clock(disciplined) == SYSTEM:
        message = f"which clock is served? say serve.clock: {others[0]}, or another"
        yield complain(root, ("clocks",), message)


def _check_enough_sources(root: Mapping) -> Iterator[Problem]:
    """As many sources as must agree can be there; none at all is only a doubt."""
    needed = number(root, "steering", "minimum_sources")
    ports = [value(root, *port, "noselect") is not True for port in following_ports(root)]
    total = sum(ports)
    for index, item in enumerate(items(root, "sources")):
        if not isinstance(item, Mapping) or value(root, "sources", index, "noselect") is True:
            continue
        if "roughtime" in item.entries:
            continue
        count = value(root, "sources", index, "count") if "pool" in item.entries else 1
        default = PoolSource.model_fields["count"].default
        total += count if isinstance(count, int) else int(default)
    if needed is not None and (items(root, "sources") or ports) and needed > total:
        yield complain(root, ("steering", "minimum_sources"), f"{needed} must agree, but there are only {total}")


def _check_listen(root: Mapping, *places: tuple[Location, int]) -> Iterator[Problem]:
    """No two sockets want the same port of the same address; an IPv6 wildcard leaves IPv4 alone.

    Args:
        root: The tree.
        places: Lists of endpoints, and the port of each where none is given.
    """
    # By family and port: the first entry for each address.
    seen: dict[tuple[int, int], dict[str, str]] = {}
    written = ((place, index, port) for place, port in places for index, _ in enumerate(items(root, *place)))
    for place, index, default_port in written:
        text = value(root, *place, index)
        if not isinstance(text, str):
            continue
        try:
            endpoint = parse_listen(text, default_port)
        except AddressError:
            continue
        if endpoint.port == 0:
            continue
        family = ipaddress.ip_address(endpoint.address).version
        others = seen.setdefault((family, endpoint.port), {})
        every = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound)
        same = others if endpoint.address in every else (*every, endpoint.address)
        clash = next((others[address] for address in same if address in others), None)
        if clash is not None:
            yield complain(root, (*place, index), f"takes the same port as {clash}")
        others.setdefault(endpoint.address, f"{place[-1]}[{index}]")


def _check_nts(root: Mapping) -> Iterator[Problem]:
    """NTS-KE has an NTP server to make cookies for, and is not asked on NTP's port."""
    nts = find(root, ("serve", "nts"))
    if isinstance(nts, Mapping):
        elsewhere = value(root, "serve", "nts", "server") is not None
        if not elsewhere and not isinstance(find(root, ("serve", "ntp")), Mapping):
            message = (
                "there is no NTP server for its clients; serve.ntp: {} is one, or name another as serve.nts.server"
            )
            yield Problem.at(key_mark(root, ("serve", "nts")), "serve.nts", message)
        if elsewhere and value(root, "serve", "nts", "seed") is None:
            message = "another server opens our cookies only with the same seed; name its file as serve.nts.seed"
            yield complain(root, ("serve", "nts", "server"), message)
        versions = [node.value for node in items(root, "serve", "ntp", "versions") if isinstance(node, Scalar)]
        if not elsewhere and versions and not {4, 5} & set(versions):
            message = "NTS needs NTP version 4 or 5, and serve.ntp.versions has neither"
            yield Problem.at(key_mark(root, ("serve", "nts")), "serve.nts", message)
    for index, _ in enumerate(items(root, "sources")):
        for kind in ("ntp", "pool"):
            text = value(root, "sources", index, kind)
            if value(root, "sources", index, "nts") is True and str(text).endswith(f":{NTP_PORT}"):
                host = str(text).removesuffix(f":{NTP_PORT}").strip("[]")
                message = f"with nts the port is that of NTS-KE, TCP {KE_PORT}; {NTP_PORT} is NTP's own"
                yield complain(root, ("sources", index, kind), message, host)
