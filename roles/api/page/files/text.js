// Text for people: times, sizes and words that came from machines.

// clean makes what a machine said safe to read: a control character, or one that turns the direction of the text, would
// let one line look like another. It is no matter of HTML: nothing here is ever parsed as that.
export function clean(s) {
  return String(s ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (c) => c === "\n" ? " " : "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

// zero reports whether a time is Go's zero, or none.
export const zero = (t) => !t || t.startsWith("0001-01-01");

// ms is a time of the API in milliseconds; 0 for none.
export const ms = (t) => zero(t) ? 0 : Date.parse(t) || 0;

const two = (n) => String(n).padStart(2, "0");

// short writes milliseconds in at most two units, as the commands do: 3m12s, 2d04h.
export function short(duration) {
  const s = Math.max(0, Math.floor(duration / 1000));
  if (s < 60) return s + "s";
  if (s < 3600) return Math.floor(s / 60) + "m" + two(s % 60) + "s";
  if (s < 86400) return Math.floor(s / 3600) + "h" + two(Math.floor(s / 60) % 60) + "m";
  return Math.floor(s / 86400) + "d" + two(Math.floor(s / 3600) % 24) + "h";
}

// coarse is short without what changes with every look: 12s stays, 3m12s is 3m.
export function coarse(duration) {
  const s = short(duration);
  return /^\d+s$/.test(s) ? s : s.replace(/(\d+[dhm])\d\d[hms]$/, "$1");
}

// clock is the time of day, and the date where it is not today's. In UTC, like the log and the commands.
export function clock(t, now) {
  if (!ms(t)) return "";
  const iso = new Date(ms(t)).toISOString();
  const day = iso.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? "" : iso.slice(5, 10) + " ";
  return day + iso.slice(11, 19);
}

// stamp is a moment in full.
export const stamp = (t) => ms(t) ? new Date(ms(t)).toISOString().slice(0, 19).replace("T", " ") + " UTC" : "";

// size writes bytes with a binary unit.
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let n = bytes || 0, i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

// count writes a number with its noun.
export const count = (n, one, many) => n + " " + (n === 1 ? one : many ?? one + "s");

// some lists the first names of many.
export function some(names, most = 3) {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? shown + " and " + (names.length - most) + " more" : shown;
}
