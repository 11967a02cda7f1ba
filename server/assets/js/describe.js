// What a run is about, in a few words: what it trains, how far it is, its main metric. Pure functions of the API's run object.

import { formatCount, formatDuration, formatNumber, formatPercent, isShare, number } from "./format.js";

export const STATES = ["queued", "paused", "running", "succeeded", "failed", "cancelled"];
export const KINDS = ["regression", "regularization_pair", "hypergradient", "colourization", "external"];

/** Whether nothing more happens to the run unless someone retries it. */
export function isFinished(state) {
  return state === "succeeded" || state === "failed" || state === "cancelled";
}

export function runTitle(run) {
  return run.name ?? `Run ${run.id}`;
}

/** What learns, and from what: `{what: "unet", detail: "3×3, 32 filters", data: "cifar10 / horse"}`. */
export function describeTraining(spec) {
  if (spec.kind === "colourization") {
    const { network, dataset } = spec;
    const data = dataset.category
      ? `${dataset.name} / ${dataset.category}`
      : dataset.train_images
        ? `${dataset.name}, ${formatCount(dataset.train_images)} images of ${dataset.size}×${dataset.size}`
        : dataset.name;
    return { what: network.name, detail: `${network.kernel}×${network.kernel}, ${network.num_filters} filters`, data };
  }
  if (spec.kind === "external") {
    const count = Object.keys(spec.params).length;
    return { what: "external", detail: `${formatCount(count)} parameters`, data: spec.command ?? spec.host ?? "" };
  }
  if (spec.kind === "picture") {
    const { format, width, height } = spec.picture;
    return { what: "picture", detail: `${format}, ${formatCount(width)}×${formatCount(height)}`, data: `with the model of run ${spec.model_run_id}` };
  }
  const { optimizer, problem } = spec;
  if (!problem) return { what: spec.kind, detail: "", data: "" };
  const size = problem.n && problem.d ? ` ${formatCount(problem.n)}×${formatCount(problem.d)}` : "";
  const data = `${problem.source === "dataset" ? problem.name : problem.source}${size}`;
  if (spec.kind === "hypergradient") {
    return { what: "hypergradient", detail: `${spec.method}, ${formatCount(spec.inner_steps)} steps unrolled`, data };
  }
  if (!optimizer) return { what: spec.kind, detail: "", data };
  const schedule = optimizer.schedule && optimizer.schedule !== "constant" ? `, ${optimizer.schedule}` : "";
  const what = spec.kind === "regularization_pair" ? `${optimizer.name}: L2 and weight decay` : optimizer.name;
  return { what, detail: `rate ${formatNumber(optimizer.learning_rate)}${schedule}`, data };
}

/** The state in words; a request that the worker has not carried out yet shows. */
export function describeState(run) {
  if (run.requested === "cancel") return "cancelling";
  if (run.requested === "pause") return "pausing";
  return run.state;
}

/** The reason of the end where it tells more than the state does. */
export function describeStop(run) {
  const plain = run.stop_reason === "completed" || run.stop_reason === run.state;
  return run.stop_reason && !plain ? run.stop_reason.replaceAll("_", " ") : "";
}

/** The share of the work done, from 0 to 1. A run that succeeded has none left, also where it converged before its last step. */
export function progressShare(run) {
  if (run.state === "succeeded") return 1;
  const { step, total_steps: total } = run.progress;
  return total > 0 ? Math.min(step / total, 1) : 0;
}

/** `43 %`, with the time left while the run is running; `done` where a percentage would contradict the steps beside it. */
export function describeProgress(run) {
  const { step, total_steps: total, eta_seconds: eta } = run.progress;
  if (run.state === "succeeded" && step < total) return "done";
  const share = `${Math.floor(100 * progressShare(run))} %`;
  return run.state === "running" && eta !== null && eta !== undefined ? `${share} · ${formatDuration(eta)} left` : share;
}

/** Seconds from the first claim to the end, or to `nowMs` while the run is running; null where it waits. */
export function durationSeconds(run, nowMs) {
  if (!run.started_at || !(run.finished_at || run.state === "running")) return null;
  const end = run.finished_at ? Date.parse(run.finished_at) : nowMs;
  return Math.max(0, (end - Date.parse(run.started_at)) / 1_000);
}

/** Metrics that runs are judged by, the most telling one first. */
export const JUDGED_BY = ["val_accuracy", "val_loss", "train_loss", "loss", "loss_l2"];
/** Metrics that tell of the machine and of time, not of what is learnt. */
const OF_THE_MACHINE = /^(cpu_|gpu_|memory_bytes$|images_per_second$|epoch_seconds$|step_ms$)/;

/** The name of the metric that a run is judged by, or null while there is none. */
export function mainMetricName(run) {
  return JUDGED_BY.find((candidate) => run.summary[candidate]) ?? null;
}

/** Names of metrics: `chosen`, those that runs are judged by, what else is learnt, and last those of the machine. */
export function orderMetrics(names, chosen) {
  const rank = (name) => {
    if (name === chosen) return -1;
    if (OF_THE_MACHINE.test(name)) return JUDGED_BY.length + 1;
    return JUDGED_BY.includes(name) ? JUDGED_BY.indexOf(name) : JUDGED_BY.length;
  };
  return [...names].sort((a, b) => rank(a) - rank(b));
}

/** The metric that a run is judged by, or the one of this name: `{name, last, best}` as text, or null while there is none. */
export function mainMetric(run, wanted = null) {
  const name = wanted ?? mainMetricName(run);
  if (name === null || !run.summary[name]) return null;
  const { last, min, max } = run.summary[name];
  const format = formatMetric(name);
  return { name, last: format(last), best: format(isShare(name) ? max : min) };
}

/** How values of a metric are written. */
export function formatMetric(name) {
  return isShare(name) ? formatPercent : (value) => formatNumber(number(value));
}
