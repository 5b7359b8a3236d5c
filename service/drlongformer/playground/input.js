/* The document: pasted, dropped, opened or invented; and what it costs, told while it is typed. What was typed and then replaced
   can be brought back.

   Its tokens are estimated at once from the characters, and counted by the service when typing pauses. Counting is bounded: past
   `MOST_COUNTED` characters the estimate stands, and a count that typing overtakes is cancelled. */

import { by, el } from "./dom.js";
import { lined, texts } from "./files.js";
import { SAMPLES, sample } from "./samples.js";
import { Places } from "./text.js";
import { number, say } from "./wording.js";

const PAUSE_MILLISECONDS = 350;
const LONG_PAUSE_MILLISECONDS = 1200;
const LONG = 20_000;
const MOST_COUNTED = 200_000;
const MOST_BEFORE = 5;
const SPECIALS = 2; // `<s>` and `</s>`

export class Input {
  #area = by("text");
  #ratio = 3.1; // characters of one token; learnt from every count
  #counting;
  #timer;
  #told; // the figures last shown
  #own = false; // whether anything of the text was typed or pasted here
  #before = []; // what was replaced, `[{text, others}]`, latest last
  #listeners = [];

  /** `count(text, signal)` asks the service: `{count, windows}`, special tokens counted as answers count them, or null where it
      cannot tell; `limits()` are those of the model in use, undefined until they are known; `opened(documents)` is told of several
      files at once. */
  constructor({ count, limits, opened }) {
    Object.assign(this, { count, limits, opened });
    this.#area.addEventListener("input", () => this.#changed(true));
    by("restore").addEventListener("click", () => this.#restore());
    by("clear").addEventListener("click", () => this.put(""));
    by("open-files").addEventListener("click", () => by("files").click());
    by("files").addEventListener("change", ({ target }) => this.#open(target.files).then(() => (target.value = "")));
    by("samples").addEventListener("change", ({ target }) => target.value && this.#choose(target.value));
    this.#area.addEventListener("paste", (event) => this.#paste(event));
    this.#drops();
    this.speak();
  }

  get text() {
    return this.#area.value;
  }

  /** The place of the cursor, in units. */
  get cursor() {
    return this.#area.selectionStart;
  }

  /** About how many tokens so many units of text are. */
  tokens(units) {
    return Math.ceil(units / this.#ratio);
  }

  /** Calls back whenever the text is another. */
  onchange(listener) {
    this.#listeners.push(listener);
  }

  /** Puts a text in place of the one that is there, which can be brought back; `others` is called then, if something beside the
      text was replaced with it. */
  put(text, others) {
    if (others || text !== this.text) this.#remember(others);
    this.#area.value = text;
    by("file-told").textContent = "";
    this.#changed(false);
  }

  #remember(others) {
    if (this.text.trim() || others) this.#before.push({ text: this.text, others });
    this.#before.splice(0, this.#before.length - MOST_BEFORE);
  }

  #restore() {
    const { text, others } = this.#before.pop();
    if (this.#own) this.#remember();
    others?.();
    this.#area.value = text;
    this.#changed(true);
    this.#area.focus();
  }

  /** Forgets the text and what was before it. */
  forget() {
    this.#area.value = "";
    this.#before = [];
    by("file-told").textContent = "";
    this.#changed(false);
  }

  /** Puts a word in place of a part of the text, in units. */
  replace(start, end, word) {
    this.#area.setRangeText(word, start, end, "end");
    this.#changed(true);
  }

  /** Writes everything that depends on the language. */
  speak() {
    const chosen = by("samples").value;
    const option = (name) => el("option", { value: name }, say(`sample-${name}`));
    by("samples").replaceChildren(el("option", { value: "" }, say("choose")), ...SAMPLES.map(option));
    by("samples").value = chosen;
    if (this.#told) this.#tell(this.#told);
    else this.#estimate();
  }

  async #choose(name) {
    this.put(await sample(name));
    this.name = say(`sample-${name}`);
    by("samples").value = name;
  }

  /** Long texts are put in place at once: the browser would insert them line by line, for seconds. It cannot take that back; the
      page's own button can. */
  #paste(event) {
    const pasted = lined(event.clipboardData.getData("text/plain"));
    if (pasted.length <= LONG) return;
    event.preventDefault();
    this.#remember();
    this.replace(this.#area.selectionStart, this.#area.selectionEnd, pasted);
  }

  #drops() {
    const files = (event) => event.dataTransfer?.types.includes("Files");
    const over = (event) => {
      if (!files(event)) return;
      event.preventDefault();
      this.#area.classList.toggle("dropping", event.type === "dragover");
    };
    for (const kind of ["dragover", "dragleave"]) this.#area.addEventListener(kind, over);
    this.#area.addEventListener("drop", (event) => {
      over(event);
      if (files(event)) this.#open(event.dataTransfer.files);
    });
    const elsewhere = (event) => files(event) && event.preventDefault(); // or the browser would leave the page for the file
    for (const kind of ["dragover", "drop"]) window.addEventListener(kind, elsewhere);
  }

  async #open(files) {
    const read = await texts([...files]);
    if (read.texts.length === 1) this.put(read.texts[0].text);
    if (read.texts.length > 1) this.opened(read.texts);
    by("file-told").textContent = read.told.join(" ");
  }

  #changed(own) {
    this.#own = own;
    this.name = undefined;
    by("restore").hidden = !this.#before.length;
    by("samples").value = "";
    this.#counting?.abort();
    clearTimeout(this.#timer);
    this.#estimate();
    const { length } = this.text;
    if (length && length <= MOST_COUNTED) {
      this.#timer = setTimeout(() => this.recount(), length > LONG ? LONG_PAUSE_MILLISECONDS : PAUSE_MILLISECONDS);
    }
    for (const listener of this.#listeners) listener();
  }

  #estimate() {
    const count = this.tokens(this.text.length);
    this.#tell({ count, windows: this.#windows(count), exact: count === 0 });
  }

  /** Windows of equal length that overlap, as text/windows.py plans them. */
  #windows(count) {
    const limits = this.limits();
    if (!limits || !count) return undefined;
    const [inside, own] = [limits.max_tokens - SPECIALS, count - SPECIALS];
    return own <= inside ? 1 : Math.ceil((own - limits.window_overlap) / (inside - limits.window_overlap));
  }

  /** Asks the service for the exact figures of the text that is there. */
  async recount() {
    const text = this.text;
    if (!text.trim() || text.length > MOST_COUNTED) return;
    this.#counting = new AbortController();
    const { signal } = this.#counting;
    const found = await this.count(text, signal);
    if (!found || signal.aborted || text !== this.text) return;
    if (found.count) this.#ratio = text.length / found.count;
    this.#tell({ ...found, exact: true });
  }

  #tell({ count, windows, exact }) {
    this.#told = { count, windows, exact };
    by("characters").textContent = say("characters", { n: number(new Places(this.text).length) });
    by("tokens").textContent = say("tokens", { n: number(count), exact });
    by("tokens").dataset.exact = String(exact);
    by("windows-of").hidden = windows === undefined;
    by("windows").textContent = windows === undefined ? "" : say("windows", { n: windows });
  }
}
