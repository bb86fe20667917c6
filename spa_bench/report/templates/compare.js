// Two episodes side by side.

function comparePath(left, right) {
  const side = (one) => `${one.run.name.split("/").map(encodeURIComponent).join("/")}/${one.group}/${one.index}`;
  return `#/compare/${side(left)}/with/${side(right || left)}`;
}

/** The same task in another run of the same world: of the same stage and iteration if possible. */
function partnerOf(one, run = null) {
  for (const other of run ? [run] : partners(one.run)) {
    const [first] = candidates(one, other);
    if (first) return first;
  }
  return null;
}

/** Runs to compare with, the most likely first: the last one chosen, another method with the same seed, the run itself. */
function partners(run) {
  const others = [...store.runs.values()].filter(
    (other) => other.env === run.env && other.seed === run.seed && other.name !== run.name,
  );
  const last = store.runs.get(browser.partner);
  return [...(last && last.env === run.env && last.name !== run.name ? [last] : []), ...others, run];
}

function candidates(one, run) {
  const same = episodesOf(run).filter(
    (other) => other.task.key === one.task.key && other.task.env === one.task.env && other !== one,
  );
  return [...same.filter((other) => other.group === one.group), ...same.filter((other) => other.group !== one.group)];
}

function compareView(left, right) {
  browser.partner = right.run.name;
  const runs = [...store.runs.values()].filter(
    (run) => run.state !== "unreadable" && run.env === left.run.env && run.shown > 0,
  );
  const same = candidates(left, right.run);
  const listed = same.includes(right) ? same : [right, ...same];
  const [a, b] = [left.shownSteps(), right.shownSteps()];
  const differs = Array.from({ length: Math.max(a.length, b.length) }, (_, turn) => turn).find(
    (turn) => !a[turn] || !b[turn] || a[turn].action !== b[turn].action,
  );
  const words =
    differs === undefined ? "The actions are the same in every turn." : `The actions differ from turn ${differs + 1} on.`;
  return [
    el(
      "div",
      { class: "bar" },
      link(placeOf(left), "‹ back to the episode"),
      el("button", { type: "button", onclick: () => neighbour(-1) }, "‹ previous"),
      el("button", { type: "button", onclick: () => neighbour(1) }, "next ›"),
    ),
    el("h1", { tabindex: "-1" }, "Side by side"),
    left.task.key === right.task.key
      ? el("p", { class: "lead" }, words)
      : el("p", { class: "note" }, "These are two different tasks."),
    el(
      "div",
      { class: "fields" },
      choice(
        "with-run",
        "Compare with run",
        runs.map((run) => [run.name, visible(run.name)]),
        right.run.name,
        (name) => compareWith(left, name),
      ),
      choice(
        "with-episode",
        "Episode of the same task",
        listed.map((one) => [one.path, episodeName(one)]),
        right.path,
        (path) => {
          go(comparePath(left, parse(path).episode));
        },
      ),
    ),
    el("p", { id: "no-partner", class: "quiet", role: "status" }),
    el("div", { class: "sides heads" }, sideHead(left, "A"), sideHead(right, "B")),
    el("ol", { class: "pairs" }, pairs(left, right, a, b, differs)),
  ];
}

function compareWith(left, name) {
  const partner = partnerOf(left, store.runs.get(name));
  if (partner) go(comparePath(left, partner));
  else document.getElementById("no-partner").textContent = "That run has no other episode of this task in this page.";
}

function episodeName(one) {
  return `${groupName(one.stage, one.iteration)}, #${one.index}${one.success ? ", solved" : ""}`;
}

function sideHead(one, letter) {
  const steps = one.shownSteps();
  return el(
    "div",
    { class: "side" },
    el(
      "p",
      { class: "who" },
      el("strong", {}, `${letter} · ${visible(one.run.label)}`),
      ` seed ${one.run.seed} `,
      link(one.path, "open"),
    ),
    headOf(one, "h2"),
    stripOf(one, steps, one.steps() === null ? one.branch : 0, NO_PAIR),
  );
}

function pairs(left, right, a, b, differs) {
  const scales = [scaleOf(left, a, NO_PAIR), scaleOf(right, b, NO_PAIR)];
  return Array.from({ length: Math.max(a.length, b.length) }, (_, turn) =>
    el(
      "li",
      { class: "turn pair", id: `turn-${turn + 1}`, tabindex: "-1" },
      turn === differs ? el("p", { class: "differs" }, "first difference") : null,
      el(
        "div",
        { class: "sides" },
        [
          [left, a, "A"],
          [right, b, "B"],
        ].map(([one, steps, letter], side) =>
          el(
            "div",
            { class: "side" },
            el("p", { class: "letter" }, `${letter} · ${visible(one.run.label)}`),
            steps[turn]
              ? turnBody(steps[turn], turn > 0 ? steps[turn - 1].progress : one.get("start"), turn + 1, scales[side])
              : el("p", { class: "quiet" }, `${letter} has ended.`),
          ),
        ),
      ),
    ),
  );
}
