// Short messages in the corner: what an action did, or why it did not. The container is a live region, so they are also read out.

import { el } from "./dom.js";

const SHOWN_MS = 6_000;

/** Shows `text`; `tone` is `info` or `error`. */
export function toast(text, tone = "info") {
  const message = el("p", { class: "toast", "data-tone": tone }, text);
  document.getElementById("toasts").append(message);
  setTimeout(() => message.remove(), SHOWN_MS);
}
