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
const overview = { words: "", sort: { column: "name", down: false }, tables: new Map(), hidden: new Set() };

function overviewView() {
  const runs = [...store.runs.values()];
  return [
    el("h1", { tabindex: "-1" }, "Overview"),
    el("p", { class: "lead" }, summary(runs)),
    store.report.left_out ? el("p", { class: "note" }, store.report.left_out) : null,
    troubles(runs),
    store.report.tables.map((table, number) => tableSection(table, number)),
    store.report.tables.length === 0 ? el("p", { class: "quiet" }, "No table yet: no run is finished.") : null,
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

// Tables: what the terminal prints, with CIs drawn

const INTERVAL = /^([+-]?[\d.]+)(?:-| to )([+-]?[\d.]+)$/;

function tableSection(table, number) {
  const { about } = table;
  const differ = about["settings that differ"];
  const title = [about.world, about.split, about.tasks && `${about.tasks} tasks`, differ && visible(differ)]
    .filter(Boolean)
    .join(" · ");
  const facts = Object.entries(about).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, visible(Array.isArray(value) ? value.join(", ") : String(value)))),
  );
  const [first, ...others] = table.grids.map((grid, place) => [grid, gridTable(grid, `${number}-${place}`)]);
  return el(
    "section",
    { class: "table", "aria-labelledby": `table-${number}` },
    el("h2", { id: `table-${number}` }, title),
    first ? first[1] : null,
    others.map(([grid, node]) =>
      el("details", { open: grid.name.startsWith("differences") }, el("summary", {}, visible(grid.title)), node),
    ),
    el("details", {}, el("summary", {}, "world, evaluation set, model, protocol"), el("dl", { class: "facts" }, facts)),
    el(
      "ul",
      { class: "notes" },
      table.notes.map((note) => el("li", {}, visible(note))),
    ),
  );
}

function gridTable(grid, id) {
  const rows = grid.rows.filter((row) => row.length === grid.header.length);
  const drawn = grid.header.map((name, place) => place > 0 && name.startsWith("95 % CI"));
  const cells = rows.flatMap((row) => row.filter((_, place) => drawn[place]));
  const reach = Math.max(...cells.flatMap((cell) => endsOf(cell) || []).map(Math.abs), 1);
  const range = cells.some((cell) => /^[+-]/.test(cell)) ? [-reach, reach] : [0, reach > 1 ? Math.max(reach, 100) : 1];
  const columns = grid.header.map((name, place) => ({
    key: String(place),
    name,
    text: place === 0 || rows.some((row) => /^\p{L}/u.test(row[place])),
    value: (row) => number(row[place]),
    show: (row) => (drawn[place] ? interval(row, place, drawn, range) : visible(row[place] || "–")),
  }));
  return sortable(id, columns, rows, grid.title);
}

function endsOf(cell) {
  const found = INTERVAL.exec(cell);
  return found && [Number(found[1]), Number(found[2])];
}

/** A CI with its mean, where the column before it, or before several of them, holds one. */
function interval(row, place, drawn, range) {
  const ends = endsOf(row[place]);
  if (!ends) return el("span", { class: "quiet" }, row[place] || "no CI");
  const at = drawn.lastIndexOf(false, place);
  const before = at > 0 ? number(row[at]) : null;
  const mean = typeof before === "number" ? before : null;
  const picture = whisker({ low: ends[0], high: ends[1], mean }, range);
  return el("span", { class: "estimate" }, el("span", {}, row[place]), picture);
}

/** A cell as a number where it is one, an interval as its lower end, nothing as null: what sorting needs. */
function number(cell) {
  if (cell === "-" || cell === "") return null;
  const plain = cell.replace(/^</, "").replaceAll(",", "");
  const ends = endsOf(cell);
  return /^[+-]?[\d.]+$/.test(plain) ? Number(plain) : ends ? ends[0] : cell;
}

function sortable(id, columns, rows, caption) {
  const sort = overview.tables.get(id) || { column: null, down: true };
  const chosen = columns.find((column) => column.key === sort.column);
  const sorted = chosen ? arranged(rows, chosen.value, sort.down) : rows;
  const place = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  const turn = (key) => {
    overview.tables.set(id, { column: key, down: sort.column === key ? !sort.down : true });
    place.replaceWith(sortable(id, columns, rows, caption));
    refocus(`sort-${id}-${key}`);
  };
  const body = sorted.map((row) =>
    el(
      "tr",
      {},
      columns.map((column, number) =>
        el(
          number === 0 ? "th" : "td",
          number === 0 ? { scope: "row" } : { class: column.text ? "text" : null },
          column.show(row),
        ),
      ),
    ),
  );
  place.append(
    el(
      "table",
      {},
      el("caption", { class: "hidden" }, caption),
      headRow(id, columns, sort, turn),
      el("tbody", {}, body),
    ),
  );
  return place;
}

function headRow(id, columns, sort, turn) {
  return el(
    "thead",
    {},
    el(
      "tr",
      {},
      columns.map((column) => {
        const direction = sort.column === column.key ? (sort.down ? "descending" : "ascending") : null;
        const arrow = direction === null ? "" : sort.down ? " ↓" : " ↑";
        return el(
          "th",
          { scope: "col", "aria-sort": direction, class: column.text ? "text" : null },
          el(
            "button",
            { type: "button", id: `sort-${id}-${column.key}`, onclick: () => turn(column.key) },
            column.name,
            arrow,
          ),
        );
      }),
    ),
  );
}

function arranged(rows, value, down) {
  const order = (a, b) =>
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
  const known = (one) => one !== null && one !== undefined;
  return rows
    .map((row, place) => [value(row), place, row])
    .sort(([a, i], [b, j]) => {
      if (!known(a) || !known(b)) return Number(known(b)) - Number(known(a)) || i - j;
      return (down ? -1 : 1) * order(a, b) || i - j;
    })
    .map(([, , row]) => row);
}

function refocus(id) {
  const node = document.getElementById(id);
  if (node) node.focus();
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

// Curves

function curvesView() {
  const settings = new Map();
  for (const run of store.runs.values()) {
    if (run.state === "unreadable" || !run.iterations) continue;
    settings.set(run.setting, [...(settings.get(run.setting) || []), run]);
  }
  const all = [...settings.values()].map((runs) => runs[0]);
  const sections = [...settings.values()].map((runs) =>
    el("section", {}, el("h2", {}, settingTitle(runs[0], all)), curvesOf(runs)),
  );
  return [
    el("h1", { tabindex: "-1" }, "Learning curves"),
    el(
      "p",
      { class: "lead" },
      "Line: mean over seeds. Band: from the lowest to the highest seed. Click a method to hide its line.",
    ),
    sections.length ? sections : el("p", { class: "quiet" }, "No run has finished an iteration yet."),
  ];
}

/** World and model, and the settings in which the runs differ from others of their world. */
function settingTitle(run, all) {
  const same = all.filter((other) => other.env === run.env);
  const names = [...new Set(same.flatMap((other) => Object.keys(other.about)))].sort();
  const differs = (name) => new Set(same.map((other) => other.about[name])).size > 1;
  const settings = names.filter((name) => !/^(made with |reward_options|seed$|batch$|model\.name$)/.test(name));
  const told = [...settings, "made with evaluation_set"].filter(differs);
  const shown = told.length > 1 ? told.filter((name) => !name.startsWith("made with ")) : told;
  const model = run.about["model.name"];
  return [
    run.env,
    model && visible(model),
    ...shown.map((name) => `${name.replace("made with ", "")}=${visible(run.about[name] || "default")}`),
  ]
    .filter(Boolean)
    .join(" · ");
}

function curvesOf(runs) {
  const labels = [...new Set(runs.map((run) => run.label))].sort((a, b) => a.localeCompare(b, "en"));
  const lines = (name) => labels.map((label, hue) => lineOf(runs, label, hue, name));
  const place = el("div", {});
  const again = (label, id) => {
    if (!overview.hidden.delete(label)) overview.hidden.add(label);
    fillIn();
    refocus(id);
  };
  const chart = (name) => {
    const shown = lines(name).filter((one) => !overview.hidden.has(one.label));
    return curveChart(CURVE_NAMES[name] || name, shown, PERCENT.has(name));
  };
  const fillIn = () => {
    const keys = labels.length > 1 ? legend(lines("success"), overview.hidden, runs[0].setting, again) : "";
    place.replaceChildren(keys, el("div", { class: "charts" }, store.report.curves.map(chart)));
  };
  fillIn();
  return place;
}

function lineOf(runs, label, hue, name) {
  const members = runs.filter((run) => run.label === label);
  const points = overSeeds(members.map((run) => run.curves[name]));
  return { label: visible(label), hue, seeds: members.length, points };
}

function overSeeds(curves) {
  const values = new Map();
  for (const [x, y] of curves.flat()) values.set(x, [...(values.get(x) || []), y]);
  return [...values.entries()]
    .sort(([a], [b]) => a - b)
    .map(([x, ys]) => ({
      x,
      n: ys.length,
      low: Math.min(...ys),
      high: Math.max(...ys),
      mean: ys.reduce((sum, y) => sum + y, 0) / ys.length,
    }));
}
