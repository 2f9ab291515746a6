// Plots over time, and of stability. History comes from the interface; the last ten minutes then grow by themselves.
import { $, h, say, wishes } from "./dom.js";
import { ask } from "./live.js";
import { clock, day, ppm, rate, signed, span, unitOf } from "./units.js";
import { term } from "./words.js";

/* global uPlot */

const RANGES = [["10 min", 600, 600], ["6 h", 21600, 540], ["7 d", 604800, 672]];
const AGAIN_MS = 60000;
const STABILITY_MS = 20000;
const HEIGHT = 220;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const SYNC = "time";

/** A number of a state, by the name of its series: the same names as in history. */
export function valueOf(state, rates, name) {
  const first = name.indexOf("/");
  const end = name.lastIndexOf("/");
  const [kind, which, field] = [name.slice(0, first), name.slice(first + 1, end), name.slice(end + 1)];
  if (kind === "ntp") return rates[field.replace("_per_s", "")] ?? null;
  const found = kind === "clock" ? state.status.clocks.find((one) => one.name === which)
    : kind === "source" ? state.sources.find((one) => one.name === which)
      : state.ports.find((one) => `${one.name}.${one.domain}` === which);
  const value = found?.[field] ?? found?.details?.[field];
  return typeof value === "number" ? value : null;
}

const secondsAxis = (_, splits) => {
  const [unit, name] = unitOf(Math.max(...splits.map(Math.abs)));
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) / unit : 1;
  const places = Math.min(4, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  return splits.map((value) => `${(value / unit).toFixed(places).replace("-", "−")} ${name}`);
};
const plainAxis = (unit) => (_, splits) => {
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
  const places = Math.min(5, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  return splits.map((value) => `${value.toFixed(places).replace("-", "−")}${unit}`);
};

const FONT = "11px system-ui, sans-serif";
const BESIDE = 16;

/** The width of an axis with these labels: as the browser will draw them, with the mark of the grid and a gap. */
export function wideEnough(plot, labels) {
  plot.ctx.save();
  plot.ctx.font = FONT;
  const widths = (labels ?? []).map((one) => plot.ctx.measureText(String(one ?? "")).width);
  plot.ctx.restore();
  return Math.max(48, BESIDE + Math.ceil(Math.max(0, ...widths)));
}

/** Whether a number is a power of ten, as far as logarithms can tell. */
const power = (value) => value !== null && Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6;

/** The next number below with one digit: grid lines of a logarithmic axis are counted from its lower end. */
const oneDigit = (value) => { const size = 10 ** Math.floor(Math.log10(value)); return Math.floor(value / size) * size; };

/** The labels of a logarithmic axis: its powers of ten, and all where it has less than two of these. */
const decades = (text) => (_, splits) => {
  const few = splits.filter(power).length < 2;
  return splits.map((one) => (power(one) || (few && one !== null) ? text(one) : ""));
};

/** A moment, for those who hear the page. */
const moment = (at_s) => `${day(at_s * 1000)} ${clock(at_s * 1000)}`;

/** What most values need, generously; a few that are far out would make a flat line of all others. */
function typical(plot, scale, { symmetric, least, grain }, whole) {
  const found = [];
  const [from, to] = plot.series[0].idxs ?? [0, plot.data[0].length - 1];
  plot.series.forEach((one, index) => {
    if (index === 0 || one.scale !== scale || !one.show) return;
    for (let at = from; at <= to; at++) { const value = plot.data[index][at]; if (typeof value === "number") found.push(value); }
  });
  if (!found.length) return least ? [0, least] : [null, null];
  found.sort((a, b) => a - b);
  let [low, high] = [found[0], found.at(-1)];
  if (!whole) {
    const [tenth, ninth] = [0.1, 0.9].map((part) => found[Math.round(part * (found.length - 1))]);
    [low, high] = [Math.max(low, tenth - (ninth - tenth)), Math.min(high, ninth + (ninth - tenth))];
  }
  if (least) return [0, Math.max(least, high * 1.1)];
  if (symmetric) { high = Math.max(Math.abs(low), Math.abs(high)); low = -high; }
  const room = Math.max((high - low) * 0.12, (grain - (high - low)) / 2);
  return [low >= 0 && low < room ? 0 : low - room, high + room];
}

class TimePlot {
  /**
   * spec: {title, word, axis, lines: [{name, label, colour, scale, text, mirror}]}, and of the vertical range: symmetric
   * about zero; least: from zero to that at least; grain: no smaller than that.
   */
  constructor(spec, owner) {
    this.spec = spec;
    this.owner = owner;
    this.legend = h("p", { class: "legend" });
    this.box = h("div", { class: "canvas", role: "img" });
    this.node = h("figure", { class: "card plot" }, h("figcaption", {}, term(spec.word, spec.title), this.legend), this.box);
    this.swatches = spec.lines.filter((one) => one.label).map((line) => {
      const value = h("span", { class: "value" });
      this.legend.append(h("span", { class: "entry" }, h("i", { class: `swatch ${line.colour}` }), `${line.label} `, value));
      return { line, value };
    });
    this.data = [[], ...this.columns().map(() => [])];
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.make();
  }

  /** A line that is mirrored is a band about zero; each other one is itself. */
  columns() { return this.spec.lines.flatMap((line) => (line.mirror ? [{ line, sign: 1 }, { line, sign: -1 }] : [{ line, sign: 1 }])); }

  make() {
    this.plot?.destroy();
    const { spec } = this;
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--dim"), grid, ticks: grid, font: FONT };
    const columns = this.columns();
    const bands = columns.flatMap((one, at) => (one.line.mirror && one.sign === 1 ? [{ series: [at + 1, at + 2], fill: `${css(`--${one.line.colour}`)}26` }] : []));
    const right = spec.lines.some((one) => one.scale === "right");
    const cursor = { sync: { key: SYNC }, drag: { x: true, y: false }, points: { size: 5 }, y: false };
    this.plot = new uPlot({
      width: Math.max(this.box.clientWidth, 200), height: HEIGHT, legend: { show: false }, cursor, bands,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      scales: { x: { time: true }, y: { range: (plot) => typical(plot, "y", spec, this.owner.whole || spec.least !== undefined) }, ...(right ? { right: { range: (plot) => typical(plot, "right", { grain: 2 }, true) } } : {}) },
      axes: [
        { ...axis, space: 70, size: 36, values: [[86400, "{MM}-{DD}", null, null, null, null, null, null, 1], [3600, "{HH}:{mm}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
        { ...axis, size: wideEnough, values: spec.axis },
        ...(right ? [{ ...axis, side: 1, scale: "right", size: wideEnough, grid: { show: false }, values: plainAxis(" °C") }] : []),
      ],
      series: [{}, ...columns.map(({ line }) => ({ scale: line.scale ?? "y", stroke: css(`--${line.colour}`), width: line.mirror ? 1 : 1.5, dash: line.mirror ? [4, 3] : undefined, points: { show: false }, spanGaps: false }))],
      hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)], setScale: [(_, key) => { if (key === "x" && this.plot) this.label(); }] },
    }, this.data, this.box);
    this.read(null);
  }

  resize() {
    const width = this.box.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  names() { return this.spec.lines.map((one) => one.name); }

  /** Take values of history; ``anew`` forgets what a reader has zoomed to, which is of another range. */
  fill(found, anew) {
    if (anew) this.all = null;
    this.data = [found.at_s, ...this.columns().map(({ line, sign }) => {
      const column = found.series[line.name];
      // Of a bound it is the largest in each step that holds for all of it.
      const values = line.mirror ? column?.high ?? column?.mean : column?.mean;
      return (values ?? found.at_s.map(() => null)).map((value) => (value === null ? null : sign * value));
    })];
    // Before the first value there is nothing to see; a minute is shown in any case.
    const first = found.at_s.findIndex((_, at) => this.data.some((column, index) => index > 0 && column[at] !== null));
    const drop = first < 0 ? 0 : Math.min(first, found.at_s.findLastIndex((at) => at <= found.at_s.at(-1) - 60));
    if (drop > 0) this.data = this.data.map((column) => column.slice(drop));
    // A second in which no report came, or two came in the next one, is no gap to be seen.
    const silent = (at) => at > 0 && at < this.data[0].length - 1 && this.data.every((column, index) => index === 0 || column[at] === null);
    const lone = this.data[0].map((_, at) => silent(at) && !silent(at - 1) && !silent(at + 1));
    this.data = this.data.map((column) => column.filter((_, at) => !lone[at]));
    this.draw();
  }

  add(at, state, rates, keep) {
    const columns = this.columns();
    if (this.data[0].length && at <= this.data[0].at(-1)) return;
    this.data[0].push(at);
    columns.forEach(({ line, sign }, index) => { const value = valueOf(state, rates, line.name); this.data[index + 1].push(value === null ? null : sign * value); });
    const drop = this.data[0].findIndex((one) => one > at - keep);
    if (drop > 0) this.data.forEach((column) => column.splice(0, drop));
  }

  draw() {
    if (document.hidden) return;
    const zoomed = this.zoomed();
    this.plot.setData(this.data, !zoomed);
    if (zoomed) this.plot.redraw();
    this.all = [this.data[0][0], this.data[0].at(-1)];
    this.read(this.plot.cursor.idx);
  }

  /** Whether less is shown than there was when it was drawn last; the plot's own columns have grown since. */
  zoomed() {
    const { min, max } = this.plot.scales.x;
    return this.all?.[1] - this.all?.[0] > 2 && typeof min === "number" && (min > this.all[0] || max < this.all[1]);
  }

  /** The values at the cursor, or the last ones, in the legend. */
  read(index) {
    const lines = [];
    for (const { line, value } of this.swatches) {
      const column = this.data[this.columns().findIndex((one) => one.line === line) + 1] ?? [];
      const last = column.findLast((one) => one !== null) ?? null;
      const shown = (index === null || index === undefined ? last : column[index]) ?? null;
      say(value, line.text(shown));
      lines.push(`${line.label} ${line.text(last)}`);
    }
    this.said = lines.join(", ");
    this.label();
  }

  /** What is seen, for those who do not. */
  label() {
    const { min, max } = this.plot.scales.x;
    const when = typeof min === "number" ? ` from ${moment(min)} to ${moment(max)}` : "";
    this.box.setAttribute("aria-label", `${this.spec.title}${when}: ${this.said}`);
  }
}

// -- stability

class StabilityPlot {
  constructor() {
    this.kind = h("select", { "aria-label": "Statistic" }, ...["ADEV", "MDEV", "TDEV", "MTIE"].map((one) => h("option", { value: one.toLowerCase() }, one)));
    this.kind.value = "tdev";
    this.series = h("select", { "aria-label": "Of what" });
    this.mask = h("select", { "aria-label": "Mask" }, h("option", { value: "" }, "no mask"));
    this.note = h("p", { class: "legend" });
    this.box = h("div", { class: "canvas", role: "img" });
    this.words = h("span", { class: "note" });
    this.node = h("figure", { class: "card plot stability" }, h("figcaption", {}, "Stability ", term("ADEV"), " ", term("MDEV"), " ", term("TDEV"), " ", term("MTIE"), " ", term("mask"),
      h("span", { class: "choices" }, this.kind, this.series, this.mask), this.note), this.box);
    for (const one of [this.kind, this.series, this.mask]) one.addEventListener("change", () => this.load());
    new ResizeObserver(() => { if (this.plot && this.box.clientWidth !== this.plot.width && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT }); }).observe(this.box);
    setInterval(() => { if (!document.hidden) this.load(); }, STABILITY_MS);
  }

  choices(names, wanted) {
    if (this.named === names.join("\n")) return;
    this.named = names.join("\n");
    const had = this.series.value || wanted;
    this.series.replaceChildren(...names.map((name) => h("option", { value: name }, name.replace(/^source\//, "against ").replace(/^clock\//, "clock ").replace(/\/offset_s$/, ""))));
    this.series.value = names.includes(had) ? had : names[0];
    this.load();
  }

  async load() {
    if (!this.series.value) return;
    const asked = `${this.kind.value} ${this.series.value}`;
    this.asked = asked;
    try {
      const found = await ask("/api/v1/stability", [["series", this.series.value], ["kind", this.kind.value], ["from", -(this.span ?? 3600)], ["unknown", "null"]]);
      if (this.asked === asked) this.show(found);
    } catch { say(this.note, "not available now"); }
  }

  show(found) {
    this.found = found;
    const had = this.mask.value;
    const names = found.masks.map((one) => one.name);
    if (this.masks !== names.join()) {
      this.masks = names.join();
      this.mask.replaceChildren(h("option", { value: "" }, "no mask"), ...names.map((one) => h("option", { value: one }, one)));
      this.mask.value = names.includes(had) ? had : "";
    }
    this.mask.hidden = names.length === 0;
    this.draw();
  }

  draw() {
    const found = this.found;
    if (!found) return;
    const points = found.points.filter((one) => one.value > 0);
    const mask = found.masks.find((one) => one.name === this.mask.value);
    const times = [...new Set([...points.map((one) => one.tau_s), ...(mask?.curve ?? []).map((one) => one.tau_s)])].sort((a, b) => a - b);
    const values = new Map(points.map((one) => [one.tau_s, one.value]));
    const limits = new Map((mask?.curve ?? []).map((one) => [one.tau_s, one.limit_s]));
    const data = [times, times.map((at) => values.get(at)), times.map((at) => limits.get(at))];
    const text = found.unit === "s" ? span : (value) => value.toExponential(1);
    this.plot?.destroy();
    this.plot = null;
    this.box.replaceChildren();
    if (points.length < 2) { this.tell(found.points.length < 2 ? "not enough values without a gap yet" : "the values do not vary"); return; }
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--dim"), grid, ticks: grid, font: FONT };
    this.plot = new uPlot({
      width: Math.max(this.box.clientWidth, 200), height: HEIGHT, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, distr: 3, range: (_, low, high) => [oneDigit(low * 0.8), high * 1.25] }, y: { distr: 3 } },
      axes: [{ ...axis, values: decades((tau_s) => `${Number(tau_s.toPrecision(3)).toLocaleString("en")} s`) },
        { ...axis, size: wideEnough, values: decades(text) }],
      series: [{}, { stroke: css("--line1"), width: 1.5, spanGaps: true, points: { show: true, size: 5, fill: css("--line1") } }, { stroke: css("--line2"), width: 1.5, dash: [5, 4], spanGaps: true, points: { show: false } }],
    }, data, this.box);
    const first = points[0];
    const verdict = mask === undefined ? "" : mask.broken_at_s.length ? ` · ${mask.name} broken at ${mask.broken_at_s.map(span).join(", ")} (${mask.clause})` : ` · within ${mask.name} (${mask.clause})`;
    this.tell(`${text(first.value)} at ${span(first.tau_s)} · from ${found.values} values${found.averaged ? `, means over ${span(found.tau0_s)}` : ""}${found.whole ? "" : ", the longest stretch without a gap"}${verdict}`);
  }

  tell(text) { say(this.note, text); this.box.setAttribute("aria-label", `Stability: ${text}`); }
}

// -- all of them

export class Plots {
  constructor() {
    this.range = RANGES.find(([title]) => title === wishes.get("range")) ?? RANGES[0];
    this.whole = wishes.get("whole") === "1";
    this.plots = [];
    this.shape = "";
    this.stability = new StabilityPlot();
    this.buttons = RANGES.map((range) => {
      const made = h("button", { type: "button", "aria-pressed": String(range === this.range) }, range[0]);
      made.addEventListener("click", () => { this.range = range; wishes.set("range", range[0]); this.buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === made))); this.reload(); });
      return made;
    });
    $("range").append(...this.buttons);
    $("whole").checked = this.whole;
    $("whole").addEventListener("change", () => { this.whole = $("whole").checked; wishes.set("whole", this.whole ? "1" : "0"); this.plots.forEach((one) => one.draw()); });
    setInterval(() => { if (this.range !== RANGES[0] && !document.hidden) this.reload(); }, AGAIN_MS);
  }

  state(state, rates) {
    const specs = this.specs(state);
    const shape = JSON.stringify(specs.map((one) => one.lines.map((line) => line.name)));
    if (shape !== this.shape) {
      this.shape = shape;
      this.plots.forEach((one) => one.plot.destroy());
      $("plots").replaceChildren();
      this.plots = specs.map((spec) => { const made = new TimePlot(spec, this); return made; });
      $("plots").append(...this.plots.map((one) => one.node), this.stability.node);
      this.reload();
    }
    const offsets = [...state.sources.filter((one) => one.offset_s !== null).map((one) => `source/${one.name}/offset_s`), ...state.status.clocks.filter((one) => one.disciplined).map((one) => `clock/${one.name}/offset_s`)];
    const chosen = state.sources.find((one) => one.state === "selected");
    if (chosen || offsets.length) this.stability.choices(offsets, chosen ? `source/${chosen.name}/offset_s` : offsets[0]);
    this.last = state;
    if (this.range === RANGES[0]) {
      const at = Math.floor(state.utc_ns / 1e9);
      this.plots.forEach((one) => { one.add(at, state, rates, this.range[1]); one.draw(); });
    }
  }

  specs(state) {
    const specs = [];
    for (const clock of state.status.clocks.filter((one) => one.disciplined)) {
      const served = clock.name === state.status.served_clock ? " (served)" : "";
      specs.push({ title: `Offset of ${clock.name}${served}`, word: "error bound", axis: secondsAxis, symmetric: true, grain: 2e-9, lines: [
        { name: `clock/${clock.name}/error_bound_s`, label: "bound", colour: "line2", mirror: true, text: (value) => (value === null ? "unknown" : `± ${span(Math.abs(value))}`) },
        { name: `clock/${clock.name}/offset_s`, label: "offset", colour: "line1", text: signed }] });
      const lines = [{ name: `clock/${clock.name}/frequency_ppm`, label: "frequency", colour: "line3", text: (value) => ppm(value) }];
      if (typeof clock.celsius === "number") lines.push({ name: `clock/${clock.name}/celsius`, label: "temperature", colour: "line4", scale: "right", text: (value) => (value === null ? "–" : `${value.toFixed(1)} °C`) });
      specs.push({ title: `Frequency of ${clock.name}`, word: "frequency", axis: plainAxis(" ppm"), grain: 0.02, lines });
    }
    const network = state.sources.filter((one) => one.offset_s !== null && !("satellites_used" in one.details)).slice(0, 6);
    if (network.length) specs.push({ title: "Sources against their clocks", word: "offset", axis: secondsAxis, symmetric: true, grain: 2e-9, lines: network.map((one, at) => ({ name: `source/${one.name}/offset_s`, label: one.name, colour: `line${(at % 6) + 1}`, text: signed })) });
    const told = state.sources.filter((one) => typeof one.details.latency_s === "number").slice(0, 6);
    if (told.length) specs.push({ title: "Messages behind the pulse", word: "message delay", axis: secondsAxis, grain: 1e-3, lines: told.map((one, at) => ({ name: `source/${one.name}/latency_s`, label: one.name, colour: `line${(at % 6) + 1}`, text: span })) });
    if (state.status.serving.counters) specs.push({ title: "Requests", word: "NTP", axis: plainAxis(" /s"), least: 1, grain: 1, lines: [["answered", "line1"], ["nts", "line3"], ["limited", "line4"], ["denied", "line2"]].filter(([name]) => name in state.status.serving.counters).map(([name, colour]) => ({ name: `ntp/requests/${name}_per_s`, label: { nts: "with NTS", limited: "rate-limited" }[name] ?? name, colour, text: (value) => rate(value) })) });
    return specs;
  }

  async reload() {
    const range = this.range;
    this.stability.span = Math.max(range[1], 3600);
    const names = [...new Set(this.plots.flatMap((one) => one.names()))];
    const plots = this.plots;
    for (const plot of plots) {
      try {
        const found = await ask("/api/v1/history", [...plot.names().map((name) => ["series", name]), ["from", -range[1]], ["points", range[2]], ["unknown", "null"]]);
        if (this.range === range && this.plots === plots) plot.fill(found, plot.range !== range);
        plot.range = range;
      } catch { /* live values come all the same, and the next time is soon */ }
    }
    if (names.length) this.stability.load();
  }

  recolour() { this.plots.forEach((one) => one.make()); this.stability.draw(); }

  draw() { this.plots.forEach((one) => one.draw()); if (this.range !== RANGES[0]) this.reload(); }
}
