"""``timesync simulate``: the daemon's own code in simulated time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem
from rich.table import Table

from timesync.cli.render import ExitCode, fail, fail_config, json_option, print_json
from timesync.cli.show import console, span
from timesync.config.problem import ConfigError
from timesync.config.scenario import Scenario, read_scenario

if TYPE_CHECKING:  # loaded when it runs: --help and completion must not wait for it
    from timesync.daemon.simulate import Result


def _scenarios(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the shipped scenarios, and files."""
    del ctx, param
    names = (CompletionItem(name) for name in _shipped() if name.startswith(incomplete))
    # Files first: Bash forgets what came before them, and offers them when nothing comes after.
    return [CompletionItem(incomplete, type="file"), *names]


@click.command("simulate")
@click.argument("files", nargs=-1, metavar="[FILE|NAME]...", shell_complete=_scenarios)
@click.option(
    "--seeds", type=click.IntRange(1, 1000), help="How many random worlds; the file's own number unless given."
)
@click.option("--first-seed", type=click.IntRange(0), default=1, show_default=True, help="Number of the first one.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False),
    help="Write true offset and claim of each second as CSV; goes with one scenario.",
)
@json_option
def simulate_command(
    files: tuple[str, ...], seeds: int | None, first_seed: int, trace: str | None, as_json: bool
) -> None:
    """Run the daemon's own code over virtual clocks and a virtual network, and print the figures.

    FILE is a scenario in YAML, NAME one of the shipped ones; without any, the shipped ones are listed. The exit code
    is 1 when a seed misses what the scenario expects.
    """
    if not files:
        _list(as_json=as_json)
        return
    if trace is not None and len(files) > 1:
        raise click.UsageError("--trace goes with one scenario")
    missed = False
    reports = []
    for file in files:
        scenario, results = _run(file, seeds, first_seed, trace)
        missed |= any(result.misses for result in results)
        if as_json:
            reports.append(_as_json(scenario, results))
        else:
            _print(scenario, results)
    if as_json:
        print_json({"scenarios": reports})
    if missed:
        raise SystemExit(ExitCode.NO)


def _run(file: str, seeds: int | None, first_seed: int, trace: str | None) -> tuple[Scenario, list[Result]]:
    from timesync.daemon.leap import load_leap_table
    from timesync.daemon.simulate import simulate

    text, name = _read(file)
    try:
        scenario, loaded = read_scenario(text, name)
    except ConfigError as error:
        fail_config(error)
    leap_table, _ = load_leap_table()
    count = scenario.seeds if seeds is None else seeds
    results = []
    for seed in range(first_seed, first_seed + count):
        began = time.perf_counter()
        result = simulate(scenario, loaded.config, leap_table, seed, keep=trace is not None)
        spent = time.perf_counter() - began
        click.echo(f"{scenario.name}: seed {seed} simulated {span(scenario.duration.s())} in {spent:.1f} s", err=True)
        results.append(result)
    if trace is not None:
        _write_trace(Path(trace), results)
    return scenario, results


def _shipped() -> dict[str, bytes]:
    folder = resources.files("timesync.sim").joinpath("scenarios")
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {entry.name.removesuffix(".yaml"): entry.read_bytes() for entry in sorted(files, key=lambda e: e.name)}


def _read(file: str) -> tuple[bytes, str]:
    shipped = _shipped()
    if file in shipped:
        return shipped[file], f"{file}.yaml"
    try:
        return Path(file).read_bytes(), file
    except OSError as error:
        known = ", ".join(shipped)
        fail(_code(error), f"{file} cannot be read ({error.strerror}), and the shipped scenarios are {known}")


def _list(*, as_json: bool) -> None:
    scenarios = {name: read_scenario(text, name)[0].description for name, text in _shipped().items()}
    if as_json:
        print_json({"shipped": scenarios})
        return
    table = Table("scenario", "what it shows", box=None, pad_edge=False)
    for name, description in scenarios.items():
        table.add_row(name, description)
    console().print(table)


def _print(scenario: Scenario, results: Sequence[Result]) -> None:
    out = console()
    out.print(f"{scenario.name}: {scenario.description}")
    table = Table(box=None, pad_edge=False)
    for column in ("seed", "locked", "first near", "RMS", "largest", "frequency", "requests/h", "bound held"):
        table.add_column(column, justify="right")
    for r in results:
        table.add_row(
            str(r.seed),
            "never" if r.locked_s is None else f"{r.locked_s:.0f} s",
            "never" if r.first_s is None else f"{r.first_s:.0f} s",
            span(r.rms_s),
            span(r.maximum_s),
            f"{r.frequency_rms * 1e9:.3g} ppb",
            f"{r.requests_per_hour:.0f}",
            f"{r.coverage:.3%}",
        )
    out.print(table)
    accused = sorted({name for r in results for name in r.accused})
    if accused:
        out.print(f"named as falsetickers: {', '.join(accused)}")
    median = statistics.median(r.rms_s for r in results)
    out.print(f"median RMS of the true offset over {len(results)} seeds: {span(median)}")
    for r in results:
        for miss in r.misses:
            out.print(f"seed {r.seed} MISSED: {miss}")
    out.print()


def _as_json(scenario: Scenario, results: Sequence[Result]) -> dict[str, object]:
    seeds = []
    for result in results:
        fields = asdict(result)
        del fields["trace"], fields["notes"]
        seeds.append(fields)
    return {"name": scenario.name, "description": scenario.description, "seeds": seeds}


def _write_trace(path: Path, results: Sequence[Result]) -> None:
    lines = ["seed,second,true_offset_s,error_bound_s"]
    for result in results:
        for second, (true, bound) in enumerate(result.trace, 1):
            lines.append(f"{result.seed},{second},{true:.12g},{'' if bound is None else f'{bound:.12g}'}")
    try:
        path.write_text("\n".join(lines) + "\n")
    except OSError as error:
        fail(_code(error), f"{path} cannot be written: {error.strerror}")


def _code(error: OSError) -> ExitCode:
    return ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.USAGE
