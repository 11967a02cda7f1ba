// Light or dark: what the system prefers, unless the reader chose. The choice is kept in this browser only.

import { setAttribute, setText } from "./dom.js";

const KEY = "theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

/** Whether the page is dark now. */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

/** Calls `listener` whenever the colours change; returns how to stop that. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Makes `button` switch between light and dark. */
export function themeToggle(button) {
  const show = () => {
    setText(button, isDark() ? "Light" : "Dark");
    setAttribute(button, "aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    for (const listener of listeners) listener();
  };
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // It holds until the page is left.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** The value of a variable of the style sheet. */
export function css(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}
