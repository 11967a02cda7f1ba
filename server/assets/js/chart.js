// One chart: a few metrics of a run over their steps, drawn by Plotly.
//
// New points at the end go through `Plotly.extendTraces`, anything else through `Plotly.react`; a `uirevision` that only the kind of
// the axis changes keeps the reader's zoom in both. Each metric has two traces: its finite values, with gaps, and crosses for NaN (at
// mid height), ∞ (at the top) and −∞ (at the bottom) on an overlaid axis of their own, so that they neither vanish nor spoil the
// scale. Colours come from the style sheet.

import { formatMetric } from "./describe.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";
import { formatCount, formatNumber, isShare, stepUnit } from "./format.js";

const PLOTLY_ADDRESS = "/assets/plotly.min.js";
const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
};

let loading = null;

/** The Plotly library, loaded once when the first chart needs it. */
function loadPlotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = el("script", { src: PLOTLY_ADDRESS });
    script.addEventListener("load", () => resolve(globalThis.Plotly));
    script.addEventListener("error", () => {
      loading = null;
      script.remove();
      reject(new TypeError("the chart library could not be loaded"));
    });
    document.head.append(script);
  });
  return loading;
}

export class Chart {
  /** `metrics` are drawn in one plot; `logX` and `logY` are how it starts. */
  constructor({ title, metrics, logX = false, logY = false }) {
    this.title = title;
    this.metrics = metrics;
    this.axes = { x: logX ? "log" : "linear", y: logY ? "log" : "linear" };
    this.drawn = false;
    this.plot = el("div", { class: "plot", role: "img" });
    this.empty = el("p", { class: "plot-empty minor" }, "No points yet");
    this.note = el("p", { class: "minor chart-note" });
    this.readout = el("span", { class: "minor number chart-readout" });
    this.node = el(
      "section",
      { class: "card chart", "aria-label": `Chart of ${title}` },
      cardHead(title, this.readout, this.toggle("x"), this.toggle("y")),
      el("div", { class: "plot-frame" }, this.plot, this.empty),
      this.note,
    );
    this.resizer = new ResizeObserver(() => {
      if (this.drawn) globalThis.Plotly.Plots.resize(this.plot);
    });
    this.resizer.observe(this.plot);
  }

  toggle(axis) {
    const button = el("button", { type: "button", class: "button small toggle" }, `log ${axis}`);
    setAttribute(button, "aria-pressed", String(this.axes[axis] === "log"));
    button.setAttribute("aria-label", `Logarithmic ${axis} axis of ${this.title}`);
    button.addEventListener("click", () => {
      this.axes[axis] = this.axes[axis] === "log" ? "linear" : "log";
      setAttribute(button, "aria-pressed", String(this.axes[axis] === "log"));
      if (this.drawn) this.draw();
    });
    return button;
  }

  /** Shows what `history` has. `changes` is what its `merge` returned, or null to draw anew. */
  async update(history, changes) {
    this.history = history;
    const present = this.metrics.filter((name) => history.series.has(name));
    if (changes !== null && !present.some((name) => changes.has(name))) return;
    if (present.length === 0) return;
    await loadPlotly();
    const sameTraces = this.drawn && this.shown.length === present.length;
    const onlyAppended = sameTraces && changes !== null && present.every((name) => changes.get(name) !== null);
    if (onlyAppended && !this.fewEpochs()) await this.extend(changes);
    else await this.draw();
    this.describe();
  }

  async draw() {
    this.shown = this.metrics.filter((name) => this.history.series.has(name));
    const traces = this.shown.flatMap((name, index) => this.traces(name, index));
    const plotly = await loadPlotly();
    await plotly.react(this.plot, traces, this.layout(), CONFIG);
    this.drawn = true;
    this.empty.hidden = true;
    this.describe();
  }

  /** Appends the points after the indices that `changes` names. */
  async extend(changes) {
    const update = { x: [], y: [], text: [] };
    const indices = [];
    this.shown.forEach((name, index) => {
      const from = changes.get(name);
      if (from === undefined) return;
      for (const [part, offset] of [[finite, 0], [notFinite, 1]]) {
        const columns = part(this.history.series.get(name), from);
        if (columns.x.length === 0) continue;
        update.x.push(columns.x);
        update.y.push(columns.y);
        update.text.push(columns.text);
        indices.push(2 * index + offset);
      }
    });
    if (indices.length > 0) await globalThis.Plotly.extendTraces(this.plot, update, indices);
  }

  traces(name, index) {
    const color = css(`--series-${(index % 6) + 1}`);
    const series = this.history.series.get(name);
    const few = series.steps.length <= 60;
    return [
      {
        ...finite(series, 0),
        name,
        type: "scatter",
        mode: few ? "lines+markers" : "lines",
        line: { color, width: 2 },
        marker: { color, size: 5 },
        hovertemplate: `%{text}<extra>${name.replaceAll("<", "&lt;")}</extra>`,
      },
      {
        ...notFinite(series, 0),
        name: `${name} (not finite)`,
        type: "scatter",
        mode: "markers",
        yaxis: "y2",
        showlegend: false,
        cliponaxis: false,
        marker: {
          color,
          size: 10,
          line: { color: css("--surface"), width: 1 },
          symbol: "x",
        },
        hovertemplate: "%{text}<extra></extra>",
      },
    ];
  }

  layout() {
    const text = css("--muted");
    const grid = css("--grid");
    const share = this.shown.every(isShare);
    const axis = { gridcolor: grid, linecolor: css("--border"), zeroline: false, tickfont: { color: text }, automargin: true };
    const log = { nticks: 7, exponentformat: "e" };
    return {
      uirevision: "kept",
      autosize: true,
      margin: { l: 52, r: 12, t: 28, b: 36 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: css("--font"), size: 12, color: css("--text") },
      hovermode: "x unified",
      hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--border"), font: { color: css("--text") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: css("--accent") },
      showlegend: this.shown.length > 1,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      xaxis: {
        ...axis,
        ...(this.axes.x === "log" ? log : {}),
        type: this.axes.x,
        uirevision: this.axes.x,
        ...(this.axes.x === "linear" && this.fewEpochs() ? { dtick: 1 } : {}),
        title: { text: stepUnit(this.shown[0]), font: { color: text, size: 12 }, standoff: 6 },
      },
      yaxis: {
        ...axis,
        ...(this.axes.y === "log" ? log : {}),
        type: this.axes.y,
        uirevision: this.axes.y,
        tickformat: share && this.axes.y === "linear" ? ".0%" : "",
      },
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
    };
  }

  /** Whether the x axis has so few epochs that Plotly would put ticks between them. */
  fewEpochs() {
    const last = Math.max(...this.shown.map((name) => this.history.series.get(name).steps.at(-1)));
    return stepUnit(this.shown[0]) === "epoch" && last <= 8;
  }

  /** The last value beside the title, and what the plot cannot show below it. */
  describe() {
    const last = this.shown.map((name) => {
      const { steps, values } = this.history.series.get(name);
      const value = formatMetric(name)(values[values.length - 1]);
      return `${this.shown.length > 1 ? `${name} ` : ""}${value} at ${stepUnit(name)} ${formatCount(steps[steps.length - 1])}`;
    });
    setText(this.readout, last.join(" · "));
    setAttribute(this.plot, "aria-label", `${this.title}: ${last.join(", ")}`);
    setText(this.note, this.shown.map((name) => remark(name, this.history.series.get(name), this.axes)).filter(Boolean).join(" "));
  }

  unmount() {
    this.resizer.disconnect();
    if (this.drawn) globalThis.Plotly.purge(this.plot);
  }
}

/** The columns of a metric's finite values from `from` on; others become gaps. */
function finite({ steps, values }, from) {
  const kept = values.slice(from);
  return {
    x: steps.slice(from),
    y: kept.map((value) => (Number.isFinite(value) ? value : null)),
    text: kept.map((value) => formatNumber(value, 6)),
  };
}

/** The columns of the values that are not finite, at heights from 0 to 1. */
function notFinite({ steps, values }, from) {
  const columns = { x: [], y: [], text: [] };
  for (let i = from; i < steps.length; i += 1) {
    if (Number.isFinite(values[i])) continue;
    columns.x.push(steps[i]);
    columns.y.push(values[i] === Infinity ? 1 : values[i] === -Infinity ? 0 : 0.5);
    columns.text.push(`${formatNumber(values[i])} at ${formatCount(steps[i])}`);
  }
  return columns;
}

/** What is not seen in the curve of a metric: values that are not finite, or not positive on a logarithmic axis. */
function remark(name, { steps, values }, axes) {
  const remarks = [];
  const first = values.findIndex((value) => !Number.isFinite(value));
  if (first >= 0) {
    const count = values.filter((value) => !Number.isFinite(value)).length;
    const others = count > 1 ? `, and ${count - 1} more values are not finite` : "";
    remarks.push(`${name} is ${formatNumber(values[first])} at ${stepUnit(name)} ${formatCount(steps[first])}${others}.`);
  }
  const hidden = axes.y === "log" ? values.filter((value) => value <= 0).length : 0;
  if (hidden > 0) remarks.push(`${name} is not above 0 at ${formatCount(hidden)} of its points: not on a logarithmic axis.`);
  if (axes.x === "log" && steps[0] === 0) remarks.push(`At step 0 ${name} is ${formatMetric(name)(values[0])}.`);
  return remarks.join(" ");
}

function css(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}
