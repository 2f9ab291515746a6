"""The names of other exporters: those that their sources have, with their labels, units and signs.

The tables of names and labels were read in chrony_exporter 0.13.3 (collector/), ntpd-rs (ntpd/src/metrics/mod.rs),
statime (statime-linux/src/metrics/format.rs) and OpenShift's linuxptp-daemon (pkg/daemon/metrics.go).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from metrics_support import scene
from snapshot_support import snapshot

from timesync.observe.metrics.table import Scene, Trail, families
from timesync.observe.metrics.tables import COMPAT
from timesync.observe.metrics.trail import TrailKeeper

_ADDRESS = ("source_address", "source_name")
_ID = ("name", "address", "id")
_BUILD = ("version", "build_commit", "build_commit_date")
_CLOCK = ("clock_identity",)
_PARENT = (*_CLOCK, "parent_clock_identity", "parent_port_number")
_LINK = ("from", "process", "node", "iface")

CHRONY: dict[str, tuple[str, ...]] = {
    "chrony_up": (),
    "chrony_tracking_info": ("tracking_address", "tracking_name", "tracking_refid"),
    **{
        f"chrony_tracking_{name}": ()
        for name in (
            "last_offset_seconds", "reference_timestamp_seconds", "system_time_seconds", "remote_reference",
            "rms_offset_seconds", "root_delay_seconds", "root_dispersion_seconds", "frequency_ppms",
            "residual_frequency_ppms", "skew_ppms", "update_interval_seconds", "stratum",
        )
    },
    **{
        f"chrony_sources_{name}": _ADDRESS
        for name in (
            "last_sample_age_seconds", "reachability_ratio", "reachability_success", "last_sample_offset_seconds",
            "last_sample_error_margin_seconds", "polling_interval_seconds", "stratum", "peer_offset_seconds",
            "peer_delay_seconds", "peer_dispersion_seconds", "peer_response_time_seconds",
            "peer_jitter_asymmetry_seconds",
        )
    },
    "chrony_sources_state_info": (*_ADDRESS, "source_state", "source_mode"),
    **{
        f"chrony_sourcestats_{name}": _ADDRESS
        for name in ("samples", "runs", "span_seconds", "stddev", "frequency_ppms", "frequency_skew_ppms", "offset")
    },
    **{
        f"chrony_serverstats_{name}": ()
        for name in (
            "ntp_packets_received_total", "nts_ke_connections_accepted_total", "command_packets_received_total",
            "ntp_packets_dropped_total", "nts_ke_connections_dropped_total", "command_packets_dropped_total",
            "client_log_records_dropped_total", "authenticated_ntp_packets_total", "interleaved_ntp_packets_total",
            "ntp_timestamps_held", "ntp_timestamp_span_seconds", "ntp_daemon_rx_timestamps_total",
            "ntp_daemon_tx_timestamps_total", "ntp_kernel_rx_timestamps_total", "ntp_kernel_tx_timestamps_total",
            "ntp_hw_rx_timestamps_total", "ntp_hw_tx_timestamps_total",
        )
    },
}  # fmt: skip

NTPD_RS: dict[str, tuple[str, ...]] = {
    "ntp_uptime_seconds": _BUILD,
    **{
        f"ntp_system_{name}": ()
        for name in (
            "poll_interval_seconds", "accumulated_steps_seconds", "accumulated_steps_threshold_seconds",
            "leap_indicator", "root_delay_seconds", "root_dispersion_seconds", "stratum",
        )
    },
    **{
        f"ntp_source_{name}": _ID
        for name in (
            "poll_interval_seconds", "unanswered_polls", "nts_cookies_available", "offset_seconds", "delay_seconds",
            "uncertainty_seconds", "root_delay_seconds", "root_dispersion_seconds",
        )
    },
    **{
        f"ntp_server_{name}_total": ("listen_address",)
        for name in (
            "received_packets", "accepted_packets", "denied_packets", "ignored_packets", "rate_limited_packets",
            "response_send_errors", "nts_received_packets", "nts_accepted_packets", "nts_denied_packets",
            "nts_rate_limited_packets", "nts_nak_packets",
        )
    },
}  # fmt: skip

PTP: dict[str, tuple[str, ...]] = {
    "statime_uptime_seconds": _BUILD,
    **{
        f"statime_{name}": _CLOCK
        for name in (
            "number_ports", "quality_class", "quality_accuracy", "quality_offset_scaled_log_variance", "priority_1",
            "priority_2", "steps_removed", "offset_from_master_nanoseconds", "mean_delay_nanoseconds",
            "current_utc_offset_seconds", "upcoming_leap_seconds", "time_traceable", "frequency_traceable",
            "ptp_timescale", "time_source", "path_trace_enable",
        )
    },
    **{
        f"statime_grandmaster_{name}": _PARENT
        for name in (
            "clock_quality_class", "clock_quality_accuracy", "clock_quality_offset_scaled_log_variance", "priority_1",
            "priority_2",
        )
    },
    "statime_path_trace_list": (*_CLOCK, "node"),
    "statime_port_state": (*_CLOCK, "port"),
    "statime_mean_link_delay_nanoseconds": (*_CLOCK, "port"),
    **{
        f"openshift_ptp_{name}": _LINK
        for name in ("offset_ns", "max_offset_ns", "frequency_adjustment_ns", "delay_ns")
    },
    "openshift_ptp_clock_state": ("process", "node", "iface"),
    "openshift_ptp_clock_class": ("process", "node", "config"),
    "openshift_ptp_interface_role": ("process", "node", "iface"),
    "openshift_ptp_process_status": ("process", "node", "config"),
    "openshift_ptp_process_restart_count": ("process", "node", "config"),
    "openshift_ptp_ha_profile_status": ("process", "node", "profile"),
}  # fmt: skip

THEIRS = {"chrony": CHRONY, "ntpd-rs": NTPD_RS, "ptp": PTP}

# There is nothing of this kind here.
MISSING = {
    "chrony": {
        "chrony_sources_peer_dispersion_seconds", "chrony_sources_peer_response_time_seconds",
        "chrony_sources_peer_jitter_asymmetry_seconds", "chrony_sourcestats_samples", "chrony_sourcestats_runs",
        "chrony_sourcestats_span_seconds", "chrony_sourcestats_frequency_ppms",
        "chrony_sourcestats_frequency_skew_ppms", "chrony_serverstats_command_packets_received_total",
        "chrony_serverstats_command_packets_dropped_total", "chrony_serverstats_client_log_records_dropped_total",
        "chrony_serverstats_ntp_timestamps_held", "chrony_serverstats_ntp_timestamp_span_seconds",
        "chrony_serverstats_ntp_daemon_rx_timestamps_total", "chrony_serverstats_ntp_daemon_tx_timestamps_total",
        "chrony_serverstats_ntp_kernel_rx_timestamps_total", "chrony_serverstats_ntp_kernel_tx_timestamps_total",
        "chrony_serverstats_ntp_hw_tx_timestamps_total",
    },
    "ntpd-rs": {"ntp_server_nts_denied_packets_total", "ntp_server_nts_rate_limited_packets_total"},
    "ptp": {"openshift_ptp_process_restart_count", "openshift_ptp_ha_profile_status"},
}  # fmt: skip

_OURS = "{clock_identity=aa:bb:cc:ff:fe:dd:ee:01"
_FIRST = "{name=ntp.example,address=192.0.2.7:123,id=0}"
_ETH0 = "{from=master,process=ptp4l,node=box,iface=eth0}"

EXPECTED: dict[str, float] = {
    "chrony_up": 1,
    "chrony_tracking_info{tracking_address=192.0.2.7,tracking_name=ntp.example,tracking_refid=C0000207}": 1,
    # Positive is fast; of the system time and of frequencies it is slow.
    "chrony_tracking_last_offset_seconds": 1.5e-6,
    "chrony_tracking_system_time_seconds": -1.5e-6,
    "chrony_tracking_frequency_ppms": -12.5,
    "chrony_tracking_residual_frequency_ppms": 0.2,
    "chrony_tracking_skew_ppms": 0.04,
    "chrony_tracking_reference_timestamp_seconds": 1_799_999_998,
    "chrony_tracking_remote_reference": 1,
    "chrony_tracking_rms_offset_seconds": 4.5e-7,
    "chrony_tracking_update_interval_seconds": 16,
    "chrony_tracking_root_delay_seconds": 11e-3,
    "chrony_tracking_root_dispersion_seconds": 29.5e-6,
    "chrony_tracking_stratum": 3,
    "chrony_sources_last_sample_age_seconds{source_address=192.0.2.7,source_name=ntp.example}": 10,
    "chrony_sources_reachability_ratio{source_address=192.0.2.7,source_name=ntp.example}": 0.625,
    "chrony_sources_reachability_success{source_address=192.0.2.7,source_name=ntp.example}": 0,
    "chrony_sources_last_sample_offset_seconds{source_address=192.0.2.7,source_name=ntp.example}": 3e-6,
    "chrony_sources_last_sample_error_margin_seconds{source_address=pps0,source_name=pps0}": 5.5e-3,
    "chrony_sources_polling_interval_seconds{source_address=192.0.2.7,source_name=ntp.example}": 32,
    "chrony_sources_state_info{source_address=192.0.2.7,source_name=ntp.example,source_state=sync,"
    "source_mode=client}": 1,
    "chrony_sources_state_info{source_address=pps0,source_name=pps0,source_state=candidate,"
    "source_mode=reference clock}": 1,
    "chrony_sources_state_info{source_address=gps,source_name=gps,source_state=unreach,"
    "source_mode=reference clock}": 1,
    "chrony_sources_stratum{source_address=192.0.2.7,source_name=ntp.example}": 2,
    "chrony_sources_peer_offset_seconds{source_address=192.0.2.7,source_name=ntp.example}": -3e-6,
    "chrony_sources_peer_delay_seconds{source_address=192.0.2.7,source_name=ntp.example}": 6.25e-3,
    "chrony_sourcestats_stddev{source_address=192.0.2.7,source_name=ntp.example}": 70e-6,
    "chrony_sourcestats_offset{source_address=192.0.2.7,source_name=ntp.example}": 3e-6,
    "chrony_serverstats_ntp_packets_received_total": 840,
    "chrony_serverstats_ntp_packets_dropped_total": 90,
    "chrony_serverstats_nts_ke_connections_accepted_total": 55,
    "chrony_serverstats_nts_ke_connections_dropped_total": 5,
    "chrony_serverstats_authenticated_ntp_packets_total": 120,
    "chrony_serverstats_interleaved_ntp_packets_total": 210,
    "chrony_serverstats_ntp_hw_rx_timestamps_total": 350,
    "ntp_uptime_seconds{version=9.8.7,build_commit=-,build_commit_date=-}": 75,
    "ntp_system_poll_interval_seconds": 32,
    "ntp_system_accumulated_steps_seconds": 0.75,
    "ntp_system_accumulated_steps_threshold_seconds": -1,
    "ntp_system_leap_indicator": 1,
    "ntp_system_root_delay_seconds": 11e-3,
    "ntp_system_root_dispersion_seconds": 29.5e-6,
    "ntp_system_stratum": 3,
    f"ntp_source_poll_interval_seconds{_FIRST}": 32,
    # Two zeros behind the last 1 of the register.
    f"ntp_source_unanswered_polls{_FIRST}": 2,
    f"ntp_source_nts_cookies_available{_FIRST}": 7,
    f"ntp_source_offset_seconds{_FIRST}": -3e-6,
    f"ntp_source_delay_seconds{_FIRST}": 6.25e-3,
    f"ntp_source_uncertainty_seconds{_FIRST}": 400e-9,
    f"ntp_source_root_delay_seconds{_FIRST}": 8e-3,
    f"ntp_source_root_dispersion_seconds{_FIRST}": 0.9e-3,
    "ntp_server_received_packets_total{listen_address=0.0.0.0:123}": 1000,
    "ntp_server_accepted_packets_total{listen_address=0.0.0.0:123}": 700,
    "ntp_server_denied_packets_total{listen_address=0.0.0.0:123}": 110,
    "ntp_server_ignored_packets_total{listen_address=0.0.0.0:123}": 100,
    "ntp_server_rate_limited_packets_total{listen_address=0.0.0.0:123}": 90,
    "ntp_server_response_send_errors_total{listen_address=0.0.0.0:123}": 7,
    "ntp_server_nts_received_packets_total{listen_address=0.0.0.0:123}": 91,
    "ntp_server_nts_accepted_packets_total{listen_address=0.0.0.0:123}": 80,
    "ntp_server_nts_nak_packets_total{listen_address=0.0.0.0:123}": 11,
    "statime_uptime_seconds{version=9.8.7,build_commit=-,build_commit_date=-}": 75,
    f"statime_number_ports{_OURS}}}": 2,
    f"statime_quality_class{_OURS}}}": 187,
    f"statime_quality_accuracy{_OURS}}}": 0x25,
    f"statime_quality_offset_scaled_log_variance{_OURS}}}": 0x4E5D,
    f"statime_priority_1{_OURS}}}": 127,
    f"statime_priority_2{_OURS}}}": 126,
    f"statime_steps_removed{_OURS}}}": 2,
    f"statime_offset_from_master_nanoseconds{_OURS}}}": -350,
    f"statime_mean_delay_nanoseconds{_OURS}}}": 1200,
    **{
        f"statime_grandmaster_{name}{_OURS},parent_clock_identity=aa:bb:cc:ff:fe:dd:ee:02,parent_port_number=3}}": value
        for name, value in (
            ("clock_quality_class", 6), ("clock_quality_accuracy", 0x21),
            ("clock_quality_offset_scaled_log_variance", 0x4E20), ("priority_1", 100), ("priority_2", 101),
        )
    },
    f"statime_current_utc_offset_seconds{_OURS}}}": 37,
    f"statime_upcoming_leap_seconds{_OURS}}}": 61,
    f"statime_time_traceable{_OURS}}}": 1,
    f"statime_frequency_traceable{_OURS}}}": 0,
    f"statime_ptp_timescale{_OURS}}}": 1,
    f"statime_time_source{_OURS}}}": 0x20,
    f"statime_path_trace_enable{_OURS}}}": 1,
    f"statime_path_trace_list{_OURS},node=aa:bb:cc:ff:fe:dd:ee:02}}": 0,
    f"statime_path_trace_list{_OURS},node=self}}": 1,
    f"statime_port_state{_OURS},port=1}}": 9,
    f"statime_port_state{_OURS},port=2}}": 6,
    f"statime_mean_link_delay_nanoseconds{_OURS},port=2}}": 650,
    f"openshift_ptp_offset_ns{_ETH0}": -350,
    "openshift_ptp_offset_ns{from=master,process=ts2phc,node=box,iface=phc:eth0}": 20,
    "openshift_ptp_offset_ns{from=phc,process=phc2sys,node=box,iface=CLOCK_REALTIME}": 75,
    f"openshift_ptp_max_offset_ns{_ETH0}": -350,
    # As ptp4l prints it: positive slows the clock down.
    f"openshift_ptp_frequency_adjustment_ns{_ETH0}": -250,
    "openshift_ptp_frequency_adjustment_ns{from=phc,process=phc2sys,node=box,iface=CLOCK_REALTIME}": 12_300,
    f"openshift_ptp_delay_ns{_ETH0}": 1200,
    "openshift_ptp_delay_ns{from=phc,process=phc2sys,node=box,iface=CLOCK_REALTIME}": 1100,
    "openshift_ptp_clock_state{process=ptp4l,node=box,iface=eth0}": 1,
    "openshift_ptp_clock_class{process=ptp4l,node=box,config=ptp4l.0.config}": 187,
    "openshift_ptp_interface_role{process=ptp4l,node=box,iface=eth0}": 1,
    "openshift_ptp_interface_role{process=ptp4l,node=box,iface=eth1}": 2,
    "openshift_ptp_process_status{process=ptp4l,node=box,config=ptp4l.0.config}": 1,
    "openshift_ptp_process_status{process=phc2sys,node=box,config=phc2sys.0.config}": 1,
}  # fmt: skip


def samples(now: Scene) -> dict[str, float]:
    """As ``name{label=value,...}``."""
    found = {}
    for family in families((one for table in COMPAT.values() for one in table), now):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.mark.parametrize("name", THEIRS)
def test_names_and_labels_are_theirs(name: str) -> None:
    ours = {one.name: one.labels for one in COMPAT[name]}
    assert THEIRS[name].keys() - MISSING[name] == ours.keys()
    assert ours == {metric: THEIRS[name][metric] for metric in ours}


@pytest.mark.parametrize(("key", "value"), EXPECTED.items())
def test_a_value_has_their_unit_and_sign(key: str, value: float) -> None:
    assert value == pytest.approx(samples(scene())[key], rel=1e-9)


def test_every_metric_has_a_value_above() -> None:
    given = {one.name for table in COMPAT.values() for one in table}
    assert given == {key.partition("{")[0] for key in EXPECTED}


def test_the_error_bound_is_what_chrony_exporter_recommends_to_compute() -> None:
    found = samples(scene())
    offset, delay, dispersion = (
        found[f"chrony_tracking_{name}_seconds"] for name in ("last_offset", "root_delay", "root_dispersion")
    )
    assert abs(offset) + delay / 2 + dispersion == pytest.approx(5.531e-3)


def test_without_synchronization_chronyd_has_stratum_0_and_no_reference() -> None:
    now = snapshot()
    core = replace(now.core, stratum=16, reference=None, reference_id=bytes(4))
    found = samples(scene(replace(now, core=core)))
    assert 0 == found["chrony_tracking_stratum"]
    assert 1 == found["chrony_tracking_info{tracking_address=0.0.0.0,tracking_name=0.0.0.0,tracking_refid=00000000}"]
    assert 16 == found["ntp_system_stratum"]


def test_a_source_that_never_answered_has_eight_polls_without_answer() -> None:
    now = scene()
    now.sources[0]["reach_register"] = 0  # type: ignore[index]
    assert 8 == samples(now)[f"ntp_source_unanswered_polls{_FIRST}"]
    now.sources[0]["reach_register"] = 1  # type: ignore[index]
    assert 0 == samples(now)[f"ntp_source_unanswered_polls{_FIRST}"]


def test_averages_and_intervals_come_from_the_states_that_went_by() -> None:
    keeper = TrailKeeper()
    assert Trail(None, None) == keeper.trail
    for offset_s, updated_ns in ((3e-6, 10_000_000_000), (-4e-6, 10_000_000_000), (None, 26_500_000_000)):
        clock = {"name": "system", "offset_s": offset_s}
        keeper.take({"status": {"clocks": [clock], "served_clock": "system", "updated_utc_ns": updated_ns}})
    # Root of (9 + 16) / 2.
    assert 3.5355339e-6 == pytest.approx(keeper.trail.rms_offset_s)
    assert 16.5 == keeper.trail.update_interval_s
    for _ in range(20_000):
        clock = {"name": "system", "offset_s": 1e-6}
        keeper.take({"status": {"clocks": [clock], "served_clock": "system", "updated_utc_ns": None}})
    assert 1e-6 == pytest.approx(keeper.trail.rms_offset_s, rel=1e-3)
