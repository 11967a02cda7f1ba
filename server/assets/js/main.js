// The dashboard's start and its routes.
//
// Plain ES modules, no build step, nothing from elsewhere. Pages are functions `mount(container, …) → {unmount(), navigate?(query)}`;
// the route is in the fragment, so the server serves one page:
//
//   #/                   runs; `#/?state=running&sort=-duration` filtered            runs.js
//   #/runs/12            one run; `?show=step_ms` draws more of its metrics          run.js
//   #/compare?runs=1,2   runs side by side, or `?job=3` all of a job                 compare.js
//   #/submit             the form; `?like=12` filled in with that run's spec         submit.js
//   anything else        that there is no such page                                  here
//   (no session)         the sign-in form                                            session.js
//
// The token in a printed address is taken out before anything else happens.

import { closeSession, onUnauthorized, openSession } from "./api.js";
import { mountCompare } from "./compare.js";
import { el, setAttribute } from "./dom.js";
import { showConnection } from "./poll.js";
import { mountRun } from "./run.js";
import { mountRuns } from "./runs.js";
import { loadSession, maySubmit, mountSignIn, setSession, takeTokenFromAddress } from "./session.js";
import { mountSubmit } from "./submit.js";
import { themeToggle } from "./theme.js";
import { begin, useful } from "./timing.js";
import { toast } from "./toast.js";

const container = document.getElementById("page");
const signOutButton = document.getElementById("sign-out");
const navDocs = document.getElementById("nav-docs");
const navRuns = document.getElementById("nav-runs");
const navSubmit = document.getElementById("nav-submit");

const PAGES = {
  runs: ({ query }) => mountRuns(container, query),
  run: ({ id, query }) => mountRun(container, id, query),
  compare: ({ query }) => mountCompare(container, query),
  submit: ({ query }) => mountSubmit(container, query),
  missing: () => mountMissing(),
};
/** Pages without a number in their address. MLflow's client prints that of an experiment too. */
const PLAIN = [[/^\/?$/, "runs"], [/^\/experiments\/\d+$/, "runs"], [/^\/compare$/, "compare"], [/^\/submit$/, "submit"]];

let page = null;
let route = null;

/** The route in the address: `{name, id, query}`. */
function readRoute() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?", 2);
  // The longer form is what MLflow's client prints.
  const run = /^(?:\/experiments\/\d+)?\/runs\/(\d+)$/.exec(path);
  const other = PLAIN.find(([form]) => form.test(path))?.[1] ?? "missing";
  return { name: run ? "run" : other, id: run ? Number(run[1]) : null, query: new URLSearchParams(query) };
}

function show() {
  const next = readRoute();
  signOutButton.hidden = false;
  navDocs.hidden = false;
  navSubmit.hidden = !maySubmit();
  setAttribute(navRuns, "aria-current", next.name === "runs" ? "page" : null);
  setAttribute(navSubmit, "aria-current", next.name === "submit" ? "page" : null);
  const samePage = page?.navigate && route?.name === next.name && route.id === next.id;
  route = next;
  if (samePage) {
    page.navigate(next.query);
    return;
  }
  page?.unmount();
  begin();
  page = PAGES[next.name](next);
  scrollTo(0, 0);
}

function mountMissing() {
  const notice = el("p", { class: "notice", role: "status" }, "There is no such page. ", el("a", { href: "#/" }, "Go to the runs"));
  container.replaceChildren(el("div", { class: "page-head" }, el("h1", {}, "Not found")), notice);
  document.title = "Not found · Trainyard";
  // Nothing is asked of the server here, so the line would go on to say what the page before found, or that it is connecting.
  showConnection("waiting", "idle");
  useful();
  return { unmount() {} };
}

function showSignIn(message = "") {
  if (route?.name === "sign-in") return;
  page?.unmount();
  route = { name: "sign-in" };
  signOutButton.hidden = true;
  navDocs.hidden = true;
  navSubmit.hidden = true;
  setAttribute(navRuns, "aria-current", null);
  setAttribute(navSubmit, "aria-current", null);
  showConnection("waiting", "signed out");
  document.title = "Sign in · Trainyard";
  page = mountSignIn(container, {
    message,
    signedIn: () => {
      route = null;
      show();
    },
  });
}

async function start() {
  const token = takeTokenFromAddress();
  if (token === null) {
    await loadSession();
    if (route?.name !== "sign-in") show();
    return;
  }
  try {
    setSession(await openSession(token));
    route = null;
    show();
  } catch (error) {
    showSignIn(error.status === 401 ? "The token in the address is not valid, or no longer." : `Not signed in: ${error.message}.`);
  }
}

onUnauthorized(() => showSignIn());

signOutButton.addEventListener("click", async () => {
  try {
    await closeSession();
    showSignIn();
  } catch (error) {
    if (error.status !== 401) toast(`Not signed out: ${error.message}`, "error");
  }
});

themeToggle(document.getElementById("theme"));

// The fragment is the route, so this link must not change it.
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault();
  container.focus();
});

// A printed address that is typed into an open tab changes the fragment without loading the page.
window.addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) start();
  else if (route?.name !== "sign-in") show();
});

start();
