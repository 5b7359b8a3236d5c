/* How alike documents are, or the parts of one: a map, the list of what its rows are, and the closest pairs. */

import { heatMap } from "./charts.js";
import { el } from "./dom.js";
import { cosines, pairs } from "./vectors.js";
import { number, say } from "./wording.js";

const MOST = 48;
const CLOSEST = 10;

/** `parts` are `[{title, vector}]`, in order. */
export function likeness(parts) {
  const found = el("section", { id: "likeness" }, el("h3", {}, say("task-embed")));
  if (parts.length < 2) {
    found.append(el("p", {}, say("two_needed")));
    return found;
  }
  const shown = parts.slice(0, MOST);
  const matrix = cosines(shown.map((part) => part.vector));
  const titles = shown.map((part) => part.title);
  const told = el("p", { class: "hint", id: "map-told" }, "\u00a0");
  const ranked = pairs(matrix);
  const [high, low] = [ranked[0], ranked.at(-1)].map(({ score }) => number(score, 3));
  const tell = (row, column) => {
    told.textContent = `${row + 1} · ${column + 1}: ${number(matrix[row][column], 3)} (${titles[row]} · ${titles[column]})`;
  };
  const map = heatMap({ matrix, label: say("similarity_map", { n: shown.length }), shown: tell });
  if (parts.length > MOST) found.append(el("p", { class: "hint" }, say("map_bounded", { shown: MOST, of: parts.length })));
  found.append(
    el("p", { class: "hint" }, say("map_scale", { low, high })),
    el("div", { class: "map" }, map),
    told,
    el(
      "ol",
      { class: "key-of-map" },
      titles.map((title) => el("li", {}, title)),
    ),
    el("h3", {}, say("closest")),
    closest(ranked.slice(0, CLOSEST), titles),
  );
  return found;
}

function closest(found, titles) {
  const heads = ["first", "second", "cosine"].map((key) => el("th", { scope: "col" }, say(key)));
  const rows = found.map(({ first, second, score }) =>
    el("tr", {}, el("td", {}, titles[first]), el("td", {}, titles[second]), el("td", { class: "figures" }, number(score, 3))),
  );
  return el("table", { id: "closest" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows));
}
