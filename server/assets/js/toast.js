// Short messages in the corner: what an action did, or why it did not. The container is a live region, so they are also read out.

import { el } from "./dom.js";

const SHOWN_MS = 6_000;
/** Of more, the oldest go: they lie over the page. */
const MOST = 3;
/** Long enough to read what was done and to take it back. */
const UNDO_MS = 12_000;

/**
 * Shows `text`; `tone` is `info` or `error`. With `undo` a button takes back what was done; such a message stays while it is pointed at or
 * focused. A click on a message puts it away.
 */
export function toast(text, tone = "info", undo = null) {
  const message = el("div", { class: "toast", "data-tone": tone }, el("p", {}, text));
  let timer = null;
  const leave = () => {
    clearTimeout(timer);
    timer = setTimeout(() => message.remove(), undo === null ? SHOWN_MS : UNDO_MS);
  };
  if (undo !== null) {
    const button = el("button", { type: "button", class: "toast-undo" }, "Undo");
    button.addEventListener("click", undo);
    message.append(button);
    for (const event of ["pointerenter", "focusin"]) message.addEventListener(event, () => clearTimeout(timer));
    for (const event of ["pointerleave", "focusout"]) message.addEventListener(event, leave);
  }
  message.addEventListener("click", () => {
    message.remove();
    clearTimeout(timer);
  });
  const messages = document.getElementById("toasts");
  messages.append(message);
  while (messages.childElementCount > MOST) messages.firstElementChild.remove();
  leave();
}
