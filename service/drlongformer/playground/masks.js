/* Masked words: the candidates of each mask, and the text with words that can be clicked to mask them. */

import { bars } from "./charts.js";
import { el, inBreaths } from "./dom.js";
import { Places, fitted, runs, words } from "./text.js";
import { number, say } from "./wording.js";

/** The candidates of an answer's masks. `put(start, end, word)` changes the text, in units; `original` is the word that was masked
    last, `{start, word}`. */
export function candidates({ text, masks, original, put }) {
  const places = new Places(text);
  return el(
    "section",
    { id: "candidates" },
    masks.map((mask, place) => {
      const [start, end] = [places.unit(mask.start), places.unit(mask.end)];
      const button = (word) =>
        el("button", { type: "button", "aria-label": say("insert", { word }), onclick: () => put(start, end, word) }, word);
      const rows = mask.predictions.map(({ token, score }) => ({
        label: button(fitted(text, start, token) || token),
        share: score,
        told: number(score, 4),
      }));
      if (original?.start === start) first(rows, { label: button(original.word), share: 0, told: "–" });
      return [el("h3", {}, say("candidates", { n: place + 1 })), bars(rows)];
    }),
  );
}

/** Puts the row of the word that was masked on top; it may be among the candidates, with its score. */
function first(rows, row) {
  const place = rows.findIndex(({ label }) => label.textContent === row.label.textContent);
  const [found] = place < 0 ? [row] : rows.splice(place, 1);
  rows.unshift({ ...found, label: el("span", {}, found.label, " ", el("span", { class: "hint" }, say("original"))) });
}

/** The text as words. `chosen(start, end)` is told of one that was clicked, in units. */
export function clickable({ text, mask, chosen, signal }) {
  const shown = el("div", {
    class: "document",
    id: "words",
    role: "group",
    tabindex: "0",
    "aria-label": say("words_of_text"),
    lang: "fr",
    translate: "no",
  });
  shown.addEventListener("click", ({ target }) => {
    const word = target.closest(".word");
    if (word && !word.classList.contains("mask")) chosen(Number(word.dataset.start), Number(word.dataset.end));
  });
  const found = words(text, mask);
  let next = 0;
  const draw = ([start, end]) => {
    const parts = [];
    let at = start;
    for (; next < found.length && found[next].start < end; next += 1) {
      const word = found[next];
      const named = { class: word.mask ? "word mask" : "word", "data-start": word.start, "data-end": word.end };
      parts.push(text.slice(at, word.start), el("span", named, text.slice(word.start, word.end)));
      at = word.end;
    }
    shown.append(el("div", {}, parts, text.slice(at, end)));
  };
  inBreaths(runs(text, found), draw, { signal });
  return el("section", {}, el("p", { class: "hint" }, say("click_word")), shown);
}
