// One chart of a run: a figure of the server with its controls.
//
// The address of the figure follows from what the reader set: scales, smoothing, and the steps in sight. Zooming in on a curve that came in
// buckets asks for the same number of buckets of what is in sight, so there is always more to see, down to single points.

import { Conditional } from "./api.js";
import { formatMetric } from "./describe.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";
import { FigureView } from "./figure.js";
import { formatCount } from "./format.js";
import { drawn } from "./timing.js";

/** How long a zoom has to rest before finer data are asked for. */
const REST_MS = 150;

export class Chart {
  /** `chart` is an item of `/v1/runs/{id}/charts`. */
  constructor(runId, chart, smoothing) {
    this.path = `/v1/runs/${runId}/charts/${chart.name.split("/").map(encodeURIComponent).join("/")}.json`;
    this.title = chart.title;
    this.axes = { x: chart.x, y: chart.y };
    this.smoothing = smoothing;
    this.zoom = null;
    this.resource = null;
    this.timer = null;
    this.view = new FigureView({ zoomed: (range) => this.zoomTo(range) });
    this.empty = el("p", { class: "plot-empty minor" }, "No points yet");
    this.note = el("p", { class: "minor chart-note" });
    this.readout = el("p", { class: "minor number chart-readout" });
    this.node = el(
      "section",
      { class: "card chart", "aria-label": `Chart of ${chart.title}` },
      cardHead(chart.title, this.toggle("x"), this.toggle("y")),
      this.readout,
      el("div", { class: "plot-frame" }, this.view.node, this.empty),
      this.note,
    );
  }

  toggle(axis) {
    const button = el("button", { type: "button", class: "button small toggle" }, `log ${axis}`);
    setAttribute(button, "aria-pressed", String(this.axes[axis] === "log"));
    button.setAttribute("aria-label", `Logarithmic ${axis} axis of ${this.title}`);
    button.addEventListener("click", () => {
      this.axes[axis] = this.axes[axis] === "log" ? "linear" : "log";
      setAttribute(button, "aria-pressed", String(this.axes[axis] === "log"));
      // The range of the other scale would mean something else.
      if (axis === "x") this.zoom = this.view.range = null;
      this.ask();
    });
    return button;
  }

  setSmoothing(smoothing) {
    this.smoothing = smoothing;
    this.ask();
  }

  /** Asks for finer data of the steps in sight, where there are any. */
  zoomTo(range) {
    const isCoarse = this.view.figure.facts.series.some((series) => series.bucketed);
    if (this.zoom === null && (range === null || !isCoarse)) return;
    this.zoom = range;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), REST_MS);
  }

  /** Refreshes outside of the page's rhythm; what goes wrong, the next round finds out too. */
  ask() {
    this.refresh().catch(() => {});
  }

  address() {
    const query = new URLSearchParams({ x: this.axes.x, y: this.axes.y });
    if (this.smoothing > 0) query.set("smooth", this.smoothing);
    if (this.zoom !== null) {
      query.set("from", this.zoom[0]);
      query.set("to", this.zoom[1]);
    }
    return `${this.path}?${query}`;
  }

  /** Fetches the figure, if it changed, and draws it. */
  async refresh(signal) {
    const address = this.address();
    if (this.resource?.path !== address) this.resource = new Conditional(address);
    const asked = this.resource;
    const answer = await asked.get(signal).catch((error) => {
      // A chart of a metric that has no points yet.
      if (error.status === 404) return null;
      throw error;
    });
    // The reader may have set something else meanwhile.
    if (answer === null || asked !== this.resource || this.view.gone) return;
    const figure = answer.body;
    if (figure.facts.series.length === 0) return;
    this.describe(figure.facts);
    await this.view.draw(figure);
    this.empty.hidden = true;
    drawn(answer.arrived);
  }

  /** The last values under the title, and what the plot cannot show below it. */
  describe({ series, notes }) {
    const last = series.map(({ name, last: value, last_step: step, unit }) => {
      const words = `${formatMetric(name)(value)} at ${unit} ${formatCount(step)}`;
      return series.length > 1 ? `${name} ${words}` : words;
    });
    if (this.zoom === null) {
      setText(this.readout, last.join(" · "));
      setAttribute(this.readout, "title", last.join("\n"));
    }
    setAttribute(this.view.node, "aria-label", `${this.title}: ${last.join(", ")}`);
    const coarse = series.find((one) => one.bucketed);
    const many = coarse ? [`${formatCount(coarse.points)} points: the band reaches from their least to their greatest; zoom in for more.`] : [];
    setText(this.note, [...notes, ...many].join(" "));
  }

  unmount() {
    clearTimeout(this.timer);
    this.view.unmount();
  }
}
