"use strict";
// The data of the page, and small tools to build elements. Text from runs only ever becomes text nodes.

const PAGE_SIZE = 50;
const WIDE = "(min-width: 900px)";
const GROUP_NAMES = {
  eval: "held-out tasks, after training",
  warm_start: "held-out tasks, before training",
  audit: "audited episodes",
};
const HELD_OUT = new Set(["eval", "warm_start"]);
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

const store = { report: null, book: null, raw: [], figures: null, runs: new Map(), parsed: new Map(), texts: null };

function block(id) {
  const node = document.getElementById(id);
  return node === null ? null : JSON.parse(node.textContent);
}

function loadFromPage() {
  store.raw = null;
  adopt(block("report"));
}

function loadFromServer(news) {
  store.raw = news.episodes;
  store.book = news.book;
  adopt(news.report);
}

/** All figures of this page; of a live one those that its server has sent so far. */
function figures() {
  if (store.figures === null) {
    store.figures = [];
    for (let number = 0, one; (one = block(`figure-${number}`)) !== null; number += 1) store.figures.push(one);
  }
  return store.figures;
}

function adopt(report) {
  store.report = report;
  store.places = Object.fromEntries(report.fields.map((name, place) => [name, place]));
  store.runs = new Map(report.runs.map((run, number) => [run.name, { ...run, number }]));
  store.parsed = new Map();
  store.lower = null;
}

function book() {
  if (store.book === null) store.book = block("book");
  return store.book;
}

/** All episodes of a run that this page holds, in order; parsed when they are first asked for. */
function episodesOf(run) {
  if (!store.parsed.has(run.name)) {
    const groups = (store.raw === null ? block(`episodes-${run.number}`) : store.raw[run.number]) || [];
    store.parsed.set(
      run.name,
      groups.flatMap(([stage, iteration, members]) => members.map((raw) => new Episode(run, stage, iteration, raw))),
    );
  }
  return store.parsed.get(run.name);
}

class Episode {
  constructor(run, stage, iteration, raw) {
    Object.assign(this, { run, stage, iteration, raw });
    this.index = this.get("index");
    this.success = this.get("success") === 1;
    this.outcome = this.get("outcome");
    this.branch = this.get("branch");
    const [env, key, split, kind, expert] = book().tasks[this.get("task")];
    this.task = { env, key, split, kind, expert };
    this.length = lengthOf(expert, run.buckets);
    this.turns = this.branch + this.get("steps").length / 3;
  }

  get(name) {
    return this.raw[store.places[name]];
  }
  text(name) {
    return book().texts[this.get(name)];
  }
  get group() {
    return `${this.stage}/${this.iteration}`;
  }
  get path() {
    return `${runPath(this.run)}/episode/${this.group}/${this.index}`;
  }

  /** The steps that this episode itself played. */
  ownSteps() {
    const [flat, rewards, given] = [this.get("steps"), this.get("rewards"), this.get("world")];
    const world = new Map();
    for (let at = 0; at < given.length; at += 2) world.set(given[at], given[at + 1]);
    const steps = [];
    for (let at = 0; at < flat.length; at += 3) {
      const [reply, action, fault, expert] = book().moves[flat[at + 1]].map((text) => book().texts[text]);
      const turn = at / 3;
      const reward = rewards.length ? rewards[turn] : null;
      const seen = book().texts[flat[at]];
      steps.push({ seen, reply, action, fault, expert, progress: flat[at + 2], reward, world: world.get(turn) || 0 });
    }
    return steps;
  }

  parent() {
    const wanted = this.get("parent");
    if (wanted < 0) return null;
    return episodesOf(this.run).find((one) => one.group === this.group && one.index === wanted) || null;
  }

  /** All steps; those of a branch's past come from its parent and say so. `null`: the past is not in this page. */
  steps() {
    if (this.branch === 0) return this.ownSteps();
    const parent = this.parent();
    const past = parent === null || parent.index >= this.index ? null : parent.steps();
    if (past === null) return null;
    return [...past.slice(0, this.branch).map((step) => ({ ...step, shared: parent.index })), ...this.ownSteps()];
  }

  /** As `steps`; where the past is missing only what is there. */
  shownSteps() {
    return this.steps() || this.ownSteps();
  }
}

function lengthOf(expert, limits) {
  if (!limits) return "";
  return expert <= limits[0] ? "short" : expert <= limits[1] ? "medium" : "long";
}

/** Texts that hold the words, as a set of their places. */
function textsWith(words) {
  if (!store.lower) store.lower = book().texts.map((text) => text.toLowerCase());
  const found = new Set();
  store.lower.forEach((text, place) => {
    if (text.includes(words)) found.add(place);
  });
  return found;
}

function matcher(words) {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return () => true;
  const texts = textsWith(wanted);
  const moves = new Set();
  book().moves.forEach((move, place) => {
    if (move.some((text) => texts.has(text))) moves.add(place);
  });
  return (one) => {
    if (one.task.key.toLowerCase().includes(wanted) || one.task.kind.toLowerCase().includes(wanted)) return true;
    if (["goal", "final", "error"].some((name) => texts.has(one.get(name)))) return true;
    const flat = one.get("steps");
    for (let at = 0; at < flat.length; at += 3) if (texts.has(flat[at]) || moves.has(flat[at + 1])) return true;
    return false;
  };
}

// Names and numbers

function runPath(run) {
  return `#/run/${run.name.split("/").map(encodeURIComponent).join("/")}`;
}
function percent(value) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)}`;
}
function signed(value) {
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${short(Math.abs(value))}`;
}
function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}
function groupName(stage, iteration) {
  return GROUP_NAMES[stage] || `${stage.replaceAll("_", " ")}, iteration ${iteration}`;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000
    ? Math.round(value).toLocaleString("en")
    : size >= 10
      ? value.toFixed(1)
      : size >= 0.001
        ? value.toFixed(3)
        : value.toExponential(1);
}

/** What a model wrote, with every invisible or direction-changing character as an escape. */
function visible(text) {
  return text.replace(HIDDEN, (char) =>
    char === "\n" || char === "\t" ? char : `\\u{${char.codePointAt(0).toString(16)}}`,
  );
}

// Elements

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

function choice(id, label, options, chosen, onchange) {
  const items = options.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  return el(
    "label",
    { class: "field", for: id },
    el("span", {}, label),
    el("select", { id, onchange: (event) => onchange(event.target.value) }, items),
  );
}

/** A field whose words are kept at once and acted on when typing pauses, if the reader has not gone elsewhere. */
function search(id, label, value, keep, act) {
  let timer = 0;
  const later = (event) => {
    keep(event.target.value);
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.getElementById(id)) act();
    }, 120);
  };
  return el(
    "label",
    { class: "field grow", for: id },
    el("span", {}, label),
    el("input", {
      id,
      type: "search",
      value,
      autocomplete: "off",
      spellcheck: "false",
      oninput: later,
      "data-filter": true,
    }),
  );
}
