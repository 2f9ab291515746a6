"""Skips with a reason, or fails where the tests are required; prints the figures that tests record."""

from __future__ import annotations

from typing import Any

import pytest
from interop_ntpd_rs import missing_ntpd_rs
from interop_support import REQUIRED, missing

_MISSING = {"interop": missing, "ntpd_rs": missing_ntpd_rs}


@pytest.fixture(autouse=True)
def _peers_are_there(request: pytest.FixtureRequest) -> None:
    for marker, missed in _MISSING.items():
        reason = missed() if request.node.get_closest_marker(marker) is not None else None
        if reason is not None and REQUIRED:
            pytest.fail(reason)
        if reason is not None:
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures, also of tests that ran in other processes."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [(report.nodeid, *figure) for report in reports for figure in report.user_properties]
    if lines:
        terminalreporter.section("figures")
    for test, name, value in lines:
        terminalreporter.write_line(f"{test.rpartition('::')[2]}: {name}: {value}")
