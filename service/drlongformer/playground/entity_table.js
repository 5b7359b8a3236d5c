/* Entities as a table, a page of rows at a time. */

import { el } from "./dom.js";
import { number, say } from "./wording.js";

const ROWS = 100;

/** The table of the entities that are shown. */
export function table(view) {
  const places = view.visible;
  const body = el("tbody");
  const told = el("span", { role: "status" });
  let first = 0;
  const turn = (by) => {
    first = Math.max(0, Math.min(first + by, Math.floor(Math.max(0, places.length - 1) / ROWS) * ROWS));
    const page = places.slice(first, first + ROWS);
    body.replaceChildren(...page.map((place) => row(view, place)));
    told.textContent = say("rows", {
      from: number(page.length && first + 1),
      to: number(first + page.length),
      of: number(places.length),
    });
  };
  turn(0);
  const button = (key, by) => el("button", { type: "button", onclick: () => turn(by) }, say(key));
  const paging = el("div", { class: "row" }, button("previous", -ROWS), button("next", ROWS), told);
  const heads = ["mention", "label", "score", "start", "end", "verdict"].map((key) => el("th", { scope: "col" }, say(key)));
  return el(
    "div",
    {},
    places.length > ROWS && paging,
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": say("view-table") },
      el("table", { id: "entity-table" }, el("thead", {}, el("tr", {}, heads)), body),
    ),
  );
}

function row(view, place) {
  const { text, label, score, start, end } = view.entities[place];
  return el(
    "tr",
    { "data-place": place },
    el("td", {}, text),
    el("td", {}, el("span", { class: `swatch hue-${view.hues.get(label)}` }), ` ${label}`),
    el("td", { class: "figures" }, number(score, 3)),
    el("td", { class: "figures" }, String(start)),
    el("td", { class: "figures" }, String(end)),
    el("td", {}, verdictButtons(view, place)),
  );
}

/** Two buttons, one for each verdict; the pressed one is the verdict given. */
export function verdictButtons(view, place) {
  const mention = view.entities[place].text;
  const buttons = [true, false].map((correct) => {
    const key = correct ? "correct" : "wrong";
    return el(
      "button",
      { type: "button", "data-correct": String(correct), "aria-label": `${say(key)}: ${mention}` },
      `${correct ? "✓" : "✗"} ${say(key)}`,
    );
  });
  const show = () => {
    for (const button of buttons)
      button.setAttribute("aria-pressed", String(String(view.verdict(place)) === button.dataset.correct));
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      view.judge(place, button.dataset.correct === "true");
      show();
    });
  }
  show();
  return el("span", { class: "verdicts" }, buttons);
}
