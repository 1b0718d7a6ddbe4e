// The page: it keeps what the server said, and draws what has changed, at most once a frame.
import { alerts, verdict } from "./alerts.js";
import { show, text, tone } from "./dom.js";
import { eventsKept, Feed } from "./feed.js";
import { imageRows, poolCards, rolloutRows, waitingRows } from "./model.js";
import { NodeView } from "./node.js";
import { pairCards } from "./pairs.js";
import { clean, clock, coarse, stamp } from "./text.js";
import { drawAlerts, drawEvents, drawImages, drawPairs, drawPools, drawRollouts, drawWaiting } from "./view.js";

const $ = (id) => document.getElementById(id);
const rack = { pools: [], nodes: [], pairs: [], rollouts: [], images: [], findings: [] };
const known = new Set(), faults = new Map(), changed = new Set();
let events = [], byMac = new Map(), contact = { ok: true, since: 0, why: "" }, opened = Date.now(), frame = 0;
let version = "", updated = false, unsure = false; // the server's, whether it has changed, and whether that could not be asked

// The token is this tab's: sessionStorage is gone when the tab is. Where the browser keeps none, memory does.
const key = "muster-token";
const kept = {
  get() { try { return sessionStorage.getItem(key) ?? ""; } catch { return ""; } },
  set(v) { try { if (v) sessionStorage.setItem(key, v); else sessionStorage.removeItem(key); } catch { /* memory it is */ } },
};

const feed = new Feed({
  fetch: (path, o) => fetch(path, o),
  now: () => Date.now(),
  timeout: (fn, after) => setTimeout(fn, after),
  clear: (t) => clearTimeout(t),
  sleep: (after, signal) => new Promise((done) => {
    const end = () => { clearTimeout(t); signal.removeEventListener("abort", end); done(); };
    const t = setTimeout(end, after);
    signal.addEventListener("abort", end);
  }),
}, {
  data(name, value) {
    rack[name] = value;
    known.add(name);
    if (name === "nodes") byMac = new Map(value.map((n) => [n.mac, n]));
    $("rack").hidden = false;
    dirty(name);
  },
  fault(name, why) {
    if ((faults.get(name) ?? "") === why) return;
    if (why) faults.set(name, why);
    else faults.delete(name);
    dirty("faults");
  },
  events(list, all) {
    events = (all ? list : events.concat(list)).slice(-eventsKept);
    dirty("events");
  },
  contact(c) {
    contact = c;
    if (c.ok) who();
    dirty("contact");
  },
  login,
});

const node = new NodeView($("node"), { feed, node: (mac) => byMac.get(mac), known: () => known.has("nodes"), pools: () => rack.pools, pairs: () => rack.pairs });

// sections draw what the page has, each from some of the data.
const sections = [
  { of: ["pools", "nodes", "pairs", "rollouts", "findings", "faults", "contact"], draw: (v) => drawAlerts($("alerts"), v.list, v.ready) },
  { of: ["nodes"], draw: (v) => drawWaiting($("waiting"), waitingRows(rack.nodes), v.filter) },
  { of: ["pairs"], draw: (v) => drawPairs($("pairs"), pairCards(rack.pairs, v.now)) },
  { of: ["pools", "nodes"], draw: (v) => drawPools($("pools"), poolCards(rack.pools, rack.nodes), v.filter) },
  { of: ["rollouts"], draw: () => drawRollouts($("rollouts"), rolloutRows(rack.rollouts)) },
  { of: ["images", "nodes"], draw: () => drawImages($("images"), imageRows(rack.images, rack.nodes), rack.images.length) },
  { of: ["events"], draw: (v) => drawEvents($("events"), events, v.filter, $("only-errors").checked, v.now) },
];

// dirty has what is made of these data drawn with the next frame, everything without a name.
function dirty(...names) {
  for (const n of names.length ? names : sections.flatMap((s) => s.of)) changed.add(n);
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const now = feed.now(), ready = ["pools", "nodes", "pairs", "rollouts"].every((name) => known.has(name) || faults.has(name));
  const v = { now, ready, filter: $("filter").value.trim(), list: alerts(rack, now, contact.ok ? faults : []) };
  for (const s of sections) if (s.of.some((name) => changed.has(name))) s.draw(v);
  changed.clear();
  node.draw();
  node.load();
  head(ready ? verdict(v.list) : { tone: "dim", sign: "…", text: "reading" });
  ages();
}

// head is the top of the page: the rack in a word, and whether what is shown is how it is.
function head(v) {
  const stale = !contact.ok;
  document.documentElement.classList.toggle("stale", stale);
  text($("verdict"), (stale ? "was: " : "") + v.sign + " " + v.text);
  tone($("verdict"), stale ? "dim" : v.tone);
  document.title = (stale ? "NO CONTACT" : v.sign + " " + v.text) + " – Muster";
  tone($("contact"), stale ? "bad" : faults.size ? "warn" : "good");
  const from = contact.since || opened, said = [...faults].map(([name, why]) => `${name} cannot be read: ${clean(why)}`).join("; ");
  text($("contact"), stale ? "✕ no contact" : !known.size ? "… connecting" : faults.size ? "! not all is live" : "● live");
  // By this machine's clock: the server's is not heard.
  text($("banner"), stale ? `No contact with the server for ${coarse(Date.now() - from)} (${clean(contact.why)}). ` +
    (contact.since ? `What you see is from ${stamp(new Date(from + feed.skew).toISOString())}. ` : "") + "It is tried again all the time." : said);
  show($("banner"), stale || said !== "");
}

// ages keeps every "3m ago" true.
function ages() {
  const now = feed.now();
  for (const el of document.querySelectorAll("[data-since]")) {
    const at = Number(el.dataset.since);
    text(el, at ? coarse(now - at) : "");
    const title = at ? stamp(new Date(at).toISOString()) : "";
    if (el.title !== title) el.title = title;
  }
}

// who tells which server this is; false when it wants a token, or another one.
async function who() {
  try {
    const v = await feed.json("/v1/version");
    unsure = false;
    if (version && version !== v.version) updated = true;
    version ||= v.version;
    renew();
    text($("server"), `${location.host} · ${clean(v.version)} · runs since ${stamp(v.started)} · times are UTC`);
  } catch (err) {
    if (feed.refused(err)) return false;
    unsure = true; // what went wrong shows with the next request
  }
  return true;
}

// renew takes the page of a server that was updated; it is not taken out of somebody's hands.
function renew() {
  if (updated && !$("node").open) location.reload();
}

// login asks for the token; why says what was wrong with the last one.
function login(why) {
  kept.set("");
  if ($("node").open) $("node").close();
  $("rack").hidden = true;
  $("tools").hidden = true;
  $("login").hidden = false;
  text($("login-why"), why);
  text($("verdict"), "");
  text($("contact"), "");
  $("banner").hidden = true;
  $("token").focus();
}

// enter goes on with a token; "" is tried too, with one request: a server on this machine may want none.
async function enter(token) {
  kept.set(token);
  $("login").hidden = true;
  $("tools").hidden = false;
  $("leave").hidden = !token;
  contact = { ok: true, since: 0, why: "" };
  opened = Date.now();
  feed.token = token;
  if (!await who()) return;
  feed.start(token);
  feed.tick();
  route();
}

// forget empties the page: who sits down here next sees nothing.
function forget() {
  feed.stop();
  feed.token = "";
  for (const name of Object.keys(rack)) rack[name] = [];
  known.clear();
  faults.clear();
  events = [];
  byMac = new Map();
  $("filter").value = "";
  dirty();
  cancelAnimationFrame(frame);
  draw();
  login("");
  text($("server"), "");
}

// examine asks the server's doctor, which looks at the network too: that takes some seconds, so it is done on demand.
async function examine() {
  $("examine").disabled = true;
  text($("examined"), "It looks around …");
  try {
    const list = await feed.json("/v1/doctor", { wait: 90e3 });
    if (!$("login").hidden) throw new Error("signed out"); // nobody may see it any more
    rack.findings = list.map((f) => ({ ...f, at: feed.now() }));
    const bad = rack.findings.filter((f) => f.status !== "ok").length;
    text($("examined"), `${rack.findings.length} checks, ${bad ? bad + " with a finding" : "all good"}, at ${clock(new Date(feed.now()).toISOString(), feed.now())}`);
  } catch (err) {
    if (!feed.refused(err)) text($("examined"), "Not done: " + (err.status ? clean(err.message) : "the server did not answer"));
  }
  $("examine").disabled = false;
  dirty("findings");
}
$("examine").addEventListener("click", examine);

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  enter(token);
});
$("leave").addEventListener("click", forget);
$("filter").addEventListener("input", () => dirty());
$("only-errors").addEventListener("change", () => dirty("events"));

// One listener for all that opens something.
document.addEventListener("click", (e) => {
  const b = e.target.closest?.("[data-open], [data-at]");
  if (!b || b.disabled) return;
  if (b.dataset.open) location.hash = "#" + encodeURIComponent(b.dataset.open);
  else if (b.dataset.at) $(b.dataset.at)?.scrollIntoView({ block: "start" });
});
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && !$("node").open) {
    e.preventDefault();
    $("filter").focus();
  }
});

// The address bar says which node is open: it can be sent to a colleague, and Back closes it.
function route() {
  if (!feed.running) return; // enter looks again
  const mac = /^#[0-9a-f%A-F:]+$/.test(location.hash) ? decodeURIComponent(location.hash.slice(1)) : "";
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) node.open(mac);
  else if ($("node").open) $("node").close();
}
addEventListener("hashchange", route);

// A tab that nobody looks at asks for nothing, after a while: a phone's battery and the server have better to do.
let hidden = 0;
document.addEventListener("visibilitychange", () => {
  hidden = document.hidden ? Date.now() : 0;
  if (!document.hidden && !feed.running && $("login").hidden) feed.resume();
});

setInterval(() => {
  if (hidden && Date.now() - hidden > 60e3) feed.stop();
  feed.tick();
}, 1000);
setInterval(() => {
  if (document.hidden || !$("login").hidden) return;
  dirty();
  renew();
  if (unsure && contact.ok) who();
}, 5000);

enter(kept.get());
