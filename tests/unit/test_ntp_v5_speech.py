"""A client that may speak NTPv5, and servers of ours and of others: versions, drafts, loops, pace."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ntp5_support import DRAFT, STATE, entropy, head, parts
from ntp_client_support import Request, Story, done, measured, notes, reasons, settings, statuses
from ntp_server_support import EVERYBODY
from nts_support import Stream, agreed, keys_for

from timesync.base.machine import Effect
from timesync.base.measure import Leap, SourceStatus
from timesync.base.time import Duration, Instant
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.authenticator import Authenticator, KeyAuthenticator, NtsAuthenticator
from timesync.ntp.client import Client
from timesync.ntp.client_interleaved import Interleaved
from timesync.ntp.limit import RateLimit
from timesync.ntp.server import Server, ServerSettings
from timesync.ntp.v5.bloom import MAX_MISSING, BloomFilter, ReferenceId, filter_of, served_filter
from timesync.ntp.v5.negotiation import TRIES, SpeakV5
from timesync.ntp.v5.serving import Serving
from timesync.ntp.v5.speech import LOOP_TEXT, Loops, Speak5, Speech5
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsSession
from timesync.wire.nts_ke import NextProtocol

FIRST, SECOND = DRAFT.decode(), "draft-ietf-ntp-ntpv5-09"
OWN, OTHER = ReferenceId.random(entropy(1)), ReferenceId.random(entropy(2))
KEY = SymmetricKey(7, "AES128", b"sixteen octets!!")
MARK = b"NTP5DRFT"


class Lowest:
    """No wait is longer than it must be."""

    def random(self) -> float:
        return 0.0


class Talk(Story):
    """A client that may speak NTPv5, and our server at the other end.

    Attributes:
        references: What the server tells; None: it hands out none.
    """

    def __init__(
        self,
        speak: SpeakV5,
        *,
        loops: bool = False,
        words: dict[str, Any] | None = None,
        authenticator: Authenticator | None = None,
        serves: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(changes)
        made = settings(**changes)
        authenticator = authenticator or KeyAuthenticator(made.key)
        self.speech = Speech5(
            Speak5(speak=speak, interleaved=made.interleaved is not Interleaved.NEVER, key=made.key, **(words or {})),
            authenticator,
            self.scales,
            entropy(5),
            Loops(frozenset({OWN}), Lowest()) if loops else None,
        )
        self.client = Client(
            made, self.scales, random.Random(1), entropy(1), self.precision, authenticator, self.speech
        )
        offered = {"allow": EVERYBODY, "versions": frozenset({3, 4, 5}), "keys": (KEY,), **(serves or {})}
        self.server = Server(ServerSettings(**offered), random.Random(2), Stream("far"))
        self.tell(served_filter(OTHER, []))

    def tell(self, references: BloomFilter | None, **changes: Any) -> None:
        self.server.publish(replace(STATE, ntpv5=Serving(references=references), **changes))

    def serve(self, request: Request) -> tuple[bytes | None, Callable[[], None]]:
        """The server's answer, and what reports when it left."""
        at_ns = self.utc_ns + self.forward_ns
        reply = self.server.respond(request.data, "192.0.2.9", 40_000, at_ns, at_ns + self.served_ns, 0)
        if reply is None:
            return None, lambda: None
        stamp_as = reply.stamp_as
        left_ns = at_ns + self.served_ns

        def report() -> None:
            if stamp_as is not None:
                self.server.sent(stamp_as, left_ns)

        return reply.data, report

    def talk(self) -> list[Effect]:
        """One request, and its answer if there is one."""
        request = self.ask()
        self.asked = request.data
        before = list(self.effects)
        data, report = self.serve(request)
        effects = before + self.sent(request)
        if data is not None:
            effects += self.receive(request, data)
            report()
        return effects

    def go_on(self, count: int) -> list[Effect]:
        return [effect for _ in range(count) for effect in self.talk()]

    @property
    def version(self) -> int:
        """Of the last request."""
        return self.asked[0] >> 3 & 7

    def status(self) -> SourceStatus:
        return self.client.status()


def test_a_server_that_says_so_in_version_4_is_asked_in_version_5() -> None:
    story = Talk(SpeakV5.AUTO)
    first = story.talk()
    assert (4, MARK, 48) == (story.version, story.asked[16:24], len(story.asked))
    assert 1 == len(measured(first))
    assert (4, None) == (story.status().version, story.status().draft)
    assert "ntp-version" in notes(first)
    second = story.talk()
    assert 5 == story.version
    assert [DRAFT] == parts(story.asked)[0xF5FF]
    (sample,) = measured(second)
    assert abs(sample.offset.ns() - story.local_ahead_ns) < 2
    assert sample.quality is not None
    assert (2, Leap.NONE) == (sample.quality.stratum, sample.quality.leap)
    assert (STATE.root_delay, STATE.root_dispersion) == (sample.quality.root_delay, sample.quality.root_dispersion)
    assert (5, FIRST, None) == (story.status().version, story.status().draft, story.status().excluded)
    assert [] == notes(story.talk())


def test_a_server_of_version_4_is_asked_for_8_times_and_then_left_alone() -> None:
    story = Talk(SpeakV5.AUTO, serves={"versions": frozenset({3, 4})}, interleaved=Interleaved.NEVER)
    marks = []
    for _ in range(TRIES + 3):
        assert 1 == len(measured(story.talk()))
        assert 4 == story.version
        marks.append(story.asked[16:24] == MARK)
    assert [True] * TRIES + [False] * 3 == marks


def test_silence_in_version_5_leads_back() -> None:
    """A firewall that lets only 48 octets through, say: each draft is tried, then version 4 again."""
    story = Talk(SpeakV5.AUTO)
    story.talk()
    news = []
    for _ in range(3):
        request = story.ask()
        news += notes(story.effects)
        assert 5 == request.data[0] >> 3 & 7
        story.sent(request)
    effects = story.talk()
    assert 4 == story.version
    assert "ntp-version" in news + notes(effects)
    assert bytes(8) == story.asked[16:24], "and not asked whether for a while"
    assert 1 == len(measured(effects))
    assert (4, None) == (story.status().version, story.status().draft)


def test_drafts_are_tried_in_turn_and_that_of_the_server_stays() -> None:
    story = Talk(SpeakV5.ALWAYS, serves={"drafts": (SECOND,)})
    assert [] == measured(story.talk())
    assert 1 == len(measured(story.talk()))
    assert (5, SECOND) == (story.status().version, story.status().draft)
    assert 3 == len(measured(story.go_on(3)))
    assert [SECOND.encode()] == parts(story.asked)[0xF5FF]


def test_who_is_told_to_speak_version_5_never_speaks_another() -> None:
    story = Talk(SpeakV5.ALWAYS, words={"drafts": (FIRST,)}, serves={"versions": frozenset({4})})
    for _ in range(12):
        assert [] == measured(story.talk())
        assert 5 == story.version
    assert (None, None, 0) == (story.status().version, story.status().draft, story.status().reach)


def test_an_answer_of_version_4_to_a_request_of_version_5_is_none() -> None:
    story = Talk(SpeakV5.ALWAYS)
    request = story.ask()
    story.sent(request)
    data = story.reply(request).pack()
    assert ["version"] == reasons(story.receive(request, data))


@pytest.mark.parametrize("key", [None, KEY])
def test_interleaved_mode_gives_the_servers_own_stamps(key: SymmetricKey | None) -> None:
    story = Talk(SpeakV5.ALWAYS, interleaved=Interleaved.ALWAYS, key=key)
    story.served_ns = 150_000
    first, *later = [story.talk() for _ in range(4)]
    assert 1 == len(measured(first))
    assert [0, 1, 1] == [len(measured(one)) for one in later], "the first exchange was measured already"
    assert story.status().interleaved
    assert (2, True) == (head(story.asked)["flags"], story.status().authenticated is (key is not None))
    for one in later[1:]:
        assert abs(measured(one)[0].offset.ns() - story.local_ahead_ns) < 2
    story.client.restart(story.now)
    story.talk()
    assert 0 == head(story.asked)["server_cookie"]


def test_auto_asks_for_interleaved_mode_when_it_would_in_version_4() -> None:
    story = Talk(SpeakV5.ALWAYS)
    flags = []
    for _ in range(6):
        story.talk()
        flags.append(head(story.asked)["flags"])
    assert [0, 0, 0, 0, 2, 2] == flags


# -- loops


def test_a_server_is_not_selected_before_its_reference_ids_are_all_here() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    for _ in range(3):
        assert 1 == len(measured(story.talk()))
        assert story.status().excluded == "its reference ids, which would show a loop, are not all here yet"
        assert story.speech.references is None
    story.talk()
    assert story.status().excluded is None
    assert served_filter(OTHER, []) == story.speech.references


def test_a_server_that_has_none_is_taken_without() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    story.tell(None)
    story.go_on(2)
    assert (None, None) == (story.status().excluded, story.speech.references)


def test_a_server_that_takes_its_time_from_us_is_excluded_until_it_does_not() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    story.go_on(4)
    story.tell(served_filter(OTHER, [filter_of(OWN)]))
    effects = story.go_on(4)
    assert "loop" in reasons(effects)
    assert ["ntp-loop"] == [name for name in notes(effects) if name == "ntp-loop"]
    assert LOOP_TEXT == story.status().excluded
    assert [] == measured(story.talk()), "nothing of it is used"
    assert statuses(story.talk())[-1].status.excluded == LOOP_TEXT
    story.tell(served_filter(OTHER, []))
    story.go_on(5)
    assert story.status().excluded is None


def test_reference_ids_that_a_server_gives_no_more_count_no_more() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    story.tell(served_filter(OTHER, [filter_of(OWN)]))
    story.go_on(4)
    assert LOOP_TEXT == story.status().excluded
    story.tell(None)
    story.go_on(MAX_MISSING - 1)
    assert LOOP_TEXT == story.status().excluded, "some answers may have no room for them"
    story.talk()
    assert (None, None) == (story.status().excluded, story.speech.references)
    assert [] != measured(story.go_on(2))


def test_reference_ids_of_before_a_long_silence_are_fetched_anew() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    story.go_on(4)
    assert story.speech.references is not None
    server, story.server = story.server, Server(ServerSettings(allow=EVERYBODY), random.Random(2))
    story.go_on(MAX_MISSING + 1)
    story.server = server
    story.talk()
    assert story.status().excluded == "its reference ids, which would show a loop, are not all here yet"
    story.go_on(3)
    assert story.status().excluded is None


def test_reference_ids_are_fetched_anew_when_version_5_is_back() -> None:
    story = Talk(SpeakV5.AUTO, loops=True)
    story.go_on(5)
    assert story.speech.references is not None
    server, story.server = story.server, Server(ServerSettings(allow=EVERYBODY), random.Random(2))
    story.server.publish(STATE)
    while story.talk() and story.version == 5:
        pass
    story.server = server
    while story.talk() and story.version == 4:
        pass
    assert story.speech.references is None
    assert story.status().excluded == "its reference ids, which would show a loop, are not all here yet"


def test_a_name_that_this_machine_gets_later_shows_a_loop_as_well() -> None:
    story = Talk(SpeakV5.ALWAYS, loops=True)
    later = ReferenceId.of_address("2001:4860::1")
    story.tell(served_filter(OTHER, [filter_of(later)]))
    story.go_on(4)
    assert story.status().excluded is None
    story.speech.set_own(frozenset({OWN, later}))
    story.talk()
    assert LOOP_TEXT == story.status().excluded


def test_who_serves_nobody_asks_for_no_reference_ids() -> None:
    story = Talk(SpeakV5.ALWAYS)
    story.talk()
    assert 0xF503 not in parts(story.asked)


def test_back_in_version_4_the_reference_ids_count_no_more() -> None:
    story = Talk(SpeakV5.AUTO, loops=True)
    story.talk()
    story.tell(served_filter(OTHER, [filter_of(OWN)]))
    story.go_on(5)
    assert LOOP_TEXT == story.status().excluded
    story.server = Server(ServerSettings(allow=EVERYBODY), random.Random(2))
    story.server.publish(STATE)
    while story.talk() and story.version == 5:
        pass
    assert (None, None) == (story.status().excluded, story.speech.references)


# -- what a server may ask for


def test_the_interval_that_a_server_asks_for_is_kept() -> None:
    limit = RateLimit(interval=Duration.from_s(2000), burst=100)
    story = Talk(SpeakV5.ALWAYS, serves={"rate_limit": limit}, burst=True, poll_max=8)
    story.talk()
    before = story.mono_ns
    story.talk()
    assert 2000 < (story.mono_ns - before) / 1e9 < 2100, "longer than the configured longest, and no burst"
    assert story.status().stepped_back
    assert not story.client.burst_now(story.now)


def test_a_refusal_is_obeyed() -> None:
    story = Talk(SpeakV5.ALWAYS)
    for _ in range(3):
        request = story.ask()
        data, _ = story.serve(request)
        assert data is not None
        refusal = bytes([0xEC, 0, 127, 0]) + bytes(20) + data[24:32] + bytes(16) + data[48:]
        story.sent(request)
        assert ["kiss"] == reasons(story.receive(request, refusal))
        assert done(story.effects) == []
    assert (story.status().excluded or "").startswith("the server refuses to serve this client (DENY)")


# -- NTS


@pytest.mark.parametrize(("protocol", "version"), [(NextProtocol.NTPV5_DRAFT, 5), (NextProtocol.NTPV4, 4)])
def test_keys_of_nts_say_the_version(protocol: NextProtocol, version: int) -> None:
    store = KeyStore.new(Instant.from_ns(10**18), Stream("store"))
    keys, jar = keys_for(AeadId.AES_SIV_CMAC_256), CookieJar(store.keys, Stream("jar"))

    def session(spoken: NextProtocol) -> NtsSession:
        made = replace(agreed(keys, tuple(jar.make(keys) for _ in range(4))), protocol=spoken)
        return NtsSession(made, Stream("client"))

    authenticator = NtsAuthenticator(session(protocol))
    story = Talk(SpeakV5.AUTO, authenticator=authenticator, serves={"nts": store.keys})
    effects = story.go_on(3)
    assert (version, 3) == (story.version, len(measured(effects)))
    assert (version, True) == (story.status().version, story.status().authenticated)
    assert 0 == int.from_bytes(story.asked[16:24], "big") or version == 5, "it is not asked whether"
    authenticator.renew(session(NextProtocol.NTPV5_DRAFT))
    assert 2 == len(measured(story.go_on(2)))
    assert 5 == story.version, "other keys, another version"


def test_an_answer_that_nts_does_not_open_is_refused() -> None:
    keys = keys_for(AeadId.AES_SIV_CMAC_256)
    store = KeyStore.new(Instant.from_ns(10**18), Stream("store"))
    jar = CookieJar(store.keys, Stream("jar"))
    made = replace(agreed(keys, (jar.make(keys),)), protocol=NextProtocol.NTPV5_DRAFT)
    story = Talk(
        SpeakV5.AUTO, authenticator=NtsAuthenticator(NtsSession(made, Stream("client"))), serves={"nts": store.keys}
    )
    request = story.ask()
    data, _ = story.serve(request)
    assert data is not None
    story.sent(request)
    assert ["nts-tag"] == reasons(story.receive(request, data[:40] + bytes([data[40] ^ 1]) + data[41:]))
    assert 1 == len(measured(story.receive(request, data)))
