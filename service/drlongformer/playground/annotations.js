/* Verdicts on entities, and the JSON lines that `drlongformer train` reads (docs/training/annotations.md): every entity of a line
   is `"correct": true` or `false`, offsets are code points of the text beside them. */

/** The verdicts on one document's entities; an entity is known by its place in the list. */
export class Verdicts {
  #given = new Map();

  get(place) {
    return this.#given.get(place);
  }

  /** Sets a verdict; the same one again takes it back. */
  toggle(place, correct) {
    if (this.#given.get(place) === correct) this.#given.delete(place);
    else this.#given.set(place, correct);
  }

  /** Gives one verdict to all of these entities that have none. */
  rest(places, correct) {
    places.filter((place) => !this.#given.has(place)).forEach((place) => this.#given.set(place, correct));
  }

  /** How many of these entities have a verdict. */
  judged(places) {
    return places.filter((place) => this.#given.has(place)).length;
  }
}

/** One line of annotations. Throws RangeError where an entity of `places` has no verdict: the reader would refuse the line. */
export function line({ id, text, entities, places, verdicts }) {
  const open = places.length - verdicts.judged(places);
  if (open) throw new RangeError(`${open} of ${places.length} entities are not judged`);
  const judged = places.map((place) => {
    const { start, end, label, text: covered } = entities[place];
    return { start, end, label, text: covered, correct: verdicts.get(place) };
  });
  return JSON.stringify({ id, text, entities: judged });
}

/** The lines of a session, one for each text; a text that is kept again replaces its line. Memory only. */
export class Kept {
  #lines = new Map();

  keep(text, made) {
    const id = this.#lines.get(text)?.id ?? `document-${this.#lines.size + 1}`;
    this.#lines.set(text, { id, line: made(id) });
  }

  get size() {
    return this.#lines.size;
  }

  get file() {
    return [...this.#lines.values()].map((each) => `${each.line}\n`).join("");
  }
}
