"""The page of the documentation that explains each judgement of ``timesync ptp nodes``."""

from __future__ import annotations

MEANINGS: dict[str, tuple[str, str]] = {
    "class-255": (
        "An Announce carries clockClass 255, which is that of clocks that only take time.",
        "Take away the priority or the fixed role that makes it give time.",
    ),
    "accuracy": (
        "A clock says that it runs free (clockClass 248), and that it is right to 1 µs or better.",
        "Correct the accuracy that is set by hand; or let the class follow the reference.",
    ),
    "priority1-255": (
        "A gPTP clock announces itself with priority1 255, which means that it cannot be grandmaster.",
        "Give it a priority1 below 255.",
    ),
    "utc-offset": (
        "currentUtcOffset is not TAI - UTC by the table of leap seconds of this machine.",
        "Correct the offset at the grandmaster (ptp4l: `utc_offset`), or update its table of leap seconds.",
    ),
    "leap": (
        "A leap second is announced for the end of the day that the table does not know, or two at once.",
        "Look at the grandmaster's receiver, and at the age of the tables of both.",
    ),
    "time": (
        "The time in Sync or Follow_Up is seconds away from the clock of this machine.",
        "If it is off by TAI - UTC, the grandmaster's hardware clock holds UTC; set it to TAI.",
    ),
    "announce-without-sync": (
        "A port announces itself for five seconds and sends no Sync: others choose it and get no time.",
        "Look for lost transmit stamps in its log; in gPTP its link may not be asCapable.",
    ),
    "sync-without-announce": (
        "A port sends Sync, but nobody can choose it. Not a fault in automotive gPTP, where it is not judged.",
        "Switch Announce on (ptp4l: `inhibit_announce 0`), unless all roles are fixed.",
    ),
    "no-follow-up": (
        "Sync has the twoStepFlag, and a fifth or more of them had no Follow_Up.",
        "Its transmit stamps are lost: look at its log (ptp4l: `tx_timestamp_timeout`).",
    ),
    "follow-up-of-one-step": (
        "Sync has no twoStepFlag, but Follow_Up messages come.",
        "A transparent clock or a fault of the sender turned the flag off; receivers will not use the Follow_Up.",
    ),
    "empty-sync": (
        "One-step Sync messages carry a time of zero.",
        "The card does not write it. Use two-step (ptp4l: `twoStepFlag 1`).",
    ),
    "interval": (
        "Announce or Sync come more often or more seldom than 30 % around the interval that they carry.",
        "The sender is overloaded, or sends through a queue that holds messages back.",
    ),
    "loop": (
        "An Announce goes round: a path with a clock twice, steps that grow, or a stepsRemoved that cannot be.",
        "Find the ring of boundary clocks; set `maxStepsRemoved` and path trace.",
    ),
    "correction": (
        "A correctionField that no transparent clock can have written.",
        "A transparent clock on the way is not synchronised in itself; take its PTP support out.",
    ),
    "delay-unanswered": (
        "Multicast Delay_Req messages had no Delay_Resp while it listened.",
        "The timeTransmitter uses peer delay or unicast, or its messages are kept back by a switch.",
    ),
    "pdelay-unanswered": (
        "Pdelay_Req messages had no answer: the other end of the cable does not measure peer delay.",
        "Use peer delay on both ends, or end-to-end in the whole domain.",
    ),
    "pdelay-many": (
        "Several ports answer one Pdelay_Req, so something between forwards what is for one cable only.",
        "Put a switch there that knows PTP, or use end-to-end.",
    ),
    "unicast-unanswered": (
        "A client asks for unicast transmission and nobody grants or refuses it.",
        "Check the address it asks, the domain, and that its server has unicast switched on.",
    ),
    "unicast-refused": (
        "Each request for unicast transmission was refused.",
        "The server is full, or the interval or duration is not allowed there.",
    ),
    "udp-port": (
        "Event messages to port 320, or others to port 319.",
        "The sender is not conformant; its event messages get no stamps.",
    ),
    "gptp-vlan": (
        "gPTP with a VLAN tag, which IEEE 802.1AS forbids.",
        "Run gPTP on the physical interface, not on that of a VLAN.",
    ),
    "gptp-udp": (
        "majorSdoId 1 over UDP; gPTP is defined over Ethernet only.",
        "Set the transport to Ethernet, or `transportSpecific` to 0.",
    ),
    "two-grandmasters": (
        "Two announce different grandmasters in one domain for longer than one takes to yield to the other.",
        "The worse one does not hear the better one (snooping, VLAN, firewall), or its role is fixed.",
    ),
    "two-transmitters": (
        "Two ports give the time of one grandmaster on one wire; one of them should be passive.",
        "They do not hear each other, or their roles are fixed.",
    ),
    "mixed-delay": (
        "Delay_Req and Pdelay_Req in one domain over one transport.",
        "Choose one mechanism for the domain.",
    ),
    "domain": (
        "A domain that the configuration given by `-c` does not use.",
        "Correct `ptp.domain`, or leave it: domains do not disturb each other.",
    ),
    "duplicate-identity": (
        "One port identity comes from two MAC addresses in turn, or in two domains from two of them.",
        "Two devices with a cloned configuration or MAC address; give one another clockIdentity.",
    ),
    "ptp-v1": (
        "A device speaks PTP version 1 (IEEE 1588-2002), as audio networks do.",
        "Nothing, where version 1 is meant; version 2 does not understand it.",
    ),
    "unreadable": (
        "Packets to the ports or the EtherType of PTP that cannot be read.",
        "The sentence says what is wrong with the first of them.",
    ),
    "flood": (
        "One address sends under more than 64 port identities.",
        "A test program, a fault, or an attack; find the address.",
    ),
    "full": (
        "More talkers than the 1024 that are kept.",
        "Listen closer to the device that is looked for.",
    ),
}
"""By id: when it is found, and what to do."""

_HEAD = """\
# What `timesync ptp nodes` finds wrong

Written by `docs/generate.py` from `timesync/ptp/nodes/page.py`; do not edit.

The ids are those of `findings` in `--json`; they do not change their meaning. A listener hears only what comes by:
that something is missing can also mean that it went another way.
"""


def markdown() -> str:
    """The whole page."""
    lines = [_HEAD, "| id | found when | what to do |", "|---|---|---|"]
    lines += [f"| `{name}` | {when} | {what} |" for name, (when, what) in MEANINGS.items()]
    return "\n".join(lines) + "\n"
