// The page for frames of other sites: a player and nothing else. ?proto=webrtc, or
// the button, plays with low latency; where that does not go it says why and plays HLS.
import { Player, ended } from "./player.js";
import { Whep, canWhep } from "./whep.js";
import { $, attr, put } from "./dom.js";

const uid = document.body.dataset.uid ?? "";
const asked = new URLSearchParams(location.search);
const from = Number(asked.get("from")) || undefined;
const video = /** @type {HTMLVideoElement} */ ($("video"));
const player = new Player(video, $("veil"));
const fast = $("fast"), note = $("note");
let noted = 0;

/** @param {string} text */
function tell(text) {
  clearTimeout(noted);
  put(note, text);
  note.hidden = !text;
  if (text) noted = window.setTimeout(() => { note.hidden = true; }, 12e3);
}

const whep = new Whep(video, {
  playing: () => player.say({ title: "" }),
  lost: (why) => {
    tell(`No low latency: ${ended(why)}`);
    hls();
  },
});

function hls() {
  attr(fast, "aria-pressed", "false");
  player.play({ uid, from });
}

function webrtc() {
  tell("");
  attr(fast, "aria-pressed", "true");
  player.close();
  player.say({ title: "Connecting…", soft: true });
  whep.play(uid);
}

fast.hidden = !canWhep() || !!from;
fast.addEventListener("click", () => {
  if (fast.getAttribute("aria-pressed") === "true") { whep.close(); tell(""); hls(); } else webrtc();
});
if (asked.get("proto") === "webrtc" && canWhep() && !from) webrtc(); else hls();
