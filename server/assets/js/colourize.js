// Pictures that a reader drops on a finished colourization run, and what its model makes of them.
//
// A picture may be dropped anywhere on the page, pasted, or chosen. What the server would refuse for its size or type, the browser makes
// smaller and a PNG first. The list is asked for again and again only while something in it is not done.

import { Conditional, sendPicture } from "./api.js";
import { cardHead, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatCount, formatPercent, formatTime } from "./format.js";
import { Poller } from "./poll.js";
import { maySubmit } from "./session.js";

/** Bounds of the server. */
const MOST_PIXELS = 1 << 20;
const MOST_BYTES = 10 << 20;
const SENT_AS_THEY_ARE = ["image/png", "image/jpeg"];
const POLL_MS = 400;
/** Others may send pictures too. */
const IDLE_MS = 15_000;
const UNDONE = ["queued", "paused", "running"];

export function colourizeCard(runId) {
  const input = el("input", { type: "file", id: "picture-file", class: "visually-hidden", accept: "image/*" });
  const zone = el(
    "label",
    { class: "drop-zone", for: "picture-file" },
    input,
    el("strong", {}, "Choose a picture"),
    ", or drop or paste one anywhere on this page. It is made grey, and the run's model colours it.",
  );
  const said = el("p", { class: "minor", role: "status" });
  const error = el("p", { class: "form-error", role: "alert" });
  const list = el("div", { class: "coloured" });
  const node = el("section", { class: "card", "aria-label": "Colour a picture", hidden: true }, cardHead("Colour a picture"), zone, said, error, list);
  const resource = new Conditional(`/v1/runs/${runId}/colourized`);
  const views = new Map();
  const listening = new AbortController();
  let poller = null;
  let sending = false;

  const show = (items) => {
    reconcile(list, views, items, (item) => item.run_id, pictureView);
    poller.every(items.some((item) => UNDONE.includes(item.state)) ? POLL_MS : IDLE_MS);
    node.hidden = items.length === 0 && !maySubmit();
  };

  const ask = async (signal) => {
    try {
      const answer = await resource.get(signal);
      if (answer !== null) show(answer.body.items);
    } catch (failure) {
      // The run was deleted, which its page tells.
      if (failure.status !== 404) throw failure;
      poller.stop();
    }
  };

  const send = async (file) => {
    if (sending) {
      setText(error, "One picture at a time: another is being sent.");
      return;
    }
    sending = true;
    setText(error, "");
    try {
      setText(said, `Reading ${file.name}…`);
      const { picture, note } = await prepare(file);
      setText(said, `Sending ${file.name}${note}…`);
      await sendPicture(runId, picture);
      setText(said, `${file.name} was sent${note}.`);
      poller.now();
    } catch (failure) {
      setText(said, "");
      setText(error, `${file.name} was not sent: ${failure.message}.`);
    } finally {
      sending = false;
      input.value = "";
    }
  };

  const listen = () => {
    const { signal } = listening;
    const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
    const over = (event, is) => {
      if (!bringsFiles(event)) return;
      event.preventDefault();
      zone.classList.toggle("over", is);
    };
    input.addEventListener("change", () => input.files.length > 0 && send(input.files[0]), { signal });
    document.addEventListener("dragover", (event) => over(event, true), { signal });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(event, false), { signal });
    document.addEventListener(
      "drop",
      (event) => {
        over(event, false);
        const file = event.dataTransfer?.files[0];
        if (file) send(file);
      },
      { signal },
    );
    document.addEventListener(
      "paste",
      (event) => {
        const file = event.clipboardData?.files[0];
        if (file && !event.target.closest?.("input, textarea")) send(file);
      },
      { signal },
    );
  };

  return {
    node,
    /** Shows the card once the run has a model. */
    update(run) {
      if (poller !== null || run.spec.kind !== "colourization" || run.state !== "succeeded") return;
      zone.hidden = !maySubmit();
      node.hidden = zone.hidden;
      if (!zone.hidden) listen();
      poller = new Poller(ask, POLL_MS);
    },
    unmount() {
      listening.abort();
      poller?.stop();
    },
  };
}

/** What is sent of a file, and what was done to it. */
async function prepare(file) {
  const isKnown = SENT_AS_THEY_ARE.includes(file.type);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    // The server says what is wrong with it.
    if (isKnown) return { picture: file, note: "" };
    throw new Error("the browser cannot read it as a picture");
  }
  try {
    const { width, height } = bitmap;
    if (isKnown && width * height <= MOST_PIXELS && file.size <= MOST_BYTES) return { picture: file, note: "" };
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(width * scale));
    canvas.height = Math.max(1, Math.floor(height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    if (picture === null) throw new Error("the browser cannot write it as a PNG");
    const sizes = `from ${formatCount(width)}×${formatCount(height)} to ${formatCount(canvas.width)}×${formatCount(canvas.height)}`;
    return { picture, note: scale < 1 ? `, made smaller, ${sizes}` : ", as a PNG" };
  } finally {
    bitmap.close();
  }
}

/** One picture of the list. */
function pictureView(first) {
  const state = el("span", { class: "state" });
  const facts = el("span", { class: "minor" });
  const links = el("span", { class: "minor" });
  const bar = el("progress", { max: "1", "aria-label": `Progress of picture ${first.run_id}` });
  const failure = el("p", { class: "failure" });
  const parts = ["Grey", "Coloured", "Original"].map((caption) => {
    const image = el("img", { alt: `${caption} picture ${first.run_id}`, loading: "lazy" });
    return { image, figure: el("figure", { hidden: true }, image, el("figcaption", {}, caption)) };
  });
  const node = el(
    "article",
    { "aria-label": `Picture ${first.run_id}` },
    el("div", { class: "coloured-head" }, state, facts, links),
    bar,
    failure,
    el("div", { class: "coloured-parts" }, ...parts.map(({ figure }) => figure)),
  );
  return {
    node,
    update(item) {
      setAttribute(node, "data-state", item.state);
      setAttribute(state, "data-state", item.state);
      setText(state, stateInWords(item));
      const accuracy = item.accuracy === null ? "" : ` · ${formatPercent(item.accuracy)} of the colours right`;
      setText(facts, `${formatTime(item.created_at)} · ${formatCount(item.width)}×${formatCount(item.height)}${accuracy}`);
      const { step, total_steps: total } = item.progress;
      bar.hidden = !UNDONE.includes(item.state);
      setAttribute(bar, "value", total > 0 ? step / total : 0);
      failure.hidden = !item.error;
      setText(failure, item.error ? `Not coloured: ${item.error}` : "");
      [item.grey, item.colourized, item.original].forEach((path, place) => {
        const { image, figure } = parts[place];
        // A picture that was not coloured may be one that no browser can show.
        figure.hidden = path === null || item.state !== "succeeded";
        if (!figure.hidden) setAttribute(image, "src", path);
      });
      if (item.state === "succeeded" && links.childElementCount === 0) {
        const download = (path, name, text) => el("a", { href: path, download: `run-${item.model_run_id}-picture-${item.run_id}${name}.png` }, text);
        links.append(download(item.colourized, "", "Download"), " · ", download(item.comparison, "-comparison", "Download all beside each other"));
      }
    },
  };
}

function stateInWords({ state }) {
  if (state === "queued") return "waits for a worker";
  if (state === "running") return "is being coloured";
  return state === "succeeded" ? "coloured" : state;
}
