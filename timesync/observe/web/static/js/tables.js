// Sources, PTP ports, clients and events.
import { $, Table, h, say, wishes } from "./dom.js";
import { NONE, clock, count, day, plusMinus, signed, span } from "./units.js";
import { term } from "./words.js";

const PILL = { selected: "good", candidate: "good", waiting: "fair", excluded: "off", falseticker: "bad", unreachable: "bad" };
const OFFSET_KINDS_WITHOUT_DELAY = new Set(["pps", "nmea", "gpsd", "ubx", "sock", "shm"]);

const reach = (one) => ({
  class: "reach",
  parts: [{ text: "●".repeat(one.reach), class: one.reach >= 6 ? "on" : one.reach >= 3 ? "some" : "few", label: `${one.reach} of 8` },
    { text: "●".repeat(8 - one.reach), class: "none", label: " " }, { text: `${Math.round(one.reach * 12.5)} %`, class: "note" }],
});

const secure = (one) => {
  if (one.details.nts || one.details.nts_cookies !== undefined) return one.authenticated ? "NTS" : "NTS, not yet";
  return one.authenticated ? "key" : NONE;
};

const whole = (value) => (value === null ? NONE : value.toLocaleString("en"));
const poll = (one) => (one.poll_s === null ? NONE : span(one.poll_s));

export class Tables {
  constructor() {
    this.sources = new Table($("sources"), [
      { title: "Source", cell: (one) => ({ class: "name", parts: [{ text: one.name, class: "main" }, { text: [one.kind, one.address].filter(Boolean).join(" · "), class: "note" }] }) },
      { title: "State", cell: (one) => ({ parts: [{ text: one.state, class: `pill ${PILL[one.state] ?? "fair"}` }] }) },
      { title: "Reach", term: "reach", cell: reach },
      { title: "Offset", term: "offset", cell: (one) => ({ class: "num", parts: [{ text: signed(one.offset_s) }, { text: one.offset_s === null ? "" : plusMinus(one.uncertainty_s), class: "note" }] }) },
      { title: "Delay", term: "delay", cell: (one) => ({ class: "num", text: OFFSET_KINDS_WITHOUT_DELAY.has(one.kind) ? NONE : span(one.delay_s) }) },
      { title: "Jitter", term: "jitter", cell: (one) => ({ class: "num", text: span(one.jitter_s) }) },
      { title: "Poll", term: "poll", cell: (one) => ({ class: "num", text: poll(one) }) },
      { title: "Stratum", term: "stratum", cell: (one) => ({ class: "num", text: one.stratum ?? NONE }) },
      { title: "Secured", term: "NTS", cell: (one) => ({ text: secure(one) }) },
      { title: "Age", cell: (one) => ({ class: "num", text: one.last_sample_age_s === null ? NONE : span(Math.max(0, one.last_sample_age_s)) }) },
      { title: "Why", cell: (one) => ({ class: "reason-cell", parts: [{ text: one.reason }] }) },
    ], term);
    this.ports = new Table($("ports"), [
      { title: "Port", cell: (one) => ({ class: "name", parts: [{ text: one.name, class: "main" }, { text: `domain ${one.domain} · ${one.transport} · ${one.timestamping ?? "no stamps"}`, class: "note" }] }) },
      { title: "State", term: "port state", cell: (one) => ({ parts: [{ text: one.state.replaceAll("_", " "), class: `pill ${/FAULTY|DISABLED/.test(one.state) ? "bad" : /INITIALIZING|LISTENING|UNCALIBRATED|PRE/.test(one.state) ? "fair" : "good"}` }] }) },
      { title: "Offset", term: "offset", cell: (one) => ({ class: "num", text: signed(one.offset_s) }) },
      { title: "Mean delay", term: "mean delay", cell: (one) => ({ class: "num", parts: [{ text: span(one.mean_delay_s) }, { text: one.delay_mechanism ?? "", class: "note" }] }) },
      { title: "asCapable", term: "asCapable", cell: (one) => ({ text: one.as_capable === null ? NONE : one.as_capable ? "yes" : "no" }) },
      { title: "Grandmaster", term: "grandmaster", cell: (one) => ({ class: "mono", text: one.grandmaster ?? NONE }) },
      { title: "Parent", cell: (one) => ({ class: "mono", text: one.parent ?? NONE }) },
      { title: "Messages", cell: (one) => ({ class: "num", parts: [{ text: `${total(one.received)} in` }, { text: `${total(one.sent)} out`, class: "note" }] }) },
      { title: "Dropped", cell: (one) => ({ class: "num", text: String(total(one.drops) + one.lost_stamps) }) },
      { title: "Why", cell: (one) => ({ class: "reason-cell", parts: [{ text: one.reason }] }) },
    ], term);
    this.clients = new Table($("clients"), [
      { title: "Client", cell: (one) => ({ class: "mono", text: $("private").checked ? network(one.address) : one.address }) },
      { title: "Protocol", cell: (one) => ({ text: `${one.protocol.toUpperCase()}${one.version === null ? "" : ` version ${one.version}`}` }) },
      { title: "Secured", term: "NTS", cell: (one) => ({ text: one.nts ? "NTS" : NONE }) },
      { title: "Requests", cell: (one) => ({ class: "num", text: whole(one.requests) }) },
      { title: "Dropped", cell: (one) => ({ class: "num", text: whole(one.dropped) }) },
      { title: "Every", cell: (one) => ({ class: "num", text: span(one.interval_s) }) },
      { title: "Last", cell: (one) => ({ class: "num", text: one.last_s === null ? NONE : one.last_s < 0.5 ? "just now" : `${span(one.last_s)} ago` }) },
    ], term);
    $("private").checked = wishes.get("private") === "1";
    $("private").addEventListener("change", () => { wishes.set("private", $("private").checked ? "1" : "0"); if (this.last) this.showClients(this.last); });
    this.events = [];
  }

  show(state) {
    this.sources.show(state.sources, (one) => one.name);
    $("no-sources").hidden = state.sources.length > 0;
    $("sources").hidden = state.sources.length === 0;
    $("ports-card").hidden = state.ports.length === 0;
    this.ports.show(state.ports, (one) => `${one.name}.${one.domain}`);
  }

  /** The rows are those that ask most, in this order. */
  showClients(message) {
    this.last = message;
    const rows = message.clients;
    $("clients-card").hidden = rows.length === 0;
    this.clients.show(rows, (one) => `${one.protocol} ${one.address}`);
    const secured = rows.filter((one) => one.nts).length;
    say($("clients-sum"), `${count(message.known, "client")}${message.known > rows.length ? `, of which the ${rows.length} that ask most are shown` : ""}; ${secured} of these with NTS`);
  }

  setEvents(events) { this.events = events.slice(-100); this.showEvents(); }

  addEvent(event) { this.events = [...this.events, event].slice(-100); this.showEvents(); }

  showEvents() {
    const today = day(Date.now());
    $("no-events").hidden = this.events.length > 0;
    $("events").hidden = this.events.length === 0;
    $("events").replaceChildren(...this.events.map((one) => {
      const ms = one.utc_ns / 1e6;
      return h("li", { class: one.level }, h("time", { datetime: new Date(ms).toISOString() }, `${day(ms) === today ? "" : `${day(ms)} `}${clock(ms)} UTC`),
        h("span", { class: "level" }, one.level), h("span", {}, one.source && !one.text.startsWith(one.source) ? `${one.source}: ${one.text}` : one.text));
    }).reverse());
  }
}

const total = (counted) => Object.values(counted).reduce((sum, one) => sum + one, 0);

/** An address without what tells one client of a network from the next: /24 and /56. */
export function network(address) {
  if (/^[\d.]+$/.test(address)) return `${address.split(".").slice(0, 3).join(".")}.0/24`;
  // The maker of an Ethernet card.
  if (/^[\da-f]{2}(:[\da-f]{2}){5}$/i.test(address)) return `${address.slice(0, 8)}:…`;
  const [head, tail = ""] = address.split("::");
  const first = head ? head.split(":") : [];
  const last = tail ? tail.split(":") : [];
  const groups = address.includes("::") ? [...first, ...Array(Math.max(0, 8 - first.length - last.length)).fill("0"), ...last] : first;
  const fourth = parseInt(groups[3] ?? "0", 16) & 0xff00;
  return `${groups.slice(0, 3).join(":")}:${fourth.toString(16)}::/56`;
}
