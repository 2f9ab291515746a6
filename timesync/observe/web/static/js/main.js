// The page: what comes from the daemon, and where it is shown.
import { $, dress, h, say, wishes } from "./dom.js";
import { Live, ask } from "./live.js";
import { Plots } from "./plots.js";
import { Skies } from "./sky.js";
import { Tables } from "./tables.js";
import { clock, long } from "./units.js";
import { Chain, Ticking, verdict } from "./verdict.js";
import { begin } from "./words.js";

const THEMES = ["system", "light", "dark"];

begin();
const ticking = new Ticking();
const chain = new Chain();
const tables = new Tables();
const skies = new Skies();
const plots = new Plots();
let before = null;
let last = null;

// -- theme

const theme = () => document.documentElement.dataset.theme ?? "system";

function choose(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  wishes.set("theme", name);
  say($("theme"), `Theme: ${name}`);
  plots.recolour();
}

say($("theme"), `Theme: ${theme()}`);
$("theme").addEventListener("click", () => choose(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.recolour());

// -- news

/** What the server did per second between two reports; null where that is not known. */
function ratesOf(state) {
  const [now, then] = [state, before].map((one) => one?.status.serving.counters ?? null);
  const elapsed = before === null ? 0 : (state.utc_ns - before.utc_ns) / 1e9;
  const found = {};
  for (const name of ["received", "answered", "limited", "denied", "nts"]) {
    const more = now === null || then === null || now[name] === undefined ? null : now[name] - then[name];
    found[name] = more === null || more < 0 || elapsed <= 0 || elapsed > 60 ? null : more / elapsed;
  }
  return found;
}

function show(state) {
  const rates = ratesOf(state);
  before = state;
  last = state;
  ticking.state(state);
  plots.state(state, rates);
  if (!document.hidden) draw(state, rates);
}

function draw(state, rates) {
  document.body.classList.remove("waiting");
  verdict(state);
  chain.show(state, rates);
  tables.show(state);
  skies.show(state);
}

async function greet(hello) {
  say($("host"), hello.host ?? "");
  say($("version"), `timesync ${hello.version ?? ""}`);
  document.title = `timesync ${hello.host ?? ""}`;
  before = null;
  plots.reload();
  try {
    const found = await ask("/api/v1/events", [["most", 100]]);
    tables.setEvents(found.events);
  } catch { /* they come by themselves from now on */ }
}

function contact(text, age) {
  const alarm = $("alarm");
  const lost = text !== null && last !== null;
  document.body.classList.toggle("old", lost);
  dress($("contact"), `contact ${text === null ? "good" : lost ? "bad" : "fair"}`);
  if (text === null) {
    say($("contact"), "live");
    alarm.hidden = true;
    return;
  }
  say($("contact"), last === null ? text : "not live");
  if (!lost) return;
  const since = clock(last.utc_ns / 1e6);
  alarm.hidden = false;
  say(alarm, `${text}. Everything below is old: it was so at ${since} UTC, ${long(age / 1000)} ago. Trying again by itself.`);
  say($("word"), "NO CONTACT");
  dress($("verdict"), "verdict bad");
  say($("reason"), `the last report is ${long(age / 1000)} old`);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && last !== null) { draw(last, {}); plots.draw(); } });
new Live({ hello: greet, state: show, clients: (message) => tables.showClients(message), event: (event) => tables.addEvent(event), contact });
document.body.append(h("span", { id: "ready", hidden: true }));
