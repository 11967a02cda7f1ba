// The metric history of one run, kept in the browser.
//
// The server answers `?after_revision=` with what is newer than the last answer. `merge` adds it and tells, for each metric, whether points
// came only at the end (a chart can append) or anywhere else (it has to draw anew): a resumed attempt repeats the steps after its
// checkpoint, and those points replace the old ones.

import { number } from "./format.js";

export class History {
  constructor() {
    /** name → {steps: number[], values: number[]}, both by step. */
    this.series = new Map();
  }

  /** A history drawn from buckets: first, least, greatest and last value of each, so that no spike is lost. */
  static fromBuckets(series) {
    const history = new History();
    for (const { name, buckets } of series) {
      const known = { steps: [], values: [] };
      for (const bucket of buckets) {
        const middle = (bucket.first_step + bucket.last_step) / 2;
        const all = [[bucket.first_step, bucket.first], [middle, bucket.min], [middle, bucket.max], [bucket.last_step, bucket.last]];
        for (const [step, value] of bucket.count === 1 ? all.slice(0, 1) : all) {
          known.steps.push(step);
          known.values.push(number(value));
        }
      }
      if (known.steps.length > 0) history.series.set(name, known);
    }
    return history;
  }

  /** Points of all metrics together. */
  size() {
    let points = 0;
    for (const { steps } of this.series.values()) points += steps.length;
    return points;
  }

  names() {
    return [...this.series.keys()].sort();
  }

  /** Merges `series` of an answer. Returns name → index of the first new point, or name → null where older points changed. */
  merge(series) {
    const changes = new Map();
    for (const { name, points } of series) {
      if (points.length === 0) continue;
      const known = this.series.get(name) ?? { steps: [], values: [] };
      this.series.set(name, known);
      const from = known.steps.length;
      changes.set(name, append(known, points) ? from : null);
    }
    return changes;
  }
}

/** Adds the points; false if some of them are not new steps at the end. */
function append(known, points) {
  let inOrder = true;
  for (const { step, value } of points) {
    const length = known.steps.length;
    if (length === 0 || step > known.steps[length - 1]) {
      known.steps.push(step);
      known.values.push(number(value));
      continue;
    }
    const place = lowerBound(known.steps, step);
    const same = known.steps[place] === step;
    if (same && Object.is(known.values[place], number(value))) continue;
    inOrder = false;
    known.steps.splice(place, same ? 1 : 0, step);
    known.values.splice(place, same ? 1 : 0, number(value));
  }
  return inOrder;
}

/** The index of the first element that is not less than `x`. */
function lowerBound(sorted, x) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}
