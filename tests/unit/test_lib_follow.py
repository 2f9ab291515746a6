"""timesync as a library: following and serving."""

from __future__ import annotations

import asyncio

import pytest
from lib_support import claim

from timesync.base.measure import Leap
from timesync.base.time import ZERO
from timesync.config.problem import ConfigError
from timesync.lib import Claim, QueryError, claim_of_system_clock, follow, query, serve
from timesync.servo.view import SourceState

PATIENCE_S = 30.0


def test_a_server_says_what_is_claimed() -> None:
    async def story() -> None:
        async with serve("127.0.0.1:0", "[::1]:0", claim=lambda: claim(2.0, 5, Leap.INSERT)) as server:
            for address in server.addresses:
                reply = await query(str(address))
                assert (5, Leap.INSERT, b"LAB\0") == (reply.stratum, reply.leap, reply.reference_id)
                assert -2.0 == pytest.approx(reply.offset.s(), abs=0.01)
            assert 2 == server.counters().answered

    asyncio.run(story())


def test_a_claim_that_changes_is_served_at_once_when_told() -> None:
    async def story() -> None:
        said = [claim(0.0)]
        async with serve("127.0.0.1:0", claim=lambda: said[0]) as server:
            assert 0.0 == pytest.approx((await query(str(server.addresses[0]))).offset.s(), abs=0.01)
            said[0] = claim(-3.0)
            server.update()
            assert 3.0 == pytest.approx((await query(str(server.addresses[0]))).offset.s(), abs=0.01)
            said[0] = claim(leap=Leap.UNKNOWN)
            server.update()
            with pytest.raises(QueryError, match="not synchronised"):
                await query(str(server.addresses[0]))

    asyncio.run(story())


def test_a_claim_that_fails_once_is_told_to_the_loop_and_asked_for_again() -> None:
    async def story() -> None:
        calls = 0
        recovered, told = asyncio.Event(), []

        def shaky() -> Claim:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise ArithmeticError("no clock today")
            if calls == 3:
                recovered.set()
            return claim()

        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        async with serve("127.0.0.1:0", claim=shaky), asyncio.timeout(PATIENCE_S):
            await recovered.wait()
        assert ["no clock today"] == [str(error) for error in told]

    asyncio.run(story())


def test_nobody_outside_is_answered_unless_allowed() -> None:
    async def story() -> None:
        async with serve("127.0.0.1:0", claim=claim, allow=["192.0.2.0/24"]) as server:
            with pytest.raises(QueryError, match="no answer within"):
                await query(str(server.addresses[0]), timeout_s=0.2)

    asyncio.run(story())


def test_the_port_is_free_again_after_the_block() -> None:
    async def story() -> None:
        # An address that no other test uses: none of them takes the port in between.
        async with serve("127.83.7.1:0", claim=claim) as server:
            where = str(server.addresses[0])
        async with serve(where, claim=claim) as again:
            assert where == str(again.addresses[0])

    asyncio.run(story())


def test_the_claim_of_the_system_clock_is_the_kernels() -> None:
    said = claim_of_system_clock(stratum=4)
    assert 4 == said.stratum
    assert said.root_dispersion > ZERO
    assert ZERO == said.offset


@pytest.mark.parametrize("wrong", [{"stratum": 0}, {"stratum": 16}, {"reference_id": b"GPS"}])
def test_a_claim_that_cannot_stand_in_a_packet(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="stratum"):
        Claim(**{"stratum": 1, "reference_id": b"GPS\0", "root_dispersion": ZERO, **wrong})  # type: ignore[arg-type]  # the point of it


def test_following_two_servers_and_one_that_is_wrong() -> None:
    async def story() -> None:
        async with (
            serve("127.0.0.1:0", claim=lambda: claim(-0.25)) as one,
            serve("127.0.0.1:0", claim=lambda: claim(-0.25)) as two,
            serve("127.0.0.1:0", claim=lambda: claim(30.0)) as wrong,
        ):
            servers = [str(server.addresses[0]) for server in (one, two, wrong)]
            async with asyncio.timeout(PATIENCE_S), follow(*servers, poll_s=(0.0625, 0.0625), every_s=0.05) as states:
                async for state in states:
                    verdicts = {str(source.source): source.state for source in state.sources}
                    outvoted = [name for name, verdict in verdicts.items() if verdict is SourceState.FALSETICKER]
                    if state.offset_s is not None and outvoted:
                        break
            assert 0.25 == pytest.approx(state.offset_s, abs=0.01)
            assert state.error_bound_s is not None
            assert [servers[2]] == [name for name in servers if any(name in one for one in outvoted)]

    asyncio.run(story())


def test_a_state_is_synchronized_while_sources_agree() -> None:
    async def story() -> None:
        said = [claim()]
        async with (
            asyncio.timeout(PATIENCE_S),
            serve("127.0.0.1:0", claim=lambda: said[0]) as server,
            follow(str(server.addresses[0]), poll_s=(0.0625, 0.0625), every_s=0.05) as states,
        ):
            assert not states.state().synchronized
            async for state in states:
                if state.synchronized:
                    break
            said[0] = claim(leap=Leap.UNKNOWN)
            server.update()
            async for state in states:
                if not state.synchronized:
                    break
            assert state.offset_s is not None, "what was known is not forgotten"

    asyncio.run(story())


@pytest.mark.parametrize("servers", [(), ("a b",), ("x', noselect: true}, {ntp: 'y",)])
def test_what_is_no_server_cannot_be_followed(servers: tuple[str, ...]) -> None:
    async def story() -> None:
        async with follow(*servers):
            pass

    with pytest.raises(ValueError, match=r"."):
        asyncio.run(story())


def test_an_interval_that_is_no_power_of_two_is_refused_in_words() -> None:
    async def story() -> None:
        async with follow("127.0.0.1", poll_s=(3, 5)):
            pass

    with pytest.raises(ConfigError, match="poll"):
        asyncio.run(story())
