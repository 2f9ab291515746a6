"""What of another configuration can be put in force while the daemon runs, and what must wait for a restart."""

from __future__ import annotations

from timesync.config.fields import Secret
from timesync.config.schema import Config
from timesync.config.sources import PhcSource, PpsSource, SourceOptions


def adoptable(config: Config, running: Config) -> tuple[Config, list[str]]:
    """A new configuration as far as a running daemon can follow it.

    Clocks, PTP with its keys, the control socket and the state directory stay as they are. The new file was checked
    against its own clocks: a new source on a hardware clock that is described differently there is left out, since that
    clock may still be steered by us, and its pins used otherwise. So is one on a clock that is not there, and so are
    the pulses that only such a source may number. A source that runs and stays the same goes on.

    Returns:
        The configuration to put in force, and what must wait for a restart, in words.
    """
    late = []
    if config.clocks != running.clocks or config.served_clock() != running.served_clock():
        late.append("clocks")
    if config.ptp_instances != running.ptp_instances or _ptp_secrets(config) != _ptp_secrets(running):
        late.append("ptp")
    places = {"control": running.observe.control, "state": running.observe.state}
    if (config.observe.control, config.observe.state) != (running.observe.control, running.observe.state):
        late.append("observe.control and observe.state")
    able = config.model_copy(
        update={
            "clocks": running.clocks,
            "ptp": running.ptp,
            # Those that PTP goes on with: what is in force is what the next reload is compared with.
            "keys": {**config.keys, **{number: running.keys[number] for number in _ptp_secrets(running)}},
            "serve": config.serve.model_copy(update={"clock": running.serve.clock}),
            "observe": config.observe.model_copy(update=places),
        }
    )
    changed = _changed_hardware(config, running)
    usable = [
        source
        for source in config.sources
        if source in running.sources
        or not (_clocks_named(source, able) - set(able.clocks) or _clocks_named(source, config) & changed)
    ]
    sources = tuple(source for source in usable if _numbering(source, config) in (None, *usable))
    late += [source.title for source in config.sources if source not in sources]
    return able.model_copy(update={"sources": sources}), late


def _changed_hardware(config: Config, running: Config) -> set[str]:
    """The hardware clocks of either configuration that the other one has not, or describes differently."""
    # What can change of another clock is nothing to those who measure it.
    clocks = [*config.clocks.items(), *running.clocks.items()]
    hardware = {name for name, clock in clocks if clock.phc is not None}
    return {name for name in hardware if config.clocks.get(name) != running.clocks.get(name)}


def _ptp_secrets(config: Config) -> dict[int, tuple[str, Secret | None]]:
    """The keys that sign PTP messages: algorithm and secret, wherever that was read from."""
    signing = [entry.authentication for entry in config.ptp_instances if entry.authentication is not None]
    keys = {number: config.keys[number] for wanted in signing for number in wanted.keys}
    return {number: (key.algorithm, key.secret) for number, key in keys.items()}


def _clocks_named(source: SourceOptions, config: Config) -> set[str]:
    named = {config.clock_of(source)}
    return named | {source.phc} if isinstance(source, PhcSource) else named


def _numbering(source: SourceOptions, config: Config) -> SourceOptions | None:
    """The one source without which this one is of no use."""
    return config.numbering(source) if isinstance(source, PpsSource) else None
