// Light, dark or as the device says. Loaded in <head> and not as a module, so that no page flashes white.
(() => {
  const device = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function choice() {
    try {
      return localStorage.getItem("theme") || "auto";
    } catch {
      return "auto"; // storage may be switched off
    }
  }

  function apply() {
    const dark = choice() === "dark" || (choice() === "auto" && device.matches);
    root.dataset.bsTheme = dark ? "dark" : "light";
    document.dispatchEvent(new Event("themechange"));
    for (const button of document.querySelectorAll("[data-theme-choice]"))
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice()));
  }

  root.classList.add("js");
  apply();
  device.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    try {
      localStorage.setItem("theme", button.dataset.themeChoice);
    } catch {
      root.dataset.bsTheme = button.dataset.themeChoice; // for this page at least
      return;
    }
    apply();
  });
})();
