// The page of runs: filters and views, workers, table, selection, paging.
//
// The part of the address after `#/?` is the query of `GET /v1/runs` (runs-query.js), so a page of it can be linked, reloaded, gone back to and
// kept as a view; "next" follows the server's `rel="next"` link in the same way. The page stays mounted while only the query changes. It
// asks again, with the list's ETag, when the server tells of a change; a row is touched only when its run's revision moved, and moves
// with its focus.

import { Conditional } from "./api.js";
import { mainMetricName } from "./describe.js";
import { el, reconcile, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatCount, isShare } from "./format.js";
import { Live, Poller } from "./poll.js";
import { columnChoice } from "./runs-columns.js";
import { filterBar } from "./runs-filters.js";
import { address, isFiltered, readSort, sortedMetric, viewQuery, withParameter, writeSort } from "./runs-query.js";
import { COLUMNS, runRow } from "./runs-row.js";
import { selection, showHelp } from "./runs-select.js";
import { viewPicker } from "./runs-views.js";
import { useful } from "./timing.js";
import { workerStrip } from "./workers.js";

const PAGE_SIZE = 50;
/** How often projects and views are asked for. */
const ASIDE_MS = 10_000;

export function mountRuns(container, query) {
  const views = new Map();
  const body = el("tbody", { role: "rowgroup" });
  /** What all rows go by. */
  const page = { metric: null };
  let resource = null;
  let current = new URLSearchParams();
  let runs = [];
  /** How many runs come before the page at a cursor, as far as this page has led there. */
  const before = new Map([[null, 0]]);

  const go = (next) => {
    location.hash = address(next);
  };
  const filters = filterBar((name, value, typing = false) => {
    const next = withParameter(current, name, value);
    if (!typing) {
      go(next);
      return;
    }
    // Each letter would be a step to go back.
    history.replaceState(null, "", address(next));
    showQuery(next);
    poller.now();
  });
  const changed = () => {
    poller.now();
    aside.now();
  };
  const picker = viewPicker(() => aside.now());
  const select = selection({ views, body, changed, search: filters.search });
  const workers = workerStrip();
  const headings = COLUMNS.map((column) => heading(column));
  headings[0].node.append(el("label", { class: "select-label" }, select.all));
  const table = el(
    "table",
    { class: "runs", role: "table", "aria-label": "Runs" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...headings.map(({ node }) => node))),
    body,
  );
  const empty = el("div", { class: "empty", hidden: true });
  const problem = el("p", { class: "notice error", role: "alert", hidden: true });
  const total = el("p", { class: "minor number run-total", role: "status" });
  const first = el("a", { class: "button" }, "First page");
  const following = el("a", { class: "button" }, "Next page");
  const paging = el("nav", { class: "paging", "aria-label": "Pages" }, first, following);
  const help = el("button", { type: "button", class: "button key-help", "aria-label": "Keyboard shortcuts", onclick: showHelp }, "?");

  container.replaceChildren(
    el("div", { class: "page-head" }, el("h1", {}, "Runs"), total, picker.node, columnChoice(table), help),
    filters.node,
    workers.node,
    problem,
    el("div", { class: "table-frame" }, table, empty),
    paging,
    select.bar,
  );
  document.title = "Runs · Trainyard";

  function heading(column) {
    const { name, sort } = column;
    const button = sort ? el("button", { type: "button", class: "sort" }, column.heading) : null;
    const node = el("th", { class: `cell-${name}`, scope: "col", role: "columnheader" }, button ?? column.heading);
    const key = () => (typeof sort === "function" ? sort(context()) : sort);
    button?.addEventListener("click", () => {
      const now = readSort(current);
      const next = now.key === key() ? { ...now, descending: !now.descending } : { key: key(), descending: descends(column) };
      go(withParameter(current, "sort", writeSort(next)));
    });
    const update = () => {
      const now = readSort(current);
      const sorted = sort !== undefined && now.key === key() ? (now.descending ? "descending" : "ascending") : null;
      setAttribute(node, "aria-sort", sorted);
    };
    return { node, update };
  }

  const descends = ({ name, descends: always = false }) => always || (name === "best" && isShare(shownMetric()));
  const shownMetric = () => page.metric ?? runs.map(mainMetricName).find((name) => name !== null) ?? "loss";
  /** What the sort keys of some columns depend on. */
  function context() {
    const metric = shownMetric();
    const kind = current.get("kind") ?? runs[0]?.spec.kind;
    return {
      trainsKey: kind === "colourization" ? "param.network.name" : "param.optimizer.name",
      lastKey: `metric.${metric}.last`,
      bestKey: `metric.${metric}.${isShare(metric) ? "max" : "min"}`,
    };
  }

  function showQuery(next) {
    const text = next.toString();
    if (resource !== null && text === current.toString()) return;
    current = new URLSearchParams(text);
    const asked = viewQuery(current);
    for (const name of ["cursor", "limit"]) if (current.has(name)) asked.set(name, current.get(name));
    if (!asked.has("limit")) asked.set("limit", PAGE_SIZE);
    resource = new Conditional(`/v1/runs?${asked}`);
    page.metric = sortedMetric(readSort(current).key)?.name ?? null;
    filters.update(current);
    picker.update(current);
    for (const { update } of headings) update();
    setAttribute(first, "href", address(viewQuery(current)));
    first.hidden = !current.has("cursor");
    setAttribute(table, "aria-busy", "true");
  }

  const showPage = ({ body: { items }, next, total: matching }) => {
    runs = items;
    problem.hidden = true;
    reconcile(body, views, items, (run) => run.id, () => runRow({ changed, toggled: select.toggle, page }));
    setAttribute(table, "aria-busy", null);
    select.shown(items, { query: withParameter(current, "sort", "").toString(), total: matching });
    filters.setRuns(items);
    for (const { update } of headings) update();
    showPaging(next, matching);
    table.hidden = items.length === 0;
    empty.hidden = items.length > 0;
    const filtered = isFiltered(current);
    replaceIfChanged(empty, String(filtered), () => (filtered ? noMatch() : noRuns()));
    useful();
  };

  const showPaging = (next, matching) => {
    const cursor = next === null ? null : new URLSearchParams(next.split("?")[1] ?? "").get("cursor");
    following.hidden = cursor === null;
    if (cursor !== null) {
      const query = viewQuery(current);
      query.set("cursor", cursor);
      setAttribute(following, "href", address(query));
    }
    const from = before.get(current.get("cursor")) ?? null;
    if (from !== null && cursor !== null) before.set(cursor, from + runs.length);
    const all = matching === null ? "" : formatCount(matching);
    const range = from === null || matching === null || runs.length === matching ? "" : `${formatCount(from + 1)}–${formatCount(from + runs.length)} of `;
    setText(total, matching === null ? "" : `${range}${all} ${matching === 1 ? "run" : "runs"}`);
  };

  const showProblem = (error) => {
    runs = [];
    reconcile(body, views, [], (run) => run.id, () => null);
    setAttribute(table, "aria-busy", null);
    table.hidden = true;
    empty.hidden = true;
    following.hidden = true;
    setText(total, "");
    setText(problem, `The server does not understand these filters: ${error.message}`);
    problem.hidden = false;
  };

  const poller = new Poller(async (signal) => {
    if (resource === null) return;
    const asked = resource;
    try {
      const answer = await asked.get(signal);
      // The address may have changed while the answer was on its way.
      if (answer !== null && asked === resource) showPage(answer);
    } catch (error) {
      if (error.status !== 400 || asked !== resource) throw error;
      showProblem(error);
      // It stays wrong until the address changes.
      resource = null;
    }
  });
  const [projects, kept] = [new Conditional("/v1/projects"), new Conditional("/v1/views")];
  const aside = new Poller(async (signal) => {
    const [ofProjects, ofViews] = await Promise.all([projects.get(signal), kept.get(signal)]);
    if (ofProjects !== null) filters.setProjects(ofProjects.body.items);
    if (ofViews !== null) picker.setViews(ofViews.body.items);
  }, ASIDE_MS);

  following.hidden = true;
  showQuery(query);
  poller.now();
  const live = new Live(poller);
  const ticker = setInterval(() => {
    for (const view of views.values()) view.tick();
  }, 1_000);

  return {
    navigate(next) {
      const moved = next.get("cursor") !== current.get("cursor");
      showQuery(next);
      poller.now();
      if (moved) scrollTo(0, 0);
    },
    unmount() {
      clearInterval(ticker);
      live.stop();
      poller.stop();
      aside.stop();
      workers.stop();
      filters.stop();
      select.stop();
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
