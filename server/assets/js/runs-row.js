// One row of the table of runs. It is built once; an update writes only the cells whose text differs.

import { actionButtons } from "./actions.js";
import { serverNow } from "./api.js";
import * as describe from "./describe.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatAge, formatDuration, formatSetting, formatTime } from "./format.js";

/** The columns: class of the cells, heading. */
export const COLUMNS = [
  ["id", "Run"],
  ["name", "Name"],
  ["training", "Trains"],
  ["state", "State"],
  ["progress", "Progress"],
  ["metric", "Metric"],
  ["duration", "Duration"],
  ["created", "Submitted"],
  ["tools", "Actions"],
];

/** A view of one run: `{node, update(run), tick()}`. `changed(run)` is called when a button changed it. */
export function runRow(changed) {
  const cells = Object.fromEntries(
    COLUMNS.map(([name, heading]) => [name, el("td", { class: `cell-${name}`, role: "cell", "data-heading": heading })]),
  );
  const node = el("tr", { role: "row" }, ...Object.values(cells));

  const number = el("a", { class: "run-number" });
  cells.id.append(number);
  const name = el("a", { class: "run-name" });
  const tags = el("span", { class: "tags" });
  cells.name.append(name, tags);
  const what = el("span", { class: "strong" });
  const detail = el("span", { class: "minor" });
  cells.training.append(what, detail);
  const state = el("span", { class: "state" });
  const stop = el("span", { class: "minor" });
  cells.state.append(state, stop);
  const bar = el("progress", { max: "1" });
  const share = el("span", { class: "minor number" });
  cells.progress.append(bar, share);
  const last = el("span", { class: "strong number" });
  const best = el("span", { class: "minor number" });
  cells.metric.append(last, best);
  cells.duration.classList.add("number");
  const created = el("time", { class: "number" });
  cells.created.append(created);
  const buttons = actionButtons(changed);
  cells.tools.append(buttons.node);

  let shown = null;

  const tick = () => {
    const now = serverNow();
    const seconds = describe.durationSeconds(shown, now);
    setText(cells.duration, seconds === null ? "–" : formatDuration(seconds));
    setText(created, formatAge((now - Date.parse(shown.created_at)) / 1_000));
  };

  const update = (run) => {
    if (shown !== null && shown.revision === run.revision) return;
    shown = run;
    const address = `#/runs/${run.id}`;
    setAttribute(node, "data-run", run.id);
    setText(number, `#${run.id}`);
    setAttribute(number, "href", address);
    setText(name, describe.runTitle(run));
    setAttribute(name, "href", address);
    const labels = runLabels(run);
    setAttribute(cells.name, "title", [describe.runTitle(run), ...labels].join("\n"));
    replaceIfChanged(tags, labels.join("\n"), () => labels.map((label) => el("span", { class: "tag", title: label }, label)));
    const training = describe.describeTraining(run.spec);
    setText(what, training.what);
    const about = [training.detail, training.data].filter(Boolean).join(" · ");
    setText(detail, about);
    setAttribute(cells.training, "title", `${training.what} ${about}`);
    setText(state, describe.describeState(run));
    setAttribute(state, "data-state", run.state);
    setText(stop, describe.describeStop(run));
    setAttribute(cells.state, "title", run.error);
    setAttribute(bar, "value", describe.progressShare(run).toFixed(4));
    setAttribute(bar, "data-state", run.state);
    setAttribute(bar, "aria-label", `Progress of run ${run.id}`);
    setText(share, describe.describeProgress(run));
    const metric = describe.mainMetric(run);
    setText(last, metric ? metric.last : "–");
    setText(best, metric ? `best ${metric.best} · ${metric.name.replace("val_accuracy", "accuracy").replaceAll("_", " ")}` : "");
    setAttribute(created, "datetime", run.created_at);
    setAttribute(created, "title", formatTime(run.created_at));
    buttons.update(run);
    tick();
  };

  return { node, update, tick };
}

/** The last part of a dotted path that says something: `optimizer.learning_rate` → learning_rate, `network.name` → network. */
function settingName(path) {
  return path.replace(/\.name$/, "").split(".").pop();
}

/** What tells the runs of one job apart, then the job's tags. */
export function runLabels(run) {
  const point = Object.entries(run.sweep_point ?? {}).map(([path, value]) => `${settingName(path)} = ${formatSetting(value)}`);
  const tags = Object.entries(run.tags ?? {}).map(([tag, value]) => (value ? `${tag}: ${value}` : tag));
  return [...point, ...tags];
}
