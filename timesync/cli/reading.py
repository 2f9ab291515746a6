"""``timesync status``, ``sources``, ``clocks`` and ``why``: the running daemon, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from timesync.base.time import Duration
from timesync.cli.control import answer, socket_options, socket_path
from timesync.cli.params import POSITIVE
from timesync.cli.ptp_extras import interface, said
from timesync.cli.render import ExitCode, fail, json_option, print_json
from timesync.cli.show import UNKNOWN, ago, console, count, ppm, signed, span, with_uncertainty

_GOOD_FOR = {"locked": ("locked",), "holdover": ("locked", "holdover")}
COLOURS = {
    "locked": "bold green", "selected": "green", "holdover": "bold yellow", "acquiring": "bold yellow",
    "falseticker": "red", "unreachable": "red", "freerun": "bold red", "fault": "bold red",
}  # fmt: skip
"""Of states."""


@click.command()
@socket_options
@json_option
@click.option("--require", type=click.Choice(list(_GOOD_FOR)), help="End with 1 unless in this state, or a better one.")
@click.option("--max-error", type=POSITIVE, help="End with 1 unless the error bound is at most this.")
def status(
    control: str | None, file: str | None, as_json: bool, require: str | None, max_error: Duration | None
) -> None:
    """How right the served clock is, why, and what it follows."""
    path = socket_path(control, file)
    state = answer(path, "status")
    if as_json:
        print_json(state)
    else:
        _print_status(state, answer(path, "sources")["sources"])
    objection = objection_to(state, require, max_error)
    if objection is not None:
        fail(ExitCode.NO, objection)


def objection_to(state: Mapping[str, Any], require: str | None, max_error: Duration | None) -> str | None:
    """Why a status is not good enough, in a sentence; None when it is.

    Args:
        state: The object of ``status``.
        require: ``locked``, or ``holdover``, for which locked is good enough too.
        max_error: The largest error bound that will do.
    """
    if require is not None and state["state"] not in _GOOD_FOR[require]:
        return f"{require} is required, but clock {state['served_clock']} is {state['state']}: {state['reason']}"
    bound = state["error_bound_s"]
    if max_error is not None and (bound is None or bound > max_error.s()):
        return f"an error of at most {span(max_error.s())} is required, but the bound is {span(bound)}"
    return None


def verdict(state: Mapping[str, Any]) -> str:
    """The headline: the error bound, then the state."""
    bound, clock, word = state["error_bound_s"], state["served_clock"], state["state"]
    if bound is None:
        return f"Error unknown: clock {clock} is {word}"
    return f"Within {span(bound)} of true time: clock {clock} is {word}"


def _print_status(state: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> None:
    out = console()
    out.print(Text(verdict(state), style=COLOURS.get(state["state"], "")))
    out.print(f"  {_sentence(state['reason'])}")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _facts(state, sources):
        facts.add_row(f"  {name}", text)
    out.print(facts)
    for warning in state["warnings"]:
        out.print(Text(f"warning: {warning}", style="yellow"))


def _facts(state: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Names and values below the headline, as of now where no age is said."""
    clock = next(entry for entry in state["clocks"] if entry["name"] == state["served_clock"])
    used = [source for source in sources if source["state"] == "selected"]
    ages = [source["last_sample_age_s"] for source in sources if source["last_sample_age_s"] is not None]
    stratum = "16, not synchronised" if state["stratum"] >= 16 else str(state["stratum"])
    facts = [
        ("sources", f"{len(used)} of {len(sources)} used, last measurement {ago(min(ages, default=None))}"),
        ("offset", with_uncertainty(clock["offset_s"], clock["offset_uncertainty_s"])),
        ("frequency", _frequency(clock)),
        ("stratum", f"{stratum}; reference {state['reference_id']}; leap second {state['leap']}"),
        ("root", f"delay {span(state['root_delay_s'])}, dispersion {span(state['root_dispersion_s'])}"),
        ("TAI - UTC", f"{state['tai_utc_offset_s']} s"),
        ("running for", f"{span(state['uptime_s'])}, {count(clock['steps'], 'step')}"),
    ]
    serving = state["serving"]
    if serving["ntp"]:
        counted = serving["counters"]
        facts.append(("serves NTP", ", ".join(serving["ntp"])))
        over_ptp = f", {counted['over_ptp']} over PTP" if counted["over_ptp"] else ""
        facts.append(("requests", f"{counted['received']} came, {counted['answered']} answered{over_ptp}"))
    if serving.get("nts"):
        facts.append(("serves NTS-KE", ", ".join(serving["nts"])))
        if serving["counters"] is not None:
            counted = serving["counters"]
            facts.append(("with NTS", f"{counted['nts']} answered, {counted['nts_nak']} had no good cookie"))
    if state.get("nts"):
        facts += _nts_server(state["nts"])
    for place in serving.get("csptp", ()):
        where = f"{place['interface']} over {place['transport']}, domain {place['domain']}"
        facts.append(("serves CSPTP", f"{where}; {count(place['answered'], 'request')} answered"))
    return facts


def _nts_server(nts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an NTS server lives by: the key of its cookies, and its certificates."""
    key = nts["master_key"]
    of_fleet = " of the fleet" if key["seeded"] else ""
    next_one = f"the next one in {span(max(key['changes_in_s'], 0.0))}"
    old = f"{count(key['old'], 'old one')} still accepted"
    facts = [("cookies", f"under a key{of_fleet} that is {span(max(key['age_s'], 0.0))} old; {next_one}; {old}")]
    for one in nts["certificates"]:
        left = one["expires_in_s"]
        end = f"expires in {span(left)}" if left > 0 else f"expired {span(-left)} ago"
        facts.append(("certificate", f"{', '.join(one['names'])}: {end}"))
    return facts


@click.command()
@socket_options
@json_option
def sources(control: str | None, file: str | None, as_json: bool) -> None:
    """What the clocks are compared with, and what became of each source."""
    content = answer(socket_path(control, file), "sources")
    if as_json:
        print_json(content)
        return
    out = console()
    if not content["sources"]:
        out.print("There are no sources: no clock is corrected.")
        return
    # Eight columns of short values in 80 characters; why a source is where it is stands below.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("source", overflow="fold", min_width=15)
    table.add_column("state", no_wrap=True)
    for name in ("offset", "±", "delay", "reach", "poll", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in content["sources"]:
        table.add_row(
            entry["name"],
            Text(entry["state"], style=COLOURS.get(entry["state"], "")),
            _cell(signed, entry["offset_s"]),
            _cell(span, entry["uncertainty_s"]),
            _cell(span, entry["delay_s"]),
            f"{entry['reach']}/8",
            _cell(span, entry["poll_s"]),
            _cell(span, entry["last_sample_age_s"]),
        )
    out.print(table)
    for entry in content["sources"]:
        if entry["state"] != "selected":
            out.print(f"{entry['name']}: {entry['reason']}")
        if "nts" in entry["details"]:
            out.print(f"{entry['name']}: {_secured(entry['details']['nts'])}")
        if entry.get("draft") is not None:
            out.print(f"{entry['name']}: speaks NTP version {entry['version']}, {entry['draft']} (experimental)")


@click.command()
@socket_options
@json_option
def clocks(control: str | None, file: str | None, as_json: bool) -> None:
    """The clocks of this machine, as they are now."""
    content = answer(socket_path(control, file), "clocks")
    if as_json:
        print_json(content)
        return
    out = console()
    for entry in content["clocks"]:
        steered = "disciplined" if entry["disciplined"] else "only measured"
        out.print(Text(f"{entry['name']} ({entry['kind']}): {entry['state']}", style=COLOURS.get(entry["state"], "")))
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, text in (
            ("offset", with_uncertainty(entry["offset_s"], entry["offset_uncertainty_s"])),
            ("error bound", span(entry["error_bound_s"])),
            ("frequency", _frequency(entry)),
            ("steering", f"{ppm(entry['steering_ppm'])}, {steered}, {count(entry['steps'], 'step')}"),
            ("fed by", ", ".join(entry["fed_by"]) or "nothing"),
            *((f"link {link['name']}", _link(link)) for link in entry["links"]),
        ):
            facts.add_row(f"  {name}", text)
        out.print(facts)


@click.command()
@socket_options
@json_option
def ports(control: str | None, file: str | None, as_json: bool) -> None:
    """The PTP ports: their states, whom they follow, and what they count."""
    content = answer(socket_path(control, file), "ports")
    if as_json:
        print_json(content)
        return
    out = console()
    if not content["ports"]:
        out.print("There are no PTP ports: the configuration has no ptp.")
    for entry in content["ports"]:
        out.print(Text(f"{entry['name']}: {entry['state'].lower().replace('_', ' ')}"))
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, text in _port_facts(entry):
            facts.add_row(f"  {name}", text)
        out.print(facts)


def _port_facts(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    mechanism = entry["delay_mechanism"] or UNKNOWN
    stamps = entry["timestamping"] or "no"
    facts = [
        ("follows", entry["parent"] or "nobody"),
        ("grandmaster", entry["grandmaster"] or UNKNOWN),
        ("path", f"{entry['transport']}, {mechanism}, mean delay {span(entry['mean_delay_s'])}"),
        ("stamps", f"{stamps} timestamps of clock {entry['clock']}, {entry['lost_stamps']} lost"),
        ("offset", signed(entry["offset_s"])),
    ]
    if entry["as_capable"] is not None:
        facts.append(("asCapable", "yes" if entry["as_capable"] else f"no: {entry['reason']}"))
    elif entry["reason"]:
        facts.append(("trouble", entry["reason"]))
    facts += [("asks", _asked(server)) for server in entry["servers"]]
    facts += said(entry["parent_says"])
    if entry["clients"]:
        facts.append(("grants", f"unicast messages to {entry['clients']} clients"))
    counted = ("received", "sent", "drops")
    return facts + [
        (name, ", ".join(f"{number} {kind}" for kind, number in entry[name].items()) or "nothing") for name in counted
    ]


def _asked(server: Mapping[str, Any]) -> str:
    """Whom a port asks for unicast messages, and what came of it."""
    granted = ", ".join(f"{kind} every {span(seconds)}" for kind, seconds in server["granted"].items())
    chosen = ", followed" if server["selected"] else ""
    return f"{server['address']}{chosen}: {'granted ' + granted if granted else 'no grant yet'}{interface(server)}"


@click.command()
@click.argument("source", required=False)
@socket_options
@json_option
def why(source: str | None, control: str | None, file: str | None, as_json: bool) -> None:
    """Why the clock is as it is, or why SOURCE is or is not used."""
    arguments = {} if source is None else {"source": source}
    content = answer(socket_path(control, file), "why", **arguments)
    if as_json:
        print_json(content)
        return
    out = console()
    for line in content["lines"]:
        out.print(line)


def _secured(nts: Mapping[str, Any]) -> str:
    """By whom a source has its keys for NTS, and how good they are."""
    quantum = ", safe from a quantum computer" if nts["post_quantum"] else ""
    left = count(nts["cookies"], "cookie") if nts["cookies"] else "no cookie left"
    doubt = "; provisional: its certificate cannot be judged before the time is known" if nts["provisional"] else ""
    return f"NTS with keys by {nts['ke_server']} ({nts['aead']}{quantum}), {left}{doubt}"


def _frequency(clock: Mapping[str, Any]) -> str:
    """The oscillator's error; a clock without an uncertainty was never measured."""
    deviation = clock["frequency_uncertainty_ppm"]
    return UNKNOWN if deviation is None else ppm(clock["frequency_ppm"], deviation)


def _link(link: Mapping[str, Any]) -> str:
    """A comparison with another clock of the machine."""
    how = "" if link["method"] is None else f", by {link['method']} readings"
    return f"{link['state']}, {link['reason']}; noise {span(link['jitter_s'])}, window {span(link['window_s'])}{how}"


def _cell(form: Callable[[float | None], str], value: float | None) -> str:
    """A number in a narrow column; a dash where there is none."""
    text = form(value)
    return "-" if text == UNKNOWN else text


def _sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
