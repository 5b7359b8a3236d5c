/* A list of short texts to write, one field each, that grows and shrinks: texts to compare with, options of a question. */

import { el } from "./dom.js";
import { say } from "./wording.js";

export class Fields {
  #texts;
  #list;

  /** `called(place)` names a field; from `least` to `most` of them, with `rows` lines each; `adding` is the key of what the button
      for another says. */
  constructor({ id, called, least, most, rows, adding }) {
    Object.assign(this, { id, called, least, most, rows, adding });
    this.clear();
  }

  /** As few fields as may be, and all blank. */
  clear() {
    this.put(Array(this.least).fill(""));
  }

  /** What is written, in order; blank ones too. */
  get texts() {
    return [...this.#texts];
  }

  /** Puts texts in place of those that are there. */
  put(texts) {
    this.#texts = [...texts];
    this.#draw();
  }

  /** The elements, in the language that is spoken now. */
  element() {
    this.#list = el("ul", { class: "fields", id: this.id });
    this.#draw();
    return this.#list;
  }

  #draw() {
    if (!this.#list) return;
    const add = () => this.#become([...this.#texts, ""], this.#texts.length);
    const more = el("li", {}, el("button", { type: "button", class: "add", onclick: add }, say(this.adding)));
    this.#list.replaceChildren(...this.#texts.map((text, place) => this.#field(text, place)));
    if (this.#texts.length < this.most) this.#list.append(more);
  }

  #field(text, place) {
    const name = this.called(place);
    const area = el("textarea", {
      id: `${this.id}-${place}`,
      rows: this.rows,
      autocomplete: "off",
      autocorrect: "off",
      autocapitalize: "off",
      spellcheck: "false",
      translate: "no",
      lang: "fr",
      oninput: ({ target }) => (this.#texts[place] = target.value),
    });
    area.value = text;
    const rest = this.#texts.toSpliced(place, 1);
    const remove = () => this.#become(rest, Math.min(place, rest.length - 1));
    return el(
      "li",
      {},
      el("label", { for: area.id }, name),
      area,
      this.#texts.length > this.least &&
        el("button", { type: "button", "aria-label": say("remove", { name }), onclick: remove }, "✕"),
    );
  }

  /** Changes the texts, and puts the cursor into one of them: what had it is gone. */
  #become(texts, place) {
    this.#texts = texts;
    this.#draw();
    this.#list.querySelector(`#${this.id}-${place}`).focus();
  }
}
