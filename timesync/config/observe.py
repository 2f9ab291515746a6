"""How the appliance is watched, as a user describes it: log, sockets, metrics, page, MQTT and records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.config.address import AddressError, HostPort, parse_host_port
from timesync.config.amounts import Span
from timesync.config.fields import Listen, Networks, Path
from timesync.config.model import Model
from timesync.config.written import Written, refusal

METRICS_PORT = 9975
WEB_PORT = 8080
CHRONYC_PORT = 323
MQTT_PORT = 1883
MQTTS_PORT = 8883

# A level that begins with $ is the broker's own, and no wildcard matches it (MQTT 3.1.1, 4.7.2).
_TOPIC = re.compile(r"[^\x00-\x1f\x7f+#/$][^\x00-\x1f\x7f+#]{0,99}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)


class Shorthand(Model):
    """A section that may be written as one value, that of its key ``main``."""

    main: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, data: Any) -> Any:
        return {cls.main: data} if isinstance(data, str) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Pydantic's hook for JSON Schema: the section, or the one value."""
        section = handler(schema)
        return {"anyOf": [handler.resolve_ref_schema(section)["properties"][cls.main], section]}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """An MQTT broker.

    Attributes:
        remote: Where it listens.
        tls: Whether the connection is encrypted.
    """

    remote: HostPort
    tls: bool

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.remote}"


def parse_broker(text: str) -> BrokerUrl:
    """``mqtt://host[:port]``, or ``mqtts://`` with TLS. Raises AddressError."""
    scheme, found, rest = text.partition("://")
    if not found or scheme not in ("mqtt", "mqtts"):
        raise AddressError("expected the URL of a broker, such as mqtt://localhost:1883, or mqtts:// with TLS")
    if "@" in rest:
        raise AddressError("user and password are not part of the URL; they are a user name and a file apart")
    try:
        remote = parse_host_port(rest.removesuffix("/"), MQTTS_PORT if scheme == "mqtts" else MQTT_PORT)
    except AddressError as error:
        raise AddressError(error.message, error.suggestion and f"{scheme}://{error.suggestion}") from None
    return BrokerUrl(remote, scheme == "mqtts")


@dataclass(frozen=True, slots=True)
class Broker(Written):
    """The URL of an MQTT broker, without user and path."""

    def parse(self, value: object) -> BrokerUrl:
        """See ``Written``."""
        if isinstance(value, BrokerUrl):
            return value
        try:
            return parse_broker(value if isinstance(value, str) else "")
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^mqtts?://"}

    def describe(self) -> str:
        """See ``Written``."""
        return "mqtt:// or mqtts:// and host[:port]"


@dataclass(frozen=True, slots=True)
class Topic(Written):
    """The first part of MQTT topics, or one level of them.

    Attributes:
        level: It is one level, which has no slash in it.
    """

    level: bool = False

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not _TOPIC.fullmatch(value) or value.endswith("/"):
            raise refusal("a topic is text without + and #, without / at its ends and without $ in front")
        if self.level and "/" in value:
            raise refusal("the name is one level of a topic, which has no / in it")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        pattern = "^[^+#/$][^+#/]*$" if self.level else "^[^+#/$]"
        return {"type": "string", "minLength": 1, "maxLength": 100, "pattern": pattern}

    def describe(self) -> str:
        """See ``Written``."""
        return "name" if self.level else "topic"


@dataclass(frozen=True, slots=True)
class Size(Written):
    """An amount of storage in octets, with a decimal unit."""

    least: str
    most: str

    def parse(self, value: object) -> int:
        """See ``Written``."""
        size = _octets(value)
        if size is None:
            raise refusal("expected a size such as 500kB, 64MB or 1GB")
        if not (_octets(self.least) or 0) <= size <= (_octets(self.most) or 0):
            raise refusal(f"{value} is not in {self.least} to {self.most}")
        return size

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^[0-9]+ ?[kMG]B$"}

    def describe(self) -> str:
        """See ``Written``."""
        return f"size, {self.least} to {self.most}"


def _octets(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # a default in code
    found = re.fullmatch(r"([0-9]{1,6}) ?([kMG])B", value, re.ASCII) if isinstance(value, str) else None
    return None if found is None else int(found[1]) * {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}[found[2]]


@dataclass(frozen=True, slots=True)
class WebHost(Written):
    """A name under which the page is asked for."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not _HOST.fullmatch(value):
            raise refusal("expected a host name such as time.example.org, without a port")
        return value.lower()

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 253}

    def describe(self) -> str:
        """See ``Written``."""
        return "host"


class Log(Model):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""
    format: Literal["text", "json"] = "text"
    """One line of text or one JSON object for each event."""


class Metrics(Shorthand):
    """Metrics for Prometheus; or just the address to listen on."""

    main = "listen"

    listen: Annotated[Endpoint, Listen(METRICS_PORT)]
    """Where Prometheus finds them, by HTTP under `/metrics`; the TCP port is 9975 unless given."""
    compat: Annotated[tuple[Literal["chrony", "ntpd-rs", "ptp"], ...], Field(max_length=3)] = ()
    """Other exporters whose names are given too, so that dashboards made for them load."""


ChronycCommand = Literal[
    "activity", "authdata", "clients", "manual", "ntpdata", "rtcdata", "selectdata", "serverstats", "smoothing",
    "sourcename", "sources", "sourcestats", "tracking",
]  # fmt: skip
"""Reports, as chronyc calls them."""

_OPEN_TO_ALL: tuple[ChronycCommand, ...] = (
    "activity", "manual", "rtcdata", "smoothing", "sourcename", "sources", "sourcestats", "tracking",
)  # fmt: skip


class Chronyc(Shorthand):
    """Read-only answers to chronyc and to what speaks its protocol; or just the address to listen on."""

    main = "listen"

    listen: Annotated[Endpoint, Listen(CHRONYC_PORT)] | None = None
    """The UDP port; an address of loopback, unless there is `allow`. 323 is where chronyc asks by itself."""
    socket: Annotated[str, Path(socket=True)] | None = None
    """A Unix socket; chronyc asks at /run/chrony/chronyd.sock by itself."""
    allow: Networks = ()
    """Who apart from this machine may ask at `listen` (chronyd's `cmdallow`)."""
    opencommands: Annotated[tuple[ChronycCommand, ...], Field(max_length=13)] = _OPEN_TO_ALL
    """The reports that those of `allow` may ask for, as in chronyd; this machine's users may ask for all."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.listen is None and self.socket is None:
            raise refusal("needs listen, socket, or both")
        if self.listen is None and self.allow:
            raise refusal("without listen nobody can ask but over the socket", step="allow")
        if "opencommands" in self.model_fields_set and not self.allow:
            raise refusal("has a meaning for those of `allow` only", step="opencommands")
        where = None if self.listen is None else ip_address(self.listen.address)
        if where is not None and where.is_unspecified:
            raise refusal("needs one address, since answers must come from the one that was asked", step="listen")
        if where is not None and not where.is_loopback and not self.allow:
            raise refusal("is no address of loopback; with it, write in `allow` who may ask", step="listen")
        return self


class Web(Shorthand):
    """The web page, for reading only; or just the address to listen on."""

    main = "listen"

    listen: Annotated[Endpoint, Listen(WEB_PORT)]
    """Where; loopback, unless all who reach it may read the page. The TCP port is 8080 unless given."""
    hosts: Annotated[tuple[Annotated[str, WebHost()], ...], Field(max_length=16)] = ()
    """Names under which the page may be asked for, apart from localhost and numeric addresses; others are refused."""


class History(Model):
    """What is kept of the past for plots and reports, in a file of SQLite in the state directory."""

    size: Annotated[int, Size("1MB", "100GB")] = Field("64MB", validate_default=True)
    """The file never grows beyond this: old seconds go first, minutes reach back 30 times as far, hours go last."""
    flush: Annotated[Duration, Span("10s", "1h")] = Field("5min", validate_default=True)
    """How often it is written to; what is newer is lost at a power cut. Seldom spares an SD card."""


class Mqtt(Model):
    """State, sources, ports and events as JSON topics of an MQTT broker."""

    broker: Annotated[BrokerUrl, Broker()]
    """The broker; mqtts:// is TLS. The port is 1883, 8883 with TLS, unless given."""
    topic: Annotated[str, Topic()] = "timesync"
    """The first part of all topics; the appliance's name is the second."""
    name: Annotated[str, Topic(level=True)] | None = None
    """The appliance's name, different from that of all others at this broker; absent: the host's."""
    home_assistant: bool = False
    """Announce the appliance to Home Assistant (MQTT discovery)."""
    discovery_topic: Annotated[str, Topic()] = "homeassistant"
    """Where Home Assistant looks for announcements."""
    interval: Annotated[Duration, Span("1s", "1h")] = Field("10s", validate_default=True)
    """How often the state is published; changes of state are published at once."""
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Who we are for the broker."""
    password_file: Annotated[str, Path()] | None = None
    """A file that holds the password in its first line; others may not read it."""
    ca: Annotated[str, Path()] | None = None
    """With mqtts: a PEM file of certificates to trust instead of the system's."""
    certificate: Annotated[str, Path()] | None = None
    """With mqtts: our own certificate, in PEM form."""
    private_key: Annotated[str, Path()] | None = None
    """With `certificate`: its key, in PEM form, without a passphrase; others may not read it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise refusal("a password needs a username", step="password_file")
        if (self.certificate is None) != (self.private_key is None):
            step = "certificate" if self.private_key is None else "private_key"
            raise refusal("certificate and private_key go together", step=step)
        for step in () if self.broker.tls else ("ca", "certificate"):
            if getattr(self, step) is not None:
                raise refusal("only a connection with TLS has certificates; write mqtts://", step=step)
        return self


class Measurements(Shorthand):
    """Every measurement, in files that are changed in turn; or just the directory."""

    main = "directory"

    directory: Annotated[str, Path()]
    """Where the files are; it is made if it is not there."""
    format: Literal["csv", "jsonl"] = "csv"
    """Comma-separated values, or one JSON object a line."""
    size: Annotated[int, Size("100kB", "10GB")] = Field("50MB", validate_default=True)
    """A file that has grown to this is compressed, and another is begun; so is one at midnight UTC."""
    keep: Annotated[int, Field(ge=1, le=10_000)] = 30
    """So many files are kept; the oldest goes first."""


class Observe(Model):
    """How the daemon is watched."""

    control: Annotated[str, Path(socket=True)] = "/run/timesync/control.sock"
    """The Unix socket that `timesync status` and its like ask; one user has half of its 16 connections at most."""
    state: Annotated[str, Path()] = "/var/lib/timesync"
    """The directory for what must survive a restart: frequency, calibration, history."""
    log: Log = Log()
    ready: Literal["started", "synchronized"] = "started"
    """When systemd is told that the service is ready: at once, or when the served clock is synchronised."""
    metrics: Metrics | None = None
    """Metrics for Prometheus, such as 127.0.0.1:9975; absent: none."""
    chronyc: Chronyc | None = None
    """Read-only answers to chronyc, such as 127.0.0.1:323; absent: none."""
    web: Web | None = None
    """The web page, such as 127.0.0.1:8080; absent: none."""
    history: History = History()
    mqtt: Mqtt | None = None
    """What is told an MQTT broker; absent: nothing."""
    measurements: Measurements | None = None
    """A directory for every measurement; absent: they are not written."""

    @property
    def watched(self) -> bool:
        """Whether anything needs the observer process."""
        return any((self.metrics, self.chronyc, self.web, self.mqtt, self.measurements))
