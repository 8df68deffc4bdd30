// Times as the server tells them: in its own zone, whatever the browser's is.

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string} zone @param {Intl.DateTimeFormatOptions} o */
function format(zone, o) {
  const key = zone + JSON.stringify(o);
  let f = formats.get(key);
  if (!f) formats.set(key, f = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...o }));
  return f;
}

const HM = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit" });
const HMS = /** @type {const} */ ({ ...HM, second: "2-digit" });
const DAY = /** @type {const} */ ({ day: "numeric", month: "short" });
const FULL = /** @type {const} */ ({ ...HMS, year: "numeric", month: "2-digit", day: "2-digit" });

export const HOUR = 3600e3;

/** The server's time zone. All arguments are Unix milliseconds. */
export class Zone {
  /** @param {string} name an IANA name; one the browser does not know becomes UTC */
  constructor(name) {
    try {
      format(name, HM);
      this.name = name;
    } catch {
      this.name = "UTC";
    }
  }

  /** 14:05 @param {number} ms */
  minute(ms) { return format(this.name, HM).format(ms); }
  /** 14:05:09 @param {number} ms */
  second(ms) { return format(this.name, HMS).format(ms); }
  /** 3 Mar @param {number} ms */
  day(ms) { return format(this.name, DAY).format(ms); }
  /** 3 Mar, 14:05, without the day when it is that of now @param {number} ms @param {number} now */
  short(ms, now) { return this.date(ms) === this.date(now) ? this.minute(ms) : `${this.day(ms)}, ${this.minute(ms)}`; }

  /** local reading of a moment @param {number} ms */
  parts(ms) {
    const p = Object.fromEntries(format(this.name, FULL).formatToParts(ms).map((x) => [x.type, Number(x.value)]));
    return { y: p.year, mo: p.month, d: p.day, h: p.hour, mi: p.minute, s: p.second };
  }

  /** 2026-03-29 @param {number} ms */
  date(ms) {
    const p = this.parts(ms);
    return `${String(p.y).padStart(4, "0")}-${String(p.mo).padStart(2, "0")}-${String(p.d).padStart(2, "0")}`;
  }

  /** local time minus UTC @param {number} ms */
  offset(ms) {
    const p = this.parts(ms);
    return Date.UTC(p.y, p.mo - 1, p.d, p.h, p.mi, p.s) - Math.floor(ms / 1000) * 1000;
  }

  /**
   * The first moment of the day written 2026-03-29. Clocks that change at
   * midnight have a day that begins at 01:00, or one with two 00:00: the
   * earliest moment with that date is meant.
   * @param {string} date
   */
  startOf(date) {
    const utc = Date.parse(date + "T00:00:00Z");
    const found = [-12, 0, 12].map((h) => utc - this.offset(utc + h * HOUR)).filter((t) => this.date(t) === date);
    return found.length ? Math.min(...found) : utc;
  }

  /** first moment of the day that holds ms @param {number} ms */
  midnight(ms) { return this.startOf(this.date(ms)); }
  /** first moment of the next day; days have 23 to 25 hours @param {number} ms */
  tomorrow(ms) { return this.midnight(this.midnight(ms) + 30 * HOUR); }
}

/** 3 h 20 min, 12 s @param {number} ms */
export function span(ms) {
  const s = Math.round(ms / 1000), m = Math.round(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (s < 60) return `${s} s`;
  if (m < 60) return `${m} min`;
  if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  return h % 24 ? `${d} d ${h % 24} h` : `${d} d`;
}

/** 2.4 Mbit/s @param {number} b */
export const rate = (b) => b >= 999.5e3 ? `${(b / 1e6).toFixed(1)} Mbit/s` : `${Math.round(b / 1e3)} kbit/s`;

/** 3.1 GB @param {number} b */
export function size(b) {
  for (const [unit, n] of /** @type {[string, number][]} */ ([["TB", 1e12], ["GB", 1e9], ["MB", 1e6]])) if (b >= n) return `${(b / n).toFixed(b < 10 * n ? 1 : 0)} ${unit}`;
  return `${Math.round(b / 1e3)} kB`;
}
