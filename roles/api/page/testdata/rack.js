// What the API says of a rack, for tests.
export const now = Date.parse("2026-03-01T08:00:00Z");
export const ago = (s) => new Date(now - s * 1000).toISOString();

export const node = (i, o = {}) => ({
  mac: "52:54:00:aa:00:" + i.toString(16).padStart(2, "0"), name: "web-" + String(i).padStart(2, "0"), pool: "web", slot: "web-" + String(i).padStart(2, "0"),
  address: "10.77.0." + i, state: "ready", since: ago(600), image: "web:7", facts: {}, ...o,
});

export function pool(nodes, o = {}) {
  const n = (state) => nodes.filter((x) => x.state === state).length;
  return {
    name: "web", role: "web", size: { min: 2, max: nodes.length + 2 }, ready: n("ready"), booting: n("booting"), failed: n("failed"), free: 0, missing: 0,
    slots: nodes.map((x, i) => ({ name: x.slot, pool: "web", number: i + 1, address: x.address, node: x.mac, used: true, state: x.state })), ...o,
  };
}

export const half = (slot, o = {}) => ({
  slot, node: "52:54:00:bb:00:01", state: "ready", heard: ago(1), fencing: "", fencingAt: ago(20), phase: "cluster", disk: "/dev/sdb", serial: "S1", size: 1e12,
  diskState: "UpToDate", connection: "Connected", quorate: true, qdevice: true, joined: true, ...o,
});

export const pair = (o = {}) => ({
  pool: "storage", address: "10.77.0.10", state: "whole", serving: true, made: ago(9e6), active: "storage-01", before: "storage-02", at: ago(7200), took: "17s",
  halves: [half("storage-01", { active: true, capacity: 1e12, used: 25e10 }), half("storage-02")], ...o,
});

export const rack = (o = {}) => ({ pools: [], nodes: [], pairs: [], rollouts: [], findings: [], ...o });
