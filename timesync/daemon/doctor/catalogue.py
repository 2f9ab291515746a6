"""Every check by its id: what it asks, what the answers mean, and what mends it in general.

Ids are for ever: people look for them, and scripts compare them. A check that goes away leaves its number unused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One check.

    Attributes:
        question: What is looked at.
        fine: What it means when all is well, in one sentence.
        wrong: What it means when not, in one sentence.
        mend: What mends it; the finding itself has the exact command.
    """

    question: str
    fine: str
    wrong: str
    mend: str


GROUPS = {
    "CFG": "Configuration",
    "SER": "Serial receiver",
    "PPS": "Pulses",
    "GPD": "gpsd",
    "PHC": "PTP hardware clocks",
    "CLK": "The system clock",
    "NET": "Network",
    "SYS": "Files and the machine",
    "RUN": "The running daemon",
}
"""Titles of the groups, by the middle part of the id."""

CATALOGUE: dict[str, Entry] = {
    "TS-CFG-001": Entry(
        "Is the configuration free of errors?",
        "The configuration can be used.",
        "The daemon does not start with this configuration.",
        "`timesync check FILE` shows each error with its line; correct them, and run the doctor again.",
    ),
    "TS-CFG-002": Entry(
        "Are the Python packages there that this configuration needs?",
        "All that the configuration needs is installed.",
        "A part of the configuration cannot work without a package that is not installed.",
        "Install the package into the environment of timesync, as the finding says.",
    ),
    "TS-CFG-003": Entry(
        "Is there the user that the service runs as?",
        "The user is there.",
        "systemd cannot start the service (status 217/USER), and what its user may do cannot be looked at.",
        "Make the user, as the finding says, or name another one in `User=` of the unit.",
    ),
    "TS-SER-001": Entry(
        "Is the serial line free of the kernel's console?",
        "The kernel does not write on this line.",
        "The kernel writes its messages on this line, and what the receiver sends is mixed with them.",
        "Take its `console=` out of the kernel's command line (on a Raspberry Pi `cmdline.txt`), and reboot.",
    ),
    "TS-SER-002": Entry(
        "Is the serial line free of a login prompt?",
        "No login prompt waits on this line.",
        "A login prompt reads this line: it eats what the receiver sends, and answers it.",
        "`sudo systemctl disable --now serial-getty@NAME.service`",
    ),
    "TS-SER-003": Entry(
        "Is the serial line free of Bluetooth?",
        "Bluetooth does not use this line.",
        "Bluetooth has the good serial port of the board; for the receiver none is left, or one of unsteady speed.",
        "`dtoverlay=disable-bt` in `config.txt`, `sudo systemctl disable --now hciuart`, and reboot.",
    ),
    "TS-SER-004": Entry(
        "Is the serial port there?",
        "The device is there.",
        "There is no such device: the receiver is not plugged in, has another name, or its port is switched off.",
        "Name the port that is there; on a Raspberry Pi `enable_uart=1` in `config.txt` switches its own one on.",
    ),
    "TS-SER-005": Entry(
        "May the service open the serial port?",
        "The user that the service runs as may open it.",
        "The user that the service runs as may not open this device.",
        "Add the user to the group of the device (often `dialout`), and restart the service.",
    ),
    "TS-SER-006": Entry(
        "Has another program opened the serial port?",
        "Nobody else has it open.",
        "Another program reads this line: each byte goes to one of the two, and both see garbage.",
        "End the other program; or let gpsd have the port, and write `gpsd: localhost:2947` instead of `nmea:`.",
    ),
    "TS-SER-007": Entry(
        "Will another program open the serial port later?",
        "No program is set up to open it.",
        "Another program is set up to open this port, at the next start or when somebody asks it.",
        "Disable `gpsd.socket`, or take the device out of `/etc/default/gpsd`; tell ModemManager to leave the device.",
    ),
    "TS-SER-008": Entry(
        "Does the receiver send anything?",
        "Bytes arrive.",
        "The line is silent: the receiver has no power, its TX is not wired to our RX, or it is on another port.",
        "Check the wires (TX of the receiver to RX of the board) and the power of the receiver.",
    ),
    "TS-SER-009": Entry(
        "Can what the receiver sends be read, and at which speed?",
        "Valid messages arrive at the configured speed.",
        "No valid NMEA or UBX message arrives at the configured speed.",
        "Write `baud: auto`, or the speed that the finding names.",
    ),
    "TS-SER-010": Entry(
        "Has the receiver a fix?",
        "The receiver knows the time from satellites.",
        "The receiver has no fix yet: its time is not used, and most receivers give no pulse until then.",
        "Give the antenna a free view of the sky, and wait: a cold start takes up to 15 minutes.",
    ),
    "TS-SER-011": Entry(
        "Is the date of the receiver possible?",
        "The date that it tells is possible.",
        "The receiver is on a wrong week, as old receivers are after a rollover of the GPS week number.",
        "Update the firmware of the receiver. The daemon adds the missing weeks by itself meanwhile.",
    ),
    "TS-SER-012": Entry(
        "How long after the second do messages come?",
        "Messages come early enough to number pulses.",
        "Messages come so late that it is nearly open which second they are about: pulses may be numbered wrongly.",
        "Raise the speed of the line, switch sentences off (RMC alone is enough), or give a fixed `delay`.",
    ),
    "TS-PPS-001": Entry(
        "Is the overlay for pulses on a pin in the file that the firmware reads?",
        "The firmware is told on which pin the pulses come.",
        "The firmware is not told on which pin the pulses come, so there is no PPS device.",
        "`dtoverlay=pps-gpio,gpiopin=18` (or the pin of the hat) in `/boot/firmware/config.txt`, and reboot.",
    ),
    "TS-PPS-002": Entry(
        "Is the kernel's command line free of old PPS options?",
        "There is no old option.",
        "An option of kernels before 2015 is still given; it does nothing, or takes the pin away from the overlay.",
        "Take `bcm2708.pps_gpio_pin=` out of `cmdline.txt`, and reboot.",
    ),
    "TS-PPS-003": Entry(
        "Is the PPS device there?",
        "The device is there.",
        "There is no such device, so no pulse can be seen.",
        "Add the overlay or load the module, as the finding says.",
    ),
    "TS-PPS-004": Entry(
        "May the service open the PPS device?",
        "The user that the service runs as may open it.",
        "The user that the service runs as may not open this device.",
        "A udev rule that gives the device to the group of the service.",
    ),
    "TS-PPS-005": Entry(
        "Does the device see the edge that is configured?",
        "The device captures the configured edge of real pulses.",
        "The device does not capture the configured edge, or its pulses are not of a receiver.",
        "Choose the other edge, or the other device.",
    ),
    "TS-PPS-006": Entry(
        "Do pulses come?",
        "Pulses come.",
        "No pulse came: the receiver has no fix yet, the wire is on another pin, or the receiver's pulse is off.",
        "Wait for the fix; then compare the wire with `gpiopin`, and the pulse settings of the receiver.",
    ),
    "TS-PPS-007": Entry(
        "Does one pulse come each second?",
        "One pulse comes each second.",
        "The edges are not one a second: the receiver is set to another rate, or the line picks up noise.",
        "Set the receiver's time pulse to 1 Hz; use short, shielded wires and a common ground.",
    ),
    "TS-PPS-008": Entry(
        "Is the configured edge the one that marks the second?",
        "The configured edge begins the pulse.",
        "The pulse seems to be upside down: what is configured is its end, which marks no second.",
        "Write the other `edge:`.",
    ),
    "TS-GPD-001": Entry(
        "Does gpsd answer?",
        "gpsd answers.",
        "gpsd does not answer, so nothing is heard of the receiver.",
        "`sudo systemctl enable --now gpsd.socket`, or correct the address in the configuration.",
    ),
    "TS-GPD-002": Entry(
        "Is this gpsd fit for timing?",
        "Its release has no known fault in its time.",
        "This release of gpsd has a known fault that moves the date by 1024 weeks, or speaks an unknown protocol.",
        "Install gpsd 3.23 or later.",
    ),
    "TS-GPD-003": Entry(
        "Has gpsd the receiver?",
        "gpsd has the receiver.",
        "gpsd runs, but does not have the receiver.",
        'Name it in `/etc/default/gpsd` (`DEVICES="/dev/ttyAMA0"`, `GPSD_OPTIONS="-n"`), and restart gpsd.',
    ),
    "TS-GPD-004": Entry(
        "Does gpsd report what the receiver says?",
        "Reports of the time come.",
        "gpsd sends no report of time, so it does not understand what the receiver says, or hears nothing.",
        "Look at the receiver with `gpsmon` or `cgps`; give gpsd the speed of the line (`-s 9600`).",
    ),
    "TS-GPD-005": Entry(
        "Does gpsd tell when messages and pulses came?",
        "gpsd tells when messages came.",
        "gpsd does not tell when messages came (TOFF), so the time is known as well as the network delivers it.",
        "Run gpsd on this machine, and give it the serial device itself, not another gpsd or a file.",
    ),
    "TS-GPD-006": Entry(
        "Has gpsd's receiver a fix?",
        "The receiver knows the time from satellites.",
        "The receiver has no fix yet: its time is not used, and most receivers give no pulse until then.",
        "Give the antenna a free view of the sky, and wait: a cold start takes up to 15 minutes.",
    ),
    "TS-GPD-007": Entry(
        "How long after the second do messages come to gpsd?",
        "Messages come early enough to number pulses.",
        "Messages come so late that it is nearly open which second they are about: pulses may be numbered wrongly.",
        "Raise the speed of the line, switch sentences off (RMC alone is enough), or give a fixed `delay`.",
    ),
    "TS-PHC-001": Entry(
        "Is the PTP hardware clock there?",
        "The hardware clock is there.",
        "There is no such hardware clock: the interface is missing, or its card or driver has none.",
        "Name an interface that has one; `ls /sys/class/ptp` lists them.",
    ),
    "TS-PHC-002": Entry(
        "May the service open the hardware clock?",
        "The user that the service runs as may open it.",
        "The user that the service runs as may not open this device.",
        "A udev rule that gives `/dev/ptpN` to the group of the service.",
    ),
    "TS-PHC-003": Entry(
        "Can the hardware clock do what is asked of it?",
        "It has the channels, pins and adjustments that the configuration asks for.",
        "The configuration asks for something that this hardware clock cannot do.",
        "Choose a channel or a pin that it has, or `discipline: false`.",
    ),
    "TS-PHC-004": Entry(
        "Who else steers the hardware clock?",
        "Nobody else steers it.",
        "Two programs would steer one clock, and each takes the other's work for a fault of the clock.",
        "End the other program, or write `discipline: false` for this clock.",
    ),
    "TS-PHC-005": Entry(
        "Can the card stamp packets?",
        "The card stamps packets of both directions.",
        "The card cannot stamp packets of NTP, so hardware timestamps cannot be used here.",
        "Use another card, NTP over PTP (`transport: ptp`) if it stamps that, or `timestamping: auto`.",
    ),
    "TS-PHC-006": Entry(
        "What time does the hardware clock hold?",
        "It holds what the configuration says.",
        "It does not hold what the configuration says: whoever believes it is wrong by the difference.",
        "Write the `timescale` that it holds; or set the clock right.",
    ),
    "TS-CLK-001": Entry(
        "Does another program steer the system clock now?",
        "No other program steers it.",
        "Two programs would steer one clock, and each takes the other's work for a fault of the clock.",
        "End and disable the other program, or write `discipline: false` for the system clock.",
    ),
    "TS-CLK-002": Entry(
        "Will another program steer the system clock after the next start?",
        "None is set up to start.",
        "Another time daemon starts with the machine, and would fight over the clock then.",
        "`sudo systemctl disable UNIT`",
    ),
    "TS-CLK-003": Entry(
        "May the daemon set clocks?",
        "It may set clocks.",
        "Without CAP_SYS_TIME no clock can be set or steered.",
        "Run it as root or by its systemd unit; in a container add the capability SYS_TIME.",
    ),
    "TS-CLK-004": Entry(
        "What does the kernel count time with?",
        "The kernel counts time with a good counter.",
        "The kernel counts time with a slow or coarse counter, which makes every timestamp worse.",
        "Look for `clocksource` in the kernel's log; a BIOS update or `tsc=reliable` may help.",
    ),
    "TS-CLK-005": Entry(
        "Is this a real machine?",
        "It is fit for the task.",
        "In a virtual machine the clock jumps when the machine is paused or moved, and pulses come late.",
        "Steer the clock of the host instead, and give the guest a PTP clock (`/dev/ptp0` of ptp_kvm) as a source.",
    ),
    "TS-NET-001": Entry(
        "Is the port of the server free?",
        "The addresses to serve on are free, or ours already.",
        "The server cannot open its address: somebody else has it, it is not of this machine, or may not be opened.",
        "End the other server, correct `serve.ntp.listen`, or run with CAP_NET_BIND_SERVICE.",
    ),
    "TS-NET-002": Entry(
        "Can the names of the servers be looked up?",
        "The name has addresses.",
        "The name has no address, or the name server does not answer.",
        "Correct the name, or `/etc/resolv.conf`; an address works without a name server.",
    ),
    "TS-NET-003": Entry(
        "Does the NTP server answer?",
        "It answers, and its answer can be used.",
        "It does not answer, or its answer cannot be used.",
        "Let UDP port 123 pass the firewall, or name another server; `timesync query HOST` shows more.",
    ),
    "TS-SYS-001": Entry(
        "Is the list of leap seconds still valid?",
        "Leap seconds are known for months ahead.",
        "The list of leap seconds has expired or soon will; a new leap second would be missed.",
        "`sudo apt-get install --only-upgrade tzdata`, or name a newer file in `leap.file`.",
    ),
    "TS-SYS-002": Entry(
        "Can the state directory be written?",
        "What is learnt of the clocks can be kept.",
        "What is learnt of the clocks is lost at each restart.",
        "Make the directory and give it to the user of the service.",
    ),
    "TS-SYS-003": Entry(
        "Can the control socket be made?",
        "The control socket can be made.",
        "`timesync status` and its like will not work.",
        "Make the directory of the socket and give it to the user of the service, or set `observe.control`.",
    ),
    "TS-SYS-004": Entry(
        "Can sockets and shared memory of other programs be used?",
        "They can be used.",
        "Samples cannot be exchanged with the other program.",
        "Give both programs access, and start the other one.",
    ),
    "TS-SYS-005": Entry(
        "Can the thermometer be read?",
        "The thermometer can be read.",
        "The thermometer cannot be read, so holdover does without the temperature.",
        "Name another file: `grep . /sys/class/hwmon/hwmon*/temp*_input` lists them.",
    ),
    "TS-SYS-006": Entry(
        "Can the kernel keep files from the processes that serve and show?",
        "They can open the program's own files, and no others.",
        "They can open whatever their user can, so one that was broken into could read keys of that user.",
        "Put `landlock` into `lsm=` of the kernel's command line (`cat /sys/kernel/security/lsm` shows what is in it), "
        "or use Linux 5.13 or newer that was built with it.",
    ),
    "TS-RUN-001": Entry(
        "Does the daemon run?",
        "The daemon runs.",
        "The daemon does not run, or does not answer.",
        "`timesync run -c FILE`; when it does not answer, look at its log.",
    ),
    "TS-RUN-002": Entry(
        "Does the running daemon use its sources?",
        "The daemon uses the source.",
        "The daemon does not use the source.",
        "The finding has the daemon's own reason; `timesync why SOURCE` has more.",
    ),
    "TS-RUN-003": Entry(
        "Has the running daemon a warning?",
        "It has none.",
        "The daemon itself warns.",
        "As its words say.",
    ),
    "TS-RUN-004": Entry(
        "Did every check come to its end?",
        "All checks came to their end.",
        "A check did not come to its end in time: a device or a name server keeps it waiting.",
        "Run the doctor again; if it stays so, unplug the device that the check is about.",
    ),
}


def markdown() -> Iterator[str]:
    """The reference part of ``docs/how-to/doctor.md``, line by line."""
    for group, title in GROUPS.items():
        yield from (f"## {title}", "")
        for check, entry in CATALOGUE.items():
            if check.split("-")[1] == group:
                yield from (f"### {check}", "", entry.question, "")
                yield from (f"- Trouble: {entry.wrong}", f"- What mends it: {entry.mend}", "")
