// The verdict, and the chain from the antenna to the clients.
import { $, dress, h, say } from "./dom.js";
import { clock, count, day, long, number, plusMinus, ppm, rate, signed, span } from "./units.js";
import { term } from "./words.js";

const WORD = { locked: "LOCKED", acquiring: "ACQUIRING", holdover: "HOLDOVER", freerun: "FREE-RUN", fault: "FAULT" };
const LOOK = { locked: "good", acquiring: "fair", holdover: "fair", freerun: "bad", fault: "bad" };
const LEAPS = { none: "none pending", insert: "one will be inserted", delete: "one will be left out", unknown: "unknown" };

// -- verdict

export function verdict(state) {
  const status = state.status;
  dress($("verdict"), `verdict ${LOOK[status.state] ?? "bad"}`);
  say($("word"), WORD[status.state] ?? status.state);
  say($("reason"), status.reason);
  say($("bound"), plusMinus(status.error_bound_s));
  const served = status.clocks.find((one) => one.name === status.served_clock);
  say($("bound-of"), `of the served clock, ${status.served_clock}` +
    (served && served.offset_s !== null ? `; measured ${signed(served.offset_s)}` : ""));
  facts([
    ["stratum", "Stratum", status.stratum < 16 ? `${status.stratum}` : "16, not synchronised"],
    ["reference", "Reference", status.reference_id],
    ["leap", "Leap second", LEAPS[status.leap] ?? status.leap],
    ["root delay", "Root delay", span(status.root_delay_s)],
    ["root dispersion", "Root dispersion", span(status.root_dispersion_s)],
    [null, "Running for", long(status.uptime_s)],
  ]);
  const texts = status.warnings.map((text) => `⚠ ${text}`);
  const box = $("warnings");
  if (box.dataset.said !== texts.join("\n")) {
    box.dataset.said = texts.join("\n");
    box.replaceChildren(...texts.map((text) => h("p", {}, text)));
  }
}

function facts(rows) {
  const list = $("facts");
  if (list.children.length === 0) {
    list.append(...rows.map(([word, title]) => h("div", {}, h("dt", {}, word ? term(word, title) : title), h("dd"))));
  }
  rows.forEach(([, , text], at) => say(list.children[at].lastChild, text));
}

/** The clocks tick on between two reports. */
export class Ticking {
  constructor() {
    this.utcMs = null;
    setInterval(() => this.tick(), 200);
  }

  state(state) {
    this.utcMs = state.utc_ns / 1e6;
    this.at = performance.now();
    this.tai = state.status.tai_utc_offset_s;
    // The report was on its way for a while, so the least difference of late is the best one.
    const difference = Date.now() - this.utcMs;
    this.seen = [...(this.seen ?? []).slice(-29), difference];
    this.tick();
  }

  tick() {
    if (this.utcMs === null || document.hidden) return;
    const now = this.utcMs + performance.now() - this.at;
    say($("utc"), clock(now));
    say($("date"), day(now));
    say($("tai"), clock(now + this.tai * 1000));
    const difference = this.seen.reduce((best, one) => (Math.abs(one) < Math.abs(best) ? one : best)) / 1000;
    // The first report is the last one that was kept: up to a second old, and no more than that can be said.
    say($("browser"), this.seen.length < 2 ? "" : Math.abs(difference) < 0.05 ? "· this browser agrees"
      : `· this browser is ${span(Math.abs(difference))} ${difference > 0 ? "ahead" : "behind"}`);
  }
}

// -- chain

const isReceiver = (one) => "satellites_used" in one.details;
const isPulse = (one) => one.kind === "pps";
const FIXES = new Set(["2D", "3D", "time only"]);

function receiverBox(one) {
  const said = one.details;
  const fine = FIXES.has(said.fix) && !said.trouble && one.state !== "unreachable" && said.jamming !== "critical";
  const look = fine ? (one.state === "falseticker" || said.jamming === "warning" ? "fair" : "good")
    : said.fix === null && one.state === "waiting" ? "fair" : "bad";
  const used = said.satellites_used === null ? null : `${said.satellites_used} of ${said.satellites_seen ?? "?"} satellites`;
  const extra = [said.fix, said.cn0_mean_db_hz === null ? null : number(said.cn0_mean_db_hz, "dB-Hz")].filter(Boolean).join(" · ");
  return { key: `r${one.name}`, title: one.name, kind: "receiver", value: used ?? one.state, extra, look,
    why: [said.trouble, one.reason].filter(Boolean).join("; ") };
}

function sourceLook(one) {
  if (one.state === "selected" || one.state === "candidate") return "good";
  if (one.state === "excluded" && /noselect/.test(one.reason)) return "off";
  return one.state === "waiting" || one.state === "excluded" ? "fair" : "bad";
}

function pulseBox(one) {
  return { key: `p${one.name}`, title: one.name, kind: "PPS", value: signed(one.offset_s),
    extra: one.jitter_s === null ? one.state : `jitter ${span(one.jitter_s)}`,
    look: sourceLook(one), why: `${one.state}: ${one.reason}` };
}

function networkBox(name, kind, many) {
  const heard = many.filter((one) => one.state !== "unreachable" && one.state !== "waiting");
  const used = many.filter((one) => one.state === "selected" || one.state === "candidate");
  const wanted = many.some((one) => sourceLook(one) !== "off");
  const look = used.length ? "good" : !heard.length ? (many.every((one) => one.state === "waiting") ? "fair" : "bad") : wanted ? "fair" : "off";
  return { key: `n${kind}`, title: name, kind, value: `${heard.length} of ${many.length} heard`,
    extra: used.length ? `${used.length} usable` : wanted ? "none usable" : "compared only", look,
    why: many.map((one) => `${one.name}: ${one.state}, ${one.reason}`).join(" · ") };
}

function portBox(one) {
  const good = /SLAVE|RECEIVER|MASTER|TRANSMITTER|PASSIVE/.test(one.state);
  const look = good ? "good" : /FAULTY|DISABLED/.test(one.state) ? "bad" : "fair";
  return { key: `t${one.name}.${one.domain}`, title: one.name, kind: "PTP", value: one.state.replaceAll("_", " ").toLowerCase(),
    extra: one.mean_delay_s === null ? `domain ${one.domain}` : `delay ${span(one.mean_delay_s)}`, look,
    why: `${one.state}${one.reason ? `: ${one.reason}` : ""}${one.grandmaster ? `; grandmaster ${one.grandmaster}` : ""}` };
}

function clockBox(one, served) {
  const look = one.disciplined ? LOOK[one.state] ?? "bad" : "off";
  const fed = one.fed_by.length ? `fed by ${one.fed_by.join(", ")}` : one.disciplined ? "fed by nothing" : "only read, not corrected";
  return { key: `c${one.name}`, title: one.name, kind: one.kind === "phc" ? "card" : one.kind === "virtual" ? "virtual" : "clock",
    value: one.disciplined ? plusMinus(one.error_bound_s) : "not steered",
    extra: one.disciplined ? ppm(one.frequency_ppm, one.frequency_uncertainty_ppm) : "only read", look,
    why: `${one.state}; ${fed}; ${count(one.steps, "step")}; measured ${signed(one.offset_s)}${one.name === served ? "; this clock is served" : ""}` };
}

function serverBoxes(state, rates) {
  const boxes = [];
  const serving = state.status.serving;
  if (serving.ntp.length) {
    const synchronised = state.status.stratum < 16;
    boxes.push({ key: "s-ntp", title: "NTP server", kind: "server", value: rate(rates.answered),
      extra: serving.nts.length ? "with NTS" : `stratum ${state.status.stratum}`, look: synchronised ? "good" : "bad",
      why: `${synchronised ? "synchronised" : "says that it is not synchronised"}; listens on ${serving.ntp.join(", ")}` +
        (serving.counters ? `; ${count(serving.counters.answered, "request")} answered in all` : "") });
  }
  const masters = state.ports.filter((one) => /MASTER|TRANSMITTER/.test(one.state));
  if (masters.length) {
    boxes.push({ key: "s-ptp", title: "PTP", kind: "server", value: count(masters.length, "port"),
      extra: count(masters.reduce((sum, one) => sum + one.clients, 0), "unicast client"), look: "good",
      why: masters.map((one) => `${one.name} in domain ${one.domain}`).join(", ") });
  }
  return boxes;
}

function stages(state, rates) {
  const receivers = state.sources.filter(isReceiver);
  const pulses = state.sources.filter(isPulse);
  const others = state.sources.filter((one) => !isReceiver(one) && !isPulse(one) && one.kind !== "ptp");
  const kinds = [...new Set(others.map((one) => (one.kind === "pool" ? "ntp" : one.kind)))];
  const references = kinds.map((kind) => networkBox(kind === "ntp" ? "NTP servers" : kind, kind.toUpperCase(),
    others.filter((one) => (one.kind === "pool" ? "ntp" : one.kind) === kind)));
  const ports = state.ports.filter((one) => !/MASTER|TRANSMITTER/.test(one.state)).map(portBox);
  return [
    ["Receivers", receivers.map(receiverBox)],
    ["Pulses", pulses.map(pulseBox)],
    ["Network", [...ports, ...references]],
    ["Clocks", state.status.clocks.map((one) => clockBox(one, state.status.served_clock))],
    ["Served", serverBoxes(state, rates)],
  ].filter(([, boxes]) => boxes.length);
}

export class Chain {
  constructor() {
    this.shape = "";
    this.boxes = new Map();
    this.chosen = null;
  }

  show(state, rates) {
    const all = stages(state, rates);
    const shape = JSON.stringify(all.map(([title, boxes]) => [title, boxes.map((one) => one.key)]));
    if (shape !== this.shape) this.build(all);
    this.shape = shape;
    for (const [, boxes] of all) {
      for (const box of boxes) {
        const made = this.boxes.get(box.key);
        made.box = box;
        dress(made.node, `box ${box.look}`);
        say(made.value, box.value);
        say(made.extra, box.extra);
        made.node.setAttribute("aria-pressed", String(this.chosen === box.key));
      }
    }
    this.why();
  }

  build(all) {
    this.boxes.clear();
    $("chain").replaceChildren(...all.map(([title, boxes]) => h("div", { class: "stage" }, h("h3", {}, title), ...boxes.map((box) => {
      const value = h("strong");
      const extra = h("small");
      const node = h("button", { type: "button", class: "box" }, h("span", { class: "box-title" }, box.title), h("span", { class: "box-kind" }, box.kind), value, extra);
      node.addEventListener("click", () => { this.chosen = this.chosen === box.key ? null : box.key; this.mark(); });
      this.boxes.set(box.key, { node, value, extra, box });
      return node;
    }))));
  }

  mark() {
    for (const [key, made] of this.boxes) made.node.setAttribute("aria-pressed", String(this.chosen === key));
    this.why();
  }

  why() {
    const made = this.boxes.get(this.chosen);
    say($("chain-why"), made ? `${made.box.title}: ${made.box.why}` : "Choose a box to read why it is as it is.");
  }
}
