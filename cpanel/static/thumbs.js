// Small pictures of streams: one hidden video decodes the newest key frame of
// one stream after another, for the cards that can be seen. A video element a
// card would meet the browser's bound on players at some fifty streams.
import { decodes } from "./player.js";

const every = 30e3;

export class Thumbs {
  constructor() {
    /** @type {Map<Element, {uid:string, at:number, seen:boolean, wanted:boolean}>} */ this.cards = new Map();
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.preload = "auto";
    this.busy = false;
    this.observer = new IntersectionObserver((es) => {
      for (const e of es) {
        const c = this.cards.get(e.target);
        if (c) c.seen = e.isIntersecting;
      }
      this.next();
    });
    setInterval(() => this.next(), 3000);
  }

  /** @param {HTMLCanvasElement} canvas @param {import("./api.js").Stream} s */
  update(canvas, s) {
    let c = this.cards.get(canvas);
    if (!c) {
      this.cards.set(canvas, c = { uid: s.uid, at: 0, seen: false, wanted: false });
      this.observer.observe(canvas);
    }
    const v = s.tracks.find((t) => t.kind === "video");
    c.wanted = s.state === "active" && !!v && (v.codec === "h264" || v.codec === "h265" && decodes("hvc1.1.6.L93.B0")) && s.last_frame_ms > s.since;
  }

  /** @param {Element} canvas */
  drop(canvas) {
    this.observer.unobserve(canvas);
    this.cards.delete(canvas);
  }

  async next() {
    if (this.busy || document.hidden) return;
    const due = [...this.cards].filter(([, c]) => c.wanted && c.seen && Date.now() - c.at > every).sort((a, b) => a[1].at - b[1].at)[0];
    if (!due) return;
    const [canvas, c] = due;
    this.busy = true;
    c.at = Date.now();
    if (await this.load(`/live/${encodeURIComponent(c.uid)}/preview.mp4?at=${c.at}`)) this.paint(/** @type {HTMLCanvasElement} */ (canvas));
    else c.at -= every - 5000;
    this.busy = false;
    this.next();
  }

  /** @param {string} url @returns {Promise<boolean>} */
  load(url) {
    return new Promise((done) => {
      const v = this.video, end = (/** @type {boolean} */ ok) => { v.onloadeddata = v.onerror = null; clearTimeout(late); done(ok); };
      const late = setTimeout(() => end(false), 5000);
      v.onloadeddata = () => end(true);
      v.onerror = () => end(false);
      v.src = url;
    });
  }

  /** @param {HTMLCanvasElement} canvas */
  paint(canvas) {
    const { videoWidth: w, videoHeight: h } = this.video, g = canvas.getContext("2d");
    if (!g || !w) return;
    const scale = Math.max(canvas.width / w, canvas.height / h), pw = w * scale, ph = h * scale;
    g.drawImage(this.video, (canvas.width - pw) / 2, (canvas.height - ph) / 2, pw, ph);
    canvas.classList.add("has");
  }
}
