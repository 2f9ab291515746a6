"""PTP instances as users write them, the profiles behind them, and the two face files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from pydantic import ValidationError

from timesync.base.time import Duration
from timesync.config import yaml
from timesync.config.load import load, loads
from timesync.config.problem import ConfigError
from timesync.config.profiles import PACKAGE, shipped
from timesync.config.ptp import Interval, IntervalText, Ptp, PtpPort, interval_text
from timesync.config.ptp_profiles import (
    FOLDER,
    PTP_PROFILES,
    Choice,
    Number,
    PtpProfile,
    port_title,
    ptp_profile,
    refuse,
)
from timesync.config.tree import plain
from timesync.config.written import Written

ROOT = Path(__file__).parents[2]
FACES = ("automotive-gptp-endpoint", "lab-grandmaster")

CONTRACT = """\
clocks: {eth0: {phc: eth0}}
ptp:
  profile: default-e2e
  domain: 0
  clock: eth0
  role: auto
  ports:
    - interface: eth0
      transport: udp4
      delay: e2e
      timestamping: auto
  management: /run/timesync/ptp4l
"""


def warnings(text: str) -> list[str]:
    return [problem.headline("warning") for problem in loads(text, "t.yaml").warnings]


def test_the_example_of_the_contract_is_one_instance() -> None:
    loaded = loads(CONTRACT, "t.yaml")
    (instance,) = loaded.config.ptp_instances
    (port,) = instance.ports

    assert () == loaded.warnings
    assert ("default-e2e", 0, "eth0", "auto", "/run/timesync/ptp4l") == (
        instance.profile, instance.domain, instance.clock, instance.role, instance.management,
    )  # fmt: skip
    assert ("eth0", "udp4", "e2e", "auto") == (port.interface, port.transport, port.delay, port.timestamping)


def test_a_list_is_several_instances_and_none_is_none() -> None:
    text = (
        "ptp:\n  - {ports: [{interface: eth0}]}\n  - {profile: gptp, ports: [{interface: eth0}, {interface: eth1}]}\n"
    )
    config = loads(text, "t.yaml").config

    assert ["default-e2e", "gptp"] == [instance.profile for instance in config.ptp_instances]
    first, second = config.ptp_instances
    titles = [port_title(config.ptp_instances, one, port) for one in (first, second) for port in one.ports]
    assert ["ptp:eth0", "ptp:eth0:gptp:0", "ptp:eth1"] == titles
    assert () == loads("sources: [{ntp: a}]\n", "t.yaml").config.ptp_instances


def test_the_file_is_merged_over_the_instance_of_its_profile() -> None:
    text = "profile: automotive-gptp-endpoint\nptp: {domain: 20}\n"
    (instance,) = loads(text, "t.yaml").config.ptp_instances

    assert ("automotive-endpoint", 20, "eth0") == (instance.profile, instance.domain, instance.ports[0].interface)


def test_values_have_their_types() -> None:
    text = (
        "ptp: {profile: smpte, ports: [{interface: eth0, sync_interval: 62.5ms, asymmetry: -20ns, "
        'acceptable: [AABBCC.FFFE.DDEEFF, "00:11:22:ff:fe:33:44:55-7"]}]}\n'
    )
    ((port,),) = (instance.ports for instance in loads(text, "t.yaml").config.ptp_instances)

    assert (Interval(-4), Duration.from_ns(-20)) == (port.sync_interval, port.asymmetry)
    assert ("aabbcc.fffe.ddeeff", "001122.fffe.334455-7") == port.acceptable


@pytest.mark.parametrize("log2", range(-7, 7))
def test_intervals_are_read_as_they_are_written(log2: int) -> None:
    assert Interval(log2) == IntervalText().parse(interval_text(log2))


def test_code_can_make_an_instance_without_text() -> None:
    port = PtpPort(interface="eth0", sync_interval=Interval(0))

    assert Interval(0) == Ptp(ports=(port,)).ports[0].sync_interval
    assert isinstance(IntervalText(), Written)


def test_a_relative_management_socket_is_beside_the_file(tmp_path: Path) -> None:
    for text, name in (("ptp: {", "}"), ("ptp: [{", "}]")):
        file = tmp_path / "t.yaml"
        file.write_text(f"{text}management: run/m, ports: [{{interface: eth0}}]{name}\n")
        file.chmod(0o644)

        assert [f"{tmp_path}/run/m"] == [one.management for one in load(file).config.ptp_instances]


def test_the_clock_of_a_port_is_that_of_its_card_else_the_served_one() -> None:
    text = (
        "clocks: {system: {discipline: false}, a: {phc: eth0}, b: {phc: eth1}, v: {virtual: {}}}\n"
        "ptp:\n  ports:\n    - interface: eth0\n    - interface: eth1\n    - interface: eth2\n"
        "    - {interface: eth3, timestamping: software}\n"
    )
    config = loads(text, "t.yaml").config
    (instance,) = config.ptp_instances

    assert ["a", "b", "v", "v"] == [config.ptp_clock(instance, port) for port in instance.ports]
    assert "b" == config.ptp_clock(instance.model_copy(update={"clock": "b"}), instance.ports[0])
    text = "clocks: {eth0: {phc: eth0}}\nptp: {ports: [{interface: eth0, timestamping: software}]}\n"
    config = loads(text, "t.yaml").config
    assert "system" == config.ptp_clock(config.ptp_instances[0], config.ptp_instances[0].ports[0])


# Doubts


def test_a_port_that_takes_time_is_a_source_and_one_that_gives_it_is_none() -> None:
    assert [] == warnings("ptp: {ports: [{interface: eth0}]}\n")
    (nothing,) = warnings("ptp: {role: timeTransmitter, ports: [{interface: eth0}]}\n")
    assert "sources: there are none" in nothing
    assert [] == warnings("ptp: {ports: [{interface: eth0}]}\nsources: [{pps: /dev/pps0}]\n")


@pytest.mark.parametrize(
    ("profile", "tlv", "key", "said"),
    [
        ("power", "alternate-time-offset", "alternate_time", "[Europe/Berlin]"),
        ("power-2011", "power-2011", "grandmaster_id", "3"),
        ("smpte", "synchronization-metadata", "metadata", "{frame_rate: 50}"),
    ],
)
def test_tlvs_that_a_profile_wants_and_nothing_is_known_to_be_said_in_are_told_to_who_may_send(
    profile: str, tlv: str, key: str, said: str
) -> None:
    doubt = f"ptp.profile: the profile {profile} wants the TLV {tlv}, which is not sent without {key}"
    silent = f"ptp: {{profile: {profile}, ports: [{{interface: eth0}}]}}\n"

    assert f"t.yaml:1:16: warning: {doubt}" in warnings(silent)
    assert [] == [one for one in warnings(silent.replace("ports", f"{key}: {said}, ports")) if doubt in one]
    assert [] == warnings(silent.replace("ports", "role: timeReceiver, ports"))


def test_profiles_that_want_no_more_than_we_know_lead_to_no_doubt() -> None:
    assert [] == warnings("ptp: {profile: utility, ports: [{interface: eth0}]}\n")
    assert [] == warnings("ptp: {profile: gptp, ports: [{interface: eth0}]}\n")


def test_a_source_with_the_name_of_a_port_is_doubted() -> None:
    (said,) = warnings("ptp: {ports: [{interface: eth0}]}\nsources: [{ntp: a, name: 'ptp:eth0'}]\n")
    assert "sources[0].name: a PTP port is called so too" in said


# Profiles


def test_the_files_are_those_of_the_names() -> None:
    files = {item.name for item in (resources.files(PACKAGE) / FOLDER).iterdir()}

    assert {f"{name.replace('.', '-')}.yaml" for name in PTP_PROFILES} == files
    assert not set(shipped()) & set(PTP_PROFILES)


@pytest.mark.parametrize("name", PTP_PROFILES)
def test_each_profile_says_where_its_values_come_from(name: str) -> None:
    profile = next(ptp_profile(known) for known in PTP_PROFILES if known == name)

    assert name == profile.name
    for fact_name, fact in profile.facts().items():
        assert fact.clause, fact_name
        assert any(digit.isdigit() for digit in fact.clause) or "annex" in fact.clause, (fact_name, fact.clause)
        if isinstance(fact, Number) and fact.range is not None:
            assert fact.allows(fact.value), fact_name
            assert not fact.allows(fact.range[0] - 1), fact_name
            assert not fact.allows(fact.range[1] + 1), fact_name
        elif isinstance(fact, Number):
            assert not fact.allows(fact.value + 1), fact_name
        if isinstance(fact, Choice):
            assert fact.allows(fact.value[0]), fact_name


@pytest.mark.parametrize("name", ["default-e2e", "gptp", "g8275.1", "power", "smpte", "aes67", "automotive-gm"])
def test_names_of_the_contract_can_be_configured(name: str) -> None:
    assert (
        name
        == loads(f"ptp: {{profile: {name}, ports: [{{interface: eth0}}]}}\n", "t.yaml").config.ptp_instances[0].profile
    )


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        # linuxptp's configuration files of the same names: default.cfg, gPTP.cfg, G.8275.1.cfg, G.8275.2.cfg,
        # G.8265.1.cfg, automotive-master.cfg, automotive-slave.cfg
        (
            "default-e2e",
            {"domain": 0, "announce_interval": 1, "sync_interval": 0, "delay_interval": 0, "priority1": 128,
             "announce_receipt_timeout": 3, "sdo_id": 0, "class_freerun": 248},
        ),
        (
            "gptp",
            {"sdo_id": 0x100, "announce_interval": 0, "sync_interval": -3, "delay_interval": 0, "priority1": 248,
             "priority2": 248, "sync_receipt_timeout": 3},
        ),
        ("g8275.1", {"domain": 24, "announce_interval": -3, "sync_interval": -4, "delay_interval": -4}),
        ("g8275.2", {"domain": 44, "announce_interval": 0}),
        ("g8265.1", {"domain": 4}),
        ("automotive-gm", {"sdo_id": 0x100, "sync_interval": -3, "delay_interval": 0}),
        (
            "automotive-endpoint",
            {"sync_interval": -3, "operational_sync_interval": 0, "operational_delay_interval": 2},
        ),
    ],
)  # fmt: skip
def test_values_are_those_of_linuxptps_files(name: str, facts: dict[str, int]) -> None:
    profile = next(ptp_profile(known) for known in PTP_PROFILES if known == name)

    assert facts == {key: getattr(profile, key).value for key in facts}


def test_destinations_and_transports() -> None:
    assert ("l2",) == ptp_profile("gptp").transport.value
    gptp, g8275, power = (ptp_profile(name).l2_destination for name in ("gptp", "g8275.1", "power"))
    assert gptp is not None
    assert g8275 is not None
    assert power is not None
    assert ("01-80-C2-00-00-0E",) == gptp.value
    assert ("01-80-C2-00-00-0E", "01-1B-19-00-00-00") == g8275.value
    assert ("01-1B-19-00-00-00",) == power.value


def test_a_profile_without_clauses_or_outside_its_own_range_is_none() -> None:
    file = resources.files(PACKAGE) / FOLDER / "default-e2e.yaml"
    tree = plain(yaml.compose(yaml.decode(file.read_bytes(), "d")))
    assert isinstance(tree, dict)
    assert "default-e2e" == PtpProfile.model_validate(tree).name
    wrong: list[object] = [{"value": 0}, {"value": 0, "clause": ""}, {"value": 9, "range": (0, 3), "clause": "1"}]
    for domain in wrong:
        with pytest.raises(ValidationError):
            PtpProfile.model_validate(tree | {"domain": domain})


def test_refusals_say_the_range_and_the_clause() -> None:
    assert refuse(ptp_profile("g8275.1"), "domain", 43) is None
    assert refuse(ptp_profile("g8275.1"), "domain", 44) == (
        "44 is not allowed: in the profile g8275.1 it can be 24 to 43 (ITU-T G.8275.1, A.2, table A.1)"
    )
    assert refuse(ptp_profile("g8275.1"), "sync_interval", -3) == (
        "125ms is not allowed: in the profile g8275.1 it is fixed at 62.5ms (ITU-T G.8275.1, A.2, table A.5)"
    )
    with pytest.raises(TypeError):
        refuse(ptp_profile("g8275.1"), "domain", "24")


@pytest.mark.parametrize("name", ["default-e2e", "default-p2p"])
def test_beyond_the_range_of_a_default_profile_there_is_a_warning(name: str) -> None:
    """ptp4l takes any there, and so do we; the strict profiles refuse."""
    text = f"sources: [{{pps: /dev/pps0}}]\nptp: {{profile: {name}, ports: [{{interface: eth0, KEY}}]}}\n"
    clause = "I.3.2; 7.7.2.3" if name == "default-e2e" else "I.4.2; 7.7.2.3"
    (said,) = warnings(text.replace("KEY", "sync_interval: 125ms"))
    assert said.startswith("t.yaml:2:")
    assert (
        f"ptp.ports[0].sync_interval: 125ms is outside the range of the profile {name}, 500ms to 2s "
        f"(IEEE 1588-2019, {clause}): it is done, and other clocks may not expect it"
    ) in said
    for key in ("announce_interval: 250ms", "delay_interval: 62.5ms", "announce_receipt_timeout: 20"):
        (said,) = warnings(text.replace("KEY", key))
        assert "is outside the range" in said
    assert [] == warnings(text.replace("KEY", "sync_interval: 500ms, announce_interval: 16s, delay_interval: 32s"))
    for key in ("sync_interval: 125ms", "announce_interval: 16s"):
        with pytest.raises(ConfigError):
            loads(text.replace(name, "g8275.1").replace("KEY", key), "t.yaml")


def test_advice_has_a_range() -> None:
    file = resources.files(PACKAGE) / FOLDER / "default-e2e.yaml"
    tree = plain(yaml.compose(yaml.decode(file.read_bytes(), str(file))))
    with pytest.raises(ValidationError):
        PtpProfile.model_validate(tree | {"sync_interval": {"value": 0, "clause": "x", "advice": True}})


# The face


@pytest.mark.parametrize("name", FACES)
def test_a_face_file_is_short_and_says_what_its_profile_says(name: str) -> None:
    file = ROOT / "config" / f"{name}.yaml"
    loaded = load(file)

    assert len(file.read_text().splitlines()) <= 25
    assert name == loaded.config.profile
    assert () == loaded.warnings
    profile = load(None, name).config
    assert [one.profile for one in profile.ptp_instances] == [one.profile for one in loaded.config.ptp_instances]


def test_the_endpoint_follows_ptp_alone_and_serves_nobody() -> None:
    config = load(ROOT / "config" / "automotive-gptp-endpoint.yaml").config
    (instance,) = config.ptp_instances
    (port,) = instance.ports

    assert () == config.sources
    assert config.serve.ntp is None
    assert ("automotive-endpoint", "eth0", "hardware") == (instance.profile, port.interface, port.timestamping)
    assert "card" == config.ptp_clock(instance, port)
    assert all(config.clocks[name].discipline for name in ("system", "card"))
    assert config.steering.panic > Duration.from_s(50 * 365 * 86_400)


def test_the_grandmaster_gives_ptp_and_ntp_from_a_receiver_and_its_pulse() -> None:
    config = load(ROOT / "config" / "lab-grandmaster.yaml").config
    (instance,) = config.ptp_instances

    assert ["gpsd", "pps"] == [source.kind for source in config.sources]
    assert ("default-e2e", "timeTransmitter", "udp4") == (instance.profile, instance.role, instance.ports[0].transport)
    assert config.serve.ntp is not None
    assert Duration.from_s(3600) == config.steering.holdover
    assert all(config.clocks[name].discipline for name in ("system", "card"))


@pytest.mark.parametrize("name", FACES)
def test_another_interface_leaves_nothing_of_the_profiles(name: str) -> None:
    text = f"profile: {name}\nclocks: {{card: {{phc: enp3s0}}}}\nptp: {{ports: [{{interface: enp3s0}}]}}\n"
    config = loads(text, "t.yaml").config
    (instance,) = config.ptp_instances

    assert ["enp3s0"] == [clock.phc for clock in config.clocks.values() if clock.phc is not None]
    assert ["card"] == [config.ptp_clock(instance, port) for port in instance.ports]


def test_the_commented_lines_of_the_grandmaster_are_fine_too(tmp_path: Path) -> None:
    text = (ROOT / "config" / "lab-grandmaster.yaml").read_text()
    text = text.replace("\n#  ", "\n  ").replace("\n#    ", "\n    ").replace("clocks:  ", "clocks:")
    pin = "  - {pps: card, pin: 0, pairs_with: gpsd}\n"
    start, end = text.index("  - pps:"), text.index("\nptp:")
    file = tmp_path / "t.yaml"
    file.write_text(text[:start] + pin + text[end:])
    file.chmod(0o644)
    loaded = load(file)

    assert () == loaded.warnings
    assert ["system", "card", "card1"] == list(loaded.config.clocks)
    assert ["eth0", "eth1"] == [port.interface for port in loaded.config.ptp_instances[0].ports]
