// The connection to the server: reads that are made again when something has happened, and the stream of events that
// says so. It knows since when it has heard nothing, and catches up by itself.

// sources are what the page reads. min is the least time between two reads while events come, max when there are none:
// storage machines tell how they are without an event.
const sources = {
  pools: { path: "/v1/pools", min: 1e3, max: 15e3 },
  nodes: { path: "/v1/nodes", min: 1e3, max: 15e3 },
  pairs: { path: "/v1/storage", min: 1e3, max: 3e3 },
  rollouts: { path: "/v1/rollouts", min: 1e3, max: 15e3 },
  images: { path: "/v1/images", min: 5e3, max: 30e3 },
};

const patience = 20e3; // for one answer
const deaf = 40e3; // a stream that lives sends an empty line every 15 s
const waits = [1e3, 2e3, 4e3, 8e3, 10e3]; // before the next try
const eventsKept = 200;

// Refused is an answer that says no; the message is the server's sentence.
export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// Feed keeps data as new as the server has it. env gives fetch, now (ms) and sleep (ms, wakes early with the signal).
// on.data(name, value), on.events(list, all), on.contact({ok, since, why}) and on.login(why) tell what comes; on.fault(name,
// why) that one of the data, or "events", is not as new as the rest, and with "" that it is again.
export class Feed {
  constructor(env, on) {
    this.env = env;
    this.on = on;
    this.token = "";
    this.running = null; // an AbortController while it runs
    this.heard = 0; // when the server was last heard of, by this machine's clock
    this.fed = 0; // when the stream last gave something; 0 while there is none
    this.skew = 0; // what the server's clock is ahead of this one, in ms
    this.lost = null;
    this.reads = {};
    this.forget();
  }

  forget() {
    for (const name of Object.keys(sources)) this.reads[name] = { etag: "", at: -Infinity, took: 0, dirty: true, busy: false };
  }

  // now is the server's time.
  now() { return this.env.now() + this.skew; }

  start(token) {
    this.stop();
    this.token = token;
    this.forget();
    this.resume();
  }

  // resume goes on after a pause, and catches up.
  resume() {
    if (this.running) return;
    this.running = new AbortController();
    this.fed = 0; // what the stream of before the pause gave is no measure for the next one
    for (const r of Object.values(this.reads)) { r.dirty = true; r.busy = false; r.at = -Infinity; }
    this.follow(this.running.signal);
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  // request makes one request and gives its status, headers and value; an answer that says no is a Refused. With stream
  // the value is the body's reader, which ends with signal.
  async request(path, { method = "GET", body, headers = {}, signal, stream = false, wait = patience } = {}) {
    const cut = new AbortController(), end = () => cut.abort();
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    const timer = this.env.timeout(end, wait);
    try {
      const resp = await this.env.fetch(path, {
        method, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer", signal: cut.signal,
        headers: { ...(this.token && { Authorization: "Bearer " + this.token }), ...(body && { "Content-Type": "application/json" }), ...headers },
        body: body && JSON.stringify(body),
      });
      this.hear(resp.headers.get("Date"));
      if (resp.status >= 400) throw new Refused(resp.status, (await resp.json().catch(() => ({}))).error ?? "status " + resp.status);
      const value = stream ? resp.body.getReader() : resp.status === 304 ? null : await resp.json();
      return { status: resp.status, etag: resp.headers.get("ETag") ?? "", value };
    } finally {
      this.env.clear(timer);
      if (!stream) signal?.removeEventListener("abort", end); // it outlives the request
    }
  }

  // json is the value at a path.
  async json(path, o) { return (await this.request(path, o)).value; }

  // hear notes that the server lives, and what its clock says (to the second: RFC 9110 §5.6.7).
  hear(date) {
    this.heard = this.env.now();
    const skew = date ? Date.parse(date) + 500 - this.heard : NaN;
    if (Math.abs(skew - this.skew) > 1500) this.skew = Math.abs(skew) > 1500 ? skew : 0;
    if (this.lost) {
      this.lost = null;
      for (const r of Object.values(this.reads)) if (r.dirty) r.at = -Infinity;
      this.on.contact({ ok: true, since: 0, why: "" });
    }
  }

  lose(why) {
    if (this.lost === why) return;
    this.lost = why;
    this.on.contact({ ok: false, since: this.heard, why });
  }

  // follow reads the stream, again and again, until signal ends it.
  async follow(signal) {
    for (let tries = 0; !signal.aborted; tries++) {
      const cut = this.cut = new AbortController(), end = () => cut.abort();
      signal.addEventListener("abort", end);
      try {
        const list = await this.json("/v1/events?last=100", { signal });
        this.on.events(list, true);
        for (const r of Object.values(this.reads)) r.etag = ""; // it may be another server, with another store
        this.soil();
        const { value: reader } = await this.request("/v1/events?follow=1&after=" + (list.at(-1)?.seq ?? 0), { signal: cut.signal, stream: true });
        tries = 0;
        this.fed = this.heard;
        await this.lines(reader);
        if (!signal.aborted) this.fall("the server ended the connection");
      } catch (err) {
        if (signal.aborted || this.refused(err)) return;
        this.fall(err instanceof Refused ? err.message : "the server does not answer");
      } finally {
        signal.removeEventListener("abort", end);
        cut.abort(); // what was not read to its end
      }
      await this.env.sleep(waits[Math.min(tries, waits.length - 1)], signal);
    }
  }

  // fall says that no events come. The next read that is answered ends the loss of contact, but not that.
  fall(why) {
    this.on.fault("events", why);
    this.lose(why);
  }

  // lines gives every line of a stream as an event.
  async lines(reader) {
    const text = new TextDecoder();
    let rest = "", first = true;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (first) this.on.fault("events", "");
      first = false;
      this.hear();
      this.fed = this.heard;
      const lines = (rest + text.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      const list = lines.filter((l) => l.trim()).map((l) => JSON.parse(l));
      if (list.length === 0) continue;
      this.on.events(list, false);
      this.soil();
    }
  }

  // soil says that everything may have changed.
  soil() { for (const r of Object.values(this.reads)) r.dirty = true; }

  // tick is to be called every second or so: it makes the reads that are due.
  tick() {
    if (!this.running) return;
    const now = this.env.now();
    if (this.fed && now - this.fed > deaf) {
      this.fed = 0; // until the next stream
      this.cut?.abort();
    }
    for (const [name, r] of Object.entries(this.reads)) {
      const { min, max } = sources[name];
      // A big rack on a slow line is read more seldom.
      const pause = r.dirty ? Math.max(min, 4 * r.took) : max;
      if (!r.busy && now - r.at >= pause) this.read(name, r, this.running.signal);
    }
  }

  async read(name, r, signal) {
    r.busy = true;
    r.dirty = false;
    r.at = this.env.now();
    try {
      const { status, etag, value } = await this.request(sources[name].path, { signal, headers: r.etag ? { "If-None-Match": r.etag } : {} });
      if (status !== 304) {
        r.etag = etag;
        this.on.data(name, value);
        this.on.fault(name, "");
      }
    } catch (err) {
      if (signal.aborted || this.refused(err)) return;
      r.dirty = true;
      r.etag = ""; // the next answer shall be a whole one, which ends the fault
      this.on.fault(name, err instanceof Refused ? err.message : "the server does not answer");
      // Who has answered something else meanwhile is there.
      if (!(err instanceof Refused) && this.heard <= r.at) this.lose("the server does not answer");
    } finally {
      r.took = this.env.now() - r.at;
      r.busy = false;
    }
  }

  // refused asks for the token when the server wants one, or another.
  refused(err) {
    if (err?.status !== 401) return false;
    const had = this.token;
    this.stop();
    this.token = "";
    this.on.login(had ? "The server does not take this token." : "");
    return true;
  }
}

export { eventsKept };
