import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "../files/feed.js";

const settle = () => new Promise((done) => setImmediate(done));
const start = Date.parse("2026-03-01T08:00:00Z");

// World is a server, its network and a clock, in memory.
class World {
  constructor() {
    Object.assign(this, { time: start, up: true, token: "s3cret", asked: [], streams: [], sleeps: [], seq: 1, etag: '"1"', fail: "", skew: 0, faults: {}, said: { data: [], events: [], contact: [], login: [] } });
    const say = (name) => (...a) => this.said[name].push(a.length > 1 ? a : a[0]);
    this.feed = new Feed({
      now: () => this.time, timeout: () => 0, clear: () => {}, sleep: (after) => new Promise((done) => this.sleeps.push({ after, done })),
      fetch: async (path, o) => this.answer(path, o),
    }, { data: say("data"), events: say("events"), contact: say("contact"), login: say("login"), fault: (name, why) => { this.faults[name] = why; } });
  }
  answer(path, o) {
    if (!this.up || o.signal.aborted) throw new TypeError("network");
    this.asked.push({ path, ...o });
    const headers = { get: (name) => ({ Date: new Date(this.time + this.skew).toUTCString(), ETag: this.etag })[name] };
    const say = (status, value, body) => ({ status, headers, body, json: async () => value });
    if (this.token && o.headers.Authorization !== "Bearer " + this.token) return say(401, { error: "wrong token" });
    if (this.hang === path) return new Promise((_, no) => { this.hung = no; });
    if (this.fail && path === this.fail) return say(500, { error: "no space left" });
    if (path.includes("follow=1")) {
      const s = {};
      const reader = { read: () => new Promise((ok, no) => { s.give = (text) => ok({ done: false, value: new TextEncoder().encode(text) }); s.end = () => ok({ done: true }); s.fail = no; }) };
      o.signal.addEventListener("abort", () => s.fail(new Error("aborted")));
      this.streams.push(s);
      return say(200, null, { getReader: () => reader });
    }
    if (path.startsWith("/v1/events")) return say(200, [{ seq: this.seq }]);
    return o.headers["If-None-Match"] === this.etag ? say(304) : say(200, [path]);
  }
  async at(seconds) { this.time = start + seconds * 1000; this.feed.tick(); await settle(); }
  paths() { return this.asked.splice(0).map((a) => a.path); }
  async begin(token = "s3cret") { this.feed.start(token); await settle(); await this.at(0); return this; }
}

test("it reads everything once, and then follows", async () => {
  const w = await new World().begin();
  assert.deepEqual(w.paths(), ["/v1/events?last=100", "/v1/events?follow=1&after=1", "/v1/pools", "/v1/nodes", "/v1/storage", "/v1/rollouts", "/v1/images"]);
  assert.deepEqual(w.said.data.map(([name]) => name), ["pools", "nodes", "pairs", "rollouts", "images"]);
  await w.at(1);
  assert.deepEqual(w.paths(), []);
  await w.at(3); // what storage machines say makes no event
  assert.deepEqual(w.paths(), ["/v1/storage"]);
});

test("the token is in a header, never in a URL, and no cookie goes with it", async () => {
  const w = await new World().begin();
  for (const a of w.asked) {
    assert.equal(a.headers.Authorization, "Bearer s3cret");
    assert.ok(!a.path.includes("s3cret"));
    assert.equal(a.credentials, "omit");
    assert.equal(a.redirect, "error");
  }
});

test("an event has everything read again, once a second at most, and only what changed is told", async () => {
  const w = await new World().begin();
  w.paths();
  w.said.data.length = 0;
  w.streams[0].give('{"seq":2,"mes');
  await settle();
  assert.deepEqual(w.said.events.length, 1); // a line that is not whole
  w.streams[0].give('sage":"x"}\n\n');
  await settle();
  assert.deepEqual(w.said.events[1], [[{ seq: 2, message: "x" }], false]);
  await w.at(0.5);
  assert.deepEqual(w.paths(), []);
  await w.at(1);
  assert.deepEqual(w.paths(), ["/v1/pools", "/v1/nodes", "/v1/storage", "/v1/rollouts"]);
  assert.deepEqual(w.said.data, []); // 304
  w.etag = '"2"';
  w.streams[0].give('{"seq":3}\n');
  await settle();
  await w.at(5);
  assert.deepEqual(w.said.data.map(([name]) => name), ["pools", "nodes", "pairs", "rollouts", "images"]);
});

test("contact lost: since when, and all again when the server is back", async () => {
  const w = await new World().begin();
  w.paths();
  await w.at(3);
  w.up = false;
  w.time = start + 7000;
  w.streams[0].end();
  await settle();
  assert.deepEqual(w.said.contact, [{ ok: false, since: start + 3000, why: "the server ended the connection" }]);
  w.sleeps.shift().done();
  await settle();
  assert.equal(w.said.contact.at(-1).why, "the server does not answer");
  assert.equal(w.said.contact.at(-1).since, start + 3000);
  const tries = [];
  for (let i = 0; i < 6; i++) {
    tries.push(w.sleeps[0].after);
    w.sleeps.shift().done();
    await settle();
  }
  assert.deepEqual(tries, [2000, 4000, 8000, 10000, 10000, 10000]);
  w.up = true;
  w.seq = 1; // another store: its events begin anew, and it may be at the same revision
  w.said.data.length = 0;
  w.paths();
  w.sleeps.shift().done();
  await settle();
  assert.deepEqual(w.said.contact.at(-1), { ok: true, since: 0, why: "" });
  assert.deepEqual(w.paths(), ["/v1/events?last=100", "/v1/events?follow=1&after=1"]);
  assert.deepEqual(w.said.events.at(-1), [[{ seq: 1 }], true]);
  await w.at(9);
  assert.ok(w.paths().includes("/v1/nodes"));
  assert.deepEqual(w.said.data.map(([name]) => name), ["pools", "nodes", "pairs", "rollouts", "images"]);
});

test("a line that is no JSON ends the stream, and it is begun anew", async () => {
  const w = await new World().begin();
  w.streams[0].give("<html>\n");
  await settle();
  assert.equal(w.asked.find((a) => a.path.includes("follow")).signal.aborted, true);
  assert.equal(w.sleeps.length, 1);
});

test("a stream that says nothing for long is begun anew", async () => {
  const w = await new World().begin();
  w.streams[0].give("\n");
  await settle();
  await w.at(39);
  assert.equal(w.sleeps.length, 0);
  await w.at(41);
  assert.equal(w.sleeps.length, 1);
  w.sleeps.shift().done();
  await settle();
  assert.equal(w.streams.length, 2);
});

test("without the right token it asks for one, once, and leaves the server alone", async () => {
  const w = await new World().begin("");
  assert.deepEqual(w.said.login, [""]);
  w.paths();
  await w.at(60);
  assert.deepEqual(w.paths(), []);
  await w.begin("guess");
  assert.deepEqual(w.said.login, ["", "The server does not take this token."]);
  await w.begin("s3cret");
  assert.equal(w.said.login.length, 2);
  assert.equal(w.said.data.length, 5);
});

test("a read that fails is told, does not hide the others, and is tried again", async () => {
  const w = new World();
  w.fail = "/v1/images";
  await w.begin();
  assert.equal(w.faults.images, "no space left");
  assert.deepEqual(w.said.contact, []);
  w.fail = "";
  await w.at(6);
  assert.deepEqual(w.said.data.at(-1), ["images", ["/v1/images"]]);
  assert.equal(w.faults.images, "");
});

test("a fault ends with the next good answer, though nothing has changed meanwhile", async () => {
  const w = await new World().begin();
  w.fail = "/v1/nodes";
  await w.at(20);
  assert.equal(w.faults.nodes, "no space left");
  w.fail = "";
  await w.at(22);
  assert.equal(w.faults.nodes, "");
});

test("events that do not come are told, though everything else is answered", async () => {
  const w = await new World().begin();
  w.streams[0].give("\n");
  await settle();
  assert.equal(w.faults.events, "");
  w.fail = "/v1/events?last=100";
  w.streams[0].end();
  await settle();
  w.sleeps.shift().done();
  await settle();
  await w.at(5);
  assert.equal(w.said.contact.at(-1).ok, true);
  assert.equal(w.faults.events, "no space left");
  w.fail = "";
  w.sleeps.shift().done();
  await settle();
  w.streams[1].give("\n");
  await settle();
  assert.equal(w.faults.events, "");
});

test("one answer that never comes is told, and is no loss of contact while others come", async () => {
  const w = await new World().begin();
  w.hang = "/v1/images";
  await w.at(31);
  await w.at(40);
  w.hung(new Error("aborted"));
  await settle();
  assert.equal(w.faults.images, "the server does not answer");
  assert.deepEqual(w.said.contact, []);
});

test("a stream that opens and says nothing at all is begun anew, too", async () => {
  const w = await new World().begin();
  await w.at(41);
  assert.equal(w.sleeps.length, 1);
});

test("ages are by the server's clock", async () => {
  const w = new World();
  w.skew = -3600e3;
  await w.begin();
  assert.ok(Math.abs(w.feed.now() - (start - 3600e3)) <= 1000);
  const right = await new World().begin();
  assert.equal(right.feed.now(), start);
});

test("a pause ends all requests, and what comes after catches up", async () => {
  const w = await new World().begin();
  w.streams[0].give("\n");
  await settle();
  w.paths();
  w.feed.stop();
  await settle();
  await w.at(60);
  assert.deepEqual(w.paths(), []);
  assert.deepEqual(w.said.contact, []); // nobody lost anything
  w.feed.resume();
  w.feed.tick();
  await settle();
  assert.equal(w.paths().length, 7);
  await w.at(61);
  assert.deepEqual(w.said.contact, []);
});
