// The head of a run's page: name, state, progress, the facts about the attempt, and the buttons.

import { actionButtons } from "./actions.js";
import { editRun } from "./annotate.js";
import { serverNow } from "./api.js";
import * as describe from "./describe.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatCount, formatDuration, formatTime } from "./format.js";
import { runLabels } from "./runs-row.js";
import { maySubmit } from "./session.js";

/** `changed(run)` is called when a button changed the run. */
export function runHead(id, changed) {
  const title = el("h1", {}, `Run ${id}`);
  const state = el("span", { class: "state large" });
  const stop = el("span", { class: "minor" });
  const tags = el("span", { class: "tags" });
  const buttons = actionButtons(changed);
  const again = el("a", { class: "button small", href: `#/submit?like=${id}` }, "Submit again");
  const edit = el("button", { type: "button", class: "button small", "data-action": "edit" }, "Edit");
  const notes = el("p", { class: "head-notes", hidden: true });
  const together = el("a", { class: "button small" }, "Compare its job");
  const bar = el("progress", { max: "1", value: "0", "aria-label": "Progress" });
  const share = el("span", { class: "number strong" });
  const steps = el("span", { class: "number minor" });
  const error = el("p", { class: "notice error", role: "alert", hidden: true });
  const wait = el("p", { class: "notice run-wait", role: "status", hidden: true });
  const facts = factList(["Trains", "Data", "Duration", "Attempt", "Worker", "Job", "Project", "Priority", "Submitted", "Started", "Finished"]);
  const node = el(
    "header",
    { class: "run-head" },
    el("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, el("a", { href: "#/" }, "Runs"), ` / #${id}`),
    el("div", { class: "run-title" }, title, state, stop, el("div", { class: "actions run-links" }, edit, again, together, buttons.node)),
    tags,
    notes,
    error,
    wait,
    el("div", { class: "run-progress" }, bar, el("p", {}, share, " ", steps)),
    facts.node,
  );
  let shown = null;
  edit.addEventListener("click", () => editRun(shown, changed));

  const tick = () => {
    if (shown === null) return;
    const seconds = describe.durationSeconds(shown, serverNow());
    facts.set("Duration", seconds === null ? "–" : formatDuration(seconds));
  };

  return {
    node,
    tick,
    /** Says what a queued run waits for; nothing without a `position`. */
    waits(position) {
      setText(wait, position?.detail ? `It waits: ${position.detail}.` : "");
      wait.hidden = !position?.detail;
    },
    update(run) {
      shown = run;
      setText(title, describe.runTitle(run));
      setText(state, describe.describeState(run));
      setAttribute(state, "data-state", run.state);
      setText(stop, describe.describeStop(run));
      const labels = runLabels(run);
      replaceIfChanged(tags, labels.join("\n"), () => labels.map((label) => el("span", { class: "tag" }, label)));
      buttons.update(run);
      setText(notes, run.notes ?? "");
      notes.hidden = !run.notes;
      again.hidden = edit.hidden = !maySubmit();
      setAttribute(together, "href", `#/compare?job=${run.job_id}`);
      setText(error, run.error ?? "");
      error.hidden = !run.error;
      const value = describe.progressShare(run).toFixed(4);
      setAttribute(bar, "value", value);
      setAttribute(bar, "data-state", run.state);
      setText(share, describe.describeProgress(run));
      setText(steps, describeSteps(run));
      const training = describe.describeTraining(run.spec);
      facts.set("Trains", [training.what, training.detail].filter(Boolean).join(", "));
      facts.set("Data", training.data);
      facts.set("Attempt", run.attempt > 0 ? String(run.attempt) : "–");
      facts.set("Worker", run.worker_id === null ? "–" : String(run.worker_id));
      facts.set("Job", String(run.job_id));
      facts.set("Project", run.project ?? "–");
      facts.set("Priority", String(run.priority));
      for (const [label, at] of [["Submitted", run.created_at], ["Started", run.started_at], ["Finished", run.finished_at]]) {
        facts.set(label, at ? formatTime(at) : "–");
      }
      tick();
    },
  };
}

function describeSteps(run) {
  const { step, total_steps: total, epoch } = run.progress;
  const steps = `step ${formatCount(step)} of ${formatCount(total)}`;
  if (epoch === null || epoch === undefined) return steps;
  const epochs = run.spec.epochs ? ` of ${formatCount(run.spec.epochs)}` : "";
  return `epoch ${formatCount(epoch)}${epochs}, ${steps}`;
}

/** Labelled values in a row: `{node, set(label, text)}`. */
function factList(labels) {
  const values = new Map(labels.map((label) => [label, el("dd", { class: "number" }, "–")]));
  const node = el("dl", { class: "facts" }, ...labels.map((label) => el("div", {}, el("dt", {}, label), values.get(label))));
  return { node, set: (label, text) => setText(values.get(label), text) };
}
