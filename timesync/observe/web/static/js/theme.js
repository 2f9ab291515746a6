// Before anything is drawn: the theme that was chosen here last time.
(() => {
  "use strict";
  let theme = null;
  try { theme = localStorage.getItem("timesync-theme"); } catch { /* storage is forbidden: the system's theme */ }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
