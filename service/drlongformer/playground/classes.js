/* Classes of a document, as bars. */

import { bars } from "./charts.js";
import { el } from "./dom.js";
import { number, say } from "./wording.js";

/** The labels and their scores, best first. Scores that are no shares (`function: none`) are drawn beside the greatest. */
export function classes(labels) {
  const longest = Math.max(1, ...labels.map((each) => Math.abs(each.score)));
  const rows = labels.map(({ label, score }) => ({ label, share: Math.max(0, score) / longest, told: number(score, 4) }));
  return el("section", { id: "classes" }, el("h3", {}, say("classes")), bars(rows));
}
