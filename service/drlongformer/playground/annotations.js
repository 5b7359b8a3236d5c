/* Verdicts on entities, kept as they are given, and the JSON lines that `drlongformer train` reads
   (docs/training/annotations.md): one line for each text and head, in which every entity is `"correct": true` or `false`;
   offsets are code points of the text beside them. Memory only. */

/** What was judged of the entities that one head found in one text; an entity is known by its place in the list, and in a later
    answer by its offsets and label. */
class Judged {
  #given = new Map(); // verdicts by key
  #keys = []; // of the entities, in order
  #saved; // the entities as they were exported
  least = 0; // the confidence below which nothing is judged or exported
  empty = false; // whether it was confirmed that there is nothing to judge

  constructor({ text, model, head }) {
    Object.assign(this, { text, model, head });
  }

  /** Takes the entities of an answer; those that were judged keep their verdicts. */
  take(entities) {
    this.entities = entities;
    this.#keys = entities.map(({ start, end, label }) => `${start} ${end} ${label}`);
  }

  get(place) {
    return this.#given.get(this.#keys[place]);
  }

  /** Sets a verdict; the same one again takes it back. */
  toggle(place, correct) {
    if (this.get(place) === correct) this.#given.delete(this.#keys[place]);
    else this.#given.set(this.#keys[place], correct);
  }

  /** Gives one verdict to all entities above the least confidence that have none. */
  rest(correct) {
    for (const place of this.places) if (this.get(place) === undefined) this.#given.set(this.#keys[place], correct);
  }

  /** Places of the entities of at least the least confidence. */
  get places() {
    return this.entities.flatMap(({ score }, place) => (score >= this.least ? [place] : []));
  }

  /** How many of those have no verdict. */
  get open() {
    return this.places.filter((place) => this.get(place) === undefined).length;
  }

  /** Whether anything was judged. */
  get begun() {
    return this.empty || this.#keys.some((key) => this.#given.has(key));
  }

  /** Whether there is something that no exported file holds. */
  get unsaved() {
    return this.begun && (this.open > 0 || this.#saved !== this.#written());
  }

  /** Its line. Throws RangeError where an entity has no verdict: the reader would refuse the line. */
  line() {
    const { id, model, head, text, open } = this;
    if (open) throw new RangeError(`${open} of ${this.places.length} entities are not judged`);
    this.#saved = this.#written();
    return `${JSON.stringify({ id, model, head, text }).slice(0, -1)},"entities":${this.#saved}}`;
  }

  #written() {
    const judged = this.places.map((place) => {
      const { start, end, label, text } = this.entities[place];
      return { start, end, label, text, correct: this.get(place) };
    });
    return JSON.stringify(judged);
  }
}

/** Everything that was judged since the page was opened. */
export class Kept {
  #all = new Map(); // by text, model and head
  #session = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  #named = 0;

  /** What is judged of the entities that a head found in a text: what was begun goes on. */
  of({ text, model, head, entities }) {
    for (const [key, each] of this.#all) if (!each.begun) this.#all.delete(key);
    const key = JSON.stringify([model, head, text]);
    if (!this.#all.has(key)) this.#all.set(key, new Judged({ text, model, head }));
    this.#all.get(key).take(entities);
    return this.#all.get(key);
  }

  /** What is judged in full. */
  get complete() {
    return [...this.#all.values()].filter((each) => each.begun && !each.open);
  }

  /** What is judged in part. */
  get half() {
    return [...this.#all.values()].filter((each) => each.begun && each.open);
  }

  /** Whether there are verdicts that no exported file holds. */
  get unsaved() {
    return [...this.#all.values()].some((each) => each.unsaved);
  }

  /** The lines of what is complete. Ids tell sessions apart, so that files of several can be put together. */
  file() {
    for (const each of this.complete) each.id ??= `document-${this.#session}-${++this.#named}`;
    return this.complete.map((each) => `${each.line()}\n`).join("");
  }

  forget() {
    this.#all.clear();
  }
}
