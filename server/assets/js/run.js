// The page of one run: head, charts, pictures, tables, spec, events, log.
//
// One poller asks for the run with its ETag. Everything else is asked for only when the run's revision moved, since every visible change of
// a run moves it.

import { Conditional, Events, get, Tail } from "./api.js";
import { Charts } from "./charts.js";
import { colourizeCard } from "./colourize.js";
import { describeState, progressShare, runTitle } from "./describe.js";
import { cardHead, el, setText } from "./dom.js";
import { copyText, curlCommand, showJson } from "./json-view.js";
import { Poller } from "./poll.js";
import { drawingsCard } from "./drawings.js";
import { confusionCard } from "./run-confusion.js";
import { attemptsCard, workerCard } from "./run-attempts.js";
import { runHead } from "./run-head.js";
import { networkCard } from "./run-network.js";
import { artifactsCard, certificatesCard, leftOutCard, resultCard, summaryCard, theoryCard } from "./run-tables.js";
import { samplesCard } from "./samples.js";
import { eventsCard, logsCard } from "./timeline.js";
import { useful } from "./timing.js";

/** Between two questions what a queued run waits for, which its revision does not tell. */
const WAIT_ASKED_EVERY_MS = 3_000;

export function mountRun(container, id, query) {
  const path = `/v1/runs/${id}`;
  const resource = new Conditional(path);
  const charts = new Charts(id, query, (settings) => keepInAddress(id, settings));
  const head = runHead(id, () => poller.now());
  const tables = {
    summary: summaryCard(),
    theory: theoryCard(),
    result: resultCard(),
    certificates: certificatesCard(),
    leftOut: leftOutCard(),
    artifacts: artifactsCard(id),
    drawings: drawingsCard(id),
    confusion: confusionCard(id),
    network: networkCard(),
    attempts: attemptsCard(),
    worker: workerCard(),
    colourize: colourizeCard(id),
  };
  const happened = new Events(`${path}/events`);
  const logged = new Tail(`${path}/logs?limit=1000`);
  const [files, claims] = [new Conditional(`${path}/artifacts`), new Conditional(`${path}/certificates`)];
  const events = eventsCard();
  const logs = logsCard();
  const spec = specCard();
  const side = el("div", { class: "run-side" });
  const column = (...cards) => el("div", { class: "card-column" }, ...cards.map((card) => card.node));
  const cards = el(
    "div",
    { class: "card-columns" },
    tables.colourize.node,
    tables.drawings.node,
    tables.certificates.node,
    tables.leftOut.node,
    tables.confusion.node,
    tables.network.node,
    column(tables.summary, tables.theory, tables.result, tables.attempts, events, logs),
    column(spec, tables.artifacts, tables.worker),
  );
  const notice = el("p", { class: "notice", role: "status" }, "Loading…");
  const content = el("div", { class: "run", hidden: true }, head.node, el("div", { class: "run-main" }, charts.node, side, cards));
  container.replaceChildren(notice, content);
  document.title = `Run ${id} · Trainyard`;

  let samples = null;
  let run = null;
  let detailed = null;
  let theoryKnown = false;

  const showRun = (next) => {
    run = next;
    notice.hidden = true;
    content.hidden = false;
    head.update(run);
    tables.colourize.update(run);
    charts.setSpec(run.spec);
    if (run.spec.kind === "colourization" && samples === null) {
      samples = samplesCard(id, run.spec);
      side.append(samples.node);
    }
    tables.summary.update(run.summary);
    tables.result.update(run.result);
    spec.update(run);
    const percent = run.state === "running" ? ` ${Math.floor(100 * progressShare(run))} %` : "";
    document.title = `${runTitle(run)} · ${describeState(run)}${percent}`;
    useful();
  };

  let waitAsked = -Infinity;
  const showWait = async (signal) => {
    if (run.state !== "queued") {
      head.waits(null);
    } else if (performance.now() - waitAsked >= WAIT_ASKED_EVERY_MS) {
      waitAsked = performance.now();
      head.waits(await get(`${path}/queue`, signal));
    }
  };

  const showArtifacts = async (artifacts, signal) => {
    tables.artifacts.update(artifacts);
    tables.drawings.update(artifacts);
    samples?.update(artifacts);
    if (run.spec.kind === "colourization") await tables.confusion.update(artifacts, signal);
  };

  const showCertificates = ({ certificates, left_out: leftOut }) => {
    tables.certificates.update(certificates);
    tables.leftOut.update(leftOut);
  };

  const showDetails = async (signal) => {
    const revision = run.revision;
    tables.network.update(run.spec, signal).catch(() => {});
    const [, , eventItems, logLines] = await Promise.all([
      files.get(signal).then((answer) => answer && showArtifacts(answer.body.artifacts, signal)),
      claims.get(signal).then((answer) => answer && showCertificates(answer.body)),
      happened.get(signal),
      logged.get(signal),
      charts.refresh(run, signal),
    ]);
    // It depends on the spec alone, so once is enough.
    if (["regression", "regularization_pair", "hypergradient"].includes(run.spec.kind) && !theoryKnown) {
      tables.theory.update(await get(`${path}/theory`, signal));
      theoryKnown = true;
    }
    events.update(eventItems);
    tables.attempts.update(eventItems);
    await tables.worker.update(run, eventItems, signal);
    logs.update(logLines);
    detailed = revision;
  };

  const poller = new Poller(async (signal) => {
    try {
      const answer = await resource.get(signal);
      if (answer !== null) showRun(answer.body);
      if (run !== null) await showWait(signal);
      if (run !== null && detailed !== run.revision) await showDetails(signal);
    } catch (error) {
      if (run === null && error.status === 404) {
        setText(notice, `There is no run ${id}.`);
        poller.stop();
        return;
      }
      throw error;
    }
  });
  const ticker = setInterval(() => head.tick(), 1_000);

  return {
    unmount() {
      clearInterval(ticker);
      poller.stop();
      charts.unmount();
      tables.confusion.unmount();
      tables.colourize.unmount();
    },
  };
}

function specCard() {
  const code = el("pre", { class: "code", tabindex: "0", "aria-label": "Spec" });
  const copySpec = el("button", { type: "button", class: "button small" }, "Copy JSON");
  const copyCurl = el("button", { type: "button", class: "button small" }, "Copy as curl");
  const node = el("section", { class: "card", "aria-label": "Spec" }, cardHead("Spec", copySpec, copyCurl), code);
  let shown = null;
  copySpec.addEventListener("click", () => copyText(JSON.stringify(shown.spec, null, 2), "Spec"));
  copyCurl.addEventListener("click", () => copyText(curlCommand(shown), "Command"));
  return {
    node,
    update(run) {
      shown = run;
      showJson(code, run.spec);
    },
  };
}

/** Keeps what the reader set in the address, without a step in the history. */
function keepInAddress(id, settings) {
  const query = new URLSearchParams(location.hash.split("?", 2)[1] ?? "");
  for (const [name, value] of Object.entries(settings)) {
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", `#/runs/${id}${text ? `?${text}` : ""}`);
}
