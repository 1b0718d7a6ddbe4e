// One machine: what is known of it, its boots with their timelines, and the few things that can be done about it.
import { h, keyed, part, show, sign, since, text, tone } from "./dom.js";
import { bootTitle, machine, nameOf, stateOf, timeline } from "./model.js";
import { clean, ms, stamp } from "./text.js";

// NodeView is the dialog. o.feed makes its requests; o.node(mac) gives the node, o.known() whether the nodes were read, o.pools() the pools and o.pairs() the
// pairs, as the page has them.
export class NodeView {
  constructor(dialog, o) {
    this.dialog = dialog;
    this.o = o;
    this.mac = "";
    this.boots = null;
    this.read = 0; // when the boots were read last
    this.seen = ""; // what the node was then
    const body = dialog.querySelector(".node-body");
    this.state = h("span", { class: "state" });
    this.since = h("span", { class: "since" });
    this.why = h("p", { class: "why" });
    this.facts = h("dl", { class: "facts" });
    this.actions = h("div", { class: "actions" });
    this.outcome = h("p", { class: "outcome", role: "status", "aria-live": "polite" });
    this.list = h("div", { class: "boots" });
    body.append(h("p", { class: "node-state" }, this.state, " ", this.since), this.why, this.actions, this.outcome,
      h("h3", {}, "Boots"), this.list, h("h3", {}, "Machine"), this.facts);
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => this.closed());
  }

  // open shows a machine; mac is what its address bar says, too.
  open(mac) {
    this.mac = mac;
    this.boots = null;
    this.read = 0;
    this.idle();
    text(this.outcome, "");
    keyed(this.list, [], null, null);
    this.fault = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.draw();
    this.load();
  }

  closed() {
    this.mac = "";
    if (location.hash) history.replaceState(null, "", location.pathname);
  }

  // load reads the boots when something has happened to the node since; at most once a second.
  async load() {
    const mac = this.mac, n = this.o.node(mac), now = this.o.feed.now();
    const seen = n ? [n.boot, n.state, n.since, n.lastSeen, n.why].join(" ") : "";
    if (!mac || this.busy || now - this.read < 1000 || this.boots && seen === this.seen) return;
    this.busy = true;
    this.read = now;
    try {
      const boots = await this.o.feed.json(`/v1/nodes/${encodeURIComponent(mac)}/boots`);
      if (this.mac !== mac) return;
      this.boots = boots;
      this.seen = seen;
      this.fault = "";
    } catch (err) {
      this.fault = err.status ? err.message : "the server does not answer";
    } finally {
      this.busy = false;
    }
    this.draw();
  }

  // draw shows what there is; it is called whenever something may have changed.
  draw() {
    if (!this.mac) return;
    const n = this.o.node(this.mac), now = this.o.feed.now();
    text(this.dialog.querySelector("h2"), n ? nameOf(n) : clean(this.mac));
    if (n) {
      sign(this.state, stateOf(n.state));
      since(this.since, ms(n.since));
      text(this.why, n.restart ? "is asked to restart: " + clean(n.restart) : clean(n.why));
      keyed(this.facts, facts(n), () => h("div", {}, part("name", "dt"), part("text", "dd")), (_, f, p) => { text(p.name, f.name); text(p.text, f.text); });
      if (!this.asking) this.drawActions(n);
    } else this.drawNone();
    show(this.why, this.why.textContent !== "");
    this.drawBoots(now);
  }

  // drawNone takes away what was shown of another machine, or of this one when it was known: no button is left that would
  // do something to it.
  drawNone() {
    sign(this.state, this.o.known() ? { sign: "✕", word: "not known, or not any more", tone: "bad" } : { sign: "…", word: "reading", tone: "dim" });
    since(this.since, 0);
    text(this.why, "");
    keyed(this.facts, [], null, null);
    this.idle();
    this.actions.replaceChildren();
  }

  drawBoots(now) {
    const none = this.fault ? "The boots cannot be read: " + clean(this.fault) : this.boots ? "It has not booted here yet." : "Reading …";
    const rows = (this.boots ?? []).map((b) => ({ key: String(b.id), boot: b }));
    const latest = rows[0]?.key;
    if (this.fault || !rows.length) rows.unshift({ key: "none" }); // what is known of before stays, but is not all
    keyed(this.list, rows, (r) => r.boot ?
      h("details", { class: "boot", open: r.key === latest }, h("summary", {}, part("title"), " ", part("since")), part("events", "ol", { class: "timeline" })) : h("p", { class: "dim" }),
    (el, r, p) => {
      if (!r.boot) return text(el, none);
      const t = bootTitle(r.boot, now);
      text(p.title, t.text);
      tone(p.title, t.tone);
      since(p.since, t.at);
      keyed(p.events, timeline(r.boot), () => h("li", {}, part("at", "time"), part("step", "strong"), part("text")), (li, e, q) => {
        tone(li, e.bad ? "bad" : e.slow ? "warn" : "plain");
        text(q.at, e.at);
        text(q.step, (e.bad ? "✕ " : "") + e.step);
        text(q.text, e.text + (e.slow ? ` (longest: ${(e.took / 1000).toFixed(1)}s)` : ""));
      });
    });
  }

  // drawActions offers what can be done. None of it is done without a second click.
  drawActions(n) {
    const key = [n.mac, n.state, n.pool, n.power?.driver, this.o.pools().map((p) => p.name).join()].join();
    if (this.actionsKey === key) return;
    this.actionsKey = key;
    const b = (label, ask) => h("button", { type: "button", on: { click: () => this.ask(this.o.node(n.mac) ?? n, ask) } }, label);
    const all = [];
    if (n.state === "waiting" || !n.pool) all.push(b("Assign to a pool …", assign));
    if (n.state !== "ready") all.push(b("Power on …", powerOn));
    all.push(b("Restart …", restart), b("Power-cycle …", cycle));
    this.actions.replaceChildren(...all);
  }

  idle() {
    this.asking = false;
    this.actionsKey = "";
  }

  // ask says what would happen, and does it when the answer is yes.
  ask(n, action) {
    this.asking = true;
    text(this.outcome, "");
    const a = action(n, this.o);
    const no = h("button", { type: "button", on: { click: () => { this.idle(); this.draw(); } } }, "No, leave it");
    const yes = h("button", { type: "button", class: "danger", on: { click: () => this.act(a) } }, a.yes);
    this.actions.replaceChildren(h("div", { class: "ask", role: "group", "aria-label": a.question },
      h("p", {}, h("strong", {}, a.question)), h("p", {}, a.text), ...(a.choice ? [h("label", {}, "Pool ", a.choice)] : []), h("p", {}, no, " ", yes)));
    (a.choice ?? no).focus();
  }

  async act(a) {
    const [path, body] = a.request(), mac = this.mac;
    for (const b of this.actions.querySelectorAll("button")) b.disabled = true;
    text(this.outcome, "Asking the server …");
    let said;
    try {
      await this.o.feed.request(path, { method: "POST", body });
      said = a.done;
    } catch (err) {
      said = "Not done: " + (err.status ? clean(err.message) : "the server did not answer; it may have been done all the same");
    }
    this.o.feed.soil();
    if (this.mac !== mac) return;
    this.idle();
    text(this.outcome, said);
    this.draw();
  }
}

const nodePath = (n) => `/v1/nodes/${encodeURIComponent(n.mac)}`;

// harm is what a node does that others would miss.
function harm(n, o) {
  const half = o.pairs().flatMap((v) => v.halves ?? []).find((x) => x.node === n.mac);
  if (half?.active) return "It is the half of a storage pair that SERVES: what runs from the pair stands still until the other half has taken over.";
  if (half) return "It is half of a storage pair, which runs on one leg meanwhile.";
  if (n.state === "ready") return `It serves now${n.pool ? " in the pool " + clean(n.pool) : ""}.`;
  return "";
}

function assign(n, o) {
  const choice = h("select", { name: "pool" }, ...o.pools().map((p) => h("option", { value: p.name }, clean(p.name) + (p.missing ? ` (${p.missing} missing)` : ` (${p.free} free)`))));
  return {
    question: `Put ${nameOf(n)} into a pool?`, text: `${machine(n) || "Nothing is known of it yet"}. It takes a free slot and goes on booting by itself.`,
    choice, yes: "Yes, assign it", done: "It is assigned.", request: () => [`${nodePath(n)}/assign`, { pool: choice.value }],
  };
}

function powerOn(n) {
  return { question: `Switch ${nameOf(n)} on?`, text: "", yes: "Yes, switch it on", done: "It is switched on.", request: () => [`${nodePath(n)}/power`, { action: "on" }] };
}

function restart(n, o) {
  return {
    question: `Restart ${nameOf(n)}?`, text: harm(n, o) + " It shuts down in good order, if it still answers.", yes: "Yes, restart it", done: "It is asked to restart.",
    request: () => [`${nodePath(n)}/restart`, { why: "an operator asked for it on the page" }],
  };
}

function cycle(n, o) {
  return {
    question: `Cut the power of ${nameOf(n)} and switch it on again?`, text: harm(n, o) + " What it has not written is lost.", yes: "Yes, cut its power", done: "Its power was cut, and it is on again.",
    request: () => [`${nodePath(n)}/power`, { action: "cycle" }],
  };
}

// facts are what is known of a node, as names and values.
function facts(n) {
  const f = n.facts ?? {}, inv = f.inventory;
  return [
    ["MAC", n.mac], ["pool", n.pool && n.pool + (n.assigned ? " (assigned by an operator)" : "")], ["slot", n.slot], ["address", n.address], ["image", n.image],
    ["machine", machine(n)], ["processor", inv?.cpu], ["network", inv?.nics?.map((c) => [c.name, c.mac, c.speed && c.speed + " Mbit/s", c.link ? "" : "no link"].filter(Boolean).join(" ")).join("; ")],
    ["disks", inv?.disks?.map((d) => [d.name, d.model, d.serial].filter(Boolean).join(" ")).join("; ")],
    ["firmware", [f.arch, f.firmware].filter(Boolean).join(" ")], ["UUID", f.uuid], ["power", n.power ? [n.power.driver, n.power.target].filter(Boolean).join(" ") : ""],
    ["storage", n.storage], ["joined", n.joined], ["replaced", n.replaced && `${n.replaced.by} took over ${n.replaced.slot} ${stamp(n.replaced.at)}`],
    ["first seen", stamp(n.firstSeen)], ["last seen", stamp(n.lastSeen)], ["labels", Object.entries(n.labels ?? {}).map((l) => l.join("=")).join(" ")],
  ].filter(([, v]) => v).map(([name, v]) => ({ key: name, name, text: clean(v) }));
}
