// Modal dialogs: a question, or a form. The browser keeps the focus inside and gives it back.

import { el } from "./dom.js";

let count = 0;

/** A dialog with this title; `content` is put under it. Resolves to what it was closed with (`""` for Escape). */
export function openDialog(title, { content = [], buttons, submit = null, className = "" }) {
  count += 1;
  const id = `dialog-title-${count}`;
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { id }, title),
    ...content,
    el("div", { class: "dialog-buttons" }, ...buttons),
  );
  const dialog = el("dialog", { class: `dialog ${className}`.trim(), "aria-labelledby": id }, form);
  // A form that has something to send closes by itself, once it was taken.
  if (submit !== null) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (await submit()) dialog.close("yes");
    });
  }
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Asks whether to go on. */
export async function confirmDialog(title, text, yesLabel, noLabel) {
  const yes = el("button", { class: "button danger", value: "yes" }, yesLabel);
  const no = el("button", { class: "button", value: "no", autofocus: true }, noLabel);
  return (await openDialog(title, { content: [el("p", {}, text)], buttons: [no, yes] })) === "yes";
}

/** A labelled input, select or textarea: `{node, input}`. */
export function field(label, input, help = null) {
  count += 1;
  input.id ||= `field-${count}`;
  const hint = help === null ? null : el("span", { class: "minor", id: `${input.id}-help` }, help);
  if (hint !== null) input.setAttribute("aria-describedby", hint.id);
  return { input, node: el("div", { class: "field" }, el("label", { for: input.id }, label), input, hint) };
}
