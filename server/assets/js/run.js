// The page of one run: head, charts, pictures, tables, spec, events, log.
//
// One poller asks for the run with its ETag. Everything else is asked for only when the run's revision moved, since every visible change of
// a run moves it; metrics come from the last revision on. A retry starts the curves again.

import { Conditional, get, Tail } from "./api.js";
import { Charts } from "./charts.js";
import { describeState, isFinished, progressShare, runTitle } from "./describe.js";
import { cardHead, el, setText } from "./dom.js";
import { copyText, curlCommand, showJson } from "./json-view.js";
import { Poller } from "./poll.js";
import { drawingsCard } from "./drawings.js";
import { runHead } from "./run-head.js";
import { artifactsCard, certificatesCard, leftOutCard, resultCard, summaryCard, theoryCard } from "./run-tables.js";
import { samplesCard } from "./samples.js";
import { eventsCard, logsCard } from "./timeline.js";

export function mountRun(container, id, query) {
  const path = `/v1/runs/${id}`;
  const resource = new Conditional(path);
  const charts = new Charts(id, readShown(query), (names) => writeShown(id, names));
  const head = runHead(id, () => poller.now());
  const tables = {
    summary: summaryCard(),
    theory: theoryCard(),
    result: resultCard(),
    certificates: certificatesCard(),
    leftOut: leftOutCard(),
    artifacts: artifactsCard(id),
    drawings: drawingsCard(id),
  };
  const happened = new Tail(`${path}/events?limit=1000`);
  const logged = new Tail(`${path}/logs?limit=1000`);
  const events = eventsCard();
  const logs = logsCard();
  const spec = specCard();
  const side = el("div", { class: "run-side" });
  const column = (...cards) => el("div", { class: "card-column" }, ...cards.map((card) => card.node));
  const cards = el(
    "div",
    { class: "card-columns" },
    tables.drawings.node,
    tables.certificates.node,
    tables.leftOut.node,
    column(tables.summary, tables.theory, tables.result, events, logs),
    column(spec, tables.artifacts),
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
    // A finished run that is queued again was retried: its curves are not those that the charts hold.
    if (run !== null && isFinished(run.state) && !isFinished(next.state)) charts.restart();
    run = next;
    notice.hidden = true;
    content.hidden = false;
    head.update(run);
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
  };

  const showDetails = async (signal) => {
    const revision = run.revision;
    const [artifacts, certificates, eventItems, logLines] = await Promise.all([
      get(`${path}/artifacts`, signal),
      get(`${path}/certificates`, signal),
      happened.get(signal),
      logged.get(signal),
      charts.refresh(signal),
    ]);
    tables.artifacts.update(artifacts.artifacts);
    tables.drawings.update(artifacts.artifacts);
    samples?.update(artifacts.artifacts);
    tables.certificates.update(certificates.certificates);
    tables.leftOut.update(certificates.left_out);
    // It depends on the spec alone, so once is enough.
    if (["regression", "regularization_pair", "hypergradient"].includes(run.spec.kind) && !theoryKnown) {
      tables.theory.update(await get(`${path}/theory`, signal));
      theoryKnown = true;
    }
    events.update(eventItems);
    logs.update(logLines);
    detailed = revision;
  };

  const poller = new Poller(async (signal) => {
    try {
      const answer = await resource.get(signal);
      if (answer !== null) showRun(answer.body);
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

/** The metrics that `?show=` names. */
function readShown(query) {
  return (query.get("show") ?? "").split(",").filter(Boolean);
}

/** Keeps the chosen metrics in the address, without a step in the history. */
function writeShown(id, names) {
  const query = names.length > 0 ? `?${new URLSearchParams({ show: names.join(",") })}` : "";
  history.replaceState(null, "", `#/runs/${id}${query}`);
}
