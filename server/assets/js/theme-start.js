// Puts the reader's choice of light or dark on the document before the first paint; theme.js has the rest. A classic script, because modules
// run after it.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's preference decides.
}
