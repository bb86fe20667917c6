// Pictures: CIs in tables, learning curves, and an episode from above.

const HUES = 8;
const SHAPES = ["circle", "square", "triangle", "diamond"];

/** A CI on a line from the first to the last of `range`, with its mean if there is one. */
function whisker({ mean, low, high }, [first, last]) {
  const place = (value) => 4 + (112 * (value - first)) / (last - first);
  const parts = [draw("line", { x1: 4, x2: 116, y1: 9, y2: 9, class: "rail" })];
  if (first < 0) parts.push(draw("line", { x1: place(0), x2: place(0), y1: 1, y2: 17, class: "zero" }));
  parts.push(draw("line", { x1: place(low), x2: place(high), y1: 9, y2: 9, class: "reach" }));
  if (mean !== null) parts.push(draw("circle", { cx: place(mean), cy: 9, r: 4, class: "dot" }));
  return draw("svg", { viewBox: "0 0 120 18", class: "whisker", "aria-hidden": "true" }, parts);
}

/** A figure by iteration: one line for each method, a band from its lowest to its highest seed. */
function curveChart(title, series, asPercent) {
  const points = series.flatMap((one) => one.points);
  const figure = el("figure", { class: "chart" }, el("figcaption", {}, title));
  if (points.length === 0) {
    figure.append(el("p", { class: "quiet" }, "not on record"));
    return figure;
  }
  const scale = scales(points, asPercent);
  const reading = el("p", { class: "reading" });
  const picture = draw(
    "svg",
    { viewBox: "0 0 420 230", role: "img", "aria-label": said(title, series, asPercent) },
    axes(scale, asPercent),
    series.map((one) => curve(one, scale)),
  );
  watch(picture, series, scale, reading, asPercent);
  figure.append(picture, reading, numbers(series, asPercent));
  return figure;
}

function scales(points, asPercent) {
  const xs = points.map((point) => point.x);
  const lows = points.map((point) => point.low);
  const highs = points.map((point) => point.high);
  let [bottom, top] = asPercent ? [0, 1] : [Math.min(0, ...lows), Math.max(...highs)];
  if (top === bottom) top = bottom + 1;
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const wide = Math.max(last - first, 1);
  return {
    first,
    last,
    bottom,
    top,
    x: (value) => (last === first ? 230 : 48 + (360 * (value - first)) / wide),
    y: (value) => 200 - (186 * (value - bottom)) / (top - bottom),
  };
}

function axes({ first, last, bottom, top, x, y }, asPercent) {
  const parts = [];
  for (const value of ticks(bottom, top, 4)) {
    parts.push(draw("line", { x1: 48, x2: 408, y1: y(value), y2: y(value), class: value === 0 ? "zero" : "grid" }));
    const text = asPercent ? `${Math.round(100 * value)} %` : tickText(value, top - bottom);
    parts.push(draw("text", { x: 42, y: y(value) + 4, class: "tick end" }, text));
  }
  for (const value of ticks(first, last, 6).filter(Number.isInteger)) {
    parts.push(draw("text", { x: x(value), y: 220, class: "tick middle" }, String(value)));
  }
  return parts;
}

function ticks(low, high, wanted) {
  if (high <= low) return [low];
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1)
    found.push(Number((at * step).toPrecision(12)));
  return found;
}

function tickText(value, range) {
  if (value === 0) return "0";
  return range < 0.001 ? value.toExponential(0) : String(Number(value.toPrecision(3)));
}

function curve({ hue, points }, { x, y }) {
  const line = points.map((point) => `${x(point.x).toFixed(1)},${y(point.mean).toFixed(1)}`).join(" ");
  const upper = points.map((point) => `${x(point.x).toFixed(1)},${y(point.high).toFixed(1)}`);
  const lower = points.map((point) => `${x(point.x).toFixed(1)},${y(point.low).toFixed(1)}`).reverse();
  const parts = [];
  if (points.some((point) => point.n > 1))
    parts.push(draw("polygon", { points: [...upper, ...lower].join(" "), class: "band" }));
  parts.push(draw("polyline", { points: line, class: "line" }));
  points.forEach((point) => parts.push(marker(SHAPES[hue % SHAPES.length], x(point.x), y(point.mean))));
  return draw("g", { class: `hue-${hue % HUES}${hue >= HUES ? " dashed" : ""}` }, parts);
}

function marker(shape, x, y) {
  const paths = {
    circle: `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z`,
    square: `M${x - 3} ${y - 3}h6v6h-6z`,
    triangle: `M${x} ${y - 4}l4 7h-8z`,
    diamond: `M${x} ${y - 4}l4 4l-4 4l-4 -4z`,
  };
  return draw("path", { d: paths[shape], class: "marker" });
}

function said(title, series, asPercent) {
  const ends = series
    .filter((one) => one.points.length)
    .map((one) => {
      const last = one.points[one.points.length - 1];
      return `${one.label} ${asPercent ? `${percent(last.mean)} %` : short(last.mean)}`;
    });
  return `${title} by iteration; at the end ${ends.join(", ")}`;
}

/** Under the pointer: the nearest iteration, and what every method reached there; at rest the last one. */
function watch(picture, series, { x }, reading, asPercent) {
  const cursor = draw("line", { y1: 14, y2: 200, class: "cursor" });
  const xs = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))];
  const mark = (at) => {
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
  };
  const rest = () => {
    mark(-9);
    reading.replaceChildren(...readingAt(Math.max(...xs), series, asPercent));
  };
  picture.append(cursor);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) * 420) / box.width;
    const nearest = xs.reduce((best, value) => (Math.abs(x(value) - at) < Math.abs(x(best) - at) ? value : best));
    mark(x(nearest));
    reading.replaceChildren(...readingAt(nearest, series, asPercent));
  });
  picture.addEventListener("pointerleave", rest);
  rest();
}

function readingAt(x, series, asPercent) {
  const write = (value) => (asPercent ? `${percent(value)} %` : short(value));
  const known = series.map((one) => [one, one.points.find((point) => point.x === x)]).filter(([, point]) => point);
  const values = known.map(([one, point]) =>
    el("span", { class: `read hue-${one.hue % HUES}` }, `${one.label} ${write(point.mean)}`),
  );
  return [`iteration ${x}: `, ...values];
}

function numbers(series, asPercent) {
  const write = (value) => (asPercent ? percent(value) : short(value));
  const xs = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))].sort((a, b) => a - b);
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "iteration"),
    series.map((one) => el("th", { scope: "col" }, one.label)),
  );
  const rows = xs.map((value) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, String(value)),
      series.map((one) => {
        const point = one.points.find((found) => found.x === value);
        const range = point && point.n > 1 ? ` (${write(point.low)} to ${write(point.high)})` : "";
        return el("td", {}, point ? `${write(point.mean)}${range}` : "–");
      }),
    ),
  );
  return el(
    "details",
    {},
    el("summary", {}, "Numbers"),
    scroller("Numbers of the curve", el("table", {}, el("thead", {}, head), el("tbody", {}, rows))),
  );
}

/** What each line is; a click hides it in all pictures, so that twenty methods can be told apart. */
function legend(series, hidden, place, toggle) {
  const items = series.map((one) => {
    const [id, shown] = [`line-${place}-${one.hue}`, !hidden.has(one.label)];
    const attributes = { type: "button", id, "aria-pressed": String(shown), title: shown ? "hide" : "show" };
    return el(
      "li",
      {},
      el("button", { ...attributes, onclick: () => toggle(one.label, id) }, key(one), one.label, seedCount(one)),
    );
  });
  return el("ul", { class: "legend" }, items);
}

function key(one) {
  const line = draw("line", { x1: 1, x2: 27, y1: 6, y2: 6, class: "line" });
  const lineStyle = `hue-${one.hue % HUES}${one.hue >= HUES ? " dashed" : ""}`;
  const sample = draw("g", { class: lineStyle }, line, marker(SHAPES[one.hue % SHAPES.length], 14, 6));
  return draw("svg", { viewBox: "0 0 28 12", "aria-hidden": "true" }, sample);
}

function seedCount(one) {
  return el("span", { class: "quiet" }, count(one.seeds, "seed"));
}

/** The whole episode in one strip: progress as steps, valid and invalid actions, rewards as bars. */
function strip(steps, start, first, pick) {
  const wide = Math.max(steps.length, 1);
  const size = Math.max(...steps.map((step) => Math.abs(step.reward || 0)), 0);
  const logged = steps.some((step) => step.reward !== null);
  const tall = logged ? 108 : 66;
  const picture = draw("svg", {
    viewBox: `0 0 ${wide * 20} ${tall}`,
    preserveAspectRatio: "none",
    class: logged ? "strip logged" : "strip",
    "aria-hidden": "true",
  });
  let path = `M0 ${50 - 44 * start}`;
  steps.forEach((step, turn) => {
    const left = turn * 20;
    path += `L${left} ${50 - 44 * step.progress}L${left + 20} ${50 - 44 * step.progress}`;
    picture.append(draw("rect", { x: left + 2, y: 56, width: 16, height: 6, class: step.fault ? "bad" : "good" }));
    if (logged && step.reward) {
      const high = (20 * Math.abs(step.reward)) / size;
      picture.append(
        draw("rect", {
          x: left + 4,
          y: step.reward > 0 ? 86 - high : 86,
          width: 12,
          height: high,
          class: step.reward > 0 ? "gain" : "loss",
        }),
      );
    }
    picture.append(
      draw("rect", { x: left, y: 0, width: 20, height: tall, class: "hit", onclick: () => pick(first + turn) }),
    );
  });
  if (logged) picture.prepend(draw("line", { x1: 0, x2: wide * 20, y1: 86, y2: 86, class: "zero" }));
  picture.prepend(
    draw("path", { d: `${path}L${wide * 20} 50L0 50Z`, class: "area" }),
    draw("path", { d: path, class: "trace" }),
  );
  return picture;
}

/** A bar from the middle: to the right for positive rewards, to the left for negative ones. */
function rewardBar(reward, size) {
  const reach = size > 0 ? (48 * Math.abs(reward)) / size : 0;
  return draw(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", class: "reward-bar", "aria-hidden": "true" },
    draw("line", { x1: 50, x2: 50, y1: 0, y2: 10, class: "zero" }),
    draw("rect", {
      x: reward >= 0 ? 50 : 50 - reach,
      y: 1,
      width: reach,
      height: 8,
      class: reward >= 0 ? "gain" : "loss",
    }),
  );
}

function progressBar(before, after) {
  const [low, high] = [Math.min(before, after), Math.max(before, after)];
  return draw(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", class: "progress-bar", "aria-hidden": "true" },
    draw("rect", { x: 0, y: 1, width: 100, height: 8, class: "rail" }),
    draw("rect", { x: 0, y: 1, width: 100 * low, height: 8, class: "had" }),
    draw("rect", {
      x: 100 * low,
      y: 1,
      width: 100 * (high - low),
      height: 8,
      class: after >= before ? "gain" : "loss",
    }),
  );
}
