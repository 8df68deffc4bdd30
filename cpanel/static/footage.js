// What is recorded of one stream, as far as anybody has looked: the ranges
// and gaps from a moment until now, kept up to date at the growing end.
import { footage } from "./api.js";

/** Holes shorter than this are played over; at longer ones the player jumps. */
const small = 20e3;

export class Footage {
  /** @param {string} uid */
  constructor(uid) {
    this.uid = uid;
    this.from = Infinity; // everything from here on is known
    this.known = 0; // up to here, while nobody looks for a while
    /** @type {import("./api.js").Range[]} */ this.ranges = [];
    /** @type {import("./api.js").Gap[]} */ this.gaps = [];
  }

  /** Knows everything from a moment on. @param {number} from @param {number} now */
  async reach(from, now) {
    if (from >= this.from) return;
    const f = await footage(this.uid, from, now + 60e3);
    this.from = from;
    this.known = now;
    this.ranges = f.ranges;
    this.gaps = f.gaps;
  }

  /** Asks for what has changed lately. @param {number} now */
  async refresh(now) {
    if (this.from === Infinity) return;
    const cut = Math.max(this.from, Math.min(now, this.known) - 120e3);
    const f = await footage(this.uid, cut, now + 60e3);
    this.known = now;
    this.ranges = join(this.ranges, f.ranges, cut).map((r) => ({ ...r, duration: r.to - r.from }));
    this.gaps = join(this.gaps, f.gaps, cut);
  }

  /** @returns {{from:number, to:number}[]} stretches that play without a jump */
  stretches() {
    /** @type {{from:number, to:number}[]} */ const out = [];
    for (const r of this.ranges) {
      const prev = out[out.length - 1];
      if (prev && r.from - prev.to < small) prev.to = Math.max(prev.to, r.to);
      else out.push({ from: r.from, to: r.to });
    }
    return out;
  }
}

/**
 * Puts newer items behind older ones; what crosses the cut becomes one again.
 * @template {{from:number, to:number}} T @param {T[]} old @param {T[]} fresh @param {number} cut
 * @returns {T[]}
 */
export function join(old, fresh, cut) {
  const out = old.filter((r) => r.from < cut), last = out[out.length - 1], first = fresh[0];
  if (!last || last.to < cut) return [...out, ...fresh];
  if (first && first.from <= cut) return [...out.slice(0, -1), { ...first, from: last.from }, ...fresh.slice(1)];
  return [...out.slice(0, -1), { ...last, to: cut }, ...fresh];
}
