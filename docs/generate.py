"""Writes the generated pages of the documentation; with --check, tells whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from timesync.config.reference import markdown as configuration
from timesync.observe.metrics.page import markdown as metrics
from timesync.ptp.nodes.page import markdown as ptp_findings
from timesync.ptp.states_page import markdown as port_states

REFERENCE = Path(__file__).parent / "reference"
PAGES = {
    REFERENCE / "configuration.md": configuration,
    REFERENCE / "metrics.md": metrics,
    REFERENCE / "ptp-findings.md": ptp_findings,
    REFERENCE / "ptp-port-states.md": port_states,
}


def main(arguments: list[str]) -> int:
    """0 when all is well, 1 when a page is out of date, 2 for an unknown argument."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    stale = [page for page, make in PAGES.items() if not page.exists() or page.read_text("utf-8") != make()]
    for page in stale:
        if arguments:
            sys.stderr.write(f"{page} is out of date; run python docs/generate.py\n")
        else:
            page.write_text(PAGES[page](), "utf-8")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
