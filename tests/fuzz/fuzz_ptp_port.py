"""Fuzz targets: whole PTP instances in every way of talking, with somebody among them who sends what he likes.

An input is one thing that happens. Mostly that is a message to some port: one that was just sent there, changed; one
that another program sent (captured from ptp4l); or one made of a valid header, a body of random octets and a chain of
TLVs. Else it is a stamp that comes twice or never was asked for, a cable, a step of a clock, or hours without anything.
What comes first in an input says what, where, when and from whom.
"""

from __future__ import annotations

import importlib.util
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import fuzz_ptp
import fuzz_ptp_management
from fuzz_ptp_world import BEST, NS, World, identity, lasting, port_settings
from targets import Target, mutate, register

from timesync.base.ids import ClockId
from timesync.base.time import Duration
from timesync.ptp.security import Association, IcvKey, Security
from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Intervals, Role, UnicastSettings

HEAD = struct.Struct(">BBBI")
"""What happens, to whom, from which address, and after how many microseconds."""

MESSAGE, SENT, LINK, SERVO, STEP, CALM = range(6)
BETWEEN_CHECKS = 512
CALM_S = 120
"""After so long without an attacker everybody follows the grandmaster again."""

ROOM = 2048
"""Octets that a socket reads."""

PRC = replace(BEST, quality=replace(BEST.quality, clock_class=84))
"""Of G.8265.1, table 1."""

FAST = Intervals(announce=0, sync=-2, delay=-2)
LENGTH, DOMAIN, MINOR_SDO, FLAGS, CORRECTION, SOURCE = slice(2, 4), 4, 5, slice(6, 8), slice(8, 16), slice(20, 30)
SEQUENCE, LOG_INTERVAL, TARGET = slice(30, 32), 33, slice(44, 54)
OLD_CLASSES = (6, 7, 80, 84, 90, 104, 110, 135, 187, 248, 255)


def _captured() -> list[bytes]:
    """What ptp4l said to its unicast servers, and pmc to ptp4l."""
    found = []
    for name in ("ptp_unicast_captures", "ptp_management_captures"):
        file = Path(__file__).resolve().parents[1] / "unit" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(name, file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        found += [one for value in vars(module).values() for one in _messages(value)]
    return found


def _messages(value: object) -> list[bytes]:
    """Whatever looks like a message, in nested tuples and dictionaries."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in _messages(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in _messages(part)]
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            return []
    return [value] if isinstance(value, bytes) and len(value) >= 44 and value[1] & 0x0F == 2 else []


CAPTURED = _captured()


@dataclass
class Attacked:
    """One world through all inputs.

    Attributes:
        world: Its clocks talk to each other.
        followers: Those of them that follow clock 0, the grandmaster, when nobody disturbs; the others follow nobody.
        insider: The attacker has the keys, and signs half of what he sends.
        told: Announce tells them whom they follow.
        inputs: How many there were.
        calms: How often the attacker was away.
    """

    world: World
    followers: tuple[int, ...]
    insider: Security | None = None
    told: bool = True
    inputs: int = 0
    calms: int = 0

    def __post_init__(self) -> None:
        self.world.start()
        self.world.run(20 * NS)
        settings = self.world.clocks[0].instance.context.settings
        self._domain, self._sdo = settings.domain, settings.sdo_id
        self.world.stamp_loss = 0.02

    # -- making inputs

    def generate(self, rng: random.Random) -> bytes:
        """One input, fit for what these clocks are just talking about."""
        kind = rng.choices(range(6), (94000, 3500, 400, 1500, 400, 2))[0]
        spans = (rng.randrange(2_000), rng.randrange(50_000), rng.randrange(2_000_000), rng.randrange(1 << 31))
        micros = rng.choices(spans, (500, 400, 30, 0.05))[0]
        head = HEAD.pack(kind, rng.randrange(256), rng.randrange(256), micros)
        return head + (self._message(rng) if kind == MESSAGE else rng.randbytes(4))

    def _message(self, rng: random.Random) -> bytes:
        way = rng.randrange(100)
        if way < 60 and self.world.recent:
            data = self._changed(rng, rng.choice(self.world.recent)[1])
        elif way < 70:
            data = self._ours(rng, mutate(rng, rng.choice(CAPTURED)))
        elif way < 80:
            make = rng.choice((fuzz_ptp_management.negotiation, fuzz_ptp_management.management))
            data = self._ours(rng, make(rng)[2:])
        else:
            data = self._ours(rng, fuzz_ptp.message(rng))
        if self.insider is not None and rng.random() < 0.5:
            data = _sealed(self.insider, data)
        return data[:ROOM]

    def _ours(self, rng: random.Random, data: bytes) -> bytes:
        """In this domain, and mostly from and to one of these clocks."""
        if len(data) < 44 or rng.random() < 0.02:
            return data
        out = bytearray(data)
        out[0] = out[0] & 0x0F | self._sdo >> 4 & 0xF0
        out[DOMAIN], out[MINOR_SDO] = self._domain, self._sdo & 0xFF
        if rng.random() < 0.7:
            out[SOURCE] = self._somebody(rng)
        if rng.random() < 0.7 and len(out) >= TARGET.stop and out[0] & 0x0F in (0x3, 0x9, 0xA):
            out[TARGET] = self._somebody(rng)
        if rng.random() < 0.7 and out[0] & 0x0F in (0xC, 0xD):
            out[34:44] = self._somebody(rng)
        if rng.random() < 0.7:
            out[LOG_INTERVAL] = rng.choice((0, 1, 2, 0xFE, 0xFD, 0x7F, 0x80, 0x81, 0x7E))
        return bytes(out)

    def _somebody(self, rng: random.Random) -> bytes:
        """A port identity."""
        clock = rng.choice((*(one.instance.context.settings.identity for one in self.world.clocks), rng.randbytes(8)))
        return bytes(clock) + rng.choice((1, 1, 1, 2, 0, 0xFFFF)).to_bytes(2, "big")

    def _changed(self, rng: random.Random, data: bytes) -> bytes:
        """A message of this dialogue: as it was, with other values of fields, with more TLVs, or broken."""
        out = bytearray(data)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            self._set_field(rng, out)
        if rng.random() < 0.2:
            for _ in range(rng.choice((1, 1, 2, 8, 62))):
                kind = rng.choice(fuzz_ptp.KINDS)
                value = fuzz_ptp.value(rng, kind)
                out += struct.pack(">HH", kind, len(value)) + value
            out[LENGTH] = min(len(out), 0xFFFF).to_bytes(2, "big")
        return mutate(rng, bytes(out)) if rng.random() < 0.3 else bytes(out)

    def _set_field(self, rng: random.Random, out: bytearray) -> None:
        which = rng.randrange(8)
        if which == 0:
            step = rng.choice((1, 2, -1, 0x7FFF, 0x8000, rng.randrange(0x10000)))
            out[SEQUENCE] = (int.from_bytes(out[SEQUENCE], "big") + step & 0xFFFF).to_bytes(2, "big")
        elif which == 1:
            out[FLAGS] = (int.from_bytes(out[FLAGS], "big") ^ 1 << rng.randrange(16)).to_bytes(2, "big")
        elif which == 2:
            out[CORRECTION] = rng.choice((rng.randbytes(8), b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), bytes(8)))
        elif which == 3:
            out[LOG_INTERVAL] = rng.randrange(256)
        elif which == 4:
            out[SOURCE] = self._somebody(rng)
        elif which == 5 and out[0] & 0x0F == 0xB and len(out) >= 64:
            out[rng.choice((47, 48, 52, 61, 62, 63))] = rng.choice((0, 1, 127, 128, 248, 254, 255, *OLD_CLASSES))
        elif which == 6 and len(out) >= TARGET.stop and out[0] & 0x0F in (0x3, 0x9, 0xA):
            out[TARGET] = self._somebody(rng)
        elif which == 7:
            out[34:44] = rng.choice((bytes(10), b"\xff" * 10, b"\xff" * 6 + bytes(4), rng.randbytes(10)))

    # -- what it does

    def target(self, data: bytes) -> None:
        """Time passes, one thing happens."""
        self.inputs += 1
        kind, whom, whence, micros = HEAD.unpack_from(data)
        world = self.world
        world.run(micros * 1000)
        number = whom % len(world.clocks)
        clock = world.clocks[number]
        port = 1 + (whom >> 4) % len(clock.instance.ports)
        rest = data[HEAD.size :]
        match kind:
            case 0:
                address = f"192.0.2.{1 + whence % (2 * len(world.clocks))}"
                world.deliver(number, port, rest, address, stamped=whence < 250)
            case 1:
                self._stamp(number, port, whence, rest)
            case 2:
                world.link(number, port, up=False)
                world.run(whence * 10_000_000)
                world.link(number, port, up=True)
            case 3:
                locked = bool(whence & 1)
                world.perform(number, clock.instance.servo(port, world.mono(), locked=locked))
            case 4:
                clock.instance.clock_stepped("local")
                clock.instance.use_one_step(port, used=whence < 64)
            case _:
                self.calm()
        if self.inputs % BETWEEN_CHECKS == 0:
            world.check_sizes()

    def _stamp(self, number: int, port: int, whence: int, rest: bytes) -> None:
        """A transmit stamp: of a message that had one, or of none; None, another clock's, or of another epoch."""
        past = self.world.clocks[number].past
        token = past[whence % len(past)] if past and whence & 1 else int.from_bytes(rest, "big")
        stamp = self.world.stamp()
        stamps = (None, stamp, replace(stamp, epoch=1), replace(stamp, clock=ClockId("other")))
        self.world.sent(number, port, token, stamps[whence >> 1 & 3])

    def calm(self) -> None:
        """The attacker is away for a while: all follow the grandmaster again."""
        self.calms += 1
        world = self.world
        for number, clock in enumerate(world.clocks):
            for port in clock.instance.ports:
                if port not in clock.up:
                    world.link(number, port, up=True)
                clock.instance.use_one_step(port, used=False)
        loss, world.stamp_loss = world.stamp_loss, 0.0
        world.run(lasting(CALM_S))
        world.stamp_loss = loss
        best = world.clocks[0].instance.context.settings.identity
        for number, clock in enumerate(world.clocks):
            follows = number in self.followers
            assert follows is clock.takes_time(), f"clock {number}: {clock.states}, parent {clock.follows()!r}"
            followed = clock.instance.context.sets.parent.grandmaster
            assert not (follows and self.told) or best == followed, f"clock {number} follows {followed!r}"


def _sealed(security: Security, data: bytes) -> bytes:
    """Signed with the domain's own key, as far as it is a message."""
    length = int.from_bytes(data[LENGTH], "big")
    if not 44 <= length <= len(data) <= ROOM:
        return data
    return security.seal(data[:length])


# -- the worlds


def _chain(mechanism: DelayMechanism, *, association: Association | None = None, **instance: object) -> World:
    """A grandmaster, a boundary clock (of gPTP a bridge) and a clock behind it."""
    gptp = instance.get("gptp") is True
    world = World(seed=1)
    for number, ports in ((1, 1), (2, 2), (3, 1)):
        more: dict[str, object] = {"mechanism": mechanism, "intervals": FAST}
        if gptp:
            more |= {"neighbor_threshold": Duration.from_ns(800_000), "sync_receipt_timeout": 3}
            more |= {"operational": Intervals(announce=0, sync=-1, delay=0)}
        settings = InstanceSettings(
            identity=identity(number),
            priority1=100 + number,
            relay=gptp and ports > 1,
            ports=tuple(port_settings(one, **more) for one in range(1, ports + 1)),
            **instance,  # type: ignore[arg-type]  # the dataclass checks the names
        )
        world.add(settings, BEST if number == 1 else None, association)
    world.wire((0, 1), (1, 1))
    world.wire((1, 2), (2, 1))
    return world


def _automotive() -> World:
    """Fixed roles, and no Announce (Avnu)."""
    world = World(seed=1)
    for number, role in ((1, Role.TIME_TRANSMITTER), (2, Role.TIME_RECEIVER)):
        port = port_settings(
            role=role,
            mechanism=DelayMechanism.P2P,
            intervals=Intervals(announce=None, sync=-3, delay=0),
            operational=Intervals(announce=None, sync=0, delay=2) if role is Role.TIME_RECEIVER else None,
            sync_receipt_timeout=3,
            neighbor_threshold=Duration.from_ns(800_000),
        )
        settings = InstanceSettings(
            identity=identity(number), sdo_id=0x100, bmca=Bmca.NONE, gptp=True, priority1=100 + number, ports=(port,)
        )
        world.add(settings, BEST)
    world.wire((0, 1), (1, 1))
    return world


def _negotiated(bmca: Bmca, *, servers: int, only: bool) -> World:
    """Servers, and two clients that ask them for unicast messages."""
    world = World(seed=1)
    addresses = tuple(f"192.0.2.{one + 1}" for one in range(servers))
    telecom = bmca is Bmca.G8265
    for number in range(servers):
        role = Role.TIME_TRANSMITTER if telecom else Role.AUTO
        asks = () if telecom or number == 0 else addresses[:number]
        unicast = UnicastSettings(servers=asks, grants=True, only=only, duration_s=60, clients=16)
        port = port_settings(role=role, intervals=FAST, unicast=unicast)
        settings = InstanceSettings(identity=identity(number + 1), bmca=bmca, priority1=100 + number, ports=(port,))
        # The second is of class 248, and follows the first; a telecom server only gives time, at quality level PRC.
        world.add(settings, PRC if telecom else BEST if number == 0 else None)
    for number in range(servers, servers + 2):
        unicast = UnicastSettings(servers=addresses, only=only, duration_s=60)
        timeout = 2 if telecom else None
        port = port_settings(
            role=Role.TIME_RECEIVER, intervals=FAST, unicast=unicast, sync_receipt_timeout=timeout, hybrid=not only
        )
        world.add(InstanceSettings(identity=identity(number + 1), bmca=bmca, slave_only=True, ports=(port,)))
    world.wire(*((number, 1) for number in range(servers + 2)))
    return world


def keys() -> Association:
    """A security association, the same for all."""
    return Association(spp=1, key_id=5, keys={5: IcvKey(16, lambda data: digest(bytes(32), data, sha256)[:16])})


_GPTP: dict[str, object] = {"sdo_id": 0x100, "bmca": Bmca.GPTP, "gptp": True, "path_trace": True}

WORLDS: dict[str, Callable[[], Attacked]] = {
    "e2e": lambda: Attacked(_chain(DelayMechanism.E2E, path_trace=True), (1, 2)),
    "p2p": lambda: Attacked(_chain(DelayMechanism.P2P), (1, 2)),
    "g8275": lambda: Attacked(_chain(DelayMechanism.E2E, bmca=Bmca.G8275, domain=24), (1, 2)),
    "gptp": lambda: Attacked(_chain(DelayMechanism.P2P, **_GPTP), (1, 2)),
    "automotive": lambda: Attacked(_automotive(), (1,), told=False),
    "unicast": lambda: Attacked(_negotiated(Bmca.DEFAULT, servers=2, only=True), (1, 2, 3)),
    "hybrid": lambda: Attacked(_negotiated(Bmca.DEFAULT, servers=1, only=False), (1, 2)),
    "g8265": lambda: Attacked(_negotiated(Bmca.G8265, servers=2, only=True), (2, 3)),
    "signed": lambda: Attacked(_chain(DelayMechanism.E2E, association=keys()), (1, 2), insider=Security(keys())),
}
"""By the way of talking."""


class Machine(Protocol):
    """What makes its own inputs."""

    def generate(self, rng: random.Random) -> bytes:
        """The next one."""
        ...

    def target(self, data: bytes) -> None:
        """Take it."""
        ...


M = TypeVar("M", bound=Machine)


class Lazy(Generic[M]):
    """One that is made when it is first needed."""

    def __init__(self, make: Callable[[], M]) -> None:
        self._make = make
        self._made: M | None = None

    @property
    def made(self) -> M:
        """The machine."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def generate(self, rng: random.Random) -> bytes:
        """See ``Machine``."""
        return self.made.generate(rng)

    def target(self, data: bytes) -> None:
        """See ``Machine``."""
        self.made.target(data)


def port_target(name: str, attacked: Attacked | Lazy[Attacked]) -> Target:
    """A row of the table."""
    return Target(f"ptp port, {name}", attacked.generate, attacked.target)


register(*(port_target(name, Lazy(make)) for name, make in WORLDS.items()))
