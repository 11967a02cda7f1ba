// The sweep of a job: dotted paths into the spec, each with the values to try.

import { el, replaceIfChanged } from "./dom.js";

/** `paths()` are those that may be swept; `changed()` is told of every change. */
export function sweepEditor(paths, changed) {
  const rows = el("div", { class: "sweep-rows" });
  const list = el("datalist", { id: "sweep-paths" });
  const add = el("button", { type: "button", class: "button small" }, "Add a setting");
  const node = el(
    "fieldset",
    { class: "field-group", "data-pointer": "/sweep" },
    el("legend", {}, "Sweep"),
    el("p", { class: "field-help" }, "One run for each point of the product of the values, which are separated by commas."),
    rows,
    list,
    add,
    el("p", { class: "field-error", role: "alert" }),
  );
  let next = 0;

  const offer = () => replaceIfChanged(list, paths().join("\n"), () => paths().map((path) => el("option", { value: path })));

  add.addEventListener("click", () => {
    next += 1;
    const path = el("input", { id: `sweep-path-${next}`, list: "sweep-paths", placeholder: "optimizer.learning_rate", autocomplete: "off", "aria-label": "Setting" });
    const values = el("input", { id: `sweep-values-${next}`, placeholder: "0.1, 0.01", autocomplete: "off", "aria-label": "Values, separated by commas" });
    const remove = el("button", { type: "button", class: "button small", "aria-label": "Remove this setting from the sweep" }, "Remove");
    const row = el("div", { class: "sweep-row" }, path, values, remove, el("p", { class: "field-error", role: "alert" }));
    path.addEventListener("focus", offer);
    path.addEventListener("input", () => {
      // A pointer's tokens have ~ and / written otherwise.
      row.dataset.pointer = `/sweep/${path.value.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      changed();
    });
    values.addEventListener("input", changed);
    remove.addEventListener("click", () => {
      row.remove();
      add.focus();
      changed();
    });
    rows.append(row);
    path.focus();
  });

  const entries = () =>
    [...rows.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim())).filter(([path]) => path !== "");

  return {
    node,
    isEmpty: () => entries().length === 0,
    value: () => Object.fromEntries(entries().map(([path, values]) => [path, valuesOf(values)])),
  };
}

/** JSON values separated by commas; words without quotation marks are text. */
function valuesOf(text) {
  try {
    return JSON.parse(`[${text}]`);
  } catch {
    return text.split(",").map((part) => part.trim()).filter(Boolean).map(valueOf);
  }
}

function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
