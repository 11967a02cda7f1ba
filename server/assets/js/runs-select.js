// Selecting runs, with the pointer and the keyboard, and the bar of what can be done to the selected ones.
//
// The selection is kept by id and outlives pages, filters and a visit to a run; the bar lies over the page, so it moves nothing. Once all runs
// of a page are selected, the bar offers all that match: that selection is the list's query and not ids, and ends with it.

import { actOnMatching, actOnRuns, allows, BULK_ACTIONS } from "./actions.js";
import { askTags } from "./annotate.js";
import { openDialog } from "./dialog.js";
import { el, setAttribute, setText } from "./dom.js";
import { formatCount } from "./format.js";
import { maySubmit } from "./session.js";

/** id → the run as it was last seen. */
const selected = new Map();

/** The selection of a table whose rows are `views` (a Map, id → row): `{bar, all, toggle, shown, stop}`. */
export function selection({ views, body, changed, search }) {
  const all = el("input", { type: "checkbox", class: "select-box", "aria-label": "Select all runs of this page" });
  const count = el("span", { class: "strong", role: "status" });
  const offer = el("button", { type: "button", class: "button small offer", hidden: true });
  const compare = el("a", { class: "button small primary" }, "Compare");
  const clear = el("button", { type: "button", class: "button small quiet" }, "Clear");
  const buttons = maySubmit() ? ["cancel", "pause", "resume", "retry", "tag", "archive", "unarchive", "delete"].map(actionButton) : [];
  const bar = el(
    "div",
    { class: "selection-bar", role: "toolbar", "aria-label": "Selected runs", hidden: true },
    count,
    offer,
    compare,
    ...buttons.map(({ button }) => button),
    clear,
  );
  /** Where a range that is selected with the shift key begins. */
  let anchor = null;
  /** What the list shows a page of: its query, and how many runs match (null where it is not known). */
  let list = { query: "", total: null };
  /** Whether all of them are selected, whatever page they are on. */
  let matching = false;

  function actionButton(action) {
    const button = el("button", { type: "button", class: "button small", "data-action": action }, BULK_ACTIONS[action].label);
    button.addEventListener("click", async () => {
      const more = action === "tag" ? await askTags() : {};
      if (more === null) return;
      if (matching) {
        if (await actOnMatching(action, list.query, list.total, changed, more)) clearAll();
        return;
      }
      const ids = [...selected].filter(([, run]) => allows(run, action)).map(([id]) => id);
      const done = await actOnRuns(action, ids, changed, more);
      if (action === "delete") for (const id of done) selected.delete(id);
      show();
    });
    return { action, button };
  }

  const show = () => {
    for (const [id, view] of views) {
      const is = matching || selected.has(id);
      view.box.checked = is;
      setAttribute(view.node, "aria-selected", is ? "true" : null);
    }
    const shown = [...views.keys()];
    const chosen = matching ? shown.length : shown.filter((id) => selected.has(id)).length;
    all.checked = shown.length > 0 && chosen === shown.length;
    all.indeterminate = chosen > 0 && chosen < shown.length;
    bar.hidden = selected.size === 0 && !matching;
    setText(count, matching ? `All ${formatCount(list.total)} that match are selected` : `${formatCount(selected.size)} selected`);
    offer.hidden = matching || !all.checked || list.total === null || list.total <= shown.length || !maySubmit();
    setText(offer, list.total === null ? "" : `Select all ${formatCount(list.total)} that match`);
    compare.hidden = matching;
    if (matching) {
      showMatchingButtons();
      return;
    }
    setAttribute(compare, "href", `#/compare?runs=${[...selected.keys()].join(",")}`);
    const runs = [...selected.values()];
    for (const { action, button } of buttons) {
      button.disabled = !runs.some((run) => allows(run, action));
      if (action === "unarchive") button.hidden = button.disabled;
      if (action === "archive") button.hidden = button.disabled && runs.some((run) => allows(run, "unarchive"));
    }
  };

  /** The runs are not all here, so the server decides for each what is legal. */
  const showMatchingButtons = () => {
    const archived = new URLSearchParams(list.query).get("archived");
    for (const { action, button } of buttons) {
      button.disabled = false;
      if (action === "unarchive") button.hidden = archived === null;
      if (action === "archive") button.hidden = archived === "true";
    }
  };
  offer.addEventListener("click", () => {
    matching = true;
    show();
    clear.focus();
  });
  /** Goes on with the runs of this page only, of those that match. */
  const narrow = () => {
    if (!matching) return;
    matching = false;
    for (const id of views.keys()) set(id, true);
  };

  const set = (id, is) => {
    if (is) selected.set(id, views.get(id).run);
    else selected.delete(id);
  };

  /** The ids in the order of the table. */
  const order = () => [...body.children].map((row) => Number(row.dataset.run));

  const toggle = (id, event) => {
    narrow();
    const is = !selected.has(id);
    const ids = order();
    const [from, to] = [ids.indexOf(anchor), ids.indexOf(id)];
    if (event?.shiftKey && from >= 0) {
      for (const between of ids.slice(Math.min(from, to), Math.max(from, to) + 1)) set(between, is);
    } else {
      set(id, is);
    }
    anchor = id;
    show();
  };

  all.addEventListener("change", () => {
    narrow();
    for (const id of views.keys()) set(id, all.checked);
    show();
  });
  const clearAll = () => {
    selected.clear();
    matching = false;
    show();
  };
  clear.addEventListener("click", clearAll);

  /** The row that has the focus, or null. */
  const focusedRow = () => document.activeElement?.closest?.("tr[data-run]") ?? null;
  const step = (by) => {
    const rows = [...body.children];
    const at = rows.indexOf(focusedRow());
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
    next?.querySelector(".run-name")?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    x: (event) => {
      const row = focusedRow();
      if (row !== null) toggle(Number(row.dataset.run), event);
    },
    "/": () => search.focus(),
    "?": showHelp,
    Escape: () => (selected.size > 0 || matching ? clearAll() : undefined),
  };
  const abort = new AbortController();
  document.addEventListener(
    "keydown",
    (event) => {
      const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog, [contenteditable]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const act = Object.hasOwn(keys, key) ? keys[key] : null;
      if (act === null) return;
      event.preventDefault();
      act(event);
    },
    { signal: abort.signal },
  );

  return {
    bar,
    all,
    toggle,
    /** The table shows these runs now, a page of those that match a query. */
    shown(runs, next) {
      const isSame = next.query === list.query;
      // Beyond the last page nobody counts.
      const total = next.total ?? (isSame ? list.total : null);
      if (!isSame || !total) matching = false;
      list = { query: next.query, total };
      for (const run of runs) if (selected.has(run.id)) selected.set(run.id, run);
      show();
    },
    stop: () => abort.abort(),
  };
}

const HELP = [
  ["j, k", "next, previous run"],
  ["x", "select the run, with shift all from the last one"],
  ["Enter", "open the run"],
  ["/", "search"],
  ["Escape", "clear the selection"],
  ["?", "this list"],
];

export function showHelp() {
  const list = HELP.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)]);
  const close = el("button", { class: "button", value: "no", autofocus: true }, "Close");
  openDialog("Keyboard", { content: [el("dl", { class: "keys" }, ...list)], buttons: [close] });
}
