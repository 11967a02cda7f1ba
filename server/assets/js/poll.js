// Asking again and again, politely.
//
// A `Poller` runs one task at an interval, never twice at once, not while the tab is hidden, and with growing pauses while the server is
// away. It tells the connection line in the top bar how the last call went. `Live` has a poller run as soon as the server tells of a change.

import { setAttribute, setText } from "./dom.js";
import { heard } from "./timing.js";

const LONGEST_PAUSE_MS = 10_000;

export class Poller {
  /** `task(signal)` is awaited; `intervalMs` is the pause between its end and the next start. */
  constructor(task, intervalMs = 1_000) {
    this.task = task;
    this.intervalMs = intervalMs;
    this.failures = 0;
    this.timer = null;
    this.running = false;
    this.again = false;
    this.abort = new AbortController();
    document.addEventListener("visibilitychange", () => this.now(), { signal: this.abort.signal });
    this.now();
  }

  /** How long to wait between two runs from now on. */
  every(intervalMs) {
    this.intervalMs = intervalMs;
    if (!this.running) {
      clearTimeout(this.timer);
      this.schedule();
    }
  }

  /** Runs the task as soon as may be. */
  now() {
    if (this.abort.signal.aborted || document.hidden) return;
    if (this.running) {
      this.again = true;
      return;
    }
    clearTimeout(this.timer);
    this.run();
  }

  stop() {
    clearTimeout(this.timer);
    this.abort.abort();
  }

  async run() {
    this.running = true;
    try {
      await this.task(this.abort.signal);
      this.failures = 0;
      showConnection("live", "live");
    } catch (error) {
      if (this.abort.signal.aborted) return;
      this.failures += 1;
      // An answer, even an error, means that the server is there.
      if (error.status === undefined) {
        if (error instanceof TypeError || error.name === "TimeoutError") showConnection("away", "no answer, trying again");
        else reportError(error);
      }
    } finally {
      this.running = false;
      this.schedule();
    }
  }

  schedule() {
    if (this.abort.signal.aborted || document.hidden) return;
    const pause = this.again ? 0 : Math.min(this.intervalMs * 2 ** this.failures, LONGEST_PAUSE_MS);
    this.again = false;
    this.timer = setTimeout(() => this.run(), pause);
  }
}

/** While events come, polling is only for what they might have missed. */
const WITH_EVENTS_MS = 15_000;
/** Changes that come closer together than this are looked at together. */
const TOGETHER_MS = 250;
/** After a stream was refused, how long until it is tried again. */
const REFUSED_MS = 30_000;

/**
 * Follows `GET /v1/events` and has `poller` run when something happened. A stream that breaks off is resumed by the browser where it
 * ended; where there is none (the server has too many), the poller goes on at its own pace. Hidden tabs hold no stream.
 */
export class Live {
  constructor(poller, path = "/v1/events") {
    this.poller = poller;
    this.path = path;
    this.pollMs = poller.intervalMs;
    this.source = null;
    this.timer = null;
    this.retry = null;
    this.last = 0;
    this.abort = new AbortController();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()), { signal: this.abort.signal });
    if (!document.hidden) this.open();
  }

  open() {
    if (this.source !== null || this.abort.signal.aborted || window.EventSource === undefined) return;
    clearTimeout(this.retry);
    const source = new EventSource(this.path);
    this.source = source;
    source.addEventListener("open", () => {
      this.poller.every(WITH_EVENTS_MS);
      // What happened before the stream began.
      this.poller.now();
    });
    source.addEventListener("message", ({ lastEventId }) => {
      this.happened();
      heard(lastEventId);
    });
    source.addEventListener("error", () => {
      this.poller.every(this.pollMs);
      if (source.readyState !== EventSource.CLOSED || this.source !== source) return;
      this.close();
      this.retry = setTimeout(() => this.open(), REFUSED_MS);
    });
  }

  happened() {
    if (this.timer !== null) return;
    const wait = Math.max(0, this.last + TOGETHER_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      this.last = performance.now();
      this.poller.now();
    }, wait);
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.retry);
    this.timer = null;
    this.source?.close();
    this.source = null;
    if (!this.abort.signal.aborted) this.poller.every(this.pollMs);
  }

  stop() {
    this.abort.abort();
    this.close();
  }
}

/** Shows how the connection is: `live`, `away` or `waiting`. */
export function showConnection(state, text) {
  const line = document.getElementById("connection");
  setAttribute(line, "data-state", state);
  setText(line, text);
}
