// A chart of several runs: a figure of the server in a card. A click on a point opens its run.

import { Conditional } from "./api.js";
import { cardHead, el, setAttribute, setText } from "./dom.js";
import { FigureView } from "./figure.js";
import { drawn } from "./timing.js";

/**
 * `prepare(figure)` answers what is drawn of a figure that came, `placed(node)` is called once it is, `above` stands over the plot and `below` under
 * the card's note.
 */
export function compareFigure(title, name, { tools = [], above = [], below = [], prepare = (figure) => figure, placed = () => {} } = {}) {
  const view = new FigureView({ clicked: (id) => location.assign(`#/runs/${id}`) });
  const note = el("p", { class: "minor chart-note" });
  const empty = el("p", { class: "plot-empty minor" }, "No points yet");
  const node = el(
    "section",
    { class: `card chart compare-${name}`, "aria-label": title },
    cardHead(title, ...tools),
    el("div", { class: "plot-frame" }, view.node, ...above, empty),
    note,
    ...below,
  );
  let resource = null;
  let figure = null;
  const draw = async () => {
    await view.draw(prepare(figure));
    if (!view.gone) placed(view.node);
  };
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
      figure = answer.body;
      await draw();
      empty.hidden = true;
      drawn(answer.arrived);
    },
    /** Draws again what is there. */
    async redraw() {
      if (figure !== null && !view.gone) await draw();
    },
    unmount: () => view.unmount(),
  };
}
