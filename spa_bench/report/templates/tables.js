// Tables and figures: what a report prints and draws, with CIs drawn, and each as a file.

const INTERVAL = /^([+-]?[\d.]+)(?:-| to )([+-]?[\d.]+)$/;

function worldFold(world) {
  return `world-${world}`;
}

/** One world's tables and figures below the other's; open where there is one world only. */
function worldFolds(tables) {
  const worlds = [...new Set(tables.map((table) => table.about.world))];
  const folds = worlds.map((world) => {
    const own = tables.filter((table) => table.about.world === world);
    const methods = new Set(own.flatMap((table) => (table.grids[0] ? table.grids[0].rows.map((row) => row[0]) : [])));
    const told = `${count(own.length, "table")}, ${count(methods.size, "row")}`;
    return fold(worldFold(world), visible(world), told, worlds.length === 1, () =>
      own.map((table) => tableSection(table, tables.indexOf(table))),
    );
  });
  const shared = figuresOf("");
  return [
    folds,
    shared.length ? fold("shared", "Figures of all worlds", count(shared.length, "figure"), false, () => pictures(shared)) : null,
  ];
}

/** What every audit has measured. */
function auditFolds() {
  return store.report.audits.map((section) => {
    const title = section.grids.map((grid) => visible(grid.title)).join(", ");
    return fold(section.name, `Audit: ${title}`, "", false, () => [sectionBody(section), pictures(figuresOf(section.name))]);
  });
}

function paperFold() {
  const { papers } = store.report;
  const told = "our numbers in the rows of papers, beside those that they report";
  if (papers.length === 0) return null;
  return fold("papers", "Tables of papers", told, false, () => papers.map((section) => el("section", {}, sectionBody(section))));
}

/** The tables side by side, and in which settings those of one world differ. */
function worldsSide() {
  const { worlds, settings } = store.report;
  return [
    worlds.map((section) => el("section", {}, el("h2", {}, "All worlds"), sectionBody(section))),
    settings
      ? el("section", {}, el("h2", {}, "Settings that differ"), gridTable(settings, "settings"))
      : null,
  ];
}

/** A part that is made when it is opened first; that it is open is kept. */
function fold(id, title, told, open, make) {
  const shown = overview.folds.has(id) ? overview.folds.get(id) : open;
  const node = el(
    "details",
    { class: "fold", open: shown },
    el("summary", {}, el("h2", {}, title), told ? el("span", { class: "quiet" }, ` ${told}`) : null),
  );
  const fillIn = () => {
    if (node.childElementCount === 1) node.append(el("div", {}, [make()].flat(Infinity).filter(Boolean)));
  };
  if (shown) fillIn();
  node.addEventListener("toggle", () => {
    overview.folds.set(id, node.open);
    if (node.open) fillIn();
  });
  return node;
}

/** The tables of a section, each under its title, and its notes. */
function sectionBody(section) {
  return [
    section.grids.map((grid) => [el("p", { class: "title" }, visible(grid.title)), gridTable(grid, grid.file)]),
    notes(section.notes),
  ];
}

function notes(lines) {
  return el(
    "ul",
    { class: "notes" },
    lines.map((note) => el("li", {}, visible(note))),
  );
}

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
    el("h2", { id: `table-${number}`, tabindex: "-1" }, title),
    first ? first[1] : null,
    others.map(([grid, node]) =>
      el("details", { open: grid.name.startsWith("differences") }, el("summary", {}, visible(grid.title)), node),
    ),
    el("details", {}, el("summary", {}, "world, evaluation set, model, protocol"), el("dl", { class: "facts" }, facts)),
    pictures(figuresOf(table.name)),
    notes(table.notes),
  );
}

// Figures and files

function figuresOf(section) {
  return figures().filter((one) => one.section === section);
}

/** As an image a figure runs no script, asks for nothing and shares no name with the page or another figure. */
function pictures(found) {
  return found.map((one) => {
    const told = visible(`${one.title}. ${one.caption}`);
    const source = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(one.svg)}`;
    const files = [["SVG", `${one.name}.svg`, "image/svg+xml", () => one.svg]];
    if (one.pdf)
      files.push(["PDF", `${one.name}.pdf`, "application/pdf", () => Uint8Array.from(atob(one.pdf), (c) => c.charCodeAt(0))]);
    return el(
      "figure",
      { class: "picture" },
      scroller(visible(one.title), el("img", { src: source, alt: told })),
      saves(visible(one.title), files),
    );
  });
}

/** Buttons that save a file; the browser asks nobody for it. */
function saves(what, files) {
  const save = ([, name, type, content]) => {
    const address = URL.createObjectURL(new Blob([content()], { type }));
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };
  return el(
    "p",
    { class: "saves" },
    files.map((file) =>
      el(
        "button",
        { type: "button", "aria-label": `Save ${file[0]}: ${what}`, title: file[1], onclick: () => save(file) },
        `↓ ${file[0]}`,
      ),
    ),
  );
}

/** What is wider than the page scrolls by itself, and says so. */
function scroller(label, ...children) {
  const node = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, children);
  widths.observe(node);
  return node;
}

const widths = new ResizeObserver((entries) => {
  // In the next frame: a change of size in here would be reported as a loop.
  requestAnimationFrame(() => {
    for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
  });
});

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
  const table = el("div", {}, sortable(id, columns, rows, visible(grid.title)));
  if (grid.file)
    table.append(
      saves(visible(grid.title), [
        ["CSV", `${grid.file}.csv`, "text/csv", () => grid.csv],
        ["LaTeX", `${grid.file}.tex`, "application/x-tex", () => grid.tex],
      ]),
    );
  return table;
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
  const place = scroller(caption);
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

