// The document. Whatever comes from a machine goes in as text: nothing in this page parses HTML, and the policy that the
// server sends forbids it.

// h makes an element. props are attributes, but for class and on (listeners by event); a child that is a string is text.
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") el.className = value;
    else if (name === "on") for (const [event, fn] of Object.entries(value)) el.addEventListener(event, fn);
    else if (value !== false && value != null) el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children);
  return el;
}

// text sets an element's text, if it is another one.
export function text(el, s) {
  if (el.textContent !== s) el.textContent = s;
}

// label sets what a screen reader says of an element.
export function label(el, s) {
  if (el.getAttribute("aria-label") !== s) el.setAttribute("aria-label", s);
}

// tone gives an element one of the tones; they are this page's own words.
export function tone(el, name) {
  if (el.dataset.tone !== name) el.dataset.tone = name;
}

// show hides an element, or shows it.
export function show(el, yes) {
  if (el.hidden === yes) el.hidden = !yes;
}

// since makes an element tell how long ago a time was; 0 is none. ages() keeps it true.
export function since(el, at) {
  const value = at ? String(at) : "";
  if (el.dataset.since !== value) el.dataset.since = value;
}

// sign writes a state: its sign, which is for the eye, and its word.
export function sign(el, state) {
  if (!el.firstChild) el.append(h("span", { class: "sign", "aria-hidden": "true" }), h("span"));
  text(el.firstChild, state.sign);
  text(el.lastChild, state.word);
  tone(el, state.tone);
}

// keyed makes parent's children those of rows: make gives a new row's element, update fills it. A row that stays keeps its
// element, so that neither the focus nor what is open is lost, and nothing is touched that has not changed.
export function keyed(parent, rows, make, update) {
  const had = parent.rows ?? new Map(), have = new Map(), keys = new Set(rows.map((r) => r.key));
  const focus = document.activeElement;
  for (const [key, el] of had) if (!keys.has(key)) el.remove();
  let next = parent.firstElementChild;
  for (const row of rows) {
    let el = had.get(row.key);
    if (!el) {
      el = make(row);
      el.parts = Object.fromEntries([...el.querySelectorAll("[data-part]")].map((p) => [p.dataset.part, p]));
    }
    have.set(row.key, el);
    update(el, row, el.parts);
    if (el === next) next = next.nextElementSibling;
    else parent.insertBefore(el, next);
  }
  parent.rows = have;
  // A browser takes the focus from what is moved.
  if (focus && focus !== document.activeElement && parent.contains(focus)) focus.focus({ preventScroll: true });
}

// part is an element with a name that keyed's update finds it by.
export const part = (name, tag = "span", props = {}, ...children) => h(tag, { ...props, "data-part": name, class: props.class ?? name }, ...children);
