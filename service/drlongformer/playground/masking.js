/* Words that are masked: by a click into the text, or at the cursor; and what is put in their place. */

import { by } from "./dom.js";
import { candidates, clickable } from "./masks.js";
import { wordAt } from "./text.js";

export class Masking {
  #original; // the word that was masked last

  /** `input` holds the text; `model()` is the one that fills masks, `busy()` whether it does; `ask()` asks for the words of
      the masks, or tells why it cannot; `filled()` is told when one was put in the place of a mask. */
  constructor({ input, model, busy, ask, filled }) {
    Object.assign(this, { input, model, busy, ask, filled });
  }

  /** Whether the text holds a mask. */
  get some() {
    return this.input.text.includes(this.model().mask_token);
  }

  /** The candidates for the masks of an answer, with the words of its text to click. */
  found(text, masks, signal) {
    const put = (start, end, word) => {
      this.input.replace(start, end, word);
      this.filled();
      by("text").focus();
    };
    const shown = candidates({ text, masks, original: this.#original, put });
    shown.append(this.words(text, signal));
    return shown;
  }

  /** A text as words to click. */
  words(text, signal) {
    const chosen = (start, end) => text === this.input.text && this.#mask(start, end); // else they are about to be drawn anew
    return clickable({ text, mask: this.model()?.mask_token ?? "", chosen, signal });
  }

  /** Masks the word at the cursor; false where there is none. */
  atCursor() {
    const word = wordAt(this.input.text, this.input.cursor, this.model()?.mask_token);
    if (!word || word.mask) return false;
    this.#mask(word.start, word.end);
    return true;
  }

  forget() {
    this.#original = undefined;
  }

  #mask(start, end) {
    if (this.busy()) return;
    const token = this.model()?.mask_token;
    if (token) {
      this.#original = { start, word: this.input.text.slice(start, end) };
      this.input.replace(start, end, token);
    }
    this.ask();
  }
}
