"""How the schema reads the names of time hardware: serial ports, pulses, PTP hardware clocks, gpsd."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic.json_schema import JsonSchemaValue

from timesync.base.time import Duration
from timesync.config import quantity
from timesync.config.address import AddressError, HostPort, parse_host_port
from timesync.config.amounts import Span
from timesync.config.fields import CLOCK_NAME, Path
from timesync.config.written import Written, refusal

GPSD_PORT = 2947
"""Assigned by IANA to gpsd."""
BAUDS = (4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
"""The speeds of serial receivers, in bits per second."""

_SCHEME = "gpsd://"
# The kernel's own rule (net/core/dev.c, dev_valid_name) is wider; systemd and iproute2 make no other names.
INTERFACE = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gpsd:
    """Where a gpsd listens, and which of its receivers is meant.

    Attributes:
        server: Host and TCP port.
        device: The receiver's path as gpsd names it; None: whichever it has.
    """

    server: HostPort
    device: str | None = None

    def __str__(self) -> str:
        server = self.server.host if self.server.port == GPSD_PORT else str(self.server)
        if self.server.port == GPSD_PORT and ":" in server:
            server = f"[{server}]"
        return f"{_SCHEME}{server}{self.device or ''}"


def parse_gpsd(text: str) -> Gpsd:
    """``host``, ``host:port`` or ``gpsd://host:port/dev/ttyAMA0``; the default port is 2947. Raises AddressError."""
    if not text.startswith(_SCHEME):
        if "/" in text:
            suggestion = f"{_SCHEME}{'localhost' if text.startswith('/') else ''}{text}" if len(text) <= 60 else None
            raise AddressError("a receiver of gpsd is written gpsd://host/dev/ttyAMA0", suggestion)
        return Gpsd(parse_host_port(text, GPSD_PORT))
    server, slash, device = text.removeprefix(_SCHEME).partition("/")
    if not device.isprintable() or len(device) > 255:
        raise AddressError("the path of the receiver is not printable, or longer than 255 characters")
    return Gpsd(parse_host_port(server, GPSD_PORT), slash + device if device else None)


@dataclass(frozen=True, slots=True)
class GpsdAddress(Written):
    """A gpsd, or one receiver of a gpsd."""

    def parse(self, value: object) -> Gpsd:
        """See ``Written``."""
        if isinstance(value, Gpsd):
            return value
        if not isinstance(value, str):
            raise refusal("expected where gpsd listens, such as localhost:2947 or gpsd://localhost/dev/ttyAMA0")
        try:
            return parse_gpsd(value)
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 525}

    def describe(self) -> str:
        """See ``Written``."""
        return "host[:port] or gpsd://host[:port]/device"


@dataclass(frozen=True, slots=True)
class Device(Written):
    """The path of a device file; relative ones with a slash were made absolute by the loader.

    Attributes:
        example: One, for messages.
    """

    example: str

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if isinstance(value, str) and value and "/" not in value:
            suggestion = f"/dev/{value}" if len(value) <= 30 else None
            raise refusal(f"a device is a path such as {self.example}", suggestion)
        return Path().parse(value)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "/", "maxLength": 4095}

    def describe(self) -> str:
        """See ``Written``."""
        return "path of a device"


@dataclass(frozen=True, slots=True)
class PulseDevice(Written):
    """A PPS device of the kernel by its path, or a PTP hardware clock by its name in ``clocks``."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if isinstance(value, str) and CLOCK_NAME.fullmatch(value):
            return value
        if not isinstance(value, str) or "/" not in value:
            raise refusal("expected a device such as /dev/pps0, or the name of a clock that has phc:")
        return Path().parse(value)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "/|^[A-Za-z][A-Za-z0-9_.-]{0,31}$", "maxLength": 4095}

    def describe(self) -> str:
        """See ``Written``."""
        return "path of a device or name of a clock"


@dataclass(frozen=True, slots=True)
class PhcDevice(Written):
    """A PTP hardware clock by the interface that has it, or by its path."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if isinstance(value, str) and "/" in value:
            return Path().parse(value)
        if not isinstance(value, str) or not INTERFACE.fullmatch(value):
            raise refusal("expected a network interface such as eth0, or a device such as /dev/ptp0")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "/|^[A-Za-z0-9_.-]{1,15}$", "maxLength": 4095}

    def describe(self) -> str:
        """See ``Written``."""
        return "interface or path of a device"


@dataclass(frozen=True, slots=True)
class AutoBaud(Written):
    """The speed of a serial port, or ``auto``, which becomes None."""

    def parse(self, value: object) -> int | None:
        """See ``Written``."""
        if value is None or value == "auto":
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(f"expected auto or one of {_bauds()}")
        if value not in BAUDS:
            near = min(BAUDS, key=lambda baud: abs(baud - value))
            raise refusal(f"{str(value)[:20]} is none of {_bauds()}", str(near))
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"enum": ["auto", *BAUDS]}

    def describe(self) -> str:
        """See ``Written``."""
        return f"auto, or one of {_bauds()}"


@dataclass(frozen=True, slots=True)
class AutoSpan(Written):
    """A duration within bounds, or ``auto``, which becomes None."""

    least: str
    most: str

    def parse(self, value: object) -> Duration | None:
        """See ``Written``."""
        return None if value is None or value == "auto" else Span(self.least, self.most).parse(value)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"anyOf": [{"const": "auto"}, {"type": "string", "pattern": quantity.DURATION_PATTERN}]}

    def describe(self) -> str:
        """See ``Written``."""
        return f"auto, or a duration, {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Title(Written):
    """What a source is called."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not 1 <= len(value) <= 40 or not value.isprintable() or value != value.strip():
            raise refusal("a name is 1 to 40 printable characters, without a space at either end")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 40}

    def describe(self) -> str:
        """See ``Written``."""
        return "text, 1 to 40 characters"


def _bauds() -> str:
    return ", ".join(map(str, BAUDS))
