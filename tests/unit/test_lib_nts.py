"""timesync as a library: NTS, asked, followed and served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from lib_support import NTS_HERE, Papers, claim, papers

from timesync.base.time import Duration, Instant, Utc
from timesync.lib import (
    KeKind,
    NtpServer,
    NtsCertificate,
    NtsError,
    NtsSession,
    NtsTrust,
    QueryError,
    follow,
    query,
    query_blocking,
    serve,
)
from timesync.lib.server_nts import ServedNts
from timesync.ntp.server import _UNANSWERED

PATIENCE_S = 30.0
SHORT_S = 0.3
COOKIES = 8


@pytest.fixture
def made(tmp_path: Path) -> Papers:
    return papers(tmp_path)


@asynccontextmanager
async def serving(made: Papers, *, ahead_s: float = 0.0, workers: int = 0) -> AsyncIterator[NtpServer]:
    async with serve("127.0.0.1:0", claim=lambda: claim(ahead_s), workers=workers, nts=made.certificate) as server:
        yield server


def ke(server: NtpServer) -> str:
    (endpoint,) = server.nts_addresses
    return str(endpoint)


# -- one question


def test_a_question_with_nts_is_answered_by_the_server_that_key_establishment_names(made: Papers) -> None:
    async def story() -> None:
        async with serving(made, ahead_s=2.0) as server:
            reply = await query(ke(server), nts=made.trust, count=3, interval_s=0.02)
            assert server.addresses[0] == reply.server
            assert -2.0 == pytest.approx(reply.offset.s(), abs=0.01)
            assert (True, 3) == (reply.authenticated, len(reply.outcomes))
            assert (3, 0) == (server.counters().nts, server.counters().nts_nak)
            plain = await query(str(server.addresses[0]))
            assert plain.authenticated is False

    asyncio.run(story())


def test_worker_processes_answer_with_nts_too(made: Papers) -> None:
    async def story() -> None:
        async with serving(made, workers=1) as server:
            assert (await query(ke(server), nts=made.trust, timeout_s=PATIENCE_S)).authenticated

    asyncio.run(story())


@pytest.mark.parametrize("other", [True, False])
def test_a_certificate_of_another_authority_is_refused_in_words(made: Papers, tmp_path: Path, other: bool) -> None:
    async def story() -> NtsError:
        async with serving(made) as server:
            trust = papers(tmp_path / "other", authority_name="Other CA").trust if other else True
            with pytest.raises(NtsError, match='"Lab CA"') as caught:
                await query(ke(server), nts=trust)
            assert 0 == server.counters().received
            return caught.value

    error = asyncio.run(story())
    assert KeKind.CERTIFICATE is error.kind
    assert 100 <= error.retry_in_s <= 120
    assert () == error.outcomes


def test_where_nobody_makes_keys_nothing_is_asked(made: Papers) -> None:
    with socket.socket() as unused:
        unused.bind((NTS_HERE, 0))
        port = unused.getsockname()[1]
    with pytest.raises(QueryError, match="refused") as caught:
        query_blocking(f"{NTS_HERE}:{port}", nts=made.trust)
    assert isinstance(caught.value, NtsError)
    assert KeKind.UNREACHABLE is caught.value.kind


def test_what_cannot_be_asked_with_nts_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version 4 only"):
        query_blocking("127.0.0.1", nts=True, version=3)
    with pytest.raises(FileNotFoundError):
        query_blocking("127.0.0.1", nts=NtsTrust(tmp_path / "nothing.pem"))
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"text\.pem: "):
        query_blocking("127.0.0.1", nts=NtsTrust(tmp_path / "text.pem"))


# -- a session


def test_a_session_makes_keys_once_and_asks_many_times(made: Papers) -> None:
    async def story() -> None:
        async with serving(made) as server:
            async with NtsSession(ke(server), trust=made.trust) as session:
                assert (server.addresses[0], COOKIES, 1) == (session.server, session.cookies, session.rounds)
                for _ in range(COOKIES + 3):
                    assert (await session.query()).authenticated
                # Tasks that ask at the same time wait for each other: each cookie goes out once.
                await asyncio.gather(*(session.query() for _ in range(COOKIES + 3)))
                assert (COOKIES, 1) == (session.cookies, session.rounds)
                assert "TLSv1.3" == session.established.tls.version
                assert 2 * (COOKIES + 3) == server.counters().nts
                await session.renew()
                assert 2 == session.rounds
            with pytest.raises(RuntimeError, match="async with"):
                await session.query()

    asyncio.run(story())


def test_a_session_renews_its_keys_when_the_server_has_lost_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        made = papers(tmp_path, f"{NTS_HERE}:0")
        async with serve(f"{NTS_HERE}:0", claim=claim, nts=made.certificate) as server:
            ntp, keys = str(server.addresses[0]), ke(server)
            session = await NtsSession(keys, trust=made.trust).__aenter__()
            assert (await session.query()).authenticated
        async with serve(ntp, claim=claim, nts=replace(made.certificate, listen=(keys,))) as again:
            assert (await session.query(timeout_s=SHORT_S)).authenticated
            assert (2, COOKIES) == (session.rounds, session.cookies)
            assert (1, 1) == (again.counters().nts_nak, again.counters().nts)

    asyncio.run(story())


def test_a_server_that_knows_none_of_its_keys_is_not_asked_for_keys_without_end(
    made: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(made) as server, NtsSession(ke(server), trust=made.trust) as session:
            await session.query()
            # NTP gets other master keys, and key establishment keeps its own.
            server._service.rekey(ServedNts(made.certificate).cookies.keys)
            with pytest.raises(QueryError, match=r"no answer within 0\.3 s; what came was refused \(nts-nak\)") as nak:
                await session.query(timeout_s=SHORT_S)
            assert not isinstance(nak.value, NtsError)
            assert 2 == session.rounds
            with pytest.raises(NtsError, match="made keys a moment ago") as early:
                await session.query(timeout_s=SHORT_S)
            assert 2 == session.rounds
            assert 8 < early.value.retry_in_s <= 12

    asyncio.run(story())


def test_an_answer_without_authentication_is_not_believed(tmp_path: Path) -> None:
    async def story() -> None:
        made = papers(tmp_path, f"{NTS_HERE}:0")
        async with serve(f"{NTS_HERE}:0", claim=claim, nts=made.certificate) as server:
            where = str(server.addresses[0])
            session = await NtsSession(ke(server), trust=made.trust).__aenter__()
        async with serve(where, claim=lambda: claim(100.0)) as liar:
            with pytest.raises(QueryError, match=r"refused \(nts-"):
                await session.query(timeout_s=SHORT_S)
            assert 1 == liar.counters().answered

    asyncio.run(story())


def test_cookies_that_were_all_lost_are_replaced_by_other_keys(made: Papers) -> None:
    async def story() -> None:
        async with serving(made) as server, NtsSession(ke(server), trust=made.trust) as session:
            await session.query()
            machine = server._service._server  # type: ignore[union-attr]
            machine._authenticate = lambda *_, **__: _UNANSWERED  # type: ignore[method-assign]  # deaf
            with pytest.raises(QueryError, match="there are no cookies left") as deaf:
                await session.query(count=COOKIES + 2, timeout_s=0.05, interval_s=0.01)
            assert COOKIES + 1 == len(deaf.value.outcomes)
            assert 0 == session.cookies
            del machine._authenticate  # and no longer
            assert (await session.query()).authenticated
            assert 2 == session.rounds

    asyncio.run(story())


# -- following


def test_following_a_server_with_nts_and_one_without(tmp_path: Path) -> None:
    async def story() -> None:
        # Whatever a path holds, it stays a path.
        made = papers(tmp_path / 'it\'s, ca: "x"} # é')
        async with serving(made, ahead_s=-0.25) as one, serving(made, ahead_s=-0.25) as two:
            servers = ke(one), str(two.addresses[0])
            async with (
                asyncio.timeout(PATIENCE_S),
                follow(*servers, nts={servers[0]: made.trust}, poll_s=(0.0625, 0.0625), every_s=0.05) as states,
            ):
                async for state in states:
                    if state.offset_s is not None and one.counters().nts > 3 and two.counters().answered > 3:
                        break
            assert 0.25 == pytest.approx(state.offset_s, abs=0.01)
            assert 0 == two.counters().nts

    asyncio.run(story())


def test_a_followed_server_without_the_right_certificate_gives_no_time(made: Papers, tmp_path: Path) -> None:
    async def story() -> None:
        said: list[str] = []
        trust = papers(tmp_path / "other", authority_name="Other CA").trust
        async with (
            serving(made) as server,
            asyncio.timeout(PATIENCE_S),
            follow(ke(server), nts=trust, every_s=0.05, note=lambda noted: said.append(noted.text)) as states,
        ):
            async for _ in states:
                if any('"Lab CA"' in text for text in said):
                    break
            assert states.state().offset_s is None
            assert 0 == server.counters().received

    asyncio.run(story())


def test_nts_of_a_server_that_is_not_followed_is_a_mistake() -> None:
    async def story() -> None:
        async with follow("127.0.0.1", nts={"127.0.0.2": True}):
            pass

    with pytest.raises(ValueError, match=r"nts names what is not followed: 127\.0\.0\.2"):
        asyncio.run(story())


# -- serving


def test_files_that_are_no_certificate_and_its_key_are_refused_at_once(made: Papers, tmp_path: Path) -> None:
    async def story(nts: NtsCertificate) -> None:
        async with serve("127.0.0.1:0", claim=claim, nts=nts):
            pass

    other = papers(tmp_path / "other").certificate
    with pytest.raises(ValueError, match=r"certificate\.pem, .*key\.pem: "):
        asyncio.run(story(replace(made.certificate, private_key=other.private_key)))
    with pytest.raises(FileNotFoundError):
        asyncio.run(story(replace(made.certificate, certificate=tmp_path / "nothing.pem")))


def test_a_port_that_is_taken_leaves_nothing_open(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.create_server((NTS_HERE, 0)) as taken:
            made = papers(tmp_path, f"{NTS_HERE}:{taken.getsockname()[1]}")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind((NTS_HERE, 0))
                where = "{}:{}".format(*free.getsockname())
            with pytest.raises(OSError, match="in use"):
                async with serve(where, claim=claim, nts=made.certificate):
                    pass
            async with serve(where, claim=claim) as server:
                assert where == str(server.addresses[0])

    asyncio.run(story())


def test_master_keys_change_and_cookies_of_before_stay_good(made: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with serving(made) as server, NtsSession(ke(server), trust=made.trust) as session:
            assert server._nts is not None
            before, now = server._nts.cookies.keys, server._nts._utc()
            later: Instant[Utc] = now + Duration.from_s(90_000)
            monkeypatch.setattr(ServedNts, "_utc", lambda _: later)
            server.update()
            assert before != server._nts.cookies.keys
            assert (await session.query()).authenticated
            assert (await query(ke(server), nts=made.trust)).authenticated
            assert (2, 0) == (server.counters().nts, server.counters().nts_nak)

    asyncio.run(story())
