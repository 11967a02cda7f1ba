// The strip of workers above the table: one chip a worker process, with what it trains.

import { Conditional } from "./api.js";
import { el, reconcile, setAttribute, setText } from "./dom.js";
import { Poller } from "./poll.js";

const INTERVAL_MS = 2_000;

export function workerStrip() {
  const list = el("ul", { class: "worker-list", tabindex: "0", "aria-label": "List of workers" });
  const summary = el("span", { class: "worker-summary" }, "Workers");
  const node = el("section", { class: "workers", "aria-label": "Workers" }, summary, list);
  const views = new Map();
  const resource = new Conditional("/v1/workers");

  const poller = new Poller(async (signal) => {
    const answer = await resource.get(signal);
    if (answer === null) return;
    const workers = answer.body.items;
    setText(summary, describeCount(workers.length));
    reconcile(list, views, workers, (worker) => worker.id, workerChip);
  }, INTERVAL_MS);

  return { node, stop: () => poller.stop() };
}

function describeCount(count) {
  if (count === 0) return "No workers: queued runs wait until one starts";
  return count === 1 ? "1 worker" : `${count} workers`;
}

function workerChip() {
  const name = el("span", { class: "strong" });
  const where = el("span", { class: "minor" });
  const run = el("a", { class: "worker-run" });
  const node = el("li", { class: "worker" }, name, where, run);
  return {
    node,
    update(worker) {
      const busy = worker.run_id !== null;
      setAttribute(node, "data-busy", String(busy));
      setAttribute(node, "title", `${worker.host}, ${worker.threads} threads, version ${worker.version}`);
      setText(name, `worker ${worker.id}`);
      setText(where, `pid ${worker.pid} · ${worker.device}`);
      const more = worker.run_ids.length > 1 ? ` and ${worker.run_ids.length - 1} more` : "";
      setText(run, busy ? `run #${worker.run_id}${more}` : "idle");
      setAttribute(run, "href", busy ? `#/runs/${worker.run_id}` : null);
    },
  };
}
