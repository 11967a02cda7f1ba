// Named views: queries of the list that everybody who uses this server shares. Picking one goes to its address.

import { sendJson } from "./api.js";
import { dialogButtons } from "./annotate.js";
import { field, openDialog } from "./dialog.js";
import { el, replaceIfChanged, setText } from "./dom.js";
import { address, viewQuery } from "./runs-query.js";
import { maySubmit } from "./session.js";
import { toast } from "./toast.js";

const path = (name) => `/v1/views/${encodeURIComponent(name)}`;

/** `changed()` is called when a view was kept or forgotten. */
export function viewPicker(changed) {
  const select = el("select", { id: "view" });
  const save = el("button", { type: "button", class: "button" }, "Save view");
  const remove = el("button", { type: "button", class: "button" }, "Delete view");
  const node = el("div", { class: "views" }, el("label", { for: "view" }, "View"), select, save, remove);
  let views = [];
  let query = "";

  const current = () => views.find((view) => canonical(view.query) === query) ?? null;
  const show = () => {
    const names = ["", ...views.map((view) => view.name)];
    replaceIfChanged(select, JSON.stringify(names), () =>
      names.map((name) => el("option", { value: name }, name === "" ? "–" : name)),
    );
    select.value = current()?.name ?? "";
    save.hidden = !maySubmit();
    remove.hidden = !maySubmit() || current() === null;
  };

  select.addEventListener("change", () => {
    const view = views.find(({ name }) => name === select.value);
    location.hash = view ? address(new URLSearchParams(view.query)) : "#/";
  });

  save.addEventListener("click", async () => {
    const name = field("Name", el("input", { type: "text", required: true, maxlength: "100", value: current()?.name ?? "" }));
    const error = el("p", { class: "form-error", role: "alert" });
    const submit = async () => {
      try {
        const view = await sendJson("PUT", path(name.input.value.trim()), { query });
        views = [...views.filter((other) => other.name !== view.name), view].sort((one, other) => one.name.localeCompare(other.name));
        show();
        toast(`View ${view.name}: saved`);
        changed();
        return true;
      } catch (failure) {
        setText(error, `Not saved: ${failure.message}`);
        return false;
      }
    };
    await openDialog("Save view", { content: [name.node, error], buttons: dialogButtons("Save"), submit });
  });

  remove.addEventListener("click", async () => {
    const view = current();
    try {
      await sendJson("DELETE", path(view.name));
    } catch (error) {
      if (error.status !== 404) {
        toast(`View ${view.name} was not deleted: ${error.message}`, "error");
        return;
      }
    }
    views = views.filter(({ name }) => name !== view.name);
    show();
    select.focus();
    toast(`View ${view.name}: deleted`, "info", async () => {
      await sendJson("PUT", path(view.name), { query: view.query }).catch((error) => toast(error.message, "error"));
      changed();
    });
    changed();
  });

  show();
  return {
    node,
    update(next) {
      query = viewQuery(next).toString();
      show();
    },
    setViews(next) {
      views = next;
      show();
    },
  };
}

/** A query as this page writes it, so that two that ask for the same are the same text. */
function canonical(query) {
  return viewQuery(new URLSearchParams(query)).toString();
}
