"""NTS in the whole appliance: what cannot be had is said, and nothing else stops for it."""

from __future__ import annotations

from pathlib import Path

from story_support import Story

from timesync.config.nts import ServeNts
from timesync.config.schema import Config

WORLD = """
name: nts
description: Two servers, of which neither knows NTS.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}}
config:
  sources: [{ntp: ntp1, poll: [8s, 8s]}, {ntp: ntp2, poll: [8s, 8s]}]
  serve: {ntp: {listen: ["10.0.0.1:123"]}}
"""


def _secured(config: Config) -> Config:
    """With NTS for the second source, which a scenario's file may not ask for."""
    first, second = config.sources
    return config.model_copy(update={"sources": (first, second.model_copy(update={"nts": True}))})


def test_a_reload_takes_nts_to_a_source_and_away_again() -> None:
    story = Story(WORLD)
    late: list[str] = []
    plain, secured = story.config, _secured(story.config)
    story.at(60, lambda: late.extend(story.appliance.reload(secured, {})))
    story.at(200, lambda: late.extend(story.appliance.reload(plain, {})))
    story.look(50, 190, 290)
    story.run(300)
    assert [] == late
    assert ["selected", "selected"] == [story.source(50, name)["state"] for name in ("ntp1", "ntp2")]
    without_keys = story.source(190, "ntp2")
    assert ("unreachable", 0) == (without_keys["state"], without_keys["sent"]), "without keys nobody is asked"
    assert without_keys["reason"].startswith("the name ntp2 gives no keys (ntp2: no connection to port 4460")
    assert "selected" == story.source(290, "ntp2")["state"]
    assert ["locked"] == story.states(0, 300)
    story.assert_honest()


def _serving(**more: str) -> Story:
    story = Story(WORLD)
    entry = {"certificate": "/etc/timesync/cert.pem", "private_key": "/etc/timesync/key.pem", **more}
    serve = story.config.serve.model_copy(update={"nts": ServeNts.model_validate(entry)})
    story.config = story.config.model_copy(update={"serve": serve})
    return story


def _assert_only_nts_is_missing(story: Story, trouble: str) -> None:
    story.look(50)
    story.run(60)
    (warning,) = story.status(50)["warnings"]
    assert warning.startswith(trouble)
    assert [] == story.status(50)["serving"]["nts"]
    assert ["10.0.0.1:123"] == story.status(50)["serving"]["ntp"]
    assert ["locked"] == story.states(0, 60)
    story.assert_honest()


def test_when_no_keys_can_be_established_time_is_served_on() -> None:
    """The simulated machine has no server of TLS; a port that is taken ends the same way."""
    _assert_only_nts_is_missing(
        _serving(),
        "NTS-KE cannot be served on 0.0.0.0:4460, [::]:4460: NTS-KE is not simulated; the rest keeps running",
    )


def test_when_the_seed_is_gone_time_is_served_on(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    _assert_only_nts_is_missing(_serving(seed=str(seed)), f"NTS cannot be served: {seed}: No such file or directory")
