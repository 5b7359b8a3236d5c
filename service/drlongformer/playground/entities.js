/* The document with its entities: coloured by type, filtered by legend and slider, judged one by one, as text, table or JSON. */

import { Verdicts, line } from "./annotations.js";
import { breath, download, el } from "./dom.js";
import { jsonView } from "./json_view.js";
import { MarkedText } from "./marked.js";
import { table } from "./entity_table.js";
import { Places } from "./text.js";
import { number, say } from "./wording.js";

const HUES = 12;

/** One answered document. `kept` gathers the annotations of the session; `announce` tells a sentence to everyone. */
export class Entities {
  #verdicts = new Verdicts();
  #hidden = new Set();
  #least = 0;
  #view = "text";
  #parts = {};

  constructor({ text, entities, answer, kept, announce }) {
    Object.assign(this, { text, entities, answer, kept, announce });
    const places = new Places(text);
    this.spans = entities.map(({ start, end, label, score }, place) => ({
      start: places.unit(start),
      end: places.unit(end),
      label,
      score,
      place,
    }));
    const counts = new Map();
    for (const { label } of entities) counts.set(label, (counts.get(label) ?? 0) + 1);
    this.labels = [...counts].sort(([one], [other]) => one.localeCompare(other));
    this.hues = new Map(this.labels.map(([label], place) => [label, place % HUES]));
  }

  /** Places of the entities of at least the least confidence, whatever their type. */
  get confident() {
    return this.entities.flatMap(({ score }, place) => (score >= this.#least ? [place] : []));
  }

  /** Places of the entities that are shown. */
  get visible() {
    return this.confident.filter((place) => !this.#hidden.has(this.entities[place].label));
  }

  /** The elements, in the language that is spoken now. */
  element() {
    const count = el("output", { id: "entity-count" });
    const judged = el("span", { id: "judged" });
    this.#parts = {
      count,
      judged,
      body: el("div", { id: "entity-view" }),
      told: el("p", { id: "export-told", role: "status" }),
    };
    this.#parts.export = el("button", { type: "button", id: "export", onclick: () => this.#export() });
    const drawn = el(
      "section",
      { id: "entities" },
      el("h3", {}, say("task-ner"), " · ", count),
      this.#legend(),
      el("div", { class: "row" }, this.#slider(), this.#views()),
      this.#parts.body,
      el(
        "div",
        { class: "row" },
        judged,
        this.#rest("rest_correct", true),
        this.#rest("rest_wrong", false),
        this.#parts.export,
      ),
      el("p", { class: "hint" }, say("export_note")),
      this.#parts.told,
    );
    this.#show();
    return drawn;
  }

  #legend() {
    const box = ([label, count]) => {
      const toggle = ({ target }) => {
        if (target.checked) this.#hidden.delete(label);
        else this.#hidden.add(label);
        this.#filter();
      };
      const input = el("input", { type: "checkbox", value: label, onchange: toggle });
      input.checked = !this.#hidden.has(label);
      return el(
        "label",
        {},
        input,
        " ",
        el("span", { class: `swatch hue-${this.hues.get(label)}` }),
        ` ${label} (${number(count)})`,
      );
    };
    return el("fieldset", { class: "legend" }, el("legend", {}, say("legend")), this.labels.map(box));
  }

  #slider() {
    const told = el("output", {}, number(this.#least, 2));
    const slide = ({ target }) => {
      this.#least = Number(target.value);
      told.textContent = number(this.#least, 2);
      this.#filter();
    };
    const input = el("input", { type: "range", id: "least", min: 0, max: 1, step: 0.01, value: this.#least, oninput: slide });
    return el("label", {}, say("confidence"), " ", input, " ", told);
  }

  #views() {
    const radio = (view) => {
      const choose = () => {
        this.#view = view;
        this.#show();
      };
      const input = el("input", { type: "radio", name: "entity-view", value: view, onchange: choose });
      input.checked = view === this.#view;
      return el("label", {}, input, " ", say(`view-${view}`));
    };
    return el("fieldset", {}, el("legend", {}, say("view")), ["text", "table", "json"].map(radio));
  }

  #rest(key, correct) {
    const give = () => {
      this.#verdicts.rest(this.confident, correct);
      this.#judged();
    };
    return el("button", { type: "button", id: key.replace("_", "-"), onclick: give }, say(key));
  }

  /** Sets or takes back a verdict. */
  judge(place, correct) {
    this.#verdicts.toggle(place, correct);
    this.#judged(place);
  }

  verdict(place) {
    return this.#verdicts.get(place);
  }

  #show() {
    this.marked?.close();
    this.marked = undefined;
    if (this.#view === "text") this.marked = new MarkedText(this);
    const shown = { text: () => this.marked.element(), table: () => table(this), json: () => jsonView(this.answer) }[this.#view]();
    this.#parts.body.replaceChildren(shown);
    this.#filter();
  }

  #filter() {
    this.#parts.count.textContent = say("entities_found", { n: number(this.visible.length) });
    if (this.marked) this.marked.filter(new Set(this.visible));
    else if (this.#view === "table") this.#parts.body.replaceChildren(table(this));
    this.#judged();
  }

  #judged(place) {
    const of = this.confident;
    this.#parts.judged.textContent = say("judged", { n: number(this.#verdicts.judged(of)), of: number(of.length) });
    this.#parts.export.textContent = say("export", { n: this.kept.size });
    if (this.marked) this.marked.judged(place);
    else if (this.#view === "table" && place === undefined) this.#parts.body.replaceChildren(table(this));
  }

  async #export() {
    const places = this.confident;
    const open = places.length - this.#verdicts.judged(places);
    if (open) {
      this.#parts.told.textContent = say("unjudged", { n: open });
      return;
    }
    const { text, entities } = this;
    this.kept.keep(text, (id) => line({ id, text, entities, places, verdicts: this.#verdicts }));
    download("annotations.jsonl", this.kept.file, "application/x-ndjson");
    this.#parts.told.textContent = say("exported", { n: this.kept.size });
    await breath();
    this.#judged();
  }
}
