// The tables of a comparison: groups of seeds with their verdicts, and runs with only the settings in which they differ. The best values are
// marked.

import { formatMetric, orderMetrics } from "./describe.js";
import { cardHead, el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatNumber, formatSetting, isShare, number } from "./format.js";

/** Rows of a table; a longer one shows its best. */
const MOST_ROWS = 200;
/** Columns of metrics; more would push the last ones out of sight. */
const MOST_METRICS = 6;

/** The table's frame, its head and body. */
function wideTable(title, ...others) {
  const head = el("tr");
  const body = el("tbody");
  const table = el("table", { class: "data" }, el("thead", {}, head), body);
  const note = el("p", { class: "minor" });
  const frame = el("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": title }, table);
  const node = el("section", { class: "card", "aria-label": title }, cardHead(title, note, ...others), frame);
  return { node, head, body, note };
}

/** Compares values of a metric, the better one first; what is no number goes last. */
function better(metric) {
  const sign = isShare(metric) ? -1 : 1;
  const key = (value) => (Number.isFinite(value) ? sign * value : Infinity);
  return (a, b) => (key(a) === key(b) ? 0 : key(a) - key(b));
}

/** Mean and spread of each group of seeds, and whether it differs from the best by more than its seeds do. */
export function groupsCard() {
  const { node, head, body, note } = wideTable("Groups of seeds");
  const test = el("p", { class: "minor formula" });
  node.append(test);
  return {
    node,
    update(comparison, metric) {
      const repeated = comparison.groups.some((group) => group.run_ids.length > 1);
      node.hidden = !repeated || comparison.groups.length < 2;
      if (node.hidden) return;
      const paths = Object.keys(comparison.groups[0].settings);
      const spread = (place) => comparison.groups[place].metrics[metric];
      const order = comparison.groups.map((_, place) => place);
      order.sort((a, b) => better(metric)(spread(a)?.mean ?? NaN, spread(b)?.mean ?? NaN));
      const shown = order.slice(0, MOST_ROWS);
      setText(note, shown.length < order.length ? `The ${shown.length} best of ${order.length}` : `by ${metric}`);
      const noise = comparison.seed_noise?.metric === metric ? comparison.seed_noise : null;
      setText(test, noise ? noise.test : "");
      const key = JSON.stringify([metric, shown, comparison.groups.map((group) => group.metrics[metric]), noise]);
      replaceIfChanged(head, paths.join("\n") + metric, () =>
        [...paths.map((path) => [path]), ["Seeds", "number"], ["Mean", "number"], ["Standard deviation", "number"], ["Interval at 95 %", "number"], ["Verdict"]]
          .map(([heading, kind]) => el("th", { scope: "col", class: kind }, heading)));
      replaceIfChanged(body, key, () => shown.map((place, rank) => groupRow(comparison, place, rank === 0 ? null : order[0], metric, paths, noise)));
    },
  };
}

function groupRow({ groups }, place, best, metric, paths, noise) {
  const { settings, metrics, run_ids: ids } = groups[place];
  const { n = 0, not_finite: wrong = 0, mean = null, standard_deviation: deviation = null, interval = null } = metrics[metric] ?? {};
  const write = formatMetric(metric);
  const numbers = [
    wrong > 0 ? `${n} and ${wrong} not finite` : `${n} of ${ids.length}`,
    mean === null ? "–" : write(mean),
    deviation === null ? "–" : isShare(metric) ? write(deviation) : formatNumber(deviation, 3),
    interval === null ? "–" : `${write(interval[0])} to ${write(interval[1])}`,
  ];
  const cells = [
    ...paths.map((path) => el("td", {}, formatSetting(settings[path]))),
    ...numbers.map((text) => el("td", { class: "number" }, text)),
    el("td", {}, verdict(place, best, noise)),
  ];
  return el("tr", best === null ? { class: "best" } : {}, ...cells);
}

/** What is to be said of a group beside the best one. */
function verdict(place, best, noise) {
  if (best === null) return el("span", { class: "badge best" }, "★ best");
  const pair = noise?.pairs.find(({ groups }) => groups.includes(place) && groups.includes(best));
  if (!pair) return el("span", { class: "minor" }, "too few seeds");
  const [low, high] = pair.interval.map((end) => formatNumber(end, 3));
  const title = `The difference is from ${low} to ${high} at 95 %, with ${formatNumber(pair.degrees_of_freedom, 3)} degrees of freedom`;
  if (pair.within_noise) return el("span", { class: "badge noise", title }, "≈ within seed noise of the best");
  return el("span", { class: "badge differs", title }, "differs from the best");
}

/** A row a run: the settings that differ, then the last values of its metrics. `chosen(metric)` is told when a heading is pressed. */
export function runsCard(chosen) {
  const { node, head, body, note } = wideTable("Runs");
  /** The ids of the runs that are not faded; null: all. */
  let kept = null;
  const fade = () => {
    for (const row of body.rows) setAttribute(row, "data-faded", kept !== null && !kept.has(Number(row.dataset.run)));
  };
  return {
    node,
    /** Fades all runs but those with these ids, none for null. */
    fade(next) {
      kept = next;
      fade();
    },
    update(comparison, metric) {
      const names = orderMetrics(Object.keys(comparison.metrics), metric);
      const metrics = names.slice(0, MOST_METRICS);
      const value = (name, place) => number(comparison.metrics[name]?.[place]?.last ?? NaN);
      const order = comparison.runs.map((_, place) => place);
      order.sort((a, b) => better(metric)(value(metric, a), value(metric, b)));
      const shown = order.slice(0, MOST_ROWS);
      const cut = shown.length < order.length ? `The ${shown.length} best of ${order.length} by ${metric}` : "";
      const hidden = names.slice(MOST_METRICS);
      const more = hidden.length > 0 ? `${hidden.length} more ${hidden.length === 1 ? "metric" : "metrics"}: choose one in the Metric menu` : "";
      setText(note, [cut, more].filter(Boolean).join(" · "));
      setAttribute(note, "title", hidden.join("\n") || null);
      const best = new Map(metrics.map((name) => [name, extremes(name, comparison)]));
      replaceIfChanged(head, [...comparison.differences.map((it) => it.path), ...metrics].join("\n"), () => [
        el("th", { scope: "col" }, "Run"),
        el("th", { scope: "col" }, "State"),
        ...comparison.differences.map(({ path }) => el("th", { scope: "col" }, path)),
        ...metrics.map((name) => heading(name, name === metric, chosen)),
      ]);
      const key = JSON.stringify([metric, shown, comparison.metrics, comparison.runs.map((run) => run.state)]);
      replaceIfChanged(body, key, () => shown.map((place) => runRow(comparison, place, metrics, value, best)));
      fade();
    },
  };
}

function heading(name, isChosen, chosen) {
  const button = el("button", { type: "button", class: "heading" }, name);
  button.addEventListener("click", () => chosen(name));
  return el("th", { scope: "col", class: "number", "aria-sort": isChosen ? (isShare(name) ? "descending" : "ascending") : null }, button);
}

/** The best last value of a metric, where more than one run has it and better can be told. */
function extremes(name, { metrics }) {
  const values = metrics[name].filter((summary) => summary !== null).map((summary) => number(summary.last)).filter(Number.isFinite);
  // Where all are the same, none is better.
  if (new Set(values).size < 2 || !/loss|accuracy|colour_error|distance|gradient_norm|residual_norm/.test(name)) return NaN;
  return isShare(name) ? Math.max(...values) : Math.min(...values);
}

function runRow({ runs, differences, metrics: summaries }, place, metrics, value, best) {
  const run = runs[place];
  const cell = (name) => {
    if (summaries[name]?.[place] === null) return el("td", { class: "number" }, "–");
    const isBest = value(name, place) === best.get(name);
    const text = formatMetric(name)(value(name, place));
    return el("td", { class: isBest ? "number best" : "number", title: isBest ? `best ${name}` : null }, isBest ? `★ ${text}` : text);
  };
  return el(
    "tr",
    { "data-run": run.id },
    el("td", {}, el("a", { href: `#/runs/${run.id}` }, `#${run.id}${run.name ? ` ${run.name}` : ""}`)),
    el("td", {}, el("span", { class: "state", "data-state": run.state }, run.stop_reason && run.stop_reason !== "completed" ? `${run.state}: ${run.stop_reason.replaceAll("_", " ")}` : run.state)),
    ...differences.map(({ values }) => el("td", {}, values[place] === null ? "–" : formatSetting(values[place]))),
    ...metrics.map(cell),
  );
}
