import assert from "node:assert/strict";
import { test } from "node:test";
import { dialog } from "./document.js";
import { NodeView } from "../files/node.js";
import { ago, node, now, pair, pool } from "./rack.js";

const settle = () => new Promise((done) => setImmediate(done));
const boots = [{ id: 4, started: ago(40), step: "kernel", events: [{ seq: 9, time: ago(39), step: "discover", message: "PXEClient" }] },
  { id: 3, started: ago(900), ended: ago(860), ready: false, step: "root", events: [{ seq: 5, time: ago(860), step: "root", error: "<b>no server</b>" }] }];

// World is a dialog on a rack whose server does what fail does not forbid.
class World {
  constructor(n, o = {}) {
    Object.assign(this, { n, asked: [], fail: null, clock: now, boots, dialog: dialog() });
    const feed = {
      now: () => this.clock, soil: () => { this.soiled = true; },
      json: async (path) => { this.asked.push(path); if (this.fail) throw this.fail; return this.boots; },
      request: async (path, r) => { this.asked.push([r.method, path, r.body]); if (this.fail) throw this.fail; },
    };
    this.view = new NodeView(this.dialog, { feed, node: (mac) => mac === this.n.mac ? this.n : undefined, known: () => true, pools: () => [pool([node(1)]), { ...pool([]), name: "mail", missing: 2 }], pairs: () => o.pairs ?? [] });
  }
  async open() { this.view.open(this.n.mac); await settle(); this.asked.length = 0; return this; }
  buttons() { return this.dialog.querySelector(".actions").querySelectorAll("button").map((b) => b.textContent); }
  press(text) { this.dialog.querySelectorAll("button").find((b) => b.textContent.startsWith(text)).click(); }
  says() { return this.dialog.querySelector(".outcome").textContent; }
}

test("a node with its boots, the newest first", async () => {
  const w = new World(node(1, { state: "booting", why: "at kernel" }));
  w.view.open(w.n.mac);
  assert.match(w.dialog.textContent, /Reading …/);
  await settle();
  assert.deepEqual(w.asked, ["/v1/nodes/52%3A54%3A00%3Aaa%3A00%3A01/boots"]);
  const list = w.dialog.querySelectorAll(".boot");
  assert.deepEqual(list.map((b) => b.querySelector(".title").textContent), ["boot 4: goes on, at kernel for 40s", "boot 3: failed at root after 40.0s"]);
  assert.deepEqual(list.map((b) => "open" in b.attributes), [true, false]);
  assert.match(list[1].textContent, /<b>no server<\/b>/);
  assert.equal(w.dialog.querySelector("b"), null);
});

test("boots are read again when something has happened to the node, and only then", async () => {
  const w = await new World(node(1)).open();
  w.clock += 5000;
  await w.view.load();
  assert.deepEqual(w.asked, []);
  w.n = { ...w.n, state: "failed" };
  await w.view.load();
  assert.equal(w.asked.length, 1);
  w.n = { ...w.n, state: "ready" };
  await w.view.load(); // not twice a second
  assert.equal(w.asked.length, 1);
});

test("a click asks, and does nothing; no is where the focus is", async () => {
  const w = await new World(node(1, { state: "ready" })).open();
  assert.deepEqual(w.buttons(), ["Restart …", "Power-cycle …"]);
  w.press("Power-cycle");
  assert.deepEqual(w.asked, []);
  assert.match(w.dialog.querySelector(".ask").textContent, /Cut the power of web-01 .*It serves now in the pool web\. What it has not written is lost\./);
  assert.equal(document.focused.textContent, "No, leave it");
  w.view.draw(); // live data come: the question stays
  assert.ok(w.dialog.querySelector(".ask"));
  w.press("No");
  assert.deepEqual(w.buttons(), ["Restart …", "Power-cycle …"]);
  assert.deepEqual(w.asked, []);
});

test("a machine that is not known has nothing of the one before, and no button", async () => {
  const w = await new World(node(1)).open();
  w.view.open("52:54:00:00:00:99");
  await settle();
  assert.deepEqual(w.buttons(), []);
  assert.match(w.dialog.textContent, /not known, or not any more/);
  assert.doesNotMatch(w.dialog.textContent, /10\.77\.0\.1|web-01|ready/);
});

test("a machine that is forgotten while somebody looks is not shown as it was", async () => {
  const w = await new World(node(1)).open();
  w.press("Power-cycle");
  w.n = { ...w.n, mac: "52:54:00:00:00:98" };
  w.view.draw();
  assert.deepEqual(w.buttons(), []);
  assert.match(w.dialog.textContent, /not known, or not any more/);
});

test("boots that cannot be read again are not taken for the latest", async () => {
  const w = await new World(node(1)).open();
  w.fail = Object.assign(new Error("no space left"), { status: 500 });
  w.n = { ...w.n, state: "failed" };
  w.clock += 5000;
  await w.view.load();
  assert.match(w.dialog.querySelector(".boots").textContent, /^The boots cannot be read: no space left.*boot 4/);
});

test("yes does it, once", async () => {
  const w = await new World(node(1, { state: "off" })).open();
  w.press("Power on");
  w.press("Yes");
  w.press("Yes"); // twice in a hurry
  await settle();
  assert.deepEqual(w.asked, [["POST", "/v1/nodes/52%3A54%3A00%3Aaa%3A00%3A01/power", { action: "on" }]]);
  assert.equal(w.says(), "It is switched on.");
  assert.ok(w.soiled);
});

test("a machine that waits is put into a pool", async () => {
  const w = await new World({ mac: "52:54:00:00:00:09", state: "waiting", facts: {} }).open();
  w.press("Assign");
  const choice = w.dialog.querySelector("select");
  assert.deepEqual(choice.children.map((o) => o.textContent), ["web (0 free)", "mail (2 missing)"]);
  choice.value = "mail";
  w.fail = Object.assign(new Error("pool mail has no <free> slot"), { status: 400 });
  w.press("Yes");
  await settle();
  assert.deepEqual(w.asked, [["POST", "/v1/nodes/52%3A54%3A00%3A00%3A00%3A09/assign", { pool: "mail" }]]);
  assert.equal(w.says(), "Not done: pool mail has no <free> slot");
});

test("when no answer comes, nobody claims that nothing was done", async () => {
  const w = await new World(node(1)).open();
  w.press("Restart");
  w.fail = new TypeError("network");
  w.press("Yes");
  await settle();
  assert.match(w.says(), /may have been done all the same/);
});

test("the half of a pair that serves is not like any other machine", async () => {
  const n = node(1, { pool: "storage" }), p = pair();
  p.halves[0].node = n.mac;
  const w = await new World(n, { pairs: [p] }).open();
  w.press("Restart");
  assert.match(w.dialog.querySelector(".ask").textContent, /half of a storage pair that SERVES/);
});
