// The first page: streams with their state, one player, its timeline,
// problems, events. What is chosen stands in the address: #uid, or #uid@ms for
// a moment of the past.
import { Refusal, get, insist, onReach, poll } from "./api.js";
import { $, attr, el, put } from "./dom.js";
import { Events, codecName, showProblems, showServer, showStream } from "./facts.js";
import { Footage } from "./footage.js";
import { List } from "./list.js";
import { Player, sentence } from "./player.js";
import { Timeline, meant, why } from "./timeline.js";
import { HOUR, Zone, span } from "./zone.js";

/** @typedef {import("./api.js").Stream} Stream */

onReach((ok) => { $("away").hidden = ok; });
const first = /** @type {import("./api.js").Server} */ (await insist(() => get("/api/v1/server")));
let zone = new Zone(first.time_zone), skew = first.now_ms - Date.now();
const now = () => Date.now() + skew;

/** @type {Stream[]} */ let streams = [];
let chosen = "", live = true, loaded = false;
let shown = /** @type {{uid:string, live:boolean}|null} */ (null); // what the player was asked for
let footage = new Footage("");
let width = HOUR, widthChosen = false, day = ""; // of the timeline; day = a whole day, 2026-03-29

const video = /** @type {HTMLVideoElement} */ ($("video"));
const player = new Player(video, $("veil"), {
  ended: () => go((player.show?.to ?? now()) + 1),
  nearest: (n) => go(n.from),
});
const list = new List(), events = new Events();
const timeline = new Timeline($("timeline"), zone, (ms) => go(ms));

// --- what is chosen

function place() {
  try {
    const [uid, at] = decodeURIComponent(location.hash.slice(1)).split("@");
    return { uid, at: Number(at) || 0 };
  } catch {
    return { uid: "", at: 0 }; // somebody mistyped it
  }
}

/** @param {number} [at] 0 or none = live */
function remember(at) {
  const hash = "#" + encodeURIComponent(chosen) + (at ? "@" + Math.round(at) : "");
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

/** @param {string} uid @param {number} at */
function choose(uid, at) {
  if (uid !== chosen) {
    chosen = uid;
    footage = new Footage(uid);
    shown = null;
    day = "";
    player.close();
    notice("");
    $("events").scrollTop = 0;
    timeline.cursor = 0;
    timeline.ranges = [];
    timeline.gaps = [];
    put($("summary"), "");
  }
  events.filter(uid);
  if (at) go(at); else goLive();
  refresh();
  pollRanges();
}

window.addEventListener("hashchange", () => {
  const p = place();
  if (p.uid && (p.uid !== chosen || !p.at !== live || p.at)) choose(p.uid, p.at);
  const card = document.querySelector("#streams [aria-current]");
  if (card && matchMedia("(max-width: 860px)").matches) card.scrollIntoView({ inline: "center", block: "nearest" });
});

/** the stream to begin with: one that has a picture to show */
function best() {
  const picture = (/** @type {Stream} */ s) => s.tracks.some((t) => t.kind === "video" && t.in_hls && t.codec === "h264");
  return streams.find((s) => s.state === "active" && picture(s)) ?? streams.find((s) => s.state === "active") ?? streams.find((s) => !s.removed) ?? streams[0];
}

const current = () => streams.find((s) => s.uid === chosen);

// --- playing

let going = 0; // counts wishes, so that the answer to an older one is dropped

function goLive() {
  going++;
  live = true;
  shown = null;
  day = "";
  remember();
  show();
  mark();
}

/** Plays from a moment, or from the next footage behind it. @param {number} ms */
async function go(ms) {
  if (ms > now() - 8000) return goLive();
  const turn = ++going, uid = chosen;
  live = false;
  mark();
  try {
    if (footage.from > ms - HOUR) await footage.reach(zone.midnight(ms - HOUR), now());
  } catch (e) {
    if (turn !== going) return;
    if (e instanceof Refusal && e.status < 500) return player.hold({ title: sentence(e.message), hint: sentence(e.hint) });
    player.hold({ title: "The server does not answer", hint: "Trying again…" });
    setTimeout(() => { if (turn === going) go(ms); }, 1500);
    return;
  }
  if (turn !== going) return;
  timeline.ranges = footage.ranges;
  timeline.gaps = footage.gaps;
  const next = footage.stretches().find((r) => r.to > ms + 500 && r.to - r.from > 500);
  if (!next || next.from > now() - 4000) {
    const gap = footage.gaps.find((g) => g.from <= ms && ms < g.to);
    notice(`Nothing is recorded from ${zone.short(ms, now())} on${gap ? ` (${why[gap.why] ?? gap.why})` : ""}: this is live`);
    return goLive();
  }
  if (next.from > ms + 1500) notice(`Skipped ${span(next.from - ms)} without footage`); else notice("");
  ms = Math.max(ms, next.from);
  timeline.cursor = ms;
  remember(ms);
  view();
  const s = current();
  if (shown?.uid === uid && !shown.live && player.seek(ms)) { video.play().catch(() => {}); return; }
  const end = Math.min(next.to, ms + HOUR);
  shown = { uid, live: false };
  player.play({ uid, from: ms, to: end > now() - 15e3 ? undefined : end, only: s && silentPicture(s) });
}

/** @param {number} s seconds */
function step(s) { go((player.at() || timeline.cursor || now()) + s * 1000); }

/** what is said when sound is all a browser gets @param {Stream} s */
function silentPicture(s) {
  const v = s.tracks.find((t) => t.kind === "video");
  return v && !v.in_hls ? { title: "Sound only", hint: `Browsers cannot play ${codecName(v.codec)} pictures. They are recorded; VLC, mpv and ffmpeg show them.` } : { title: "Sound only" };
}

/** why there is no live picture, null when there should be one @param {Stream} s @returns {import("./player.js").Words|null} */
function hindrance(s) {
  const hint = sentence(s.hint ?? ""), reason = sentence(s.reason);
  const acts = s.first_ms ? [back()] : [];
  if (s.removed) return { title: "This stream was removed", hint: "Its footage is kept and can be watched.", acts };
  switch (s.state) {
    case "active": {
      const picked = s.tracks.filter((t) => !t.left_out && t.kind !== "data");
      if (picked.length && !picked.some((t) => t.in_hls)) {
        const save = el("a", { class: "button", href: `/dvr/${encodeURIComponent(s.uid)}/record.mp4?from=-60s&download=${encodeURIComponent(s.uid)}`, download: "" }, "Save the last minute");
        return { title: `Browsers cannot play ${picked.map((t) => codecName(t.codec)).join(" and ")}`, hint: "It is recorded as it is; VLC, mpv and ffmpeg play it.", acts: s.first_ms ? [save] : [] };
      }
      return now() - s.since < 3500 && !(s.first_ms && now() - s.first_ms < 1e4 && now() - s.first_ms > 3500) ? { title: "Connected", hint: "The first picture is on its way." } : null;
    }
    case "off": return { title: "Switched off", hint: "stream-enable = true in its stream file switches it on.", acts };
    case "connecting": return { title: "Connecting…", hint: reason ? `${reason}${hint ? ". " + hint : ""}` : "" };
    case "standby": return { title: "On standby", hint: reason, acts };
  }
  const title = { lost: "The camera cannot be reached", silent: "The camera is silent", refused: "The camera cannot be captured" }[s.state] ?? sentence(s.state);
  return { title: reason || title, hint, acts };
}

function back() {
  const b = el("button", { type: "button" }, "Watch the last recording");
  b.addEventListener("click", async () => {
    await footage.reach(Math.min(now() - HOUR, (current()?.first_ms ?? now()) - 1), now()).catch(() => {});
    const last = footage.stretches().pop();
    if (last) go(Math.max(last.from, Math.min(last.to, now() - 9000) - 30e3));
  });
  return b;
}

/** Makes the player show what is chosen; called often, acts on change. */
function show() {
  if (!loaded) return;
  const s = current();
  if (!s) {
    player.hold(streams.length ? { title: `There is no stream ${chosen}`, hint: "Choose one from the list." }
      : { title: "No streams yet", hint: "Put a file into the folder of streams, for instance gate.ini with the lines [gate] and stream-url = rtsp://…; it is taken up within a second." }, true);
    return;
  }
  if (!live) return;
  const no = hindrance(s);
  if (no) {
    if (shown?.uid !== s.uid || !shown.live || !player.held) player.hold(no, shown?.uid !== s.uid || !shown.live || s.state === "active");
    else player.hold(no);
    shown = { uid: s.uid, live: true };
  } else if (shown?.uid !== s.uid || !shown.live || player.held) {
    shown = { uid: s.uid, live: true };
    player.play({ uid: s.uid, only: silentPicture(s) });
  }
}

// --- what the page shows

function mark() {
  attr($("live"), "aria-pressed", String(live));
  const paused = player.showing && video.paused, showing = live && player.showing && !player.opening && !paused;
  attr($("badge"), "class", "badge" + (showing ? " on" : ""));
  put($("badge"), live ? showing ? "Live" : paused ? "Paused" : player.veil.hidden ? "Starting" : "No picture" : "Replay");
}

let said = 0;
/** @param {string} text */
function notice(text) {
  clearTimeout(said);
  put($("notice"), text);
  $("notice").hidden = !text;
  if (text) said = window.setTimeout(() => { $("notice").hidden = true; }, 6000);
}

/** Lays out the timeline around what plays. */
function view() {
  const t = now(), v = timeline.view;
  if (day) {
    timeline.view = { from: zone.startOf(day), to: zone.tomorrow(zone.startOf(day)) };
  } else if (live) {
    timeline.view = { from: t - width * .97, to: t + width * .03 };
  } else {
    const at = player.at() || timeline.cursor || t, inside = at > v.from + width * .04 && at < v.to - width * .04;
    if (!inside || Math.abs(v.to - v.from - width) > 1000) {
      const to = Math.min(at + width / 2, t + width * .03); // little of the future
      timeline.view = { from: to - width, to };
    }
  }
  timeline.edge = t;
  const now_ = day ? "day" : String(width);
  for (const b of document.querySelectorAll(".zoom button")) attr(b, "aria-pressed", String(/** @type {HTMLElement} */ (b).dataset.width === now_));
  const shownDay = day || zone.date(timeline.view.to > t ? t : timeline.view.to);
  const pick = /** @type {HTMLInputElement} */ ($("day"));
  if (document.activeElement !== pick && pick.value !== shownDay) pick.value = shownDay;
  attr(pick, "max", zone.date(t));
  const oldest = current()?.first_ms;
  attr(pick, "min", zone.date(oldest ?? t));
  timeline.draw();
}

/** @param {number} ms @param {boolean} [whole] */
function zoom(ms, whole = false) {
  widthChosen = true;
  if (whole) day = zone.date(live ? now() : player.at() || timeline.cursor || now());
  else { day = ""; width = ms; }
  view();
  pollRanges();
}

async function ranges() {
  if (!loaded || !current()) return;
  const f = footage;
  await f.reach(Math.min(zone.midnight(now()), timeline.view.from), now());
  await f.refresh(now());
  if (f !== footage) return;
  timeline.ranges = f.ranges;
  timeline.gaps = f.gaps;
  if (!widthChosen) width = f.ranges.length && now() - f.ranges[0].from > 20 * 60e3 ? HOUR : 600e3;
  const seen = f.gaps.filter((g) => !meant(g) && g.to > timeline.view.from && g.from < timeline.view.to);
  put($("summary"), seen.length ? `${seen.length} ${seen.length === 1 ? "gap" : "gaps"} here, ${span(seen.reduce((n, g) => n + Math.min(g.to, timeline.view.to) - Math.max(g.from, timeline.view.from), 0))} in all` : "");
  view();
}

function refresh() {
  list.update(streams, chosen);
  showStream(current(), zone, now());
  show();
  mark();
}

async function loadStreams() {
  streams = (await get("/api/v1/streams")).items;
  const was = loaded;
  loaded = true;
  if (!was || !chosen) {
    const p = place(), b = best();
    if (p.uid || b) return choose(p.uid || b.uid, p.uid ? p.at : 0);
  }
  refresh();
}

async function loadServer() {
  const s = /** @type {import("./api.js").Server} */ (await get("/api/v1/server"));
  skew = s.now_ms - Date.now();
  if (s.time_zone !== zone.name && new Zone(s.time_zone).name !== zone.name) timeline.zone = zone = new Zone(s.time_zone);
  showServer(s, now());
  events.date(zone, now());
  showProblems((await get("/api/v1/problems")).items, zone, now());
}

// --- events

let lastEvent = 0, source = /** @type {EventSource|null} */ (null);

async function follow() {
  source?.close();
  const fresh = (await get("/api/v1/events?limit=100")).items.filter((/** @type {{id:number}} */ e) => e.id > lastEvent);
  if (fresh.length) lastEvent = fresh[0].id;
  events.add(fresh, zone, now());
  const src = source = new EventSource(`/api/v1/events/stream?last_event_id=${lastEvent}`);
  src.onmessage = (m) => {
    const ev = JSON.parse(m.data);
    if (ev.id <= lastEvent) return;
    lastEvent = ev.id;
    events.add([ev], zone, now());
    soon();
  };
  src.onerror = () => { if (src.readyState === EventSource.CLOSED && src === source) setTimeout(begin, 3000); };
}

/** Follows the events, however often that fails. */
function begin() { follow().catch(() => setTimeout(begin, 3000)); }

let timer = 0;
function soon() {
  clearTimeout(timer);
  timer = window.setTimeout(() => { pollStreams(); pollServer(); pollRanges(); }, 250);
}

// --- hands

/** @type {Record<string, () => void>} */
const acts = {
  live: goLive,
  back: () => step(-10),
  forward: () => step(10),
  pause: () => { if (video.paused) resume(); else { video.pause(); pausedAt = now(); } },
  sound: () => { video.muted = !video.muted; },
  full: () => { if (document.fullscreenElement) document.exitFullscreen(); else $("screen").requestFullscreen?.().catch(() => {}); },
};
let pausedAt = 0;
/** live that stood still for long goes on where it stood, as a replay */
function resume() {
  const at = player.at();
  if (live && at && now() - pausedAt > 15e3) go(at); else video.play().catch(() => {});
}
for (const [id, f] of Object.entries(acts)) $(id).addEventListener("click", f);
for (const e of ["pause", "play"]) video.addEventListener(e, () => {
  attr($("pause"), "aria-label", video.paused ? "Play" : "Pause");
  attr($("pause"), "title", (video.paused ? "Play" : "Pause") + " (space)");
  attr(/** @type {Element} */ ($("pause").querySelector("use")), "href", video.paused ? "#i-play" : "#i-pause");
});
video.addEventListener("volumechange", () => {
  attr($("sound"), "aria-pressed", String(!video.muted));
  attr($("sound"), "title", (video.muted ? "Turn sound on" : "Turn sound off") + " (m)");
  attr(/** @type {Element} */ ($("sound").querySelector("use")), "href", video.muted ? "#i-mute" : "#i-sound");
});
for (const b of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".zoom button"))) b.addEventListener("click", () => zoom(Number(b.dataset.width), b.dataset.width === "day"));
$("day").addEventListener("change", () => {
  const d = /** @type {HTMLInputElement} */ ($("day"));
  if (!d.value || !d.validity.valid) return; // also a year while it is typed: 0002, 0020, 0202
  day = d.value;
  widthChosen = true;
  view();
  pollRanges();
});
$("problems-list").addEventListener("click", (e) => { if (/** @type {Element} */ (e.target).closest("a")) $("problems").hidePopover?.(); });
document.addEventListener("keydown", (e) => {
  const on = /** @type {HTMLElement} */ (e.target);
  if (e.ctrlKey || e.metaKey || e.altKey || on.closest("input") || e.key === " " && on.closest("button, a, summary")) return;
  /** @type {Record<string, () => void>} */
  const keys = { ArrowLeft: () => step(e.shiftKey ? -60 : -10), ArrowRight: () => step(e.shiftKey ? 60 : 10), " ": acts.pause, m: acts.sound, f: acts.full, l: goLive };
  if (on.id === "timeline") Object.assign(keys, { PageUp: () => step(600), PageDown: () => step(-600), ArrowUp: () => step(60), ArrowDown: () => step(-60), Home: () => go(timeline.view.from), End: goLive });
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});

$("skip").addEventListener("click", () => $("live").focus());
setInterval(() => {
  const t = player.at(), line = $("timeline");
  put($("clock"), zone.second(now()));
  put($("zone"), zone.name.replaceAll("_", " "));
  put($("playing"), t && !player.held ? `${zone.date(t) === zone.date(now()) ? "" : zone.day(t) + ", "}${zone.second(t)}` : "");
  if (t && !player.held) timeline.cursor = t; else if (live) timeline.cursor = 0;
  attr(line, "aria-valuemin", String(Math.round(timeline.view.from / 1000)));
  attr(line, "aria-valuemax", String(Math.round(timeline.view.to / 1000)));
  attr(line, "aria-valuenow", String(Math.round((timeline.cursor || now()) / 1000)));
  attr(line, "aria-valuetext", live ? "live" : t ? zone.short(t, now()) : "no picture");
  view();
  mark();
}, 500);

const pollRanges = poll(ranges, 3000), pollServer = poll(loadServer, 5000), pollStreams = poll(loadStreams, 3000);
begin();
