// The form that submits a job: `#/submit`, or filled in with the spec of a run (`?like=12`).
//
// The fields are those of the API's own schema (`/v1/openapi.json`). Whatever the reader changes is shown at once as the JSON and the curl
// line that would be sent, and asked about with a dry run: what would run, what it takes, what theory says of it, and what is wrong, at the
// field that the error's JSON pointer names.

import { get, post } from "./api.js";
import { cardHead, el, replaceIfChanged, setText } from "./dom.js";
import { copyText, showJson, submitCommand } from "./json-view.js";
import { showConnection } from "./poll.js";
import { SpecForm } from "./submit-form.js";
import { planCard } from "./submit-plan.js";
import { starter } from "./submit-starters.js";
import { sweepEditor } from "./submit-sweep.js";
import { useful } from "./timing.js";
import { toast } from "./toast.js";

/** How long the form rests before the server is asked. */
const REST_MS = 350;

export function mountSubmit(container, query) {
  const abort = new AbortController();
  const like = query.get("like");
  const problems = el("ul", { class: "form-problems", role: "alert", hidden: true });
  const button = el("button", { type: "submit", class: "button primary", disabled: true }, "Submit");
  const json = el("pre", { class: "code", tabindex: "0", "aria-label": "Body as JSON" });
  const curl = el("pre", { class: "code", tabindex: "0", "aria-label": "curl command" });
  const copyJson = el("button", { type: "button", class: "button small" }, "Copy JSON");
  const copyCurl = el("button", { type: "button", class: "button small" }, "Copy as curl");
  const plan = planCard();
  const fields = el("div", { class: "form-fields" });
  const notice = el("p", { class: "notice", role: "status" }, "Loading…");
  const form = el("form", { class: "submit-form card", novalidate: true, hidden: true }, fields, problems, el("div", { class: "form-buttons" }, button));
  container.replaceChildren(
    el("div", { class: "page-head" }, el("h1", {}, like ? `Submit again like run ${like}` : "Submit a job")),
    notice,
    el(
      "div",
      { class: "submit" },
      form,
      el(
        "div",
        { class: "submit-side" },
        plan.node,
        el("section", { class: "card", "aria-label": "Request" }, cardHead("Request", copyJson, copyCurl), json, el("h3", {}, "curl"), curl),
      ),
    ),
  );
  document.title = "Submit · Trainyard";

  let timer = null;
  let asked = 0;
  let specForm = null;
  let sweep = null;
  let head = null;

  const body = () => ({ ...head.value(), spec: specForm.value(), ...(sweep.isEmpty() ? {} : { sweep: sweep.value() }) });

  const changed = () => {
    showJson(json, body());
    setText(curl, submitCommand(body()));
    button.disabled = true;
    plan.checking();
    asked += 1;
    clearTimeout(timer);
    timer = setTimeout(check, REST_MS);
  };

  /** Shows errors at their fields, and those of no field above the button. */
  const showErrors = (errors) => {
    for (const field of fields.querySelectorAll("[data-pointer]")) field.classList.remove("wrong");
    for (const place of fields.querySelectorAll(".field-error")) setText(place, "");
    for (const input of fields.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    const rest = errors.filter(({ pointer, detail }) => !placeError(fields, pointer, detail));
    replaceIfChanged(problems, JSON.stringify(rest), () => rest.map(({ pointer, detail }) => el("li", {}, `${pointer ? `${pointer}: ` : ""}${detail}`)));
    problems.hidden = rest.length === 0;
  };

  const check = async () => {
    const turn = ++asked;
    try {
      const answer = await post("/v1/jobs?dry_run=true", body(), { signal: abort.signal });
      if (turn !== asked) return;
      showConnection("live", "live");
      showErrors([]);
      await plan.show(answer, abort.signal);
      // The form may have changed while it was shown.
      if (turn === asked) button.disabled = false;
    } catch (error) {
      if (abort.signal.aborted || turn !== asked) return;
      if (error.status === undefined) showConnection("away", "no answer");
      const errors = error.problem?.errors ?? [];
      showErrors(errors.length > 0 ? errors : [{ pointer: "", detail: error.message }]);
      plan.wrong(errors.length);
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      // The same press that is sent twice makes one job.
      const key = `dashboard-${Date.now()}-${Math.random().toString(36).slice(2)}`;
      const accepted = await post("/v1/jobs", body(), { headers: { "idempotency-key": key } });
      toast(`Job ${accepted.id} queued`);
      location.assign(accepted.run_ids.length === 1 ? `#/runs/${accepted.run_ids[0]}` : `#/compare?job=${accepted.id}`);
    } catch (error) {
      showErrors(error.problem?.errors ?? [{ pointer: "", detail: error.message }]);
      button.disabled = false;
    }
  });
  copyJson.addEventListener("click", () => copyText(JSON.stringify(body(), null, 2), "JSON"));
  copyCurl.addEventListener("click", () => copyText(submitCommand(body()), "Command"));

  const start = async () => {
    const [document, run] = await Promise.all([
      get("/v1/openapi.json", abort.signal),
      like ? get(`/v1/runs/${encodeURIComponent(like)}`, abort.signal) : null,
    ]);
    const job = run === null ? { spec: starter("regression") } : { ...run, spec: withoutHashes(run.spec) };
    head = headFields(job, changed);
    specForm = new SpecForm(document.components.schemas, job.spec, changed, starter);
    sweep = sweepEditor(() => specForm.paths(), changed);
    fields.replaceChildren(head.node, specForm.node, sweep.node);
    notice.hidden = true;
    form.hidden = false;
    changed();
    useful();
  };
  start().catch((error) => {
    if (abort.signal.aborted) return;
    setText(notice, error.status === 404 ? `There is no run ${like}.` : `The form could not be made: ${error.message}`);
    notice.classList.add("error");
  });

  return {
    unmount() {
      clearTimeout(timer);
      abort.abort();
    },
  };
}

/** Puts an error at the field of its pointer or the nearest one around it; whether there is one. */
function placeError(fields, pointer, detail) {
  for (let at = pointer; at; at = at.slice(0, at.lastIndexOf("/"))) {
    const field = fields.querySelector(`[data-pointer="${CSS.escape(at)}"]`);
    if (!field) continue;
    field.classList.add("wrong");
    const place = field.querySelector(".field-error");
    if (!place) return false;
    setText(place, at === pointer ? detail : `${pointer.slice(at.length + 1)}: ${detail}`);
    field.querySelector("input, select, textarea")?.setAttribute("aria-invalid", "true");
    return true;
  }
  return false;
}

/** A spec to be changed: the hashes that the server pinned would tie it to what it was. */
function withoutHashes(spec) {
  const open = structuredClone(spec);
  for (const part of [open.problem, open.dataset]) delete part?.sha256;
  return open;
}

/** Name, project, tags and priority. */
function headFields(job, changed) {
  const tags = Object.entries(job.tags ?? {}).map(([tag, value]) => `${tag}=${value}`).join(", ");
  const field = (name, label, value, help) => {
    const input = el("input", { id: `job-${name}`, value: value ?? "", autocomplete: "off", "aria-describedby": `job-${name}-help` });
    input.addEventListener("input", changed);
    const node = el(
      "div",
      { class: "field", "data-pointer": `/${name}` },
      el("label", { for: `job-${name}` }, label),
      input,
      el("p", { class: "field-help", id: `job-${name}-help` }, help),
      el("p", { class: "field-error", role: "alert" }),
    );
    return { node, input };
  };
  const name = field("name", "Name", job.name, "What lists call the job.");
  const project = field("project", "Project", job.project, "What its runs are found under; it may be new.");
  const labels = field("tags", "Tags", tags, "tag=value, separated by commas.");
  const priority = field("priority", "Priority", job.priority || "", "Higher goes first; −1000 to 1000.");
  return {
    node: el("fieldset", { class: "field-group" }, el("legend", {}, "Job"), name.node, project.node, labels.node, priority.node),
    value() {
      const pairs = labels.input.value.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => pair.split("="));
      const level = priority.input.value.trim();
      return {
        ...(name.input.value ? { name: name.input.value } : {}),
        ...(project.input.value ? { project: project.input.value } : {}),
        ...(pairs.length > 0 ? { tags: Object.fromEntries(pairs.map(([tag, ...value]) => [tag.trim(), value.join("=").trim()])) } : {}),
        ...(level ? { priority: Number.isNaN(Number(level)) ? level : Number(level) } : {}),
      };
    },
  };
}
