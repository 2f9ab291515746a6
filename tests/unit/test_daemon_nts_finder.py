"""NTS sources of the daemon, with real TLS in simulated time: keys, their end, and the first time of all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from nts_daemon_support import HOUR_S, KE_PORT, NAME, NtsScene, gaps, utc_s
from tls_support import make_identity

from timesync.base.time import Duration
from timesync.config.sources import NtpSource, PoolSource
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.saved import SavedSession
from timesync.servo.view import ServoState

DAY_S = 86_400.0
FAR_PAST_S = -56 * 365 * DAY_S
"""A board without a battery: 1970."""


@pytest.fixture
def scene(tmp_path: Path) -> NtsScene:
    made = NtsScene(tmp_path)
    made.network.dns.set(NAME, "192.0.2.2")
    return made


# -- keys


def test_keys_come_first_then_authenticated_measurements(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.2:123"] == scene.asked(group)
        (said,) = scene.nts(group)
        assert (f"{NAME}:{KE_PORT}", 8, False, False) == (
            said["ke_server"], said["cookies"], said["provisional"], said["starving"],
        )  # fmt: skip
        assert ("AES_128_GCM_SIV", 128, 1, 0, False) == (
            said["aead"], said["key_bits"], said["establishments"], said["attempts"], said["nak"],
        )  # fmt: skip
        assert 0 < said["cookie_octets"] < 200
        assert 50 < said["age_s"] < 70

    scene.play(story)
    assert 1 == len(far.asked_at)
    assert scene.count(0) >= 5
    assert all(status.authenticated for status in scene.statuses.values())
    assert len(far.cookies) == len(set(far.cookies)), "a cookie used twice lets others follow a client"


@pytest.mark.parametrize(
    ("version", "spoken", "agreed"), [(4, (0x8001, 0), 4), ("auto", (0x8001, 0), 5), ("auto", (0,), 4), (5, (0,), None)]
)
def test_the_version_is_that_which_key_establishment_agrees_on(
    scene: NtsScene, version: object, spoken: tuple[int, ...], agreed: int | None
) -> None:
    far, group = scene.server(), scene.group(version=version)
    far.settings = KeServerSettings(protocols=spoken)
    found: list[int] = []

    async def story() -> None:
        group.start()
        await scene.wait(60)
        found.extend(said["ntp_version"] for said in scene.nts(group))

    scene.play(story)
    assert ([] if agreed is None else [agreed]) == found
    spoken_in = {status.version for status in scene.statuses.values() if status.authenticated}
    assert (set() if agreed is None else {agreed}) == spoken_in


def test_stored_keys_of_another_version_are_not_used(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.stop(group)
        scene.group(version=5).start()
        await scene.wait(60)

    far.settings = KeServerSettings(protocols=(0, 0x8001))
    scene.play(story)
    assert 2 == len(far.asked_at)


def test_a_server_of_an_unknown_authority_gives_no_keys_and_is_not_asked_in_a_hurry(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()
    far.show(make_identity("elsewhere", NAME, issuer=make_identity("Other CA", authority=True)))

    async def story() -> None:
        group.start()
        await scene.wait(HOUR_S)
        assert [] == scene.asked(group)
        assert group.trouble is not None
        assert group.trouble.startswith(f"the name {NAME} gives no keys (")
        assert '"Other CA", which is neither trusted nor shown' in group.trouble

    scene.play(story)
    found = gaps(far.asked_at)
    assert len(found) >= 3
    assert found[0] >= 100
    assert all(after >= 1.5 * before for before, after in pairwise(found))
    assert [group.trouble] == scene.texts("resolve"), "said once"


def test_a_server_without_nts_is_named_with_its_port(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()
    del far.host.node.streams[KE_PORT]

    async def story() -> None:
        group.start()
        await scene.wait(5)
        assert group.trouble is not None
        assert f"{NAME}: no connection to port 4460" in group.trouble

    scene.play(story)
    assert [] == far.cookies, "without keys nobody is asked for the time"


# -- their end


def test_a_server_that_lost_its_master_keys_gives_new_ones_and_the_association_stays(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(100)
        far.forget()
        await scene.wait(100)

    scene.play(story)
    assert 2 == len(far.asked_at)
    assert scene.count(150) >= 4
    # Only the end of the story removes it.
    assert 1 == len(scene.removed)
    assert [] == scene.texts("replaced")


def test_naks_to_fresh_keys_are_not_answered_with_ever_more_tls(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(100)
        far.disagree()
        await scene.wait(HOUR_S)
        asked = len(far.asked_at)
        assert 5 <= asked <= 16, "10 s, and at least half as much again each time"
        far.agree()
        await scene.wait(HOUR_S)

    scene.play(story)
    # The first is how long the keys were good.
    assert all(gap >= 10 * 1.5**tries for tries, gap in enumerate(gaps(far.asked_at)[1:]))
    assert scene.count(2 * HOUR_S) >= 4, "it goes on when the server is mended"
    assert [] == scene.texts("replaced")


def test_when_answers_fail_the_cookies_run_out_and_are_got_anew_in_place(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(100)
        far.close()
        await scene.wait(200)
        assert len(far.asked_at) >= 2
        far.open()
        await scene.wait(600)

    scene.play(story)
    assert scene.count(500) >= 20
    assert [] == scene.texts("replaced")
    assert len(far.cookies) == len(set(far.cookies))


# -- elsewhere


def test_the_endpoint_that_key_establishment_names_is_asked(scene: NtsScene) -> None:
    near, group = scene.server(), scene.group()
    there = scene.server("192.0.2.3", port=1123)
    there.share(near)
    scene.network.dns.set("ntp.example.org", "192.0.2.3")
    near.settings = KeServerSettings(server="ntp.example.org", port=1123)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.3:1123"] == scene.asked(group)

    scene.play(story)
    assert scene.count(0) >= 5
    assert [] == near.cookies


def test_at_a_renewal_a_new_endpoint_takes_the_old_one_s_place(scene: NtsScene) -> None:
    first, group = scene.server(), scene.group()
    second = scene.server("192.0.2.3")

    async def story() -> None:
        group.start()
        await scene.wait(60)
        first.forget()
        first.settings = KeServerSettings(server="192.0.2.3")
        second.share(first)
        await scene.wait(60)
        assert ["192.0.2.3:123"] == scene.asked(group)

    scene.play(story)
    assert scene.count(100) >= 2
    assert 1 == len(scene.texts("replaced"))


@pytest.mark.parametrize("kind", [NtpSource, PoolSource])
def test_at_a_renewal_another_port_of_the_same_address_is_followed(
    scene: NtsScene, kind: type[NtpSource | PoolSource]
) -> None:
    far, group = scene.server(), scene.group(kind=kind)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.2:123"] == scene.asked(group)
        far.move(1123)
        await scene.wait(400)
        assert ["192.0.2.2:1123"] == scene.asked(group)

    scene.play(story)
    assert scene.count(300) >= 10
    assert 1 == len(scene.texts("replaced"))


def test_an_endpoint_without_an_address_is_a_failure_like_others(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()
    far.settings = KeServerSettings(server="nowhere.example.org")

    async def story() -> None:
        group.start()
        await scene.wait(300)
        assert group.trouble is not None
        assert "nowhere.example.org, which key establishment names, has no address" in group.trouble

    scene.play(story)
    assert all(gap >= 100 for gap in gaps(far.asked_at))


# -- pools


def test_each_server_of_a_pool_has_keys_of_its_own_and_renews_them_where_it_is(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3, 4)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    group = scene.group(kind=PoolSource, count=2)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.2:123", "192.0.2.3:123"] == scene.asked(group)
        fars[0].forget()
        await scene.wait(200)
        assert ["192.0.2.2:123", "192.0.2.3:123"] == scene.asked(group)
        assert [False, False] == [said["starving"] for said in scene.nts(group)]

    scene.play(story)
    assert [2, 1, 0] == [len(far.asked_at) for far in fars]
    assert 2 == len({source for source, at in scene.measured if at > 200})
    assert [] == scene.texts("replaced")


def test_one_server_of_a_pool_cannot_take_the_keys_of_another(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    # It says that its keys are good at the other one, which does not know them.
    fars[1].settings = KeServerSettings(server="192.0.2.2")
    group = scene.group(kind=PoolSource, count=2)

    async def story() -> None:
        group.start()
        await scene.wait(HOUR_S / 2)
        assert ["192.0.2.2:123"] == scene.asked(group)

    scene.play(story)
    assert 1 == len(fars[0].asked_at), "its own keys have been good all the time"
    assert scene.count(0) >= 200
    assert len(fars[1].asked_at) <= 8
    assert all(after >= 1.5 * before for before, after in pairwise(gaps(fars[1].asked_at)))


def test_a_pool_of_one_goes_to_another_server_when_its_own_is_dead(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    group = scene.group(kind=PoolSource, count=1)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.2:123"] == scene.asked(group)
        fars[0].close()
        del fars[0].host.node.streams[KE_PORT]
        await scene.wait(1.2 * HOUR_S)
        assert ["192.0.2.3:123"] == scene.asked(group)

    scene.play(story)


def test_one_bad_server_of_a_pool_keeps_nobody_from_the_others(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3, 4)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    fars[0].settings = KeServerSettings(server="nowhere.example.org")
    del fars[1].host.node.streams[KE_PORT]
    group = scene.group(kind=PoolSource, count=3)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert ["192.0.2.4:123"] == scene.asked(group)

    scene.play(story)
    assert scene.count(0) >= 4


def test_a_dead_server_of_a_pool_is_replaced_and_keeps_nobody_from_new_keys(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3, 4)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    group = scene.group(kind=PoolSource, count=2)
    # It gives keys, and never answers.
    fars[0].close()

    async def story() -> None:
        group.start()
        await scene.wait(150)
        fars[1].forget()
        lost = scene.world.elapsed.s()
        await scene.wait(100)
        assert fars[1].asked_at[-1] >= lost, "its keys are renewed, whatever is the matter with the other"
        await scene.wait(200)
        assert ["192.0.2.3:123", "192.0.2.4:123"] == scene.asked(group)

    scene.play(story)
    assert 2 == len(fars[0].asked_at), "once more, and then another takes its place"
    assert [2, 1] == [len(far.asked_at) for far in fars[1:]]
    assert 1 == len(scene.texts("replaced"))
    assert "unreachable" in scene.texts("replaced")[0]


def test_a_dead_server_of_a_pool_that_has_no_other_is_asked_ever_more_rarely_and_alone(scene: NtsScene) -> None:
    fars = [scene.server(f"192.0.2.{last}") for last in (2, 3)]
    scene.network.dns.set(NAME, *(far.address for far in fars))
    group = scene.group(kind=PoolSource, count=2)
    fars[0].close()

    async def story() -> None:
        group.start()
        await scene.wait(100)
        for _ in range(6):
            fars[1].forget()
            lost = scene.world.elapsed.s()
            await scene.wait(HOUR_S / 6)
            assert fars[1].asked_at[-1] - lost < 60, "its own wait counts, and no other's"
        assert ["192.0.2.2:123", "192.0.2.3:123"] == scene.asked(group)
        fars[0].open()
        await scene.wait(2 * HOUR_S)

    scene.play(story)
    silent = [at for at in fars[0].asked_at if at < HOUR_S]
    assert 4 <= len(silent) <= 16
    assert all(gap >= 10 * 1.5**tries for tries, gap in enumerate(gaps(silent)))
    assert 7 == len(fars[1].asked_at)
    assert 2 == len({source for source, at in scene.measured if at > 2.5 * HOUR_S}), "it is taken back when it answers"
    assert [] == scene.texts("replaced")


# -- over a restart


def test_keys_live_over_a_restart_and_no_cookie_is_used_twice(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.stop(group)
        kept = scene.host.files[scene.session_file()]
        assert kept
        again = scene.group()
        again.start()
        await scene.wait(60)
        assert b"" == scene.host.files[scene.session_file()], "whoever crashes now must not use them again"
        scene.stop(again)
        assert scene.host.files[scene.session_file()] not in (b"", kept)

    scene.play(story)
    assert 1 == len(far.asked_at)
    assert scene.count(70) >= 5
    assert len(far.cookies) == len(set(far.cookies))


def test_a_name_server_that_is_slow_to_come_up_does_not_cost_the_stored_keys(scene: NtsScene) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.stop(group)
        scene.network.dns.dead = True
        impatient = scene.group()
        impatient.start()
        await scene.wait(30)
        scene.stop(impatient)
        assert scene.host.files[scene.session_file()], "what was not used is kept for the next start"
        again = scene.group()
        again.start()
        await scene.wait(30)
        scene.network.dns.dead = False
        await scene.wait(120)
        assert ["192.0.2.2:123"] == scene.asked(again)

    scene.play(story)
    assert 1 == len(far.asked_at)


@pytest.mark.parametrize("file", [b"something else", b"timesync NTS session 1\ncut"])
def test_a_file_of_something_else_is_refused_with_a_sentence(scene: NtsScene, file: bytes) -> None:
    far, group = scene.server(), scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.stop(group)
        scene.host.files[scene.session_file()] = file
        scene.group().start()
        await scene.wait(60)

    scene.play(story)
    assert 2 == len(far.asked_at)
    text = f"{NAME}: stored keys cannot be used: this is no file of an NTS session, or it is damaged"
    assert [text] == scene.texts("nts-stored")


@pytest.mark.parametrize("change", ["another server", "too old", "of the future", "other trust"])
def test_keys_of_another_server_or_another_time_are_not_used(scene: NtsScene, change: str) -> None:
    far, group = scene.server(), scene.group()
    weeks = Duration.from_s(28 * DAY_S)

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.stop(group)
        saved = SavedSession.decode(scene.host.files[scene.session_file()])
        changed = {
            "another server": replace(saved, ke_server="other.example.org:4460"),
            "too old": replace(saved, established=utc_s(scene) - weeks),
            "of the future": replace(saved, established=utc_s(scene) + Duration.from_s(60)),
            "other trust": saved,
        }[change]
        if change == "other trust":
            with scene.authority.open("ab") as file:
                file.write(b"\n# one that we trusted is gone\n")
        scene.host.files[scene.session_file()] = changed.encode()
        scene.group().start()
        await scene.wait(60)

    scene.play(story)
    assert 2 == len(far.asked_at)
    assert scene.count(70) >= 5


def test_a_state_directory_that_cannot_be_written_is_said(scene: NtsScene) -> None:
    scene.server()
    group = scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        scene.host.save_failure = OSError(30, "Read-only file system")
        scene.stop(group)
        scene.host.save_failure = None

    scene.play(story)
    assert [f"{NAME}: keys cannot be stored: Read-only file system"] == scene.texts("nts-stored")


# -- the first time of a board


@pytest.fixture
def board(tmp_path: Path) -> NtsScene:
    made = NtsScene(tmp_path, clock_off_s=FAR_PAST_S)
    made.network.dns.set(NAME, "192.0.2.2")
    return made


def test_the_first_time_is_provisional_and_verified_once_the_time_is_known(board: NtsScene) -> None:
    far, group = board.server(), board.group()

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert [True] == [said["provisional"] for said in board.nts(group)]
        assert [False] == [status.authenticated for status in board.statuses.values()]
        assert board.count(0) >= 5
        board.stop(group)
        assert [] == [name for name, data in board.host.files.items() if name.endswith(".session") and data]
        again = board.group()
        again.start()
        await board.wait(60)
        board.believe(far)
        await board.wait(60)
        assert [False] == [said["provisional"] for said in board.nts(again)]
        assert [True] == [status.authenticated for status in board.statuses.values()]

    board.play(story)
    assert 1 == len(board.texts("nts-verified"))
    assert all("which may be what is wrong; it is believed until" in text for text in board.texts("nts-provisional"))


def test_without_bootstrap_the_dates_are_judged_from_the_start(board: NtsScene) -> None:
    far, group = board.server(), board.group(bootstrap=False)

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert group.trouble is not None
        assert "is not valid before" in group.trouble

    board.play(story)
    assert [] == far.cookies


def test_a_server_that_contradicts_its_own_certificate_is_refused_and_left_alone(board: NtsScene) -> None:
    far, group = board.server(days=(-10, 100)), board.group()
    far.clock.disturb(Duration.from_s(200 * DAY_S))
    far.publish()

    async def story() -> None:
        group.start()
        await board.wait(HOUR_S)

    board.play(story)
    assert [] == board.measured, "not even its first word"
    assert all("when its own certificate is not valid" in text for text in board.texts("nts-refused"))
    assert {"error"} == {note.level for note in board.notes if note.name == "nts-refused"}
    found = gaps(far.asked_at)
    assert found
    assert all(gap >= 100 for gap in found), "its answers are valid, but that is no reason to make keys in a hurry"


def test_a_certificate_that_turns_out_to_have_expired_costs_the_source(board: NtsScene) -> None:
    far = board.server(days=(-100, -20))
    far.clock.disturb(Duration.from_s(-30 * DAY_S))
    far.publish()
    right = board.server("192.0.2.3", "right.example.org")
    group = board.group()

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert board.count(0) >= 5
        board.believe(right)
        measured = len(board.measured)
        await board.wait(120)
        assert [] == board.asked(group)
        assert len(board.measured) <= measured + 2
        assert group.trouble is not None

    board.play(story)
    (text,) = board.texts("nts-refused")
    assert f"the certificate of {NAME} expired" in text
    assert "it was believed only until the time was known, and is dropped" in text


def test_no_certificate_that_ended_before_the_last_time_that_was_known_is_believed(board: NtsScene) -> None:
    far, group = board.server(days=(-100, -20)), board.group()
    known = utc_s(board) - Duration.from_s(10 * DAY_S)
    board.host.files["nts-time"] = b"%d\n" % (known.ns() // 10**9)

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert group.trouble is not None
        assert "expired" in group.trouble

    board.play(story)
    assert [] == far.cookies


@pytest.mark.parametrize("file", [b"", b"soon", b"-5\n", b"99999999999999999999\n", b"1\n", bytes(40)])
def test_a_last_time_that_cannot_be_is_none(board: NtsScene, file: bytes) -> None:
    board.server()
    board.host.files["nts-time"] = file
    group = board.group()

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert ["192.0.2.2:123"] == board.asked(group)

    board.play(story)


def test_the_time_is_kept_while_the_clock_is_locked_and_only_then(scene: NtsScene) -> None:
    scene.server()
    group = scene.group()

    async def story() -> None:
        group.start()
        await scene.wait(60)
        assert "nts-time" not in scene.host.files
        scene.core.lock()
        await scene.wait(20)
        first = int(scene.host.files["nts-time"])
        assert abs(first - utc_s(scene).ns() // 10**9) <= 20
        await scene.wait(HOUR_S / 2)
        assert first == int(scene.host.files["nts-time"]), "not written all the time"
        scene.core.state = ServoState.HOLDOVER
        await scene.wait(HOUR_S)
        assert first == int(scene.host.files["nts-time"])
        scene.core.lock()
        await scene.wait(20)
        assert int(scene.host.files["nts-time"]) > first + HOUR_S

    scene.play(story)


def test_where_roughtime_servers_say_what_the_time_is_nothing_is_provisional(board: NtsScene) -> None:
    far, group = board.server(), board.group(bootstrap=False)
    board.enclose()

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert [False] == [said["provisional"] for said in board.nts(group)]
        assert [True] == [status.authenticated for status in board.statuses.values()]

    board.play(story)
    assert 1 == len(far.asked_at)
    assert board.count(0) >= 5
    assert [] == board.texts("nts-provisional")


def test_by_them_a_certificate_of_the_past_gives_no_keys(board: NtsScene) -> None:
    far, group = board.server(days=(-100, -10)), board.group()
    board.enclose()

    async def story() -> None:
        group.start()
        await board.wait(60)
        assert group.trouble is not None
        assert "expired on" in group.trouble

    board.play(story)
    assert [] == far.cookies


def test_what_is_provisional_is_verified_by_them_before_any_clock_is_right(board: NtsScene) -> None:
    board.server()
    group = board.group()

    async def story() -> None:
        group.start()
        await board.wait(30)
        assert [True] == [status.provisional for status in board.statuses.values()]
        board.enclose()
        await board.wait(30)
        assert [False] == [said["provisional"] for said in board.nts(group)]
        assert [(True, False)] == [(status.authenticated, status.provisional) for status in board.statuses.values()]

    board.play(story)
    assert 1 == len(board.texts("nts-verified"))


def test_a_provisional_server_whose_time_they_contradict_is_refused(board: NtsScene) -> None:
    """It is on its certificate's dates, so that nothing else shows it."""
    far, group = board.server(days=(-10, 100)), board.group()
    far.clock.disturb(Duration.from_s(50 * DAY_S))
    far.publish()

    async def story() -> None:
        group.start()
        await board.wait(3)
        assert board.count(0) > 0
        assert [True] == [said["provisional"] for said in board.nts(group)]
        board.enclose()
        before = len(board.measured)
        await board.wait(9)
        assert before == len(board.measured)
        assert [] == board.asked(group)

    board.play(story)
    (text,) = board.texts("nts-refused")
    assert text.startswith(f"{NAME} says that it is ")
    assert text.endswith(", which cannot be by 2 of 3 Roughtime servers")


def test_a_clock_that_was_right_once_and_is_not_by_them_judges_no_dates(scene: NtsScene) -> None:
    scene.server()
    group = scene.group()
    scene.core.lock()
    scene.host.system.step(Duration.from_s(200 * DAY_S))
    scene.enclose()

    async def story() -> None:
        group.start()
        await scene.wait(30)
        assert [f"{NAME}:{KE_PORT}"] == [said["ke_server"] for said in scene.nts(group)]

    scene.play(story)
    assert scene.count(0) > 0
