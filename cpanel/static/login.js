// The login and the change of the first password.
for (const id of ["login", "password"]) {
  const form = /** @type {HTMLFormElement|null} */ (document.getElementById(id));
  if (!form) continue;
  const error = /** @type {HTMLElement} */ (form.querySelector(".error"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button.primary"));
  const say = (/** @type {string} */ text) => { error.textContent = text; error.hidden = !text; };
  /** @param {string} name */
  const field = (name) => /** @type {HTMLInputElement|null} */ (form.elements.namedItem(name));
  form.addEventListener("input", () => say(""));
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const data = Object.fromEntries(new FormData(form));
    if (id === "password" && data.new !== data.again) {
      say("The two new passwords differ.");
      return field("again")?.select();
    }
    button.disabled = true;
    try {
      const r = await fetch(form.action, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });
      // The same address, with the stream behind its #, is now the page itself.
      if (r.ok) return location.reload();
      const j = await r.json().catch(() => null);
      const words = [j?.error?.message, j?.error?.hint].filter(Boolean).map((/** @type {string} */ s) => s[0].toUpperCase() + s.slice(1) + ".");
      say(words.join(" ") || `The server answered with status ${r.status}.`);
      (field("password") ?? field("old"))?.select();
    } catch {
      say("The server does not answer. Is it running?");
    }
    button.disabled = false;
  });
}
