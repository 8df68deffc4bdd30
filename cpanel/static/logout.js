// Logging out. The page takes this small script before its button, and it listens at
// the document: whoever leaves does not wait for the rest of the page.
document.addEventListener("click", async (e) => {
  if (!(e.target instanceof Element && e.target.closest("#logout"))) return;
  const r = await fetch("/cpanel/logout", { method: "POST" }).catch(() => null);
  if (!r?.ok) return alert("You are still logged in: the server does not answer.");
  location.assign("/cpanel/");
  location.reload();
});
