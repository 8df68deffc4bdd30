// What the page says in words: the chosen stream, problems, events, the
// server.
import { $, attr, el, icon, put } from "./dom.js";
import { ended, sentence } from "./player.js";
import { states } from "./list.js";
import { rate, size, span } from "./zone.js";

/** @typedef {import("./api.js").Stream} Stream */
/** @typedef {import("./zone.js").Zone} Zone */

/** @type {Record<string, string>} */
const names = { h264: "H.264", h265: "H.265", mjpeg: "MJPEG", aac: "AAC", opus: "Opus", pcma: "G.711 A-law", pcmu: "G.711 µ-law", metadata: "ONVIF metadata" };
/** @param {string} c */
export const codecName = (c) => names[c.toLowerCase()] ?? c.toUpperCase();

/** @param {import("./api.js").Track} t */
function track(t) {
  const how = t.left_out ? `left out: ${t.left_out}` : t.kind === "data" || t.in_hls ? "" : "recorded, not for browsers";
  return [codecName(t.codec), t.width ? `${t.width} × ${t.height}` : "", t.sample_rate ? `${t.sample_rate / 1000} kHz` : "", how && `(${how})`].filter(Boolean).join(" ");
}

/** Rows of a list of terms; those without text are left out. @param {HTMLElement} dl @param {[string, string|string[]][]} rows */
function terms(dl, rows) {
  const key = JSON.stringify(rows);
  if (dl.dataset.key === key) return;
  dl.dataset.key = key;
  dl.replaceChildren(...rows.filter(([, v]) => v.length).map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, ...(Array.isArray(v) ? v.map((x) => el("span", { class: "item" }, x)) : [v])))));
}

/** @param {Stream|undefined} s @param {Zone} zone @param {number} now */
export function showStream(s, zone, now) {
  put($("title"), s ? s.name || s.uid : "No stream chosen");
  attr($("chip"), "class", "chip " + (s?.state ?? "off"));
  put($("chip-text"), s ? s.removed ? "removed" : states[s.state] ?? s.state : "");
  $("chip").hidden = !s;
  $("rec").hidden = !s?.recording;
  $("page").hidden = !s;
  if (!s) return terms($("facts"), []);
  attr($("page"), "href", `/live/${encodeURIComponent(s.uid)}/`);
  const off = s.camera_clock_offset_ms, set = s.settings ?? {};
  terms($("facts"), [
    ["State", sentence(states[s.state] ?? s.state) + (s.since ? ` since ${zone.short(s.since, now)}` : "")],
    ["Reason", [s.reason, s.hint].filter(Boolean).map((x) => sentence(x ?? "")).join(". ")],
    ["Source", set["stream-url"] ?? ""],
    ["Device", s.device ?? ""],
    ["Tracks", s.tracks.map(track)],
    ["Bit rate", s.state === "active" ? rate(s.bitrate_in) : ""],
    ["Recording", s.recording ? `Yes${set["dvr-duration"] ? `, kept for ${set["dvr-duration"]}` : ""}` : "No"],
    ["Footage", s.first_ms ? `Since ${zone.short(s.first_ms, now)}, ${size(s.bytes ?? 0)}` : "None yet"],
    ["Camera clock", off === undefined ? "" : Math.abs(off) < 500 ? "Agrees with the server" : `${span(Math.abs(off))} ${off > 0 ? "ahead" : "behind"}`],
    ["Lost packets", s.counters?.packets_lost ? String(s.counters.packets_lost) : ""],
    ["Viewers", String(s.viewers)],
    ["In URLs", s.uid],
  ]);
}

/** the stream a problem is about, also when only its file is named @param {import("./api.js").Problem} p */
function streamOf(p) {
  const uid = p.uid || (/([A-Za-z0-9][\w-]{0,35})\.ini(:|$)/.exec(p.where)?.[1] ?? "");
  return document.querySelector(`#streams a[href="#${CSS.escape(uid)}"]`) ? uid : "";
}

/** @param {import("./api.js").Problem[]} list @param {Zone} zone @param {number} now */
export function showProblems(list, zone, now) {
  const b = $("problems-button"), bad = list.some((p) => p.level === "error");
  attr(b, "class", "pill" + (bad ? " bad" : list.length ? " warn" : ""));
  put($("problems-count"), list.length ? `${list.length} ${list.length === 1 ? "problem" : "problems"}` : "No problems");
  const box = $("problems-list"), key = JSON.stringify([list, list.map(streamOf), zone.date(now)]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const order = [...list].sort((a, b) => Number(b.level === "error") - Number(a.level === "error"));
  box.replaceChildren(...order.map((p) => el("li", { class: p.level },
    icon(p.level === "error" ? "bad" : "warn"),
    el("div", {}, el("p", { class: "said" }, el("span", { class: "sr" }, p.level + ": "), sentence(p.what)), ...(p.hint ? [el("p", {}, ended(sentence(p.hint)))] : []),
      el("p", { class: "where" }, streamOf(p) ? el("a", { href: "#" + streamOf(p) }, p.where) : p.where, p.since_ms ? `, since ${zone.short(p.since_ms, now)}` : "")))));
  $("problems-none").hidden = list.length > 0;
}

/** @param {import("./api.js").Server} s @param {number} now */
export function showServer(s, now) {
  put($("server"), s.name);
  if (document.title !== s.name) document.title = s.name;
  terms($("about"), [
    ["Version", s.version],
    ["Running", `For ${span(now - s.started_ms)}`],
    ["Viewers", String(s.viewers)],
    ["Plugins", s.plugins.map((p) => `${p.name}${p.state === "serving" ? "" : ` (${p.state})`}${p.restarts ? `, restarted ${p.restarts} times` : ""}`)],
  ]);
  const box = $("spaces"), key = JSON.stringify(s.spaces);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...s.spaces.map((x) => {
    const label = `Space ${x.name}${x.state === "normal" ? "" : `, ${x.state.replace("_", "-")}`}`, used = Math.max(0, x.total_bytes - x.free_bytes);
    return el("li", {}, el("p", {}, el("span", {}, label), el("span", { class: "num" }, x.total_bytes ? `${size(x.free_bytes)} free of ${size(x.total_bytes)}` : x.state)),
      el("meter", { min: "0", max: String(x.total_bytes || 1), high: String(x.total_bytes * .92 || 1), value: String(used), "aria-label": `${label}: used` }),
      el("p", { class: "where" }, `${size(x.used_bytes)} of footage`));
  }));
}

/** @param {number} ms @param {Zone} zone @param {number} now */
const when = (ms, zone, now) => (zone.date(ms) === zone.date(now) ? "" : zone.day(ms) + " ") + zone.second(ms);

export class Events {
  constructor() {
    this.box = $("events");
    this.mine = /** @type {HTMLInputElement} */ ($("mine"));
    this.mine.addEventListener("change", () => this.filter());
    this.uid = "";
    this.today = "";
  }

  /** @param {import("./api.js").Event[]} list newest first @param {Zone} zone @param {number} now */
  add(list, zone, now) {
    for (const ev of [...list].reverse()) {
      const li = el("li", { class: ev.level }, el("time", { datetime: new Date(ev.time_ms).toISOString() }, when(ev.time_ms, zone, now)),
        el("span", {}, ...(ev.uid ? [el("a", { href: "#" + encodeURIComponent(ev.uid) }, ev.uid), " "] : []), sentence(ev.message)));
      li.dataset.uid = ev.uid;
      this.box.prepend(li);
    }
    while (this.box.children.length > 300) this.box.lastElementChild?.remove();
    this.filter();
  }

  /** What was today is yesterday on a page that stays open. @param {Zone} zone @param {number} now */
  date(zone, now) {
    const today = zone.name + zone.date(now);
    if (today === this.today) return;
    this.today = today;
    for (const t of this.box.querySelectorAll("time")) put(t, when(Date.parse(t.dateTime), zone, now));
  }

  /** @param {string} [uid] the chosen stream */
  filter(uid = this.uid) {
    this.uid = uid;
    let shown = 0;
    for (const li of /** @type {Iterable<HTMLElement>} */ (/** @type {unknown} */ (this.box.children))) {
      li.hidden = this.mine.checked && li.dataset.uid !== uid;
      if (!li.hidden) shown++;
    }
    $("events-none").hidden = shown > 0;
  }
}
