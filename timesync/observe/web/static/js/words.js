// The glossary, and the explanations that every underlined term carries.
import { $, h } from "./dom.js";

export const WORDS = {
  "error bound": "The most that the served clock can be wrong by now, as far as everything known goes: half the way to the reference, what the clock may have drifted since, and the spread of the measurements. The offset is what was measured; the bound is what may be relied upon.",
  "offset": "How far a clock is from what it is compared with, as measured. Positive: the clock is ahead.",
  "uncertainty": "One standard deviation: of three measurements, about two are that near to the truth.",
  "frequency": "By how much the clock would run fast (positive) or slow if nobody corrected it. 1 ppm is 86 ms a day.",
  "UTC": "The world's civil time, as this machine's system clock reads it. It has leap seconds.",
  "TAI": "International Atomic Time: like UTC, but without leap seconds, so it never jumps. PTP carries it.",
  "stratum": "How many servers there are between this one and a reference clock: 1 is the server with the reference, 16 means not synchronised.",
  "reference": "What the served time comes from: PPS, GPS or PTP here at stratum 1, or the upstream server.",
  "leap": "Whether a second will be inserted or left out at the end of this day or month.",
  "root delay": "The time that packets take to the reference clock and back, over all servers between.",
  "root dispersion": "How much error may have gathered on the way from the reference clock.",
  "PPS": "Pulse per second: an electrical pulse from a satellite receiver at the beginning of each second. It is exact, but does not say which second it is.",
  "receiver": "A satellite receiver. Its messages say which second it is; its pulse says when that begins.",
  "message delay": "From the beginning of a second, marked by the pulse, to the first byte of the receiver's message about it. Measured here, so nobody has to type it in.",
  "reach": "How many of the last eight requests were answered; for a pulse or a receiver, how many of the last eight intervals brought something.",
  "jitter": "How much successive measurements of a source differ.",
  "delay": "The time that a packet takes to the source and back.",
  "poll": "How often the source is asked.",
  "selected": "Its measurements correct the clock.",
  "candidate": "Good enough to correct the clock, and not needed for it now.",
  "falseticker": "It disagrees with most of the others, so it is not believed.",
  "excluded": "It is measured and shown; the configuration keeps it from correcting the clock.",
  "waiting": "Not enough is known of it yet.",
  "unreachable": "Nothing comes from it.",
  "PTP": "Precision Time Protocol (IEEE 1588): time over Ethernet with stamps by the hardware, for nanoseconds.",
  "NTP": "Network Time Protocol (RFC 5905): time over the internet, for milliseconds to microseconds.",
  "NTS": "Network Time Security (RFC 8915): NTP whose answers cannot be forged.",
  "port state": "What a PTP port does: TIME_RECEIVER follows a transmitter, TIME_TRANSMITTER gives time, PASSIVE waits, FAULTY says why.",
  "mean delay": "The time that a message takes over the link or path, one way.",
  "asCapable": "In 802.1AS: the neighbour speaks gPTP itself, with no foreign switch between.",
  "grandmaster": "The clock at the root of a PTP network, that all others follow.",
  "ADEV": "Allan deviation: how much the frequency differs from one stretch of time to the next, by the length of the stretch.",
  "MDEV": "Modified Allan deviation: like ADEV, but tells white from flicker phase noise.",
  "TDEV": "Time deviation: how much the time scatters, by the length of the stretch that it is averaged over.",
  "MTIE": "Maximum time interval error: the largest swing of the time within any window of a length.",
  "mask": "A limit from a standard, such as ITU-T G.8272 for primary reference time clocks (PRTC): below the line is good.",
  "C/N0": "Carrier-to-noise density: how loud a satellite is. 40 dB-Hz and more is good, below 30 the antenna sees little sky.",
  "TDOP": "Time dilution of precision: how much the places of the satellites worsen the time. Below 2 is good.",
  "HDOP": "Horizontal dilution of precision: the same for the place.",
  "holdover": "The references are gone; the clock goes on by what was learnt of it, and the error bound grows.",
  "locked": "The clock follows its references, and the error bound holds.",
  "acquiring": "The clock is being brought to its references; it is not to be relied upon yet.",
  "freerun": "No reference, and nothing learnt that the clock could go on by.",
  "sky plot": "The sky above the antenna: the centre is the zenith, the rim the horizon, north is up. Hollow satellites are heard but not used.",
};

const LABELS = { freerun: "free-run" };
let pinned = null;

/** A term with its explanation, for mouse, touch and keyboard. */
export function term(key, text = key) {
  return h("button", { type: "button", class: "term", "data-word": key, "aria-describedby": "tip" }, text);
}

function show(button) {
  const tip = $("tip");
  tip.textContent = WORDS[button.dataset.word] ?? "";
  tip.hidden = false;
  const at = button.getBoundingClientRect();
  const width = tip.offsetWidth;
  const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - width - 8);
  const below = at.bottom + 8 + tip.offsetHeight < document.documentElement.clientHeight;
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${window.scrollY + (below ? at.bottom + 6 : at.top - tip.offsetHeight - 6)}px`;
}

function hide() { $("tip").hidden = true; pinned = null; }

export function begin() {
  for (const place of document.querySelectorAll("[data-term]")) {
    place.replaceChildren(term(place.dataset.term, place.textContent));
  }
  const of = (event) => (event.target instanceof Element ? event.target.closest(".term") : null);
  document.addEventListener("pointerover", (event) => { const one = of(event); if (one) show(one); else if (!pinned) hide(); });
  document.addEventListener("focusin", (event) => { const one = of(event); if (one) show(one); else hide(); });
  document.addEventListener("click", (event) => {
    const one = of(event);
    if (!one) { hide(); return; }
    event.preventDefault();
    if (pinned === one) hide(); else { show(one); pinned = one; }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", () => { if (!pinned) hide(); }, { passive: true });
  $("glossary").replaceChildren(...Object.entries(WORDS).sort(([a], [b]) => a.localeCompare(b)).flatMap(([word, text]) => [
    h("dt", {}, LABELS[word] ?? word), h("dd", {}, text),
  ]));
}
