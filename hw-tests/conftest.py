"""Prints the figures that tests record."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures, also of tests that ran in other processes."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [(report.nodeid, *figure) for report in reports for figure in report.user_properties]
    if lines:
        terminalreporter.section("figures")
    for test, name, value in lines:
        terminalreporter.write_line(f"{test.rpartition('::')[2]}: {name}: {value}")
