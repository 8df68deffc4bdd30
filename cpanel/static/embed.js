// The page for frames of other sites: a player and nothing else.
import { Player } from "./player.js";

const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));
const veil = /** @type {HTMLElement} */ (document.getElementById("veil"));
const from = Number(new URLSearchParams(location.search).get("from")) || undefined;
new Player(video, veil).play(/** @type {string} */ (document.body.dataset.uid), from);
