/* Drawings of our own: bars, lines over time, a map of likeness. Each says in words what it shows. */

import { el, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 90;

/** A list of bars: `[{label, share, told, second}]`; share is between 0 and 1, told is the figure; label may be an element. */
export function bars(rows) {
  return el(
    "ul",
    { class: "bars" },
    rows.map(({ label, share, told, second }) => {
      const fill = el("span", { class: second ? "second" : null });
      fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
      return el(
        "li",
        {},
        el("span", {}, label),
        el("span", { class: "bar", "aria-hidden": "true" }, fill),
        el("span", { class: "figures" }, told),
      );
    }),
  );
}

/** Lines over time: `series` holds `{name, values}` of one length, oldest first; `told` is the latest figure in words. */
export function lines({ title, series, told, top }) {
  const highest = Math.max(top ?? 0, ...series.flatMap((each) => each.values.filter(Number.isFinite))) || 1;
  const drawn = series.map(({ values }, place) =>
    svg("polyline", { class: place ? "line second" : "line", points: points(values, highest) }),
  );
  const base = svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 });
  return el(
    "figure",
    {},
    el("figcaption", {}, el("span", {}, title), el("b", {}, told)),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${told}` },
      base,
      drawn,
    ),
  );
}

function points(values, highest) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const known = values.map((value, place) => [place * step, value]).filter(([, value]) => Number.isFinite(value));
  return known.map(([x, value]) => `${x.toFixed(1)},${(HEIGHT - 2 - (value / highest) * (HEIGHT - 6)).toFixed(1)}`).join(" ");
}

/** A map of likeness: the stronger the colour of a cell, the more alike its row and its column are.

    `shown(row, column)` is told of the cell under the pointer. The colours run from the least to the greatest score beside the
    diagonal, for embeddings of one document are all close to each other. */
export function heatMap({ matrix, label, shown }) {
  const size = matrix.length;
  const beside = matrix.flatMap((row, one) => row.filter((_, other) => one !== other));
  const low = Math.min(...beside);
  const spread = Math.max(...beside) - low || 1;
  const cell = (score, row, column) =>
    svg("rect", {
      class: "cell",
      x: column + 1,
      y: row,
      width: 1,
      height: 1,
      "fill-opacity": (0.05 + 0.95 * Math.min(1, (score - low) / spread) ** 2).toFixed(3),
      "data-row": row,
      "data-column": column,
    });
  const figure = (place, x, y) => svg("text", { x, y, "text-anchor": "middle" }, String(place + 1));
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${size + 1} ${size + 1}`, role: "img", "aria-label": label },
    matrix.flatMap((row, place) => row.map((score, column) => cell(score, place, column))),
    matrix.map((_, place) => figure(place, 0.5, place + 0.65)),
    matrix.map((_, place) => figure(place, place + 1.5, size + 0.6)),
  );
  drawing.addEventListener("pointerover", ({ target }) => {
    if (target.dataset.row !== undefined) shown(Number(target.dataset.row), Number(target.dataset.column));
  });
  return drawing;
}
