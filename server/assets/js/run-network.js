// The network of a colourization run, layer by layer: shapes, weights, connections, receptive field, as `/v1/tools/network` counts them.

import { post } from "./api.js";
import { cardHead, el, setText } from "./dom.js";
import { formatBytes, formatCount } from "./format.js";

const HEADINGS = [["Layer"], ["Kind"], ["Output", "number"], ["Weights", "number"], ["Connections", "number"], ["Activations", "number"], ["Sees", "number"]];

/** `update(spec)` asks once: the answer depends on the spec alone. */
export function networkCard() {
  const body = el("tbody");
  const total = el("p", { class: "minor" });
  const forms = el("dl", { class: "forms" });
  const head = HEADINGS.map(([heading, kind]) => el("th", { scope: "col", class: kind }, heading));
  const table = el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...head)), body);
  const frame = el("div", { class: "table-frame", tabindex: "0", role: "group", "aria-label": "Layers" }, table);
  const node = el("section", { class: "card", hidden: true, "aria-label": "Network" }, cardHead("Network", total), frame, forms);
  let asked = false;
  return {
    node,
    async update(spec, signal) {
      if (asked || spec.kind !== "colourization") return;
      const size = spec.dataset.size ?? 32;
      const question = { ...spec.network, in_channels: 1, num_colours: spec.num_colours, height: size, width: size };
      const answer = await post("/v1/tools/network", question, { signal });
      asked = true;
      setText(total, `${formatCount(answer.weights)} weights, ${formatCount(answer.connections)} connections, input ${size}×${size}`);
      body.replaceChildren(...answer.layers.map(row));
      forms.replaceChildren(...["weights", "outputs", "connections"].flatMap((what) => {
        const { formula, value } = answer.closed_forms[what];
        return [el("dt", {}, what), el("dd", { class: "formula" }, `${formula} = ${formatCount(value)}`)];
      }));
      node.hidden = false;
    },
  };
}

function row(layer) {
  const [least, greatest] = layer.receptive_field;
  const sees = least === greatest ? `${greatest}×${greatest}` : `${least}×${least} to ${greatest}×${greatest}`;
  const texts = [
    layer.name,
    layer.kind,
    layer.output.map(formatCount).join("×"),
    formatCount(layer.weights),
    formatCount(layer.connections),
    formatBytes(layer.activation_bytes),
    sees,
  ];
  return el("tr", {}, ...texts.map((text, i) => el("td", { class: HEADINGS[i][1] }, text)));
}
