// What the pages ask the server for. A session that has ended leads to the
// login, which leads back to the same place.

/**
 * @typedef {{id:number, kind:string, codec:string, width?:number, height?:number, sample_rate?:number, channels?:number, in_hls:boolean, left_out?:string}} Track
 * @typedef {{level:string, where:string, what:string, hint?:string, uid?:string, since_ms?:number}} Problem
 * @typedef {{uid:string, name:string, state:string, since:number, reason:string, hint?:string, settings:Record<string,string>, tracks:Track[],
 *   bitrate_in:number, viewers:number, last_frame_ms:number, recording:boolean, first_ms?:number, bytes?:number, device?:string,
 *   camera_clock_offset_ms?:number, counters:Record<string,number>, problems:Problem[], removed?:boolean}} Stream
 * @typedef {{id:number, type:string, time_ms:number, uid:string, level:string, message:string}} Event
 * @typedef {{from:number, to:number, duration:number, kind:string}} Range
 * @typedef {{from:number, to:number, state:string, why:string}} Gap
 * @typedef {{start:number, stop:number, length:number, ranges:Range[], gaps:Gap[]}} Footage
 * @typedef {{name:string, version:string, started_ms:number, now_ms:number, time_zone:string, viewers:number,
 *   spaces:{name:string, state:string, total_bytes:number, used_bytes:number, free_bytes:number}[],
 *   plugins:{name:string, kind:string, version:string, state:string, restarts:number}[]}} Server
 */

/** An answer that says no; the words are the server's. */
export class Refusal extends Error {
  /** @param {number} status @param {{code?:string, message?:string, hint?:string, nearest?:{from:number,to:number}}} [e] */
  constructor(status, e = {}) {
    super(e.message || `the server answered with status ${status}`);
    this.status = status;
    this.code = e.code ?? "";
    this.hint = e.hint ?? "";
    this.nearest = e.nearest;
  }
}

/** Is told whenever the server begins or ceases to answer. @type {(ok: boolean) => void} */
let heard = () => {};
/** @param {(ok: boolean) => void} f */
export function onReach(f) { heard = f; }

/** A server that lost its power says nothing at all: for so long it is waited for. */
const patience = 30e3;

/** @param {string} url @returns {Promise<Response>} */
export async function ask(url) {
  let r;
  try {
    r = await fetch(url, { signal: AbortSignal.timeout(patience) });
  } catch (e) {
    heard(false);
    throw e;
  }
  heard(true);
  if (r.ok) return r;
  const body = await r.json().catch(() => null);
  throw new Refusal(r.status, body?.error);
}

/** @param {string} path @returns {Promise<any>} */
export async function get(path) {
  try {
    return await (await ask(path)).json();
  } catch (e) {
    if (e instanceof Refusal && (e.status === 401 || e.code === "change_password")) location.reload(); // the same address is now the login
    throw e;
  }
}

/** whether it is the way to the server that failed, which is told elsewhere @param {unknown} e */
const away = (e) => e instanceof TypeError || e instanceof DOMException && e.name === "TimeoutError";

/** Asks until there is an answer, be it no. @template T @param {() => Promise<T>} f @returns {Promise<T>} */
export async function insist(f) {
  for (;;) {
    try {
      return await f();
    } catch (e) {
      if (!away(e) && !(e instanceof Refusal && e.status >= 500)) throw e;
    }
    await new Promise((done) => setTimeout(done, 1500));
  }
}

/** @param {string} uid @param {number} from @param {number} to @returns {Promise<Footage>} */
export const footage = (uid, from, to) => get(`/api/v1/streams/${encodeURIComponent(uid)}/ranges?from=${Math.floor(from)}&to=${Math.ceil(to)}`);

/** Asks again and again, never twice at once, and not while nobody looks. @param {() => Promise<unknown>} f @param {number} every ms */
export function poll(f, every) {
  let timer = 0, busy = false, again = false;
  const run = async () => {
    if (busy) { again = true; return; }
    clearTimeout(timer);
    busy = true;
    do {
      again = false;
      await f().catch((e) => { if (!(e instanceof Refusal || away(e))) console.error(e); });
    } while (again);
    busy = false;
    timer = window.setTimeout(tick, every);
  };
  const tick = () => { if (document.hidden) timer = window.setTimeout(tick, 1000); else run(); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) run(); });
  run();
  return run;
}
