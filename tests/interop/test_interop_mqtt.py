"""An appliance at Debian's mosquitto: what subscribers get, and what becomes of it when anything is wrong or away."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from interop_mqtt import PORT, Broker, daemon_pid, fleet, mosquitto, observer_pid, write_identity
from interop_support import ROOT, VIRTUAL, Node, Timesync, appliance, chronyd, lan, timesync, wait_until

sys.path.append(str(ROOT / "tests" / "unit"))

from tls_support import make_identity

pytestmark = pytest.mark.interop

START_S = 30.0
OUTAGE_S = float(os.environ.get("TIMESYNC_TEST_OUTAGE_S", "5"))
"""How long the broker is away; its users' patience is a minute, which is tried by hand."""

ALONE = f"{VIRTUAL}\nsources: []\nserve: {{clock: bench}}\n"


def mqtt(node: Node, name: str, more: str = "", scheme: str = "mqtt") -> str:
    return f"mqtt: {{broker: '{scheme}://{node.address}:{PORT}', name: {name}, interval: 1s{more}}}, "


def online(broker: Broker, name: str) -> Callable[[], bool]:
    return lambda: broker.says(f"timesync/{name}/availability", "online")


def warnings_of(daemon: Timesync) -> list[str]:
    return [line for line in daemon.log().splitlines() if line.startswith("warning: the broker")]


def test_a_broker_has_the_whole_picture_and_learns_of_a_sudden_death(tmp_path: Path) -> None:
    with lan(2) as (time_server, node), mosquitto(node, tmp_path / "broker") as broker:
        lines = ["local stratum 1", "allow all", "bindaddress 0.0.0.0"]
        with (
            chronyd(time_server, tmp_path / "chrony", *lines),
            timesync(
                node,
                tmp_path / "us",
                appliance(time_server),
                observe=mqtt(node, "alpha", ", home_assistant: true"),
            ) as us,
        ):
            wait_until(us.locked, START_S, "locked", us.log)
            wait_until(online(broker, "alpha"), START_S, "online", us.log)

            def locked() -> bool:
                state = broker.kept("timesync/alpha/state")
                return state is not None and state.json["state"] == "locked"

            wait_until(locked, START_S, "the broker knows that it is locked", us.log)
            state = broker.kept("timesync/alpha/state")
            assert state is not None
            assert us.status().keys() <= state.json.keys()
            assert state.json["summary"]["locked"] is True
            assert 0 < state.json["summary"]["error_bound_s"] < 1
            sources = broker.kept("timesync/alpha/sources")
            assert sources is not None
            assert [f"{time_server.address}:123"] == [source["address"] for source in sources.json["sources"]]
            assert broker.kept("timesync/alpha/ports") is not None

            announced = broker.kept("homeassistant/device/timesync_timesync_alpha/config")
            assert announced is not None
            assert "timesync/alpha/state" == announced.json["state_topic"]
            assert {"locked", "state", "error_bound", "offset", "requests"} <= announced.json["components"].keys()

            live = [message for message in broker.messages("timesync/alpha/state", 4) if not message.retained]
            assert 2 <= len(live) <= 6, "about one a second"

            os.kill(daemon_pid(tmp_path / "us" / "control.sock"), signal.SIGKILL)
            wait_until(lambda: broker.says("timesync/alpha/availability", "offline"), 10, "the last will", broker.log)


def test_events_are_told_as_they_happen_and_the_end_is_said(tmp_path: Path) -> None:
    with lan(1) as (node,), mosquitto(node, tmp_path / "broker") as broker:
        with timesync(node, tmp_path / "us", ALONE, observe=mqtt(node, "alpha")) as us:
            wait_until(online(broker, "alpha"), START_S, "online", us.log)
            daemon = daemon_pid(tmp_path / "us" / "control.sock")
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(broker.messages, "timesync/alpha/event", 20, "-C", "1")
                while not waiting.done():
                    os.kill(daemon, signal.SIGHUP)
                    time.sleep(0.5)
            (event,) = waiting.result()
            assert not event.retained
            assert {"appliance", "utc_ns", "level", "name", "text", "source", "schema"} == event.json.keys()
        assert broker.says("timesync/alpha/availability", "offline")


def test_a_broker_may_be_away(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with (
        lan(1) as (node,),
        mosquitto(node, tmp_path / "first") as broker,
        timesync(node, tmp_path / "us", ALONE, observe=mqtt(node, "alpha", ", home_assistant: true")) as us,
    ):
        wait_until(online(broker, "alpha"), START_S, "online", us.log)
        observer = observer_pid(daemon_pid(tmp_path / "us" / "control.sock"))
        files = Path(f"/proc/{observer}/fd")
        before = len(list(files.iterdir()))
        broker.kill()
        wait_until(lambda: warnings_of(us), 10, "a word in the log", us.log)
        time.sleep(OUTAGE_S)
        assert 1 == len(warnings_of(us)), us.log()
        assert len(list(files.iterdir())) <= before + 1
        began = time.monotonic()
        # Nothing is left of what the first one knew.
        with mosquitto(node, tmp_path / "second") as again:
            wait_until(online(again, "alpha"), 70, "online again", us.log)
            record_property(f"online again after {OUTAGE_S:g} s without a broker, s", f"{time.monotonic() - began:.1f}")
            assert again.kept("timesync/alpha/state") is not None
            assert again.kept("homeassistant/device/timesync_timesync_alpha/config") is not None
            assert observer == observer_pid(daemon_pid(tmp_path / "us" / "control.sock"))
            assert 1 == len(warnings_of(us)), us.log()
            assert " s without" in us.log()


def test_a_password_is_needed_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    with lan(1) as (node,):
        passwords = tmp_path / "passwords"
        made = node.peer("mosquitto_passwd", "-b", "-c", passwords, "clock", "right")
        assert made.returncode == 0, made.stderr
        good, bad = tmp_path / "good", tmp_path / "bad"
        good.write_text("right\nnot the password\n")
        bad.write_text("wrong\n")
        for file in (good, bad):
            file.chmod(0o600)
        lines = ("allow_anonymous false", f"password_file {passwords}")
        with mosquitto(node, tmp_path / "broker", *lines, options=("-u", "clock", "-P", "right")) as broker:
            right = mqtt(node, "right", f", username: clock, password_file: {good}")
            wrong = mqtt(node, "wrong", f", username: clock, password_file: {bad}")
            with (
                timesync(node, tmp_path / "a", ALONE, observe=right) as one,
                timesync(node, tmp_path / "b", ALONE, observe=wrong) as other,
            ):
                wait_until(online(broker, "right"), START_S, "online", one.log)
                wait_until(lambda: warnings_of(other), START_S, "a word in the log", other.log)
                assert "wrong user name or password" in warnings_of(other)[0]
                assert broker.kept("timesync/wrong/state") is None
                where = ["--broker", f"mqtt://{node.address}:{PORT}", "--username", "clock", "--password-file"]
                refused = fleet(node, *where, bad)
                assert (3, True) == (refused.returncode, "wrong user name or password" in refused.stderr)
                seen = json.loads(fleet(node, *where, good, "--json").stdout)
                assert ["right"] == [one["name"] for one in seen["appliances"]]
                by_file = json.loads(fleet(node, "-c", tmp_path / "a" / "timesync.yaml", "--json").stdout)
                assert ["right"] == [one["name"] for one in by_file["appliances"]]


def test_certificates_are_checked_by_both(tmp_path: Path) -> None:
    with lan(1) as (node,):
        now = time.time()
        authority = make_identity("authority", authority=True, now_s=now)
        other = make_identity("other", authority=True, now_s=now)
        ca, _ = write_identity(tmp_path, "ca", authority)
        wrong_ca, _ = write_identity(tmp_path, "wrong", other)
        server = write_identity(tmp_path, "server", make_identity("broker", node.address, issuer=authority, now_s=now))
        client = write_identity(tmp_path, "client", make_identity("client", issuer=authority, now_s=now))
        lines = (
            f"cafile {ca}", f"certfile {server[0]}", f"keyfile {server[1]}", "require_certificate true",
            "allow_anonymous true",
        )  # fmt: skip
        ours = f", certificate: {client[0]}, private_key: {client[1]}"
        options = ("--cafile", str(ca), "--cert", str(client[0]), "--key", str(client[1]))
        right = mqtt(node, "right", f", ca: {ca}{ours}", "mqtts")
        wrong = mqtt(node, "wrong", f", ca: {wrong_ca}{ours}", "mqtts")
        none = mqtt(node, "none", f", ca: {ca}", "mqtts")
        with (
            mosquitto(node, tmp_path / "broker", *lines, options=options) as broker,
            timesync(node, tmp_path / "a", ALONE, observe=right) as us,
            timesync(node, tmp_path / "b", ALONE, observe=wrong) as them,
            timesync(node, tmp_path / "c", ALONE, observe=none) as nobody,
        ):
            wait_until(online(broker, "right"), START_S, "online", us.log)
            wait_until(lambda: warnings_of(them), START_S, "a word in the log", them.log)
            assert "its certificate is not trusted" in warnings_of(them)[0]
            wait_until(lambda: warnings_of(nobody), START_S, "a word in the log", nobody.log)
            assert broker.kept("timesync/wrong/availability") is None
            assert broker.kept("timesync/none/availability") is None
            seen = fleet(node, "-c", tmp_path / "a" / "timesync.yaml", "--json")
            assert ["right"] == [one["name"] for one in json.loads(seen.stdout)["appliances"]], seen.stderr


def test_a_fleet_sees_who_agrees_with_whom_and_who_is_gone(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    lines = ["local stratum 1", "allow all", "bindaddress 0.0.0.0"]
    with (
        lan(3) as (server, first, second),
        mosquitto(server, tmp_path / "broker") as broker,
        chronyd(server, tmp_path / "chrony", *lines),
        timesync(first, tmp_path / "a", appliance(server), observe=mqtt(server, "alpha")) as alpha,
    ):
        wait_until(alpha.locked, START_S, "alpha locked", alpha.log)
        where = ["--broker", f"mqtt://{server.address}:{PORT}"]
        with timesync(second, tmp_path / "b", appliance(first), observe=mqtt(server, "beta")) as beta:
            wait_until(beta.locked, START_S, "beta locked", beta.log)
            wait_until(lambda: fleet(server, *where).returncode == 0, START_S, "all is well", broker.log)
            seen = json.loads(fleet(server, *where, "--json").stdout)
            assert [("alpha", True), ("beta", True)] == [
                (one["name"], one["synchronised"]) for one in seen["appliances"]
            ]
            (pair,) = seen["agreements"]
            assert (True, "beta measures alpha") == (pair["agree"], pair["by"])
            record_property("beta against alpha, µs", f"{pair['difference_s'] * 1e6:.1f}")
            assert "1 of 1 pairs that can be compared agree" in fleet(server, *where).stdout
        gone = fleet(server, *where, "--json")
        assert (1, ["beta"]) == (gone.returncode, json.loads(gone.stdout)["silent"])
