// The sections of the page: each draws rows of the view model.
import { h, keyed, label, part, show, sign, since, text, tone } from "./dom.js";
import { eventRow, hit } from "./model.js";
import { count } from "./text.js";

// opens is a button that shows a node; data-open says which (see main.js).
const opens = (cls, ...children) => h("button", { type: "button", class: cls }, ...children);

function aim(el, mac) {
  if ((el.dataset.open ?? "") !== mac) el.dataset.open = mac;
  if (el.disabled !== !mac) el.disabled = !mac;
}

// drawAlerts says what is wrong.
export function drawAlerts(section, list, known) {
  const make = () => h("li", {}, opens("alert", part("sign", "span", { "aria-hidden": "true" }), part("what", "strong"), part("text"), part("since", "span", { class: "since" })));
  const signs = { bad: "✕", warn: "!", info: "?" }, words = { bad: "broken:", warn: "warning:", info: "to do:" };
  const none = { key: "none", level: "good", what: "", text: known ? "Nothing is wrong." : "Reading …" };
  keyed(section.querySelector(".alerts"), list.length ? list : [none], make, (li, a, p) => {
    const b = li.firstChild;
    tone(b, a.level === "info" ? "busy" : a.level);
    text(p.sign, signs[a.level] ?? (known ? "✓" : "…"));
    label(b, [words[a.level], a.what, a.text].filter(Boolean).join(" "));
    text(p.what, a.what);
    show(p.what, a.what !== "");
    text(p.text, a.text);
    since(p.since, a.since);
    aim(b, a.open ?? "");
    b.dataset.at = a.open ? "" : a.at ?? "";
    b.disabled = !a.open && !a.at;
  });
  total(section, list.filter((a) => a.level !== "info").length);
}

export const total = (section, n) => text(section.querySelector(".count"), n ? String(n) : "");

const makeNode = () => h("li", {}, opens("line node-line",
  part("state", "span", { class: "state" }), part("name", "strong", { class: "name" }), part("image"), part("since"), part("more", "span", { class: "more" })));

function updateNode(li, r, p) {
  sign(p.state, r.state);
  text(p.name, r.name);
  text(p.image, r.image);
  since(p.since, r.since);
  // The sentence is there when something is to be said, else what the machine is.
  const why = r.restart ? "is asked to restart: " + r.restart : r.why;
  text(p.more, (why ? [why] : [r.address, r.machine]).filter(Boolean).join(" · "));
  tone(p.more, !why ? "dim" : r.state.tone === "good" ? "warn" : r.state.tone);
  li.classList.toggle("plain", !why);
  aim(li.firstChild, r.open);
}

// drawWaiting lists the machines without a slot.
export function drawWaiting(section, rows, filter) {
  const shown = rows.filter((r) => hit(r.hay, filter)).slice(0, 200);
  keyed(list(section), shown, makeNode, updateNode);
  total(section, rows.length);
  note(section, rows.length === 0 ? "Every machine has its place." : rows.length > shown.length ? `${shown.length} of ${rows.length} are shown.` : "");
}

// list is the list in a section's part for rows, and note the sentence below it.
function list(section) {
  const box = section.querySelector(".rows");
  if (!box.firstChild) box.append(h("ul", { class: "list", role: "list" }), h("p", { class: "dim note" }));
  return box.firstChild;
}

function note(section, s) {
  const p = section.querySelector(".note");
  text(p, s);
  show(p, s !== "");
}

// big is from how many slots on a pool shows only those that are not well, and the others on demand.
const big = 24;

// drawPools shows every pool with its slots.
export function drawPools(section, cards, filter) {
  const make = () => h("article", { class: "card" },
    h("h3", {}, part("name", "span", { class: "card-name" }), " ", part("what", "span", { class: "dim" })),
    part("sum", "p", { class: "sum" }), part("tally", "ul", { class: "tally", role: "list" }), part("list", "ul", { class: "list", role: "list" }),
    part("rest", "details", { class: "rest" }, part("restSum", "summary"), part("restList", "ul", { class: "list", role: "list" })),
    part("unused", "p", { class: "dim note" }));
  keyed(section.querySelector(".cards"), cards, make, (el, c, p) => {
    const shown = filter ? c.rows.filter((r) => hit(r.hay, filter)) : c.rows;
    const folded = !filter && c.rows.length > big ? shown.filter((r) => r.state.tone === "good") : [];
    const hidden = new Set(folded);
    tone(el, c.tone);
    text(p.name, c.name);
    text(p.what, [c.role !== c.name && "role " + c.role, c.pin && "pinned to " + c.pin, c.storage && "on " + c.storage].filter(Boolean).join(", "));
    text(p.sum, c.text);
    keyed(p.tally, c.tally.map((t) => ({ ...t, key: t.state.word })), () => h("li", {}, part("state", "span", { class: "state" }), part("n")),
      (_, t, q) => { sign(q.state, t.state); text(q.n, String(t.n)); });
    show(p.tally, c.rows.length > 8);
    keyed(p.list, shown.filter((r) => !hidden.has(r)), makeNode, updateNode);
    show(p.rest, folded.length > 0);
    text(p.restSum, count(folded.length, "slot") + " ready");
    // What nobody sees is not drawn.
    keyed(p.restList, p.rest.open ? folded : [], makeNode, updateNode);
    p.rest.ontoggle = () => keyed(p.restList, p.rest.open ? folded : [], makeNode, updateNode);
    text(p.unused, c.unusedText);
    show(p.unused, c.unusedText !== "" && !filter);
    show(el, !filter || shown.length > 0);
  });
  total(section, cards.length);
}

// drawPairs shows the storage pairs.
export function drawPairs(section, cards) {
  const make = () => h("article", { class: "card" },
    h("h3", {}, part("name", "span", { class: "card-name" }), " ", part("state", "span", { class: "state" })),
    part("served", "p", { class: "sum" }), part("why", "p", { class: "why" }),
    h("p", { class: "meter-line" }, part("meter", "meter", { min: "0", max: "1", low: "0.75", high: "0.9", optimum: "0", "aria-label": "how full the volume is" }), " ", part("volume")),
    part("halves", "ul", { class: "list", role: "list" }), part("facts", "dl", { class: "facts" }));
  keyed(section.querySelector(".cards"), cards, make, (el, c, p) => {
    tone(el, c.state.tone);
    text(p.name, c.name);
    sign(p.state, c.state);
    text(p.served, c.served);
    text(p.why, c.why);
    show(p.why, c.why !== "");
    show(p.meter, c.used >= 0);
    if (c.used >= 0) p.meter.value = c.used;
    text(p.volume, "volume: " + c.volume);
    keyed(p.halves, c.halves, makeHalf, updateHalf);
    keyed(p.facts, c.facts, () => h("div", {}, part("name", "dt"), part("text", "dd")), (_, f, q) => { text(q.name, f.name); text(q.text, f.text); });
  });
  show(section, cards.length > 0);
  total(section, cards.length);
}

const makeHalf = () => h("li", {}, opens("line half-line",
  part("doing", "span", { class: "state" }), part("name", "strong", { class: "name" }), part("heard", "span", { class: "since" }),
  h("span", { class: "more" }, part("data"), part("node", "span", { class: "state" }), part("fencing", "span", { class: "state" }), part("disk")),
  h("span", { class: "sync" }, part("sync", "progress", { max: "100", "aria-label": "how far the data are in sync" }), " ", part("syncText")),
  part("notes", "span", { class: "more" })));

function updateHalf(li, half, p) {
  sign(p.doing, half.doing);
  text(p.name, half.name);
  text(p.data, [half.data, half.link].filter(Boolean).join(", "));
  show(p.data, !half.silent);
  since(p.heard, half.heard);
  sign(p.node, half.state);
  sign(p.fencing, { sign: half.fencingTone === "good" ? "✓" : half.fencingTone === "bad" ? "✕" : "·", word: "fencing " + half.fencing, tone: half.fencingTone });
  text(p.disk, half.disk);
  show(p.sync.parentNode, half.sync >= 0);
  if (half.sync >= 0) p.sync.value = half.sync;
  text(p.syncText, half.syncText);
  text(p.notes, half.notes.join("; "));
  show(p.notes, half.notes.length > 0);
  aim(li.firstChild, half.open);
}

// drawRollouts shows each pool's latest rollout.
export function drawRollouts(section, rows) {
  const make = () => h("li", { class: "line rollout-line" },
    part("state", "span", { class: "state" }), part("pool", "strong", { class: "name" }), part("text"), part("since"),
    h("span", { class: "sync" }, part("bar", "progress", { "aria-label": "how many machines have it" }), " ", part("progress")), part("why", "span", { class: "more" }));
  keyed(list(section), rows, make, (el, r, p) => {
    sign(p.state, r.state);
    text(p.pool, r.pool);
    text(p.text, r.text);
    since(p.since, r.ended || r.started);
    show(p.bar, r.active);
    p.bar.max = r.all || 1;
    p.bar.value = r.done;
    text(p.progress, `${r.done} of ${count(r.all, "slot")}` + (r.busy.length ? ", now " + r.busy.join(", ") : ""));
    text(p.why, r.why);
    show(p.why, r.why !== "");
  });
  show(section, rows.length > 0);
  total(section, rows.filter((r) => r.active).length);
}

// drawImages lists the versions.
export function drawImages(section, rows, all) {
  const make = () => h("li", { class: "line image-line" },
    part("ref", "strong", { class: "name" }), part("mark", "span", { class: "state" }), part("size"), part("built", "span", { class: "since" }), part("more", "span", { class: "more" }));
  keyed(list(section), rows, make, (el, r, p) => {
    text(p.ref, r.ref);
    sign(p.mark, r.mark);
    text(p.size, r.size);
    since(p.built, r.built);
    text(p.more, [r.used ? count(r.used, "machine runs it", "machines run it") : "no machine runs it", !r.signed && "NOT signed", r.kernel, r.more && count(r.more, "older version")].filter(Boolean).join(" · "));
  });
  total(section, all);
  note(section, all === 0 ? "No image is published: muster image build ROLE" : "");
}

// drawEvents shows the latest events, the newest on top.
export function drawEvents(section, events, filter, onlyErrors, now) {
  const rows = events.map((e) => eventRow(e, now)).filter((r) => (!onlyErrors || r.bad) && hit(r.hay, filter)).reverse();
  const make = () => h("li", {}, opens("event", part("at", "time"), part("who", "strong"), h("span", { class: "said" }, part("step"), " ", part("text"))));
  keyed(section.querySelector(".events"), rows, make, (li, r, p) => {
    tone(li.firstChild, r.bad ? "bad" : "plain");
    text(p.at, r.at);
    text(p.who, r.who);
    text(p.step, (r.bad ? "✕ " : "") + r.step);
    text(p.text, r.text);
    aim(li.firstChild, r.open);
  });
}
