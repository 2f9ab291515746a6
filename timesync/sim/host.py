"""A simulated machine: ``timesync.host.Host`` over the simulated network, clocks and storage."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.host import CardMap, ClockError, ExchangeHandler, NtsKeService, NtsSpec, Trouble
from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.ntp.over_ptp import respond as respond_over_ptp
from timesync.ntp.server import Server, ServerCounters, ServerSettings, ServeState
from timesync.nts.master import MasterKeys
from timesync.sim.clock import SimClock
from timesync.sim.devices import NO_HARDWARE, SimDevices
from timesync.sim.hardware import Hardware
from timesync.sim.law import NO_DELAY, DelayLaw, Exponential, draw_duration
from timesync.sim.network import Datagram, Node, SimSocket, plain
from timesync.sim.ptp_management import SimManagement
from timesync.sim.ptp_network import SimCard
from timesync.sim.stream import SimStream, connect_stream
from timesync.sim.world import World
from timesync.transport import ManagementHandler, PtpHandler, PtpPortSpec, PtpSocket

SLOWNESS = Exponential(50e-6)
STAMP_PATIENCE = Duration.from_ns(50_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How good the machine is.

    Attributes:
        stamp_noise_s: Standard deviation of a kernel timestamp.
        transmit_stamp_loss: Share of transmit stamps that never come; ``on_sent`` then has None.
        receive_stamp_loss: Share of datagrams that come without a stamp.
        transmit_delay: From ``send`` to the wire, where the stamp is taken.
        slowness: From a datagram's arrival, or the taking of a stamp, to the callback: Python is not an
            infinitely fast processor.
    """

    stamp_noise_s: float = 0.0
    transmit_stamp_loss: float = 0.0
    receive_stamp_loss: float = 0.0
    transmit_delay: DelayLaw = NO_DELAY
    slowness: DelayLaw = SLOWNESS


class SimHost:
    """A machine on the simulated network.

    The first clock is its system clock: it stamps datagrams for the server, and drives ``mono``. A loop for
    this machine is ``SimLoop(world, host.system)``, or ``run(world, main, host.system)``.

    Attributes:
        world: Whose time it is.
        node: Its place on the network.
        machine: How good it is; may be exchanged at any time.
        system: Its system clock.
        files: The state directory.
        load_failure: When set, ``load`` raises it.
        save_failure: When set, ``save`` raises it.
        cards: Network cards for PTP, by interface.
        management: Open management sockets, by path.
    """

    def __init__(
        self,
        world: World,
        node: Node,
        clocks: Sequence[SimClock],
        machine: Machine | None = None,
        hardware: Hardware = NO_HARDWARE,
    ) -> None:
        """A machine with these clocks, those of ``hardware.phcs`` among them (``make_phc``)."""
        self.world = world
        self.node = node
        self.machine = machine or Machine()
        self.system = clocks[0]
        self.files: dict[str, bytes] = {}
        self.load_failure: OSError | None = None
        self.save_failure: OSError | None = None
        self._clocks = {clock.id: clock for clock in clocks}
        self._away: set[ClockId] = set()
        self.cards: dict[str, SimCard] = {}
        self.management: dict[str, SimManagement] = {}
        self._rng = world.stream(f"host/{node.name}")
        self._entropy = world.stream(f"entropy/{node.name}")
        self._delays = world.stream(f"delays/{node.name}")
        tempo = _Tempo(self, world.stream(f"tempo/{node.name}"))
        self._devices = SimDevices(world, node.name, self._clocks, self.system, tempo, hardware)

    @property
    def rng(self) -> Random:
        """For spreading timers."""
        return self._rng

    def entropy(self, size: int, /) -> bytes:
        """For what must not be guessed; here it can be, from the seed."""
        return self._entropy.randbytes(size)

    @property
    def clocks(self) -> Mapping[ClockId, SimClock]:
        """The clocks by name."""
        return self._clocks

    @property
    def missing(self) -> Mapping[ClockId, str]:
        """Hardware clocks whose device has vanished."""
        away = {clock.id: str(clock.lost) for clock in self._clocks.values() if clock.lost is not None}
        self._away |= away.keys()
        return away

    def retry_missing(self) -> Sequence[ClockId]:
        """Those that have come back."""
        back = [clock for clock in self._away if self._clocks[clock].lost is None]
        self._away -= set(back)
        return back

    @property
    def devices(self) -> SimDevices:
        """Its time hardware."""
        return self._devices

    def mono(self) -> Instant[Mono]:
        """Monotonic time since the system clock was made; the scale of its loop's ``time()``."""
        return Instant(self.system.elapsed())

    def check_foreign(self) -> str | None:
        """What something other than us did to the clocks since the last call."""
        said = [text for clock in self._clocks.values() if (text := clock.check_foreign()) is not None]
        return ". ".join(said) or None

    def own_addresses(self) -> frozenset[str]:
        """The addresses of the node, and loopback."""
        return frozenset({*self.node.addresses, "127.0.0.1", "::1"})

    def open_exchange(
        self,
        remote: Endpoint,
        clock: ClockId,
        handler: ExchangeHandler,
        *,
        hardware: bool = False,
        over_ptp: bool = False,
    ) -> SimExchange:
        """A fresh socket towards ``remote``, to be opened on a running loop. Raises OSError, as for ``hardware``."""
        del over_ptp  # no card is there that knows messages by their port
        if hardware:
            self.card_clock(remote)
        return SimExchange(self, remote, self._clocks[clock], handler)

    def card_clock(self, remote: Endpoint, *, over_ptp: bool = False) -> ClockId:
        """Raises ClockError: packets of the simulated network are stamped by the kernel."""
        del over_ptp
        raise ClockError(
            Trouble.UNSUPPORTED,
            f"the simulated network has no hardware timestamps towards {remote.address}",
            "write `timestamping: software`",
        )

    def card_maps(self, *, over_ptp: bool = False) -> tuple[CardMap, ...]:
        """None."""
        del over_ptp
        return ()

    def open_ptp(self, spec: PtpPortSpec, handler: PtpHandler) -> PtpSocket:
        """The sockets of a PTP port on one of ``cards``. Raises OSError."""
        card = self.cards.get(spec.interface)
        if card is None:
            raise OSError(errno.ENODEV, "there is no such interface", spec.interface)
        return card.open_ptp(spec, self._clocks[spec.clock], handler)

    def open_management(self, path: str, handler: ManagementHandler) -> SimManagement:
        """The sockets by which a PTP instance is managed, among ``management``. Raises OSError."""
        return SimManagement(path, self.management, handler)

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """Ask the simulated DNS. Raises OSError."""
        dns = self.node.network.dns
        await asyncio.sleep(dns.waits(name).s())
        return [Endpoint(address, port) for address in dns.lookup(name)]

    async def connect(self, remote: Endpoint) -> SimStream:
        """A TCP connection on the simulated network. Raises OSError."""
        return await connect_stream(self.node, remote)

    def serve_ntp(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        workers: int | None,
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> SimNtpService:
        """Serve on the simulated network. Raises OSError."""
        del workers  # processes of Linux; here one server answers as fast as many
        return SimNtpService(self, settings, listen, ptp_listen, clients)

    def serve_nts(
        self, spec: NtsSpec, keys: MasterKeys, now: Callable[[], Instant[Utc]], note: Callable[[str, str], None]
    ) -> NtsKeService:
        """Not in simulated time: TLS is a process of Linux. Raises OSError."""
        del spec, keys, now, note
        raise OSError(errno.EOPNOTSUPP, "NTS-KE is not simulated")

    def load(self, name: str) -> bytes | None:
        """A file of the state directory."""
        if self.load_failure is not None:
            raise self.load_failure
        return self.files.get(name)

    def save(self, name: str, data: bytes) -> None:
        """Replace a file of the state directory."""
        if self.save_failure is not None:
            raise self.save_failure
        self.files[name] = bytes(data)

    def delay(self, law: DelayLaw) -> Duration:
        """A delay inside this machine."""
        return draw_duration(law, self._delays)

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens now."""
        return self._delays.random() < probability


class _Tempo:
    """What the devices need to know of the machine, which may change."""

    def __init__(self, host: SimHost, rng: Random) -> None:
        self._host = host
        self._rng = rng

    def slowness(self) -> Duration:
        """See ``Tempo``; from a stream of its own, so that devices change nothing on the network."""
        return draw_duration(self._host.machine.slowness, self._rng)

    def stamp_noise_s(self) -> float:
        """See ``Tempo``."""
        return self._host.machine.stamp_noise_s


class SimExchange:
    """A ``timesync.host.Exchange``: one socket for one request."""

    def __init__(self, host: SimHost, remote: Endpoint, clock: SimClock, handler: ExchangeHandler) -> None:
        self._host = host
        self._remote = Endpoint(plain(remote.address), remote.port)
        self._clock = clock
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._used = False
        self._socket = host.node.bind(self, host.node.address_towards(self._remote.address))

    def send(self, data: bytes) -> None:
        """Send the one request. Raises OSError (EBADF after ``close``), and RuntimeError for a second one."""
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._used:
            raise RuntimeError("an exchange sends one request")
        self._used = True
        host = self._host
        host.world.after(host.delay(host.machine.transmit_delay), lambda: self._leave(data))

    def close(self) -> None:
        """Close the socket; the handler is not called again."""
        self._open = False
        self._socket.close()

    def on_datagram(self, datagram: Datagram) -> None:
        """The network delivers; what is not from the remote does not reach a connected socket."""
        if datagram.source != self._remote:
            return
        stamp = self._stamp(self._host.machine.receive_stamp_loss)
        self._call(lambda: self._handler.on_packet(datagram.data, stamp))

    def on_refused(self, target: Endpoint) -> None:
        """Nobody listens there."""
        if target == self._remote:
            error = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            self._call(lambda: self._handler.on_error(error))

    def _leave(self, data: bytes) -> None:
        """The datagram goes onto the wire, and is stamped there."""
        stamp = self._stamp(self._host.machine.transmit_stamp_loss)
        self._socket.send(data, self._remote)
        self._call(lambda: self._handler.on_sent(stamp), None if stamp is not None else STAMP_PATIENCE)

    def _stamp(self, loss: float) -> Stamp | None:
        if self._host.chance(loss):
            return None
        return self._clock.stamp(StampSource.KERNEL, self._host.machine.stamp_noise_s)

    def _call(self, callback: Callable[[], None], after: Duration | None = None) -> None:
        """Call the handler on the loop as late as the machine is slow, unless it is closed by then."""
        host = self._host
        delay = host.delay(host.machine.slowness) if after is None else after
        host.world.after(delay, lambda: self._enqueue(callback))

    def _enqueue(self, callback: Callable[[], None]) -> None:
        # A world outlives its loops: what was under way when one ended reaches nobody.
        if not self._loop.is_closed():
            self._loop.call_soon(self._if_open, callback)

    def _if_open(self, callback: Callable[[], None]) -> None:
        if self._open:
            callback()


class SimNtpService:
    """A ``timesync.host.NtpService``: the real server machine on the simulated network."""

    def __init__(
        self,
        host: SimHost,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> None:
        self._host = host
        self._server = Server(settings, host.world.stream(f"server/{host.node.name}"), host.entropy)
        self._server.clients.log.restore(clients)
        self._sockets: list[SimSocket] = []
        self._plain = len(listen)
        try:
            for endpoint in [*listen, *ptp_listen]:
                self._sockets.append(_Listener(self, host.node, endpoint).socket)
        except OSError:
            self.close()
            raise

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on."""
        return [bound.local for bound in self._sockets]

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        self._server.publish(state)

    def rekey(self, keys: MasterKeys) -> None:
        """Open and make cookies of NTS with these master keys from now on."""
        self._server.rekey(keys)

    def counters(self) -> ServerCounters:
        """Sums since the start."""
        return self._server.counters()

    async def clients(self) -> ClientList:
        """Who has asked."""
        return self._server.clients.log.leading()

    def close(self) -> Sequence[ClientRecord]:
        """Stop answering; gives who has asked."""
        for bound in self._sockets:
            bound.close()
        return self._server.clients.log.clients().records

    def on_request(self, bound: SimSocket, datagram: Datagram) -> None:
        """A request arrived: it is stamped now and answered as soon as the machine gets to it."""
        host = self._host
        receive_ns = self._kernel_ns()
        host.world.after(host.delay(host.machine.slowness), lambda: self._respond(bound, datagram, receive_ns))

    def _respond(self, bound: SimSocket, datagram: Datagram, receive_ns: int) -> None:
        host = self._host
        source = datagram.source
        over_ptp = self._sockets.index(bound) >= self._plain
        respond = partial(respond_over_ptp, self._server) if over_ptp else self._server.respond
        reply = respond(datagram.data, source.address, source.port, receive_ns, host.system.utc_ns, host.mono().ns())
        if reply is None:
            return

        def leave() -> None:
            bound.send(reply.data, source, source=datagram.target.address)
            if reply.stamp_as is not None and not host.chance(host.machine.transmit_stamp_loss):
                self._server.sent(reply.stamp_as, self._kernel_ns())

        host.world.after(host.delay(host.machine.transmit_delay), leave)

    def _kernel_ns(self) -> int:
        return self._host.system.utc_ns(self._host.machine.stamp_noise_s)


class _Listener:
    """One address and port that a service listens on."""

    def __init__(self, service: SimNtpService, node: Node, endpoint: Endpoint) -> None:
        self._service = service
        self.socket = node.bind(self, endpoint.address, endpoint.port)

    def on_datagram(self, datagram: Datagram) -> None:
        """A request arrived."""
        self._service.on_request(self.socket, datagram)

    def on_refused(self, target: Endpoint) -> None:
        """A client went away before its answer came; a server does not care."""
