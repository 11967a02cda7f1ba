// Signing in and out.
//
// The address that the server prints carries a token once, in the fragment, which browsers do not send. `takeTokenFromAddress` removes
// it before anything else runs, so it stays neither in the address bar nor in the history; it is exchanged for an HttpOnly cookie and
// forgotten. Nothing of it is kept in web storage. Without a session, a form asks for a token and does the same.

import { get, openSession } from "./api.js";
import { el, setText } from "./dom.js";

/** The token of `#token=…` or null. The address keeps any other part of the fragment (`#/runs/1&token=…`). */
export function takeTokenFromAddress() {
  const match = /^#(.*?)[&?]?\btoken=([^&]+)(?:&|$)/.exec(location.hash);
  if (!match) return null;
  const route = match[1].startsWith("/") ? match[1] : "/";
  history.replaceState(null, "", `${location.pathname}${location.search}#${route}`);
  try {
    return decodeURIComponent(match[2]);
  } catch {
    return match[2];
  }
}

let session = null;

/** Notes who is signed in: `{name, scopes}`, or null for nobody known. */
export function setSession(next) {
  session = next;
}

/** Asks the server who is signed in; where that cannot be told, the pages find out themselves. */
export async function loadSession() {
  setSession(await get("/v1/session").catch(() => null));
}

/** Whether buttons that change runs make sense. The server decides; this only spares the reader refusals. */
export function maySubmit() {
  return session === null || session.scopes.some((scope) => scope === "submit" || scope === "admin");
}

/** Shows the sign-in form in `container`; calls `signedIn` once the server took a token. */
export function mountSignIn(container, { message = "", signedIn }) {
  const error = el("p", { class: "form-error", id: "sign-in-error", role: "alert" }, message);
  const input = el("input", {
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "sign-in-help sign-in-error",
  });
  const button = el("button", { type: "submit", class: "button primary" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    const token = input.value.trim();
    if (!token) return;
    button.disabled = true;
    setText(error, "");
    try {
      setSession(await openSession(token));
      input.value = "";
      signedIn();
    } catch (failure) {
      setText(error, failure.status === 401 ? "The server does not know this token." : `Not signed in: ${failure.message}.`);
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  const form = el(
    "form",
    { class: "card sign-in", onsubmit: submit },
    el("h1", {}, "Sign in"),
    el("label", { for: "token" }, "Token"),
    input,
    el(
      "p",
      { class: "help", id: "sign-in-help" },
      "The server printed an address with a token when it first started. The admin token is also in the file ",
      el("code", {}, "admin.token"),
      " of its data folder.",
    ),
    error,
    button,
  );
  container.replaceChildren(form);
  input.focus();
  return { unmount() {} };
}
