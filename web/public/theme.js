// Puts the chosen theme on the page before the first paint. It is a file of its
// own because the content security policy allows no inline script.
try {
  const theme = localStorage.getItem("muster-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme is used.
}
