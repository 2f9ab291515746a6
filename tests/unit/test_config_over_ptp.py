"""NTP over PTP in a configuration: defaults, what contradicts itself, and who else has the port."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from timesync.base.ids import Endpoint
from timesync.cli.main import cli
from timesync.config.load import loads
from timesync.config.problem import ConfigError
from timesync.config.schema import NtpSource
from timesync.daemon.assemble import roster_settings, server_settings

SOURCE = "sources: [{ntp: a.example"
SERVE = "sources: [{ntp: a.example}]\nserve: {ntp: {"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_what_is_meant_when_nothing_is_said() -> None:
    config = loads(SOURCE + "}]\nserve: {ntp: {}}", "t.yaml").config
    (source,) = config.sources
    assert isinstance(source, NtpSource)
    assert ("udp", 123) == (source.transport, roster_settings(source).port)
    assert config.serve.ntp is not None
    assert () == config.serve.ntp.ptp_listen
    assert 123 == server_settings(config, {}).ptp_domain


@pytest.mark.parametrize(("written", "port"), [("a.example", 319), ("a.example:10319", 10319)])
def test_a_source_over_ptp_is_asked_on_port_319(written: str, port: int) -> None:
    (source,) = loads(f"sources: [{{ntp: '{written}', transport: ptp, ptp_domain: 7}}]", "t.yaml").config.sources
    assert isinstance(source, NtpSource)
    assert (port, 7) == (roster_settings(source).port, source.ptp_domain)


def test_a_server_over_ptp_listens_on_port_319() -> None:
    config = loads(SERVE + 'ptp_listen: [0.0.0.0, "[::]:10319"], ptp_domain: 5}}', "t.yaml").config
    assert config.serve.ntp is not None
    assert (Endpoint("0.0.0.0", 319), Endpoint("::", 10319)) == config.serve.ntp.ptp_listen
    assert 5 == server_settings(config, {}).ptp_domain


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            SOURCE + ", ptp_domain: 5}]",
            "sources[0].ptp_domain: only messages over PTP have a domain; add transport: ptp",
        ),
        (SERVE + "ptp_domain: 5}}", "serve.ntp.ptp_domain: only messages over PTP have a domain; add ptp_listen"),
        (
            SOURCE + ", transport: ptp, nts: true}]",
            "sources[0].transport: NTS tells the port of NTP, and nothing of PTP; use key",
        ),
        (
            "sources: [{ntp: 'a.example:123', transport: ptp}]",
            "sources[0].ntp: with transport: ptp the port is that of PTP, UDP 319; 123 is NTP's own",
        ),
        (SERVE + "ptp_listen: [0.0.0.0, 192.0.2.1]}}", "serve.ntp.ptp_listen[1]: takes the same port as ptp_listen[0]"),
        (
            SERVE + 'listen: ["0.0.0.0:319"], ptp_listen: [192.0.2.1]}}',
            "serve.ntp.ptp_listen[0]: takes the same port as listen[0]",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, problem: str) -> None:
    assert [problem] == problems(text)


@pytest.mark.parametrize(
    ("other", "who", "refused"),
    [
        ("ptp: {ports: [{interface: eth0}]}", "ptp.ports[0]", {0}),
        ("ptp: {ports: [{interface: eth0, transport: udp6}]}", "ptp.ports[0]", {1}),
        ("ptp: {ports: [{interface: eth0, transport: l2}]}", "", set()),
        ("ptp: {profile: gptp, ports: [{interface: eth0}]}", "", set()),
        (
            "ptp: [{domain: 1, ports: [{interface: eth0, transport: l2}]}, {ports: [{interface: eth1}]}]",
            "ptp[1].ports[0]",
            {0},
        ),
        ("sources: [{csptp: a.example, interface: eth0}]", "sources[0]", {0, 1}),
    ],
)
def test_a_server_cannot_share_the_port_with_ptp_over_the_same_ip(other: str, who: str, refused: set[int]) -> None:
    text = f'{other}\nserve: {{ntp: {{ptp_listen: [0.0.0.0, "::", "0.0.0.0:10319"]}}}}\n'
    if not refused:
        loads(text, "t.yaml")
        return
    message = f"{who} needs UDP port 319 for PTP itself; have it use Ethernet (l2) or the other IP"
    assert [f"serve.ntp.ptp_listen[{index}]: {message}" for index in sorted(refused)] == problems(text)


@pytest.mark.parametrize(("transports", "refused"), [("", {0, 1}), (", transports: [udp6]", {1})])
def test_nor_with_a_server_of_csptp(transports: str, refused: set[int]) -> None:
    text = SERVE + f'ptp_listen: [0.0.0.0, "::"]}}, csptp: {{interfaces: [eth0]{transports}}}}}'
    assert [f"serve.ntp.ptp_listen[{index}]" for index in sorted(refused)] == [
        problem.split(":")[0] for problem in problems(text)
    ]
    assert all("serve.csptp needs UDP port 319" in problem for problem in problems(text))


def test_requests_of_ours_share_the_port_with_ptp() -> None:
    loads("ptp: {ports: [{interface: eth0}]}\nsources: [{ntp: a.example, transport: ptp}]", "t.yaml")


def test_check_says_where_it_is_served(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(SERVE + "ptp_listen: [192.0.2.1]}}")
    result = CliRunner().invoke(cli, ["check", str(file)])
    assert "and over PTP on 192.0.2.1:319" in result.output
