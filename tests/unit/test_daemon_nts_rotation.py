"""Master keys that change while real workers answer real clients on loopback: no authenticated exchange is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

from ntp_server_support import EVERYBODY, live_state
from nts_support import NOW, REQUEST_HEAD, agreed, keys_for

from timesync.base.ids import Endpoint
from timesync.ntp.server import ServerSettings
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import DAY, KeyStore, RotationSettings
from timesync.nts.session import NtsAnswer, NtsRefusal, NtsSession
from timesync.runtime.serve import WorkerService

ROTATIONS = 10
CLIENTS = 6
PATIENCE_S = 20.0
RESEND_S = 0.5
NEVER_S = 60.0
AEADS = (AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256)


class Load:
    """Clients that ask as fast as they are answered, each with cookies of its own.

    Attributes:
        answered: Exchanges that ended with an authenticated answer.
        resent: Requests that had no answer in time, and were made anew with another cookie.
        refused: What came and was not believed.
    """

    def __init__(self, port: int, resend_s: float) -> None:
        self.answered = 0
        self.resent = 0
        self.refused: Counter[NtsRefusal] = Counter()
        self._port = port
        self._resend_s = resend_s
        self._tasks: list[asyncio.Task[None]] = []

    def join(self, jar: CookieJar, number: int) -> None:
        """A client that has just made its keys; ``jar`` is key establishment's."""
        keys = keys_for(AEADS[number % 2], f"client {number}")
        session = NtsSession(agreed(keys, tuple(jar.make(keys) for _ in range(8))), os.urandom)
        self._tasks.append(asyncio.create_task(self._ask(session)))

    async def reach(self, more: int, until: Callable[[], bool] = lambda: True) -> None:
        """Wait until so many more exchanges have ended, and something besides."""
        goal = self.answered + more
        async with asyncio.timeout(PATIENCE_S):
            while self.answered < goal or not until():
                await asyncio.sleep(0.005)
                for task in self._tasks:
                    if task.done():
                        task.result()

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended

    async def _ask(self, session: NtsSession) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            # Not connected: while the server restarts nobody listens, and that is no error here.
            while True:
                request = session.protect(REQUEST_HEAD)
                assert request is not None, f"no cookie is left: {self.refused}"
                await loop.sock_sendto(made, request, ("127.0.0.1", self._port))
                try:
                    async with asyncio.timeout(self._resend_s):
                        await self._hear(session, made)
                except TimeoutError:
                    self.resent += 1

    async def _hear(self, session: NtsSession, made: socket.socket) -> None:
        while True:
            found = session.judge(await asyncio.get_running_loop().sock_recv(made, 2048))
            if isinstance(found, NtsAnswer):
                self.answered += 1
                return
            self.refused[found] += 1


class Scene:
    """A service with workers, the master keys as the daemon keeps them, and key establishment beside it."""

    def __init__(self, resend_s: float) -> None:
        self.now = NOW
        self.store = KeyStore.new(self.now, os.urandom)
        self.jar = CookieJar(self.store.keys, os.urandom)
        self.service = self.serve(0)
        self.port = self.service.addresses[0].port
        self.load = Load(self.port, resend_s)

    def serve(self, port: int) -> WorkerService:
        settings = ServerSettings(allow=EVERYBODY, nts=self.store.keys)
        self.service = WorkerService(settings, [Endpoint("127.0.0.1", port)], 2)
        self.service.publish(live_state())
        return self.service

    def rotate(self, *, establishment_first: bool) -> None:
        """Another day; who hears of it first must not matter."""
        self.now += DAY
        self.store = self.store.rotated(self.now, os.urandom, RotationSettings())
        for tell in [self.jar.replace, self.service.rekey] if establishment_first else [self.service.rekey]:
            tell(self.store.keys)


def play(story: Callable[[Scene], Awaitable[None]], resend_s: float) -> None:
    async def main() -> None:
        scene = Scene(resend_s)
        try:
            await asyncio.wait_for(scene.service.ready(), PATIENCE_S)
            for number in range(CLIENTS):
                scene.load.join(scene.jar, number)
            await story(scene)
        finally:
            await scene.load.leave()
            scene.service.close()

    asyncio.run(main())


def test_ten_changes_under_load_lose_no_authenticated_exchange() -> None:
    async def story(scene: Scene) -> None:
        load = scene.load
        for turn in range(ROTATIONS):
            await load.reach(100)
            scene.rotate(establishment_first=turn % 2 == 0)
            # In odd turns key establishment has not heard yet: its cookies are of the day before.
            load.join(scene.jar, CLIENTS + turn)
        await load.reach(100)
        assert (0, Counter()) == (load.resent, load.refused)
        counters = scene.service.counters()
        assert 0 == counters.nts_nak + counters.auth_failed + counters.bad
        assert load.answered >= 100 * (ROTATIONS + 1)

    play(story, NEVER_S)


def test_a_worker_killed_and_the_whole_service_restarted_in_the_middle_cost_no_client_its_keys() -> None:
    async def story(scene: Scene) -> None:
        load = scene.load
        await load.reach(100)
        scene.rotate(establishment_first=True)
        (victim, _) = scene.service.pids
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        scene.rotate(establishment_first=True)
        await load.reach(200, lambda: scene.service.counters().restarts == 1)
        assert 0 == scene.service.counters().nts_nak, "the new worker began with the keys of now"
        # What the state directory has is all that is left of the keys.
        kept = scene.store.encode()
        scene.service.close()
        scene.store = KeyStore.decode(kept)
        scene.serve(scene.port)
        await asyncio.wait_for(scene.service.ready(), PATIENCE_S)
        scene.rotate(establishment_first=False)
        load.join(scene.jar, CLIENTS)
        await load.reach(200)
        # Answers that come after the client has asked anew are not for its present request; NAKs there are none.
        assert set(load.refused) <= {NtsRefusal.UNIQUE_ID}
        counters = scene.service.counters()
        assert 0 == counters.nts_nak + counters.auth_failed

    play(story, RESEND_S)
