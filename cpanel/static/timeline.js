// The timeline: what is recorded, what is missing, where the player is. It
// draws, and tells where somebody points; it knows no player.
import { HOUR } from "./zone.js";

/** @typedef {import("./api.js").Range} Range */
/** @typedef {import("./api.js").Gap} Gap */

/** @type {Record<string, string>} */
export const why = {
  camera_lost: "camera unreachable", camera_silent: "camera silent", driver: "driver restarted", server_down: "server was down",
  disk_full: "disk full", disk_error: "disk error", deleted: "deleted", damaged: "damaged", key_destroyed: "key destroyed", off_schedule: "off schedule", expired: "expired",
  disabled: "switched off", clock_set: "server's clock set", unknown: "cause unknown",
};

/**
 * Gaps that nobody need look into: it was meant, or it is old.
 * @param {Gap} g
 */
export const meant = (g) => g.why === "off_schedule" || g.why === "disabled" || g.why === "expired" || g.why === "clock_set";

const steps = [5e3, 10e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1800e3, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR];
const TOP = 22, BAR = 34, AXIS = 22;

export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./zone.js").Zone} zone
   * @param {(ms:number)=>void} pick
   */
  constructor(canvas, zone, pick) {
    this.canvas = canvas;
    this.zone = zone;
    /** @type {Range[]} */ this.ranges = [];
    /** @type {Gap[]} */ this.gaps = [];
    this.view = { from: Date.now() - HOUR, to: Date.now() };
    this.cursor = 0; // of the player
    this.edge = 0; // now
    this.mark = 0; // under the pointer
    this.due = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.draw());
    const at = (/** @type {PointerEvent} */ e) => {
      const b = canvas.getBoundingClientRect();
      return this.view.from + Math.min(1, Math.max(0, (e.clientX - b.left) / b.width)) * (this.view.to - this.view.from);
    };
    const point = (/** @type {number} */ ms) => { this.mark = ms; this.draw(); };
    canvas.addEventListener("pointermove", (e) => point(at(e)));
    canvas.addEventListener("pointerleave", () => point(0));
    canvas.addEventListener("pointercancel", () => point(0));
    canvas.addEventListener("pointerup", (e) => {
      if (e.button) return;
      pick(at(e));
      if (e.pointerType === "touch") point(0);
    });
  }

  /** what is at a moment, in words @param {number} ms */
  describe(ms) {
    const time = this.zone.second(ms);
    if (this.edge && ms > this.edge) return time;
    if (this.ranges.some((r) => r.from <= ms && ms < r.to)) return time;
    const g = this.gaps.find((g) => g.from <= ms && ms < g.to);
    if (!g) return `${time} · nothing recorded`;
    return `${time} · ${meant(g) ? "nothing recorded" : "missing"}: ${why[g.why] ?? g.why}`;
  }

  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.paint(); });
  }

  paint() {
    const c = this.canvas, dpr = window.devicePixelRatio || 1, w = c.clientWidth, h = c.clientHeight;
    const g = c.getContext("2d");
    if (!w || !g) return;
    if (c.width !== Math.round(w * dpr) || c.height !== Math.round(h * dpr)) { c.width = Math.round(w * dpr); c.height = Math.round(h * dpr); }
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, w, h);
    const css = getComputedStyle(c), col = (/** @type {string} */ n) => css.getPropertyValue(n).trim();
    const { from, to } = this.view, x = (/** @type {number} */ t) => (t - from) / (to - from) * w;
    g.save();
    g.beginPath(); g.roundRect(0, TOP, w, BAR, 6); g.clip();
    g.fillStyle = col("--track");
    g.fillRect(0, TOP, Math.min(w, this.edge ? x(this.edge) : w), BAR);
    this.hatch(g, x, col("--missing"));
    g.fillStyle = col("--rec");
    for (const r of this.ranges) if (r.to > from && r.from < to) g.fillRect(x(r.from), TOP, Math.max(1, x(r.to) - x(r.from)), BAR);
    g.restore();
    g.font = `12px ${css.fontFamily}`;
    g.textAlign = "center";
    this.axis(g, w, x, col);
    if (this.mark) this.needle(g, w, x(this.mark), col("--dim"), 1, this.describe(this.mark), col("--raise"), col("--text"));
    if (this.cursor >= from && this.cursor <= to) {
      this.needle(g, w, x(this.cursor), col("--text"), 2, this.mark ? "" : this.zone.second(this.cursor), col("--text"), col("--panel"));
    }
  }

  /** @param {CanvasRenderingContext2D} g @param {(t:number)=>number} x @param {string} colour */
  hatch(g, x, colour) {
    const seen = this.gaps.filter((p) => !meant(p) && p.to > this.view.from && p.from < this.view.to);
    if (!seen.length) return;
    g.save();
    g.beginPath();
    for (const p of seen) g.rect(x(p.from), TOP, Math.max(2, x(p.to) - x(p.from)), BAR);
    g.clip();
    g.strokeStyle = colour;
    g.lineWidth = 3;
    g.beginPath();
    const right = x(this.view.to);
    for (let s = -BAR; s < right + BAR; s += 8) { g.moveTo(s, TOP + BAR); g.lineTo(s + BAR, TOP); }
    g.stroke();
    g.restore();
  }

  /** @param {CanvasRenderingContext2D} g @param {number} w @param {(t:number)=>number} x @param {(n:string)=>string} col */
  axis(g, w, x, col) {
    const { from, to } = this.view, least = steps.find((s) => s / (to - from) * w > 62) ?? 6 * HOUR;
    g.fillStyle = col("--dim");
    g.strokeStyle = col("--line");
    g.lineWidth = 1;
    // Marks stand at round local times. Offsets are multiples of 15 minutes;
    // hours are looked at one by one, as a day of 23 or 25 shifts them.
    const step = Math.min(least, HOUR), shift = this.zone.offset(from);
    for (let t = Math.ceil((from + shift) / step) * step - shift; t < to; t += step) {
      if (least > HOUR && this.zone.parts(t).h % (least / HOUR)) continue;
      const p = Math.round(x(t)) + .5, text = least < 60e3 ? this.zone.second(t) : this.zone.minute(t);
      g.beginPath(); g.moveTo(p, TOP + BAR); g.lineTo(p, TOP + BAR + 5); g.stroke();
      if (p > 24 && p < w - 24) g.fillText(text, p, TOP + BAR + AXIS - 3);
    }
  }

  /** @param {CanvasRenderingContext2D} g @param {number} w @param {number} p @param {string} line @param {number} width @param {string} text @param {string} back @param {string} ink */
  needle(g, w, p, line, width, text, back, ink) {
    g.fillStyle = line;
    g.fillRect(p - width / 2, TOP - 3, width, BAR + 6);
    if (!text) return;
    const half = g.measureText(text).width / 2 + 8, mid = Math.min(w - half, Math.max(half, p));
    g.fillStyle = back;
    g.beginPath(); g.roundRect(mid - half, 0, 2 * half, TOP - 3, 5); g.fill();
    g.fillStyle = ink;
    g.fillText(text, mid, TOP - 8);
  }
}
