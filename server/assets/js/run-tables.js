// The tables of a run's page: metric summary, result, certificates, artifacts. Each is a card with `{node, update(data)}`.

import { artifactPath } from "./api.js";
import { formatMetric } from "./describe.js";
import { cardHead, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatBytes, formatCount, formatNumber, stepUnit } from "./format.js";
import { showJson } from "./json-view.js";

/** A card with a table whose rows are keyed; hidden while it has none. `write(cells, item)` fills a row. */
function tableCard(title, headings, keyOf, write) {
  const body = el("tbody");
  const head = headings.map(([heading, kind]) => el("th", { scope: "col", class: kind }, heading));
  const table = el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...head)), body);
  const frame = el("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": title }, table);
  const node = el("section", { class: "card", hidden: true, "aria-label": title }, cardHead(title), frame);
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
  const headings = [["Claim", "sentence"], ["Formula", "sentence"], ...numbers, ["Holds"]];
  return tableCard("Certificates", headings, (certificate) => certificate.claim, (cells, certificate) => {
    setText(cells[0], certificate.claim);
    setText(cells[1], certificate.formula);
    ["predicted", "measured", "tolerance"].forEach((field, i) => setText(cells[i + 2], formatNumber(certificate[field], 7)));
    setText(cells[5], certificate.holds ? "holds" : "fails");
    setAttribute(cells[5], "data-holds", String(certificate.holds));
  });
}

/** The run's files with links to their bytes. */
export function artifactsCard(runId) {
  const headings = [["Name"], ["Size", "number"], ["Type"], ["SHA-256"]];
  return tableCard("Artifacts", headings, (artifact) => artifact.name, (cells, artifact) => {
    const link = cells[0].firstElementChild ?? cells[0].appendChild(el("a"));
    setText(link, artifact.name);
    setAttribute(link, "href", artifactPath(runId, artifact.name));
    setAttribute(link, "download", artifact.name.split("/").pop());
    setText(cells[1], formatBytes(artifact.size));
    setText(cells[2], artifact.content_type);
    setText(cells[3], `${artifact.sha256.slice(0, 8)}…`);
    setAttribute(cells[3], "title", artifact.sha256);
  });
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
