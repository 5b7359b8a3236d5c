/* Documents that are gathered to be compared with each other: shown as chips, each of which can be taken away. */

import { by, el } from "./dom.js";
import { say } from "./wording.js";

export class Collection {
  #documents = []; // [{name, text}]

  /** Its documents, in order. */
  get documents() {
    return [...this.#documents];
  }

  get size() {
    return this.#documents.length;
  }

  /** Adds documents; one without a name is called by its number. */
  add(...documents) {
    for (const { name, text } of documents) {
      this.#documents.push({ name: name ?? say("document-n", { n: this.#documents.length + 1 }), text });
    }
    this.show();
  }

  /** Takes all of them away. */
  forget() {
    this.#documents = [];
    this.show();
  }

  /** Draws the chips, in the language that is spoken now. */
  show() {
    const chip = ({ name }, place) => {
      const remove = () => {
        this.#documents.splice(place, 1);
        this.show();
      };
      return el("li", {}, name, el("button", { type: "button", "aria-label": say("remove", { name }), onclick: remove }, "✕"));
    };
    by("collected").replaceChildren(
      el("p", { class: "hint" }, `${say("collected")} (${this.size})`),
      el("ul", { class: "chips" }, this.#documents.map(chip)),
    );
  }
}
