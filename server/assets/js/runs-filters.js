// The controls above the table: search, filters, order. Each is one parameter of the query in the address.
//
// They are built once; an update writes the query into those that nobody is typing in.

import { KINDS, STATES } from "./describe.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { readSort, sortedMetric, viewQuery, writeSort } from "./runs-query.js";

const TYPING_MS = 200;
const OPTIMIZERS = ["gd", "sgd", "momentum", "rmsprop", "adam", "adamw"];
const NETWORKS = ["pool_upsample", "conv_transpose", "unet"];
const ARCHIVED = [["", "no"], ["true", "only"], ["all", "yes"]];
const SORTS = [
  ["created", "submitted"],
  ["name", "name"],
  ["state", "state"],
  ["kind", "kind"],
  ["project", "project"],
  ["duration", "duration"],
  ["progress", "progress"],
];
const STATISTICS = [["last", "last"], ["min", "least"], ["max", "greatest"]];
const METRIC_PATTERN = "\\s*([^<>,]+[<>]=?\\s*[\\-+.0-9eE]+\\s*(,\\s*|$))*";

/** A labelled control of the bar. */
function control(name, label, input) {
  input.id = `filter-${name}`;
  return el("div", { class: `control control-${name}` }, el("label", { for: input.id }, label), input);
}

function option([value, label]) {
  return el("option", { value }, label);
}

/** Shows these options and the value, which is one of them even where nobody offered it. */
function fillSelect(select, options, value) {
  const known = options.some(([key]) => key === value) ? options : [...options, [value, value]];
  replaceIfChanged(select, JSON.stringify(known), () => known.map(option));
  if (select.value !== value) select.value = value;
}

/** `set(name, value, typing)` is called for a change: `value` may be a list; `typing` tells that more is to come. */
export function filterBar(set) {
  const search = el("input", { type: "search", placeholder: "name, notes or number", autocomplete: "off", spellcheck: "false", maxlength: "500" });
  let timer = null;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => set("q", search.value.trim(), true), TYPING_MS);
  });

  const choice = (name, options) => {
    const select = el("select");
    select.addEventListener("change", () => set(name, select.value));
    return { name, select, options };
  };
  const words = (values, all = "all") => [["", all], ...values.map((value) => [value, value.replaceAll("_", " ")])];
  const choices = {
    state: choice("state", words(STATES)),
    kind: choice("kind", words(KINDS)),
    project: choice("project", [["", "all"]]),
    archived: choice("archived", ARCHIVED),
    optimizer: choice("optimizer", words(OPTIMIZERS)),
    network: choice("network", words(NETWORKS)),
  };

  const list = (name, properties) => {
    const input = el("input", { type: "text", spellcheck: "false", autocomplete: "off", maxlength: "500", ...properties });
    input.addEventListener("change", () => {
      if (input.reportValidity()) set(name, input.value.split(",").map((item) => item.trim()).filter(Boolean));
    });
    return { name, input };
  };
  const lists = [
    list("tag", { placeholder: "keep, topic:rmsprop" }),
    list("metric", { placeholder: "val_loss<0.5", pattern: METRIC_PATTERN, title: "A metric, < or >, and a number; several with commas" }),
  ];

  const moment = (name) => {
    const input = el("input", { type: "datetime-local" });
    input.addEventListener("change", () => set(name, input.value === "" ? "" : new Date(input.value).toISOString()));
    return { name, input };
  };
  const moments = [moment("created_after"), moment("created_before")];

  const sort = el("select");
  const direction = el("button", { type: "button", class: "button" });
  let current = { key: "created", descending: true };
  sort.addEventListener("change", () => set("sort", writeSort({ key: sort.value, descending: current.descending })));
  direction.addEventListener("click", () => set("sort", writeSort({ ...current, descending: !current.descending })));
  const orderControl = control("sort", "Order by", sort);
  orderControl.append(el("div", { class: "sort-controls" }, sort, direction));

  const count = el("span", { class: "minor" });
  const more = el(
    "details",
    { class: "more-filters" },
    el("summary", {}, "More filters ", count),
    el(
      "div",
      { class: "controls" },
      control("optimizer", "Optimizer", choices.optimizer.select),
      control("network", "Network", choices.network.select),
      control("tag", "Tags", lists[0].input),
      control("metric", "Metrics", lists[1].input),
      control("created_after", "Submitted after", moments[0].input),
      control("created_before", "Submitted before", moments[1].input),
    ),
  );
  const node = el(
    "div",
    { class: "filter-bar", role: "search", "aria-label": "Runs" },
    el(
      "div",
      { class: "controls" },
      control("q", "Search", search),
      control("state", "State", choices.state.select),
      control("kind", "Kind", choices.kind.select),
      control("project", "Project", choices.project.select),
      control("archived", "Archived", choices.archived.select),
      orderControl,
    ),
    more,
  );

  let query = new URLSearchParams();
  let projects = [];
  let metrics = [];
  let settings = [];

  const showSort = () => {
    current = readSort(query);
    const shown = sortedMetric(current.key);
    const names = shown === null || metrics.includes(shown.name) ? metrics : [...metrics, shown.name];
    const ofMetrics = names.flatMap((name) =>
      STATISTICS.map(([statistic, word]) => [`metric.${name}.${statistic}`, `${name.replaceAll("_", " ")}, ${word}`]),
    );
    const ofSettings = settings.map((path) => [`param.${path}`, path.replaceAll("_", " ")]);
    fillSelect(sort, [...SORTS, ...ofMetrics, ...ofSettings], current.key);
    setText(direction, current.descending ? "↓" : "↑");
    setAttribute(direction, "aria-label", current.descending ? "From the greatest; turn around" : "From the least; turn around");
    setAttribute(direction, "title", current.descending ? "From the greatest" : "From the least");
  };

  const showProjects = () => {
    const value = query.has("project") ? query.get("project") : "";
    fillSelect(choices.project.select, [["", "all"], ...projects.map(({ name, run_count: runs }) => [name, `${name} (${runs})`])], value);
  };

  return {
    node,
    search,
    update(next) {
      query = viewQuery(next);
      const put = (input, value) => {
        if (document.activeElement !== input && input.value !== value) input.value = value;
      };
      put(search, query.get("q") ?? "");
      for (const { name, select, options } of Object.values(choices)) {
        if (name !== "project") fillSelect(select, options, query.get(name) ?? "");
      }
      for (const { name, input } of lists) put(input, query.getAll(name).join(", "));
      for (const { name, input } of moments) put(input, localTime(query.get(name)));
      const hidden = ["optimizer", "network", "tag", "metric", "created_after", "created_before"];
      const active = hidden.filter((name) => query.has(name)).length;
      setText(count, active > 0 ? `(${active})` : "");
      showProjects();
      showSort();
    },
    setProjects(next) {
      projects = next;
      showProjects();
    },
    /** What the runs on the page can be put in order by. */
    setRuns(runs) {
      metrics = [...new Set(runs.flatMap((run) => Object.keys(run.summary)))].sort();
      settings = [...new Set(runs.flatMap((run) => Object.keys(run.sweep_point ?? {})))].sort();
      showSort();
    },
    stop: () => clearTimeout(timer),
  };
}

/** A time as `datetime-local` has it, in the reader's zone. */
function localTime(text) {
  const at = new Date(text ?? "");
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
