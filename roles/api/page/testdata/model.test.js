import assert from "node:assert/strict";
import { test } from "node:test";
import { alerts, verdict } from "../files/alerts.js";
import { bootTitle, eventRow, imageRows, nodeRow, poolCards, rolloutRows, stateOf, timeline, waitingRows } from "../files/model.js";
import { pairCards } from "../files/pairs.js";
import { clean, coarse, short, size } from "../files/text.js";
import { ago, half, node, now, pair, pool, rack } from "./rack.js";

const levels = (list) => list.map((a) => `${a.level} ${a.what}: ${a.text}`);

test("times and sizes are those of the commands", () => {
  assert.deepEqual([5e3, 192e3, 3 * 3600e3 + 60e3, 52 * 3600e3, -1].map(short), ["5s", "3m12s", "3h01m", "2d04h", "0s"]);
  assert.deepEqual([5e3, 192e3, 3 * 3600e3 + 60e3, 52 * 3600e3].map(coarse), ["5s", "3m", "3h", "2d"]);
  assert.deepEqual([0, 1023, 1536, 5 * 2 ** 30, 300 * 2 ** 40].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB", "300 TiB"]);
});

test("what turns or ends a line is shown, not obeyed", () => {
  assert.equal(clean("a\u202eb\x1b[31mc\u0000\u200bd"), "a\\u202eb\\u001b[31mc\\u0000\\u200bd");
  assert.equal(clean("two\nlines"), "two lines");
  assert.equal(clean(undefined), "");
});

test("a state that this page does not know is shown, and Object's own names are none", () => {
  assert.deepEqual(stateOf("melting"), { word: "melting", sign: "!", tone: "warn" });
  assert.deepEqual(stateOf("constructor"), { word: "constructor", sign: "!", tone: "warn" });
  assert.equal(stateOf("").word, "empty");
});

test("nothing is wrong with a rack that is well", () => {
  const nodes = [node(1), node(2)];
  const list = alerts(rack({ nodes, pools: [pool(nodes)], pairs: [pair()], findings: [{ check: "dhcp", status: "ok" }] }), now);
  assert.deepEqual(list, []);
  assert.deepEqual(verdict(list), { tone: "good", sign: "✓", text: "all well" });
});

test("what is broken comes before what is a warning, and that before what waits", () => {
  const nodes = [node(1, { state: "failed", why: "GET /: 502", since: ago(60) }), node(2, { state: "booting", since: ago(1200) }),
    { mac: "52:54:00:cc:00:01", state: "waiting", since: ago(5), facts: {} }];
  const list = alerts(rack({
    nodes, pools: [pool(nodes.slice(0, 2), { missing: 1 })], pairs: [pair({ state: "degraded", alerts: ["the pair runs on one leg: x"] })],
    rollouts: [{ pool: "web", image: "web:8", state: "failed", why: "web-01: no", started: ago(99), ended: ago(9) }, { pool: "old", image: "a:1", state: "failed", started: ago(2e5), ended: ago(1e5) }],
    findings: [{ at: now, check: "dhcp", status: "warn", detail: "10.0.0.9 answers too", fix: "switch it off" }],
  }), now);
  assert.deepEqual(levels(list), [
    "bad web: none ready, at least 2 should be; 1 machine boots, 1 has failed, 1 missing: switch a machine on, or assign what waits",
    "bad web: rollout of web:8 failed: web-01: no",
    "warn storage: the pair runs on one leg: x",
    "warn web-01: GET /: 502",
    "warn web-02: still boots",
    "warn dhcp: 10.0.0.9 answers too. What to do: switch it off",
    "info waiting: 1 machine waits for a slot",
  ]);
  assert.equal(verdict(list).text, "2 things are broken, 4 warnings");
});

test("what the doctor found says when, and is not held up for ever", () => {
  const found = (at) => alerts(rack({ findings: [{ at, check: "dhcp", status: "fail", detail: "no socket" }] }), now);
  assert.equal(found(now - 60e3)[0].since, now - 60e3);
  assert.deepEqual(found(now - 3601e3), []);
});

test("what cannot be read is not well", () => {
  const list = alerts(rack(), now, new Map([["pairs", "no space left"]]));
  assert.deepEqual(levels(list), ["warn pairs: cannot be read, what is shown of it may be old: no space left"]);
  assert.equal(verdict(list).tone, "warn");
});

test("a pool of failed machines is one alert", () => {
  const nodes = Array.from({ length: 200 }, (_, i) => node(i + 1, { state: "failed", why: "no root" }));
  assert.deepEqual(levels(alerts(rack({ nodes }), now)), ["warn web: 200 machines failed: web-01, web-02, web-03 and 197 more; no root"]);
});

test("a pair that does not serve is broken, and its pool is not told twice", () => {
  const list = alerts(rack({ pairs: [pair({ state: "down", alerts: ["the pair does not serve: x"] })], pools: [pool([], { name: "storage", ready: 0 })] }), now);
  assert.deepEqual(levels(list), ["bad storage: the pair does not serve: x"]);
});

test("a slot that lost its machine says so; slots never used are a number", () => {
  const nodes = [node(1)], p = pool(nodes, { free: 4 });
  p.slots.push({ name: "web-02", pool: "web", used: true, since: ago(30) }, ...["web-03", "web-04", "web-05"].map((name) => ({ name, pool: "web" })));
  const [card] = poolCards([p], nodes);
  assert.deepEqual(card.rows.map((r) => [r.name, r.state.word, r.open]), [["web-01", "ready", nodes[0].mac], ["web-02", "empty", ""]]);
  assert.match(card.rows[1].why, /takes its name, address and state/);
  assert.equal(card.unusedText, "3 slots never used: web-03 … web-05");
  assert.equal(card.tone, "warn");
});

test("those that wait come first, and say why", () => {
  const list = [{ mac: "a", state: "off", since: ago(1) }, { mac: "b", state: "waiting", why: "no rule", since: ago(9) }, { mac: "c", state: "waiting", since: ago(3) }, node(1),
    { mac: "d", state: "off", pool: "web", since: ago(20) }];
  assert.deepEqual(waitingRows(list).map((r) => [r.key, r.why]), [["c", ""], ["b", "no rule"], ["a", ""], ["d", ""]]);
});

test("images: the current one, what runs, and the newest", () => {
  const images = [1, 2, 3, 10, 9].map((v) => ({ ref: "web:" + v, size: 1, built: ago(v), current: v === 9, signed: true }));
  assert.deepEqual(imageRows(images, [node(1, { image: "web:2" })]).map((r) => [r.ref, r.mark.word, r.used, r.more]),
    [["web:10", "newer", 0, 0], ["web:9", "current", 0, 0], ["web:2", "older", 1, 2]]);
});

test("a rollout counts what is done, or what is back", () => {
  const slots = [{ name: "a", state: "done" }, { name: "b", state: "restarting" }, { name: "c", state: "back" }];
  const rows = rolloutRows([{ pool: "old", state: "rolled-back", slots, started: ago(50), ended: ago(9) }, { pool: "web", state: "running", slots, started: ago(99), ended: "0001-01-01T00:00:00Z" }]);
  assert.deepEqual(rows.map((r) => [r.key, r.done, r.all, r.active, r.busy]), [["web", 1, 3, true, ["b"]], ["old", 1, 3, false, ["b"]]]);
});

test("a timeline has times since the begin, and what took longest", () => {
  const boot = { id: 3, started: ago(60), ended: ago(20), ready: true, step: "ready", image: "web:7", events: [
    { seq: 1, time: ago(59), step: "discover" }, { seq: 2, time: ago(30), step: "kernel", message: "came" }, { seq: 3, time: ago(20), step: "root", error: "no server" },
    { seq: 4, time: ago(-60), step: "health", error: "died" }] };
  assert.deepEqual(timeline(boot).map((r) => [r.at, r.slow, r.bad, r.text]), [["+1.0s", false, false, ""], ["+30.0s", true, false, "came"], ["+40.0s", false, true, "no server"], ["+120.0s", false, true, "died"]]);
  assert.equal(bootTitle(boot, now).text, "boot 3: ready after 40.0s, web:7");
  assert.equal(bootTitle({ id: 4, started: ago(5), step: "kernel" }, now).text, "boot 4: goes on, at kernel for 5s");
});

test("an event of another day has its date", () => {
  assert.equal(eventRow({ seq: 1, time: ago(60), mac: "m", step: "ready", message: "x" }, now).at, "07:59:00");
  assert.equal(eventRow({ seq: 1, time: ago(86400), mac: "m", step: "ready", error: "x" }, now).at, "02-28 08:00:00");
});

test("a pair that is well", () => {
  const [c] = pairCards([pair()], now);
  assert.equal(c.served, "10.77.0.10, served by storage-01");
  assert.equal(c.volume, "233 GiB of 931 GiB used (25 %)");
  assert.deepEqual(c.facts.map((f) => f.text), ["quorum at storage-01 and storage-02, third vote heard",
    "storage-02 → storage-01, 2h ago (2026-03-01 06:00:00 UTC), not served for 17s", "never", "none known"]);
  assert.deepEqual(c.halves.map((h) => [h.doing.word, h.fencing, h.sync]), [["active", "works", -1], ["passive", "works", -1]]);
});

test("a pair that syncs, has a silent half, and no fencing", () => {
  const halves = [half("storage-01", { active: true, diskState: "UpToDate", connection: "SyncSource", synced: 43.21, left: 840, fencing: "no answer" }),
    half("storage-02", { diskState: "Inconsistent", connection: "SyncTarget", synced: 43.21, left: 840 })];
  const [c] = pairCards([pair({ state: "degraded", why: "syncs", alerts: ["one leg: syncs"], halves })], now);
  assert.deepEqual(c.halves.map((h) => [h.sync, h.syncText, h.fencing]), [[-1, "", "FAILS"], [43.21, "43.2 %, 14m00s left", "works"]]);
  assert.equal(c.why, ""); // an alert says it
  halves[1].heard = ago(60);
  const quiet = pairCards([pair({ state: "degraded", halves })], now)[0].halves[1];
  assert.deepEqual([quiet.doing.word, quiet.data, quiet.sync], ["silent", "", -1]);
});

test("a node's row takes a node that knows nothing of itself", () => {
  const r = nodeRow({ mac: "52:54:00:00:00:01", state: "waiting" });
  assert.deepEqual([r.name, r.machine, r.since], ["52:54:00:00:00:01", "", 0]);
});

test("a pair tells its latest backup, and that one failed since", () => {
  const line = (o) => pairCards([pair(o)], now)[0].facts.at(-1).text;
  const good = { at: ago(7200), took: "42s", size: 97517568, to: "vault:/b.tar.zst" };
  assert.equal(line({ backup: good }), "2h ago, 93.0 MiB to vault:/b.tar.zst");
  assert.equal(line({ backup: good, backupFailed: { at: ago(60), why: "no memory" } }), "2h ago, 93.0 MiB to vault:/b.tar.zst; FAILED 1m ago: no memory");
  assert.equal(line({ backupFailed: { at: ago(60), why: "no memory" } }), "none known; FAILED 1m ago: no memory");
});
