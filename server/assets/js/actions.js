// What can be done to runs: which actions a run's state allows, the buttons for them, and the questions and undos around them.
//
// The server decides what is legal (409 names the state where it is not); the buttons only leave out what it would refuse. Many runs go
// through `POST /v1/runs/actions`, which answers for each.

import { actOnRun, sendJson } from "./api.js";
import { runTitle } from "./describe.js";
import { confirmDialog } from "./dialog.js";
import { el, reconcile } from "./dom.js";
import { formatCount } from "./format.js";
import { maySubmit } from "./session.js";
import { toast } from "./toast.js";

const LABELS = { pause: "Pause", resume: "Resume", retry: "Retry", cancel: "Cancel" };
const DONE = { pause: "pausing", resume: "goes on", retry: "queued again", cancel: "cancelling" };
/** Runs of one request. */
const AT_ONCE = 1_000;
/** Twenty thousand runs are acted on within this. */
const MATCHING_TIMEOUT_MS = 120_000;

/** What can be asked of many runs: action → button, what it did, and the action that takes it back. */
export const BULK_ACTIONS = {
  cancel: { label: "Cancel", did: "cancelled" },
  pause: { label: "Pause", did: "paused" },
  resume: { label: "Resume", did: "resumed" },
  retry: { label: "Retry", did: "queued again" },
  archive: { label: "Archive", did: "archived", undo: "unarchive" },
  unarchive: { label: "Unarchive", did: "taken out of the archive", undo: "archive" },
  delete: { label: "Delete", did: "deleted", undo: "restore" },
  restore: { label: "Restore", did: "restored" },
  tag: { label: "Tag", did: "tagged" },
};

/** What becomes of those that match and are asked for this. */
const MATCHING = {
  cancel: "Those that wait or run stop where they are; a retry starts from the last checkpoint of each, if it has one.",
  pause: "Those that have ended stay as they are.",
  resume: "Those that are not paused stay as they are.",
  retry: "Those that did not fail and were not cancelled stay as they are.",
  delete: "Those that wait or run stay.",
};

/** The actions on its training that a run's state allows. */
function actionsFor(run) {
  if (run.requested === "cancel" || !maySubmit()) return [];
  switch (run.state) {
    case "queued":
      return ["pause", "cancel"];
    case "running":
      return run.requested === "pause" ? ["resume", "cancel"] : ["pause", "cancel"];
    case "paused":
      return ["resume", "cancel"];
    case "failed":
    case "cancelled":
      return ["retry"];
    default:
      return [];
  }
}

/** Whether an action on many makes sense for this run. */
export function allows(run, action) {
  switch (action) {
    case "archive":
      return maySubmit() && run.archived_at === null;
    case "unarchive":
      return maySubmit() && run.archived_at !== null;
    case "tag":
      return maySubmit();
    case "delete":
      return maySubmit() && run.state !== "queued" && run.state !== "running";
    default:
      return actionsFor(run).includes(action);
  }
}

/** A group of buttons for one run. `changed(run)` is told what an action made of it. */
export function actionButtons(changed) {
  const node = el("div", { class: "actions" });
  const views = new Map();
  let current = null;

  const act = async (action, button) => {
    const run = current;
    if (action === "cancel" && !(await confirmCancel(run))) return;
    button.disabled = true;
    try {
      const after = await actOnRun(run.id, action);
      toast(`Run ${run.id}: ${after.state === "cancelled" ? "cancelled" : DONE[action]}`);
      changed(after);
    } catch (error) {
      toast(`Run ${run.id} was not changed: ${error.message}`, "error");
    } finally {
      button.disabled = false;
    }
  };

  const create = (action) => {
    const button = el("button", { type: "button", class: "button small", "data-action": action }, LABELS[action]);
    button.addEventListener("click", () => act(action, button));
    return { node: button, update: () => button.setAttribute("aria-label", `${LABELS[action]} run ${current.id}`) };
  };

  return {
    node,
    update(run) {
      current = run;
      reconcile(node, views, actionsFor(run), (action) => action, create);
    },
  };
}

function confirmCancel(run) {
  const text = `${runTitle(run)} stops where it is. A retry starts from its last checkpoint, if it has one.`;
  return confirmDialog(`Cancel run ${run.id}?`, text, "Cancel the run", "Keep it");
}

/**
 * Does `action` to the runs with these ids and tells what became of them; what can be taken back can be from the message. `changed()` is
 * called after it and after an undo. `more` is what the request says beside: `{tags}` of `tag`. Resolves to the ids to which it was done, or
 * that were so already.
 */
export async function actOnRuns(action, ids, changed, more = {}) {
  if (action === "cancel" && ids.length > 1) {
    const text = "They stop where they are. A retry starts from the last checkpoint of each, if it has one.";
    if (!(await confirmDialog(`Cancel ${ids.length} runs?`, text, "Cancel the runs", "Keep them"))) return [];
  }
  const outcomes = [];
  try {
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      const body = { action, runs: ids.slice(from, from + AT_ONCE), ...more };
      outcomes.push(...(await sendJson("POST", "/v1/runs/actions", body)).outcomes);
    }
  } catch (error) {
    toast(`${BULK_ACTIONS[action].label}: ${error.message}`, "error");
  }
  const { did, undo } = BULK_ACTIONS[action];
  const done = outcomes.filter(({ outcome }) => outcome === "done").map(({ run_id: id }) => id);
  const refused = outcomes.filter(({ outcome }) => outcome === "refused" || outcome === "missing");
  if (done.length > 0) {
    const takeBack = undo ? () => actOnRuns(undo, done, changed) : null;
    toast(`${count(done)} ${did}`, "info", takeBack);
  } else if (outcomes.length > 0 && refused.length === 0) {
    toast("Nothing to change");
  }
  if (refused.length > 0) toast(`${count(refused)} not changed: ${refused[0].detail ?? "it is not there any more"}`, "error");
  changed();
  return outcomes.filter(({ outcome }) => outcome === "done" || outcome === "unchanged").map(({ run_id: id }) => id);
}

/**
 * Does `action` to all `total` runs that the list's query matches, on all of its pages, once the reader said yes to their number. Resolves to
 * whether it was done.
 */
export async function actOnMatching(action, query, total, changed, more = {}) {
  const { label, did, undo } = BULK_ACTIONS[action];
  const runs = total === 1 ? "1 run" : `${formatCount(total)} runs`;
  const text = `All that match the list's filters, on all of its pages. ${MATCHING[action] ?? "Those that are so already stay as they are."}`;
  if (!(await confirmDialog(`${label} ${runs}?`, text, `${label} ${runs}`, "Leave them"))) return false;
  try {
    const body = { action, matching: query, ...more };
    const { outcomes } = await sendJson("POST", "/v1/runs/actions", body, null, MATCHING_TIMEOUT_MS);
    const done = outcomes.filter(({ outcome }) => outcome === "done").map(({ run_id: id }) => id);
    const refused = outcomes.filter(({ outcome }) => outcome === "refused").length;
    const why = action === "tag" ? "that would have too many tags" : "whose state does not allow it";
    const others = refused === 0 ? "" : `; ${formatCount(refused)} ${why} stay as they are`;
    const takeBack = undo && done.length > 0 ? () => actOnRuns(undo, done, changed) : null;
    toast(done.length === 0 ? `Nothing to change${others}` : `${count(done)} ${did}${others}`, "info", takeBack);
    return true;
  } catch (error) {
    toast(`${label}: ${error.message}`, "error");
    return false;
  } finally {
    changed();
  }
}

function count(items) {
  return items.length === 1 ? "1 run" : `${formatCount(items.length)} runs`;
}
