"""The manual page timesync.yaml(5), from the schema."""

from __future__ import annotations

from timesync.config import roff
from timesync.config.load import DEFAULT_FILE
from timesync.config.reference import QUANTITIES, Key, sections

EXAMPLE = [
    "profile: ntp-client",
    "sources:",
    "  - ntp: ntp1.example.org",
    "    nts: true",
    "  - pool: pool.ntp.org",
    "observe:",
    "  ready: synchronized",
]


def page() -> str:
    """The whole page, as roff."""
    parts = [
        roff.title("timesync.yaml", 5, "File Formats"),
        roff.heading("NAME"),
        "timesync.yaml \\- configuration of the time service timesync",
        roff.heading("SYNOPSIS"),
        roff.line(f"`{DEFAULT_FILE}`"),
        roff.heading("DESCRIPTION"),
        roff.first(
            "The clocks of this machine, what they are compared with, how they are steered, and what is served."
        ),
        roff.paragraph(QUANTITIES),
        roff.paragraph(
            "`profile` names a configuration to start from (`timesync profiles` lists them): own keys win, lists "
            "replace, mappings merge. A relative path is relative to the file. SIGHUP (`systemctl reload timesync`) "
            "reads the file again; a bad one is refused and the old one stays in force."
        ),
    ]
    for section in sections():
        parts.append(roff.heading(section.path or "THE FILE"))
        parts.append(roff.first(section.meaning))
        parts += [_entry(key) for key in section.keys]
    parts += [
        roff.heading("EXAMPLES"),
        roff.first("Servers of one's own, one of them authenticated, and the public pool beside it:"),
        roff.verbatim(EXAMPLE),
        roff.heading("SEE ALSO"),
        "\\fBtimesync\\fP(1), \\fBsystemd.unit\\fP(5)",
    ]
    return "\n".join(parts) + "\n"


def _entry(key: Key) -> str:
    default = "" if not key.default or key.default == "required" else f" Default: {key.default}."
    required = " Required." if key.default == "required" else ""
    return roff.entry(key.name, f"{key.kind[:1].upper()}{key.kind[1:]}.{required}{default}", key.meaning)
