// Calls to the server's HTTP API.
//
// The session cookie travels by itself (same origin, HttpOnly), so nothing here knows a token but `openSession`. Every error answer is
// problem+json and becomes an `ApiError`; a 401 also tells the session module, which shows the sign-in form. Polled resources go
// through `Conditional`, which sends the last ETag and reports "unchanged" on 304 without parsing anything.

const TIMEOUT_MS = 20_000;
/** For a picture on a slow line. */
const UPLOAD_TIMEOUT_MS = 300_000;

/** An answer with an error status. `problem` is the RFC 9457 body, if there was one. */
class ApiError extends Error {
  constructor(status, problem) {
    super(describe(status, problem));
    this.name = "ApiError";
    this.status = status;
    this.problem = problem;
  }
}

function describe(status, problem) {
  if (!problem) return `the server answered ${status}`;
  const fields = (problem.errors ?? []).map((error) => `${error.pointer || "the body"}: ${error.detail}`);
  const said = problem.detail || problem.title || `the server answered ${status}`;
  // The only field is what the detail says.
  return [said, ...fields.filter((field) => field !== said)].join("; ");
}

let whenUnauthorized = () => {};

/** Registers what happens when an answer is 401. */
export function onUnauthorized(listener) {
  whenUnauthorized = listener;
}

let clockOffsetMs = 0;

/** The server's wall clock, in milliseconds since 1970: durations are shown against it, not against the browser's. */
export function serverNow() {
  return Date.now() + clockOffsetMs;
}

function learnClock(response) {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(date)) return;
  // The header has whole seconds; smaller differences mean nothing.
  const offset = date + 500 - Date.now();
  clockOffsetMs = Math.abs(offset) > 2_000 ? offset : 0;
}

async function send(path, { method = "GET", headers = {}, body = null, signal = null, signingIn = false, timeoutMs = TIMEOUT_MS } = {}) {
  const timeout = AbortSignal.timeout(timeoutMs);
  const response = await fetch(path, {
    method,
    headers: { accept: "application/json", ...headers },
    body,
    credentials: "same-origin",
    cache: "no-store",
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  learnClock(response);
  if (response.ok || response.status === 304) return response;
  const problem = await response.json().catch(() => null);
  if (response.status === 401 && !signingIn) whenUnauthorized();
  throw new ApiError(response.status, problem);
}

/** The JSON at `path`. */
export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

/** Sends `value` as JSON; the answer's JSON, or null where it has no body. */
export async function sendJson(method, path, value, signal, timeoutMs) {
  const headers = value === undefined ? {} : { "content-type": "application/json" };
  const response = await send(path, { method, headers, body: value === undefined ? null : JSON.stringify(value), signal, timeoutMs });
  return response.status === 204 ? null : response.json();
}

/** What a POST of `body` as JSON is answered. */
export async function post(path, body, { headers = {}, signal } = {}) {
  const json = { "content-type": "application/json", ...headers };
  return (await send(path, { method: "POST", body: JSON.stringify(body), headers: json, signal })).json();
}

/** Sends a picture to be coloured with a run's model; the picture as it stands then. */
export async function sendPicture(runId, picture) {
  const headers = { "content-type": picture.type };
  const path = `/v1/runs/${runId}/colourize`;
  return (await send(path, { method: "POST", headers, body: picture, timeoutMs: UPLOAD_TIMEOUT_MS })).json();
}

/** The bodies of a list's pages, following `rel="next"`. */
export async function* pages(path, signal) {
  for (let next = path; next !== null; ) {
    const response = await send(next, { signal });
    next = nextPage(response);
    yield { body: await response.json(), next };
  }
}

/** A list that only grows at its end: full pages are asked for once, the last one again and again, as long as it is another. */
export class Tail {
  constructor(path) {
    this.items = [];
    this.page = new Conditional(path);
    this.last = [];
  }

  /** All items so far. */
  async get(signal) {
    for (;;) {
      const answer = await this.page.get(signal);
      if (answer === null) break;
      this.last = answer.body.items;
      if (answer.next === null) break;
      this.items.push(...this.last);
      this.last = [];
      this.page = new Conditional(answer.next);
    }
    return [...this.items, ...this.last];
  }
}

/** Events of a run, which are told by their revisions: only those after the last known one are asked for. */
export class Events {
  constructor(path) {
    this.path = path;
    this.items = [];
  }

  /** All events so far. */
  async get(signal) {
    const last = this.items.at(-1)?.revision ?? 0;
    for await (const { body } of pages(`${this.path}?limit=1000&after_revision=${last}`, signal)) this.items.push(...body.items);
    return this.items;
  }
}

/** One resource that is asked for again and again. */
export class Conditional {
  constructor(path) {
    this.path = path;
    this.etag = null;
  }

  /**
   * `{body, next, total, arrived}` (`next`: path of the next page or null; `total`: items on all pages or null; `arrived`: when the answer
   * began to come, in the time of `performance.now()`), or null if nothing changed.
   */
  async get(signal) {
    const headers = this.etag ? { "if-none-match": this.etag } : {};
    const response = await send(this.path, { headers, signal });
    if (response.status === 304) return null;
    const arrived = performance.now();
    const body = await response.json();
    this.etag = response.headers.get("etag");
    const total = response.headers.get("x-total-count");
    return { body, next: nextPage(response), total: total === null ? null : Number(total), arrived };
  }
}

/** The path of the next page from `Link: <…>; rel="next"`, or null. */
function nextPage(response) {
  const link = response.headers.get("link") ?? "";
  const match = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link);
  if (!match) return null;
  const url = new URL(match[1], response.url);
  return url.origin === location.origin ? url.pathname + url.search : null;
}

/** `cancel`, `pause`, `resume` or `retry` of a run; the run as it is then. */
export async function actOnRun(id, action) {
  return (await send(`/v1/runs/${id}/${action}`, { method: "POST" })).json();
}

/** The address of an artifact; slashes in its name stay slashes. */
export function artifactPath(runId, name) {
  return `/v1/runs/${runId}/artifacts/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** Exchanges a token for the session cookie; who signed in: `{name, scopes}`. */
export async function openSession(token) {
  const headers = { authorization: `Bearer ${token}` };
  return (await send("/v1/session", { method: "POST", headers, signingIn: true })).json();
}

export async function closeSession() {
  await send("/v1/session", { method: "DELETE" });
}
