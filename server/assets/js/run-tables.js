// The tables of a run's page: metric summary, theory, result, certificates, artifacts. Each is a card with `{node, update(data)}`.

import { artifactPath } from "./api.js";
import { formatMetric } from "./describe.js";
import { cardHead, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatBytes, formatCount, formatNumber, stepUnit } from "./format.js";
import { showJson } from "./json-view.js";

/** A card with a table whose rows are keyed; hidden while it has none. `write(cells, item)` fills a row. */
export function tableCard(title, headings, keyOf, write, ...others) {
  const body = el("tbody");
  const head = headings.map(([heading, kind]) => el("th", { scope: "col", class: kind }, heading));
  const table = el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...head)), body);
  const frame = el("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": title }, table);
  const node = el("section", { class: "card", hidden: true, "aria-label": title }, cardHead(title, ...others), frame);
  const views = new Map();
  const create = () => {
    const cells = headings.map(([, kind]) => el("td", { class: kind }));
    return { node: el("tr", {}, ...cells), update: (item) => write(cells, item) };
  };
  return {
    node,
    update(items) {
      node.hidden = items.length === 0;
      reconcile(body, views, items, keyOf, create);
    },
  };
}

/** Last, least and greatest of each metric; `update(run.summary)`. */
export function summaryCard() {
  const headings = [["Metric"], ...["Last", "At", "Least", "Greatest"].map((heading) => [heading, "number"])];
  const card = tableCard("Summary", headings, ([name]) => name, (cells, [name, metric]) => {
    const format = formatMetric(name);
    const at = `${stepUnit(name)} ${formatCount(metric.last_step)}`;
    [name, format(metric.last), at, format(metric.min), format(metric.max)].forEach((text, i) => setText(cells[i], text));
  });
  return { node: card.node, update: (summary) => card.update(Object.entries(summary)) };
}

/** Claims of theory checked on the run. */
export function certificatesCard() {
  const numbers = ["Predicted", "Measured", "Tolerance"].map((heading) => [heading, "number"]);
  const headings = [["Claim", "sentence"], ["Formula", "sentence"], ...numbers, ["Holds"], ["Source", "sentence"]];
  return tableCard("Certificates", headings, (certificate) => certificate.claim, (cells, certificate) => {
    setText(cells[0], certificate.claim);
    setText(cells[1], certificate.formula);
    cells[1].classList.add("formula");
    ["predicted", "measured", "tolerance"].forEach((field, i) => setText(cells[i + 2], formatNumber(certificate[field], 7)));
    setText(cells[5], certificate.holds ? "holds" : "fails");
    setAttribute(cells[5], "data-holds", String(certificate.holds));
    setText(cells[6], certificate.source);
  });
}

/** What theory says of the kind of run and could not be checked on it. */
export function leftOutCard() {
  const headings = [["Claim", "sentence"], ["Why", "sentence"]];
  return tableCard("Not certified", headings, (leftOut) => leftOut.claim, (cells, leftOut) => {
    setText(cells[0], leftOut.claim);
    setText(cells[1], leftOut.reason);
  });
}

/** What theory knows of a problem → how it is called. */
export const FIGURES = {
  rank: "rank",
  lambda_max: "λ_max",
  lambda_min_positive: "λ_min⁺",
  condition: "condition number",
  largest_stable_rate: "stable below the rate",
  best_fixed_rate: "best fixed rate",
  predicted_steps: "steps to the tolerance",
  rmsprop_limit: "RMSProp settles below the rate",
};

/** What theory says of a regression before it runs. */
export function theoryCard() {
  const card = tableCard("Theory", [["Figure"], ["Value", "number"]], ([name]) => name, (cells, [name, value]) => {
    setText(cells[0], FIGURES[name]);
    setText(cells[1], formatNumber(value, 7));
  });
  const known = (theory) => Object.keys(FIGURES).filter((name) => typeof theory[name] === "number").map((name) => [name, theory[name]]);
  return { node: card.node, update: (theory) => card.update(known(theory)) };
}

/** The run's files with links to their bytes. */
export function artifactsCard(runId) {
  const headings = [["Name"], ["Size", "number"], ["Type"], ["SHA-256"]];
  const metrics = (format) => {
    const address = `/v1/runs/${runId}/metrics?limit=100000&format=${format}`;
    return el("a", { class: "button small", href: address, download: `run-${runId}-metrics.${format}` }, `Metrics as ${format.toUpperCase()}`);
  };
  const write = (cells, artifact) => {
    const link = cells[0].firstElementChild ?? cells[0].appendChild(el("a"));
    setText(link, artifact.name);
    setAttribute(link, "href", artifactPath(runId, artifact.name));
    setAttribute(link, "download", artifact.name.split("/").pop());
    setText(cells[1], formatBytes(artifact.size));
    setText(cells[2], artifact.content_type);
    setText(cells[3], `${artifact.sha256.slice(0, 8)}…`);
    setAttribute(cells[3], "title", artifact.sha256);
  };
  return tableCard("Artifacts", headings, (artifact) => artifact.name, write, metrics("csv"), metrics("ndjson"));
}

/** What the run came to, as JSON; hidden until it ends. */
export function resultCard() {
  const code = el("pre", { class: "code", tabindex: "0", "aria-label": "Result" });
  const node = el("section", { class: "card", hidden: true, "aria-label": "Result" }, cardHead("Result"), code);
  return {
    node,
    update(result) {
      node.hidden = result === null;
      if (result !== null) showJson(code, result);
    },
  };
}
