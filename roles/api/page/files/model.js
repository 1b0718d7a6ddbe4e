// The view model: what the API says of the rack, as rows for people. Everything here is a function of its arguments;
// nothing touches the document, so that it can be tested without one.
import { clean, clock, coarse, count, ms, size } from "./text.js";

// states are the words for a node's state: the sign (colour is never the only one) and how loud it is.
const states = {
  ready: ["✓", "good"], booting: ["↻", "busy"], failed: ["✕", "bad"], waiting: ["?", "warn"], off: ["○", "dim"],
  draining: ["→", "busy"], "": ["·", "dim"],
};

// stateOf gives the word, sign and tone of a state; one that this page does not know is shown as it is.
export function stateOf(state) {
  const [sign, tone] = Object.hasOwn(states, state ?? "") ? states[state ?? ""] : ["!", "warn"];
  return { word: clean(state) || "empty", sign, tone };
}

// longBoot is after what time a boot that still goes on is worth a word.
const longBoot = 15 * 60e3;
// recent is how long the end of a rollout stays among what is wrong.
const recent = 24 * 3600e3;
// fresh is how long what the doctor found does.
const fresh = 3600e3;

// nameOf is what people call a node.
export const nameOf = (n) => clean(n.name || n.slot || n.mac);

// machine is what a node said of itself, for a person who stands in front of the rack.
export function machine(n) {
  const f = n.facts ?? {}, inv = f.inventory;
  return [
    [f.manufacturer, f.product].filter(Boolean).map(clean).join(" "),
    f.serial && "serial " + clean(f.serial),
    inv && count(inv.cpus, "CPU") + ", " + size(inv.memory * 1048576),
    inv?.disks?.length && count(inv.disks.length, "disk"),
    f.remote && "port " + clean([f.remote, f.circuit].filter(Boolean).join(" ")),
  ].filter(Boolean).join(" · ");
}

// haystack is what the filter looks through.
const haystack = (n) => [n.mac, n.name, n.slot, n.pool, n.image, n.address, n.state, n.why, n.facts?.manufacturer,
  n.facts?.product, n.facts?.serial, n.facts?.asset, ...Object.entries(n.labels ?? {}).map((l) => l.join("="))]
  .filter(Boolean).join("\n").toLowerCase();

// hit reports whether what has this haystack is to be seen; every word of the filter has to be in it.
export const hit = (hay, filter) => filter.toLowerCase().split(/\s+/).every((w) => hay.includes(w));

// nodeRow is one line about a node.
export function nodeRow(n) {
  return {
    key: n.mac, open: n.mac, name: nameOf(n), mac: n.mac, state: stateOf(n.state), why: clean(n.why), image: clean(n.image),
    since: ms(n.since), address: clean(n.address), machine: machine(n), hay: haystack(n), restart: clean(n.restart),
  };
}

// waitingRows are the machines that have no slot: those that wait come first, the latest on top.
export function waitingRows(nodes) {
  const rank = (n) => n.state === "waiting" ? 0 : n.state === "failed" ? 1 : 2;
  return nodes.filter((n) => !n.slot || n.state === "waiting")
    .sort((a, b) => rank(a) - rank(b) || ms(b.since) - ms(a.since) || (a.mac < b.mac ? -1 : 1)).map(nodeRow);
}

// poolCards are the pools with a row for each slot that matters; slots that were never used are one number.
export function poolCards(pools, nodes) {
  const by = new Map(nodes.map((n) => [n.mac, n]));
  return pools.map((p) => {
    const min = p.size?.min ?? 0, slots = p.slots ?? [], tally = {};
    for (const s of slots) if (s.node) tally[s.state] = (tally[s.state] ?? 0) + 1;
    const rows = slots.filter((s) => s.node || s.used).map((s) => slotRow(s, by.get(s.node)));
    return {
      key: p.name, name: clean(p.name), role: clean(p.role), pin: clean(p.image), storage: clean(p.storage), rows,
      unusedText: unusedText(slots), tally: Object.entries(tally).map(([s, n]) => ({ state: stateOf(s), n })),
      tone: p.ready < min ? (p.ready ? "warn" : "bad") : p.failed > 0 ? "warn" : "good",
      text: `${p.ready} ready` + (min ? `, at least ${min}` : "") + (p.missing ? `; ${count(p.missing, "machine")} missing` : ""),
    };
  });
}

function unusedText(slots) {
  const free = slots.filter((s) => !s.node && !s.used).map((s) => clean(s.name));
  if (free.length === 0) return "";
  const range = free.length > 2 ? free[0] + " … " + free.at(-1) : free.join(", ");
  return count(free.length, "slot") + " never used: " + range;
}

function slotRow(s, node) {
  if (!s.node) {
    return {
      key: s.name, open: "", name: clean(s.name), mac: "", state: { word: "empty", sign: "·", tone: "warn" }, image: "",
      why: "its machine is gone: the next one that joins takes its name, address and state", since: ms(s.since),
      address: clean(s.address), machine: "", hay: (s.name + "\n" + s.pool + "\n" + s.address + "\nempty").toLowerCase(), restart: "",
    };
  }
  const row = nodeRow(node ?? { mac: s.node, state: s.state, since: s.since });
  return { ...row, key: s.name, name: clean(s.name), address: clean(s.address) || row.address };
}

// rolloutRows are the rollouts: those that go on first, then the latest.
export function rolloutRows(rollouts) {
  const tones = { running: ["↻", "busy"], "rolling-back": ["↶", "warn"], done: ["✓", "good"], "rolled-back": ["↶", "warn"], failed: ["✕", "bad"] };
  return [...rollouts].sort((a, b) => (ms(a.ended) ? 1 : 0) - (ms(b.ended) ? 1 : 0) || ms(b.started) - ms(a.started)).map((r) => {
    const slots = r.slots ?? [], [sign, tone] = Object.hasOwn(tones, r.state) ? tones[r.state] : ["!", "warn"];
    const done = slots.filter((s) => s.state === (r.state.startsWith("roll") ? "back" : "done")).length;
    const busy = slots.filter((s) => s.state === "restarting").map((s) => clean(s.name));
    return {
      key: r.pool, pool: clean(r.pool), text: `${clean(r.from)} → ${clean(r.image)}`, state: { word: clean(r.state), sign, tone },
      done, all: slots.length, why: clean(r.why), busy, started: ms(r.started), ended: ms(r.ended), active: !ms(r.ended),
    };
  });
}

// imageRows are the versions: of each name the current one and what runs somewhere, then the newest; old ones are a number.
export function imageRows(images, nodes, most = 2) {
  const used = {};
  for (const n of nodes) if (n.image) used[n.image] = (used[n.image] ?? 0) + 1;
  const names = group(images);
  const rows = [];
  for (const name of [...names.keys()].sort()) {
    const all = names.get(name).sort((a, b) => Number(b.ref.split(":")[1]) - Number(a.ref.split(":")[1]));
    const shown = all.filter((img, i) => img.current || used[img.ref] || i < most);
    const at = all.findIndex((img) => img.current);
    for (const img of shown) {
      rows.push({
        key: img.ref, ref: clean(img.ref), mark: mark(all.indexOf(img), at), used: used[img.ref] ?? 0, size: size(img.size), built: ms(img.built),
        signed: img.signed, kernel: clean(img.kernel), more: img === shown.at(-1) ? all.length - shown.length : 0,
      });
    }
  }
  return rows;
}

// mark says what the version at i of those from the newest to the oldest is, when that at current is the current one.
function mark(i, current) {
  if (i === current) return { sign: "★", word: "current", tone: "good" };
  return { sign: "·", word: current < 0 || i < current ? "newer" : "older", tone: "dim" };
}

function group(images) {
  const m = new Map();
  for (const i of images) {
    const name = i.ref.split(":")[0];
    m.set(name, [...(m.get(name) ?? []), i]);
  }
  return m;
}

// eventRow is one line of the events.
export function eventRow(e, now) {
  return {
    key: String(e.seq), open: e.mac, at: clock(e.time, now), who: clean(e.name || e.mac), step: clean(e.step), bad: Boolean(e.error),
    text: clean(e.error || e.message), hay: [e.name, e.mac, e.step, e.message, e.error].filter(Boolean).join("\n").toLowerCase(),
  };
}

// timeline is a boot's events with their time since its begin, and what took longest.
export function timeline(boot) {
  const began = ms(boot.started), events = boot.events ?? [];
  let before = began;
  const rows = events.map((e) => {
    const at = ms(e.time), took = at - before;
    before = at;
    // What happens after it was ready is no part of the way there.
    return { key: String(e.seq), after: ms(boot.ended) > 0 && at > ms(boot.ended), at: "+" + ((at - began) / 1000).toFixed(1) + "s", took, step: clean(e.step), bad: Boolean(e.error), text: clean([e.message, e.error].filter(Boolean).join(": ")) };
  });
  const slowest = Math.max(0, ...rows.filter((r) => !r.after).map((r) => r.took));
  for (const r of rows) r.slow = !r.after && r.took === slowest && slowest > 5000;
  return rows;
}

// bootTitle says of a boot what became of it.
export function bootTitle(b, now) {
  const end = ms(b.ended);
  const how = !end ? `goes on, at ${clean(b.step)} for ${coarse(now - ms(b.started))}` :
    (b.ready ? "ready after " : `failed at ${clean(b.step)} after `) + ((end - ms(b.started)) / 1000).toFixed(1) + "s";
  return { text: `boot ${b.id}: ${how}` + (b.image ? ", " + clean(b.image) : ""), tone: !end ? "busy" : b.ready ? "good" : "bad", at: ms(b.started) };
}

export { fresh, longBoot, recent };
