// Live over WebRTC (WHEP): a second at most behind the camera where HLS is some
// seconds. What hinders it is told to who asked for it, who goes on with HLS.
import { Refusal } from "./api.js";

/** So long a first picture or sound is waited for: a network that lets no UDP through, nor our port, gives none. */
const patience = 8e3;

/** whether this browser can try */
export const canWhep = () => typeof RTCPeerConnection === "function";

export class Whep {
  /** @param {HTMLVideoElement} video @param {{playing: () => void, lost: (why: string) => void}} on lost is called once, and nothing after it */
  constructor(video, on) {
    this.video = video;
    this.on = on;
    /** @type {RTCPeerConnection|null} */ this.pc = null;
    this.session = "";
    this.timer = 0;
    this.began = () => { clearTimeout(this.timer); this.on.playing(); };
    this.gone = () => this.leave();
  }

  /** @param {string} uid */
  async play(uid) {
    const pc = this.pc = new RTCPeerConnection();
    const stream = new MediaStream();
    for (const kind of ["video", "audio"]) stream.addTrack(pc.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
    pc.addEventListener("connectionstatechange", () => {
      const lost = () => {
        if (this.pc !== pc || !["failed", "disconnected", "closed"].includes(pc.connectionState)) return;
        this.session = ""; // it knows, or is not reached
        this.fail(pc, "the connection was lost");
      };
      if (pc.connectionState === "disconnected") setTimeout(lost, 3000); else lost(); // a hiccup mends itself
    });
    this.video.addEventListener("playing", this.began);
    addEventListener("pagehide", this.gone);
    try {
      await pc.setLocalDescription();
      const token = new URLSearchParams(location.search).get("token");
      const url = `/live/${encodeURIComponent(uid)}/whep${token ? "?token=" + encodeURIComponent(token) : ""}`;
      const r = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription?.sdp, signal: AbortSignal.timeout(15e3) });
      if (!r.ok) throw new Refusal(r.status, (await r.json().catch(() => null))?.error);
      this.session = r.headers.get("Location") ?? "";
      if (this.pc !== pc) return this.leave(); // closed meanwhile
      await pc.setRemoteDescription({ type: "answer", sdp: await r.text() });
      if (this.pc !== pc) return;
      this.timer = window.setTimeout(() => this.fail(pc, "no picture came; the network may not let it through"), patience);
      this.video.srcObject = stream;
      this.video.play().catch(() => {});
    } catch (e) {
      this.fail(pc, e instanceof Refusal ? e.message : e instanceof TypeError ? "the server does not answer" : String(e));
    }
  }

  /** @param {RTCPeerConnection} pc @param {string} why */
  fail(pc, why) {
    if (this.pc !== pc) return;
    this.close();
    this.on.lost(why);
  }

  /** Tells the server, which would otherwise notice by itself after some seconds. */
  async leave() {
    const session = this.session;
    this.session = "";
    if (session) await fetch(session, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  close() {
    const pc = this.pc;
    this.pc = null;
    clearTimeout(this.timer);
    this.video.removeEventListener("playing", this.began);
    removeEventListener("pagehide", this.gone);
    this.video.srcObject = null;
    this.leave().finally(() => pc?.close()); // in this order: a session that has ended by itself is not found
  }
}
