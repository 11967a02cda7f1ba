// The validation pictures of several colourization runs at the same epoch, with one slider for all of them.

import { artifactPath, get } from "./api.js";
import { cardHead, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatSetting } from "./format.js";
import { COLUMNS, samplesOf } from "./samples.js";

/** Most runs whose pictures are shown. */
const MOST_RUNS = 12;

export function comparePictures() {
  const slider = el("input", { type: "range", id: "compare-epoch", min: "0", max: "0", value: "0" });
  const label = el("output", { class: "number", for: "compare-epoch" }, "–");
  const grid = el("div", { class: "compare-pictures" });
  const note = el("p", { class: "minor" });
  const node = el(
    "section",
    { class: "card", "aria-label": "Pictures side by side", hidden: true },
    cardHead("Pictures", label),
    el("div", { class: "sample-slider" }, el("label", { for: "compare-epoch", class: "visually-hidden" }, "Epoch of all pictures"), slider),
    grid,
    note,
  );
  const views = new Map();
  let epochs = [];
  let samples = new Map();
  let shown = [];
  let known = null;

  const show = () => {
    const epoch = epochs[Number(slider.value)];
    setText(label, epoch === undefined ? "–" : `epoch ${epoch}`);
    setAttribute(slider, "aria-valuetext", `epoch ${epoch}`);
    reconcile(grid, views, shown, (run) => run.id, picture);
    for (const run of shown) views.get(run.id).at(epoch, samples.get(run.id));
  };
  slider.addEventListener("input", show);

  return {
    node,
    async update(comparison, signal) {
      // Only these runs draw pictures.
      if (known === comparison || !comparison.metrics.train_loss) return;
      const candidates = comparison.runs.map((run, place) => ({ ...run, caption: caption(comparison, place) })).slice(0, MOST_RUNS);
      const answers = await Promise.all(candidates.map((run) => get(`/v1/runs/${run.id}/artifacts`, signal)));
      known = comparison;
      samples = new Map(candidates.map((run, i) => [run.id, samplesOf(answers[i].artifacts)]));
      shown = candidates.filter((run) => samples.get(run.id).length > 0);
      node.hidden = shown.length === 0;
      const before = epochs[Number(slider.value)];
      const atEnd = Number(slider.value) >= epochs.length - 1;
      epochs = [...new Set([...samples.values()].flat().map((sample) => sample.epoch))].sort((a, b) => a - b);
      slider.max = String(Math.max(0, epochs.length - 1));
      slider.disabled = epochs.length < 2;
      slider.value = String(atEnd || before === undefined ? epochs.length - 1 : Math.max(0, epochs.indexOf(before)));
      setText(note, comparison.runs.length > MOST_RUNS ? `The first ${MOST_RUNS} of ${comparison.runs.length} runs.` : "");
      show();
    },
  };
}

/** What tells a run from the others. */
function caption({ runs, differences }, place) {
  const settings = differences.map(({ path, values }) => `${path.replace(/\.name$/, "").split(".").pop()} ${formatSetting(values[place])}`);
  return [`#${runs[place].id}`, ...settings.slice(0, 4)].join(" · ");
}

function picture(run) {
  const image = el("img", { class: "sample", alt: "" });
  const missing = el("p", { class: "minor sample-waiting" }, "No picture yet");
  const at = el("span", { class: "minor" });
  const node = el(
    "figure",
    { class: "compare-picture" },
    el("figcaption", {}, el("a", { href: `#/runs/${run.id}` }, run.caption), " ", at),
    el("div", { class: "sample-columns", "aria-hidden": "true" }, ...COLUMNS.map((column) => el("span", {}, column))),
    image,
    missing,
  );
  return {
    node,
    update() {},
    /** Shows the picture of this epoch, or the last one before it. */
    at(epoch, samples) {
      const sample = samples.findLast((candidate) => candidate.epoch <= epoch);
      image.hidden = sample === undefined;
      missing.hidden = sample !== undefined;
      setText(at, sample && sample.epoch !== epoch ? `(epoch ${sample.epoch})` : "");
      if (!sample) return;
      setAttribute(image, "src", `${artifactPath(run.id, sample.name)}#${sample.sha256}`);
      setAttribute(image, "alt", `Run ${run.id} after epoch ${sample.epoch}: grey input, true colours, prediction, error`);
      setAttribute(node, "data-epoch", sample.epoch);
    },
  };
}
