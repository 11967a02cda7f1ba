// A form for a spec, made from the API's schema: one fieldset an object, one field a property, choices where the schema has them.
//
// A setting that belongs to some optimizers or sources only is shown with those; which ones is told by APPLIES, beside the schema, and the
// server has the last word in the dry run. An empty field is left out of the spec, and the server writes its default.

import { el } from "./dom.js";
import { formatSetting } from "./format.js";

/** Written by the server. */
const HIDDEN = new Set(["sha256"]);
/** Path → whether the spec has it. */
const APPLIES = {
  "problem.x": ({ problem }) => problem.source === "inline",
  "problem.t": ({ problem }) => problem.source === "inline",
  "problem.n": ({ problem }) => problem.source === "synthetic",
  "problem.d": ({ problem }) => problem.source === "synthetic",
  "problem.condition": ({ problem }) => problem.source === "synthetic",
  "problem.noise": ({ problem }) => problem.source === "synthetic",
  "problem.seed": ({ problem }) => problem.source === "synthetic",
  "problem.name": ({ problem }) => problem.source === "dataset",
  "problem.target": ({ problem }) => problem.source === "dataset",
  "problem.standardize": ({ problem }) => problem.source === "dataset",
  "problem.intercept": ({ problem }) => problem.source === "dataset",
  "optimizer.batch_size": ({ kind, optimizer }) => kind !== "colourization" && optimizer.name !== "gd",
  "optimizer.beta": ({ optimizer }) => ["momentum", "rmsprop"].includes(optimizer.name),
  "optimizer.beta1": ({ optimizer }) => ["adam", "adamw"].includes(optimizer.name),
  "optimizer.beta2": ({ optimizer }) => ["adam", "adamw"].includes(optimizer.name),
  "optimizer.epsilon": ({ optimizer }) => ["rmsprop", "adam", "adamw"].includes(optimizer.name),
  "optimizer.weight_decay": ({ kind, optimizer }) => kind !== "regularization_pair" && optimizer.name !== "adam",
  "outer_learning_rate": ({ outer_optimizer: outer }) => outer === "gradient_descent",
  "dataset.category": ({ dataset }) => dataset.name !== "synthetic",
  "dataset.train_images": ({ dataset }) => dataset.name === "synthetic",
  "dataset.val_images": ({ dataset }) => dataset.name === "synthetic",
  "dataset.size": ({ dataset }) => dataset.name === "synthetic",
  "dataset.seed": ({ dataset }) => dataset.name === "synthetic",
};

export class SpecForm {
  /** `schemas` are the document's, `spec` fills the form, `starter(kind)` is what another kind starts with. */
  constructor(schemas, spec, changed, starter) {
    this.schemas = schemas;
    this.spec = structuredClone(spec);
    this.changed = changed;
    this.starter = starter;
    this.node = el("div", { class: "spec-form" });
    this.kinds = new Map(this.resolve(schemas.Spec).oneOf.map((branch) => this.resolve(branch)).map((schema) => [kindOf(schema), schema]));
    this.build();
  }

  value() {
    return structuredClone(this.spec);
  }

  /** Dotted paths of all fields that apply, for a sweep. */
  paths() {
    return [...this.node.querySelectorAll("[data-path]")].filter((field) => !field.hidden).map((field) => field.dataset.path).filter((path) => path !== "kind");
  }

  resolve(schema) {
    const name = schema.$ref?.split("/").pop();
    return name ? this.schemas[name] : schema;
  }

  build() {
    const schema = this.kinds.get(this.spec.kind);
    this.fields = [];
    const kind = el("select", { id: "spec-kind" }, ...[...this.kinds.keys()].map((name) => el("option", { value: name }, name.replaceAll("_", " "))));
    kind.value = this.spec.kind;
    kind.addEventListener("change", () => {
      this.spec = structuredClone(this.starter(kind.value));
      this.build();
      this.node.querySelector("#spec-kind").focus();
      this.changed();
    });
    const kindField = el(
      "div",
      { class: "field", "data-pointer": "/spec/kind", "data-path": "kind" },
      el("label", { for: "spec-kind" }, "kind"),
      kind,
      el("p", { class: "field-help" }, firstSentence(schema.description)),
      el("p", { class: "field-error", role: "alert" }),
    );
    this.node.replaceChildren(el("fieldset", { class: "field-group" }, el("legend", {}, "Spec"), kindField, ...this.group(schema, [])));
    this.apply();
  }

  /** Fields of an object's properties; its objects come last, as fieldsets of their own. */
  group(schema, path) {
    const properties = Object.entries(schema.properties).filter(([name]) => name !== "kind" && !HIDDEN.has(name));
    // The document has them by the alphabet: choices first, then what must be said.
    const rank = (name) => (name === "source" || name === "name" ? 0 : schema.required?.includes(name) ? 1 : 2);
    properties.sort(([a], [b]) => rank(a) - rank(b));
    const made = properties.map(([name, property]) => {
      const inner = this.inner(property);
      const at = [...path, name];
      return inner.properties ? { block: this.fieldset(inner, property, at, schema.required?.includes(name)) } : { field: this.field(inner, property, at) };
    });
    return [...made.filter((it) => it.field).map((it) => it.field), ...made.filter((it) => it.block).map((it) => it.block)];
  }

  /** The schema behind references and `null` alternatives. */
  inner(property) {
    const alternatives = (property.oneOf ?? property.anyOf ?? []).filter((branch) => branch.type !== "null");
    return this.resolve(alternatives.length === 1 ? alternatives[0] : property);
  }

  fieldset(schema, property, path, isRequired) {
    const legend = el("legend", {}, path.at(-1).replaceAll("_", " "));
    const pointer = `/spec/${path.join("/")}`;
    const error = el("p", { class: "field-error", role: "alert" });
    if (isRequired) return this.remember(el("fieldset", { class: "field-group", "data-pointer": pointer }, legend, ...this.group(schema, path), error), path);
    // What may be missing as a whole has a box that takes it in.
    const id = `spec-${path.join("-")}`;
    const box = el("input", { type: "checkbox", id });
    const inside = el("div", { class: "field-inside" });
    const show = () => inside.replaceChildren(...(box.checked ? this.group(schema, path) : []));
    box.checked = this.read(path) !== undefined;
    box.addEventListener("change", () => {
      this.write(path, box.checked ? Object.fromEntries((schema.required ?? []).map((name) => [name, 5])) : undefined);
      show();
      this.apply();
      this.changed();
    });
    show();
    legend.replaceChildren(el("label", { for: id }, box, ` ${path.at(-1).replaceAll("_", " ")}`));
    return this.remember(el("fieldset", { class: "field-group", "data-pointer": pointer }, legend, el("p", { class: "field-help" }, property.description ?? schema.description ?? ""), inside, error), path);
  }

  field(schema, property, path) {
    const id = `spec-${path.join("-")}`;
    const help = property.description ?? schema.description ?? "";
    const choices = schema.enum ?? null;
    const value = this.read(path);
    let input;
    if (choices) {
      const options = choices.map((choice) => el("option", { value: choice }, choice));
      input = el("select", { id }, ...(value === undefined ? [el("option", { value: "" }, "default")] : []), ...options);
      input.value = value ?? "";
      input.addEventListener("change", () => this.set(path, input.value === "" ? undefined : input.value));
    } else if (typesOf(schema).includes("boolean")) {
      input = el("input", { id, type: "checkbox" });
      input.checked = value === true;
      input.addEventListener("change", () => this.set(path, input.checked ? true : undefined));
    } else if (typesOf(schema).includes("array")) {
      input = el("textarea", { id, rows: "3", spellcheck: "false" });
      input.value = value === undefined ? "" : JSON.stringify(value);
      input.addEventListener("input", () => this.set(path, parsed(input.value)));
    } else {
      const isText = typesOf(schema).includes("string") && !schema.oneOf;
      input = el("input", { id, autocomplete: "off", spellcheck: "false", inputmode: isText || schema.oneOf ? null : "decimal", placeholder: defaultIn(help) });
      input.value = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
      input.addEventListener("input", () => this.set(path, isText ? input.value || undefined : parsed(input.value)));
    }
    const helpId = `${id}-help`;
    input.setAttribute("aria-describedby", helpId);
    return this.remember(
      el(
        "div",
        { class: "field", "data-pointer": `/spec/${path.join("/")}`, "data-path": path.join(".") },
        el("label", { for: id }, path.at(-1).replaceAll("_", " ")),
        input,
        el("p", { class: "field-help", id: helpId }, help.replaceAll("`", "")),
        el("p", { class: "field-error", role: "alert" }),
      ),
      path,
    );
  }

  remember(node, path) {
    this.fields.push([path, node]);
    return node;
  }

  read(path) {
    return path.reduce((value, name) => value?.[name], this.spec);
  }

  write(path, value) {
    const parent = path.slice(0, -1).reduce((object, name) => (object[name] ??= {}), this.spec);
    if (value === undefined) delete parent[path.at(-1)];
    else parent[path.at(-1)] = value;
  }

  set(path, value) {
    this.write(path, value);
    this.apply();
    this.changed();
  }

  /** Shows the fields that apply, and takes the others' values out of the spec. */
  apply() {
    for (const [path, node] of this.fields) {
      const applies = APPLIES[path.join(".")];
      if (!applies || !node.isConnected && !this.node.contains(node)) continue;
      const shown = this.read(path.slice(0, -1)) !== undefined && applies(this.spec);
      node.hidden = !shown;
      const input = node.querySelector("input, select, textarea");
      if (!shown) this.write(path, undefined);
      else if (this.read(path) === undefined && input.value && input.type !== "checkbox") {
        this.write(path, input.tagName === "TEXTAREA" || input.inputMode === "decimal" ? parsed(input.value) : input.value);
      }
    }
  }
}

/** The kind that a branch of the spec is for. */
function kindOf(schema) {
  const { enum: kinds, const: kind } = schema.properties.kind;
  return kind ?? kinds[0];
}

function typesOf(schema) {
  const own = [schema.type ?? []].flat();
  return own.length > 0 ? own : (schema.oneOf ?? []).flatMap(typesOf).filter((type) => type !== "array");
}

/** A number or another JSON value; what is none goes as text, and the server says what is wrong with it. */
function parsed(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  try {
    return JSON.parse(trimmed);
  } catch {
    return trimmed;
  }
}

/** The default that a description has in parentheses at its end: `… (0.9).` */
function defaultIn(help) {
  const found = /\(([-\w.]+)\)\.?$/.exec(help.trim());
  return found ? `default ${formatSetting(found[1])}` : null;
}

function firstSentence(text = "") {
  return text.split(/(?<=\.)\s/)[0].replaceAll("`", "");
}

