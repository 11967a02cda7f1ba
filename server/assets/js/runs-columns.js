// Which columns of the table are shown. The choice is kept in this browser only.

import { el, setAttribute } from "./dom.js";
import { COLUMNS } from "./runs-row.js";

const KEY = "trainyard.hidden-columns";

/** A list of boxes, one a column that may be hidden; hides them in `table`. */
export function columnChoice(table) {
  const hidden = new Set(load());
  const show = () => setAttribute(table, "data-hidden", [...hidden].join(" ") || null);
  const boxes = COLUMNS.filter((column) => column.optional).map(({ name, heading }) => {
    const box = el("input", { type: "checkbox" });
    box.checked = !hidden.has(name);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(name);
      else hidden.add(name);
      keep([...hidden]);
      show();
    });
    return el("label", {}, box, ` ${heading}`);
  });
  show();
  return el(
    "details",
    { class: "column-choice" },
    el("summary", { class: "button" }, "Columns"),
    el("div", { class: "column-list", role: "group", "aria-label": "Columns" }, ...boxes),
  );
}

function load() {
  try {
    const names = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return COLUMNS.filter((column) => column.optional && names.includes(column.name)).map((column) => column.name);
  } catch {
    return [];
  }
}

function keep(names) {
  try {
    if (names.length > 0) localStorage.setItem(KEY, JSON.stringify(names));
    else localStorage.removeItem(KEY);
  } catch {
    // A browser that keeps nothing shows all columns the next time.
  }
}
