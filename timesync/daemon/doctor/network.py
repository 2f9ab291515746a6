"""The network: the port of the server, names, and one question to each server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.config.address import HostPort
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.doctor import words
from timesync.daemon.doctor.case import Case, UnfinishedError
from timesync.daemon.doctor.check import Cause, Finding, fail, ok, warn
from timesync.daemon.doctor.machine import Machine
from timesync.daemon.query import SYSTEM_CLOCK, measuring_host, query
from timesync.ntp.query import Outcome, QuerySettings, best_of
from timesync_drivers import proc
from timesync_drivers.interfaces import local_addresses

_ANSWER = Duration.from_s(3)
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_UNITS = {"chronyd": "chrony", "ntpd": "ntpsec", "ntp-daemon": "ntpd-rs"}


def ports(case: Case) -> Iterator[Finding]:
    """Whether the addresses to serve on can be had."""
    serve = case.config.serve.ntp
    for endpoint in () if serve is None else serve.listen:
        yield _port(case, endpoint)


def _port(case: Case, endpoint: Endpoint) -> Finding:
    machine, subject = case.machine, f"UDP {endpoint}"
    if endpoint.address not in _WILDCARDS and endpoint.address not in local_addresses():
        remedy = "write an address of this machine in serve.ntp.listen: ip -brief address"
        return fail("TS-NET-001", subject, f"no interface has {endpoint.address}", remedy)
    for opened in proc.udp_sockets(machine.proc):
        if opened.port != endpoint.port or not _meets(opened.address, endpoint.address):
            continue
        found = proc.holders(machine.proc, f"socket:[{opened.inode}]")
        who = ", ".join(map(str, found.processes)) or f"a process that user {machine.user.name} may not see"
        if case.running is not None and (not found.processes or found.processes[0].pid == case.running.pid):
            return ok("TS-NET-001", subject, "the running timesync has it")
        if case.running is not None and any("timesync" in word for word in found.processes[0].arguments):
            return ok("TS-NET-001", subject, f"{who}: a worker of the running timesync has it")
        unit = _UNITS.get(found.processes[0].name) if found.processes else None
        remedy = f"sudo systemctl disable --now {unit}" if unit else f"sudo ss -ulpn 'sport = :{endpoint.port}'"
        return fail("TS-NET-001", subject, f"{who} listens on {opened.address} port {opened.port}", remedy)
    return _privileged(machine, endpoint, subject) or ok("TS-NET-001", subject, "nobody listens there")


def _meets(first: str, second: str) -> bool:
    """Whether two sockets on one port exclude each other: same address, or one takes all of the family."""
    same_family = ip_address(first).version == ip_address(second).version
    return same_family and (first == second or first in _WILDCARDS or second in _WILDCARDS)


def _privileged(machine: Machine, endpoint: Endpoint, subject: str) -> Finding | None:
    """A low port that the user may not open; None when it may."""
    try:
        first_free = int((machine.proc / "sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        first_free = 1024
    if endpoint.port >= first_free or endpoint.port == 0 or machine.unit or machine.user.uid == 0:
        return None
    if proc.capabilities(machine.proc, "CapEff") & 1 << proc.CAP_NET_BIND_SERVICE:
        return None
    evidence = f"ports below {first_free} need CAP_NET_BIND_SERVICE, which user {machine.user.name} has not"
    remedy = "run it as root, or listen on a higher port: serve.ntp.listen: [0.0.0.0:11123]"
    return fail("TS-NET-001", subject, evidence, remedy, cause=Cause.PERMISSION)


def servers(case: Case) -> list[HostPort]:
    """The servers and pools of the configuration."""
    found = [
        source.ntp if isinstance(source, NtpSource) else source.pool
        for source in case.config.sources
        if isinstance(source, NtpSource | PoolSource)
    ]
    return list(dict.fromkeys(found))


def begin(case: Case, server: HostPort) -> None:
    """Begin to look its name up, and to ask it then."""
    case.background.begin("dns", str(server), lambda: _look_up(server))
    case.background.begin("ntp", str(server), lambda: _ask(case, server))


def _look_up(server: HostPort) -> list[Endpoint]:
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(Endpoint(str(address[0]).partition("%")[0], server.port) for *_, address in found))


def _ask(case: Case, server: HostPort) -> list[Outcome]:
    endpoints = case.background.result("dns", str(server), list)
    assert endpoints
    return asyncio.run(_query(case.table, endpoints[0]))


async def _query(table: LeapTable, endpoint: Endpoint) -> list[Outcome]:
    settings = QuerySettings(local=SYSTEM_CLOCK, timeout=_ANSWER)
    return await query(measuring_host(table), table, endpoint, settings)


def examine(case: Case, server: HostPort) -> Iterator[Finding]:
    """One server."""
    subject = str(server)
    try:
        found = case.background.result("dns", subject, list)
    except OSError as error:
        remedy = "correct the name, or the name server: resolvectl status; cat /etc/resolv.conf"
        yield fail("TS-NET-002", subject, f"getaddrinfo: {error.strerror or error}", remedy)
        return
    except UnfinishedError:
        yield fail("TS-NET-002", subject, "the name server does not answer", "resolvectl status; cat /etc/resolv.conf")
        return
    assert found
    if not server.numeric:
        yield ok("TS-NET-002", subject, ", ".join(one.address for one in found[:4]))
    outcomes = case.background.result("ntp", subject, list)
    if outcomes is not None:
        yield judge(subject, outcomes)


def judge(subject: str, outcomes: list[Outcome]) -> Finding:
    """What came of the question."""
    outcome = outcomes[-1]
    best = best_of(outcomes)
    if outcome.packet is None or best is None or best.sample is None:
        said = outcome.kiss and f"kiss-o'-death {outcome.kiss}"
        evidence = said or outcome.trouble or (outcome.refusal and outcome.refusal.value) or "no usable answer"
        remedy = f"timesync query {subject}; the firewall must let UDP port 123 out and the answers in"
        return fail("TS-NET-003", subject, evidence, remedy)
    sample = best.sample
    side = "ahead of" if sample.offset.scaled_ns >= 0 else "behind"
    evidence = (
        f"stratum {outcome.packet.stratum}, round trip {words.span(sample.round_trip.s())}, "
        f"the system clock is {words.span(abs(sample.offset.s()))} {side} it"
    )
    if best.refusal is not None:
        remedy = f"timesync query {subject} shows what it says of itself; name another server"
        return warn("TS-NET-003", subject, f"{evidence}; refused: {best.refusal.value}", remedy)
    return ok("TS-NET-003", subject, evidence)
