// Storage pairs as cards.
import { stateOf } from "./model.js";
import { clean, coarse, ms, short, size, stamp } from "./text.js";

// silence is after what time a half that reports every few seconds counts as silent.
const silence = 10e3;
const tones = { whole: ["✓", "good"], degraded: ["!", "warn"], down: ["✕", "bad"], split: ["✕", "bad"], new: ["↻", "busy"] };

// pairCards are the pairs, each with its halves and a list of facts.
export function pairCards(pairs, now) {
  return pairs.map((v) => {
    const halves = v.halves ?? [], there = halves.filter((h) => now - ms(h.heard) <= silence);
    const [sign, tone] = Object.hasOwn(tones, v.state) ? tones[v.state] : ["!", "warn"];
    const active = there.find((h) => h.active);
    const volume = there.find((h) => h.capacity > 0);
    return {
      key: v.pool, name: clean(v.pool), state: { word: clean(v.state), sign, tone },
      why: (v.alerts ?? []).some((a) => a.includes(v.why)) ? "" : clean(v.why), // an alert says it
     
      served: v.serving && active ? `${clean(v.address)}, served by ${clean(active.slot)}` : `${clean(v.address)}, NOT served`,
      used: volume ? volume.used / volume.capacity : -1,
      volume: volume ? `${size(volume.used)} of ${size(volume.capacity)} used (${Math.floor(volume.used * 100 / volume.capacity)} %)` : "not known",
      facts: facts(v, there, now), halves: halves.map((h) => half(v, h, now)),
    };
  });
}

// facts are what there is to say of a pair, as names and values. Every one is always there: nothing jumps.
function facts(v, there, now) {
  return [["votes", votes(there)], ["last failover", failover(v, now)], ["verified", verified(v, there)], ["last backup", backup(v, now)]]
    .map(([name, text]) => ({ key: name, name, text }));
}

function votes(there) {
  const voting = there.filter((h) => h.phase === "cluster");
  if (voting.length === 0) return "no half is in the cluster";
  const names = (list) => list.map((h) => clean(h.slot)).join(" and ");
  const have = voting.filter((h) => h.quorate), lack = voting.filter((h) => !h.quorate);
  return [have.length && "quorum at " + names(have), lack.length && "NO quorum at " + names(lack),
    voting.some((h) => h.qdevice) ? "third vote heard" : "third vote NOT heard"].filter(Boolean).join(", ");
}

function failover(v, now) {
  if (!ms(v.at)) return "none";
  if (!v.before) return `none; ${clean(v.active)} is active for ${coarse(now - ms(v.at))}`;
  return `${clean(v.before)} → ${clean(v.active)}, ${coarse(now - ms(v.at))} ago (${stamp(v.at)})` + (v.took ? `, not served for ${clean(v.took)}` : "");
}

function verified(v, there) {
  const said = there.map((h) => h.verify).filter(Boolean).sort().at(-1);
  return said ? clean(said) : ms(v.verify) ? "asked for " + stamp(v.verify) : "never";
}

function backup(v, now) {
  const b = v.backup, failed = v.backupFailed;
  const good = b ? `${coarse(now - ms(b.at))} ago, ${size(b.size)}` + (b.to ? " to " + clean(b.to) : "") : "none known";
  return failed && ms(failed.at) > ms(b?.at) ? `${good}; FAILED ${coarse(now - ms(failed.at))} ago: ${clean(failed.why)}` : good;
}

// half is one half of a pair. What a silent one said last is not how it is.
function half(v, h, now) {
  const silent = now - ms(h.heard) > silence, state = stateOf(h.state);
  const syncing = !silent && (h.synced > 0 || h.left > 0) && h.connection !== "SyncSource" && h.connection !== "VerifyS";
  const told = [v.why, ...(v.alerts ?? [])].join("\n");
  return {
    key: h.slot, open: h.node ?? "", name: clean(h.slot), state, doing: doing(v, h, silent), silent,
    data: silent ? "" : clean(h.diskState), link: silent ? "" : clean(h.connection),
    sync: syncing ? h.synced : -1, syncText: syncing ? `${h.synced.toFixed(1)} %` + (h.left ? `, ${short(h.left * 1000)} left` : "") : "",
    fencing: !ms(h.fencingAt) ? "not tested" : h.fencing ? "FAILS" : "works", fencingTone: !ms(h.fencingAt) ? "dim" : h.fencing ? "bad" : "good",
    disk: [h.serial || h.disk, h.size && size(h.size)].filter(Boolean).map(clean).join(", "), heard: ms(h.heard),
    notes: [h.why && !told.includes(h.why) && h.why, v.outdated === h.slot && "its data are not the newest", h.frozen && "it holds up all reads and writes", ...(h.errors ?? [])]
      .filter(Boolean).map(clean),
  };
}

function doing(v, h, silent) {
  if (!h.node) return { word: "empty", sign: "·", tone: "warn" };
  if (silent) return { word: "silent", sign: "✕", tone: "bad" };
  if (h.active) return { word: "active", sign: "★", tone: "good" };
  if (h.phase === "refused") return { word: "refused", sign: "✕", tone: "bad" };
  if (h.standby || v.standby?.includes(h.slot)) return { word: "maintenance", sign: "‖", tone: "warn" };
  if (h.phase === "cluster") return { word: "passive", sign: "✓", tone: "good" };
  return { word: clean(h.phase), sign: "↻", tone: "busy" };
}
