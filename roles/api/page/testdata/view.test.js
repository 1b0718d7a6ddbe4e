import assert from "node:assert/strict";
import { test } from "node:test";
import { count, section } from "./document.js";
import { keyed } from "../files/dom.js";
import { eventRow, poolCards, waitingRows } from "../files/model.js";
import { drawAlerts, drawEvents, drawPools, drawWaiting } from "../files/view.js";
import { alerts } from "../files/alerts.js";
import { ago, node, now, pool, rack } from "./rack.js";

const evil = `<img src=x onerror=alert(1)><script>alert(1)</script>`;

test("what a machine says goes in as text, whatever it says", () => {
  const bad = node(1, { mac: "52:54:00:00:00:01", name: evil, why: evil, image: evil, state: "failed", facts: { manufacturer: evil, serial: evil }, labels: { [evil]: evil, __proto__: evil } });
  const wild = { mac: "52:54:00:00:00:02", state: evil, why: evil, since: ago(1), facts: { product: evil } };
  const parts = [section("alerts"), section("rows"), section("cards"), section("events")];
  drawAlerts(parts[0], alerts(rack({ nodes: [bad, wild] }), now), true);
  drawWaiting(parts[1], waitingRows([wild]), "");
  drawPools(parts[2], poolCards([pool([bad], { name: evil, role: evil })], [bad]), "");
  drawEvents(parts[3], [{ seq: 1, time: ago(1), mac: bad.mac, name: evil, step: evil, message: evil }], "", false, now);
  const known = new Set(["div", "ul", "li", "ol", "button", "span", "strong", "article", "h3", "p", "details", "summary", "time"]);
  for (const p of parts) {
    assert.ok(p.textContent.includes("<img src=x"), "it is to be read");
    for (const el of p.all()) {
      assert.ok(known.has(el.tag), "an element " + el.tag);
      for (const [name, value] of Object.entries(el.attributes)) {
        assert.ok(!name.startsWith("on") && !["href", "src", "style", "class"].includes(name), name);
        if (name !== "aria-label") assert.ok(!value.includes("<img"), name);
      }
      assert.ok(!el.className.includes("<"), "a class");
      assert.ok(["good", "busy", "warn", "bad", "dim", "plain", undefined].includes(el.dataset.tone), "a tone");
    }
  }
});

test("what has not changed is not touched: one machine of 500", () => {
  const nodes = Array.from({ length: 500 }, (_, i) => node(i + 1, { mac: "m" + i, state: i % 2 ? "failed" : "ready" })), s = section("cards");
  drawPools(s, poolCards([pool(nodes)], nodes), "");
  const first = s.querySelector(".node-line");
  count.made = count.writes = 0;
  drawPools(s, poolCards([pool(nodes)], nodes), "");
  assert.deepEqual(count, { made: 0, writes: 0 });
  nodes[1] = { ...nodes[1], why: "no root" };
  drawPools(s, poolCards([pool(nodes)], nodes), "");
  assert.deepEqual(count, { made: 0, writes: 1 });
  assert.equal(s.querySelector(".node-line"), first);
});

test("a big pool draws those that are well when somebody wants to see them", () => {
  const nodes = Array.from({ length: 500 }, (_, i) => node(i + 1, { mac: "m" + i, state: i === 7 ? "failed" : "ready" })), s = section("cards");
  drawPools(s, poolCards([pool(nodes)], nodes), "");
  assert.equal(s.querySelectorAll(".node-line").length, 1);
  const rest = s.querySelector(".rest");
  rest.open = true;
  rest.ontoggle();
  assert.equal(s.querySelectorAll(".node-line").length, 500);
  rest.open = false;
  drawPools(s, poolCards([pool(nodes)], nodes), "web-499");
  assert.equal(s.querySelectorAll(".node-line").length, 1);
  assert.match(s.textContent, /web-499/);
});

test("rows keep their elements when their order changes", () => {
  const list = section().querySelector(".count");
  const make = (r) => { const el = document.createElement("li"); el.id = r.key; return el; };
  const draw = (...keys) => { keyed(list, keys.map((key) => ({ key })), make, () => {}); return list.children.map((el) => el.id).join(""); };
  assert.equal(draw("a", "b", "c"), "abc");
  const b = list.children[1];
  assert.equal(draw("c", "b", "d"), "cbd");
  assert.equal(list.children[1], b);
  assert.equal(draw("d"), "d");
  assert.equal(draw(), "");
  assert.equal(draw("x", "y"), "xy");
  const many = Array.from({ length: 500 }, (_, i) => "k" + i);
  draw(...many);
  count.writes = 0;
  draw(...many.slice(1)); // those behind it are not moved
  assert.equal(count.writes, 0);
  draw("new", ...many.slice(1));
  assert.equal(count.writes, 1);
});

test("what is moved keeps the focus", () => {
  const list = section().querySelector(".count");
  const make = (r) => { const el = document.createElement("li"); el.id = r.key; return el; };
  const draw = (...keys) => keyed(list, keys.map((key) => ({ key })), make, () => {});
  draw("a", "b");
  document.activeElement = list.children[1];
  draw("b", "a");
  assert.equal(document.activeElement.id, "b");
  delete document.activeElement;
});

test("a new event touches no other", () => {
  const s = section("events"), list = Array.from({ length: 100 }, (_, i) => ({ seq: i, time: ago(500 - i), mac: "m", step: "ready", message: "x" + i }));
  drawEvents(s, list, "", false, now);
  const was = s.querySelectorAll(".event")[0];
  count.made = 0;
  drawEvents(s, [...list, { seq: 100, time: ago(1), mac: "m", step: "fail", error: "no" }], "", false, now);
  assert.equal(count.made, 7); // the line and its parts
  assert.equal(s.querySelectorAll(".event")[1], was);
  drawEvents(s, [...list, { seq: 100, time: ago(1), mac: "m", step: "fail", error: "no" }], "", true, now);
  assert.equal(s.querySelectorAll(".event").length, 1);
  assert.equal(eventRow(list[0], now).bad, false);
});
