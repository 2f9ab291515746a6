"""``timesync replay``: a recording once more through the core, with its own settings and with others."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.cli.show import console, count, span
from timesync.config.load import load, loads
from timesync.config.problem import ConfigError
from timesync.config.schema import Config
from timesync.observe.records.reader import read
from timesync.observe.records.rows import RecordError
from timesync.observe.replay.figures import Baseline, Figures, replay
from timesync.observe.replay.player import Changes, Fidelity
from timesync.servo.command import CoreSettings, SourceSpec
from timesync.servo.steering import SteeringSettings

_ANY_WIDTH: Final = 1000

Taker = Callable[[CoreSettings, CoreSettings], CoreSettings]


def _core(name: str) -> Taker:
    return lambda recorded, wanted: replace(recorded, **{name: getattr(wanted, name)})


def _steering(name: str) -> Taker:
    def take(recorded: CoreSettings, wanted: CoreSettings) -> CoreSettings:
        steering: SteeringSettings = replace(recorded.steering, **{name: getattr(wanted.steering, name)})
        return replace(recorded, steering=steering)

    return take


KEYS: Final[Mapping[str, Taker]] = {
    "steering.step.threshold": _steering("step_threshold_s"),
    "steering.step.updates": _steering("step_updates"),
    "steering.panic": _steering("panic_s"),
    "steering.max_slew": _steering("max_slew"),
    "steering.minimum_sources": _core("minimum_sources"),
    "steering.holdover": _core("holdover_s"),
    "serve.local_stratum": _core("local_stratum"),
}
"""What can be replayed otherwise, by its name in the configuration."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Other settings.

    Attributes:
        name: As they were asked for.
        changes: What they change.
    """

    name: str
    changes: Changes


@click.command("replay")
@click.argument("recording", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE[,KEY=VALUE]...",
    help="Replay with these settings too, such as steering.max_slew=100ppm; may be given several times.",
)  # fmt: skip
@click.option(
    "-c", "--config", "configs", multiple=True, metavar="OTHER.yaml", type=click.Path(path_type=Path),
    help="Replay with the settings of this configuration too; may be given several times.",
)  # fmt: skip
@json_option
def replay_command(recording: Path, settings: tuple[str, ...], configs: tuple[Path, ...], as_json: bool) -> None:
    """Feed the recording FILE through the core again, and compare settings.

    FILE is a file of `observe.measurements`, or the directory of them. The recording is replayed with its own settings
    first, which shows whether the core decides again as it did. Then it is replayed with each alternative: the steering
    of the recording is taken out of all readings, and that of the alternative put in. All are judged by what is known
    afterwards of the clock. The exit code is 1 when the recording's own decisions do not come out again.
    """
    alternatives = [_written(text) for text in settings] + [_configured(path) for path in configs]
    try:
        baseline = Baseline(read(recording))
        if baseline.reference is None or baseline.figures is None:
            fail(ExitCode.USAGE, f"{recording}: too little is recorded of the served clock to judge anything by it")
        reference = baseline.reference
        found = [
            baseline.figures,
            *(replay(read(recording), one.changes, one.name, reference) for one in alternatives),
        ]
    except RecordError as error:
        fail(ExitCode.USAGE, str(error))
    except OSError as error:
        denied = isinstance(error, PermissionError)
        fail(ExitCode.NOT_PERMITTED if denied else ExitCode.USAGE, f"{recording}: {error.strerror or error}")
    if as_json:
        print_json(
            {
                "reference": reference.words,
                "fidelity": asdict(baseline.fidelity),
                "replays": [_as_json(one) for one in found],
            }
        )
    else:
        _print(found, reference.words, baseline.fidelity)
    if baseline.fidelity.same != baseline.fidelity.compared:
        raise SystemExit(ExitCode.NO)


def _written(text: str) -> Alternative:
    """Settings given on the command line."""
    from timesync.daemon.assemble import core_settings

    takers: list[tuple[Taker, CoreSettings]] = []
    for item in text.split(","):
        key, given, value = (part.strip() for part in item.partition("="))
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else f"; there are {', '.join(KEYS)}"
            raise click.UsageError(f'--set: no setting "{key}" that can be replayed{hint}')
        if not given or not value:
            raise click.UsageError(f"--set: write {key}=VALUE")
        try:
            config = loads(_tree(key, value), f"--set {key}").config
        except ConfigError as error:
            fail_config(error)
        takers.append((KEYS[key], core_settings(config, initial_step_anything=False)))

    def settings(recorded: CoreSettings) -> CoreSettings:
        for take, wanted in takers:
            recorded = take(recorded, wanted)
        return recorded

    return Alternative(text, Changes(settings))


def _tree(key: str, value: str) -> str:
    """A key with dots as YAML."""
    steps = key.split(".")
    lines = [f"{'  ' * depth}{step}:" for depth, step in enumerate(steps)]
    return "\n".join(lines) + f" {value}\n"


def _configured(path: Path) -> Alternative:
    """Settings of another configuration; its sources say who is trusted and who is not selected."""
    try:
        config = load(path).config
    except ConfigError as error:
        fail_config(error)
    # Not before: --help and completion must not wait for the daemon.
    from timesync.daemon.assemble import core_settings

    wanted = core_settings(config, initial_step_anything=False)

    def settings(recorded: CoreSettings) -> CoreSettings:
        for take in KEYS.values():
            recorded = take(recorded, wanted)
        return recorded

    return Alternative(str(path), Changes(settings, lambda spec: _source(spec, config)))


def _source(spec: SourceSpec, config: Config) -> SourceSpec:
    for source in config.sources:
        if spec.name == source.title or spec.name.startswith(f"{source.title}/"):
            return replace(spec, trusted=source.trust, noselect=source.noselect)
    return spec


def _print(found: Sequence[Figures], reference: str, fidelity: Fidelity) -> None:
    out = console()
    names = [one.name for one in found]
    table = _table(found, names)
    if out.measure(table, options=out.options.update(max_width=_ANY_WIDTH)).maximum > out.width:
        # Names that are cut in pieces are not read: they stand below the table.
        short = [names[0], *map(str, range(1, len(names)))]
        out.print(_table(found, short))
        for number, name in zip(short[1:], names[1:], strict=True):
            out.print(f"{number}: {name}", soft_wrap=True)
    else:
        out.print(table)
    for one in found:
        shares = ", ".join(f"{source} {share:.0%}" for source, share in one.selected.items())
        out.print(f"selected, {one.name}: {shares or 'nothing'}", soft_wrap=True)
    out.print(f"offsets are those from {reference}, once locked", soft_wrap=True)
    out.print(_fidelity(fidelity), soft_wrap=True)


def _table(found: Iterable[Figures], names: Iterable[str]) -> Table:
    """The figures of each replay beside its name."""
    table = Table(box=None, pad_edge=False)
    for column in ("settings", "locked", "RMS", "95 %", "99 %", "largest", "bound", "held", "steps"):
        table.add_column(column, justify="left" if column == "settings" else "right", no_wrap=True)
    for name, one in zip(names, found, strict=True):
        table.add_row(
            name,
            "never" if one.locked_s is None else f"{one.locked_s:.0f} s",
            _span(one.rms_s),
            *(_span(one.percentiles_s.get(share, math.nan)) for share in (95, 99)),
            _span(one.maximum_s),
            _span(one.bound_s),
            "-" if math.isnan(one.held) else f"{one.held:.2%}",
            str(one.steps),
        )
    return table


def _fidelity(fidelity: Fidelity) -> str:
    """How well the recording came out again, in words."""
    decisions = count(fidelity.compared, "recorded command")
    text = f"{fidelity.same} of {decisions} came out again, to {fidelity.apart * 1e9:.2g} ppb"
    if fidelity.openings:
        text += f"; {count(fidelity.openings, 'time')} it began in the middle, and what came after that does not count"
    if fidelity.gaps:
        text += f"; rows are missing {count(fidelity.gaps, 'time')}"
    return text


def _span(seconds: float) -> str:
    return "-" if math.isnan(seconds) else span(seconds)


def _as_json(one: Figures) -> dict[str, object]:
    fields = asdict(one)
    fields["percentiles_s"] = {str(share): value for share, value in one.percentiles_s.items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields.items()}
