// Numbers for people: always with their unit.

const SMALL = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"], [1e-12, "ps"]];
export const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);
const digits = (value, count = 3) => {
  const size = Math.abs(value);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toFixed(Math.max(0, places + count - 3)).replace("-", "−");
};

/** The unit in which a number of seconds reads best: [its size, its name]. */
export function unitOf(seconds) {
  const size = Math.abs(seconds);
  return SMALL.find(([unit]) => size >= unit * 0.9995) ?? (size === 0 ? [1e-9, "ns"] : SMALL.at(-1));
}

export function span(seconds) {
  if (!known(seconds)) return NONE;
  if (Math.abs(seconds) >= 120) return `${seconds < 0 ? "−" : ""}${long(seconds)}`;
  const shown = nothing(seconds) ? 0 : seconds;
  const [unit, name] = unitOf(shown);
  return `${digits(shown / unit)} ${name}`;
}

/** What would be written as zero has no sign. */
const nothing = (seconds) => Math.abs(seconds) < 5e-15;

export const signed = (seconds) => (known(seconds) ? `${seconds > 0 && !nothing(seconds) ? "+" : ""}${span(seconds)}` : NONE);
export const plusMinus = (seconds) => (known(seconds) ? `± ${span(Math.abs(seconds))}` : NONE);

/** With the places that its uncertainty leaves to it. */
export function ppm(value, uncertainty) {
  if (!known(value) || uncertainty === null) return NONE;
  const places = known(uncertainty) && uncertainty > 0 ? Math.min(4, Math.max(1, Math.ceil(-Math.log10(uncertainty)) + 1)) : 3;
  return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(places)} ppm`;
}

export const number = (value, unit, places = 0) => (known(value) ? `${value.toFixed(places).replace("-", "−")} ${unit}` : NONE);
export const rate = (value) => (known(value) ? `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} /s` : NONE);
export const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

/** Of a duration, its two largest parts. */
export function long(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.floor(Math.abs(seconds));
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([size]) => size > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([size]) => size > 0).map(([size, name]) => `${size} ${name}`).join(" ");
}

const two = (value) => String(value).padStart(2, "0");
export const clock = (ms) => { const at = new Date(ms); return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`; };
export const day = (ms) => new Date(ms).toISOString().slice(0, 10);
