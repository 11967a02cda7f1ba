// The page of runs: filters, workers, table, paging.
//
// The part of the address after `#/?` is the query of `GET /v1/runs`, so a filtered page can be linked, reloaded and gone back to; "older"
// follows the server's `rel="next"` link in the same way. The page stays mounted while only the query changes. It polls with the list's
// ETag, and a row is touched only when its run's revision moved.

import { Conditional } from "./api.js";
import { KINDS, STATES } from "./describe.js";
import { el, reconcile, replaceIfChanged, setAttribute } from "./dom.js";
import { Poller } from "./poll.js";
import { COLUMNS, runRow } from "./runs-row.js";
import { workerStrip } from "./workers.js";

const PAGE_SIZE = 50;
const FILTERS = [
  ["state", "State", STATES],
  ["kind", "Kind", KINDS],
];

export function mountRuns(container, query) {
  const filters = FILTERS.map(([parameter, label, values]) => filterGroup(parameter, label, values));
  const workers = workerStrip();
  const body = el("tbody", { role: "rowgroup" });
  const headings = COLUMNS.map(([name, heading]) => el("th", { class: `cell-${name}`, scope: "col", role: "columnheader" }, heading));
  const table = el(
    "table",
    { class: "runs", role: "table", "aria-label": "Runs, newest first" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...headings)),
    body,
  );
  const empty = el("div", { class: "empty", hidden: true });
  const newest = el("a", { class: "button" }, "Newest");
  const older = el("a", { class: "button" }, "Older");
  const paging = el("nav", { class: "paging", "aria-label": "Pages" }, newest, older);

  container.replaceChildren(
    el("div", { class: "page-head" }, el("h1", {}, "Runs"), el("div", { class: "filters" }, ...filters.map((filter) => filter.node))),
    workers.node,
    el("div", { class: "table-frame" }, table, empty),
    paging,
  );
  document.title = "Runs · Trainyard";

  const views = new Map();
  let resource = null;
  let current = new URLSearchParams();

  const showQuery = (next) => {
    current = new URLSearchParams(next);
    if (!current.has("limit")) current.set("limit", PAGE_SIZE);
    resource = new Conditional(`/v1/runs?${current}`);
    for (const filter of filters) filter.update(next);
    const first = new URLSearchParams(next);
    first.delete("cursor");
    setAttribute(newest, "href", address(first));
    newest.hidden = !next.has("cursor");
    setAttribute(table, "aria-busy", "true");
  };

  const showPage = ({ body: { items }, next }) => {
    reconcile(body, views, items, (run) => run.id, () => runRow(() => poller.now()));
    setAttribute(table, "aria-busy", null);
    older.hidden = next === null;
    setAttribute(older, "href", next === null ? null : `#/?${next.split("?")[1] ?? ""}`);
    table.hidden = items.length === 0;
    empty.hidden = items.length > 0;
    const filtered = filterQuery(current) !== "";
    replaceIfChanged(empty, String(filtered), () => (filtered ? noMatch() : noRuns()));
  };

  showQuery(query);
  older.hidden = true;

  const poller = new Poller(async (signal) => {
    const asked = resource;
    const page = await asked.get(signal);
    // The address may have changed while the answer was on its way.
    if (page !== null && asked === resource) showPage(page);
  });
  const ticker = setInterval(() => {
    for (const view of views.values()) view.tick();
  }, 1_000);

  return {
    navigate(next) {
      showQuery(next);
      poller.now();
    },
    unmount() {
      clearInterval(ticker);
      poller.stop();
      workers.stop();
    },
  };
}

/** The address of the page with this query. */
function address(query) {
  const text = query.toString();
  return text ? `#/?${text}` : "#/";
}

/** The query with only its filters: what the first page is asked with. */
function filterQuery(query) {
  const kept = FILTERS.map(([parameter]) => [parameter, query.get(parameter)]).filter(([, value]) => value);
  return new URLSearchParams(kept).toString();
}

/** One filter as a row of links; that of the present value is marked. */
function filterGroup(parameter, label, values) {
  const links = ["", ...values].map((value) => el("a", { class: "filter", "data-value": value }, value || "all"));
  const node = el("nav", { class: "filter-group", "aria-label": label }, el("span", { class: "filter-label" }, label), ...links);
  return {
    node,
    update(query) {
      for (const link of links) {
        const target = new URLSearchParams(filterQuery(query));
        if (link.dataset.value) target.set(parameter, link.dataset.value);
        else target.delete(parameter);
        setAttribute(link, "href", address(target));
        setAttribute(link, "aria-current", (query.get(parameter) ?? "") === link.dataset.value ? "true" : null);
      }
    },
  };
}

function noMatch() {
  return [el("p", {}, "No run matches these filters. "), el("a", { href: "#/" }, "Show all runs")];
}

function noRuns() {
  const example = {
    name: "first",
    spec: {
      kind: "regression",
      problem: { source: "inline", x: [[2, 1]], t: [2] },
      optimizer: { name: "gd", learning_rate: 0.1 },
      steps: 200,
    },
  };
  const command = [
    `curl ${location.origin}/v1/jobs`,
    '-H "Authorization: Bearer $TRAINYARD_TOKEN"',
    "-H 'Content-Type: application/json'",
    `-d '${JSON.stringify(example)}'`,
  ].join(" \\\n  ");
  return [
    el("p", { class: "strong" }, "No runs yet"),
    el("p", {}, "A job submitted here, with the command line or with curl appears at once. For instance:"),
    el("pre", { class: "code", tabindex: "0" }, command),
  ];
}
