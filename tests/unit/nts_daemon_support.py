"""A daemon's NTS sources in simulated time: real TLS, real NTP servers with cookies, and a core that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from nts_support import fields_of
from sim_support import INSTANT, STILL, leap_table, make_clock, make_host
from tls_support import NOW, Identity, make_identity, pair

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, Endpoint, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap, Measurement, SourceStatus
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.config.sources import NtpSource, PoolSource
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.daemon.nts_finder import NtsFinder
from timesync.daemon.ptp_quality import Known
from timesync.ntp.server import ServerSettings, ServeState
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_server import KeServer, KeServerSettings
from timesync.nts.master import KeyStore
from timesync.nts.tls import TlsError
from timesync.nts.tls_server import ServerContext, ServerTls
from timesync.servo.command import SourceSpec
from timesync.servo.view import ServoState
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.host import SimHost, SimNtpService
from timesync.sim.loop import run
from timesync.sim.network import Datagram, Network, SimSocket
from timesync.sim.stream import SimStream
from timesync.sim.world import World
from timesync.wire.ntp_ext import NtsField

NAME = "time.example.org"
SYSTEM = ClockId("system")
KE_PORT = 4460
HOUR_S = 3600.0
NOW_TAI: Instant[Tai] = Instant(leap_table().tai(NOW).scaled_ns)
CA = make_identity("Lab CA", authority=True, days=(-2000, 2000))


class ToldCore:
    """A core that says of the clock what a test wants."""

    def __init__(self) -> None:
        self.state = ServoState.ACQUIRING
        self.was_locked = False
        self.told: Fence | None = None

    def lock(self) -> None:
        self.state, self.was_locked = ServoState.LOCKED, True

    def fence(self) -> Fence | None:
        return self.told

    def claims(self, clock: ClockId) -> Known:
        del clock
        return Known(
            state=self.state,
            primary=False,
            was_locked=self.was_locked,
            reference_id=None,
            bound_s=None,
            deviation_s=None,
            tai_utc=37,
            tai_utc_known=True,
            leap=Leap.NONE,
        )


class Place(Protocol):
    """Where a server stands."""

    world: World
    network: Network
    host: SimHost
    tasks: list[asyncio.Task[None]]


class FarServer:
    """Somebody's NTS-KE and NTP server.

    Attributes:
        jar: Makes the cookies that key establishment gives away.
        settings: What key establishment says.
        asked_at: True seconds of each connection to NTS-KE.
        cookies: Every cookie that came in a request of NTP, in order.
    """

    def __init__(self, scene: Place, name: str, address: str, identity: Identity, port: int = 123) -> None:
        self.address = address
        self.settings = KeServerSettings()
        self.asked_at: list[float] = []
        self.cookies: list[bytes] = []
        self._scene = scene
        self._port = port
        node = scene.network.node(name, address)
        scene.network.connect(scene.host.node, node, STILL)
        self.host = SimHost(scene.world, node, [make_clock(scene.world, name=f"{name}/system")], INSTANT)
        self.keys = KeyStore.new(NOW, self.host.entropy).keys
        self.jar = CookieJar(self.keys, self.host.entropy)
        self.show(identity)
        self.open()
        node.streams[KE_PORT] = self._accept

    @property
    def clock(self) -> SimClock:
        return self.host.system

    def show(self, *chain: Identity) -> None:
        """Another certificate, from now on."""
        self._context = ServerContext((pair(*chain),))

    def share(self, other: FarServer) -> None:
        """One fleet: take the cookies of the other."""
        self.keys = other.keys
        self.service.rekey(other.keys)

    def forget(self) -> None:
        """All master keys are lost: no cookie so far opens any more; new ones do."""
        self.keys = KeyStore.new(NOW, self.host.entropy).keys
        self.jar.replace(self.keys)
        self.service.rekey(self.keys)

    def disagree(self) -> None:
        """NTP loses the master keys under which key establishment still makes its cookies."""
        self.service.rekey(KeyStore.new(NOW, self.host.entropy).keys)

    def agree(self) -> None:
        self.service.rekey(self.keys)

    def open(self) -> None:
        """Answer NTP."""
        settings = ServerSettings(allow=(ip_network("0.0.0.0/0"),), nts=self.keys, versions=frozenset({3, 4, 5}))
        self.service: SimNtpService = self.host.serve_ntp(settings, [Endpoint(self.address, self._port)], None)
        answer = self.service.on_request

        def record(bound: SimSocket, datagram: Datagram) -> None:
            self.cookies += [body for kind, body in fields_of(datagram.data) if kind == NtsField.COOKIE]
            answer(bound, datagram)

        self.service.on_request = record  # type: ignore[method-assign]  # the listener looks it up for each request
        self.publish()

    def close(self) -> None:
        """Answer NTP no more."""
        self.service.close()

    def move(self, port: int) -> None:
        """Answer NTP at another port, under other master keys, and say so at key establishment."""
        self.close()
        self._port = port
        self.settings = KeServerSettings(port=port)
        self.open()
        self.forget()

    def publish(self) -> None:
        """Say that its own clock is right, as it is now."""
        now = self.host.mono()
        self.service.publish(
            ServeState(
                synchronized=True,
                leap=Leap.NONE,
                stratum=1,
                reference_id=b"LAB\0",
                root_delay=Duration(0),
                root_dispersion=Duration.from_ns(1000),
                dispersion_rate=0.0,
                at=now,
                valid_until=now + Duration.from_s(1e8),
                reference_time=0,
                precision=-23,
                serving_map=self.clock.serving_map(),
                epoch=self.clock.epoch,
            )
        )

    def _accept(self, stream: SimStream) -> None:
        self.asked_at.append(self._scene.world.elapsed.s())
        self._scene.tasks.append(asyncio.get_running_loop().create_task(self._establish(stream)))

    async def _establish(self, stream: SimStream) -> None:
        tls = ServerTls(self._context)
        ke = KeServer(self.settings, self.jar.make)
        try:
            while data := await stream.receive():
                reply = ke.feed(tls.receive(data), tls.export)
                if reply is not None:
                    tls.send(reply.data)
                    tls.close()
                await stream.send(tls.outgoing())
                if reply is not None:
                    return
        except (TlsError, OSError):
            return
        finally:
            stream.close()


class NtsScene:
    """A client, its sources with NTS, and what they said.

    Attributes:
        measured: Of which source, and true seconds.
        removed: Sources that are asked no more.
        statuses: The last of each source.
    """

    def __init__(self, tmp_path: Path, *, start: Instant[Tai] = NOW_TAI, clock_off_s: float = 0.0) -> None:
        self.world = World(1, start)
        self.network = Network(self.world)
        self.host: SimHost = make_host(self.world, self.network)
        if clock_off_s:
            node, model = self.host.node, ClockModel(offset=Duration.from_s(clock_off_s))
            self.host = SimHost(self.world, node, [make_clock(self.world, model=model)], INSTANT)
        self.core = ToldCore()
        self.notes: list[Noted] = []
        self.measured: list[tuple[SourceId, float]] = []
        self.removed: list[SourceId] = []
        self.statuses: dict[SourceId, SourceStatus] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.groups: list[NtpGroup] = []
        self.authority = tmp_path / "ca.pem"
        self.authority.write_bytes(CA.pem)
        listener = Listener(self._added, self.removed.append, self._measure, self._status, self.notes.append)
        self.around = Surroundings(self.host, leap_table(), listener, self.core)  # type: ignore[arg-type]  # NTP asks no more of it

    def _added(self, spec: SourceSpec) -> None:
        del spec

    def _measure(self, source: SourceId, measurement: Measurement) -> None:
        del measurement
        self.measured.append((source, self.world.elapsed.s()))

    def _status(self, status: SourceStatus) -> None:
        self.statuses[status.source] = status

    # -- who is there

    def server(
        self, address: str = "192.0.2.2", *names: str, days: tuple[float, float] = (-10, 100), port: int = 123
    ) -> FarServer:
        """A server whose certificate has its address and these names; ``NAME`` where there are none."""
        identity = make_identity(address, address, *(names or (NAME,)), issuer=CA, days=days)
        return FarServer(self, f"far {address}", address, identity, port)

    def group(self, *, kind: type[NtpSource | PoolSource] = NtpSource, **more: object) -> NtpGroup:
        """A source that follows ``NAME`` with NTS."""
        key = "pool" if kind is PoolSource else "ntp"
        entry = {key: NAME, "nts": True, "ca": str(self.authority), "poll": ["8s", "8s"], **more}
        source = kind.model_validate(entry)
        made = NtpGroup(source, SYSTEM, self.around, {}, finder=NtsFinder(source, SYSTEM, self.around))
        self.groups.append(made)
        return made

    # -- what happens

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        """From beginning to end; what is left of the groups is stopped."""

        async def main() -> None:
            try:
                await story()
            finally:
                for group in self.groups:
                    group.stop()
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)

        run(self.world, main(), self.host.system)

    async def wait(self, seconds: float) -> None:
        """Let the daemon live, with its review of all groups every ten seconds."""
        end = self.world.elapsed.s() + seconds
        while (left := end - self.world.elapsed.s()) > 0:
            await asyncio.sleep(min(left, 10.0))
            for group in self.groups:
                group.review((), self.host.own_addresses(), ())

    def enclose(self, off_s: float = 0.0) -> None:
        """Roughtime servers say what the time is, give or take five seconds."""
        now, middle = self.host.mono(), self.world.now + Duration.from_s(off_s)
        within = Duration.from_s(5)
        by = "2 of 3 Roughtime servers"
        self.core.told = Fence(now, middle - within, middle + within, now + Duration.from_s(HOUR_S), by)

    def stop(self, group: NtpGroup) -> None:
        """As at the end of the daemon, or at a reload."""
        group.stop()
        self.groups.remove(group)

    def believe(self, clock_of: FarServer) -> None:
        """The core sets the clock to a server's, and is locked."""
        by = clock_of.clock.read().at - self.host.system.read().at
        self.host.system.step(by)
        for group in self.groups:
            group.clock_stepped(SYSTEM)
        self.core.lock()

    # -- what came of it

    def asked(self, group: NtpGroup) -> list[str]:
        """Where NTP is asked."""
        return sorted(str(server.endpoint) for server in group.servers.values())

    def nts(self, group: NtpGroup) -> list[dict[str, object]]:
        return [dict(facts.details["nts"]) for facts in group.facts().values()]

    def count(self, since: float) -> int:
        return sum(at >= since for _, at in self.measured)

    def texts(self, name: str) -> list[str]:
        return [note.text for note in self.notes if note.name == name]

    def session_file(self) -> str:
        (name,) = [name for name in self.host.files if name.endswith(".session")]
        return name


def gaps(times: Collection[float]) -> list[float]:
    """Seconds from one to the next."""
    return [after - before for before, after in pairwise(times)]


def utc_s(scene: NtsScene) -> Instant[Utc]:
    """True UTC."""
    return leap_table().utc(scene.world.now)
