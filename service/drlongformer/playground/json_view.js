/* An answer as the service sent it: its beginning on the page, all of it to copy or to save. */

import { download, el } from "./dom.js";
import { copyButton } from "./copying.js";
import { number, say } from "./wording.js";

const LONGEST = 20_000;

/** The elements for an answer. */
export function jsonView(answer) {
  const whole = JSON.stringify(answer, null, 1);
  const save = () => download("answer.json", whole, "application/json");
  const bounded =
    whole.length > LONGEST &&
    el("span", { class: "hint" }, say("long_json", { shown: number(LONGEST), all: number(whole.length) }));
  const row = el("div", { class: "row" }, copyButton(() => whole), el("button", { type: "button", onclick: save }, say("save_json")), bounded);
  return el("div", {}, row, el("pre", { id: "json", tabindex: "0", "aria-label": "JSON" }, whole.slice(0, LONGEST)));
}

/** The same behind a heading that opens it; it is written when it is opened. */
export function foldedJson(answer) {
  const folded = el("details", { id: "folded-json" }, el("summary", {}, say("answer_json")));
  folded.addEventListener("toggle", () => folded.children.length > 1 || folded.append(jsonView(answer)));
  return folded;
}
