// The drawings of a run: all its artifacts that are SVG, each as a picture that opens in full size.

import { artifactPath } from "./api.js";
import { cardHead, el, reconcile, setAttribute } from "./dom.js";

export function drawingsCard(runId) {
  const grid = el("div", { class: "drawings" });
  const node = el("section", { class: "card", hidden: true, "aria-label": "Drawings" }, cardHead("Drawings"), grid);
  const views = new Map();
  const create = () => {
    // As a picture, nothing in the file can run.
    const picture = el("img");
    const link = el("a", { class: "drawing", target: "_blank" }, picture);
    picture.addEventListener("load", () => link.classList.toggle("wide", picture.naturalWidth > 2 * picture.naturalHeight));
    const update = (artifact) => {
      const path = artifactPath(runId, artifact.name);
      setAttribute(link, "href", path);
      // The hash after `#` makes a drawing that a later attempt replaced load again.
      setAttribute(picture, "src", `${path}#${artifact.sha256}`);
      setAttribute(picture, "alt", artifact.name);
    };
    return { node: link, update };
  };
  return {
    node,
    update(artifacts) {
      const drawings = artifacts.filter((artifact) => artifact.content_type === "image/svg+xml");
      node.hidden = drawings.length === 0;
      reconcile(grid, views, drawings, (artifact) => artifact.name, create);
    },
  };
}
