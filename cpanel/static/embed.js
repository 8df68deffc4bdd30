// The page for frames of other sites: a player and nothing else.
import { Player } from "./player.js";
import { $ } from "./dom.js";

const uid = document.body.dataset.uid ?? "";
const from = Number(new URLSearchParams(location.search).get("from")) || undefined;
new Player($("video"), $("veil")).play({ uid, from });
