// The list of streams: cards that stay where they are while their states
// change.
import { $, attr, el, icon, put } from "./dom.js";
import { Thumbs } from "./thumbs.js";
import { rate } from "./zone.js";

/** @typedef {import("./api.js").Stream} Stream */

/** @type {Record<string, string>} */
export const states = { active: "live", connecting: "connecting", silent: "silent", lost: "unreachable", refused: "refused", off: "off", standby: "standby", "on-demand": "on demand" };

/** what stands in for a picture @param {Stream} s */
const stand = (s) => s.removed ? "kept" : s.state === "active" ? s.tracks.some((t) => t.kind === "video") || !s.tracks.length ? "film" : "sound" : s.state === "off" ? "off" : "broken";

/** @param {Stream} s */
function line(s) {
  if (s.removed) return "removed";
  return states[s.state] ?? s.state;
}

export class List {
  constructor() {
    this.thumbs = new Thumbs();
    this.box = $("streams");
    /** @type {Map<string, HTMLElement>} */ this.cards = new Map();
    this.find = /** @type {HTMLInputElement} */ ($("find"));
    this.find.addEventListener("input", () => this.filter());
  }

  /** @param {Stream[]} streams @param {string} chosen */
  update(streams, chosen) {
    const sorted = [...streams].sort((a, b) => Number(!!a.removed) - Number(!!b.removed) || (a.name || a.uid).localeCompare(b.name || b.uid, "en", { numeric: true, sensitivity: "base" }));
    sorted.forEach((s, i) => {
      let li = this.cards.get(s.uid);
      if (!li) this.cards.set(s.uid, li = this.make(s));
      if (this.box.children[i] !== li) this.box.insertBefore(li, this.box.children[i] ?? null);
      this.fill(li, s, s.uid === chosen);
    });
    for (const [uid, li] of this.cards) {
      if (streams.some((s) => s.uid === uid)) continue;
      this.thumbs.drop(/** @type {Element} */ (li.querySelector("canvas")));
      li.remove();
      this.cards.delete(uid);
    }
    const there = streams.filter((s) => !s.removed);
    put($("count"), streams.length ? `${there.filter((s) => s.state === "active").length} of ${there.length} live` : "");
    /** @type {HTMLElement} */ (this.find.parentElement).hidden = streams.length < 8;
    this.filter();
  }

  /** @param {Stream} s */
  make(s) {
    const shot = el("span", { class: "shot" }, el("canvas", { width: "192", height: "108" }), el("span", { class: "stand" }));
    const text = el("span", { class: "what" }, el("b", {}), el("span", { class: "state" }, el("span", { class: "dot" }), el("span", { class: "word" }), el("span", { class: "num" })));
    return el("li", {}, el("a", { class: "stream", href: "#" + encodeURIComponent(s.uid) }, shot, text));
  }

  /** @param {HTMLElement} li @param {Stream} s @param {boolean} chosen */
  fill(li, s, chosen) {
    const q = (/** @type {string} */ sel) => /** @type {HTMLElement} */ (li.querySelector(sel)), a = q("a"), name = s.name || s.uid;
    li.dataset.text = `${name} ${s.uid} ${line(s)}`.toLowerCase();
    if (chosen) attr(a, "aria-current", "true"); else a.removeAttribute("aria-current");
    attr(a, "title", [name, s.reason].filter(Boolean).join(" – "));
    put(q("b"), name);
    attr(q(".dot"), "class", "dot " + s.state);
    put(q(".word"), line(s) + (s.state === "active" && !s.recording ? ", not recorded" : ""));
    put(q(".num"), s.state === "active" ? rate(s.bitrate_in) : "");
    const kind = stand(s), box = q(".stand");
    if (box.dataset.kind !== kind) { box.dataset.kind = kind; box.replaceChildren(icon(kind)); }
    li.classList.toggle("dark", s.state !== "active");
    this.thumbs.update(/** @type {HTMLCanvasElement} */ (q("canvas")), s);
  }

  filter() {
    const words = this.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const li of this.cards.values()) {
      li.hidden = !words.every((w) => li.dataset.text?.includes(w));
      if (!li.hidden) shown++;
    }
    $("none").hidden = shown > 0 || !this.cards.size;
  }
}
