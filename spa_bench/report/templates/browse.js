// A run and the list of its episodes.

const NO_PAIR = ["", ""];
const browser = {
  run: null,
  group: null,
  kind: "",
  length: "",
  success: "",
  words: "",
  page: 0,
  partner: null,
  chosen: null,
  pair: NO_PAIR,
};

function runView(run, chosen, pair) {
  openRun(run, chosen);
  if (chosen) browser.pair = pair;
  const runs = [...store.runs.values()].filter((one) => one.state !== "unreadable");
  const pick = choice(
    "run",
    "Run",
    runs.map((one) => [one.name, visible(one.name)]),
    run.name,
    (name) => {
      go(runPath(store.runs.get(name)));
    },
  );
  return [
    el(
      "div",
      { class: chosen ? "narrow-off" : null },
      el(
        "h1",
        { tabindex: chosen ? null : "-1" },
        visible(run.label),
        el("span", { class: "quiet" }, ` ${run.env}, seed ${run.seed} `),
        stateCell(run),
      ),
      el("div", { class: "fields" }, pick),
    ),
    el(
      "div",
      { class: `browser${chosen ? " opened" : ""}` },
      el("section", { class: "list", "aria-label": "Episodes" }, filters(run), el("div", { id: "episodes" })),
      el(
        "section",
        { id: "episode", class: "episode", "aria-label": "Episode" },
        chosen ? episodeView(chosen) : aboutRun(run),
      ),
    ),
  ];
}

function afterRun(run, chosen) {
  showEpisodes(run, chosen, browser.follow);
}

/** Point the browser at a run. Filters stay with it, unless a link leads to an episode that they hide. */
function openRun(run, chosen) {
  const free = { kind: "", length: "", success: "", words: "" };
  if (browser.run !== run.name) Object.assign(browser, free, { run: run.name, page: 0, chosen: null });
  const path = chosen ? chosen.path : null;
  browser.follow = path !== browser.chosen;
  browser.chosen = path;
  if (chosen && browser.follow) {
    browser.group = chosen.group;
    if (!found(run).includes(chosen)) Object.assign(browser, free);
  }
  const groups = groupsOf(run);
  if (!groups.includes(browser.group)) browser.group = groups[0] || null;
}

function groupsOf(run) {
  const order = (group) => (group.startsWith("eval/") ? 0 : group.startsWith("warm_start/") ? 1 : 2);
  const groups = [...new Set(episodesOf(run).map((one) => one.group))];
  return groups.sort((a, b) => order(a) - order(b) || b.localeCompare(a, "en", { numeric: true }));
}

function found(run) {
  const matches = matcher(browser.words);
  return episodesOf(run).filter(
    (one) =>
      one.group === browser.group &&
      (!browser.kind || one.task.kind === browser.kind) &&
      (!browser.length || one.length === browser.length) &&
      (!browser.success || String(one.success) === browser.success) &&
      matches(one),
  );
}

function aboutRun(run) {
  const facts = Object.entries(run.about).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, visible(value))),
  );
  const wide = matchMedia(WIDE).matches;
  return [
    el(
      "p",
      { class: "quiet wide-on" },
      "Pick an episode. Keys: n and p go through the list, j and k through the turns, / goes to the filter, ? shows all.",
    ),
    run.state === "audit" ? aboutMethods(run) : null,
    run.iterations
      ? el("details", { open: wide }, el("summary", {}, "Learning curves of this run"), curvesOf([run]))
      : null,
    el("details", {}, el("summary", {}, "Configuration and facts"), el("dl", { class: "facts" }, facts)),
    run.shown < run.episodes
      ? el(
          "p",
          { class: "note" },
          `${run.shown.toLocaleString("en")} of ${count(run.episodes, "episode")} are in this page.`,
        )
      : null,
  ];
}

function filters(run) {
  const change = (name) => (value) => {
    browser[name] = value;
    browser.page = 0;
    showEpisodes(run, current(), false);
  };
  const kinds = [...new Set(episodesOf(run).map((one) => one.task.kind))].sort();
  const groups = groupsOf(run).map((group) => [group, groupName(...group.split("/"))]);
  const lengths = run.buckets
    ? [
        ["", "any"],
        ["short", "short"],
        ["medium", "medium"],
        ["long", "long"],
      ]
    : null;
  return el(
    "div",
    { class: "fields" },
    choice("group", "Stage", groups, browser.group, change("group")),
    choice(
      "kind",
      "Task type",
      [["", "any"], ...kinds.map((kind) => [kind, visible(kind)])],
      browser.kind,
      change("kind"),
    ),
    lengths ? choice("length", "Task length (expert steps)", lengths, browser.length, change("length")) : null,
    choice(
      "success",
      "Outcome",
      [
        ["", "any"],
        ["true", "solved"],
        ["false", "not solved"],
      ],
      browser.success,
      change("success"),
    ),
    search(
      "episode-filter",
      "Text in the episode",
      browser.words,
      (words) => Object.assign(browser, { words, page: 0 }),
      () => showEpisodes(run, current(), false),
    ),
  );
}

function current() {
  const route = parse(location.hash);
  return route.kind === "run" && route.episode ? route.episode : null;
}

/** The page of the list that holds the chosen episode. */
function showEpisodes(run, chosen, follow) {
  const all = found(run);
  const at = chosen ? all.indexOf(chosen) : -1;
  if (follow && at >= 0) browser.page = Math.floor(at / PAGE_SIZE);
  const pages = Math.max(1, Math.ceil(all.length / PAGE_SIZE));
  browser.page = Math.min(browser.page, pages - 1);
  const from = browser.page * PAGE_SIZE;
  const items = all
    .slice(from, from + PAGE_SIZE)
    .map((one, place) => el("li", {}, listed(one, one === chosen, from + place, all.length)));
  const leaf = (step) => () => {
    browser.page += step;
    showEpisodes(run, chosen, false);
  };
  const turner =
    pages === 1
      ? null
      : el(
          "div",
          { class: "pages" },
          el("button", { type: "button", disabled: browser.page === 0, onclick: leaf(-1) }, "‹ earlier"),
          el("span", { class: "quiet" }, `${from + 1}–${Math.min(from + PAGE_SIZE, all.length)}`),
          el("button", { type: "button", disabled: browser.page === pages - 1, onclick: leaf(1) }, "later ›"),
        );
  const wins = all.filter((one) => one.success).length;
  document
    .getElementById("episodes")
    .replaceChildren(
      el(
        "p",
        { class: "quiet", role: "status" },
        all.length ? `${count(all.length, "episode")}, ${wins} solved` : "No episode matches.",
      ),
      el("div", { class: "rows" }, el("ol", { class: "episodes" }, items)),
      turner || "",
    );
  const marked = document.querySelector("#episodes [aria-current]");
  if (marked && follow && matchMedia(WIDE).matches) {
    const box = document.querySelector(".rows");
    box.scrollTop = Math.max(
      0,
      marked.getBoundingClientRect().top - box.getBoundingClientRect().top + box.scrollTop - 200,
    );
  }
}

function listed(one, chosen) {
  return link(
    placeOf(one),
    [
      result(one),
      el(
        "span",
        { class: "what" },
        el("span", { class: "name" }, visible(one.text("goal") || one.task.key)),
        el(
          "span",
          { class: "quiet" },
          [`#${one.index}`, count(one.turns, "turn"), one.length, visible(one.task.kind)].filter(Boolean).join(" · "),
        ),
      ),
    ],
    { "aria-current": chosen ? "true" : null },
  );
}

function result(one) {
  if (one.get("error"))
    return el(
      "span",
      { class: "mark error", title: "stopped by an error outside the agent's control" },
      "!",
      el("span", { class: "hidden" }, "error"),
    );
  if (one.get("over") === 0)
    return el("span", { class: "mark", title: "still under way" }, "…", el("span", { class: "hidden" }, "under way"));
  return one.success
    ? el("span", { class: "mark good", title: "solved" }, "✓", el("span", { class: "hidden" }, "solved"))
    : el("span", { class: "mark bad", title: "not solved" }, "✗", el("span", { class: "hidden" }, "not solved"));
}
