// Small helpers for making and changing elements.

/** @template {HTMLElement} T @param {string} id @returns {T} */
export const $ = (id) => /** @type {T} */ (document.getElementById(id));

/** @param {string} tag @param {Record<string,string>} [attrs] @param {...(Node|string)} kids */
export function el(tag, attrs = {}, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...kids);
  return e;
}

/** an icon of the page's sprite @param {string} name */
export function icon(name) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), use = document.createElementNS(ns, "use");
  svg.setAttribute("class", "ic");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

/** sets a text only when it differs, so that selections and readers are left alone @param {Element} e @param {string} text */
export function put(e, text) { if (e.textContent !== text) e.textContent = text; }

/** @param {Element} e @param {string} name @param {string} value */
export function attr(e, name, value) { if (e.getAttribute(name) !== value) e.setAttribute(name, value); }
