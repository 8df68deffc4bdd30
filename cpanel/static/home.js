// The first page: streams with their state, one player, ranges of today,
// problems, events.
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} tag @param {Record<string,string>} [attrs] @param {...(Node|string)} kids */
const el = (tag, attrs = {}, ...kids) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...kids);
  return e;
};

/** @param {string} path @param {RequestInit} [init] */
async function api(path, init) {
  const r = await fetch(path, init);
  if (r.status === 401) location.assign("/cpanel/");
  if (!r.ok) throw new Error((await r.json().catch(() => null))?.error?.message ?? `status ${r.status}`);
  return r.json();
}

const words = { active: "live", connecting: "connecting", silent: "silent", lost: "unreachable", refused: "refused", off: "off" };
/** @type {any[]} */ let streams = [];
let chosen = decodeURIComponent(location.hash.slice(1));
let zone = "UTC", skew = 0, live = true, span = /** @type {number|"day"} */ (3600), spanChosen = false;

const now = () => Date.now() + skew;
const clock = (/** @type {number} */ ms, seconds = false) =>
  new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) }).format(ms);
/** start of the server's day that holds ms */
function midnight(/** @type {number} */ ms) {
  const [h, m, s] = clock(ms, true).split(":").map(Number);
  const guess = ms - ((h * 60 + m) * 60 + s) * 1000 - ms % 1000;
  const off = Number(clock(guess).slice(0, 2)); // a change of summer time since midnight
  return guess - (off > 12 ? off - 24 : off) * 3600e3;
}

const player = new Player($("video"), $("veil"));
const timeline = new Timeline($("timeline"), (ms) => seek(ms), (t) => { $("hover").textContent = t; }, clock);

function seek(/** @type {number} */ ms) {
  if (ms > now() - 8000) return goLive();
  live = false;
  player.play(chosen, ms);
  timeline.cursor = ms;
  mark();
}
function goLive() { live = true; player.play(chosen); mark(); }
function mark() {
  $("live").setAttribute("aria-pressed", String(live));
  $("state").className = "badge" + (live ? " on" : "");
  $("state").textContent = live ? "LIVE" : "REPLAY";
}
function step(/** @type {number} */ by) { seek((player.at() || now()) + by * 1000); }

function choose(/** @type {string} */ uid, /** @type {boolean} */ force = false) {
  if (uid === chosen && !force) return;
  chosen = uid;
  history.replaceState(null, "", "#" + encodeURIComponent(uid));
  timeline.ranges = []; timeline.gaps = [];
  goLive(); showList(); showFacts(); loadRanges();
}

const rate = (/** @type {number} */ b) => b > 1e6 ? (b / 1e6).toFixed(1) + " Mbit/s" : Math.round(b / 1e3) + " kbit/s";
const size = (/** @type {number} */ b) => b > 1e9 ? (b / 1e9).toFixed(1) + " GB" : Math.round(b / 1e6) + " MB";

function showList() {
  const ul = $("streams");
  for (const s of streams) {
    let li = /** @type {HTMLElement|null} */ (ul.querySelector(`[data-uid="${CSS.escape(s.uid)}"]`));
    if (!li) {
      const thumb = el("video", { class: "thumb", muted: "", playsinline: "", preload: "auto", tabindex: "-1", "aria-hidden": "true" });
      const b = el("button", { class: "stream" }, thumb, el("span", {}, el("b"), el("small", {}, el("span", { class: "dot" }), el("span"))));
      b.addEventListener("click", () => choose(s.uid));
      li = el("li", { "data-uid": s.uid }, b);
      ul.append(li);
    }
    const b = /** @type {HTMLElement} */ (li.firstElementChild);
    b.setAttribute("aria-current", String(s.uid === chosen));
    /** @type {HTMLElement} */ (b.querySelector("b")).textContent = s.name || s.uid;
    const [dot, text] = /** @type {any} */ (b.querySelector("small")).children;
    dot.className = "dot " + s.state;
    const state = words[/** @type {keyof typeof words} */ (s.state)] ?? s.state;
    text.textContent = s.removed ? "removed, footage kept" : s.state === "active" ? `${state} · ${rate(s.bitrate_in)}${s.recording ? " · recording" : ""}` : state;
    b.title = s.reason || "";
    const v = /** @type {HTMLVideoElement} */ (b.querySelector("video"));
    if (s.state === "active" && (!v.dataset.at || now() - Number(v.dataset.at) > 30e3)) {
      v.dataset.at = String(now());
      v.src = `/live/${encodeURIComponent(s.uid)}/preview.mp4?t=${Math.floor(now() / 30e3)}`;
    }
  }
  for (const li of [...ul.children]) if (!streams.some((s) => s.uid === /** @type {HTMLElement} */ (li).dataset.uid)) li.remove();
  $("count").textContent = `${streams.filter((s) => s.state === "active").length} of ${streams.filter((s) => !s.removed).length} live`;
}

function showFacts() {
  const s = streams.find((x) => x.uid === chosen);
  $("title").textContent = s ? s.name || s.uid : "No stream";
  const dl = $("facts");
  dl.replaceChildren();
  if (!s) return;
  const row = (/** @type {string} */ k, /** @type {string} */ v) => { if (v) dl.append(el("dt", {}, k), el("dd", {}, v)); };
  row("State", words[/** @type {keyof typeof words} */ (s.state)] + (s.since ? ` since ${clock(s.since, true)}` : ""));
  row("Reason", [s.reason, s.hint].filter(Boolean).join(" – "));
  row("Source", s.settings?.["stream-url"] ?? "");
  row("Device", s.device ?? "");
  row("Tracks", (s.tracks ?? []).map((/** @type {any} */ t) => [t.codec.toUpperCase(), t.width ? `${t.width}×${t.height}` : "", t.sample_rate ? `${t.sample_rate / 1000} kHz` : "", t.left_out ? `left out: ${t.left_out}` : t.in_hls ? "" : "(not in the browser)"].filter(Boolean).join(" ")).join(", "));
  row("Bit rate", s.state === "active" ? rate(s.bitrate_in) : "");
  row("Recording", s.recording ? "yes" + (s.settings?.["dvr-duration"] ? `, kept ${s.settings["dvr-duration"]}` : "") : "no");
  row("Footage", s.first_ms ? `since ${new Intl.DateTimeFormat("en-GB", { timeZone: zone, dateStyle: "medium", timeStyle: "short" }).format(s.first_ms)}, ${size(s.bytes ?? 0)}` : "");
  row("Camera clock", s.camera_clock_offset_ms === undefined ? "" : Math.abs(s.camera_clock_offset_ms) < 500 ? "agrees" : `${(s.camera_clock_offset_ms / 1000).toFixed(1)} s off`);
  row("Viewers", String(s.viewers));
}

async function loadStreams() {
  streams = (await api("/api/v1/streams")).items;
  if (!streams.some((s) => s.uid === chosen) && streams.length) choose(streams[0].uid, true);
  showList(); showFacts();
}

async function loadRanges() {
  if (!chosen) return;
  const uid = chosen, from = midnight(now());
  const r = await api(`/dvr/${encodeURIComponent(uid)}/ranges.json?from=${from}&to=${Math.round(now()) + 60e3}`).catch(() => null);
  if (!r || uid !== chosen) return;
  timeline.ranges = r.ranges; timeline.gaps = r.gaps;
  if (!spanChosen) span = r.start && now() - r.start < 20 * 60e3 ? 600 : 3600;
  view();
}
function view() {
  const t = now();
  timeline.view = span === "day" ? { from: midnight(t), to: midnight(t) + 86400e3 } : { from: t - span * 1000 * .97, to: t + span * 1000 * .03 };
  for (const b of document.querySelectorAll(".zoom button")) b.classList.toggle("on", /** @type {HTMLElement} */ (b).dataset.span === String(span));
  timeline.draw();
}

async function loadServer() {
  const s = await api("/api/v1/server");
  zone = s.time_zone || "UTC"; skew = s.now_ms - Date.now();
  $("server").textContent = s.name;
  document.title = s.name;
  const p = (await api("/api/v1/problems")).items;
  const b = $("problems-button");
  b.hidden = !p.length;
  b.textContent = p.length === 1 ? "1 problem" : `${p.length} problems`;
  b.classList.toggle("error", p.some((/** @type {any} */ x) => x.level === "error"));
  const box = $("problems");
  if (!p.length) box.hidden = true;
  box.replaceChildren(...p.map((/** @type {any} */ x) => el("div", { class: x.level + "level" },
    el("p", {}, el("b", {}, x.what)), ...(x.hint ? [el("p", {}, x.hint)] : []), el("p", { class: "where" }, x.where))));
}

/** @param {any} ev @param {boolean} first */
function addEvent(ev, first) {
  const li = el("li", {}, el("time", {}, clock(ev.time_ms, true)), el("span", { class: ev.level }, (ev.uid ? ev.uid + ": " : "") + ev.message));
  const ol = $("events");
  if (first) ol.prepend(li); else ol.append(li);
  while (ol.children.length > 60) ol.lastElementChild?.remove();
}

async function follow() {
  const old = await api("/api/v1/events?limit=30");
  for (const ev of old.items) addEvent(ev, false);
  const last = old.items[0]?.id ?? 0;
  const src = new EventSource(`/api/v1/events/stream?last_event_id=${last}`);
  const seen = (/** @type {MessageEvent} */ m) => { addEvent(JSON.parse(m.data), true); soon(); };
  src.addEventListener("message", seen);
}
let timer = 0;
function soon() { clearTimeout(timer); timer = window.setTimeout(() => { loadStreams().catch(() => {}); loadServer().catch(() => {}); loadRanges(); }, 300); }

$("live").addEventListener("click", goLive);
$("back").addEventListener("click", () => step(-10));
$("forward").addEventListener("click", () => step(10));
const video = /** @type {HTMLVideoElement} */ ($("video"));
const pause = () => { if (video.paused) video.play(); else video.pause(); };
$("pause").addEventListener("click", pause);
video.addEventListener("pause", () => { $("pause").textContent = "Play"; });
video.addEventListener("play", () => { $("pause").textContent = "Pause"; });
const sound = () => { video.muted = !video.muted; $("sound").setAttribute("aria-pressed", String(!video.muted)); $("sound").textContent = video.muted ? "Sound off" : "Sound on"; };
$("sound").addEventListener("click", sound);
for (const b of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".zoom button"))) b.addEventListener("click", () => { spanChosen = true; span = b.dataset.span === "day" ? "day" : Number(b.dataset.span); view(); });
$("problems-button").addEventListener("click", () => { const p = $("problems"); p.hidden = !p.hidden; $("problems-button").setAttribute("aria-expanded", String(!p.hidden)); });
$("logout").addEventListener("click", async () => { await fetch("/cpanel/logout", { method: "POST" }); location.assign("/cpanel/"); });
document.addEventListener("keydown", (e) => {
  if (/** @type {HTMLElement} */ (e.target).closest("button,input") && e.key === " ") return;
  const keys = { ArrowLeft: () => step(e.shiftKey ? -60 : -10), ArrowRight: () => step(e.shiftKey ? 60 : 10), " ": pause, m: sound, End: goLive, l: goLive };
  const f = keys[/** @type {keyof typeof keys} */ (e.key)];
  if (f && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); f(); }
});

setInterval(() => {
  $("clock").textContent = clock(now(), true) + (zone ? " " + zone : "");
  const t = player.at();
  $("playing").textContent = t ? clock(t, true) : "";
  if (t) timeline.cursor = t;
  $("timeline").setAttribute("aria-valuetext", live ? "live" : t ? clock(t, true) : "");
  if (span !== "day") view(); else timeline.draw();
}, 500);
setInterval(() => { loadStreams().catch(() => {}); }, 3000);
setInterval(() => { loadServer().catch(() => {}); loadRanges(); }, 5000);

mark();
await loadServer();
await loadStreams();
if (chosen) choose(chosen, true);
follow().catch(() => {});
