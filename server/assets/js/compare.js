// Runs side by side: `#/compare?runs=1,2` or `?job=3`, with `metric`, `x` (the setting under the scatter) and `y=log`.
//
// The server answers the settings that differ, the metrics, the groups of runs that differ in nothing but their seed, and which of those
// differ by more than their seeds do; it draws the charts too. One poller asks for it with its ETag, and charts are asked for again when
// that moved. Everything that the reader sets is in the address.

import { Conditional } from "./api.js";
import { compareFigure } from "./compare-figure.js";
import { parallelFigure } from "./compare-parallel.js";
import { comparePictures } from "./compare-pictures.js";
import { groupsCard, runsCard } from "./compare-tables.js";
import { JUDGED_BY } from "./describe.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { isShare } from "./format.js";
import { Poller } from "./poll.js";
import { useful } from "./timing.js";

const INTERVAL_MS = 2_000;
/** Losses are read on a logarithmic axis unless the reader says otherwise. */
const LOGARITHMIC = /loss|norm|distance/;

export function mountCompare(container, query) {
  const settings = new URLSearchParams(query);
  const which = new URLSearchParams([...settings].filter(([name]) => name === "runs" || name === "job"));
  const resource = new Conditional(`/v1/compare?${which}`);
  const title = el("h1", {}, settings.has("job") ? `Job ${settings.get("job")}` : "Comparison");
  const about = el("p", { class: "minor" });
  const metricChoice = choice("Metric", "compare-metric", (metric) => set({ metric, y: "" }));
  const scale = el("button", { type: "button", class: "button small", "aria-label": "Logarithmic axis of the metric" }, "log");
  const curves = compareFigure("Curves", "curves");
  const xChoice = choice("Over", "compare-x", (x) => set({ x }));
  const scatter = compareFigure("Last values", "scatter", { tools: [xChoice.node] });
  const groups = groupsCard();
  const runs = runsCard((metric) => set({ metric, y: "" }));
  const parallel = parallelFigure((kept) => runs.fade(kept));
  const pictures = comparePictures();
  const notice = el("p", { class: "notice", role: "status" }, "Loading…");
  const content = el(
    "div",
    { class: "compare", hidden: true },
    el("div", { class: "compare-figures" }, curves.node, scatter.node, parallel.node),
    pictures.node,
    groups.node,
    runs.node,
  );
  const tools = el("div", { class: "compare-tools", hidden: true }, metricChoice.node, scale);
  container.replaceChildren(
    el("div", { class: "page-head" }, el("div", {}, title, about), tools),
    notice,
    content,
  );
  document.title = "Compare · Trainyard";
  scale.addEventListener("click", () => set({ y: isLog() ? "linear" : "log" }));

  let comparison = null;

  const metric = () => settings.get("metric") ?? mainMetric(comparison);
  const isLog = () => (settings.has("y") ? settings.get("y") === "log" : !isShare(metric()) && LOGARITHMIC.test(metric()));

  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) {
      if (value === "") settings.delete(name);
      else settings.set(name, value);
    }
    history.replaceState(null, "", `#/compare?${settings}`);
    showSettings();
    poller.now();
  };

  /** The address of a chart for what is set. */
  const chart = (name) => {
    const asked = new URLSearchParams(which);
    asked.set("metric", metric());
    if (name !== "parallel") asked.set("y", isLog() ? "log" : "linear");
    if (name === "scatter" && settings.has("x")) asked.set("x", settings.get("x"));
    return `/v1/compare/charts/${name}.json?${asked}`;
  };

  const showSettings = () => {
    metricChoice.update(Object.keys(comparison.metrics), metric());
    setAttribute(scale, "aria-pressed", String(isLog()));
    const paths = comparison.differences.map((difference) => difference.path);
    xChoice.update(paths, settings.get("x") ?? defaultPath(comparison));
    xChoice.node.hidden = paths.length < 2;
    groups.update(comparison, metric());
    runs.update(comparison, metric());
  };

  const show = (next) => {
    comparison = next;
    notice.hidden = true;
    content.hidden = false;
    const differing = comparison.differences.filter((difference) => difference.path !== "seed").length;
    const count = comparison.runs.length;
    setText(about, describeRuns(count, differing, comparison.groups.length));
    const hasMetrics = Object.keys(comparison.metrics).length > 0;
    tools.hidden = !hasMetrics;
    curves.node.hidden = !hasMetrics;
    scatter.node.hidden = !hasMetrics || comparison.differences.length === 0;
    parallel.node.hidden = !hasMetrics || count < 3 || differing === 0;
    showSettings();
    useful();
  };

  const poller = new Poller(async (signal) => {
    try {
      const answer = await resource.get(signal);
      if (answer !== null) show(answer.body);
    } catch (error) {
      if (comparison === null && error.status >= 400 && error.status < 500 && error.status !== 401) {
        replaceIfChanged(notice, error.message, () => [`Nothing to compare: ${error.message}. `, el("a", { href: "#/" }, "Back to the runs")]);
        poller.stop();
        return;
      }
      throw error;
    }
    if (Object.keys(comparison.metrics).length === 0) return;
    await Promise.all([
      curves.refresh(chart("curves"), signal),
      scatter.node.hidden ? null : scatter.refresh(chart("scatter"), signal),
      parallel.node.hidden ? null : parallel.refresh(chart("parallel"), signal),
      pictures.update(comparison, signal),
    ]);
  }, INTERVAL_MS);

  return {
    unmount() {
      poller.stop();
      for (const figure of [curves, scatter, parallel]) figure.unmount();
    },
  };
}

/** What is compared, in a sentence. */
function describeRuns(count, differing, groups) {
  if (count === 1) return "One run. Select several in the list of runs to see how they differ.";
  const settings = differing === 0 ? "no setting" : differing === 1 ? "one setting" : `${differing} settings`;
  if (groups === count) return `${count} runs that differ in ${settings}`;
  return `${count} runs that differ in ${settings}, in ${groups === 1 ? "one group" : `${groups} groups`} of seeds`;
}

function mainMetric(comparison) {
  const names = Object.keys(comparison.metrics);
  return JUDGED_BY.find((name) => names.includes(name)) ?? names[0] ?? "";
}

/** As the server chooses: the first setting of numbers, else the first. */
function defaultPath({ differences }) {
  const telling = differences.filter((difference) => difference.path !== "seed");
  const first = telling.find((difference) => difference.values.every((value) => typeof value === "number")) ?? telling[0];
  return first?.path ?? "seed";
}

/** A labelled list to choose from: `{node, update(values, chosen)}`. */
function choice(label, id, chosen) {
  const list = el("select", { id });
  list.addEventListener("change", () => chosen(list.value));
  const node = el("div", { class: "choice" }, el("label", { for: id }, label), list);
  return {
    node,
    update(values, value) {
      replaceIfChanged(list, values.join("\n"), () => values.map((name) => el("option", { value: name }, name)));
      if (list.value !== value) list.value = value;
    },
  };
}
