"use strict";
// A player of WHEP that reads the stamps of encoded frames (MSL1:camera:track:number:ns;).
const worker = new Worker(URL.createObjectURL(new Blob([`
const magic = [77, 83, 76, 49, 58];
function stamp(data) {
  const b = new Uint8Array(data);
  for (let i = 0; i + 5 < b.length; i++) {
    if (b[i] !== 77 || !magic.every((m, k) => b[i + k] === m)) continue;
    const end = b.indexOf(59, i);
    if (end < 0) return null;
    const f = String.fromCharCode(...b.slice(i + 5, end)).split(":");
    return { n: Number(f[2]), ms: Number(f[3].slice(0, -6)) + Number(f[3].slice(-6)) / 1e6 };
  }
  return null;
}
onrtctransform = async (e) => {
  const { readable, writable, options } = e.transformer;
  const r = readable.getReader(), w = writable.getWriter();
  for (;;) {
    const { done, value } = await r.read();
    if (done) return;
    const at = performance.timeOrigin + performance.now();
    const s = stamp(value.data);
    postMessage({ kind: options.kind, id: options.id, at, n: s ? s.n : -1, ms: s ? s.ms : 0, rtp: value.getMetadata().rtpTimestamp });
    w.write(value).catch(() => {});
  }
};
`], { type: "text/javascript" })));
let players = 0;

globalThis.whep = (url, kinds = ["video", "audio"]) => {
  const id = ++players, video = document.querySelector("video");
  const p = { video: [], audio: [], shown: [], first: 0, failed: "", note: "", location: "" };
  const began = performance.now(), stamps = new Map();
  const pc = new RTCPeerConnection();
  const stream = new MediaStream();
  worker.addEventListener("message", (e) => {
    const m = e.data;
    if (m.id !== id) return;
    if (m.kind === "video") stamps.set(m.rtp, m.ms);
    p[m.kind].push({ n: m.n, late: m.at - m.ms });
  });
  for (const kind of kinds) {
    const t = pc.addTransceiver(kind, { direction: "recvonly" });
    t.receiver.transform = new RTCRtpScriptTransform(worker, { kind, id });
    stream.addTrack(t.receiver.track);
  }
  video.srcObject = stream;
  video.play().catch(() => {});
  const frame = (_now, m) => {
    if (!p.first) p.first = performance.now() - began;
    const ms = stamps.get(m.rtpTimestamp);
    if (ms) p.shown.push({ late: performance.timeOrigin + m.expectedDisplayTime - ms });
    p.handle = video.requestVideoFrameCallback(frame);
  };
  p.handle = video.requestVideoFrameCallback(frame);
  p.begun = (async () => {
    await pc.setLocalDescription();
    const r = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp });
        p.note = r.headers.get("X-Media-Note") ?? "";
    p.location = r.headers.get("Location") ?? "";
    const text = await r.text();
    if (!r.ok) { p.failed = text; return; }
    await pc.setRemoteDescription({ type: "answer", sdp: text });
  })().catch((e) => { p.failed = String(e); });
  p.report = async () => {
    const stats = {}, codecs = {};
    const all = await pc.getStats();
    for (const s of all.values()) if (s.type === "codec") codecs[s.id] = s.mimeType;
    for (const s of all.values()) if (s.type === "inbound-rtp") stats[s.kind] = { packetsLost: s.packetsLost, playout: s.estimatedPlayoutTimestamp ?? 0, mimeType: codecs[s.codecId] };
    return { video: p.video, audio: p.audio, shown: p.shown, first: p.first, note: p.note, stats };
  };
  p.stop = async () => {
    video.cancelVideoFrameCallback(p.handle);
    const r = await fetch(new URL(p.location, url), { method: "DELETE" });
    pc.close();
    return r.status;
  };
  return p;
};
