// An episode that several methods have priced: the reward of each for every step, and two methods side by side.

/** The oracle's progress and every method: rewards by turn, and the largest. `null` where one method alone has any. */
function rewardsBy(one, steps) {
  const rows = methodsPaid(one);
  if (rows === null) return null;
  const before = (turn) => (turn > 0 ? steps[turn - 1].progress : one.get("start"));
  const made = steps.map((step, turn) => Math.round((step.progress - before(turn)) * 1e5) / 1e5);
  return [{ name: "oracle's progress", oracle: true, values: made }, ...rows].map((row) => ({
    ...row,
    size: Math.max(0, ...row.values.map(Math.abs)),
  }));
}

function methodsPaid(one) {
  if (one.run.state === "audit")
    return one.run.methods.map((method, number) => ({ ...method, values: one.get("paid")[number] }));
  if (!HELD_OUT.has(one.stage)) return null;
  const rows = samePlayed(one).map((other) => ({ name: other.run.label, values: other.get("rewards") }));
  return rows.length > 1 ? rows : null;
}

/** The same held-out episode in every run that has rewards for it: before training all methods of a seed share them. */
function samePlayed(one) {
  if (one.shared === undefined) {
    const found = new Map();
    const steps = String(one.get("steps"));
    for (const run of store.runs.values()) {
      if (run.setting !== one.run.setting || run.seed !== one.run.seed || found.has(run.label)) continue;
      const same = episodesOf(run).find((other) => other.group === one.group && other.index === one.index);
      if (same && same.get("rewards").length && String(same.get("steps")) === steps) found.set(run.label, same);
    }
    one.shared = [...found.values()].sort((a, b) => a.run.label.localeCompare(b.run.label, "en"));
  }
  return one.shared;
}

function methodName(row) {
  return [visible(row.name), row.placebo ? el("span", { class: "placebo" }, " placebo") : null];
}

// Two methods

/** The two methods that the reader has picked, where this audit has them; empty for none. */
function pairIn(run) {
  const names = new Set((run.methods || []).map((method) => method.name));
  return browser.pair.map((name) => (names.has(name) ? name : ""));
}

/** What an address says of two methods; `null` for a method that this run has not. */
function readPair(run, parts) {
  if (parts[0] === undefined) return ["", ""];
  try {
    const pair = parts.map(decodeURIComponent);
    const names = new Set(["", ...(run.methods || []).map((method) => method.name)]);
    return pair.every((name) => names.has(name)) ? pair : null;
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

/** The address of an episode; the pair of methods goes with the reader from episode to episode. */
function placeOf(one) {
  const pair = pairIn(one.run);
  return pair.some(Boolean) ? `${one.path}/methods/${pair.map(encodeURIComponent).join("/")}` : one.path;
}

function pairFields(one) {
  const options = [["", "–"], ...one.run.methods.map((method) => [method.name, visible(method.name)])];
  const pair = pairIn(one.run);
  const pick = (side) => (name) => {
    browser.pair = pair.map((old, at) => (at === side ? name : old));
    location.hash = placeOf(one);
    redraw();
  };
  return el(
    "div",
    { class: "fields pick" },
    ["A", "B"].map((letter, side) =>
      choice(`method-${letter}`, `Method ${letter}`, options, pair[side], pick(side)),
    ),
  );
}

function toMethods() {
  const field = document.getElementById("method-A");
  if (field) field.focus();
}

/** In one line the sums of both, and where their signs differ. */
function pairWords(one, rows, pair) {
  const chosen = pair.map((name) => rows.find((row) => !row.oracle && row.name === name));
  const sums = chosen.map((row, side) => row && `${"AB"[side]} ${signed(sumOf(row.values))}`).filter(Boolean);
  const words = [`Sum of rewards: ${sums.join(", ")}; outcome ${short(one.outcome)}.`];
  if (chosen.every(Boolean)) {
    const [a, b] = chosen.map((row) => row.values);
    const against = a.flatMap((value, turn) => (value * b[turn] < 0 ? [turn + 1] : []));
    words.push(
      against.length
        ? `Rewards of opposite sign in ${against.length === 1 ? "turn" : "turns"} ${against.join(", ")}.`
        : "No turn has rewards of opposite sign.",
    );
  }
  return el("p", { class: "quiet", role: "status" }, words.join(" "));
}

function sumOf(values) {
  return Math.round(values.reduce((sum, value) => sum + value, 0) * 1e5) / 1e5;
}

// One turn

/** All methods one below the other; where two are picked, these side by side and the others on demand. */
function rewardsOf(rows, turn, pair) {
  if (!pair.some(Boolean)) return rewardList(rows, turn, pair);
  const sides = pair.map((name, side) => {
    const row = rows.find((other) => !other.oracle && other.name === name);
    return el(
      "div",
      { class: "side" },
      el("p", { class: "who" }, el("strong", {}, `${"AB"[side]} · `), row ? methodName(row) : "not picked"),
      row ? el("p", { class: "sum" }, rewardBar(row.values[turn], row.size), rewardNumber(row, turn)) : null,
    );
  });
  return [
    rewardList(rows.slice(0, 1), turn, pair),
    el("div", { class: "sides duel" }, sides),
    el("details", {}, el("summary", {}, count(rows.length - 1, "method")), rewardList(rows.slice(1), turn, pair)),
  ];
}

function rewardList(rows, turn, pair) {
  return el(
    "dl",
    { class: "paid" },
    rows.map((row) =>
      el(
        "div",
        { class: row.oracle ? "oracle" : pair.includes(row.name) ? "picked" : null },
        el("dt", { title: visible(row.name) }, methodName(row)),
        el("dd", {}, rewardBar(row.values[turn], row.size), rewardNumber(row, turn)),
      ),
    ),
  );
}

function rewardNumber(row, turn) {
  return el("span", { class: "number" }, signed(row.values[turn]));
}

// The whole episode

/** Progress above, below it one row for each method and one column for each turn. */
function heatMap(one, steps, rows, pair) {
  const marks = (row) => (row.oracle ? [] : ["A", "B"].filter((_, side) => pair[side] === row.name));
  return el(
    "figure",
    { class: "overhead" },
    el(
      "div",
      { class: "heat", "aria-hidden": "true" },
      el("span", { class: "label" }, "progress, valid action"),
      strip(steps, one.get("start"), 0, goToTurn),
      rows.map((row) => [
        el(
          "span",
          {
            class: `label row${marks(row).length ? " picked" : ""}${row.oracle ? " oracle" : ""}`,
            title: visible(row.name),
          },
          marks(row).map((mark) => el("strong", {}, `${mark} · `)),
          methodName(row),
        ),
        heatRow(row),
      ]),
    ),
    el(
      "figcaption",
      { class: "quiet" },
      "A row for each method, a column for each turn: ",
      swatch("gain", 1),
      " positive reward, ",
      swatch("loss", 6),
      " negative reward; full colour is the largest of its row. Numbers are in the turns.",
    ),
  );
}

function heatRow(row) {
  const wide = Math.max(row.values.length, 1) * 20;
  const cells = row.values.map((value, turn) => {
    const told = `turn ${turn + 1}, ${visible(row.name)}: ${signed(value)}`;
    const colour = {
      x: turn * 20 + 1,
      y: value > 0 ? 1 : 7,
      width: 18,
      height: 6,
      class: value > 0 ? "gain" : "loss",
      "fill-opacity": row.size > 0 ? (0.2 + (0.8 * Math.abs(value)) / row.size).toFixed(3) : 0,
    };
    const hit = { x: turn * 20, y: 0, width: 20, height: 14, class: "hit", onclick: () => goToTurn(turn) };
    return [value ? draw("rect", colour) : null, draw("rect", hit, draw("title", {}, told))];
  });
  return draw(
    "svg",
    { viewBox: `0 0 ${wide} 14`, preserveAspectRatio: "none", class: "heat-row row", "aria-hidden": "true" },
    draw("line", { x1: 0, x2: wide, y1: 7, y2: 7, class: "grid" }),
    cells,
  );
}

function swatch(kind, y) {
  return draw(
    "svg",
    { viewBox: "0 0 14 12", class: "swatch", "aria-hidden": "true" },
    draw("line", { x1: 0, x2: 14, y1: 6, y2: 6, class: "grid" }),
    draw("rect", { x: 1, y, width: 12, height: 5, class: kind }),
  );
}

/** What an audit says of itself beside its episodes. */
function aboutMethods(run) {
  return [
    el(
      "details",
      { open: true },
      el("summary", {}, count(run.methods.length, "method")),
      el(
        "ul",
        { class: "methods" },
        run.methods.map((method) => el("li", {}, methodName(method))),
      ),
    ),
    run.notes.length
      ? el(
          "ul",
          { class: "notes" },
          run.notes.map((note) => el("li", {}, visible(note))),
        )
      : null,
  ];
}
