// Which colours a colourization takes for which: the server's heat map, and the same by colour as a table.
//
// Both come from one figure, which is asked for again when the run's file has other bytes.

import { get } from "./api.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";
import { FigureView } from "./figure.js";
import { formatCount, formatPercent } from "./format.js";

const FILE = "confusion.json";
const HEADINGS = [["Colour"], ["Pixels", "number"], ["Predicted", "number"], ["Recall", "number"], ["Precision", "number"]];

/** `update(artifacts, signal)` asks for what is new. */
export function confusionCard(runId) {
  const view = new FigureView();
  const note = el("p", { class: "minor" });
  const body = el("tbody");
  const head = HEADINGS.map(([heading, kind]) => el("th", { scope: "col", class: kind }, heading));
  const table = el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...head)), body);
  const frame = el("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": "Recall and precision by colour" }, table);
  const node = el(
    "section",
    { class: "card", hidden: true, "aria-label": "Colours taken for each other" },
    cardHead("Colours taken for each other", note),
    el("div", { class: "confusion" }, el("div", { class: "plot-frame" }, view.node), frame),
  );
  let shown = null;
  return {
    node,
    async update(artifacts, signal) {
      const sha256 = artifacts.find((artifact) => artifact.name === FILE)?.sha256 ?? null;
      if (sha256 === shown) return;
      if (sha256 === null) {
        node.hidden = true;
        shown = null;
        return;
      }
      const figure = await get(`/v1/runs/${runId}/charts/${FILE}`, signal);
      shown = sha256;
      const { title, notes, colours } = figure.facts;
      setText(note, notes.join(" "));
      setAttribute(view.node, "aria-label", `Heat map: ${title}; the table beside it has recall and precision of each colour`);
      body.replaceChildren(...colours.map(row));
      // A plot that is drawn while it is hidden has no size.
      node.hidden = false;
      await view.draw(figure);
    },
    unmount: () => view.unmount(),
  };
}

function row({ colour, truth, predicted, recall, precision }, place) {
  const swatch = el("span", { class: "swatch" });
  swatch.style.backgroundColor = colour;
  const share = (value) => (value === null ? "–" : formatPercent(value));
  const texts = [formatCount(truth), formatCount(predicted), share(recall), share(precision)];
  return el(
    "tr",
    {},
    el("th", { scope: "row", class: "colour" }, swatch, `${place + 1} `, el("code", {}, colour)),
    ...texts.map((text) => el("td", { class: "number" }, text)),
  );
}
