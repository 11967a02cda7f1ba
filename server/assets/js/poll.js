// Asking again and again, politely.
//
// A `Poller` runs one task at an interval, never twice at once, not while the tab is hidden, and with growing pauses while the server is
// away. It tells the connection line in the top bar how the last call went.

import { setAttribute, setText } from "./dom.js";

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

/** Shows how the connection is: `live`, `away` or `waiting`. */
export function showConnection(state, text) {
  const line = document.getElementById("connection");
  setAttribute(line, "data-state", state);
  setText(line, text);
}
