// When readers see something: marks and measures of the browser's own timeline (User Timing), for whoever measures the pages.
//
//   mark "useful"    the page has painted its first real data
//   measure "chart"  from the arrival of a figure to the frame that shows it
//   mark "event"     an event of the server was handled; its id in `detail`
//
// Only the last of each is kept, however long a page stays open; a PerformanceObserver sees all of them.

let isUseful = false;

/** Calls `then` once what stands in the document now has been painted. */
function painted(then) {
  requestAnimationFrame(() => setTimeout(then, 0));
}

/** A page begins. */
export function begin() {
  isUseful = false;
  performance.clearMarks("useful");
}

/** The page shows real data from now on. */
export function useful() {
  if (isUseful) return;
  isUseful = true;
  painted(() => performance.mark("useful"));
}

/** A figure that arrived at `start` (in the time of `performance.now()`) was drawn. */
export function drawn(start) {
  painted(() => {
    performance.clearMeasures("chart");
    performance.measure("chart", { start, end: performance.now() });
  });
}

/** An event was handled. */
export function heard(id) {
  performance.clearMarks("event");
  performance.mark("event", { detail: id });
}
