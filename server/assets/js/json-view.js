// A spec as readable JSON, and as the curl command that submits it again.

import { el, replaceIfChanged } from "./dom.js";
import { toast } from "./toast.js";

/** Longest text that is shown; the copied command always has all of it. */
const LONGEST = 20_000;

/** JSON with two spaces of indentation; lists of plain values stay on one line. */
function prettyJson(value, indent = "") {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const plain = value.every((item) => item === null || typeof item !== "object");
    if (plain) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
    return `[\n${value.map((item) => inner + prettyJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value);
  if (entries.length === 0) return "{}";
  return `{\n${entries.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${prettyJson(item, inner)}`).join(",\n")}\n${indent}}`;
}

/** Shows `value` in the `pre` element `node`, with keys, strings and other values told apart. */
export function showJson(node, value) {
  const text = prettyJson(value);
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n… ${text.length - LONGEST} more characters` : text;
  replaceIfChanged(node, shown, () => tokens(shown));
}

function* tokens(text) {
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g;
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) yield document.createTextNode(text.slice(end, match.index));
    const kind = match[2] ? "json-key" : match[1] ? "json-string" : "json-value";
    yield el("span", { class: kind }, match[1] ?? match[0]);
    if (match[2]) yield document.createTextNode(match[2]);
    end = match.index + match[0].length;
  }
  yield document.createTextNode(text.slice(end));
}

/** The command that submits the run's spec again. */
export function curlCommand(run) {
  const body = { ...(run.name ? { name: run.name } : {}), ...(Object.keys(run.tags).length > 0 ? { tags: run.tags } : {}), spec: run.spec };
  return submitCommand(body);
}

/** The command that submits this body. */
export function submitCommand(body) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  return [
    `curl -sS '${location.origin}/v1/jobs'`,
    '-H "Authorization: Bearer $TRAINYARD_TOKEN"',
    "-H 'Content-Type: application/json'",
    `-d '${quoted}'`,
  ].join(" \\\n  ");
}

/** Copies `text`; pages that are not on a secure origin have no clipboard interface, only the old command. */
export async function copyText(text, what) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
    toast(`${what} copied`);
  } catch (error) {
    toast(`${what} not copied: ${error.message}`, "error");
  }
}

function copyBySelection(text) {
  const area = el("textarea", { class: "visually-hidden", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser does not allow it");
}
