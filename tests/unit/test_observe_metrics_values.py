"""Every own metric against the snapshot: names, labels, units and scales."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from metrics_support import OWN, scene
from snapshot_support import holding, snapshot

from timesync.observe.metrics.table import Own, Scene, families
from timesync.observe.metrics.tables import OWN as TABLES

ALL = tuple(one for table in TABLES.values() for one in table)
SYSTEM = "{clock=system,kind=system}"
NTP = "{source=ntp.example,kind=ntp}"
ETH0, ETH1 = "{port=eth0,domain=24}", "{port=eth1,domain=24}"
PTP = "{clock_identity=aabbcc.fffe.ddee01,domain=24}"

# By hand from snapshot_support: of each metric one value or more, in its base unit.
EXPECTED: dict[str, float] = {
    "timesync_build_info{version=9.8.7,schema=1}": 1,
    "timesync_uptime_seconds": 75,
    "timesync_state{state=locked}": 1,
    "timesync_state{state=holdover}": 0,
    "timesync_error_bound_seconds": 35e-6,
    "timesync_stratum": 3,
    "timesync_root_delay_seconds": 11e-3,
    "timesync_root_dispersion_seconds": 29.5e-6,
    "timesync_reference_info{clock=system,source=ntp.example,reference_id=192.0.2.7}": 1,
    "timesync_leap{leap=insert}": 1,
    "timesync_leap{leap=none}": 0,
    "timesync_tai_utc_offset_seconds": 37,
    "timesync_leap_table_remaining_seconds": 30 * 86_400,
    "timesync_holdover_active": 0,
    "timesync_holdover_elapsed_seconds": 0,
    "timesync_warnings": 2,
    "timesync_clock_state{clock=phc:eth0,kind=phc,state=locked}": 1,
    f"timesync_clock_disciplined{SYSTEM}": 1,
    f"timesync_clock_offset_seconds{SYSTEM}": 1.5e-6,
    "timesync_clock_offset_seconds{clock=phc:eth0,kind=phc}": -40e-9,
    f"timesync_clock_offset_uncertainty_seconds{SYSTEM}": 250e-9,
    "timesync_clock_error_bound_seconds{clock=phc:eth0,kind=phc}": 900e-9,
    f"timesync_clock_frequency_ratio{SYSTEM}": 12_500e-9,
    f"timesync_clock_frequency_uncertainty_ratio{SYSTEM}": 40e-9,
    f"timesync_clock_steering_ratio{SYSTEM}": -12_300e-9,
    f"timesync_clock_temperature_celsius{SYSTEM}": 41.5,
    f"timesync_steps_total{SYSTEM}": 2,
    f"timesync_stepped_seconds_total{SYSTEM}": 0.75,
    "timesync_link_offset_seconds{clock=system,link=system<phc:eth0}": 75e-9,
    "timesync_link_jitter_seconds{clock=system,link=system<phc:eth0}": 15e-9,
    "timesync_link_window_seconds{clock=system,link=system<phc:eth0}": 1.1e-6,
    "timesync_source_info{source=ntp.example,kind=ntp,address=192.0.2.7:123,clock=system,reference_id=192.0.2.9,"
    "version=4,timestamping=hardware}": 1,
    "timesync_source_state{source=gps,kind=nmea,state=excluded}": 1,
    "timesync_source_state{source=late.example,kind=ntp,state=unreachable}": 1,
    f"timesync_source_selected{NTP}": 1,
    "timesync_source_selected{source=gps,kind=nmea}": 0,
    f"timesync_source_offset_seconds{NTP}": 3e-6,
    f"timesync_source_uncertainty_seconds{NTP}": 400e-9,
    f"timesync_source_error_bound_seconds{NTP}": 5.5e-3,
    f"timesync_source_delay_seconds{NTP}": 6.25e-3,
    f"timesync_source_jitter_seconds{NTP}": 70e-6,
    f"timesync_source_root_delay_seconds{NTP}": 8e-3,
    f"timesync_source_root_dispersion_seconds{NTP}": 0.9e-3,
    f"timesync_source_poll_interval_seconds{NTP}": 32,
    f"timesync_source_last_sample_age_seconds{NTP}": 10,
    f"timesync_source_reach_ratio{NTP}": 5 / 8,
    f"timesync_source_stratum{NTP}": 2,
    f"timesync_source_authenticated{NTP}": 1,
    f"timesync_source_interleaved{NTP}": 1,
    f"timesync_source_samples_total{NTP}": 44,
    f"timesync_source_outliers_total{NTP}": 5,
    f"timesync_source_requests_total{NTP}": 21,
    f"timesync_source_answers_total{NTP}": 18,
    "timesync_source_drops_total{source=ntp.example,kind=ntp,reason=origin}": 2,
    "timesync_source_nts_cookies{source=ntp.example}": 7,
    "timesync_source_nts_provisional{source=ntp.example}": 1,
    "timesync_roughtime_radius_seconds{source=rough.example}": 2,
    "timesync_roughtime_malfeasance{source=rough.example}": 1,
    "timesync_pps_pulses_total{source=pps0}": 8000,
    "timesync_pps_missed_total{source=pps0}": 31,
    "timesync_pps_doubled_total{source=pps0}": 4,
    "timesync_pps_outliers_total{source=pps0}": 6,
    "timesync_pps_jitter_seconds{source=pps0}": 55e-9,
    "timesync_pps_last_pulse_age_seconds{source=pps0}": 0.375,
    "timesync_gnss_info{source=gps,receiver=u-blox M9,message=RMC}": 1,
    "timesync_gnss_fix_mode{source=gps,fix=3D}": 1,
    "timesync_gnss_fix_mode{source=gps,fix=no fix}": 0,
    "timesync_gnss_satellites{source=gps,status=used}": 9,
    "timesync_gnss_satellites{source=gps,status=seen}": 14,
    "timesync_gnss_hdop{source=gps}": 1.25,
    "timesync_gnss_tdop{source=gps}": 0.75,
    "timesync_gnss_cn0_mean_dbhz{source=gps}": 41.5,
    "timesync_gnss_jamming_state{source=gps,state=ok}": 1,
    "timesync_gnss_spoofing_state{source=gps,state=none}": 1,
    "timesync_gnss_antenna_state{source=gps,state=open}": 1,
    "timesync_gnss_latency_seconds{source=gps}": 0.125,
    "timesync_gnss_latency_spread_seconds{source=gps}": 2.5e-3,
    "timesync_gnss_latency_bound_seconds{source=gps}": 45e-3,
    "timesync_gnss_latency_calibrated{source=gps}": 1,
    "timesync_ptp_port_info{port=eth0,domain=24,identity=aabbcc.fffe.ddee01-1,parent=aabbcc.fffe.ddee02-3,"
    "transport=l2,timestamping=hardware,delay_mechanism=e2e,clock=phc:eth0}": 1,
    "timesync_ptp_port_state{port=eth0,domain=24,state=TIME_RECEIVER}": 1,
    "timesync_ptp_port_state{port=eth1,domain=24,state=TIME_RECEIVER}": 0,
    f"timesync_ptp_offset_from_transmitter_seconds{ETH0}": -350e-9,
    # Half of the round trip.
    f"timesync_ptp_mean_path_delay_seconds{ETH0}": 1.2e-6,
    f"timesync_ptp_neighbor_prop_delay_seconds{ETH1}": 650e-9,
    f"timesync_ptp_neighbor_rate_ratio{ETH1}": 1.000_002,
    f"timesync_ptp_as_capable{ETH1}": 1,
    f"timesync_ptp_unicast_clients{ETH0}": 0,
    "timesync_ptp_messages_total{port=eth0,domain=24,type=sync,direction=received}": 501,
    "timesync_ptp_messages_total{port=eth0,domain=24,type=delay_req,direction=sent}": 402,
    "timesync_ptp_drops_total{port=eth0,domain=24,reason=sequence}": 12,
    f"timesync_ptp_lost_timestamps_total{ETH0}": 9,
    f"timesync_ptp_clock_class{PTP}": 187,
    f"timesync_ptp_steps_removed{PTP}": 2,
    f"timesync_ptp_utc_offset_seconds{PTP}": 37,
    f"timesync_ptp_time_traceable{PTP}": 1,
    "timesync_ptp_grandmaster_info{clock_identity=aabbcc.fffe.ddee01,domain=24,identity=aabbcc.fffe.ddee02,"
    "clock_class=6,accuracy=0x21}": 1,
    "timesync_ntp_requests_total{result=answered}": 700,
    "timesync_ntp_requests_total{result=denied}": 110,
    "timesync_ntp_requests_total{result=limited}": 90,
    "timesync_ntp_requests_total{result=bad}": 50,
    "timesync_ntp_requests_total{result=late}": 20,
    "timesync_ntp_requests_total{result=auth_failed}": 30,
    "timesync_ntp_responses_total{version=4}": 590,
    "timesync_ntp_responses_total{version=5}": 10,
    "timesync_ntp_responses_total{version=1}": 1,
    "timesync_ntp_featured_responses_total{feature=interleaved}": 210,
    "timesync_ntp_featured_responses_total{feature=authenticated}": 120,
    "timesync_ntp_featured_responses_total{feature=nts}": 80,
    "timesync_ntp_featured_responses_total{feature=over_ptp}": 17,
    "timesync_ntp_featured_responses_total{feature=hardware_timestamp}": 350,
    "timesync_ntp_kisses_total": 13,
    "timesync_ntp_nts_naks_total": 11,
    "timesync_ntp_unsent_total": 7,
    "timesync_ntp_worker_restarts_total": 3,
    "timesync_nts_ke_connections_total": 60,
    "timesync_nts_ke_total{result=established}": 41,
    "timesync_nts_ke_total{result=refused-full}": 3,
    "timesync_nts_ke_post_quantum_total": 25,
    "timesync_nts_master_key_age_seconds": 3600,
    "timesync_nts_master_key_remaining_seconds": 82_800,
    "timesync_certificate_remaining_seconds{file=/etc/tls/a.pem}": 864_000,
    "timesync_certificates_refused": 1,
    "timesync_csptp_requests_total{interface=eth0,domain=128,result=answered}": 19,
    "timesync_csptp_requests_total{interface=eth0,domain=128,result=rate}": 8,
    "timesync_up": 1,
    "timesync_state_age_seconds": 0.5,
    "timesync_observer_missed_messages_total": 6,
    "timesync_observer_cpu_seconds_total": 1.25,
    "timesync_observer_resident_memory_bytes": 34_000_000,
    "timesync_daemon_cpu_seconds_total": 42.5,
    "timesync_daemon_resident_memory_bytes": 56_000_000,
}
HELD = {
    "timesync_state{state=holdover}": 1,
    "timesync_state{state=locked}": 0,
    "timesync_holdover_active": 1,
    "timesync_holdover_elapsed_seconds": 120,
    "timesync_holdover_remaining_seconds": 3480,
}


def samples(now: Scene) -> dict[str, float]:
    """As ``name{label=value,...}``."""
    found = {}
    for family in families(ALL, now):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def _names() -> Iterator[str]:
    for key in (*EXPECTED, *HELD):
        yield key.partition("{")[0]


@pytest.mark.parametrize(("key", "value"), EXPECTED.items())
def test_a_value_is_that_of_the_snapshot(key: str, value: float) -> None:
    assert value == pytest.approx(samples(scene())[key], rel=1e-9)


@pytest.mark.parametrize(("key", "value"), HELD.items())
def test_a_holdover_shows(key: str, value: float) -> None:
    assert value == samples(scene(holding(snapshot())))[key]


def test_every_metric_has_a_value_above() -> None:
    assert {one.name for one in ALL} == set(_names())


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_name_says_its_unit_and_whether_it_counts(one: object) -> None:
    from timesync.observe.metrics.table import Described

    assert isinstance(one, Described)
    assert re.fullmatch(r"timesync_[a-z0-9]+(_[a-z0-9]+)*", one.name)
    bare = one.name.removesuffix("_total")
    assert (one.kind == "counter") == (bare != one.name)
    if one.unit:
        assert bare.endswith(f"_{one.unit}")
    else:
        # No unit is hidden, and none is one that must be multiplied first.
        assert not re.search(r"_(s|seconds|ms|us|ns|[a-z]+seconds|ppm|ppb|percent|ratio|bytes|kb|mb)$", bare)
    assert one.help.endswith(".")


def test_requests_are_what_was_received() -> None:
    found = samples(scene())
    assert 1000 == sum(value for key, value in found.items() if key.startswith("timesync_ntp_requests_total"))


def test_what_is_not_known_is_left_out() -> None:
    found = samples(scene())
    for absent in (
        "timesync_source_delay_seconds{source=pps0,kind=pps}",
        "timesync_source_offset_seconds{source=late.example,kind=ntp}",
        "timesync_source_reach_ratio{source=pps0,kind=pps}",
        "timesync_ptp_mean_path_delay_seconds{port=eth1,domain=24}",
        "timesync_ptp_neighbor_prop_delay_seconds{port=eth0,domain=24}",
        "timesync_ptp_as_capable{port=eth0,domain=24}",
        "timesync_holdover_remaining_seconds",
    ):
        assert absent not in found


def test_freshness_has_a_limit() -> None:
    assert [True, True, False, False] == [Own(age, 0, OWN.usage).fresh for age in (0.0, 10.0, 10.1, None)]
