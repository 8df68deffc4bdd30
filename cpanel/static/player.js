// One player for live and for any time: hls.js where the browser has Media
// Source Extensions, the browser's own HLS elsewhere. Whatever hinders the
// picture is said over it, in words.
import Hls from "./vendor/hls.light.min.mjs";
import { ask, Refusal } from "./api.js";
import { el } from "./dom.js";

/** @typedef {{uid:string, from?:number, to?:number, only?:Words}} Show from and to in Unix ms; none = live. only: said when there is sound but no picture */
/** @typedef {{title:string, hint?:string, soft?:boolean, acts?:HTMLElement[]}} Words */

/** Loads that fail are tried on: a server that restarts is back within seconds. */
const patient = { default: {
  maxTimeToFirstByteMs: 10e3, maxLoadTimeMs: 60e3,
  timeoutRetry: { maxNumRetry: 10, retryDelayMs: 0, maxRetryDelayMs: 0 },
  errorRetry: { maxNumRetry: 60, retryDelayMs: 500, maxRetryDelayMs: 1500, backoff: "linear",
    shouldRetry: (/** @type {any} */ c, /** @type {number} */ n, /** @type {boolean} */ _late, /** @type {any} */ r) => n < c.maxNumRetry && !(r?.code >= 400 && r.code < 500) },
} };

/** @type {Record<string, string>} */
const codecs = { hvc1: "H.265", hev1: "H.265", avc1: "H.264", mp4a: "AAC", opus: "Opus", Opus: "Opus", fLaC: "FLAC", av01: "AV1" };
/** a codec in people's words @param {string} c RFC 6381 */
const codecName = (c) => codecs[c.split(".")[0]] ?? c;

/** whether this browser decodes it @param {string} c RFC 6381 */
export function decodes(c) {
  const MS = /** @type {any} */ (window).ManagedMediaSource ?? window.MediaSource;
  const kind = /^(mp4a|opus|Opus|fLaC|ac-3|ec-3)/.test(c) ? "audio" : "video";
  return MS ? MS.isTypeSupported(`${kind}/mp4; codecs="${c}"`) : document.createElement("video").canPlayType(`${kind}/mp4; codecs="${c}"`) !== "";
}

export class Player {
  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLElement} veil lies over the picture when there is something to say
   * @param {{ended?: () => void, nearest?: (n:{from:number,to:number}) => void}} [on] the end of a show; where footage is when there is none
   */
  constructor(video, veil, on = {}) {
    this.video = video;
    this.veil = veil;
    this.on = on;
    /** @type {Hls|null} */ this.hls = null;
    /** @type {Show|null} */ this.show = null;
    this.held = "";
    this.retry = 0;
    /** @type {Words|null} */ this.only = null;
    this.showing = false; // nothing hinders the picture
    this.turn = 0; // counts openings, so that answers to an older one are dropped
    this.opening = false; // what plays is still what played before
    this.stuck = 0;
    this.last = -1;
    this.mended = 0;
    video.addEventListener("playing", () => this.clear());
    video.addEventListener("ended", () => { if (this.show?.to) this.on.ended?.(); });
    setInterval(() => this.watch(), 1000);
  }

  /** @param {Show} show */
  play(show) {
    this.show = show;
    if (this.held) this.say({ title: "Connecting…", soft: true });
    this.held = "";
    this.open();
  }

  /** Says why there is no picture and stops asking for one; the last picture stays. @param {Words} w @param {boolean} [wipe] */
  hold(w, wipe = false) {
    const key = w.title + w.hint + (w.acts ?? []).map((a) => a.outerHTML).join("");
    if (this.held === key) return;
    const fresh = !this.held;
    this.held = key;
    if (fresh) {
      clearTimeout(this.retry);
      this.turn++;
      this.hls?.stopLoad();
    }
    if (wipe) this.close();
    this.say({ ...w, soft: !wipe && this.video.readyState >= 2 && this.video.videoWidth > 0 });
  }

  /** the playlist of a show @param {Show} s */
  address(s) {
    const token = new URLSearchParams(location.search).get("token");
    const q = new URLSearchParams();
    if (s.from) q.set("from", String(Math.round(s.from)));
    if (s.to) q.set("to", String(Math.round(s.to)));
    if (token) q.set("token", token);
    // Of many players in one page each would hold one of the six connections that a browser opens.
    if (window.top !== window) q.set("latency", "normal");
    const query = q.toString();
    return `/${s.from ? "dvr" : "live"}/${encodeURIComponent(s.uid)}/playlist.m3u8${query ? "?" + query : ""}`;
  }

  async open() {
    const turn = ++this.turn, show = this.show;
    if (!show) return;
    clearTimeout(this.retry);
    this.stuck = 0;
    this.opening = true;
    if (!this.hls) this.say({ title: "Connecting…", soft: true });
    try {
      const url = this.address(show);
      const main = await ask(url);
      const text = await main.text();
      if (turn !== this.turn) return;
      // The camera's smaller stream may be in a coding that this browser decodes where the main one's is not.
      const all = [...text.matchAll(/#EXT-X-STREAM-INF:.*?CODECS="([^"]*)".*\n(.+)/g)].map((m) => ({ has: m[1].split(","), uri: m[2] }));
      const shown = all.find((v) => v.has.every(decodes));
      if (!shown) return this.cannot(all[0]?.has.filter((c) => !decodes(c)) ?? []);
      const has = shown.has;
      this.only = has.some((c) => !/^(mp4a|opus|Opus|fLaC)/.test(c)) ? null : show.only ?? { title: "Sound only" };
      const edge = show.from ? { lag: 0, start: 0 } : await this.edge(new URL(shown.uri, new URL(url, location.href)).href);
      if (turn === this.turn) this.start(url, show, edge);
    } catch (e) {
      if (turn === this.turn) this.failed(e, show);
    }
  }

  /**
   * How far behind the end of a live playlist is safe, by its longest segment,
   * and where that is. Left to itself hls.js keeps a whole target duration
   * away, which is the longest any segment may ever be.
   * @param {string} url @returns {Promise<{lag:number, start:number}>} seconds
   */
  async edge(url) {
    const text = await (await ask(url)).text();
    const all = [...text.matchAll(/#EXTINF:([\d.]+),\n(#EXT-X-GAP)?/g)].map((m) => ({ s: Number(m[1]), gap: !!m[2] }));
    const hold = Number(/PART-HOLD-BACK=([\d.]+)/.exec(text)?.[1] ?? 0);
    if (hold) { // low latency: the segment that grows counts by its parts
      const open = text.slice(text.lastIndexOf("#EXTINF:"));
      const parts = [...open.matchAll(/#EXT-X-PART:DURATION=([\d.]+)/g)].reduce((sum, m) => sum + Number(m[1]), 0);
      const end = all.reduce((sum, e) => sum + e.s, parts);
      return { lag: hold + .5, start: Math.max(.1, end - hold - .5) };
    }
    const lag = Math.min(20, Math.max(2, ...all.slice(-4).filter((e) => !e.gap).map((e) => e.s)) * 1.5 + 1.5);
    let end = 0, hole = 0; // a camera that was away has come back behind the last hole
    for (const e of all) {
      end += e.s;
      if (e.gap) hole = end;
    }
    return { lag, start: Math.max(.1, hole && hole + .1, end - lag) };
  }

  /** @param {string} url @param {Show} show @param {{lag:number, start:number}} edge */
  start(url, show, { lag, start }) {
    this.opening = false;
    this.hls?.destroy();
    this.hls = null;
    if (!Hls.isSupported()) {
      this.video.src = url;
      this.video.play().catch(() => {});
      return;
    }
    const hls = this.hls = new Hls({
      enableWorker: false, maxBufferLength: 20, backBufferLength: 30, startPosition: start,
      ...(show.from ? {} : { liveSyncDuration: lag, liveMaxLatencyDuration: lag + 20, maxLiveSyncPlaybackRate: 1.1 }),
      manifestLoadPolicy: patient, playlistLoadPolicy: patient, fragLoadPolicy: patient,
    });
    hls.on(Hls.Events.ERROR, (_, d) => {
      if (!d.fatal || this.hls !== hls || this.held) return;
      if (d.type === Hls.ErrorTypes.MEDIA_ERROR && this.mended++ < 3) return hls.recoverMediaError();
      this.again(1000);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => { this.video.play().catch(() => {}); });
    hls.loadSource(url);
    hls.attachMedia(this.video);
    this.showing = false; // until it plays
  }

  /** @param {number} ms */
  again(ms) {
    clearTimeout(this.retry);
    this.retry = window.setTimeout(() => {
      const at = this.at();
      if (this.show?.from && at > this.show.from) this.show = { ...this.show, from: at };
      this.open();
    }, ms);
  }

  /** @param {unknown} e @param {Show} show */
  failed(e, show) {
    if (!(e instanceof Refusal)) {
      this.say({ title: "The server does not answer", hint: "Trying again…", soft: true });
      return this.again(1500);
    }
    if (e.nearest && show.from && this.on.nearest) return this.on.nearest(e.nearest);
    this.close();
    if (e.status === 401) {
      return this.say({ title: "This stream is not public", hint: "Log in to this server, or ask its owner for a link.", acts: [el("a", { class: "button", href: `/cpanel/#${encodeURIComponent(show.uid)}`, target: "_top" }, "Log in")] });
    }
    if (e.status === 403) return this.say({ title: "You may not watch this stream", hint: e.hint });
    if (e.code === "codec_not_in_hls") return this.cannot([], e.message);
    this.say({ title: sentence(e.message), hint: sentence(e.hint) });
    this.again(e.status === 404 ? 3000 : 5000);
  }

  /** @param {string[]} which @param {string} [message] */
  cannot(which, message) {
    this.close();
    const names = [...new Set(which.map(codecName))].join(" and ");
    const mp4 = this.show ? `/dvr/${encodeURIComponent(this.show.uid)}/record.mp4?from=-60s&download=${encodeURIComponent(this.show.uid)}` : "";
    this.say({
      title: names ? `This browser cannot decode ${names}` : "Browsers cannot play this stream",
      hint: names === "H.265" ? "It is recorded as it is. Safari shows it, and Chrome and Edge on machines with an H.265 decoder; so do VLC and mpv."
        : `It is recorded as it is; VLC, mpv and ffmpeg play it.${message ? " " + sentence(message) : ""}`,
      acts: mp4 ? [el("a", { class: "button", href: mp4, download: "" }, "Save the last minute")] : [],
    });
  }

  /** Takes up a picture that stands still. */
  watch() {
    const v = this.video;
    if (!this.hls || this.held || v.paused || v.ended) { this.stuck = 0; return; }
    if (v.currentTime !== this.last) {
      this.last = v.currentTime;
      if (this.stuck > 3) this.clear();
      this.stuck = 0;
      this.mended = 0;
      return;
    }
    this.stuck++;
    if (this.stuck >= 2) {
      for (let i = 0; i < v.buffered.length; i++) {
        if (v.buffered.start(i) > v.currentTime) { v.currentTime = v.buffered.start(i) + .05; return; }
      }
    }
    const edge = this.hls.liveSyncPosition;
    if (this.stuck >= 4 && this.show && !this.show.from && edge && edge > v.currentTime + 5) { v.currentTime = edge; return; }
    if (this.stuck === 6) this.say({ title: "Waiting for the next picture…", soft: true });
    if (this.stuck >= 30) this.again(0);
  }

  /** Goes to a time within what is loaded already. @param {number} ms @returns {boolean} false = it is not */
  seek(ms) {
    const list = this.hls?.latestLevelDetails?.fragments;
    if (!list || !this.show?.from || this.held || this.opening) return false;
    const f = list.find((f) => f.programDateTime !== null && !f.gap && f.programDateTime <= ms && ms < f.programDateTime + f.duration * 1000);
    if (!f || f.programDateTime === null) return false;
    this.video.currentTime = f.start + (ms - f.programDateTime) / 1000;
    return true;
  }

  clear() {
    if (this.held) return;
    this.say(this.only ? { ...this.only, soft: true } : { title: "" });
    this.showing = true;
  }

  /** @param {Words} w */
  say(w) {
    this.veil.hidden = !w.title;
    this.showing = !w.title;
    this.veil.classList.toggle("soft", !!w.soft);
    this.veil.replaceChildren();
    if (!w.title) return;
    this.veil.append(el("b", {}, w.title));
    if (w.hint) this.veil.append(el("p", {}, ended(w.hint)));
    if (w.acts?.length) this.veil.append(el("div", { class: "acts" }, ...w.acts));
  }

  /** wall-clock time of the picture, Unix milliseconds, or 0 */
  at() {
    if (this.opening) return this.show?.from ?? 0;
    const d = this.hls?.playingDate;
    if (d) return d.getTime();
    const start = /** @type {any} */ (this.video).getStartDate?.()?.getTime();
    return !this.hls && start ? start + this.video.currentTime * 1000 : 0;
  }

  close() {
    clearTimeout(this.retry);
    this.turn++;
    this.hls?.destroy();
    this.hls = null;
    if (this.video.src) { this.video.removeAttribute("src"); this.video.load(); }
  }
}

/** the server's words as a sentence @param {string} s */
export const sentence = (s) => s ? s[0].toUpperCase() + s.slice(1) : "";

/** a sentence with its end @param {string} s */
export const ended = (s) => /[.?!…]$/.test(s) ? s : s + ".";
