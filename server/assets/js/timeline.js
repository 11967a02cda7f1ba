// The events and the log of a run. Both only grow: lines that are there are left alone, so that a selection survives, and a list that
// stands at its end follows what comes.

import { el, reconcile } from "./dom.js";
import { formatSetting, formatTime } from "./format.js";

function listCard(title, keyOf, line) {
  const list = el("ol", { class: "lines", tabindex: "0", role: "log", "aria-label": title });
  const empty = el("p", { class: "minor" }, `No ${title.toLowerCase()} yet.`);
  const node = el("section", { class: "card", "aria-label": title }, el("header", { class: "card-head" }, el("h2", {}, title)), empty, list);
  const views = new Map();
  return {
    node,
    update(items) {
      const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
      const before = views.size;
      empty.hidden = items.length > 0;
      list.hidden = items.length === 0;
      reconcile(list, views, items, keyOf, (item) => ({ node: line(item), update() {} }));
      if (atEnd && views.size !== before) list.scrollTop = list.scrollHeight;
    },
  };
}

/** What happened to the run: queued, claimed, checkpointed, lost, ended. */
export function eventsCard() {
  return listCard("Events", (event) => event.revision, (event) =>
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
  const card = listCard("Log", (entry) => entry.key, ({ line }) =>
    el(
      "li",
      { class: "log-line", "data-level": line.level },
      el("time", { class: "number minor", datetime: line.time }, formatTime(line.time)),
      el("span", { class: "log-level" }, line.level),
      el("span", { class: "log-message" }, line.message),
    ),
  );
  return { node: card.node, update: (lines) => card.update(lines.map((line, key) => ({ key, line }))) };
}

function describeDetail(detail) {
  if (detail === null || typeof detail !== "object") return detail === null ? "" : String(detail);
  return Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${formatSetting(value)}`)
    .join(" · ");
}
