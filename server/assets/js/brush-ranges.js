// Which runs of a figure of parallel coordinates are in the ranges that a reader chose. Pure functions without the document, so that they can
// be tested by calling them.
//
// A range is `[low, high]` in the axis' own values: numbers, or the places of names. On the figure an axis goes from 0 to 1.

/** Numbers that were written out and read again may have moved by this. */
const ROUNDING = 1e-6;

/** The least and the greatest value that stand on an axis. */
export function ends(axis) {
  return axis.scale === "names" ? [0, axis.names.length - 1] : [axis.least, axis.most];
}

function scaled(axis, value) {
  return axis.scale === "log" ? Math.log(value) : value;
}

/** The height of a value on its axis; beyond 0 and 1 for what is beyond its ends. */
export function heightOf(axis, value) {
  if (axis.scale === "log" && value <= 0) return -Infinity;
  const [least, most] = ends(axis).map((end) => scaled(axis, end));
  return most > least ? (scaled(axis, value) - least) / (most - least) : 0.5 + (scaled(axis, value) - least);
}

/** The value at a height of an axis. */
export function valueAt(axis, height) {
  const [least, most] = ends(axis).map((end) => scaled(axis, end));
  const value = least + Math.min(1, Math.max(0, height)) * (most - least);
  return axis.scale === "log" ? Math.exp(value) : value;
}

/** The heights of every run on every axis: id → list. Runs lie in the traces one after another, with a gap behind each. */
export function heightsOf(figure) {
  const heights = new Map();
  for (const trace of figure.data) {
    trace.x.forEach((axis, place) => {
      if (axis === null) return;
      const id = trace.customdata[place];
      if (!heights.has(id)) heights.set(id, []);
      heights.get(id)[axis] = trace.y[place];
    });
  }
  return heights;
}

/** The ids of the runs within all ranges (axis name → range); null where there is none. What has no value on such an axis is not within. */
export function within(figure, ranges) {
  const asked = figure.facts.axes.map((axis, place) => ({ place, range: ranges.get(axis.name)?.map((value) => heightOf(axis, value)) }));
  const brushed = asked.filter(({ range }) => range !== undefined);
  if (brushed.length === 0) return null;
  const holds = (heights) =>
    brushed.every(({ place, range: [low, high] }) => {
      const height = heights[place];
      return height !== null && height !== undefined && low - ROUNDING <= height && height <= high + ROUNDING;
    });
  return new Set([...heightsOf(figure)].filter(([, heights]) => holds(heights)).map(([id]) => id));
}

/** The figure with all runs but those with these ids faded; as it is for null. */
export function faded(figure, kept) {
  if (kept === null) return figure;
  const part = (trace, isWanted, changes) => {
    const wanted = trace.customdata.map((id) => id !== 0 && kept.has(id) === isWanted);
    const places = wanted.flatMap((is, place) => (is || (place > 0 && trace.x[place] === null && wanted[place - 1]) ? [place] : []));
    const pick = (values) => places.map((place) => values[place]);
    return { ...trace, x: pick(trace.x), y: pick(trace.y), text: pick(trace.text), customdata: pick(trace.customdata), ...changes };
  };
  const behind = figure.data.map((trace) => part(trace, false, { meta: "faded", hoverinfo: "skip", hovertemplate: null }));
  const front = figure.data.map((trace) => part(trace, true, {}));
  return { ...figure, data: [...behind, ...front].filter((trace) => trace.x.length > 0) };
}
