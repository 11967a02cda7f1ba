// A figure that the server made, drawn by Plotly in the page's colours.
//
// Each trace says in `meta` what it is and of which series; colours come from the style sheet, everything else from the server. Drawing
// goes through `Plotly.react`, and a `uirevision` that only the kind of the axes changes keeps the reader's zoom.

import { el } from "./dom.js";
import { css, onTheme } from "./theme.js";

const PLOTLY_ADDRESS = "/assets/plotly.min.js";
const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
};
const SERIES = 6;

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

export class FigureView {
  /** `uses.zoomed(range | null)` is told of the steps that the reader zoomed to, `uses.clicked(id)` of the run of a point. */
  constructor({ zoomed = null, clicked = null } = {}) {
    this.node = el("div", { class: "plot", role: "img" });
    this.zoomed = zoomed;
    this.clicked = clicked;
    this.figure = null;
    /** What of the x axis is in sight, in its units, once a reader zoomed. */
    this.range = null;
    this.drawn = false;
    this.resizer = new ResizeObserver(() => {
      if (this.drawn) globalThis.Plotly.Plots.resize(this.node);
    });
    this.resizer.observe(this.node);
    this.forget = onTheme(() => this.drawn && this.draw(this.figure));
  }

  async draw(figure) {
    this.figure = figure;
    const plotly = await loadPlotly();
    if (this.gone) return;
    await plotly.react(this.node, figure.data.map(coloured), this.layout(figure.layout), CONFIG);
    if (this.drawn) return;
    this.drawn = true;
    if (this.zoomed) this.node.on("plotly_relayout", (change) => this.relayouted(change));
    if (this.clicked) {
      this.node.on("plotly_click", ({ points }) => {
        const id = points[0]?.customdata;
        if (id) this.clicked(id);
      });
    }
  }

  /** Tells the steps that are in sight after a zoom or a pan, or null once all are again. */
  relayouted(change) {
    if (change["xaxis.autorange"]) {
      this.range = null;
      this.zoomed(null);
      return;
    }
    const [low, high] = [change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0], change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1]];
    if (low === undefined || high === undefined) return;
    this.range = [low, high];
    const step = this.figure.layout.xaxis.type === "log" ? (x) => 10 ** x : (x) => x;
    this.zoomed([Math.max(0, Math.floor(step(low))), Math.max(0, Math.ceil(step(high)))]);
  }

  layout(layout) {
    const muted = css("--muted");
    const kind = `${layout.xaxis?.type} ${layout.yaxis?.type}`;
    const axis = (from) => ({
      ...from,
      automargin: true,
      gridcolor: css("--grid"),
      linecolor: css("--border"),
      zerolinecolor: css("--border"),
      tickfont: { color: muted, size: 11 },
      title: from.title ? { ...from.title, font: { color: muted, size: 12 }, standoff: 6 } : undefined,
    });
    return {
      ...layout,
      autosize: true,
      uirevision: kind,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: css("--font"), size: 12, color: css("--text") },
      hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--border"), font: { color: css("--text") }, namelength: 40 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: css("--accent") },
      legend: { ...layout.legend, bgcolor: "rgba(0,0,0,0)", font: { size: 11.5 } },
      xaxis: { ...axis(layout.xaxis), ...(this.range ? { range: this.range, autorange: false } : {}) },
      yaxis: axis(layout.yaxis),
      ...(layout.annotations ? { annotations: layout.annotations.map(labelled) } : {}),
    };
  }

  unmount() {
    this.gone = true;
    this.forget();
    this.resizer.disconnect();
    if (this.drawn) globalThis.Plotly.purge(this.node);
  }
}

function labelled(annotation) {
  return { ...annotation, font: { size: 11, color: css("--text") }, bgcolor: css("--surface"), opacity: 0.9 };
}

/** The trace in the page's colour of its series. */
function coloured(trace) {
  // The server's library gives heat maps no `meta`.
  if (trace.type === "heatmap") return { ...trace, colorscale: [[0, css("--sunken")], [1, css("--series-1")]] };
  const [what, place] = (trace.meta ?? "").split(":");
  const color = css(`--series-${(Number(place) % SERIES) + 1}`);
  switch (what) {
    case "raw":
    case "smooth": {
      const faint = what === "raw" && trace.line.width === 1;
      return { ...trace, line: { ...trace.line, color: faint ? faded(color, 0.45) : color }, marker: { ...trace.marker, color } };
    }
    case "faint":
      return { ...trace, line: { ...trace.line, color: faded(color, 0.35) } };
    case "band":
      return { ...trace, fillcolor: faded(color, 0.2) };
    case "mark":
      return { ...trace, marker: { ...trace.marker, color, line: { color: css("--surface"), width: 1 } } };
    case "point":
      return { ...trace, marker: { ...trace.marker, color: faded(color, 0.7) } };
    case "mean":
      return { ...trace, marker: { ...trace.marker, color }, error_y: { ...trace.error_y, color } };
    case "faded":
      return { ...trace, opacity: 1, line: { ...trace.line, color: faded(css("--control"), 0.2), width: 1 } };
    case "level":
      // Its name stands over it, above the plot where it is the highest of all.
      return { ...trace, cliponaxis: false, line: { ...trace.line, color: css("--muted") }, textfont: { ...trace.textfont, color: css("--muted") } };
    default:
      return trace;
  }
}

/** `#rrggbb`, so opaque. */
function faded(hex, opacity) {
  const part = (from) => Number.parseInt(hex.slice(from, from + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
}
