// One row of the table of runs. It is built once; an update writes only the cells whose text differs.

import { actionButtons } from "./actions.js";
import { editRun } from "./annotate.js";
import { serverNow } from "./api.js";
import * as describe from "./describe.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatAge, formatDuration, formatSetting, formatTime } from "./format.js";
import { maySubmit } from "./session.js";

/** The columns: class of the cells, heading, and the sort key of the API (a function where it depends on what is shown). */
export const COLUMNS = [
  { name: "select", heading: "" },
  { name: "id", heading: "Run" },
  { name: "name", heading: "Name", sort: "name" },
  { name: "project", heading: "Project", sort: "project", optional: true },
  { name: "training", heading: "Trains", sort: (context) => context.trainsKey, optional: true },
  { name: "state", heading: "State", sort: "state" },
  { name: "progress", heading: "Progress", sort: "progress", descends: true, optional: true },
  { name: "last", heading: "Last", sort: (context) => context.lastKey, optional: true },
  { name: "best", heading: "Best", sort: (context) => context.bestKey, optional: true },
  { name: "duration", heading: "Duration", sort: "duration", descends: true, optional: true },
  { name: "tags", heading: "Tags", optional: true },
  { name: "created", heading: "Submitted", sort: "created", descends: true, optional: true },
  { name: "tools", heading: "Actions" },
];

/**
 * A view of one run: `{node, box, link, update(run), tick()}`. `changed(run)` is called when a button or the form changed it, `toggled(id,
 * event)` when its box was clicked; `page.metric` is the metric that is shown, or null for the one that each run is judged by.
 */
export function runRow({ changed, toggled, page }) {
  const cells = Object.fromEntries(
    COLUMNS.map(({ name, heading }) => [name, el("td", { class: `cell-${name}`, role: "cell", "data-heading": heading })]),
  );
  const node = el("tr", { role: "row" }, ...Object.values(cells));

  const box = el("input", { type: "checkbox", class: "select-box" });
  box.addEventListener("click", (event) => toggled(shown.id, event));
  cells.select.append(el("label", { class: "select-label" }, box));
  const number = el("a", { class: "run-number" });
  cells.id.append(number);
  const name = el("a", { class: "run-name" });
  const notes = el("span", { class: "minor run-notes" });
  cells.name.append(name, notes);
  const project = el("a", { class: "run-project" });
  cells.project.append(project);
  const what = el("span", { class: "strong" });
  const detail = el("span", { class: "minor" });
  cells.training.append(what, detail);
  const state = el("span", { class: "state" });
  const stop = el("span", { class: "minor" });
  cells.state.append(state, stop);
  const bar = el("progress", { max: "1" });
  const share = el("span", { class: "minor number" });
  cells.progress.append(bar, share);
  const [last, lastName, best, bestName] = ["strong number", "minor", "strong number", "minor"].map((style) => el("span", { class: style }));
  cells.last.append(last, lastName);
  cells.best.append(best, bestName);
  cells.duration.classList.add("number");
  const tags = el("span", { class: "tags" });
  cells.tags.append(tags);
  const created = el("time", { class: "number" });
  cells.created.append(created);
  const buttons = actionButtons(changed);
  const edit = el("button", { type: "button", class: "button small", "data-action": "edit" }, "Edit");
  edit.addEventListener("click", () => editRun(shown, changed));
  edit.hidden = !maySubmit();
  cells.tools.append(el("div", { class: "row-tools" }, buttons.node, edit));

  let shown = null;
  let shownMetric = null;

  const tick = () => {
    const now = serverNow();
    const seconds = describe.durationSeconds(shown, now);
    setText(cells.duration, seconds === null ? "–" : formatDuration(seconds));
    setText(created, formatAge((now - Date.parse(shown.created_at)) / 1_000));
  };

  const showMetric = () => {
    const metric = describe.mainMetric(shown, page.metric);
    shownMetric = page.metric;
    const label = metric ? metric.name.replace("val_accuracy", "accuracy").replaceAll("_", " ") : "";
    setText(last, metric ? metric.last : "–");
    setText(lastName, label);
    setText(best, metric ? metric.best : "–");
    setText(bestName, label);
  };

  const update = (run) => {
    if (shown !== null && shown.revision === run.revision) {
      if (shownMetric !== page.metric) showMetric();
      return;
    }
    shown = run;
    const address = `#/runs/${run.id}`;
    setAttribute(node, "data-run", run.id);
    setAttribute(node, "data-archived", run.archived_at !== null && run.archived_at !== undefined);
    setAttribute(box, "aria-label", `Select run ${run.id}`);
    setText(number, `#${run.id}`);
    setAttribute(number, "href", address);
    setText(name, describe.runTitle(run));
    setAttribute(name, "href", address);
    const about = run.notes ? run.notes.split("\n")[0] : null;
    const point = Object.entries(run.sweep_point ?? {});
    notes.classList.toggle("settings", about === null);
    replaceIfChanged(notes, about ?? JSON.stringify(point), () => (about === null ? point.map(setting) : [about]));
    const whole = point.map(([path, value]) => `${path} = ${formatSetting(value)}`);
    setAttribute(cells.name, "title", [describe.runTitle(run), ...whole, run.notes].filter(Boolean).join("\n"));
    setText(project, run.project ?? "");
    setAttribute(project, "href", run.project ? `#/?${new URLSearchParams({ project: run.project })}` : null);
    setAttribute(cells.project, "title", run.project);
    const training = describe.describeTraining(run.spec);
    setText(what, training.what);
    const more = [training.detail, training.data].filter(Boolean).join(" · ");
    setText(detail, more);
    setAttribute(cells.training, "title", `${training.what} ${more}`);
    setText(state, describe.describeState(run));
    setAttribute(state, "data-state", run.state);
    setText(stop, run.archived_at ? "archived" : describe.describeStop(run));
    setAttribute(cells.state, "title", run.error);
    setAttribute(bar, "value", describe.progressShare(run).toFixed(4));
    setAttribute(bar, "data-state", run.state);
    setAttribute(bar, "aria-label", `Progress of run ${run.id}`);
    setText(share, describe.describeProgress(run));
    showMetric();
    const labels = tagLabels(run);
    setAttribute(cells.tags, "title", labels.join("\n") || null);
    replaceIfChanged(tags, labels.join("\n"), () => labels.map((label) => el("span", { class: "tag", title: label }, label)));
    setAttribute(created, "datetime", run.created_at);
    setAttribute(created, "title", formatTime(run.created_at));
    buttons.update(run);
    setAttribute(edit, "aria-label", `Edit run ${run.id}`);
    tick();
  };

  return {
    node,
    box,
    link: name,
    tick,
    update,
    get run() {
      return shown;
    },
  };
}

/** The last part of a dotted path that says something: `optimizer.learning_rate` → learning_rate, `network.name` → network. */
function settingName(path) {
  return path.replace(/\.name$/, "").split(".").pop();
}

/** A setting of the sweep, of which the name gives way to the value where the column is narrow: the value tells runs apart. */
function setting([path, value]) {
  return el("span", { class: "setting" }, el("span", { class: "setting-name" }, settingName(path)), el("span", { class: "setting-value" }, ` = ${formatSetting(value)}`));
}

/** What tells the runs of one job apart. */
function sweepLabels(run) {
  return Object.entries(run.sweep_point ?? {}).map(([path, value]) => `${settingName(path)} = ${formatSetting(value)}`);
}

function tagLabels(run) {
  return Object.entries(run.tags ?? {}).map(([tag, value]) => (value ? `${tag}: ${value}` : tag));
}

/** What tells the runs of one job apart, then the tags. */
export function runLabels(run) {
  return [...sweepLabels(run), ...tagLabels(run)];
}
