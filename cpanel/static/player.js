// One player for live and for any time: hls.js where the browser has Media
// Source Extensions, the browser's own HLS elsewhere.
import Hls from "/cpanel/static/vendor/hls.light.min.mjs";

export class Player {
  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLElement} veil shown over the picture when there is none
   */
  constructor(video, veil) {
    this.video = video;
    this.veil = veil;
    /** @type {Hls|null} */ this.hls = null;
    this.url = "";
    this.retry = 0;
    video.addEventListener("playing", () => { this.say(""); this.tries = 0; });
    this.tries = 0;
  }

  /** live picture, or from a time in Unix milliseconds @param {string} uid @param {number} [from] */
  play(uid, from) {
    this.uid = uid;
    this.from = from;
    const q = new URLSearchParams(location.search).get("token");
    const t = q ? "token=" + encodeURIComponent(q) : "";
    this.url = from
      ? `/dvr/${uid}/playlist.m3u8?from=${Math.round(from)}${t ? "&" + t : ""}`
      : `/live/${uid}/playlist.m3u8${t ? "?" + t : ""}`;
    this.open();
  }

  open() {
    clearTimeout(this.retry);
    this.hls?.destroy();
    this.hls = null;
    if (!Hls.isSupported()) {
      this.video.src = this.url;
      return;
    }
    const hls = new Hls({ enableWorker: false, liveSyncDurationCount: 2, maxBufferLength: 20, backBufferLength: 60, startPosition: this.from ? 0 : -1 });
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_, d) => {
      if (!d.fatal) return;
      if (d.type === Hls.ErrorTypes.MEDIA_ERROR && d.details === Hls.ErrorDetails.BUFFER_ADD_CODEC_ERROR ||
          d.details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
        return this.say("This browser cannot decode this stream", "H.265 needs a browser with hardware support. record.mp4 and other players show it.");
      }
      if (d.type === Hls.ErrorTypes.MEDIA_ERROR && this.tries++ < 3) return hls.recoverMediaError();
      this.explain(d.response?.code);
      this.retry = window.setTimeout(() => this.open(), 2000);
    });
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
    hls.on(Hls.Events.MANIFEST_PARSED, () => { this.video.play().catch(() => {}); });
  }

  /** @param {number} [code] */
  async explain(code) {
    if (code === 401 || code === 403) return this.say("You may not see this stream");
    try {
      const r = await fetch(this.url);
      if (r.ok) return this.say("Connecting…");
      const e = (await r.json()).error;
      this.say(e.message, e.hint);
    } catch {
      this.say("The server does not answer", "Trying again…");
    }
  }

  /** @param {string} text @param {string} [hint] */
  say(text, hint) {
    this.veil.hidden = !text;
    this.veil.replaceChildren();
    if (!text) return;
    const b = document.createElement("b");
    b.textContent = text;
    const s = document.createElement("small");
    s.textContent = hint ?? "";
    this.veil.append(b, s);
  }

  /** wall-clock time of the picture, Unix milliseconds, or 0 */
  at() {
    const d = this.hls?.playingDate;
    return d ? d.getTime() : 0;
  }

  close() {
    clearTimeout(this.retry);
    this.hls?.destroy();
    this.hls = null;
  }
}
