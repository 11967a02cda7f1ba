// The sample pictures of a colourization run, with a slider through its epochs.
//
// The slider stays at the newest picture while it stands at its end; moved away, it stays where the reader put it. The picture's place is
// reserved from the spec (rows of four images), so nothing moves when it loads.

import { artifactPath } from "./api.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";

const NAME = /^samples\/epoch-(\d+)\.png$/;
/** Columns of a picture, from left to right. */
export const COLUMNS = ["input", "truth", "prediction", "error"];

/** The sample pictures among a run's artifacts, by epoch. */
export function samplesOf(artifacts) {
  return artifacts
    .map((artifact) => ({ ...artifact, epoch: Number(NAME.exec(artifact.name)?.[1]) }))
    .filter((artifact) => !Number.isNaN(artifact.epoch))
    .sort((a, b) => a.epoch - b.epoch);
}

export function samplesCard(runId, spec) {
  // The worker draws tiles one pixel apart.
  const tile = (spec.dataset.size ?? 32) + 1;
  const rows = Math.min(spec.sample_images, spec.dataset.val_images ?? spec.sample_images);
  const picture = el("img", {
    class: "sample",
    id: "sample",
    width: COLUMNS.length * tile - 1,
    height: rows * tile - 1,
    alt: "",
    hidden: true,
  });
  const waiting = el("p", { class: "minor sample-waiting" }, spec.sample_every === 0 ? "This run draws no pictures." : "No picture yet.");
  const slider = el("input", { type: "range", id: "epoch", min: "0", max: "0", value: "0", disabled: true });
  const label = el("output", { class: "number", for: "epoch" }, "–");
  const node = el(
    "section",
    { class: "card samples", "aria-label": "Sample pictures" },
    cardHead("Pictures", label),
    el("div", { class: "sample-slider" }, el("label", { for: "epoch", class: "visually-hidden" }, "Epoch"), slider),
    el("div", { class: "sample-columns", "aria-hidden": "true" }, ...COLUMNS.map((column) => el("span", {}, column))),
    el("div", { class: "sample-frame" }, picture, waiting),
  );
  let samples = [];

  const show = () => {
    const sample = samples[Number(slider.value)];
    if (!sample) return;
    // The hash after `#` makes a picture that a later attempt replaced load again.
    setAttribute(picture, "src", `${artifactPath(runId, sample.name)}#${sample.sha256}`);
    setAttribute(picture, "alt", `Validation images after epoch ${sample.epoch}: grey input, true colours, prediction, error`);
    picture.hidden = false;
    waiting.hidden = true;
    setText(label, `epoch ${sample.epoch}`);
    setAttribute(slider, "aria-valuetext", `epoch ${sample.epoch}`);
  };
  slider.addEventListener("input", show);

  return {
    node,
    update(artifacts) {
      const found = samplesOf(artifacts);
      if (found.length === 0) return;
      const atEnd = Number(slider.value) >= samples.length - 1;
      const epoch = samples[Number(slider.value)]?.epoch;
      samples = found;
      slider.max = String(samples.length - 1);
      slider.disabled = samples.length < 2;
      const place = atEnd ? samples.length - 1 : samples.findIndex((sample) => sample.epoch === epoch);
      slider.value = String(place < 0 ? samples.length - 1 : place);
      show();
    },
  };
}
