/* Answers that are a score for each of several texts, as bars: how alike they are to the document, or which option is right. */

import { bars } from "./charts.js";
import { el } from "./dom.js";
import { number, say } from "./wording.js";

/** How alike each text is to the document: `results` of `/similarity` by a head of a model. */
export function comparisons({ texts, results, model, head }) {
  const { method } = results[0];
  const [low, high] = (method === "head" && scoreRange(model, head)) || [0, 1];
  const rows = results.map(({ score }, place) => ({
    label: said(`${place + 1}. `, texts[place]),
    share: (score - low) / (high - low),
    told: number(score, 3),
  }));
  const scale = say(`method-${method}`, { low: number(low), high: number(high) });
  return el("section", { id: "comparisons" }, el("h3", {}, say("task-similarity")), bars(rows), el("p", { class: "hint" }, scale));
}

/** The options of a question with their scores, and those that the model holds right. */
export function choices({ question, options, result }) {
  const rows = result.choices.map(({ option, score }) => {
    const right = result.answer.includes(option);
    return {
      label: said(`${option}) `, options[option], right),
      share: score,
      told: number(score, 3),
      second: right,
    };
  });
  return el(
    "section",
    { id: "choice" },
    el("h3", {}, say("answer_is", { n: result.answer.length, options: result.answer.join(", ") })),
    el("p", { class: "quoted", lang: "fr", translate: "no" }, question),
    bars(rows),
  );
}

/** The range of the scores of a head for pairs: the one that was chosen, or the model's first; undefined where there is none. */
function scoreRange(model, head) {
  const heads = model.heads.filter((each) => each.task === "similarity");
  return (heads.find((each) => each.name === head) ?? heads[0])?.score_range;
}

function said(name, text, right) {
  const mark = right && [" ", el("b", { class: "right" }, `✓ ${say("held_right")}`)];
  return el("span", {}, name, el("span", { lang: "fr", translate: "no" }, text), mark);
}
