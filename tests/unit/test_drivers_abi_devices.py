"""PTP, PPS and ethtool layouts and numbers, against the kernel's headers through a small C program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from timesync_drivers import abi
from timesync_drivers.cross import CrossReading, parse_extended, parse_plain, parse_precise
from timesync_drivers.nic import Stamping, parse_ts_info
from timesync_drivers.phc import (
    ExternalStamp,
    PhcCapabilities,
    PhcPin,
    PinFunction,
    clock_id,
    parse_capabilities,
    parse_events,
    parse_fifo,
    parse_pin,
)
from timesync_drivers.pps import PpsEdge, PpsEdges, parse_fdata

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")

HEADERS = """
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <linux/ethtool.h>
#include <linux/net_tstamp.h>
#include <linux/pps.h>
#include <linux/ptp_clock.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/timex.h>
#ifndef PTP_MASK_EN_SINGLE /* from Linux 6.7 on */
#define PTP_MASK_EN_SINGLE _IOW(PTP_CLK_MAGIC, 20, unsigned int)
#endif
"""
NUMBERS = [
    name
    for name, value in vars(abi).items()
    if name.startswith(("PTP_", "PPS_", "HWTSTAMP_", "SOF_")) and isinstance(value, int)
]
OWN_NAMES = {
    "PTP_SYS_OFFSET_SIZE": "sizeof(struct ptp_sys_offset)",
    "PTP_SYS_OFFSET_EXTENDED_SIZE": "sizeof(struct ptp_sys_offset_extended)",
}
SIZES = {
    "PTP_CLOCK_TIME": "struct ptp_clock_time",
    "PTP_CLOCK_CAPS": "struct ptp_clock_caps",
    "PTP_EXTTS_REQUEST_BODY": "struct ptp_extts_request",
    "PTP_EXTTS_EVENT": "struct ptp_extts_event",
    "PTP_PEROUT_REQUEST_BODY": "struct ptp_perout_request",
    "PTP_PIN_DESC": "struct ptp_pin_desc",
    "PTP_SYS_OFFSET_PRECISE_BODY": "struct ptp_sys_offset_precise",
    "PPS_KPARAMS": "struct pps_kparams",
    "PPS_FDATA": "struct pps_fdata",
    "ETHTOOL_TS_INFO": "struct ethtool_ts_info",
    "IFREQ_POINTER": "struct ifreq",
    "HWTSTAMP_CONFIG": "struct hwtstamp_config",
    "SCM_TS_PKTINFO": "struct scm_ts_pktinfo",
}


@pytest.fixture
def run_c(tmp_path: Path) -> Callable[[str], bytes]:
    """Compiles the body of a ``main`` and gives what it writes."""

    def run(body: str) -> bytes:
        source, program = tmp_path / "probe.c", tmp_path / "probe"
        source.write_text(f"{HEADERS}\nint main(void) {{\n{body}\nreturn 0; }}\n")
        subprocess.run(["cc", "-Wall", "-Werror", "-o", program, source], check=True, capture_output=True)
        return subprocess.run([program], check=True, capture_output=True).stdout

    return run


def _filled(struct: str, *assignments: str) -> str:
    """C that fills a structure by the names of its members and writes it out."""
    lines = "\n".join(f"v.{assignment};" for assignment in assignments)
    return f"{struct} v; memset(&v, 0, sizeof v);\n{lines}\nfwrite(&v, sizeof v, 1, stdout);"


def test_every_number_is_that_of_the_headers(run_c: Callable[[str], bytes]) -> None:
    others = ["SIOCETHTOOL", "ETHTOOL_GET_TS_INFO", "SIOCGHWTSTAMP", "SIOCSHWTSTAMP", "SCM_TIMESTAMPING_PKTINFO"]
    names = [*NUMBERS, *others, "ADJ_OFFSET", "ADJ_NANO", "ADJ_SETOFFSET", "ADJ_FREQUENCY"]
    body = "\n".join(f'printf("{name} %lu\\n", (unsigned long)({OWN_NAMES.get(name, name)}));' for name in names)
    lines = run_c(body).decode().splitlines()
    assert {name: int(number) for name, number in map(str.split, lines)} == {name: getattr(abi, name) for name in names}


def test_every_layout_has_the_size_of_its_structure(run_c: Callable[[str], bytes]) -> None:
    body = "\n".join(f'printf("{name} %zu\\n", sizeof({struct}));' for name, struct in SIZES.items())
    lines = run_c(body).decode().splitlines()
    assert {name: int(size) for name, size in map(str.split, lines)} == {
        name: getattr(abi, name).size for name in SIZES
    }


def test_capabilities(run_c: Callable[[str], bytes]) -> None:
    data = run_c(
        _filled(
            "struct ptp_clock_caps",
            "max_adj = 62499999",
            "n_alarm = 9",
            "n_ext_ts = 2",
            "n_per_out = 3",
            "pps = 1",
            "n_pins = 4",
            "cross_timestamping = 1",
            "adjust_phase = 1",
        )
    )
    assert parse_capabilities(data) == PhcCapabilities(62_499_999, 2, 3, 4, True, True, True, 0)


def test_a_pin(run_c: Callable[[str], bytes]) -> None:
    data = run_c(_filled("struct ptp_pin_desc", "name[0] = 'S'", "index = 3", "func = PTP_PF_PEROUT", "chan = 1"))
    assert parse_pin(data) == PhcPin(3, "S", PinFunction.PEROUT, 1)


def test_a_pin_with_a_function_of_a_later_kernel_is_an_os_error(run_c: Callable[[str], bytes]) -> None:
    with pytest.raises(OSError, match="unknown function 77"):
        parse_pin(run_c(_filled("struct ptp_pin_desc", "func = 77")))


def test_events(run_c: Callable[[str], bytes]) -> None:
    first = _filled("struct ptp_extts_event", "t.sec = 1800000000LL", "t.nsec = 999999999", "index = 1")
    second = "v.t.sec++; v.t.nsec = 5; v.index = 0; fwrite(&v, sizeof v, 1, stdout);"
    assert parse_events(run_c(first + second)) == [
        ExternalStamp(1, 1_800_000_000_999_999_999),
        ExternalStamp(0, 1_800_000_001_000_000_005),
    ]


def test_an_event_as_sysfs_has_it(run_c: Callable[[str], bytes]) -> None:
    """By the format of extts_fifo_show in drivers/ptp/ptp_sysfs.c."""
    line = run_c('printf("%u %lld %u\\n", 1u, 1800000000LL, 5u);')
    assert parse_fifo(line) == ExternalStamp(1, 1_800_000_000_000_000_005)
    assert [None, None] == [parse_fifo(b""), parse_fifo(b"\0")]
    with pytest.raises(OSError, match="a line b'1 2'"):
        parse_fifo(b"1 2")


def test_requests_are_what_the_kernel_will_read(run_c: Callable[[str], bytes]) -> None:
    extts = _filled("struct ptp_extts_request", "index = 2", "flags = PTP_ENABLE_FEATURE | PTP_RISING_EDGE")
    perout = _filled(
        "struct ptp_perout_request",
        "start.sec = 7",
        "start.nsec = 8",
        "period.sec = 1",
        "index = 3",
        "flags = PTP_PEROUT_DUTY_CYCLE",
        "on.nsec = 100000000",
    )
    assert run_c(extts) == abi.PTP_EXTTS_REQUEST_BODY.pack(2, 3)
    assert run_c(perout) == abi.PTP_PEROUT_REQUEST_BODY.pack(7, 8, 1, 0, 3, 2, 0, 100_000_000)


def test_a_precise_reading(run_c: Callable[[str], bytes]) -> None:
    data = run_c(
        _filled(
            "struct ptp_sys_offset_precise",
            "device.sec = 1800000037LL",
            "device.nsec = 1",
            "sys_realtime.sec = 1800000000LL",
            "sys_realtime.nsec = 2",
            "sys_monoraw.sec = 99",
        )
    )
    assert parse_precise(data) == CrossReading(1_800_000_037_000_000_001, 1_800_000_000_000_000_002, 0, "precise")


def test_of_extended_samples_the_tightest_is_taken(run_c: Callable[[str], bytes]) -> None:
    sample = "v.ts[{0}][0].sec = 100; v.ts[{0}][0].nsec = {1}; v.ts[{0}][1].sec = -2; v.ts[{0}][1].nsec = {0};"
    sample += "v.ts[{0}][2].sec = 100; v.ts[{0}][2].nsec = {2};"
    samples = [(1000, 4000), (5000, 5701), (9000, 8000)]  # in the last one the system clock went back
    body = "struct ptp_sys_offset_extended v; memset(&v, 0, sizeof v); v.n_samples = 3;"
    body += "".join(sample.format(index, *window) for index, window in enumerate(samples))
    data = run_c(f"{body} fwrite(&v, sizeof v, 1, stdout);")
    # The sign of the seconds is that of the whole, the nanoseconds are added (linux/ptp_clock.h).
    assert parse_extended(data) == CrossReading(-2_000_000_000 + 1, 100_000_005_350, 351, "extended")


def test_of_plain_samples_the_tightest_is_taken(run_c: Callable[[str], bytes]) -> None:
    times = [10, 500, 30, 600, 34, 700, 60]  # system, device, system, device, system, device, system
    body = "struct ptp_sys_offset v; memset(&v, 0, sizeof v); v.n_samples = 3;"
    body += "".join(f"v.ts[{index}].sec = 5; v.ts[{index}].nsec = {ns};" for index, ns in enumerate(times))
    data = run_c(f"{body} fwrite(&v, sizeof v, 1, stdout);")
    assert parse_plain(data) == CrossReading(5_000_000_600, 5_000_000_032, 2, "plain")


def test_a_fetched_pulse(run_c: Callable[[str], bytes]) -> None:
    data = run_c(
        _filled(
            "struct pps_fdata",
            "info.assert_sequence = 4294967295U",
            "info.clear_sequence = 7",
            "info.assert_tu.sec = 1800000000LL",
            "info.assert_tu.nsec = 123",
            "info.clear_tu.sec = 1800000000LL",
            "info.clear_tu.nsec = 100000456",
            "info.current_mode = -1",
            "timeout.sec = 3",
        )
    )
    asserted = PpsEdge(1_800_000_000_000_000_123, 4_294_967_295)
    assert parse_fdata(data) == PpsEdges(asserted, PpsEdge(1_800_000_000_100_000_456, 7))


def test_the_time_out_and_the_parameters_lie_where_the_kernel_reads_them(run_c: Callable[[str], bytes]) -> None:
    fdata = _filled("struct pps_fdata", "timeout.sec = 3", "timeout.nsec = 4", "timeout.flags = PPS_TIME_INVALID")
    assert run_c(fdata) == abi.PPS_FDATA.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 1)
    params = _filled("struct pps_kparams", "api_version = 1", "mode = 0x1003", "clear_off_tu.nsec = -5")
    assert run_c(params) == abi.PPS_KPARAMS.pack(1, 0x1003, 0, 0, 0, 0, -5, 0)


@pytest.mark.parametrize(("index", "expected"), [(3, 3), (0, 0), (-1, None)])
def test_the_clock_of_an_interface(run_c: Callable[[str], bytes], index: int, expected: int | None) -> None:
    data = run_c(_filled("struct ethtool_ts_info", f"phc_index = {index}", "tx_types = 255", "rx_filters = 7"))
    assert parse_ts_info(data) == Stamping(0, expected, 255, 7)


def test_the_setting_of_a_card(run_c: Callable[[str], bytes]) -> None:
    members = (
        "flags = HWTSTAMP_FLAG_BONDED_PHC_INDEX",
        "tx_type = HWTSTAMP_TX_ON",
        "rx_filter = HWTSTAMP_FILTER_NTP_ALL",
    )
    assert run_c(_filled("struct hwtstamp_config", *members)) == abi.HWTSTAMP_CONFIG.pack(1, 1, 15)


def test_where_a_stamp_was_taken(run_c: Callable[[str], bytes]) -> None:
    body = _filled("struct scm_ts_pktinfo", "if_index = 3", "pkt_length = 90")
    assert run_c(body) == abi.SCM_TS_PKTINFO.pack(3, 90)


def test_the_request_about_an_interface(run_c: Callable[[str], bytes]) -> None:
    body = _filled("struct ifreq", "ifr_name[0] = 'x'", "ifr_data = (void *)0x1234")
    assert run_c(body) == abi.IFREQ_POINTER.pack(b"x", 0x1234)


@pytest.mark.parametrize("file", [0, 3, 1023])
def test_the_dynamic_clock_id_is_that_of_the_kernels_macro(run_c: Callable[[str], bytes], file: int) -> None:
    # FD_TO_CLOCKID in tools/testing/selftests/ptp/testptp.c: CLOCKFD 3 below the inverted descriptor.
    body = f'printf("%d", (int)((~(unsigned int)({file}) << 3) | 3));'
    assert int(run_c(body)) == clock_id(file)
