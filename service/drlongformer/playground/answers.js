/* What an answer holds, drawn: one element for each kind of result, whatever the task was. */

import { classes } from "./classes.js";
import { titles } from "./asking.js";
import { likeness } from "./likeness.js";
import { choices, comparisons } from "./scores.js";
import { decoded } from "./vectors.js";

/** The elements of an answer to what was asked. `entities()` and `masked(text, masks)` draw what can be worked on: verdicts are
    given there, words are put in place of others. */
export function drawn({ text, documents, beside, model, head, answer }, { entities, masked }) {
  const [result] = answer.results;
  const shown = [];
  if (result.entities) shown.push(entities());
  if (result.labels) shown.push(classes(result.labels));
  if (result.masks) shown.push(masked(text, result.masks));
  if (result.method) shown.push(comparisons({ texts: beside.texts, results: answer.results, model, head }));
  if (result.choices) shown.push(choices({ ...beside, result }));
  if (documents) shown.push(likeness(documents.map(({ name }, place) => part(name, answer.results[place]))));
  else if (result.chunks) {
    const named = titles(text, result.chunks);
    shown.push(likeness(result.chunks.map((chunk, place) => part(named[place], chunk))));
  }
  return shown;
}

function part(title, { embedding }) {
  return { title, vector: decoded(embedding) };
}
