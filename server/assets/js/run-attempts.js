// The attempts of a run, as its events tell them, and the worker that holds it.

import { get } from "./api.js";
import { cardHead, el, setText } from "./dom.js";
import { formatBytes, formatTime } from "./format.js";
import { tableCard } from "./run-tables.js";

const ENDS = new Set(["released", "lease_expired", "paused", "succeeded", "failed", "cancelled"]);

/** One row an attempt: who had it, from when to when, and how it ended. */
export function attemptsCard() {
  const headings = [["Attempt", "number"], ["Worker"], ["From"], ["To"], ["Ended"], ["Build"]];
  const card = tableCard("Attempts", headings, (attempt) => attempt.number, (cells, attempt) => {
    const { number, worker, from, to, end, build } = attempt;
    [number, worker, formatTime(from), to ? formatTime(to) : "–", end, build].forEach((text, i) => setText(cells[i], String(text)));
  });
  return { node: card.node, update: (events) => card.update(attempts(events)) };
}

function attempts(events) {
  const found = [];
  for (const { kind, time, detail } of events) {
    if (kind === "claimed") {
      const number = detail?.attempt ?? found.length + 1;
      found.push({ number, worker: detail?.worker_id ?? detail?.worker ?? "–", from: time, to: null, end: "–", build: detail?.platform?.build ?? "–" });
    } else if (ENDS.has(kind) && found.length > 0 && found.at(-1).to === null) {
      Object.assign(found.at(-1), { to: time, end: kind.replaceAll("_", " ") });
    }
  }
  return found;
}

/** What is known of the worker: while it lives all, afterwards what the claim noted. */
export function workerCard() {
  const facts = el("dl", { class: "facts" });
  const node = el("section", { class: "card", hidden: true, "aria-label": "Worker" }, cardHead("Worker"), facts);
  let asked = null;
  return {
    node,
    async update(run, events, signal) {
      if (run.worker_id === null || asked === run.worker_id) return;
      const { items } = await get("/v1/workers", signal);
      asked = run.worker_id;
      const worker = items.find((item) => item.id === run.worker_id);
      const claimed = events.findLast((event) => event.kind === "claimed")?.detail ?? {};
      const lines = [
        ["Number", run.worker_id],
        ["State", worker ? "connected" : "gone"],
        ["Host", worker?.host],
        ["Process", worker?.pid],
        ["Device", worker?.device],
        ["Threads", worker?.threads],
        ["Memory", worker?.memory_bytes ? formatBytes(worker.memory_bytes) : null],
        ["Version", worker?.version],
        ["Build", claimed.platform?.build],
        ["Computed on", claimed.platform?.device],
      ];
      const known = lines.filter(([, value]) => value !== null && value !== undefined && value !== "");
      facts.replaceChildren(...known.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", { class: "number" }, String(value)))));
      node.hidden = false;
    },
  };
}
