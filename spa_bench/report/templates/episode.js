// One episode, turn by turn.

function episodeView(one) {
  const steps = one.shownSteps();
  const missing = one.steps() === null ? one.branch : 0;
  const rows = rewardsBy(one, steps);
  const pair = pairIn(one.run);
  return [
    el(
      "div",
      { class: "bar" },
      link(runPath(one.run), "‹ list", { class: "narrow-on" }),
      el("button", { type: "button", onclick: () => neighbour(-1) }, "‹ previous"),
      el("button", { type: "button", onclick: () => neighbour(1) }, "next ›"),
      el(
        "button",
        {
          type: "button",
          id: "compare-button",
          onclick: () => {
            go(comparePath(one, partnerOf(one)));
          },
        },
        "Compare",
      ),
    ),
    headOf(one, "h2"),
    one.run.methods ? pairFields(one) : null,
    rows && pair.some(Boolean) ? pairWords(one, rows, pair) : null,
    stripOf(one, steps, missing, pair),
    turnList(one, steps, missing, pair),
  ];
}

function headOf(one, tag) {
  const facts = [
    visible(one.task.kind),
    one.task.split,
    `expert ${one.task.expert} steps${one.length ? ` (${one.length})` : ""}`,
    count(one.turns, "turn"),
    `outcome ${short(one.outcome)}`,
  ];
  if (one.get("character")) facts.push(`character ${one.get("character")}`);
  const error = one.text("error");
  return el(
    "header",
    { class: "episode-head" },
    el(
      tag,
      { tabindex: "-1", id: tag === "h2" ? "episode-title" : null },
      result(one),
      " ",
      visible(one.text("goal") || one.task.key),
    ),
    el("p", { class: "quiet" }, facts.join(" · ")),
    el("p", { class: "quiet key" }, `${groupName(one.stage, one.iteration)}, #${one.index} · ${visible(one.task.key)}`),
    one.branch ? el("p", { class: "note" }, branchNote(one)) : null,
    error ? el("p", { class: "note" }, `Stopped by an error outside the agent's control: ${visible(error)}`) : null,
  );
}

function branchNote(one) {
  const turns = one.branch === 1 ? "Turn 1 is" : `Turns 1 to ${one.branch} are`;
  if (one.steps() === null) return `${turns} the past of another episode, which is not in this page.`;
  return [
    `${turns} the past that this branch shares with `,
    link(one.parent().path, `episode #${one.parent().index}`),
    ".",
  ];
}

function stripOf(one, steps, missing, pair) {
  const rows = rewardsBy(one, steps);
  if (rows) return heatMap(one, steps, rows, pair);
  const start = missing ? 0 : one.get("start");
  const logged = steps.some((step) => step.reward !== null);
  return el(
    "figure",
    { class: "overhead" },
    strip(steps, start, missing, goToTurn),
    el(
      "figcaption",
      { class: "quiet" },
      logged
        ? "oracle progress; valid or invalid action; step rewards"
        : "oracle progress; valid or invalid action; rewards not logged for this stage",
    ),
  );
}

/** The scale of reward bars: the largest reward of the episode, or in an audit that of each method. */
function scaleOf(one, steps, pair) {
  const size = Math.max(0, ...steps.map((step) => Math.abs(step.reward || 0)));
  return { size, rows: rewardsBy(one, steps), pair };
}

function turnList(one, steps, missing, pair) {
  const scale = scaleOf(one, steps, pair);
  const turns = steps.map((step, place) =>
    el(
      "li",
      { class: "turn", id: `turn-${missing + place + 1}`, tabindex: "-1" },
      turnBody(step, place > 0 ? steps[place - 1].progress : one.get("start"), missing + place + 1, scale),
    ),
  );
  const final = one.text("final");
  return el(
    "ol",
    { class: "turns" },
    turns,
    final ? el("li", { class: "turn end" }, el("h3", {}, "End"), long(final, "seen", "observation")) : null,
  );
}

function turnBody(step, before, number, { size, rows, pair }) {
  const fault = step.fault
    ? `invalid action: ${step.fault === "format" ? "no command" : visible(step.fault)}`
    : "valid action";
  return [
    el(
      "h3",
      {},
      `Turn ${number}`,
      el("span", { class: `badge ${step.fault ? "failed" : "finished"}` }, fault),
      step.shared === undefined ? null : el("span", { class: "badge" }, `shared with #${step.shared}`),
      step.expert && step.expert === step.action ? el("span", { class: "badge" }, "same as expert") : null,
    ),
    long(step.seen, "seen", "observation"),
    long(step.reply, "reply", "model output"),
    el(
      "div",
      { class: "said" },
      el("span", { class: "tag" }, "parsed action"),
      step.action
        ? el("span", {}, el("code", {}, visible(step.action)))
        : el("em", {}, "no action parsed"),
    ),
    step.expert && step.expert !== step.action
      ? el(
          "div",
          { class: "said" },
          el("span", { class: "tag" }, "expert action"),
          el("span", {}, el("code", {}, visible(step.expert))),
        )
      : null,
    el(
      "dl",
      { class: "meters" },
      el(
        "div",
        {},
        el("dt", {}, "progress"),
        el(
          "dd",
          {},
          progressBar(before, step.progress),
          el(
            "span",
            { class: "number" },
            `${step.progress.toFixed(2)}${step.progress === before ? "" : ` (${signed(step.progress - before)})`}`,
          ),
        ),
      ),
      step.reward === null
        ? null
        : el(
            "div",
            {},
            el("dt", {}, "reward"),
            el("dd", {}, rewardBar(step.reward, size), el("span", { class: "number" }, signed(step.reward))),
          ),
      step.world
        ? el(
            "div",
            {},
            el("dt", {}, "environment reward"),
            el("dd", {}, el("span", { class: "number" }, signed(step.world))),
          )
        : null,
    ),
    rows ? rewardsOf(rows, number - 1, pair) : null,
  ];
}

/** Long text is cut until asked for. */
function long(text, kind, tag) {
  const limit = text.length > 1200 ? 900 : text.length;
  const node = el(
    "div",
    { class: `said ${kind}` },
    tag ? el("span", { class: "tag" }, tag) : null,
    el("bdi", {}, visible(text.slice(0, limit)) || el("em", {}, "nothing")),
  );
  if (text.length > limit) {
    const more = el(
      "button",
      {
        type: "button",
        class: "more",
        onclick: () => {
          node.querySelector("bdi").textContent = visible(text);
          more.remove();
        },
      },
      `… ${count(text.length - limit, "more character")}`,
    );
    node.append(more);
  }
  return node;
}
