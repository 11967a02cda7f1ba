// The forms for what people note on runs: name, project, tags and notes of one, and the tags of many.
//
// They send a merge patch of what was changed and nothing else, so two people who edit different things do not undo each other. They are
// modal and stand outside the table, so nothing that comes in meanwhile touches them.

import { get, sendJson } from "./api.js";
import { field, openDialog } from "./dialog.js";
import { el, setText } from "./dom.js";
import { toast } from "./toast.js";

/** Opens the form of one run. `changed(run)` is told what it was changed into. */
export async function editRun(shown, changed) {
  // What the row shows may be a moment old, and tags are merged.
  const run = await get(`/v1/runs/${shown.id}`).catch(() => shown);
  const projects = await knownProjects();
  const name = field("Name", el("input", { type: "text", maxlength: "200", value: run.name ?? "" }), "Empty: the job's");
  const project = field("Project", el("input", { type: "text", maxlength: "100", value: run.project ?? "", list: "known-projects" }));
  const tags = tagList(run.tags);
  const notes = field("Notes", el("textarea", { rows: "6", maxlength: "20000" }));
  notes.input.value = run.notes ?? "";
  const error = el("p", { class: "form-error", role: "alert" });

  const submit = async () => {
    const patch = {};
    const put = (key, value, before) => {
      if (value !== (before ?? "")) patch[key] = value === "" ? null : value;
    };
    put("name", name.input.value.trim(), run.name);
    put("project", project.input.value.trim(), run.project);
    put("notes", notes.input.value, run.notes);
    const after = tags.read();
    const changes = {};
    for (const [tag, value] of Object.entries(after)) if (run.tags[tag] !== value) changes[tag] = value;
    for (const tag of Object.keys(run.tags)) if (!(tag in after)) changes[tag] = null;
    if (Object.keys(changes).length > 0) patch.tags = changes;
    if (Object.keys(patch).length === 0) return true;
    try {
      changed(await sendJson("PATCH", `/v1/runs/${run.id}`, patch));
      toast(`Run ${run.id}: saved`);
      return true;
    } catch (failure) {
      setText(error, `Not saved: ${failure.message}`);
      return false;
    }
  };

  await openDialog(`Edit run ${run.id}`, {
    className: "editor",
    content: [name.node, project.node, projectList(projects), tags.node, notes.node, error],
    buttons: dialogButtons("Save"),
    submit,
  });
}

/** Asks which tags many runs are to get and which they are to lose: `{tags}` of the request, or null where the form was closed. */
export async function askTags() {
  const set = tagList({ "": "" }, "Set");
  const taken = tagList({}, "Take away", false);
  const error = el("p", { class: "form-error", role: "alert" });
  let asked = null;
  const submit = () => {
    const tags = { ...Object.fromEntries(Object.keys(taken.read()).map((tag) => [tag, null])), ...set.read() };
    if (Object.keys(tags).length > 0) asked = { tags };
    else setText(error, "Name a tag to set or to take away");
    return asked !== null;
  };
  await openDialog("Tag runs", { className: "editor", content: [set.node, taken.node, error], buttons: dialogButtons("Tag"), submit });
  return asked;
}

/** The buttons under a form: Enter in one of its fields is the second. */
export function dialogButtons(label) {
  return [
    el("button", { type: "button", class: "button", onclick: (event) => event.currentTarget.closest("dialog").close("no") }, "Close"),
    el("button", { class: "button primary", value: "yes" }, label),
  ];
}

async function knownProjects() {
  return get("/v1/projects").then(({ items }) => items.map((project) => project.name), () => []);
}

function projectList(names) {
  return el("datalist", { id: "known-projects" }, ...names.map((name) => el("option", { value: name })));
}

/** Tags as rows of a name and, unless names alone are asked for, a value: `{node, read()}`. */
function tagList(tags, legend = "Tags", valued = true) {
  const rows = el("div", { class: "tag-rows" });
  const add = (tag = "", value = "") => {
    const name = el("input", { type: "text", class: "tag-name", maxlength: "100", "aria-label": "Tag", placeholder: "tag", value: tag });
    const text = el("input", { type: "text", class: "tag-value", maxlength: "500", "aria-label": "Value", placeholder: "value", value });
    const remove = el("button", { type: "button", class: "button small", "aria-label": `Remove the tag ${tag}`.trim() }, "Remove");
    const row = el("div", { class: valued ? "tag-row" : "tag-row name-alone" }, name, valued ? text : null, remove);
    remove.addEventListener("click", () => {
      row.remove();
      more.focus();
    });
    rows.append(row);
    return name;
  };
  for (const [tag, value] of Object.entries(tags)) add(tag, value);
  const more = el("button", { type: "button", class: "button small", onclick: () => add().focus() }, valued ? "Add a tag" : "Add a name");
  return {
    node: el("fieldset", { class: "field" }, el("legend", {}, legend), rows, more),
    read() {
      const pairs = [...rows.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()));
      return Object.fromEntries(pairs.filter(([tag]) => tag !== "").map(([tag, value = ""]) => [tag, value]));
    },
  };
}
