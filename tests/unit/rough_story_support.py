"""The whole appliance in virtual time, with NTP servers and Roughtime servers that are right or lie."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any

from roughtime_support import TestAuthority
from sim_support import INSTANT, STILL, leap_table, make_clock

from timesync.base.ids import Endpoint
from timesync.base.machine import Noted
from timesync.base.time import Duration, Instant, Tai
from timesync.config.schema import Config
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.why import why
from timesync.sim.clock import ClockModel
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Datagram, Network
from timesync.sim.server import SimNtpServer
from timesync.sim.world import DEFAULT_START, World

PORT = 5319


class FarRoughtime:
    """A Roughtime server.

    Attributes:
        authority: Its keys and what it signs.
        lie_s: Its time minus the truth.
        silent: It answers nothing.
        asked_at: True seconds of each request.
    """

    def __init__(self, story: RoughStory, place: int) -> None:
        self.authority = TestAuthority(seed=place + 1)
        self.lie_s = 0.0
        self.silent = False
        self.asked_at: list[float] = []
        self._world = story.world
        address = f"192.0.2.{20 + place}"
        node = story.network.node(f"r{place}", address)
        story.network.connect(story.host.node, node, STILL)
        story.network.dns.set(f"r{place}.org", address)
        self._socket = node.bind(self, address, PORT)

    @property
    def entry(self) -> dict[str, Any]:
        key = base64.b64encode(self.authority.public_key).decode()
        return {"roughtime": f"r{self.authority.seed - 1}.org", "public_key": key}

    def on_datagram(self, datagram: Datagram) -> None:
        self.asked_at.append(self._world.elapsed.s())
        if self.silent:
            return
        utc = leap_table().utc(self._world.now) + Duration.from_s(self.lie_s)
        self.authority.midpoint_s = utc.ns() // 10**9
        self.authority.period = (self.authority.midpoint_s - 1000, self.authority.midpoint_s + 1000)
        answer = self.authority.answer(datagram.data)
        self._socket.send(answer, datagram.source)

    def on_refused(self, target: Endpoint) -> None:
        """The client has gone."""


class RoughStory:
    """One world and the daemon in it.

    Attributes:
        ntp: NTP servers ``n0`` and so on.
        rough: Roughtime servers ``r0.org`` and so on.
        notes: The event log.
        tasks: Of other people's servers.
        more: The rest of the configuration.
    """

    def __init__(
        self, *, ntp: int = 2, rough: int = 3, off_s: float = 0.0, start: Instant[Tai] = DEFAULT_START
    ) -> None:
        self.world = World(1, start)
        self.network = Network(self.world)
        clock = make_clock(self.world, model=ClockModel(offset=Duration.from_s(off_s)))
        self.host = SimHost(self.world, self.network.node("host", "192.0.2.1"), [clock], INSTANT)
        self.ntp = [self._ntp(place) for place in range(ntp)]
        self.rough = [FarRoughtime(self, place) for place in range(rough)]
        self.notes: list[tuple[float, Noted]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.more: dict[str, Any] = {"steering": {"panic": "10000d"}}
        self._broken: list[Mapping[str, Any]] = []
        self._appliance: Appliance | None = None

    def _ntp(self, place: int) -> SimNtpServer:
        address = f"192.0.2.{10 + place}"
        node = self.network.node(f"n{place}", address)
        self.network.connect(self.host.node, node, STILL)
        self.network.dns.set(f"n{place}", address)
        return SimNtpServer(self.world, node, leap_table())

    @property
    def appliance(self) -> Appliance:
        assert self._appliance is not None
        return self._appliance

    def config(self, *others: dict[str, Any], **rough: Any) -> Config:
        """All servers and other sources; ``rough`` goes to each entry of Roughtime."""
        ntp = [{"ntp": f"n{place}", "poll": ["8s", "8s"]} for place in range(len(self.ntp))]
        entries = [{**one.entry, **rough} for one in self.rough]
        return Config.model_validate({"sources": (*ntp, *others, *entries), **self.more})

    def play(self, seconds: float, *acts: tuple[float, Callable[[], object]], config: Config | None = None) -> None:
        """From the start of the daemon to its end; nothing may break on the way, and nothing stay behind."""

        async def story() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self._broken.append(context))
            table = LiveTable.of(leap_table())
            start = Start({}, self._note, initial_step_anything=True)
            self._appliance = Appliance(config or self.config(), self.host, table, start)
            self._appliance.start()
            for second, act in sorted(acts, key=lambda one: one[0]):
                await asyncio.sleep(second - self.world.elapsed.s())
                act()
            await asyncio.sleep(seconds - self.world.elapsed.s())
            self._appliance.stop()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            assert [] == [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run(self.world, story(), self.host.system)
        assert not self._broken, self._broken[0]

    def _note(self, noted: Noted) -> None:
        self.notes.append((self.world.elapsed.s(), noted))

    # -- what is asked of it

    def source(self, name: str) -> dict[str, Any]:
        """The entry of ``timesync sources --json``, now."""
        (found,) = [one for one in self.appliance.snapshot().sources()["sources"] if one["name"] == name]
        return dict(found)

    def rough_source(self, place: int) -> dict[str, Any]:
        return self.source(f"r{place}.org:{PORT}")

    def states(self) -> dict[str, str]:
        return {
            one["name"].removesuffix(f".org:{PORT}"): one["state"]
            for one in self.appliance.snapshot().sources()["sources"]
        }

    def why(self, name: str | None = None) -> str:
        return "\n".join(why(self.appliance.snapshot(), name)["lines"])

    def status(self) -> dict[str, Any]:
        return self.appliance.snapshot().status()

    def texts(self, name: str) -> list[str]:
        return [note.text for _, note in self.notes if note.name == name]
