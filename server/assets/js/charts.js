// The charts of a run: which ones there are.
//
// The server names them. Those of the run's kind are always there (they hold their place from the start, so nothing jumps when the first points
// come); a reader adds others from the list of metrics. The address keeps those (`?show=step_ms,gradient_norm`) and the smoothing.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { el, reconcile, setText } from "./dom.js";

/** Most further charts that an address may ask for. */
const MOST_CHOSEN = 24;
/** The smoothing that a run of noisy steps starts with. */
const OF_BATCHES = 0.9;

export class Charts {
  /** `query` is that of the page's address; `changed(settings)` is told what of it the reader changed. */
  constructor(runId, query, changed) {
    this.runId = runId;
    this.changed = changed;
    this.chosen = new Set((query.get("show") ?? "").split(",").filter(Boolean).slice(0, MOST_CHOSEN));
    const asked = Number(query.get("smooth"));
    this.smoothing = query.has("smooth") && asked >= 0 && asked < 1 ? asked : null;
    /** The metrics of the run when the list of charts was asked for: it follows from them and the spec. */
    this.metrics = null;
    this.known = [];
    this.charts = new Map();
    this.pickerViews = new Map();
    this.grid = el("div", { class: "chart-grid" });
    this.pickerList = el("div", { class: "picker-list" });
    const picker = el("fieldset", { class: "picker" }, el("legend", {}, "More metrics"), this.pickerList);
    this.machineGrid = el("div", { class: "chart-grid" });
    this.machine = el("details", { class: "card machine-charts", hidden: true }, el("summary", {}, "System"), this.machineGrid);
    this.machine.open = query.get("system") === "open";
    this.machine.addEventListener("toggle", () => this.machineToggled());
    this.node = el("div", { class: "charts" }, this.grid, el("div", { class: "chart-tools" }, this.smoother(), picker), this.machine);
  }

  /** The charts of the machine are asked for only while somebody looks at them. */
  machineToggled() {
    this.changed({ system: this.machine.open ? "open" : "" });
    const before = new Set(this.charts.keys());
    this.show();
    for (const [name, chart] of this.charts) if (!before.has(name)) chart.ask();
  }

  smoother() {
    this.slider = el("input", { type: "range", id: "smoothing", min: "0", max: "0.99", step: "0.01", value: this.smoothing ?? 0 });
    this.weight = el("output", { class: "number", for: "smoothing" }, String(this.smoothing ?? 0));
    this.slider.addEventListener("input", () => {
      this.smoothing = Number(this.slider.value);
      setText(this.weight, this.smoothing.toFixed(2));
    });
    this.slider.addEventListener("change", () => {
      for (const chart of this.charts.values()) chart.setSmoothing(this.smoothing);
      this.changed({ smooth: this.smoothing });
    });
    return el("div", { class: "smoother" }, el("label", { for: "smoothing" }, "Smoothing"), this.slider, this.weight);
  }

  /** Learns what the run is, before its charts come. */
  setSpec(spec) {
    if (this.smoothing !== null) return;
    // Mini-batches make steps noisy; other curves are as smooth as they are.
    this.smoothing = spec.optimizer?.batch_size && spec.kind !== "colourization" ? OF_BATCHES : 0;
    this.slider.value = String(this.smoothing);
    setText(this.weight, this.smoothing.toFixed(2));
  }

  /** Fetches and draws what changed; `run` is the run as it is now. */
  async refresh(run, signal) {
    const metrics = JSON.stringify(Object.keys(run.summary));
    if (metrics !== this.metrics) {
      this.known = (await get(`/v1/runs/${this.runId}/charts`, signal)).charts;
      this.metrics = metrics;
      this.showPicker();
      this.show();
    }
    await Promise.all([...this.charts.values()].map((chart) => chart.refresh(signal)));
  }

  /** The metrics that no standing chart draws, as check boxes. */
  showPicker() {
    const further = this.known.filter((chart) => !chart.standing && !chart.section);
    reconcile(this.pickerList, this.pickerViews, further, (chart) => chart.name, (chart) => this.pickerItem(chart.name));
  }

  pickerItem(name) {
    const box = el("input", { type: "checkbox" });
    box.checked = this.chosen.has(name);
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(name);
      else this.chosen.delete(name);
      this.changed({ show: [...this.chosen].join(",") });
      this.show();
      this.charts.get(name)?.ask();
    });
    return { node: el("label", { class: "picker-item" }, box, name), update() {} };
  }

  /** Puts up the standing and the chosen charts, and those of the machine where they are looked at, and takes the others away. */
  show() {
    const ofMachine = (chart) => chart.section === "machine";
    this.machine.hidden = !this.known.some(ofMachine);
    const isWanted = (chart) => (ofMachine(chart) ? this.machine.open : chart.standing || this.chosen.has(chart.name));
    const wanted = this.known.filter(isWanted);
    const names = new Set(wanted.map((chart) => chart.name));
    for (const [name, chart] of this.charts) {
      if (names.has(name)) continue;
      chart.unmount();
      chart.node.remove();
      this.charts.delete(name);
    }
    for (const chart of wanted) {
      if (this.charts.has(chart.name)) continue;
      const view = new Chart(this.runId, chart, this.smoothing ?? 0);
      this.charts.set(chart.name, view);
      (ofMachine(chart) ? this.machineGrid : this.grid).append(view.node);
    }
  }

  unmount() {
    for (const chart of this.charts.values()) chart.unmount();
  }
}
