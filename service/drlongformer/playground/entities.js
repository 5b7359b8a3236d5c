/* The document with its entities: coloured by type, filtered by legend and slider, judged one by one, as text, table or JSON. */

import { breath, download, el } from "./dom.js";
import { jsonView } from "./json_view.js";
import { MarkedText } from "./marked.js";
import { table } from "./entity_table.js";
import { Places } from "./text.js";
import { number, say } from "./wording.js";

const HUES = 16;
const BEGINNING = 40; // characters of a document that are its name in a list

/** One answered document. `kept` gathers what is judged, by `model` and `head`; `types` are those that the model knows, each of
    which has its colour in every answer; `reopen(judged)` shows a document that was judged in part. */
export class Entities {
  #hidden = new Set();
  #view = "text";
  #parts = {};

  constructor({ text, entities, answer, kept, model, head, types = [], reopen }) {
    Object.assign(this, { text, entities, answer, kept, reopen });
    this.judgement = kept.of({ text, model, head, entities });
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
    const named = new Set([...types, ...this.labels.map(([label]) => label)]);
    this.hues = new Map([...named].map((label, place) => [label, place % HUES]));
  }

  /** Places of the entities that are shown. */
  get visible() {
    return this.judgement.places.filter((place) => !this.#hidden.has(this.entities[place].label));
  }

  /** The elements, in the language that is spoken now. */
  element() {
    const count = el("output", { id: "entity-count" });
    const judged = el("span", { id: "judged" });
    this.#parts = {
      count,
      judged,
      body: el("div", { id: "entity-view" }),
      told: el("div", { id: "export-told", role: "status" }),
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
    const { least } = this.judgement;
    const told = el("output", {}, number(least, 2));
    const slide = ({ target }) => {
      this.judgement.least = Number(target.value);
      told.textContent = number(this.judgement.least, 2);
      this.#filter();
    };
    const input = el("input", { type: "range", id: "least", min: 0, max: 1, step: 0.01, value: least, oninput: slide });
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
      this.judgement.rest(correct);
      this.#judged();
    };
    return el("button", { type: "button", id: key.replace("_", "-"), onclick: give }, say(key));
  }

  /** Sets or takes back a verdict. */
  judge(place, correct) {
    this.judgement.toggle(place, correct);
    this.#judged(place);
  }

  verdict(place) {
    return this.judgement.get(place);
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
    const { places, open } = this.judgement;
    this.#parts.judged.textContent = say("judged", { n: number(places.length - open), of: number(places.length) });
    this.#parts.export.textContent = say("export", { n: this.kept.complete.length });
    if (this.marked) this.marked.judged(place);
    else if (this.#view === "table" && place === undefined) this.#parts.body.replaceChildren(table(this));
  }

  /** Saves every document that is judged in full, and tells which are not. */
  async #export() {
    const { judgement, kept } = this;
    if (!judgement.places.length) judgement.empty = true; // asked for beside such a document, it says that there is nothing
    const n = kept.complete.length;
    if (n) download("annotations.jsonl", kept.file(), "application/x-ndjson");
    const open = judgement.begun || !n ? judgement.open : 0;
    const told = [n && say("exported", { n }), open && say("unjudged", { n: open })];
    this.#parts.told.replaceChildren(el("p", {}, told.filter(Boolean).join(" ")), ...this.#halves());
    await breath();
    this.#judged();
  }

  /** The other documents that are judged in part, to be opened. */
  #halves() {
    const others = this.kept.half.filter((each) => each !== this.judgement);
    const button = (each) => {
      const begins = each.text.trim().slice(0, BEGINNING);
      const named = [el("span", { lang: "fr", translate: "no" }, `${begins}…`), each.head && ` (${each.head})`];
      return el("li", {}, el("button", { type: "button", onclick: () => this.reopen(each) }, named));
    };
    if (!others.length) return [];
    return [el("p", {}, say("half_judged", { n: others.length })), el("ul", { class: "chips", id: "halves" }, others.map(button))];
  }
}
