// The first view: what was run, the tables, the curves.

const PERCENT = new Set(["success", "grounded"]);
const WORDS = {
  finished: "finished",
  failed: "failed",
  unfinished: "unfinished",
  audit: "audit",
  unreadable: "not readable",
};
const CURVE_NAMES = {
  success: "Success during training",
  grounded: "Valid actions (grounding)",
  reward_sum: "Sum of step rewards",
  kl: "KL to the warm start",
};
const overview = { words: "", sort: { column: "name", down: false }, tables: new Map(), hidden: new Set(), folds: new Map() };

function overviewView() {
  const runs = [...store.runs.values()];
  const { tables } = store.report;
  return [
    el("h1", { tabindex: "-1" }, "Overview"),
    el("p", { class: "lead" }, summary(runs)),
    store.report.left_out ? el("p", { class: "note" }, store.report.left_out) : null,
    verdicts(tables),
    troubles(runs),
    worldsSide(),
    tables.length === 0 ? el("p", { class: "quiet" }, "No table yet: no run is finished.") : null,
    worldFolds(tables),
    auditFolds(),
    paperFold(),
    el(
      "section",
      { "aria-labelledby": "runs-title" },
      el("h2", { id: "runs-title" }, "Runs"),
      el(
        "div",
        { class: "fields" },
        search(
          "run-filter",
          "Filter by world, method, seed or state",
          overview.words,
          (words) => {
            overview.words = words;
          },
          showRuns,
        ),
      ),
      el("div", { id: "runs" }),
    ),
    runs.some((run) => run.state === "audit")
      ? el(
          "section",
          { "aria-labelledby": "audits-title" },
          el("h2", { id: "audits-title" }, "Audits"),
          el("p", { class: "quiet" }, "Every method assigns rewards to the same episodes; no policy is trained."),
          el("div", { id: "audits" }),
        )
      : null,
  ];
}

/** For each table which method is better, and how that is known. */
function verdicts(tables) {
  const told = tables.filter((table) => table.verdict.length);
  if (told.length === 0) return null;
  const card = (table) => {
    const [answer, ...rest] = table.verdict;
    const basis = rest.pop();
    return el(
      "article",
      { class: "card" },
      el("h3", {}, visible(table.heading)),
      el("p", { class: "answer" }, visible(answer)),
      rest.map((line) => el("p", {}, visible(line))),
      basis ? el("p", { class: "quiet" }, visible(basis)) : null,
      el("button", { type: "button", onclick: () => openFold(table) }, "Tables and figures"),
    );
  };
  return el(
    "section",
    { class: "verdicts", "aria-labelledby": "verdicts-title" },
    el("h2", { id: "verdicts-title" }, "Which method is better"),
    el("div", { class: "cards" }, told.map(card)),
  );
}

function openFold(table) {
  overview.folds.set(worldFold(table.about.world), true);
  redraw();
  const title = document.getElementById(`table-${store.report.tables.indexOf(table)}`);
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "start" });
}

function summary(runs) {
  const readable = runs.filter((run) => run.state !== "unreadable");
  const own = runs.filter((run) => run.kind === "run");
  const worlds = new Set(readable.map((run) => run.env));
  const states = Object.keys(WORDS).map((state) => [state, runs.filter((run) => run.state === state).length]);
  const episodes = readable.reduce((sum, run) => sum + run.episodes, 0);
  const parts = states
    .filter(([, number]) => number > 0)
    .map(([state, number]) => badge(state, state === "audit" ? count(number, "audit") : `${number} ${WORDS[state]}`));
  return [
    `${count(own.length, "run")} in ${count(worlds.size, "world")}, ${count(episodes, "logged episode")}. `,
    ...parts,
  ];
}

function badge(state, text) {
  return el("span", { class: `badge ${state}` }, text);
}

/** Every problem with the data, in one place. */
function troubles(runs) {
  const lines = [];
  for (const run of runs) {
    const name = run.state === "unreadable" ? run.name : link(runPath(run), run.name);
    if (run.state === "unreadable") lines.push([name, ` cannot be read: ${visible(run.reason)}`]);
    if (run.state === "failed") lines.push([name, ` failed: ${visible(run.reason)}`]);
    if (run.problem) lines.push([name, ` is ${visible(run.problem)}`]);
    if (run.unreadable) lines.push([name, ` has ${count(run.unreadable, "unreadable line")}; the rest is shown`]);
    if (run.repeated) lines.push([name, ` has ${count(run.repeated, "repeated episode")}; the first of each counts`]);
  }
  if (lines.length === 0) return null;
  return el(
    "details",
    { class: "troubles", open: lines.length <= 6 },
    el("summary", {}, `${count(lines.length, "problem")} with the data`),
    el(
      "ul",
      {},
      lines.map((line) => el("li", {}, line)),
    ),
  );
}

function link(address, text, attributes = {}) {
  return el("a", { href: address, ...attributes }, text);
}

// Runs

/** The columns that runs and audits share. */
function nameColumns(kind, label) {
  return [
    {
      key: "name",
      name: kind,
      text: true,
      value: (run) => run.name,
      show: (run) => link(runPath(run), visible(run.name)),
    },
    { key: "env", name: "world", text: true, value: (run) => run.env, show: (run) => visible(run.env) },
    { key: "label", name: label, text: true, value: (run) => run.label, show: (run) => visible(run.label) },
    { key: "seed", name: "seed", value: (run) => run.seed, show: (run) => String(run.seed) },
    { key: "state", name: "state", text: true, value: (run) => run.state, show: (run) => stateCell(run) },
  ];
}

function auditColumns() {
  return [
    ...nameColumns("audit", "content"),
    {
      key: "methods",
      name: "methods",
      value: (run) => run.methods.length,
      show: (run) => short(run.methods.length),
    },
    { key: "episodes", name: "episodes", value: (run) => run.episodes, show: (run) => short(run.episodes) },
  ];
}

function runColumns() {
  const panel = (run, stage) => run.panels[stage].success;
  return [
    ...nameColumns("run", "reward"),
    {
      key: "before",
      name: "success % before",
      value: (run) => panel(run, "warm_start"),
      show: (run) => percent(panel(run, "warm_start")),
    },
    { key: "after", name: "after", value: (run) => panel(run, "eval"), show: (run) => percent(panel(run, "eval")) },
    { key: "iterations", name: "iterations", value: (run) => run.iterations, show: (run) => short(run.iterations) },
    { key: "episodes", name: "episodes", value: (run) => run.episodes, show: (run) => short(run.episodes) },
  ];
}

function stateCell(run) {
  return [
    badge(run.state, WORDS[run.state]),
    run.reason ? el("span", { class: "quiet reason" }, ` ${visible(run.reason)}`) : "",
  ];
}

function showRuns() {
  showList("run", "runs", runColumns());
  if (document.getElementById("audits")) showList("audit", "audits", auditColumns());
}

function showList(kind, id, columns) {
  const all = [...store.runs.values()].filter((run) => run.kind === kind && run.state !== "unreadable");
  const words = overview.words.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const matching = all.filter((run) => words.every((word) => isAbout(run, word)));
  document
    .getElementById(id)
    .replaceChildren(
      el("p", { class: "quiet", role: "status" }, `${matching.length} of ${count(all.length, kind)}`),
      matching.length
        ? sortable(id, columns, matching, `${kind[0].toUpperCase()}${kind.slice(1)}s`)
        : all.length
          ? el("p", {}, `No ${kind} matches the filter.`)
          : "",
    );
}

/** A word begins one of the run's own words, or is a longer part of its name. */
function isAbout(run, word) {
  const methods = (run.methods || []).map((method) => method.name).join(" ");
  const own = `${run.env} ${run.label} ${methods} seed ${run.seed} ${WORDS[run.state]} ${run.reason}`.toLowerCase();
  return (
    own.split(/[^\p{L}\p{N}.]+/u).some((part) => part.startsWith(word)) ||
    (word.length > 3 && `${own} ${run.name}`.includes(word))
  );
}

