"""Unicast negotiation with linuxptp's ptp4l: our client at its server, and its client at our server.

ptp4l runs with ``free_running`` and without CAP_SYS_TIME; nobody touches a clock.
"""

from __future__ import annotations

import itertools
import random
import select
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from interop_support import REQUIRED, Node, lan, peer_environment, running

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.measure import Stamp
from timesync.base.time import Instant, Mono
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.instance import Instance
from timesync.ptp.settings import InstanceSettings, Intervals, LocalQuality, PortSettings
from timesync.ptp.unicast.client import UnicastClient, UnicastClientSettings, UnicastState
from timesync.ptp.unicast.server import UnicastServer, UnicastServerSettings
from timesync.wire import ptp
from timesync.wire.ptp_message import (
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Message,
    MessageType,
    Signaling,
    Sync,
)

pytestmark = pytest.mark.interop

OURS = ClockIdentity(bytes.fromhex("020000fffe0000cc"))
EVENT, GENERAL = 319, 320
FAST = Intervals(announce=-2, sync=-3, delay=-3)


@pytest.fixture(autouse=True)
def _ptp4l_is_there() -> None:
    if shutil.which("ptp4l", path=peer_environment()["PATH"]) is None:
        reason = "linuxptp's ptp4l is not installed"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def ptp4l(node: Node, directory: Path, *lines: str) -> Iterator[Path]:
    """Its log."""
    configuration, log = directory / "ptp4l.conf", directory / "ptp4l.log"
    common = ["free_running 1", "time_stamping software", "logAnnounceInterval -2", "logSyncInterval -3"]
    common += ["logMinDelayReqInterval -3", "summary_interval -3", f"uds_address {directory}/ptp4l"]
    configuration.write_text("\n".join(["[global]", *common, *lines]) + "\n")
    command = node.command(["ptp4l", "-i", "eth0", "-m", "-f", str(configuration)])
    with running(command, log, peer_environment()):
        yield log


def instance() -> Instance:
    port = PortSettings(
        number=1,
        name="eth0",
        clock=ClockId("eth0"),
        source=SourceId("ptp:eth0"),
        link=LinkId("ptp:eth0"),
        intervals=FAST,
    )
    return Instance(InstanceSettings(identity=OURS, priority1=10, ports=(port,)), random.Random(1))


@dataclass
class Station:
    """Sockets on ports 319 and 320 of a namespace; stamps are this process's own readings of the clock."""

    sockets: dict[int, socket.socket]
    on_sent: Callable[[int, Stamp], Iterable[PtpEffect]] = lambda token, stamp: ()
    sent: list[Message] = field(default_factory=list)

    def perform(self, effects: Iterable[PtpEffect]) -> None:
        for effect in effects:
            if not isinstance(effect, SendEvent | SendGeneral):
                continue
            assert effect.destination is not None
            number = EVENT if isinstance(effect, SendEvent) else GENERAL
            stamp = self.stamp()
            self.sockets[number].sendto(effect.data, (effect.destination, number))
            self.sent.append(ptp.decode(effect.data))
            if isinstance(effect, SendEvent):
                self.perform(self.on_sent(effect.token, stamp))

    @staticmethod
    def stamp() -> Stamp:
        return Stamp(ClockId("eth0"), 0, Instant.from_ns(time.time_ns() + 37 * 10**9))

    def receive(self, due: Instant[Mono] | None, until_s: float) -> list[tuple[Message, str]]:
        """What comes before a deadline."""
        wait = until_s - time.monotonic()
        if due is not None:
            wait = min(wait, (due - now()).s())
        ready, _, _ = select.select(self.sockets.values(), [], [], max(wait, 0.0))
        found = []
        for opened in ready:
            data, (address, _) = opened.recvfrom(2048)
            found.append((ptp.decode(data), address))
        return found


def now() -> Instant[Mono]:
    return Instant.from_ns(time.monotonic_ns())


@contextmanager
def station(node: Node) -> Iterator[Station]:
    with ExitStack() as stack:
        opened = {}
        with node.entered():
            for number in (EVENT, GENERAL):
                opened[number] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                opened[number].bind((node.address, number))
        yield Station(opened)


def test_our_client_gets_time_of_ptp4l_and_stops_it(tmp_path: Path) -> None:
    with (
        lan(2) as (theirs, ours),
        ptp4l(theirs, tmp_path, "hybrid_e2e 1", "inhibit_multicast_service 1", "unicast_listen 1"),
    ):
        clock = instance()
        port = clock.ports[1]
        settings = UnicastClientSettings(port=1, servers=(theirs.address,), intervals=FAST, duration_s=8)
        client = UnicastClient(settings, port.headers, port.counters)
        heard: list[tuple[float, Message]] = []

        with station(ours) as here:

            def listen(seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
                until = time.monotonic() + seconds
                while time.monotonic() < until and not enough():
                    for message, address in here.receive(client.deadline(), until):
                        heard.append((time.monotonic(), message))
                        if isinstance(message, Signaling):
                            here.perform(client.on_signaling(message, address, now()))
                        elif isinstance(message, Announce):
                            client.heard(MessageType.ANNOUNCE, address, now())
                            here.perform(client.select(message.header.source, now()))
                        elif isinstance(message, Sync):
                            client.heard(MessageType.SYNC, address, now())
                    due = client.deadline()
                    if due is not None and due <= now():
                        here.perform(client.on_deadline(now()))

            here.perform(client.start(now()))
            listen(20, lambda: client.view()[0].state is UnicastState.HAVE_SYNC)
            (server,) = client.view()
            assert {MessageType.ANNOUNCE: -2, MessageType.SYNC: -3, MessageType.DELAY_RESP: -3} == server.granted

            heard.clear()
            begin = time.monotonic()
            header = port.headers.make(MessageType.DELAY_REQ, flags=Flags.UNICAST)
            here.sockets[EVENT].sendto(ptp.encode(DelayReq(header)), (theirs.address, EVENT))
            listen(10)  # longer than the grants last: they are renewed
            times = [when for when, message in heard if isinstance(message, Sync)]
            assert 60 < len(times) < 100
            assert max(after - before for before, after in itertools.pairwise(times)) < 1
            assert times[-1] - begin > 9
            # Each Sync, but for those lost at the edges of the time, has its Follow_Up.
            pairs = [{m.header.sequence_id for _, m in heard if isinstance(m, kind)} for kind in (Sync, FollowUp)]
            assert len(pairs[0] ^ pairs[1]) <= 2
            answers = [message for _, message in heard if isinstance(message, DelayResp)]
            assert [port.identity] == [one.requesting for one in answers]

            here.perform(client.stop())
            listen(1)
            heard.clear()
            listen(2)
            assert [] == heard


def test_ptp4l_follows_our_server(tmp_path: Path) -> None:
    with lan(2) as (theirs, ours):
        table = ["[unicast_master_table]", "table_id 1", "logQueryInterval 0", f"UDPv4 {ours.address}"]
        wanted = ["slaveOnly 1", "unicast_req_duration 10", "unicast_master_table 1"]
        clock = instance()
        clock.set_quality(LocalQuality(synchronized=True, utc_offset_valid=True), now())
        port = clock.ports[1]
        server = UnicastServer(UnicastServerSettings(), port.settings, clock.context, port.headers, port.counters)
        with ptp4l(theirs, tmp_path, *wanted, *table) as log, station(ours) as here:
            here.on_sent = server.on_sent
            until = time.monotonic() + 25

            def done() -> bool:
                return log.read_text(errors="replace").count("master offset") >= 3

            while time.monotonic() < until and not done():
                for message, address in here.receive(server.deadline(), until):
                    if isinstance(message, Signaling):
                        here.perform(server.on_signaling(message, address, now()))
                    elif isinstance(message, DelayReq):
                        if not server.grants(MessageType.DELAY_RESP, address, message.header.source, now()):
                            continue  # ptp4l begins to ask before it is granted
                        header = port.headers.make(
                            MessageType.DELAY_RESP, sequence=message.header.sequence_id, flags=Flags.UNICAST
                        )
                        answer = DelayResp(header, here.stamp().at, message.header.source)
                        here.perform([SendGeneral(port=1, data=ptp.encode(answer), destination=address)])
                here.perform(server.on_deadline(now(), serving=True))
            text = log.read_text(errors="replace")
            assert done(), text
            assert "selected best master clock 020000.fffe.0000cc" in text
            (client,) = server.clients()
            assert (theirs.address, {MessageType.ANNOUNCE: -2, MessageType.SYNC: -3, MessageType.DELAY_RESP: -3}) == (
                client.address,
                client.granted,
            )
            offsets = [int(line.split("master offset")[1].split()[0]) for line in text.splitlines() if "offset" in line]
            # Both read the same clock; the rest is what this process takes from its stamp to the wire.
            assert sorted(map(abs, offsets))[len(offsets) // 2] < 5_000_000
