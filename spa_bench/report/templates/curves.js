// Learning curves of runs that share a setting.

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
