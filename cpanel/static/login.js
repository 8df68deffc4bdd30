// The login and the change of the first password.
for (const id of ["login", "password"]) {
  const form = /** @type {HTMLFormElement|null} */ (document.getElementById(id));
  if (!form) continue;
  const error = /** @type {HTMLElement} */ (form.querySelector(".error"));
  const say = (/** @type {string} */ text) => { error.textContent = text; error.hidden = !text; };
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const data = Object.fromEntries(new FormData(form));
    if (id === "password" && data.new !== data.again) return say("The two new passwords differ.");
    const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
    button.disabled = true;
    try {
      const r = await fetch(form.action, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });
      if (r.ok) return location.assign("/cpanel/");
      const j = await r.json().catch(() => null);
      say(j ? [j.error.message, j.error.hint].filter(Boolean).join(" – ") : `The server answered ${r.status}.`);
    } catch {
      say("The server does not answer.");
    } finally {
      button.disabled = false;
    }
  });
}
