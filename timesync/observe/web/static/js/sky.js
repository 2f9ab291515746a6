// What the receivers see: a card for each, with its sky and how loud the satellites are.
import { $, h, say, svg } from "./dom.js";
import { NONE, number, span } from "./units.js";
import { term } from "./words.js";

const SYSTEMS = { GPS: ["G", "sys1"], GLONASS: ["R", "sys2"], Galileo: ["E", "sys3"], BeiDou: ["C", "sys4"], QZSS: ["J", "sys5"], SBAS: ["S", "sys6"], NavIC: ["I", "sys6"] };
const LOUDEST = 55;

const look = (one) => SYSTEMS[one.gnss] ?? ["?", "sys6"];
const name = (one) => `${look(one)[0]}${String(one.id).padStart(2, "0")}`;
const fade = (one) => (one.cn0_db_hz === null ? 0.35 : Math.min(1, Math.max(0.35, one.cn0_db_hz / 45)).toFixed(2));

function plot(sky) {
  const made = svg("svg", { viewBox: "-118 -118 236 236", role: "img", class: "sky" });
  const placed = sky.filter((one) => one.elevation_deg !== null && one.elevation_deg >= 0 && one.azimuth_deg !== null);
  made.append(svg("title", {}, `Sky plot: ${placed.length} satellites, ${placed.filter((one) => one.used).length} of them used`));
  for (const radius of [33.3, 66.7, 100]) made.append(svg("circle", { r: radius, class: "ring" }));
  made.append(svg("path", { d: "M-100 0H100M0-100V100", class: "ring" }));
  for (const [text, x, y] of [["N", 0, -106], ["E", 109, 4], ["S", 0, 115], ["W", -110, 4]]) made.append(svg("text", { x, y, class: "axis" }, text));
  for (const one of placed) {
    const far = 100 * (1 - one.elevation_deg / 90);
    const angle = (one.azimuth_deg * Math.PI) / 180;
    const [x, y] = [far * Math.sin(angle), -far * Math.cos(angle)].map((value) => value.toFixed(1));
    made.append(svg("g", { class: `sat ${look(one)[1]} ${one.used ? "used" : "unused"}`, opacity: fade(one) },
      svg("circle", { cx: x, cy: y, r: 9 }), svg("text", { x, y: Number(y) + 2.6 }, name(one)),
      svg("title", {}, `${one.gnss} ${one.id}: elevation ${Math.round(one.elevation_deg)}°, azimuth ${Math.round(one.azimuth_deg)}°, ${one.cn0_db_hz === null ? "not heard" : `${Math.round(one.cn0_db_hz)} dB-Hz`}, ${one.used ? "used" : "not used"}`)));
  }
  return made;
}

function bars(sky) {
  const heard = sky.filter((one) => one.cn0_db_hz !== null).sort((a, b) => a.gnss.localeCompare(b.gnss) || a.id - b.id).slice(0, 40);
  const width = Math.max(heard.length, 12) * 13 + 26;
  const made = svg("svg", { viewBox: `0 0 ${width} 118`, role: "img", class: "bars", preserveAspectRatio: "xMinYMid" });
  made.append(svg("title", {}, `C/N0 of ${heard.length} satellites in dB-Hz`));
  for (const level of [10, 20, 30, 40, 50]) {
    const y = 96 - (level / LOUDEST) * 92;
    made.append(svg("path", { d: `M22 ${y.toFixed(1)}H${width}`, class: "ring" }), svg("text", { x: 18, y: y + 3, class: "axis end" }, String(level)));
  }
  heard.forEach((one, index) => {
    const tall = Math.min(1, one.cn0_db_hz / LOUDEST) * 92;
    const x = 26 + index * 13;
    made.append(svg("g", { class: `sat ${look(one)[1]} ${one.used ? "used" : "unused"}` },
      svg("rect", { x, y: (96 - tall).toFixed(1), width: 9, height: tall.toFixed(1), rx: 1.5 }),
      svg("text", { x: 0, y: 0, transform: `translate(${x + 7.4} 114) rotate(-90)`, class: "foot" }, name(one)),
      svg("title", {}, `${one.gnss} ${one.id}: ${Math.round(one.cn0_db_hz)} dB-Hz`)));
  });
  return made;
}

const ROWS = [
  [null, "Fix", (one) => one.fix ?? NONE],
  [null, "Satellites", (one) => (one.satellites_used === null ? NONE : `${one.satellites_used} used, ${one.satellites_seen ?? "?"} in view`)],
  ["C/N0", "Mean C/N0", (one) => number(one.cn0_mean_db_hz, "dB-Hz", 1)],
  ["HDOP", "HDOP", (one) => (one.hdop === null ? NONE : one.hdop.toFixed(2))],
  ["TDOP", "TDOP", (one) => (one.tdop === null ? NONE : one.tdop.toFixed(2))],
  ["message delay", "Message delay", (one) => (one.latency_s === undefined ? NONE : `${span(one.latency_s)} ± ${span(one.latency_spread_s)}${one.latency_calibrated ? "" : ", not calibrated yet"}`)],
  [null, "Jamming", (one) => one.jamming ?? "not told"],
  [null, "Spoofing", (one) => one.spoofing ?? "not told"],
  [null, "Antenna", (one) => one.antenna ?? "not told"],
  [null, "Device", (one) => [one.receiver, one.device].filter(Boolean).join(" · ") || NONE],
];

export class Skies {
  constructor() { this.cards = new Map(); }

  show(state) {
    const receivers = state.sources.filter((one) => "satellites_used" in one.details);
    for (const one of receivers) this.card(one);
    for (const [key, card] of this.cards) {
      if (!receivers.some((one) => one.name === key)) { card.node.remove(); this.cards.delete(key); }
    }
  }

  card(source) {
    let card = this.cards.get(source.name);
    if (card === undefined) {
      const values = ROWS.map(() => h("dd"));
      const drawing = h("div", { class: "sky-box" });
      const node = h("section", { class: "card", "aria-label": `Receiver ${source.name}` },
        h("h2", {}, "Receiver ", source.name),
        h("div", { class: "gnss-box" }, drawing, h("dl", { class: "facts wide" }, ...ROWS.map(([word, title], at) => h("div", {}, h("dt", {}, word ? term(word, title) : title), values[at])))));
      card = { node, values, drawing, drawn: "" };
      this.cards.set(source.name, card);
      $("gnss").append(node);
    }
    ROWS.forEach(([, , text], at) => say(card.values[at], text(source.details)));
    const sky = source.details.sky ?? [];
    const shape = JSON.stringify(sky);
    if (card.drawn === shape) return;
    card.drawn = shape;
    const systems = [...new Set(sky.map((one) => one.gnss))].filter(Boolean);
    card.drawing.replaceChildren(...(sky.length ? [
      h("figure", {}, h("figcaption", {}, term("sky plot", "Sky")), plot(sky)),
      h("figure", { class: "grow" }, h("figcaption", {}, term("C/N0", "C/N0"), " in dB-Hz"), bars(sky),
        h("p", { class: "key" }, ...systems.map((one) => h("span", { class: `sat ${look({ gnss: one })[1]}` }, `${look({ gnss: one })[0]} ${one}`)))),
    ] : [h("p", { class: "empty" }, "The receiver does not tell of single satellites.")]));
  }
}
