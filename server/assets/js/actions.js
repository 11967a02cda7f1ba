// What can be done to a run: which actions its state allows, the buttons for them, and the question before a cancel.
//
// The server decides what is legal (409 names the state where it is not); the buttons only leave out what it would refuse.

import { actOnRun } from "./api.js";
import { runTitle } from "./describe.js";
import { el, reconcile } from "./dom.js";
import { maySubmit } from "./session.js";
import { toast } from "./toast.js";

const LABELS = { pause: "Pause", resume: "Resume", retry: "Retry", cancel: "Cancel" };
const DONE = { pause: "pausing", resume: "goes on", retry: "queued again", cancel: "cancelling" };

/** The actions that a run's state allows. */
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

/** Asks before a cancel, in a modal dialog; resolves to whether to go on. */
function confirmCancel(run) {
  const yes = el("button", { class: "button danger", value: "yes" }, "Cancel the run");
  const no = el("button", { class: "button", value: "no", autofocus: true }, "Keep it");
  const dialog = el(
    "dialog",
    { class: "dialog", "aria-labelledby": "cancel-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "cancel-title" }, `Cancel run ${run.id}?`),
      el("p", {}, `${runTitle(run)} stops where it is. A retry starts from its last checkpoint, if it has one.`),
      el("div", { class: "dialog-buttons" }, no, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
