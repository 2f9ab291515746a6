"""What of another configuration can be put in force while the daemon runs, and what must wait for a restart."""

from __future__ import annotations

from timesync.config.schema import Config
from timesync.config.sources import PhcSource, PpsSource, SourceOptions


def adoptable(config: Config, running: Config) -> tuple[Config, list[str]]:
    """A new configuration as far as a running daemon can follow it.

    Clocks, PTP, the control socket and the state directory stay as they are. Sources that need a clock which is not
    among them are left out, and so are the pulses that only such a source may number.

    Returns:
        The configuration to put in force, and what must wait for a restart, in words.
    """
    late = []
    if config.clocks != running.clocks or config.served_clock() != running.served_clock():
        late.append("clocks")
    if config.ptp_instances != running.ptp_instances:
        late.append("ptp")
    places = {"control": running.observe.control, "state": running.observe.state}
    if (config.observe.control, config.observe.state) != (running.observe.control, running.observe.state):
        late.append("observe.control and observe.state")
    able = config.model_copy(
        update={
            "clocks": running.clocks,
            "ptp": running.ptp,
            "serve": config.serve.model_copy(update={"clock": running.serve.clock}),
            "observe": config.observe.model_copy(update=places),
        }
    )
    usable = [source for source in config.sources if _clocks_named(source, able) <= set(able.clocks)]
    sources = tuple(source for source in usable if _numbering(source, config) in (None, *usable))
    late += [source.title for source in config.sources if source not in sources]
    return able.model_copy(update={"sources": sources}), late


def _clocks_named(source: SourceOptions, config: Config) -> set[str]:
    named = {config.clock_of(source)}
    return named | {source.phc} if isinstance(source, PhcSource) else named


def _numbering(source: SourceOptions, config: Config) -> SourceOptions | None:
    """The one source without which this one is of no use."""
    return config.numbering(source) if isinstance(source, PpsSource) else None
