// The charts of a run: which ones there are, and their data.
//
// Each kind of run has charts that are always there (they hold their place from the start, so nothing jumps when the first points come); a
// reader adds others from the list of metrics, which the address keeps (`?show=step_ms,gradient_norm`).
//
// The points come whole, and then only what is newer; a history that is too long for that comes in buckets, which keep its extremes.

import { get, pages } from "./api.js";
import { Chart } from "./chart.js";
import { el, reconcile } from "./dom.js";
import { History } from "./history.js";

const STANDING = {
  regression: [
    { title: "loss", metrics: ["loss", "exact_loss"], logY: true },
    { title: "gradient norm", metrics: ["gradient_norm"], logY: true },
  ],
  regularization_pair: [
    { title: "loss", metrics: ["loss_l2", "loss_decay"], logY: true },
    { title: "distance of the weights", metrics: ["weight_distance"], logY: true },
  ],
  hypergradient: [
    { title: "loss", metrics: ["loss"], logY: true },
    { title: "learning rate", metrics: ["learning_rate"] },
    { title: "hypergradient", metrics: ["hypergradient"] },
    { title: "held bytes over k", metrics: ["held_bytes_forward", "held_bytes_reverse", "held_bytes_autograd"] },
  ],
  colourization: [
    { title: "loss", metrics: ["train_loss", "val_loss"] },
    { title: "validation accuracy", metrics: ["val_accuracy"] },
  ],
};
/** Most points that are fetched and drawn one by one. */
const MOST_POINTS = 20_000;
/** Buckets of each metric of a longer history. */
const BUCKETS = 500;
/** Most further charts that an address may ask for. */
const MOST_CHOSEN = 24;
const OTHER = [{ title: "loss", metrics: ["loss"] }];

export class Charts {
  /** `shown` are the names of further metrics to draw; `choose(names)` is told when the reader changes them. */
  constructor(runId, shown, choose) {
    this.path = `/v1/runs/${runId}/metrics`;
    this.chosen = new Set(shown.slice(0, MOST_CHOSEN));
    this.choose = choose;
    this.history = new History();
    this.revision = null;
    this.undrawn = true;
    this.inBuckets = false;
    this.standing = [];
    this.further = new Map();
    this.pickerViews = new Map();
    this.grid = el("div", { class: "chart-grid" });
    this.pickerList = el("div", { class: "picker-list" });
    const picker = el("fieldset", { class: "picker" }, el("legend", {}, "More metrics"), this.pickerList);
    this.node = el("div", { class: "charts" }, this.grid, picker);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.all().forEach((chart) => chart.drawn && chart.draw());
    this.scheme.addEventListener("change", this.recolour);
  }

  all() {
    return [...this.standing, ...this.further.values()];
  }

  /** Puts up the charts that a run of this spec always has. */
  setSpec(spec) {
    if (this.standing.length > 0) return;
    // Points that get sparser with the steps are spread evenly by a logarithmic axis.
    this.logX = spec.record === "logarithmic";
    this.standing = (STANDING[spec.kind] ?? OTHER).map((options) => new Chart({ ...options, logX: this.logX }));
    this.grid.append(...this.standing.map((chart) => chart.node));
    this.showChosen();
  }

  /** Forgets everything: a retried run starts its curves again. */
  restart() {
    this.history = new History();
    this.revision = null;
    this.undrawn = true;
    this.inBuckets = false;
  }

  /** Fetches what is newer than the last answer and draws it. */
  async refresh(signal) {
    // A call that broke off may have merged points that no chart has drawn.
    const drawnAnew = this.undrawn;
    this.undrawn = true;
    let changes = this.inBuckets ? null : await this.fetchPoints(signal);
    if (this.inBuckets) {
      this.history = History.fromBuckets((await get(`${this.path}?buckets=${BUCKETS}`, signal)).series);
      changes = null;
    }
    this.showPicker();
    await Promise.all(this.all().map((chart) => chart.update(this.history, drawnAnew ? null : changes)));
    this.undrawn = false;
  }

  /** Merges the points that are newer than the last answer; gives up on points where they are too many. Returns what changed. */
  async fetchPoints(signal) {
    const after = this.revision === null ? "" : `&after_revision=${this.revision}`;
    const changes = new Map();
    let revision = null;
    for await (const { body, next } of pages(`${this.path}?limit=${MOST_POINTS}${after}`, signal)) {
      // Points that arrive between two pages are asked for again: a merge of the same points changes nothing.
      revision ??= body.revision;
      for (const [name, from] of this.history.merge(body.series)) {
        const before = changes.get(name);
        changes.set(name, before === undefined ? from : from === null ? null : before);
      }
      this.inBuckets = next !== null || this.history.size() > 2 * MOST_POINTS;
      if (this.inBuckets) break;
    }
    this.revision = revision;
    return changes;
  }

  /** The metrics that no standing chart draws, as check boxes. */
  showPicker() {
    const taken = new Set(this.standing.flatMap((chart) => chart.metrics));
    const names = this.history.names().filter((name) => !taken.has(name));
    reconcile(this.pickerList, this.pickerViews, names, (name) => name, (name) => this.pickerItem(name));
  }

  pickerItem(name) {
    const box = el("input", { type: "checkbox" });
    box.checked = this.chosen.has(name);
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(name);
      else this.chosen.delete(name);
      this.choose([...this.chosen]);
      this.showChosen();
    });
    return { node: el("label", { class: "picker-item" }, box, name), update() {} };
  }

  /** Puts up the chosen charts, before their first points too, and takes the others away. */
  showChosen() {
    for (const [name, chart] of this.further) {
      if (this.chosen.has(name)) continue;
      chart.unmount();
      chart.node.remove();
      this.further.delete(name);
    }
    for (const name of this.chosen) {
      if (this.further.has(name)) continue;
      const chart = new Chart({ title: name, metrics: [name], logX: this.logX });
      this.further.set(name, chart);
      this.grid.append(chart.node);
      chart.update(this.history, null);
    }
  }

  unmount() {
    this.scheme.removeEventListener("change", this.recolour);
    this.all().forEach((chart) => chart.unmount());
  }
}
