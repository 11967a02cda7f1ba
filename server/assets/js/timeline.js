// The events and the log of a run. Both only grow: lines that are there are left alone, so that a selection survives, and a list that
// stands at its end follows what comes. A long list shows its newest lines.

import { cardHead, el, reconcile, setText } from "./dom.js";
import { formatSetting, formatTime } from "./format.js";

const MOST_LINES = 1_000;
const HASH = /^[0-9a-f]{64}$/;

/** Lines are keyed by their place in the whole list. */
function listCard(title, line) {
  const lines = el("ol");
  const list = el("div", { class: "lines", tabindex: "0", role: "log", "aria-label": title }, lines);
  const none = "Nothing yet.";
  const empty = el("p", { class: "minor" }, none);
  const node = el("section", { class: "card", "aria-label": title }, cardHead(title), empty, list);
  const views = new Map();
  let shown = 0;
  return {
    node,
    update(items) {
      const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
      const before = shown;
      shown = items.length;
      setText(empty, items.length === 0 ? none : `The newest ${MOST_LINES} of ${items.length}.`);
      empty.hidden = items.length > 0 && items.length <= MOST_LINES;
      list.hidden = items.length === 0;
      const first = Math.max(0, items.length - MOST_LINES);
      const places = items.slice(first).map((_, index) => first + index);
      reconcile(lines, views, places, (place) => place, (place) => ({ node: line(items[place]), update() {} }));
      if (atEnd && items.length !== before) list.scrollTop = list.scrollHeight;
    },
  };
}

/** What happened to the run: queued, claimed, checkpointed, lost, ended. */
export function eventsCard() {
  return listCard("Events", (event) =>
    el(
      "li",
      {},
      el("time", { class: "number minor", datetime: event.time }, formatTime(event.time)),
      el("span", { class: "event", "data-event": event.kind }, event.kind.replaceAll("_", " ")),
      el("span", { class: "minor" }, describeDetail(event.detail)),
    ),
  );
}

/** What workers logged for the run. */
export function logsCard() {
  return listCard("Log", (line) =>
    el(
      "li",
      { class: "log-line", "data-level": line.level },
      el("time", { class: "number minor", datetime: line.time }, formatTime(line.time)),
      el("span", { class: "log-level" }, line.level),
      el("span", { class: "log-message" }, line.message),
    ),
  );
}

function describeDetail(detail) {
  if (detail === null || typeof detail !== "object") return detail === null ? "" : String(detail);
  return Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${describeValue(value)}`)
    .join(" · ");
}

function describeValue(value) {
  if (HASH.test(value)) return `${value.slice(0, 8)}…`;
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  return isObject ? Object.values(value).map(formatSetting).join(", ") : formatSetting(value);
}
