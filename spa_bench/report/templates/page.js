// Where the reader is, what keys do, and news from a live server.

const shown = { hash: null };
const KEYS = [
  ["j or ↓", "next turn"],
  ["k or ↑", "previous turn"],
  ["n or →", "next episode of the list"],
  ["p or ←", "previous episode"],
  ["c", "compare with another run on the same task"],
  ["m", "in an audit: pick two methods"],
  ["/", "to the filter"],
  ["o", "overview"],
  ["u", "up: from an episode to its run"],
  ["?", "these keys"],
  ["Esc", "close, or leave the filter"],
];

/** What an address names. Addresses are links: they must mean the same next year. */
function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const compare = text.match(
    /^compare\/(.+)\/([^/]+)\/(\d+)\/(\d+)\/with\/(.+)\/([^/]+)\/(\d+)\/(\d+)(?:\/turn\/(\d+))?$/,
  );
  if (compare) {
    const [left, right] = [episodeAt(...compare.slice(1, 5)), episodeAt(...compare.slice(5, 9))];
    return left && right ? { kind: "compare", left, right, turn: compare[9] } : { kind: "missing" };
  }
  const place = text.match(
    /^run\/(.+?)(?:\/episode\/([^/]+)\/(\d+)\/(\d+)(?:\/methods\/([^/]*)\/([^/]*))?(?:\/turn\/(\d+))?)?$/,
  );
  if (place) {
    const run = runAt(place[1]);
    const episode = place[2] ? episodeAt(...place.slice(1, 5)) : null;
    const pair = run && readPair(run, place.slice(5, 7));
    if (!run || !pair || (place[2] && !episode)) return { kind: "missing", run };
    return { kind: "run", run, episode, pair, turn: place[7] };
  }
  return { kind: text === "curves" ? "curves" : text === "" ? "overview" : "missing" };
}

function runAt(path) {
  try {
    const run = store.runs.get(path.split("/").map(decodeURIComponent).join("/"));
    return run && run.state !== "unreadable" ? run : null;
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

function episodeAt(path, stage, iteration, index) {
  const run = runAt(path);
  return run
    ? episodesOf(run).find(
        (one) => one.stage === stage && one.iteration === Number(iteration) && one.index === Number(index),
      ) || null
    : null;
}

/** Go to an address and draw it at once: keys that follow quickly must meet the new view. */
function go(address) {
  location.hash = address;
  show();
}

function show({ focus = true } = {}) {
  shown.hash = location.hash;
  const route = parse(location.hash);
  const views = {
    overview: () => [overviewView(), showRuns],
    curves: () => [curvesView(), () => {}],
    run: () => [runView(route.run, route.episode, route.pair), () => afterRun(route.run, route.episode)],
    compare: () => [compareView(route.left, route.right), () => {}],
    missing: () => [
      [
        el("h1", { tabindex: "-1" }, "Not in this page"),
        el("p", {}, "This page does not hold the run or episode of this link."),
      ],
      () => {},
    ],
  };
  const [content, after] = views[route.kind]();
  document.getElementById("main").replaceChildren(...content.flat(Infinity).filter(Boolean));
  document.title = `${titleOf(route)} · spa-bench report`;
  navigate(route);
  after();
  if (focus) begin(route);
}

function begin(route) {
  scrollTo(0, 0);
  if (route.turn) goToTurn(Number(route.turn) - 1);
  else document.querySelector(route.episode ? "#episode-title" : "#main h1").focus({ preventScroll: true });
}

function titleOf(route) {
  if (route.kind === "run")
    return `${route.run.label}, seed ${route.run.seed}${route.episode ? `, episode ${route.episode.index}` : ""}`;
  return { overview: "Overview", curves: "Curves", compare: "Side by side", missing: "Not found" }[route.kind];
}

function navigate(route) {
  const first = [...store.runs.values()].find((run) => run.shown > 0);
  const items = [
    ["overview", "#/", "Overview"],
    ["curves", "#/curves", "Curves"],
  ];
  if (first)
    items.push([
      "run",
      route.run
        ? runPath(route.run)
        : browser.run && store.runs.has(browser.run)
          ? runPath(store.runs.get(browser.run))
          : runPath(first),
      "Episodes",
    ]);
  const here = route.kind === "compare" ? "run" : route.kind;
  document
    .getElementById("nav")
    .replaceChildren(
      ...items.map(([kind, address, text]) => link(address, text, { "aria-current": kind === here ? "page" : null })),
    );
}

// Moving

function turns() {
  return [...document.querySelectorAll(".turn")];
}

function goToTurn(number) {
  const all = turns();
  const node = all[Math.max(0, Math.min(number, all.length - 1))];
  if (!node) return;
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "start" });
  const plain = location.hash.replace(/\/turn\/\d+$/, "");
  history.replaceState(null, "", node.id ? `${plain}/${node.id.replace("-", "/")}` : plain);
}

function moveTurn(step) {
  const at = turns().indexOf(document.activeElement ? document.activeElement.closest(".turn") : null);
  goToTurn(at < 0 ? 0 : at + step);
}

/** The next episode of the list; side by side, the next one that the other run has played too. */
function neighbour(step) {
  const route = parse(location.hash);
  const one = route.kind === "compare" ? route.left : route.episode;
  if (route.kind !== "run" && route.kind !== "compare") return;
  const run = one ? one.run : route.run;
  if (browser.run !== run.name) openRun(run, one);
  const all = found(run);
  const here = all.indexOf(one);
  for (let at = here < 0 ? 0 : here + step; at >= 0 && at < all.length; at += step) {
    if (route.kind === "run") {
      go(placeOf(all[at]));
      return;
    }
    const partner = partnerOf(all[at], route.right.run);
    if (partner) {
      go(comparePath(all[at], partner));
      return;
    }
  }
}

function up() {
  const route = parse(location.hash);
  if (route.kind === "compare") go(placeOf(route.left));
  else if (route.episode) go(runPath(route.run));
  else go("#/");
}

function compareHere() {
  const button = document.getElementById("compare-button");
  if (button) button.click();
}

function toFilter(event) {
  const input = document.querySelector("[data-filter]");
  if (!input) return;
  event.preventDefault();
  input.focus();
  input.select();
}

const ACTIONS = {
  j: () => moveTurn(1),
  ArrowDown: () => moveTurn(1),
  k: () => moveTurn(-1),
  ArrowUp: () => moveTurn(-1),
  n: () => neighbour(1),
  ArrowRight: () => neighbour(1),
  p: () => neighbour(-1),
  ArrowLeft: () => neighbour(-1),
  c: compareHere,
  m: toMethods,
  o: () => {
    go("#/");
  },
  u: up,
  "?": help,
};

function onKey(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  const typing = target.matches("input, select, textarea");
  if (typing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === "/") {
    toFilter(event);
    return;
  }
  const arrow = event.key.startsWith("Arrow");
  if (arrow && (turns().length === 0 || target.matches(".scroll"))) return;
  const action = Object.hasOwn(ACTIONS, event.key) ? ACTIONS[event.key] : null;
  if (action) {
    event.preventDefault();
    action();
  }
}

function help() {
  const rows = KEYS.map(([key, what]) =>
    el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, what)),
  );
  const dialog = document.getElementById("help");
  dialog.replaceChildren(
    el("h2", { id: "help-title" }, "Keys"),
    el("table", {}, el("tbody", {}, rows)),
    el("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  );
  dialog.showModal();
}

// News

const live = { version: null, tables: null, failed: false, waiting: false };

/** Ask for news; the longer an answer takes, the longer the pause after it. */
async function poll() {
  const began = performance.now();
  try {
    const { version } = await (await fetch("version", { cache: "no-store" })).json();
    if (live.version !== version || live.failed) {
      const news = await (await fetch("data.json", { cache: "no-store" })).json();
      live.version = news.version;
      live.waiting = true;
      loadFromServer(news);
    }
    fetchFigures();
    const selecting = getSelection().type === "Range"; // whoever copies a text would lose it
    if (live.waiting && !selecting) {
      live.waiting = false;
      redraw();
    }
    live.failed = false;
    say("live");
  } catch {
    live.failed = true;
    say("server not reachable; showing its last data");
  }
  setTimeout(poll, Math.max(2000, 5 * (performance.now() - began)));
}

/** Figures are drawn when they are asked for, and only where the tables have changed. */
async function fetchFigures() {
  const tables = JSON.stringify([store.report.tables, store.report.audits]);
  if (tables === live.tables) return;
  live.tables = tables;
  try {
    store.figures = await (await fetch("figures.json", { cache: "no-store" })).json();
    live.waiting = true;
  } catch {
    live.tables = null;
  }
}

/** Draw the same place with new data; the reader's focus and scroll stay where they were. */
function redraw() {
  const active = document.activeElement;
  const [id, place, list] = [active && active.id, [scrollX, scrollY], document.querySelector(".rows")];
  const opened = [...document.querySelectorAll("main details")].map((fold) => fold.open);
  const down = list ? list.scrollTop : 0;
  const caret = active && active.matches("input") ? [active.selectionStart, active.selectionEnd] : null;
  show({ focus: false });
  const again = document.querySelector(".rows");
  if (again) again.scrollTop = down;
  const folds = [...document.querySelectorAll("main details")];
  if (folds.length === opened.length)
    folds.forEach((fold, place) => {
      fold.open = opened[place];
    });
  const node = id ? document.getElementById(id) : null;
  if (node) node.focus({ preventScroll: true });
  if (node && caret) node.setSelectionRange(...caret);
  scrollTo(...place);
}

function say(text) {
  const node = document.getElementById("live");
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("gone", live.failed);
}

function start() {
  loadFromPage();
  addEventListener("hashchange", () => {
    if (location.hash !== shown.hash) show();
  });
  addEventListener("keydown", onKey);
  document.getElementById("help-button").addEventListener("click", help);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  show({ focus: parse(location.hash).kind !== "overview" });
  live.version = document.getElementById("code").dataset.version;
  if (live.version) poll();
}

start();
