// A document for tests: as much of the DOM as the page uses to draw, which counts what is written into it. Text is text
// here; whoever wanted it parsed as HTML finds no way.
export const count = { made: 0, writes: 0 };

class Text {
  constructor(s) { this.data = s; }
  get textContent() { return this.data; }
}

class Element {
  constructor(tag) {
    count.made++;
    Object.assign(this, { tag, nodes: [], attributes: {}, dataset: {}, parentNode: null, className: "", hidden: false, listeners: {}, title: "", names: new Set() });
    this.classList = { toggle: (c, on) => { if (on) this.names.add(c); else this.names.delete(c); } };
  }
  append(...list) { for (const c of list) this.adopt(c, this.nodes.length); }
  adopt(c, at) {
    const el = c instanceof Element ? c : new Text(String(c));
    el.parentNode = this;
    this.nodes.splice(at, 0, el);
  }
  get children() { return this.nodes.filter((n) => n instanceof Element); }
  get firstChild() { return this.nodes[0] ?? null; }
  get lastChild() { return this.nodes.at(-1) ?? null; }
  get firstElementChild() { return this.children[0] ?? null; }
  get nextElementSibling() { const all = this.parentNode.children; return all[all.indexOf(this) + 1] ?? null; }
  contains(el) { return el === this || this.all().includes(el); }
  insertBefore(el, before) {
    count.writes++;
    if (el.contains(document.activeElement)) document.activeElement = null; // as browsers do
    el.remove();
    this.adopt(el, before ? this.nodes.indexOf(before) : this.nodes.length);
  }
  remove() {
    if (!this.parentNode) return;
    this.parentNode.nodes = this.parentNode.nodes.filter((n) => n !== this);
    this.parentNode = null;
  }
  replaceChildren(...list) { for (const c of this.children) c.remove(); this.nodes = []; this.append(...list); }
  focus() { globalThis.document.focused = globalThis.document.activeElement = this; }
  showModal() { this.open = true; }
  close() { this.open = false; this.listeners.close?.(); }
  click() { if (!this.disabled) return this.listeners.click?.({ target: this }); }
  setAttribute(name, value) {
    count.writes++;
    this.attributes[name] = String(value);
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
  }
  getAttribute(name) { return this.attributes[name] ?? null; }
  addEventListener(event, fn) { this.listeners[event] = fn; }
  get textContent() { return this.nodes.map((n) => n.textContent).join(""); }
  set textContent(s) { count.writes++; this.nodes = [new Text(s)]; }
  all() { return this.children.flatMap((c) => [c, ...c.all()]); }
  matches(q) { return q === "[data-part]" ? "part" in this.dataset : q[0] === "." ? this.className.split(" ").includes(q.slice(1)) : this.tag === q; }
  querySelectorAll(q) { return this.all().filter((e) => e.matches(q)); }
  querySelector(q) { return this.querySelectorAll(q)[0] ?? null; }
}

globalThis.location = { hash: "", pathname: "/" };
globalThis.history = { replaceState() { globalThis.location.hash = ""; } };
globalThis.document = { createElement: (tag) => new Element(tag) };

// dialog makes the dialog of a node.
export function dialog() {
  const el = new Element("dialog");
  for (const [tag, c] of [["h2", ""], ["button", "close"], ["div", "node-body"]]) {
    const part = new Element(tag);
    part.className = c;
    el.append(part);
  }
  return el;
}

// section makes a section of the page with the parts of these classes.
export function section(...classes) {
  const el = new Element("section");
  for (const c of ["count", ...classes]) {
    const part = new Element("div");
    part.className = c;
    el.append(part);
  }
  return el;
}
