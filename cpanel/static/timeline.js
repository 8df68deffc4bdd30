// The timeline: what is recorded, what is missing, where the player is.

/** @typedef {{from:number,to:number,duration:number,kind:string}} Range */
/** @typedef {{from:number,to:number,state:string,why:string}} Gap */

const why = {
  camera_lost: "camera unreachable", camera_silent: "camera silent", driver: "driver restarted", server_down: "server was down",
  disk_full: "disk full", disk_error: "disk error", deleted: "deleted", damaged: "damaged", off_schedule: "off schedule",
  disabled: "switched off", unknown: "cause unknown",
};

export class Timeline {
  /** @param {HTMLCanvasElement} canvas @param {(ms:number)=>void} seek @param {(text:string)=>void} hover @param {(ms:number, seconds?:boolean)=>string} clock */
  constructor(canvas, seek, hover, clock) {
    this.canvas = canvas;
    this.clock = clock;
    /** @type {Range[]} */ this.ranges = [];
    /** @type {Gap[]} */ this.gaps = [];
    this.view = { from: Date.now() - 3600e3, to: Date.now() };
    this.cursor = 0;
    this.mark = -1;
    new ResizeObserver(() => this.draw()).observe(canvas);
    const at = (/** @type {PointerEvent} */ e) => {
      const b = canvas.getBoundingClientRect();
      return this.view.from + (e.clientX - b.left) / b.width * (this.view.to - this.view.from);
    };
    canvas.addEventListener("pointermove", (e) => { this.mark = at(e); hover(this.describe(this.mark)); this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.mark = -1; hover(""); this.draw(); });
    canvas.addEventListener("click", (e) => seek(at(/** @type {PointerEvent} */ (e))));
  }

  /** @param {number} ms */
  describe(ms) {
    const g = this.gaps.find((g) => g.from <= ms && ms < g.to);
    const time = this.clock(ms, true);
    if (g) return `${time} · missing: ${why[/** @type {keyof typeof why} */ (g.why)] ?? g.why}`;
    return this.ranges.some((r) => r.from <= ms && ms < r.to) ? time : `${time} · nothing`;
  }

  draw() {
    const c = this.canvas, dpr = window.devicePixelRatio || 1, w = c.clientWidth, h = c.clientHeight;
    if (!w) return;
    if (c.width !== Math.round(w * dpr)) { c.width = Math.round(w * dpr); }
    c.height = Math.round(h * dpr);
    const g = /** @type {CanvasRenderingContext2D} */ (c.getContext("2d"));
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    const css = getComputedStyle(document.documentElement);
    const col = (/** @type {string} */ n) => css.getPropertyValue(n).trim();
    const { from, to } = this.view, x = (/** @type {number} */ t) => (t - from) / (to - from) * w;
    const top = 8, bar = 34;
    g.fillStyle = col("--raise");
    g.beginPath(); g.roundRect(0, top, w, bar, 6); g.fill();
    g.save(); g.beginPath(); g.roundRect(0, top, w, bar, 6); g.clip();
    g.fillStyle = col("--rec");
    for (const r of this.ranges) if (r.to > from && r.from < to) g.fillRect(x(r.from), top, Math.max(1.5, x(r.to) - x(r.from)), bar);
    g.strokeStyle = col("--missing"); g.lineWidth = 3;
    for (const p of this.gaps) {
      if (p.to <= from || p.from >= to) continue;
      const a = x(p.from), b = Math.max(x(p.to), a + 2);
      g.save(); g.beginPath(); g.rect(a, top, b - a, bar); g.clip();
      for (let s = a - bar; s < b + bar; s += 8) { g.beginPath(); g.moveTo(s, top + bar); g.lineTo(s + bar, top); g.stroke(); }
      g.restore();
    }
    g.restore();
    const steps = [60e3, 300e3, 600e3, 1800e3, 3600e3, 7200e3, 10800e3, 21600e3];
    const step = steps.find((s) => s / (to - from) * w > 64) ?? steps[steps.length - 1];
    g.fillStyle = col("--dim"); g.strokeStyle = col("--line"); g.lineWidth = 1; g.font = "12px system-ui, sans-serif"; g.textAlign = "center";
    for (let t = Math.ceil(from / step) * step; t < to; t += step) {
      const p = Math.round(x(t)) + .5;
      g.beginPath(); g.moveTo(p, top + bar); g.lineTo(p, top + bar + 6); g.stroke();
      if (p > 22 && p < w - 22) g.fillText(this.clock(t), p, top + bar + 20);
    }
    const line = (/** @type {number} */ t, /** @type {string} */ colour, /** @type {number} */ width) => {
      if (t < from || t > to) return;
      g.strokeStyle = colour; g.lineWidth = width; g.beginPath(); g.moveTo(x(t), 2); g.lineTo(x(t), top + bar + 4); g.stroke();
    };
    if (this.mark > 0) line(this.mark, col("--dim"), 1);
    if (this.cursor) line(this.cursor, col("--text"), 2);
  }
}
