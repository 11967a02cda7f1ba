// A chart of several runs: a figure of the server in a card. A click on a point opens its run.

import { Conditional } from "./api.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";
import { FigureView } from "./figure.js";
import { drawn } from "./timing.js";

export function compareFigure(title, name, ...tools) {
  const view = new FigureView({ clicked: (id) => location.assign(`#/runs/${id}`) });
  const note = el("p", { class: "minor chart-note" });
  const empty = el("p", { class: "plot-empty minor" }, "No points yet");
  const node = el(
    "section",
    { class: `card chart compare-${name}`, "aria-label": title },
    cardHead(title, ...tools),
    el("div", { class: "plot-frame" }, view.node, empty),
    note,
  );
  let resource = null;
  return {
    node,
    async refresh(address, signal) {
      if (resource?.path !== address) resource = new Conditional(address);
      const asked = resource;
      const answer = await asked.get(signal);
      if (answer === null || asked !== resource || view.gone) return;
      const { facts } = answer.body;
      const wrong = facts.series.reduce((sum, series) => sum + series.not_finite, 0);
      setText(note, [...facts.notes, ...(wrong > 0 ? [`${wrong} values are not finite: crosses.`] : [])].join(" "));
      setAttribute(view.node, "aria-label", `${title}: ${facts.title}`);
      await view.draw(answer.body);
      empty.hidden = true;
      drawn(answer.arrived);
    },
    unmount: () => view.unmount(),
  };
}
