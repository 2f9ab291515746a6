"""Options of ptp4l's files: what becomes of each (ptp4l(8) of linuxptp 3.1.1 and 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timesync.base.time import SCALE, Duration
from timesync.config.importing.draft import Value
from timesync.config.importing.numbers import UnreadableError, nanoseconds, number, whole
from timesync.config.ptp import LEAST_INTERVAL, MOST_INTERVAL, interval_text


@dataclass(frozen=True, slots=True)
class Meaning:
    """A value of ptp4l as ours.

    Attributes:
        written: As it stands in YAML.
        judged: As PTP profiles judge it.
    """

    written: Value
    judged: object


def _number(text: str) -> Meaning:
    value = whole(text)
    return Meaning(value, value)


def _switch(text: str) -> Meaning:
    value = whole(text) != 0
    return Meaning(value, value)


def _interval(text: str) -> Meaning:
    value = whole(text)
    if not LEAST_INTERVAL <= value <= MOST_INTERVAL:
        raise UnreadableError(f"intervals are {interval_text(LEAST_INTERVAL)} to {interval_text(MOST_INTERVAL)} here")
    return Meaning(interval_text(value), value)


def _nanoseconds(text: str) -> Meaning:
    value = number(text)
    return Meaning(nanoseconds(value), Duration(round(value * SCALE)))


Reading = Callable[[str], Meaning]

OF_INSTANCE: dict[str, tuple[str, Reading]] = {
    "domainNumber": ("domain", _number),
    "priority1": ("priority1", _number),
    "priority2": ("priority2", _number),
    "G.8275.defaultDS.localPriority": ("local_priority", _number),
    "maxStepsRemoved": ("max_steps_removed", _number),
    "path_trace_enabled": ("path_trace", _switch),
    "ptp_minor_version": ("minor_version", _number),
}
"""Keys of ``ptp``."""

OF_PORT: dict[str, tuple[str, Reading]] = {
    "logAnnounceInterval": ("announce_interval", _interval),
    "logSyncInterval": ("sync_interval", _interval),
    "announceReceiptTimeout": ("announce_receipt_timeout", _number),
    "syncReceiptTimeout": ("sync_receipt_timeout", _number),
    "operLogSyncInterval": ("operational_sync_interval", _interval),
    "operLogPdelayReqInterval": ("operational_delay_interval", _interval),
    "neighborPropDelayThresh": ("neighbor_threshold", _nanoseconds),
    "allowedLostResponses": ("allowed_lost_responses", _number),
    "G.8275.portDS.localPriority": ("local_priority", _number),
}
"""Keys of ``ptp.ports`` that the profile judges; the question for the delay comes under two names."""

UNJUDGED: dict[str, tuple[str, Reading, str]] = {
    "delayAsymmetry": ("asymmetry", _nanoseconds, "0"),
    "egressLatency": ("egress_latency", _nanoseconds, "0"),
    "ingressLatency": ("ingress_latency", _nanoseconds, "0"),
    "udp_ttl": ("hop_limit", _number, "1"),
    "dscp_event": ("dscp", _number, "0"),
}
"""Keys of ``ptp.ports`` that no profile fixes, and when none is needed."""

DELAY_INTERVALS = {"e2e": "logMinDelayReqInterval", "p2p": "logMinPdelayReqInterval"}
INTERVAL: Reading = _interval

IMPLIED = {"domainNumber": "0", "priority1": "128", "priority2": "128"}
IMPLIED_OF_PORT = {
    "logAnnounceInterval": "1", "logSyncInterval": "0", "announceReceiptTimeout": "3",
    "neighborPropDelayThresh": "20000000",
}  # fmt: skip
"""What ptp4l takes where nothing is said, and a profile here may take something else."""

DEFAULTS = {
    "twoStepFlag": "1", "socket_priority": "0", "clockClass": "248", "clockAccuracy": "0xFE",
    "offsetScaledLogVariance": "0xFFFF", "free_running": "0", "freq_est_interval": "1", "dscp_general": "0",
    "fault_reset_interval": "4", "inhibit_announce": "0", "inhibit_delay_req": "0", "ignore_source_id": "0",
    "assume_two_step": "0", "follow_up_info": "0", "net_sync_monitor": "0", "tc_spanning_tree": "0",
    "tx_timestamp_timeout": "1", "unicast_req_duration": "3600", "use_syslog": "1", "verbose": "0",
    "summary_interval": "0", "kernel_leap": "1", "check_fup_sync": "0", "step_threshold": "0",
    "first_step_threshold": "0.00002", "ntpshm_segment": "0", "msg_interval_request": "0", "clock_type": "OC",
    "productDescription": ";;", "revisionData": ";;", "manufacturerIdentity": "00:00:00", "userDescription": ";",
    "timeSource": "0xA0", "asCapable": "auto", "BMCA": "ptp", "syncReceiptTimeout": "0", "operLogSyncInterval": "0",
    "operLogPdelayReqInterval": "0", "neighborPropDelayThresh": "20000000", "allowedLostResponses": "3",
    "G.8275.defaultDS.localPriority": "128", "G.8275.portDS.localPriority": "128", "maxStepsRemoved": "255",
    "phc_index": "-1", "spp": "-1", "active_key_id": "0", "clock_class_threshold": "248", "gmCapable": "1",
    "delay_response_timeout": "0", "ptp_dst_mac": "01:1B:19:00:00:00", "p2p_dst_mac": "01:80:C2:00:00:0E",
    "udp6_scope": "0x0E", "ptp_dst_ipv4": "224.0.1.129", "p2p_dst_ipv4": "224.0.0.107",
    "ptp_dst_ipv6": "FF0E:0:0:0:0:0:0:181", "p2p_dst_ipv6": "FF02:0:0:0:0:0:0:6B", "boundary_clock_jbod": "0",
    "write_phase_mode": "0", "hwts_filter": "normal", "step_window": "0", "initial_delay": "0",
    "ignore_transport_specific": "0", "interface_rate_tlv": "0", "inhibit_multicast_service": "0",
    "hybrid_e2e": "0", "unicast_listen": "0", "unicast_master_table": "0", "slave_event_monitor": "",
    "power_profile.version": "none", "power_profile.grandmasterID": "0", "allow_unauth": "0",
    "power_profile.2011.networkTimeInaccuracy": "-1", "clockIdentity": "000000.0000.000000", "utc_offset": "37",
}  # fmt: skip
"""Where an option has its default, nothing is lost without it."""

NEEDLESS = {
    "assume_two_step": "both kinds of Sync are understood",
    "boundary_clock_jbod": "each port has the clock of its card, and the cards are kept together",
    "check_fup_sync": "timestamps are the kernel's, in their order",
    "clock_servo": "one estimator, whose gains come from measured noise and wander",
    "clock_type": "a boundary clock is one with several ports",
    "cmlds.client_address": "there is no common link delay service",
    "cmlds.domainNumber": "there is no common link delay service",
    "cmlds.majorSdoId": "there is no common link delay service",
    "cmlds.port": "there is no common link delay service",
    "cmlds.server_address": "there is no common link delay service",
    "delay_filter": "noise and delay of each link are learnt",
    "delay_filter_length": "noise and delay of each link are learnt",
    "delay_response_timeout": "answers that do not come make the delay old, and the bound larger",
    "fault_badpeernet_interval": "a port comes back when its link does",
    "fault_reset_interval": "a port comes back when its link does",
    "freq_est_interval": "the frequency is always estimated",
    "hwts_filter": "the least filter of the card that is enough",
    "initial_delay": "the delay is measured before it counts",
    "kernel_leap": "the kernel makes the leap second",
    "max_frequency": "what the card takes; steering.max_slew limits how fast an offset is worked off",
    "message_tag": "systemd names the service in the log",
    "min_neighbor_prop_delay": "-20 ms, as there unless said",
    "p2p_dst_mac": "that of the standard",
    "sanity_freq_limit": "what else moves a clock is noticed and said",
    "servo_num_offset_values": "locked is when the estimator is",
    "servo_offset_threshold": "locked is when the estimator is",
    "step_window": "a step takes what was measured before it out of the estimate",
    "tsproc_mode": "noise and delay of each link are learnt",
    "tx_timestamp_timeout": "a stamp may come late, and counts for what it is then worth",
    "uds_file_mode": "0660",
    "uds_ro_address": "the management socket's name with ro behind it",
    "uds_ro_file_mode": "0666",
    "use_syslog": "the log goes to standard error, and systemd keeps it",
    "verbose": "the log goes to standard error, and systemd keeps it",
    "write_phase_mode": "a card is steered by its frequency, and stepped",
    "refclock_sock_address": "it counts with clock_servo refclock_sock alone",
    "ntpshm_segment": "it counts with clock_servo ntpshm alone",
    "G.8275.defaultDS.localPriority": "it is for G.8275 alone", "G.8275.portDS.localPriority": "it is for G.8275 alone",
}  # fmt: skip
NEEDLESS |= dict.fromkeys(
    ("pi_proportional_const", "pi_integral_const", "pi_proportional_scale", "pi_proportional_exponent",
     "pi_proportional_norm_max", "pi_integral_scale", "pi_integral_exponent", "pi_integral_norm_max"),
    "there are no constants to tune",
)  # fmt: skip
"""So it is anyway, or it has no meaning here."""

MISSING = {
    "clockClass": "none: what the core knows of the clock, in the stages of the profile",
    "clockAccuracy": "none: what the core knows of the clock",
    "offsetScaledLogVariance": "none: what the core knows of the clock",
    "timeSource": "none: what the core knows of the clock",
    "clock_class_threshold": "none: ports.acceptable names who may be followed",
    "clockIdentity": "none: of the first interface's MAC address",
    "dscp_general": "none: ports.dscp is for all messages",
    "ignore_source_id": "none outside the automotive profiles",
    "ignore_transport_specific": "none: another majorSdoId is another network",
    "inhibit_announce": "none outside the automotive profiles",
    "inhibit_delay_req": "none: the grandmaster asks too, which is harmless",
    "manufacturerIdentity": "none", "productDescription": "none", "revisionData": "none", "userDescription": "none",
    "msg_interval_request": "none outside the automotive profiles, which have it",
    "net_sync_monitor": "none",
    "p2p_dst_ipv4": "none: that of the standard", "p2p_dst_ipv6": "none: that of the standard",
    "ptp_dst_ipv4": "none: that of the standard", "ptp_dst_ipv6": "none: that of the standard",
    "udp6_scope": "none: IPv6 with global scope",
    "phc_index": "clocks.NAME.phc: /dev/ptpN names the clock itself",
    "slave_event_monitor": "none: timesync sources --json",
    "socket_priority": "none: the queueing discipline can see the ports",
    "summary_interval": "none: nothing is printed by the second; timesync ports at any time",
    "tc_spanning_tree": "none: there are no transparent clocks",
    "utc_offset": "none: it comes from the leap second table, leap.file",
    "asCapable": "none outside the automotive profiles",
    "interface_rate_tlv": "the profile g8275.2",
    "follow_up_info": "the profile gptp",
    "power_profile.2011.grandmasterTimeInaccuracy": "none: it is what the core knows",
    "power_profile.2017.totalTimeInaccuracy": "none: ptp.network_inaccuracy and what the core knows make it",
    "twoStepFlag": "none",
}  # fmt: skip
"""Nothing does it here, or something else has to be said."""

_FIXED_ROLES = {"follow_up_info", "transportSpecific", "BMCA", "inhibit_announce", "asCapable", "msg_interval_request",
                "ignore_source_id"}  # fmt: skip
BY_PROFILE = {
    "gptp": {"follow_up_info", "assume_two_step", "transportSpecific"},
    "automotive-gm": _FIXED_ROLES,
    "automotive-endpoint": _FIXED_ROLES,
    "g8275.1": {"dataset_comparison"},
    "g8275.2": {"dataset_comparison", "interface_rate_tlv"},
    "power": {"power_profile.version"},
    "power-2011": {"power_profile.version"},
}  # fmt: skip
"""What a profile says by its name."""
