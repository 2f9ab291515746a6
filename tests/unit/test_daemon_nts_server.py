"""The NTS server of the daemon: master keys that change and are kept, and what is said when something is wrong."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from nts_support import DAY, NOW, Stream, keys_for
from sim_support import leap_table, make_host

from timesync.base.ids import Endpoint
from timesync.base.machine import Noted
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.config.address import HostPort
from timesync.config.nts import ServeNts
from timesync.config.schema import Config
from timesync.daemon.nts_server import CookieKeys, NtsServer
from timesync.host import NtsSpec, RefusedCertificate, ServedCertificate
from timesync.ntp.client_log import ClientList
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import MasterKeys, Seed, day_number, seeded_keys
from timesync.sim.host import SimHost
from timesync.sim.network import Network
from timesync.sim.world import World

FILE = "nts-master.keys"
KEYS = keys_for(AeadId.AES_128_GCM_SIV)
SECOND = Duration.from_s(1)
START: Instant[Tai] = Instant(leap_table().tai(NOW).scaled_ns)


class Service:
    """A server of NTS-KE that only remembers."""

    def __init__(self, spec: NtsSpec, keys: MasterKeys) -> None:
        self.spec = spec
        self.keys = keys
        self.closed = False
        self.certificates: list[ServedCertificate] = []
        self.refused: list[RefusedCertificate] = []
        self.addresses: Sequence[Endpoint] = spec.listen

    def counters(self) -> Mapping[str, int]:
        return {"connections": 5, "established": 3}

    async def clients(self) -> ClientList:
        return ClientList((), 7)

    def publish(self, keys: MasterKeys) -> None:
        self.keys = keys

    def close(self) -> None:
        self.closed = True


class Scene:
    """A machine that can serve NTS-KE, or cannot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(1, START)
        self.host: SimHost = make_host(self.world, Network(self.world))
        self.services: list[Service] = []
        self.failure: Exception | None = None
        self.notes: list[Noted] = []
        monkeypatch.setattr(self.host, "serve_nts", self._serve)
        self.server = NtsServer(self.host, leap_table(), self.notes.append)

    def _serve(
        self, spec: NtsSpec, keys: MasterKeys, now: Callable[[], Instant[Utc]], note: Callable[[str, str], None]
    ) -> Service:
        assert now() == NOW
        del note
        if self.failure is not None:
            raise self.failure
        self.services.append(Service(spec, keys))
        return self.services[-1]

    def config(self, nts: ServeNts, ntp: object = None) -> Config:
        config = Config.model_validate({"serve": {"ntp": ntp or {}}})
        serve = config.serve.model_copy(update={"nts": nts})
        return config.model_copy(update={"serve": serve})

    def open(self, nts: ServeNts, ntp: object = None) -> tuple[MasterKeys | None, str | None]:
        return self.server.open(self.config(nts, ntp))

    def pass_days(self, days: float) -> MasterKeys | None:
        self.host.system.step(Duration.from_s(days * 86_400))
        return self.server.tick()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def serve(**more: object) -> ServeNts:
    made = ServeNts.model_validate({"certificate": "/c.pem", "private_key": "/k.pem", **more})
    assert isinstance(made, ServeNts)
    return made


def cookie_keys(scene: Scene, now: Instant[Utc] = NOW, seed: Seed | None = None) -> CookieKeys:
    return CookieKeys(scene.host, seed, now, lambda level, text: scene.notes.append(Noted(level, "nts", text)))


def cookie(keys: MasterKeys) -> bytes:
    return CookieJar(keys, Stream("a cookie")).make(KEYS)


def opens(keys: MasterKeys, made: bytes) -> bool:
    return CookieJar(keys, Stream()).open(made) == KEYS


# -- random master keys


def test_keys_change_once_a_day_and_old_cookies_open_for_a_week(scene: Scene) -> None:
    kept = cookie_keys(scene)
    first = cookie(kept.keys)
    assert not kept.tick(NOW + DAY - SECOND)
    assert opens(kept.keys, first)
    for day in range(1, 8):
        before = kept.keys.current
        assert kept.tick(NOW + DAY * day)
        assert before != kept.keys.current
        assert opens(kept.keys, first), f"after {day} days"
    assert kept.tick(NOW + DAY * 8)
    assert not opens(kept.keys, first)


def test_a_worker_that_hears_late_opens_the_cookies_of_the_next_key(scene: Scene) -> None:
    kept = cookie_keys(scene)
    late = kept.keys
    assert kept.tick(NOW + DAY)
    assert opens(late, cookie(kept.keys))


def test_a_restart_voids_no_cookie(scene: Scene) -> None:
    made = cookie(cookie_keys(scene).keys)
    again = cookie_keys(scene, NOW + DAY - SECOND)
    assert opens(again.keys, made)
    changed = cookie_keys(scene, NOW + DAY)
    assert changed.keys.current != again.keys.current, "what is due at the start is done"
    assert opens(changed.keys, made)
    assert [] == scene.notes


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"x" + data, lambda data: data[:60] + data[59:]]
)
def test_a_damaged_file_is_said_and_new_keys_are_made(scene: Scene, damage: Callable[[bytes], bytes]) -> None:
    made = cookie(cookie_keys(scene).keys)
    scene.host.files[FILE] = damage(scene.host.files[FILE])
    again = cookie_keys(scene)
    assert not opens(again.keys, made)
    (note,) = scene.notes
    assert ("warning", True) == (note.level, note.text.startswith("NTS: the kept master keys cannot be used"))
    assert opens(cookie_keys(scene).keys, cookie(again.keys)), "the new ones are kept"


def test_keys_that_cannot_be_kept_are_used_all_the_same(scene: Scene) -> None:
    scene.host.save_failure = OSError(errno.EROFS, "Read-only file system")
    kept = cookie_keys(scene)
    assert opens(kept.keys, cookie(kept.keys))
    text = "NTS: master keys cannot be kept (Read-only file system): a restart voids cookies"
    assert [text] == [note.text for note in scene.notes]


# -- a fleet's


SEED = Seed(bytes(range(40)))
MIDNIGHT: Instant[Utc] = Instant((day_number(NOW) + 1) * DAY.scaled_ns)


def test_a_fleet_changes_at_midnight_and_writes_no_file(scene: Scene) -> None:
    kept = cookie_keys(scene, MIDNIGHT - SECOND, SEED)
    yesterday = cookie(kept.keys)
    assert not kept.tick(MIDNIGHT - SECOND)
    assert kept.tick(MIDNIGHT)
    assert not kept.tick(MIDNIGHT + SECOND)
    assert seeded_keys(SEED, MIDNIGHT) == kept.keys
    assert opens(kept.keys, yesterday)
    assert FILE not in scene.host.files


def test_a_clock_that_is_set_back_by_years_does_not_keep_the_keys_of_the_future(scene: Scene) -> None:
    kept = cookie_keys(scene, NOW + DAY * 5000, SEED)
    assert kept.tick(NOW)
    assert opens(kept.keys, cookie(seeded_keys(SEED, NOW))), "the others of the fleet were right all the time"


# -- the server


def test_keys_go_to_both_servers_and_change_in_both(scene: Scene) -> None:
    keys, trouble = scene.open(serve())
    assert trouble is None
    (service,) = scene.services
    assert keys == service.keys
    assert ("0.0.0.0:4460", "[::]:4460") == scene.server.addresses
    assert scene.server.tick() is None
    changed = scene.pass_days(1)
    assert changed is not None
    assert changed == service.keys != keys
    scene.server.close()
    assert service.closed
    assert not scene.server.addresses
    assert scene.pass_days(1) is None


def test_keys_are_for_ntpv5_where_that_is_served_here(scene: Scene) -> None:
    for served, versions, protocols in (
        (serve(), (1, 2, 3, 4), (0,)),
        (serve(), (4, 5), (0x8001, 0)),
        (serve(), (5,), (0x8001,)),
        (serve(server=HostPort("ntp.example.org", 123)), (4, 5), (0,)),
    ):
        scene.open(served, ntp={"versions": versions})
        assert protocols == scene.services[-1].spec.offer.protocols


def test_clients_are_told_another_port_and_another_server(scene: Scene) -> None:
    scene.open(serve(), ntp={"listen": ("0.0.0.0:1123",)})
    assert (None, 1123) == (scene.services[-1].spec.offer.server, scene.services[-1].spec.offer.port)
    keys, _ = scene.open(serve(server=HostPort("ntp.example.org", 123)))
    assert keys is None, "the NTP server here has no clients with cookies"
    assert "ntp.example.org" == scene.services[-1].spec.offer.server
    assert scene.services[0].closed


def test_a_secret_that_was_replaced_is_noticed_at_a_reload(scene: Scene, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(b"leaked, and 32 octets long at least")
    fleet = serve(seed=str(seed))
    scene.open(fleet)
    assert not scene.server.outdated(scene.config(fleet))
    seed.write_bytes(b"another one, also of 32 octets or more")
    assert scene.server.outdated(scene.config(fleet))
    scene.open(fleet)
    assert not scene.server.outdated(scene.config(fleet))
    seed.unlink()
    assert not scene.server.outdated(scene.config(fleet)), "a file that cannot be read takes nothing away"
    assert not scene.server.outdated(scene.config(serve()))


def test_after_a_leak_the_file_is_deleted_and_a_reload_forgets_every_key(scene: Scene) -> None:
    before, _ = scene.open(serve())
    assert before is not None
    config = scene.config(serve())
    assert not scene.server.outdated(config)
    scene.host.load_failure = OSError(errno.EIO, "Input/output error")
    assert not scene.server.outdated(config), "a file that cannot be read takes nothing away"
    scene.host.load_failure = None
    del scene.host.files[FILE]
    assert scene.server.outdated(config)
    after, _ = scene.open(serve())
    assert after is not None
    assert not opens(after, cookie(before))
    assert not {key.secret for key in before.keys} & {key.secret for key in after.keys}
    assert not scene.server.outdated(config)


def test_without_a_state_directory_no_reload_takes_cookies_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.host, "save", lambda *_: None)
    scene.open(serve())
    assert not scene.server.outdated(scene.config(serve()))


def test_who_establishes_keys_is_recorded_as_configured_and_asked_of_the_process(scene: Scene) -> None:
    assert ClientList() == asyncio.run(scene.server.clients())
    for more, most in (({}, 4096), ({"clients": 0}, 0)):
        scene.open(serve(**more))
        assert most == scene.services[-1].spec.clients
    assert 7 == asyncio.run(scene.server.clients()).known


def test_the_status_knows_the_age_of_the_key_and_the_end_of_the_certificates(scene: Scene) -> None:
    assert scene.server.facts() is None
    scene.open(serve())
    scene.services[-1].certificates = [ServedCertificate("/c.pem", ("time.example.org",), NOW + DAY * 20)]
    scene.services[-1].refused = [RefusedCertificate("/d.pem", "is empty")]
    assert ("NTS-KE: /d.pem: is empty",) == scene.server.troubles()
    for days in range(4):
        scene.pass_days(float(days > 0))
    scene.pass_days(0.25)
    found = scene.server.facts()
    assert found is not None
    key, ((_, left),) = found.master_key, found.certificates
    assert (6.0, 18.0, 3, False) == (key.age.s() / 3600, key.changes_in.s() / 3600, key.old, key.seeded)
    assert 16.75 == left.s() / 86_400
    assert scene.services[-1].refused == list(found.refused)
    assert {"connections": 5, "established": 3} == found.counters
    scene.services[-1].certificates = []
    assert "every client is refused" in scene.server.troubles()[-1]
    scene.server.close()
    assert () == scene.server.troubles()


def test_the_key_of_a_fleet_changes_at_midnight(scene: Scene, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(bytes(32))
    scene.open(serve(seed=str(seed)))
    found = scene.server.facts()
    assert found is not None
    key = found.master_key
    assert (MIDNIGHT - NOW, DAY, 7, True) == (key.changes_in, key.age + key.changes_in, key.old, key.seeded)


def test_a_seed_that_cannot_be_read_or_is_too_short_is_a_sentence(scene: Scene, tmp_path: Path) -> None:
    missing, short = tmp_path / "missing", tmp_path / "short"
    short.write_bytes(b"secret")
    keys, trouble = scene.open(serve(seed=str(missing)))
    assert (None, f"NTS cannot be served: {missing}: No such file or directory") == (keys, trouble)
    keys, trouble = scene.open(serve(seed=str(short)))
    assert (None, f"NTS cannot be served: {short}: a seed needs 32 octets or more, not 6") == (keys, trouble)
    assert [] == scene.services


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "Address already in use (another server of NTS-KE"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; the rest"),
        (ValueError("/c.pem: it is no certificate"), "/c.pem: it is no certificate; the rest"),
    ],
)
def test_without_key_establishment_the_clients_of_before_are_served_on(
    scene: Scene, failure: Exception, why: str
) -> None:
    before, _ = scene.open(serve())
    assert before is not None
    scene.failure = failure
    keys, trouble = scene.open(serve())
    assert keys is not None
    assert opens(keys, cookie(before))
    assert trouble is not None
    assert trouble.startswith(f"NTS-KE cannot be served on 0.0.0.0:4460, [::]:4460: {why}")
    assert trouble.endswith("; the rest keeps running")
    assert () == scene.server.addresses
    assert scene.pass_days(1) is not None, "their keys go on changing"
