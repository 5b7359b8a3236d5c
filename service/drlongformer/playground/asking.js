/* What a task sends: its route and its body, made from the text and what was chosen; pure. */

import { Places, sections } from "./text.js";

/** The tasks of the page, in the order they are offered. */
export const TASKS = ["ner", "classify", "fill-mask", "embed", "similarity", "multiple-choice", "all"];

/** Tasks of which the page lets a head be chosen. */
export const HEADED = ["ner", "classify", "similarity", "multiple-choice"];

/** The route of a task. */
export const route = (task) => (task === "all" ? "analyze" : task);

/** The service's tasks that one of the page's asks for, as far as the model has them. */
export function asked(task, model) {
  const embeds = task === "similarity" && model.tasks.includes("embed"); // without a head for pairs, embeddings are compared
  const wanted = task === "all" ? ["ner", "classify", "embed"] : [embeds ? "embed" : task];
  return wanted.filter((each) => model.tasks.includes(each));
}

/** A request: `{body, parts}`. `parts` names what is embedded, in the order of the answer; the body holds the text and nothing that
    the service would presume anyway.

    documents: `[{name, text}]` where several are compared; unit: sections, paragraphs, sentences or documents; beside: what else the
    task asks (beside.js). */
export function request({ task, text, model, head, unit, documents, beside, named }) {
  if (task in PAIRED) {
    const { inputs, ...options } = PAIRED[task](text, beside);
    return { body: { inputs, ...(named ? { model: model.name } : {}), ...(head ? { head } : {}), ...options } };
  }
  const several = task === "embed" && unit === "documents";
  const body = { inputs: several ? documents.map((each) => each.text) : text, ...(named ? { model: model.name } : {}) };
  const embed = several ? { encoding: "base64" } : { encoding: "base64", ...chunks(text, unit, model) };
  if (task === "embed") return { body: { ...body, ...embed } };
  if (task === "fill-mask") return { body: { ...body, top_k: 8 } };
  if (task !== "all") return { body: { ...body, ...(head ? { head } : {}) } };
  const tasks = asked(task, model);
  if (tasks.includes("embed")) body.embed = embed;
  if (tasks.includes("ner") && head) body.ner = { head };
  return { body: { ...body, tasks } };
}

const PAIRED = {
  similarity: (text, { texts }) => ({ inputs: { source: text, sentences: texts } }),
  "multiple-choice": (text, { question, options, several }) => ({
    inputs: { question, options, ...(text.trim() ? { context: text } : {}) },
    ...(several ? { multiple: true } : {}),
  }),
};

/** How many UTF-16 units the texts of a request have together. */
export function size(inputs) {
  if (typeof inputs === "string") return inputs.length;
  return Object.values(inputs).reduce((total, each) => total + size(each), 0);
}

/** What `/embed` is asked for parts of a document; a mean, for parts are means. */
function chunks(text, unit, model) {
  const own = model.heads.find((head) => head.task === "embed")?.pooling;
  const pooling = own && own !== "mean" ? { pooling: "mean" } : {};
  if (unit !== "sections") return { chunks: unit, ...pooling };
  const places = new Places(text);
  return { chunks: sections(text).map(({ start, end }) => [places.point(start), places.point(end)]), ...pooling };
}

/** Titles of an answer's chunks: how each begins. */
export function titles(text, found) {
  const places = new Places(text);
  return found.map(({ start, end }) => {
    const first = text.slice(places.unit(start), places.unit(end)).trim().split("\n", 1)[0];
    return first.length > 60 ? `${first.slice(0, 60)}…` : first;
  });
}
