// What is wrong, in the order in which somebody should look at it.
import { fresh, longBoot, nameOf, recent } from "./model.js";
import { clean, count, ms, some } from "./text.js";

const loud = { bad: 0, warn: 1, info: 2 };
// flood is how many machines of a pool may fail before they are one alert.
const flood = 3;

// alerts gives what is wrong: level (bad, warn, info), what it is about, a sentence, and the node or section it is at.
// rack has what the API said: pools, nodes, pairs, rollouts, findings; a part that has not come yet is empty. faults says by
// name why a part cannot be read: nobody may take it for good.
export function alerts(rack, now, faults = []) {
  const out = [...unread(faults), ...pairAlerts(rack.pairs), ...poolAlerts(rack.pools, rack.pairs), ...failed(rack.nodes), ...slow(rack.nodes, now),
    ...rolloutAlerts(rack.rollouts, now), ...findings(rack.findings, now), ...idle(rack.nodes)];
  return out.sort((a, b) => loud[a.level] - loud[b.level]);
}

function unread(faults) {
  return [...faults].map(([name, why]) => ({ key: "fault/" + name, level: "warn", what: name, text: `cannot be read, what is shown of it may be old: ${clean(why)}` }));
}

function pairAlerts(pairs) {
  return pairs.flatMap((v) => (v.alerts ?? []).map((text, i) => ({
    key: `pair/${v.pool}/${i}`, level: v.state === "down" || v.state === "split" ? "bad" : "warn", what: clean(v.pool), text: clean(text), at: "pairs",
  })));
}

function poolAlerts(pools, pairs) {
  const told = new Set(pairs.filter((v) => v.alerts?.length).map((v) => v.pool));
  return pools.filter((p) => p.ready < (p.size?.min ?? 0) && !told.has(p.name)).map((p) => {
    const more = [];
    if (p.booting) more.push(count(p.booting, "machine boots", "machines boot"));
    if (p.failed) more.push(count(p.failed, "has failed", "have failed"));
    if (p.missing) more.push(`${p.missing} missing: switch ${p.missing === 1 ? "a machine" : "machines"} on, or assign what waits`);
    return {
      key: "pool/" + p.name, level: p.ready === 0 ? "bad" : "warn", what: clean(p.name), at: "pools",
      text: `${p.ready === 0 ? "none" : "only " + p.ready} ready, at least ${p.size.min} should be` + (more.length ? "; " + more.join(", ") : ""),
    };
  });
}

// failed are the machines that failed; many of one pool are one alert, or they would hide the rest.
function failed(nodes) {
  const by = new Map();
  for (const n of nodes) if (n.state === "failed") by.set(n.pool, [...(by.get(n.pool) ?? []), n]);
  return [...by].flatMap(([pool, list]) => {
    if (list.length <= flood) {
      return list.map((n) => ({ key: "node/" + n.mac, level: "warn", what: nameOf(n), text: clean(n.why) || "failed", open: n.mac, since: ms(n.since) }));
    }
    const whys = [...new Set(list.map((n) => clean(n.why)).filter(Boolean))];
    return [{
      key: "failed/" + pool, level: "warn", what: clean(pool) || "no pool", at: "pools",
      text: `${list.length} machines failed: ${some(list.map(nameOf))}` + (whys.length ? "; " + some(whys, 1) : ""),
    }];
  });
}

function slow(nodes, now) {
  const list = nodes.filter((n) => n.state === "booting" && ms(n.since) && now - ms(n.since) > longBoot);
  if (list.length > flood) {
    return [{ key: "slow", level: "warn", what: "boots", text: `${list.length} machines boot for longer than 15 min: ${some(list.map(nameOf))}`, at: "pools" }];
  }
  return list.map((n) => ({ key: "slow/" + n.mac, level: "warn", what: nameOf(n), text: "still boots" + (n.why ? ": " + clean(n.why) : ""), open: n.mac, since: ms(n.since) }));
}

function rolloutAlerts(rollouts, now) {
  const level = { failed: "bad", "rolled-back": "warn", "rolling-back": "warn" };
  return rollouts.filter((r) => Object.hasOwn(level, r.state) && (!ms(r.ended) || now - ms(r.ended) < recent)).map((r) => ({
    key: "rollout/" + r.pool, level: level[r.state], what: clean(r.pool), at: "rollouts", since: ms(r.ended) || ms(r.started),
    text: `rollout of ${clean(r.image)} ${{ failed: "failed", "rolled-back": "was taken back", "rolling-back": "is being taken back" }[r.state]}` + (r.why ? ": " + clean(r.why) : ""),
  }));
}

// findings are what the doctor found, at f.at; nobody has looked since, so they are not held against the server for ever.
function findings(list, now) {
  return list.filter((f) => f.status !== "ok" && now - f.at < fresh).map((f, i) => ({
    key: `doctor/${f.check}/${i}`, level: f.status === "fail" ? "bad" : "warn", what: clean(f.check), since: f.at,
    text: clean(f.detail) + (f.fix ? ". What to do: " + clean(f.fix) : ""),
  }));
}

// idle are the machines that wait for somebody: no fault, but a decision.
function idle(nodes) {
  const list = nodes.filter((n) => n.state === "waiting");
  if (list.length === 0) return [];
  return [{ key: "waiting", level: "info", what: "waiting", text: count(list.length, "machine waits", "machines wait") + " for a slot", at: "waiting" }];
}

// verdict is the rack in a few words, for the top of the page and the window's title.
export function verdict(list) {
  const bad = list.filter((a) => a.level === "bad").length, warn = list.filter((a) => a.level === "warn").length;
  if (bad) return { tone: "bad", sign: "✕", text: count(bad, "thing is", "things are") + " broken" + (warn ? ", " + count(warn, "warning") : "") };
  if (warn) return { tone: "warn", sign: "!", text: count(warn, "warning") };
  return { tone: "good", sign: "✓", text: "all well" };
}
