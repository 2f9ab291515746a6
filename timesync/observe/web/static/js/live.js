// The connection: server-sent events, begun again for as long as it takes; and how old what we know is.

const STALE_MS = 4000;
const FIRST_MS = 1000;
const LAST_MS = 8000;

/**
 * Calls on.hello(hello), on.state(state), on.clients(clients), on.event(event), and on.contact(text or null, ageMs) four times a second:
 * null while all is well.
 */
export class Live {
  constructor(on) {
    this.on = on;
    this.heard = null;
    this.open = false;
    this.refused = false;
    this.wait = FIRST_MS;
    this.connect();
    setInterval(() => this.look(), 250);
  }

  connect() {
    this.source = new EventSource("/events");
    this.source.addEventListener("open", () => { this.open = true; this.refused = false; this.wait = FIRST_MS; });
    this.source.addEventListener("hello", (event) => this.on.hello(JSON.parse(event.data)));
    this.source.addEventListener("event", (event) => this.on.event(JSON.parse(event.data)));
    this.source.addEventListener("clients", (event) => this.on.clients(JSON.parse(event.data)));
    this.source.addEventListener("state", (event) => {
      this.heard = performance.now();
      this.on.state(JSON.parse(event.data));
    });
    this.source.addEventListener("error", () => {
      this.open = false;
      // The browser tries again by itself, unless it was refused; a refusal may be over soon as well.
      if (this.source.readyState === EventSource.CLOSED) {
        this.refused = true;
        setTimeout(() => this.connect(), this.wait);
        this.wait = Math.min(this.wait * 2, LAST_MS);
      }
    });
  }

  look() {
    const age = this.heard === null ? null : performance.now() - this.heard;
    if (this.open && age !== null && age < STALE_MS) this.on.contact(null, age);
    else if (this.open && age === null) this.on.contact("connected, and waiting for the first report", null);
    else if (this.open) this.on.contact("The daemon says nothing any more", age);
    else if (age !== null && age < STALE_MS) this.on.contact(null, age);
    else this.on.contact(this.refused ? "The page is refused by the server (too many readers?)" : "No contact with timesync", age);
  }
}

export async function ask(path, query = []) {
  const url = new URL(path, location.origin);
  for (const [key, value] of query) url.searchParams.append(key, value);
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
