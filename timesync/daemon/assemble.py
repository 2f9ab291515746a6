"""From what users write to what the core and the protocols read."""

from __future__ import annotations

from collections.abc import Mapping

from timesync.base.ids import ClockId, Endpoint, LinkId, SourceId, reference_id
from timesync.base.time import Duration
from timesync.config.address import NTP_PORT
from timesync.config.csptp import EVENT_PORT
from timesync.config.nts import KE_PORT
from timesync.config.schema import Config, NtpSource, PoolSource
from timesync.host import Clock
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client import ClientSettings
from timesync.ntp.client_interleaved import Interleaved
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.pool import RosterSettings
from timesync.ntp.server import ServerSettings
from timesync.ntp.v5.negotiation import SpeakV5
from timesync.ntp.v5.speech import Speak5
from timesync.servo.command import ClockMemory, ClockSpec, CoreSettings, SourceSpec
from timesync.servo.steering import SteeringSettings
from timesync.wire.ntp5 import VERSION as NTPV5
from timesync.wire.nts_ke import NextProtocol

NtpLike = NtpSource | PoolSource


def core_settings(config: Config, *, initial_step_anything: bool) -> CoreSettings:
    """How the core behaves."""
    steering = config.steering
    return CoreSettings(
        served=ClockId(config.served_clock()),
        steering=SteeringSettings(
            step_threshold_s=steering.step.threshold.s(),
            step_updates=steering.step.updates,
            panic_s=steering.panic.s(),
            max_slew=steering.max_slew.ratio,
            initial_step_anything=initial_step_anything,
        ),
        minimum_sources=steering.minimum_sources,
        holdover_s=steering.holdover.s(),
        local_stratum=config.serve.local_stratum,
    )


def clock_spec(config: Config, clock: Clock, memory: ClockMemory | None) -> ClockSpec:
    """A clock as the core follows it."""
    return ClockSpec(
        clock=clock.id,
        disciplined=config.clocks[clock.id].discipline,
        max_frequency=clock.limits.max_frequency.ratio,
        frequency_latency_s=clock.limits.frequency_latency.s(),
        memory=memory,
        epoch=clock.epoch,
        rate=clock.frequency(),
        set_freely=clock.kind == "phc",
        tolerance=config.clocks[clock.id].frequency_tolerance.ratio,
    )


def roster_settings(source: NtpLike) -> RosterSettings:
    """Which addresses of its name are asked; with NTS the port is that of key establishment, over PTP that of PTP."""
    place = source.pool if isinstance(source, PoolSource) else source.ntp
    port = place.port
    if port == NTP_PORT:
        port = KE_PORT if source.nts else EVENT_PORT if source.transport == "ptp" else port
    if isinstance(source, PoolSource):
        return RosterSettings(name=place.host, port=port, count=source.count, indirect=source.nts)
    return RosterSettings(name=place.host, port=port, count=1, pool=False, indirect=source.nts)


def source_id(source: NtpLike, endpoint: Endpoint) -> SourceId:
    """The identity of one server of a configured source."""
    return SourceId(f"{source.title}/{endpoint.address}" if isinstance(source, PoolSource) else source.title)


def client_settings(
    source: NtpLike, endpoint: Endpoint, clock: ClockId, keys: Mapping[int, SymmetricKey]
) -> ClientSettings:
    """One association."""
    identity = source_id(source, endpoint)
    return ClientSettings(
        source=identity,
        link=LinkId(identity),
        local=clock,
        remote=endpoint,
        version=3 if source.version == 3 else 4,
        poll_min=source.poll.least,
        poll_max=source.poll.most,
        burst=source.burst,
        interleaved=Interleaved(source.interleaved),
        key=None if source.key is None else keys[source.key],
        corrections=source.transport == "ptp" and source.version == 4,
    )


def speak5(source: NtpLike, key: SymmetricKey | None) -> Speak5 | None:
    """How NTPv5 is spoken to the servers of a source; None where it is not."""
    if not source.may_speak_5:
        return None
    return Speak5(
        speak=SpeakV5.ALWAYS if source.version == NTPV5 else SpeakV5.AUTO,
        drafts=source.drafts,
        interleaved=source.interleaved != "never",
        key=key,
    )


def ke_protocols(source: NtpLike) -> tuple[int, ...]:
    """What NTS keys are wanted for, best first."""
    if not source.may_speak_5:
        return (NextProtocol.NTPV4,)
    only = (NextProtocol.NTPV5_DRAFT,)
    return only if source.version == NTPV5 else (*only, NextProtocol.NTPV4)


def source_spec(source: NtpLike, endpoint: Endpoint, clock: ClockId, precision: Duration) -> SourceSpec:
    """The same server as the core follows it; ``precision`` is that of our stamps."""
    identity = source_id(source, endpoint)
    return SourceSpec(
        source=identity,
        name=str(identity),
        link=LinkId(identity),
        clock=clock,
        reference_id=reference_id(endpoint.address),
        poll=(source.poll.least, source.poll.most),
        trusted=source.trust,
        noselect=source.noselect,
        correction=-source.offset,
        stamp_noise_s=precision.s(),
    )


def server_settings(config: Config, keys: Mapping[int, SymmetricKey]) -> ServerSettings:
    """How NTP is served; only for a configuration that serves it."""
    serve = config.serve.ntp
    assert serve is not None
    limit = serve.rate_limit
    return ServerSettings(
        allow=serve.allow,
        deny=serve.deny,
        rate_limit=None
        if limit is None
        else RateLimit(interval=limit.interval, burst=limit.burst, reply=LimitReply(limit.reply)),
        keys=tuple(keys.values()),
        versions=frozenset(serve.versions),
        drafts=serve.drafts,
        interleaved=serve.interleaved,
        ptp_domain=serve.ptp_domain,
        clients=serve.clients,
    )
