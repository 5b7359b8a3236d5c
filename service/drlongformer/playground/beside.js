/* What two tasks ask beside the document: texts to compare it with, or a question with its options. Each has an invented example. */

import { by, el } from "./dom.js";
import { Fields } from "./fields.js";
import { say } from "./wording.js";

const MOST_TEXTS = 63; // a request holds 64 texts unless it is told otherwise
const LETTERS = "abcdefghijklmnopqrstuvwxyz"; // as many options as a question may have

const COMPARED = {
  text: "Toux sèche et fièvre depuis trois jours chez un homme de 67 ans.",
  texts: ["Le malade tousse et il est fébrile.", "Fracture du poignet gauche après une chute."],
};

const CHOSEN = {
  text: "Femme de 34 ans, sans antécédent. Fièvre à 39 °C, brûlures mictionnelles et douleur de la fosse lombaire droite depuis la veille.",
  question: "Quels examens demander en premier ?",
  texts: ["Un examen cytobactériologique des urines", "Une radiographie du poignet", "Une échographie des reins", "Un audiogramme"],
};

/** The fields of both tasks. `put(text, others)` changes the document; `others` is called when it is changed back. */
export class Beside {
  #texts = new Fields({
    id: "compared",
    called: (place) => say("text-n", { n: place + 1 }),
    least: 1,
    most: MOST_TEXTS,
    rows: 3,
    adding: "add_text",
  });
  #options = new Fields({
    id: "choices",
    called: (place) => `${LETTERS[place]})`,
    least: 2,
    most: LETTERS.length,
    rows: 1,
    adding: "add_option",
  });
  #task;
  #several; // whether a head decides each option by itself

  constructor(put) {
    this.put = put;
    by("example").addEventListener("click", () => this.#fill());
  }

  /** Shows what a task asks; nothing for most of them. */
  show(task, model) {
    this.#task = task;
    this.#several = (model?.heads ?? []).some((head) => head.task === "multiple-choice" && head.function === "sigmoid");
    by("compare").hidden = task !== "similarity";
    by("ask").hidden = task !== "multiple-choice";
    by("example").hidden = by("compare").hidden && by("ask").hidden;
    by("several-of").hidden = !this.#several;
  }

  /** Writes everything that depends on the language. */
  speak() {
    by("compared-of").replaceChildren(this.#texts.element());
    by("choices-of").replaceChildren(this.#options.element());
  }

  /** What a request takes from here: `{texts}`, or `{question, options, several}`; blank fields are left out. */
  get asked() {
    if (this.#task === "similarity") return { texts: this.#texts.texts.filter((text) => text.trim()) };
    const options = this.#options.texts.map((text, place) => [LETTERS[place], text]).filter(([, text]) => text.trim());
    const several = this.#several && by("several").checked;
    return { question: by("question").value, options: Object.fromEntries(options), several };
  }

  /** The key of the sentence that tells what is missing; undefined where nothing is. */
  get missing() {
    if (this.#task === "similarity") return this.asked.texts.length ? undefined : "compare_needed";
    if (this.#task !== "multiple-choice") return undefined;
    const { question, options } = this.asked;
    return question.trim() && Object.keys(options).length > 1 ? undefined : "choice_needed";
  }

  /** Empties every field. */
  forget() {
    by("question").value = "";
    this.#texts.clear();
    this.#options.clear();
  }

  /** Fills the document and the fields; what was written there comes back with the document's text. */
  #fill() {
    const { text, question, texts } = this.#task === "similarity" ? COMPARED : CHOSEN;
    const fields = question ? this.#options : this.#texts;
    const before = { question: by("question").value, texts: fields.texts };
    const put = (written) => {
      if (question) by("question").value = written.question;
      fields.put(written.texts);
    };
    const own = [...(question ? [before.question] : []), ...before.texts].filter((each) => each.trim());
    const lost = own.some((each) => each !== question && !texts.includes(each));
    this.put(text, lost ? () => put(before) : undefined);
    put({ question, texts });
  }
}
