"""A real asyncio loop in simulated time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from sim_support import make_clock

from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration
from timesync.sim.loop import SimLoop, run
from timesync.sim.oscillator import Quartz
from timesync.sim.world import World

S = Duration.from_s(1)


def now_ns() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return loop.mono().ns()


def test_sleeping_a_week_takes_no_time_and_ends_on_the_nanosecond() -> None:
    world = World(1)

    async def main() -> None:
        await asyncio.sleep(7 * 86_400 + 1e-9)

    before = time.monotonic()
    run(world, main())
    assert 7 * 86_400 * 10**9 + 1 == world.elapsed.ns()
    assert time.monotonic() - before < 5


def test_timers_fire_in_order_at_their_own_nanosecond() -> None:
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, now_ns()))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name, delay in (("c", 3e-9), ("a", 1e-9), ("b", 2e-9), ("d", 1.1), ("e", 2.2)):
            loop.call_later(delay, note, name)
        await asyncio.sleep(3)

    run(World(1), main())
    assert [("a", 1), ("b", 2), ("c", 3), ("d", 1_100_000_000), ("e", 2_200_000_000)] == seen


def test_task_groups_timeouts_and_events() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        gate = asyncio.Event()

        async def waiter() -> None:
            await gate.wait()
            seen.append(f"open at {now_ns()}")

        async def opener() -> None:
            await asyncio.sleep(0.25)
            gate.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(waiter())
            group.create_task(opener())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        seen.append(f"timeout at {now_ns()}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 1)
        seen.append(f"gave up at {now_ns()}")
        return seen

    assert ["open at 250000000", "timeout at 750000000", "gave up at 1750000000"] == run(World(1), main())


def test_events_of_the_world_come_between_timers() -> None:
    world = World(1)
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world.after(S, lambda: loop.call_soon(seen.append, "event at 1 s"))
        world.after(S * 3, lambda: loop.call_later(0.5, seen.append, "timer set by the event at 3 s"))
        await asyncio.sleep(2)
        seen.append("timer at 2 s")
        await asyncio.sleep(2)
        seen.append("timer at 4 s")

    run(world, main())
    assert ["event at 1 s", "timer at 2 s", "timer set by the event at 3 s", "timer at 4 s"] == seen


def test_an_event_can_wake_who_has_no_timer() -> None:
    world = World(1)

    async def main() -> int:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        world.after(S * 5, lambda: loop.call_soon(gate.set))
        await gate.wait()
        return now_ns()

    assert 5_000_000_000 == run(world, main())


def test_waiting_for_what_can_never_come_raises() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing is left"):
        run(World(1), main())


def test_threads_and_sockets_raise() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="no real sockets, threads"):
            await asyncio.to_thread(print)
        with pytest.raises(RuntimeError, match="no real sockets"):
            await loop.getaddrinfo("localhost", 123)
        with pytest.raises(RuntimeError, match="no real sockets"):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match="no real sockets"):
            await asyncio.open_connection("127.0.0.1", 1)
        with pytest.raises(RuntimeError, match="no real sockets"):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(RuntimeError, match="no real sockets"):
            loop.add_reader(0, print)

    run(World(1), main())


def test_another_thread_may_not_call_in() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        seen: list[str] = []

        def call() -> None:
            try:
                loop.call_soon_threadsafe(seen.append, "called")
            except RuntimeError as error:
                seen.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        loop.call_soon_threadsafe(seen.append, "from here it is call_soon")
        await asyncio.sleep(0)
        return seen

    said = ["another thread calls into simulated time", "from here it is call_soon"]
    assert said == run(World(1), main())


@pytest.mark.parametrize("ppm", [-300.0, -1.0, 0.0, 1.0, 300.0])
def test_timers_follow_the_machines_own_clock(ppm: float) -> None:
    world = World(1)
    clock = make_clock(world, Quartz(frequency_error=Rate.from_ppm(ppm)))

    async def main() -> None:
        await asyncio.sleep(1000)

    run(world, main(), clock)
    # By its own clock 1000 s; by true time more when the clock is slow.
    assert abs(clock.elapsed() - 1000 * UNITS_PER_S) <= 1 << 16
    assert 1000 / (1 + ppm * 1e-6) == pytest.approx(world.elapsed.s(), abs=2e-9)


def test_a_step_of_the_system_clock_does_not_move_timers() -> None:
    world = World(1)
    clock = make_clock(world)

    async def main() -> None:
        asyncio.get_running_loop().call_later(10, clock.step, Duration.from_s(3600))
        await asyncio.sleep(20)

    run(world, main(), clock)
    assert 20_000_000_000 == world.elapsed.ns()
    assert Duration.from_s(3600) == clock.true_offset()


def test_ten_thousand_sleeps_are_quick() -> None:
    async def main() -> None:
        async def sleeper(period: float) -> None:
            for _ in range(2_000):
                await asyncio.sleep(period)

        async with asyncio.TaskGroup() as group:
            for index in range(5):
                group.create_task(sleeper(1 + index / 7))

    before = time.process_time()
    run(World(1), main())
    # Some 0.1 s.
    assert time.process_time() - before < 2
