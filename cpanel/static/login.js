// The login and the change of the first password. The pages take this script
// before their form, and it listens at the document: however quick somebody is, a
// form that can be seen can be sent.
document.addEventListener("input", (e) => {
  const form = /** @type {HTMLInputElement} */ (e.target).form;
  if (form) say(form, "");
});

document.addEventListener("submit", async (e) => {
  e.preventDefault();
  const form = /** @type {HTMLFormElement} */ (e.target);
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button.primary"));
  /** @param {string} name */
  const field = (name) => /** @type {HTMLInputElement|null} */ (form.elements.namedItem(name));
  const data = Object.fromEntries(new FormData(form));
  if (form.id === "password" && data.new !== data.again) {
    say(form, "The two new passwords differ.");
    return field("again")?.select();
  }
  button.disabled = true;
  try {
    const r = await fetch(form.action, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });
    // The same address, with the stream behind its #, is now the page itself.
    if (r.ok) return location.reload();
    const j = await r.json().catch(() => null);
    const words = [j?.error?.message, j?.error?.hint].filter(Boolean).map((/** @type {string} */ s) => s[0].toUpperCase() + s.slice(1) + ".");
    say(form, words.join(" ") || `The server answered with status ${r.status}.`);
    (field("password") ?? field("old"))?.select();
  } catch {
    say(form, "The server does not answer. Is it running?");
  }
  button.disabled = false;
});

/** @param {HTMLFormElement} form @param {string} text empty takes the last words away */
function say(form, text) {
  const error = /** @type {HTMLElement} */ (form.querySelector(".error"));
  error.textContent = text;
  error.hidden = !text;
}
