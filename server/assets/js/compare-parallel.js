// Parallel coordinates that can be brushed: a drag along an axis keeps the runs within that range, there and in the table of runs; a click on the
// axis takes its range away. The same ranges are fields under the plot, for readers without a pointer.

import { compareFigure } from "./compare-figure.js";
import { ends, faded, heightOf, heightsOf, valueAt, within } from "./brush-ranges.js";
import { el, replaceIfChanged, setAttribute, setText } from "./dom.js";
import { formatCount, formatNumber } from "./format.js";

/** Pixels that a pointer may move in a click. */
const CLICK = 4;

/** `changed(ids | null)` is told which runs are within the ranges; null once there is none. */
export function parallelFigure(changed) {
  /** Axis name → range. */
  const ranges = new Map();
  let axes = [];
  let stands = [];
  let follows = false;
  const overlay = el("div", { class: "brushes", "aria-hidden": "true" });
  const fields = el("div", { class: "brush-fields" });
  const status = el("span", { class: "minor", role: "status" });
  const clear = el("button", { type: "button", class: "button small", disabled: true }, "Clear all");
  const controls = el(
    "details",
    { class: "brush-controls" },
    el("summary", {}, "Ranges ", status),
    el("p", { class: "minor" }, "Drag along an axis to keep the runs within a range; click on the axis to take it away."),
    fields,
    clear,
  );

  const figure = compareFigure("Parallel coordinates", "parallel", {
    above: [overlay],
    below: [controls],
    prepare(next) {
      axes = next.facts.axes ?? [];
      const kept = within(next, ranges);
      showFields();
      setText(status, kept === null ? "" : `${formatCount(kept.size)} of ${formatCount(heightsOf(next).size)} runs`);
      clear.disabled = kept === null;
      changed(kept);
      return faded(next, kept);
    },
    placed: place,
  });

  const set = (axis, range) => {
    if (range === null) ranges.delete(axis.name);
    else ranges.set(axis.name, range);
    figure.redraw();
  };
  clear.addEventListener("click", () => {
    ranges.clear();
    figure.redraw();
    controls.querySelector("summary").focus();
  });

  /** Lays a strip over each axis, once the plot is drawn or has another size. */
  function place(plot) {
    if (!follows) {
      follows = true;
      plot.on("plotly_afterplot", () => place(plot));
    }
    // Where Plotly put its axes: margins grow with what is written beside them.
    const { xaxis, yaxis } = plot._fullLayout;
    const [top, bottom] = [1, 0].map((height) => yaxis._offset + yaxis.l2p(height));
    replaceIfChanged(overlay, axes.map((axis) => axis.name).join("\n"), () => {
      stands = axes.map((axis, at) => stand(at));
      return stands.map((it) => it.node);
    });
    stands.forEach((it, at) => it.place(xaxis._offset + xaxis.l2p(at), top, bottom));
  }

  /** The strip of an axis with its range. */
  function stand(at) {
    const bar = el("div", { class: "brush-range", hidden: true });
    const node = el("div", { class: "brush-axis" }, bar);
    let from = null;
    const show = (range) => {
      bar.hidden = range === null;
      if (range === null) return;
      const [low, high] = range.map((height) => Math.min(1, Math.max(0, height)));
      bar.style.bottom = `${100 * low}%`;
      bar.style.height = `max(3px, ${100 * (high - low)}%)`;
    };
    const heightAt = (event) => {
      const { bottom, height } = node.getBoundingClientRect();
      return (bottom - event.clientY) / height;
    };
    const drag = (event) => [Math.min(from.height, heightAt(event)), Math.max(from.height, heightAt(event))];
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || axes[at].scale === "empty") return;
      event.preventDefault();
      node.setPointerCapture(event.pointerId);
      from = { height: heightAt(event), y: event.clientY };
    });
    node.addEventListener("pointermove", (event) => {
      if (from !== null) show(drag(event));
    });
    node.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const isClick = Math.abs(event.clientY - from.y) < CLICK;
      const range = isClick ? null : drag(event).map((height) => valueAt(axes[at], height));
      from = null;
      set(axes[at], range);
    });
    node.addEventListener("pointercancel", () => {
      from = null;
      showRange();
    });
    const showRange = () => show(ranges.get(axes[at].name)?.map((value) => heightOf(axes[at], value)) ?? null);
    return {
      node,
      place(x, top, bottom) {
        node.style.left = `${x}px`;
        node.style.top = `${top}px`;
        node.style.height = `${bottom - top}px`;
        if (from === null) showRange();
      },
    };
  }

  let shownFields = [];
  function showFields() {
    const key = JSON.stringify(axes);
    replaceIfChanged(fields, key, () => {
      shownFields = axes.filter((axis) => axis.scale !== "empty").map((axis) => axisFields(axis, (range) => set(axis, range)));
      return shownFields.map((it) => it.node);
    });
    for (const field of shownFields) field.update(ranges.get(field.name) ?? null);
  }

  return figure;
}

/** The two ends of an axis' range as fields, and a button that takes it away: `{name, node, update(range | null)}`. */
function axisFields(axis, changed) {
  const [least, most] = ends(axis);
  const end = (word, fallback) => {
    const label = `${axis.name} ${word}`;
    if (axis.scale === "names") {
      const options = axis.names.map((name, place) => el("option", { value: place }, name));
      return el("select", { "aria-label": label }, el("option", { value: "" }, "–"), ...options);
    }
    return el("input", { type: "number", step: "any", "aria-label": label, placeholder: formatNumber(fallback) });
  };
  const [low, high] = [end("from", least), end("to", most)];
  const clear = el("button", { type: "button", class: "button small", "aria-label": `Take away the range of ${axis.name}` }, "Clear");
  const read = () => {
    const value = (input, fallback) => (input.value === "" ? fallback : Number(input.value));
    if (low.value === "" && high.value === "") return changed(null);
    const range = [value(low, least), value(high, most)];
    return changed([Math.min(...range), Math.max(...range)]);
  };
  for (const input of [low, high]) input.addEventListener("change", read);
  clear.addEventListener("click", () => {
    changed(null);
    low.focus();
  });
  const put = (input, value) => {
    if (document.activeElement !== input || value === null) input.value = value ?? "";
  };
  return {
    name: axis.name,
    node: el("fieldset", { class: "brush-field" }, el("legend", {}, axis.name), low, el("span", { class: "minor" }, "to"), high, clear),
    update(range) {
      setAttribute(clear, "disabled", range === null);
      if (axis.scale === "names") {
        // A drag may end between names.
        put(low, range === null ? null : String(Math.max(0, Math.ceil(range[0] - 1e-9))));
        put(high, range === null ? null : String(Math.min(axis.names.length - 1, Math.floor(range[1] + 1e-9))));
        return;
      }
      put(low, range === null ? null : String(Number(range[0].toPrecision(6))));
      put(high, range === null ? null : String(Number(range[1].toPrecision(6))));
    },
  };
}
