// What a dry run says: how many runs, what they take, what theory knows of them, and what is doubtful.

import { get } from "./api.js";
import { durationSeconds } from "./describe.js";
import { cardHead, el, setText } from "./dom.js";
import { formatBytes, formatCount, formatDuration, formatNumber, formatSetting } from "./format.js";
import { FIGURES } from "./run-tables.js";

/** Points of a sweep that are listed. */
const MOST_POINTS = 50;

export function planCard() {
  const state = el("span", { class: "minor", role: "status" }, "checking…");
  const facts = el("dl", { class: "facts" });
  const warnings = el("ul", { class: "plan-warnings" });
  const theory = el("dl", { class: "forms" });
  const points = el("ol", { class: "lines plan-points", tabindex: "0", "aria-label": "Runs of the sweep" });
  const node = el("section", { class: "card", "aria-label": "What would run" }, cardHead("What would run", state), warnings, facts, theory, points);
  /** The plan that is shown, or null while there is none. */
  let shown = null;
  return {
    node,
    /** Says that what is shown is of the form as it was. */
    checking() {
      setText(state, "checking…");
      node.dataset.state = "checking";
    },
    /** Says that the body is not one yet; figures of the form as it was would pass for those of this one. */
    wrong(count) {
      shown = null;
      for (const part of [warnings, facts, theory, points]) part.replaceChildren();
      for (const part of [warnings, theory, points]) part.hidden = true;
      setText(state, count === 1 ? "one setting is wrong" : `${count || "something"} ${count ? "settings are" : "is"} wrong`);
      node.dataset.state = "wrong";
    },
    async show(plan, signal) {
      shown = plan;
      const sum = (field) => plan.runs.reduce((total, run) => total + run.estimate[field], 0);
      const most = (field) => Math.max(...plan.runs.map((run) => run.estimate[field]));
      const told = [
        ["Runs", formatCount(plan.run_count)],
        ["Steps", formatCount(sum("steps"))],
        ["Parameters", formatCount(most("parameters"))],
        ["Memory of a run", formatBytes(most("memory_bytes"))],
        ["Disk", formatBytes(sum("disk_bytes"))],
        ["Multiply-adds", formatNumber(sum("multiply_adds"))],
      ];
      node.dataset.state = "right";
      setText(state, "valid");
      const write = (pairs) => facts.replaceChildren(...pairs.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", { class: "number" }, value))));
      write(told);
      warnings.replaceChildren(...plan.warnings.map((warning) => el("li", {}, warning)));
      warnings.hidden = plan.warnings.length === 0;
      const known = plan.runs.find((run) => run.theory)?.theory ?? {};
      const lines = Object.entries(FIGURES).filter(([name]) => typeof known[name] === "number");
      theory.replaceChildren(...lines.flatMap(([name, label]) => [el("dt", {}, label), el("dd", { class: "number" }, formatNumber(known[name], 6))]));
      theory.hidden = lines.length === 0;
      const swept = plan.runs.filter((run) => Object.keys(run.sweep_point).length > 0);
      points.replaceChildren(...swept.slice(0, MOST_POINTS).map((run) => el("li", {}, describePoint(run.sweep_point))));
      if (swept.length > MOST_POINTS) points.append(el("li", { class: "minor" }, `and ${swept.length - MOST_POINTS} more`));
      points.hidden = swept.length === 0;
      const eta = await estimate(plan, signal);
      if (shown !== plan) return;
      write([...told, ["Time", eta ?? "not known: nothing like it has run here"]]);
    },
  };
}

function describePoint(point) {
  return Object.entries(point).map(([path, value]) => `${path} = ${formatSetting(value)}`).join(", ");
}

/** How long runs like these took a step here, times the steps; null where none has. */
async function estimate(plan, signal) {
  const spec = plan.runs[0].spec;
  const { items } = await get(`/v1/runs?kind=${spec.kind}&state=succeeded&limit=50`, signal);
  const like = items.find((run) => likeness(run.spec) === likeness(spec) && run.progress.step > 0 && durationSeconds(run, 0) !== null);
  if (!like) return null;
  const steps = plan.runs.reduce((total, run) => total + run.estimate.steps, 0);
  const seconds = (durationSeconds(like, 0) / like.progress.step) * steps;
  return `${seconds < 1 ? "under a second" : `about ${formatDuration(seconds)}`} one after the other, going by run ${like.id}`;
}

/** What the time of a step depends on. */
function likeness({ kind, network, dataset, problem, optimizer, batch_size: batch, num_colours: colours, inner_steps: inner }) {
  return JSON.stringify([kind, network, dataset?.size, batch ?? optimizer?.batch_size, colours, problem?.n, problem?.d, optimizer?.name, inner]);
}
